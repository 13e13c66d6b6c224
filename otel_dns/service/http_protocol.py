"""uvicorn's HTTP/1.1, with limits: connections, those of one peer, headers and their time."""

import asyncio
import logging
from collections import Counter
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from otel_dns.service.counts import Counts
from otel_dns.service.settings import Limits

_quiet: Final = logging.getLogger("otel_dns.http_protocol")
_quiet.setLevel(logging.ERROR)  # what is no HTTP is counted: anyone could fill the log with it


def limited_protocol(limits: Limits, counts: Counts, of_peer: Counter[str]) -> type[H11Protocol]:
    """Make a class of protocols for one listener.

    Args:
        limits: of its connections.
        counts: gets ``http_connections_turned_away``, ``http_requests_too_slow`` and
            ``http_requests_malformed``.
        of_peer: kept up to date: how many connections each peer has.
    """

    class Limited(H11Protocol):
        """One connection."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.logger = _quiet
            self._peer: str | None = None
            self._timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            peer = self.client[0] if self.client else ""
            if (
                of_peer[peer] >= limits.connections_of_a_peer
                or of_peer.total() >= limits.connections
            ):
                counts.add(http_connections_turned_away=1)
                transport.abort()
                return
            self._peer = peer
            of_peer[peer] += 1
            self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_no_more()
            if self._peer is not None:
                of_peer[self._peer] -= 1
                if not of_peer[self._peer]:
                    del of_peer[self._peer]
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._peer is None:
                return
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._expect_no_more()  # the headers are there; whoever reads the body takes care
            elif self.cycle is None or self.cycle.response_complete:
                self._expect()

        def send_400_response(self, msg: str) -> None:
            counts.add(http_requests_malformed=1)
            super().send_400_response(msg)

        def _expect(self) -> None:
            """From now on headers must come in time."""
            if self._timer is None:
                self._timer = self.loop.call_later(limits.read, self._too_slow)

        def _expect_no_more(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_slow(self) -> None:
            counts.add(http_requests_too_slow=1)
            self.transport.abort()

    return Limited
