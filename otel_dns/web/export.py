"""Whole rows for whoever may see everything: one reader at a time, who has to keep reading."""

import asyncio
import logging
import threading
import time
from collections.abc import Generator
from typing import Final

import pyarrow as pa
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from otel_dns.history.history import History
from otel_dns.history.where import Where

ARROW: Final = "application/vnd.apache.arrow.stream"
ABORT: Final = "otel_dns.abort"
"""An extension of the server's: a function that ends the connection, whatever waits to be sent."""
PIECE: Final = 1 << 18
"""Bytes that are sent at once; a reader has so long for each of them."""

_log = logging.getLogger(__name__)


class Exports:
    """The one export that may run. Thread-safe."""

    def __init__(self, patience_s: float) -> None:
        """Give a reader so many seconds for each piece."""
        self.patience_s = patience_s
        self.cut_off = 0
        """Readers who did not keep reading."""
        self._lock = threading.Lock()
        self._since: float | None = None

    def begin(self) -> bool:
        """Take the turn; false where another has it."""
        with self._lock:
            free = self._since is None
            if free:
                self._since = time.monotonic()
            return free

    def end(self) -> None:
        """Give the turn back."""
        with self._lock:
            self._since = None

    @property
    def runs_s(self) -> float:
        """For how long the one that runs has been running."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since


def export(history: History, where: Where, exports: Exports) -> StreamingResponse:
    """Answer with rows, in order of time; the turn was taken, and is given back at the end.

    Raises:
        HistoryError: the history cannot be asked so.
    """
    stream = _stream(history, where, exports)
    next(stream)  # what is not begun has no end either
    return _Export(stream, exports)


class _Export(StreamingResponse):
    """Ends its stream whenever it ends, also where the reader left before it began, or stays."""

    def __init__(self, stream: Generator[bytes, None, None], exports: Exports) -> None:
        super().__init__(stream, media_type=ARROW)
        self._stream, self._exports = stream, exports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stalled, sent = False, 0

        async def send_in_time(message: Message) -> None:
            nonlocal stalled, sent
            try:
                async with asyncio.timeout(self._exports.patience_s):
                    await send(message)
            except TimeoutError:
                stalled = True
                raise
            sent += len(message.get("body", b""))

        try:
            await super().__call__(scope, receive, send_in_time)
        except Exception:  # whatever was made of it on its way
            if not stalled:
                raise
            self._exports.cut_off += 1
            _log.warning(
                "an export is cut off: for %.0f s its reader took nothing more, after %d MiB"
                " (cut off so far: %d)",
                self._exports.patience_s, sent >> 20, self._exports.cut_off,
            )  # fmt: skip
            abort = scope.get("extensions", {}).get(ABORT)
            if abort is not None:
                abort()
                await asyncio.sleep(0)  # until the server has seen it, which would wonder otherwise
        finally:
            self._stream.close()


def _stream(history: History, where: Where, exports: Exports) -> Generator[bytes, None, None]:
    """Give first nothing, then rows as an Arrow stream; the export is over when this is."""
    try:
        batches = history.batches(where)
        sink = _Sink()
        with pa.ipc.new_stream(pa.PythonFile(sink, "w"), batches.schema) as writer:
            yield b""
            for batch in batches:
                writer.write_batch(batch)
                yield from sink.pieces()
        yield from sink.pieces()
    finally:
        exports.end()


class _Sink:
    """A file that hands on what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        self._held += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def pieces(self) -> Generator[bytes, None, None]:
        taken = bytes(self._held)
        self._held.clear()
        for at in range(0, len(taken), PIECE):
            yield taken[at : at + PIECE]
