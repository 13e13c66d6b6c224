"""``python -m otel_dns.lab.relay HOST PORT``: hand on what arrives at a listening socket.

The socket is descriptor 3 and belongs to another network namespace than this process does: that is
how a browser outside reaches a program inside.
"""

import asyncio
import contextlib
import socket
import sys

_CHUNK = 1 << 16


async def serve(listener: socket.socket, host: str, port: int) -> None:
    """Relay each connection that the socket takes, until cancelled."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            try:
                inner_reader, inner_writer = await asyncio.open_connection(host, port)
            except OSError as error:
                sys.stderr.write(f"{host}:{port}: {error}\n")
                return
            with contextlib.closing(inner_writer):
                await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    server = await asyncio.start_server(relay, sock=listener)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=3), sys.argv[1], int(sys.argv[2])))
