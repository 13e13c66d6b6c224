"""uvicorn, with sockets, TLS and limits of ours.

Its HTTP/1.1 gets a time for headers, and what is no HTTP is counted; its TLS a time for the
handshake, and certificates that may change.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from otel_dns.service.configuration.settings import Limits
from otel_dns.service.counts import Counts

_quiet: Final = logging.getLogger("otel_dns.http_server")
_quiet.setLevel(logging.ERROR)  # what is no HTTP is counted: anyone could fill the log with it


class HttpServer(uvicorn.Server):
    """Serves listening sockets, see ``run``, until ``should_exit``."""

    def __init__(
        self,
        app: Callable[..., Any],
        limits: Limits,
        counts: Counts,
        context: ssl.SSLContext | None,
        connected: Callable[[asyncio.Transport], None],
    ) -> None:
        """Make a server.

        Args:
            app: an ASGI application.
            limits: of its connections.
            counts: gets ``http_requests_too_slow`` and ``http_requests_malformed``.
            context: of TLS; None: unencrypted.
            connected: is told of each connection that is ready.
        """
        super().__init__(
            uvicorn.Config(
                app,
                interface="asgi3",
                loop="asyncio",  # others do not ask `listening.Listening`
                http=_limited_protocol(limits, counts, connected),
                h11_max_incomplete_event_size=limits.headers,
                timeout_keep_alive=max(round(limits.idle), 1),
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._context = context
        self._handshake_s = float(limits.read) if context is not None else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, as uvicorn does, but for the handshake's time."""
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=one,
                ssl=self._context,
                backlog=self.config.backlog,
                ssl_handshake_timeout=self._handshake_s,
            )
            for one in sockets or ()
        ]
        self.started = True

    def _protocol(self) -> asyncio.Protocol:
        made: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return made(config=self.config, server_state=self.server_state, app_state={})


def _limited_protocol(
    limits: Limits, counts: Counts, connected: Callable[[asyncio.Transport], None]
) -> type[H11Protocol]:
    """Make a class of protocols for one listener.

    Args:
        limits: of its connections.
        counts: gets ``http_requests_too_slow`` and ``http_requests_malformed``.
        connected: is told of each connection that is ready.
    """

    class Limited(H11Protocol):
        """One connection."""

        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.logger = _quiet
            self._timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connected(transport)
            self._expect()

        def connection_lost(self, exc: Exception | None) -> None:
            self._expect_no_more()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
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
