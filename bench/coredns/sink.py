"""``python -m bench.coredns.sink``: takes Zipkin and dnstap, keeps nothing, counts bytes.

It costs next to nothing, so that on a small machine CoreDNS is what is measured. With ``--slow`` it
takes a second for every answer, and reads no more than 64 KiB of dnstap in one.
"""

import argparse
import asyncio
import json
from pathlib import Path

from otel_dns.wire import frame_streams
from otel_dns.wire.frame_streams import Control, ControlType

_CONTENT = (frame_streams.DNSTAP_CONTENT_TYPE,)
READY = "sink is ready"


class Sink:
    """Counts of bytes, written to a file twice a second."""

    def __init__(self, file: Path, slow: bool) -> None:
        self._file = file
        self._slow = slow
        self._bytes = {"zipkin": 0, "dnstap": 0}

    async def zipkin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take POSTs, one after the other."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                await reader.readexactly(length)
                self._bytes["zipkin"] += len(head) + length
                if self._slow:
                    await asyncio.sleep(1)
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def dnstap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Shake hands, then take bytes."""
        try:
            while data := await reader.read(1 << 16):
                if not data.find(b"\0\0\0\0"):  # a control frame: READY, later STOP
                    accept = Control(ControlType.ACCEPT, _CONTENT)
                    writer.write(frame_streams.encode_control(accept))
                self._bytes["dnstap"] += len(data)
                if self._slow:
                    await asyncio.sleep(1)
        except ConnectionError:
            pass
        writer.close()

    async def count(self) -> None:
        """Write down what was counted."""
        while True:
            self._file.write_text(json.dumps(self._bytes))
            await asyncio.sleep(0.5)


async def serve(arguments: argparse.Namespace) -> None:
    """Listen until the end."""
    sink = Sink(arguments.counts, arguments.slow)
    await asyncio.start_server(sink.zipkin, arguments.host, 9411, limit=1 << 24)
    await asyncio.start_server(sink.dnstap, arguments.host, 6000)
    print(READY, flush=True)
    await sink.count()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--counts", type=Path, required=True)
    parser.add_argument("--slow", action="store_true")
    asyncio.run(serve(parser.parse_args()))
