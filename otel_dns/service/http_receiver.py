"""HTTP: Zipkin v2 in (CoreDNS can send straight to it), health, and the processor's own metrics.

CoreDNS throws a batch away on any answer but 2xx, so a list of spans is always answered 202, with
the bad ones counted; only a body that is no list at all gets 400.
"""

import asyncio
import logging
import socket
import threading
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import uvicorn

from otel_dns.service.counts import Counts
from otel_dns.service.otlp_receiver import Offer
from otel_dns.service.settings import ServeSettings
from otel_dns.service.sorting import Incoming, sort_spans
from otel_dns.wire import MalformedError, zipkin

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]

_HOLD_S: Final = 5.0
"""A sender is held so long while the pipeline is full: CoreDNS waits, and loses nothing yet."""

_log = logging.getLogger(__name__)


class _TooLargeError(MalformedError):
    """A body over the limit on a request."""


class HttpReceiver:
    """Listens in a thread of its own."""

    def __init__(
        self,
        settings: ServeSettings,
        offer: Offer,
        alive: Callable[[], bool],
        metrics: Callable[[str], tuple[bytes, str]],
    ) -> None:
        self._settings = settings
        self._offer = offer
        self._alive = alive
        self._metrics = metrics
        self.counts = Counts()
        self.address: str = settings.receivers.http.listen
        """Where it listens; once started with the port that was chosen where it was 0."""
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                interface="asgi3",
                lifespan="off",
                proxy_headers=False,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        self._socket: socket.socket | None = None
        self._decoding = asyncio.Semaphore(1)
        self._thread = threading.Thread(target=self._run, name="otel-dns-http", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        address = self._settings.receivers.http.listen
        host, _, port = address.rpartition(":")
        try:
            self._socket = socket.create_server(
                (host.strip("[]"), int(port)),
                family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            )
        except OSError as error:
            raise OSError(f"cannot listen on {address} for HTTP: {error}") from None
        self._thread.start()
        self.address = f"{host}:{self._socket.getsockname()[1]}"

    def stop(self) -> None:
        """Take no new requests; let those under way end."""
        if self._thread.ident is None:
            return
        # Requests that do not end in time are cut off, which uvicorn reports one by one.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.should_exit = True
        self._thread.join()

    def gauges(self) -> dict[str, int]:
        """Nothing is held here."""
        return {}

    def _run(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])

    async def _app(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        status, body, kind = await self._answer(scope, receive)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (b"content-type", kind),
                    (b"content-length", str(len(body)).encode()),
                ],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: _Message, receive: _Receive) -> tuple[int, bytes, bytes]:
        method, path = scope["method"], scope["path"].rstrip("/")
        text = b"text/plain; charset=utf-8"
        if path in {"/api/v2/spans", ""} and method == "POST":
            status, message = await self._take_zipkin(scope, receive)
            return status, message, text
        if method in {"GET", "HEAD"}:
            if path in {"/healthz", "/readyz"}:
                return (200, b"ok\n", text) if self._alive() else (503, b"not running\n", text)
            if path == "/metrics":
                accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
                page, kind = self._metrics(accept)
                return 200, page, kind.encode()
        return 404, b"no such page; POST /api/v2/spans, GET /healthz /readyz /metrics\n", text

    async def _take_zipkin(self, scope: _Message, receive: _Receive) -> tuple[int, bytes]:
        # Straight from CoreDNS: its own address is what tells one instance from another.
        sender = scope["client"][0] if scope.get("client") else ""
        try:
            body = await self._body(dict(scope["headers"]), receive)
            async with self._decoding:
                # In a thread: a large body must not keep the health checks waiting.
                spans, refused = await asyncio.to_thread(zipkin.decode, body, sender)
        except _TooLargeError as error:
            self.counts.add(zipkin_requests_too_large=1)
            return 413, f"{error}\n".encode()
        except MalformedError as error:
            self.counts.add(zipkin_requests_malformed=1)
            return 400, f"{error}\n".encode()
        incoming = sort_spans(spans, refused, self._settings.receivers.coredns_services)
        if refused:
            if not self.counts["zipkin_spans_refused"]:
                _log.warning("refused a Zipkin span: %s (said once; see metrics)", refused.first)
            self.counts.add(zipkin_spans_refused=refused.count)
        if spans and not await self._offer_or_hold(incoming, len(body)):
            self.counts.add(zipkin_spans_dropped_full=len(spans))
            return 202, b""
        self.counts.add(
            zipkin_requests=1,
            zipkin_server_spans=len(incoming.server_spans),
            zipkin_other_spans=len(incoming.others),
        )
        return 202, b""

    async def _offer_or_hold(self, incoming: Incoming, size: int) -> bool:
        deadline = asyncio.get_running_loop().time() + _HOLD_S
        while not self._offer(incoming, size, 0):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _body(self, headers: dict[bytes, bytes], receive: _Receive) -> bytes:
        """Read a body, unpacked where it is gzip, within the limit on a request."""
        limit = self._settings.receivers.http.max_request
        unpack = None
        if headers.get(b"content-encoding", b"").lower() == b"gzip":
            unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise MalformedError("the sender went away in the middle of the body")
            part, more = message.get("body", b""), message.get("more_body", False)
            if unpack is not None:
                try:
                    part = unpack.decompress(part, limit - size + 1)
                except zlib.error as error:
                    raise MalformedError(f"broken gzip: {error}") from None
            size += len(part)
            if size > limit:
                raise _TooLargeError(f"a body of over {limit} bytes")
            parts.append(part)
        if unpack is not None and (not unpack.eof or unpack.unused_data):
            raise MalformedError("broken gzip: cut short, or followed by something else")
        return b"".join(parts)
