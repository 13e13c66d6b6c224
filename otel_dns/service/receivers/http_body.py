"""Bodies of HTTP requests, read within limits: their size, also unpacked, and their time."""

import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from otel_dns.service.counts import Counts
from otel_dns.service.receivers.turns import CutOffError, Turns

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Gives ASGI's messages."""
Headers: TypeAlias = dict[bytes, bytes]


def weight_of_json(body: bytes) -> int:
    """Estimate the bytes that JSON takes once it is decoded: up to a hundred times its own."""
    containers = body.count(b"{") + body.count(b"[")
    return len(body) + 250 * containers + 30 * body.count(b'"') + 64 * body.count(b",")


class RefusedError(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


class Bodies:
    """Reads the bodies of one listener's requests."""

    def __init__(self, turns: Turns, max_bytes: int, within_s: float, counts: Counts) -> None:
        """Make a reader.

        Args:
            turns: in which they are read.
            max_bytes: of a body, unpacked.
            within_s: seconds for a body to come.
            counts: gets ``http_requests_too_slow``, and ``requests_too_large`` and
                ``requests_malformed`` with the prefix of the kind.
        """
        self._turns = turns
        self._max_bytes = max_bytes
        self._within_s = within_s
        self._counts = counts

    async def read(self, headers: Headers, receive: Receive, prefix: str) -> bytes:
        """Read a body, unpacked where it is gzip.

        Args:
            headers: of the request, by name in lower case.
            receive: gives the body piece by piece.
            prefix: of the counts: ``""`` for OTLP's traces, ``"log_"``, ``"zipkin_"``.

        Raises:
            RefusedError: it is too large, too slow, or broken; counted.
            CutOffError: there is no memory to read on.
        """
        try:
            async with self._turns.reading(self._within_s):
                return await self._read(headers, receive)
        except CutOffError:
            raise
        except TimeoutError:
            self._counts.add(http_requests_too_slow=1)
            raise RefusedError(
                408, f"the body took over {self._within_s:g} s", (b"connection", b"close")
            ) from None
        except RefusedError as error:
            what = "too_large" if error.status == 413 else "malformed"
            self._counts.add(**{f"{prefix}requests_{what}": 1})
            raise

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        encoding = headers.get(b"content-encoding", b"").strip().lower()
        if encoding not in {b"", b"identity", b"gzip"}:
            raise RefusedError(415, "of content encodings, gzip is taken")
        unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == b"gzip" else None
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the sender went away in the middle of the body")
            part, more = message.get("body", b""), message.get("more_body", False)
            if unpack is not None:
                try:
                    part = unpack.decompress(part, self._max_bytes - size + 1)
                except zlib.error as error:
                    raise RefusedError(400, f"broken gzip: {error}") from None
            size += len(part)
            if size > self._max_bytes:
                raise RefusedError(413, f"a body of over {self._max_bytes} bytes")
            parts.append(part)
        if unpack is not None and (not unpack.eof or unpack.unused_data):
            raise RefusedError(400, "broken gzip: cut short, or followed by something else")
        return b"".join(parts)
