"""HTTP: Zipkin v2 in (CoreDNS can send straight to it), OTLP/HTTP, health, and own metrics.

CoreDNS throws a batch away on any answer but 2xx, so a list of spans is always answered 202, with
the bad ones counted; only a body that is no list at all gets 400. While there is no room its
connection is held, never answered 429 or 503. OTLP's senders do come again: they get 503.
"""

import asyncio
import logging
import socket
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, TypeAlias

import uvicorn

from otel_dns.service import secrets
from otel_dns.service.bearer import Bearer
from otel_dns.service.counts import Counts
from otel_dns.service.http_protocol import limited_protocol
from otel_dns.service.intake import BusyError, Offer, OtlpIntake
from otel_dns.service.settings import ServeSettings
from otel_dns.service.sorting import Incoming, sort_spans
from otel_dns.service.turns import Turns
from otel_dns.wire import MalformedError, otlp_json, zipkin

_Message: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[_Message]]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]
_Headers: TypeAlias = dict[bytes, bytes]

_HOLD_S: Final = 5.0
"""A sender is held so long while the pipeline is full: CoreDNS waits, and loses nothing yet."""
_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json"
_PROTOBUF: Final = b"application/x-protobuf"

_log = logging.getLogger(__name__)


Page: TypeAlias = Callable[[str], tuple[bytes, str]]
"""Makes a page and names its kind, given what the reader accepts."""


class _Answer(NamedTuple):
    status: int
    body: bytes = b""
    kind: bytes = _TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _RefusedError(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, status: int, why: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(why)
        self.answer = _Answer(status, f"{why}\n".encode(), headers=headers)


class _Server(uvicorn.Server):
    """uvicorn, told of new certificates."""

    def __init__(self, config: uvicorn.Config, renew: Callable[[], None]) -> None:
        super().__init__(config)
        self._renew = renew

    async def on_tick(self, counter: int) -> bool:
        self._renew()
        return await super().on_tick(counter)


class HttpReceiver:
    """Listens in a thread of its own."""

    def __init__(
        self,
        settings: ServeSettings,
        intake: OtlpIntake,
        offer: Offer,
        alive: Callable[[], bool],
        pages: Mapping[str, Page],
    ) -> None:
        """Make the receiver.

        Args:
            settings: where to listen, and whom to let in.
            intake: takes OTLP requests.
            offer: hands Zipkin's spans to the pipeline.
            alive: whether the service is well.
            pages: what can be read, by path.

        Raises:
            SecretError: certificates or the token cannot be read.
        """
        self._settings = settings.receivers.http
        self._services = settings.receivers.coredns_services
        self._intake = intake
        self._offer = offer
        self._alive = alive
        self._pages = pages
        self._bearer = Bearer(self._settings.token_file)
        self.counts = Counts()
        self.address: str = self._settings.listen
        """Where it listens; once started with the port that was chosen where it was 0."""
        self._limits = limits = settings.receivers.limits
        self._connections: Counter[str] = Counter()
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            http=limited_protocol(limits, self.counts, self._connections),
            h11_max_incomplete_event_size=limits.headers,
            timeout_keep_alive=max(round(limits.idle), 1),
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        tls = self._settings.tls
        self._watched = secrets.Watched(*((tls.certificate, tls.key) if tls else ()))
        if tls is not None:
            secrets.check(tls)
            config.ssl_certfile, config.ssl_keyfile = tls.certificate, tls.key
            if tls.client_ca is not None:
                config.ssl_ca_certs, config.ssl_cert_reqs = tls.client_ca, ssl.CERT_REQUIRED
        self._server = _Server(config, self._renew)
        self._socket: socket.socket | None = None
        self._decoding = asyncio.Semaphore(1)
        self._turns = Turns()
        self._thread = threading.Thread(target=self._run, name="otel-dns-http", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        address = self._settings.listen
        host, _, port = address.rpartition(":")
        if address.startswith("unix:"):
            raise OSError(f"cannot listen on {address} for HTTP: HOST:PORT is wanted here")
        try:
            self._socket = socket.create_server(
                (host.strip("[]"), int(port)),
                family=socket.AF_INET6 if ":" in host else socket.AF_INET,
            )
        except (OSError, ValueError) as error:
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
        """What is connected now."""
        return {"http_connections": self._connections.total()}

    def _run(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])

    def _renew(self) -> None:
        tls, context = self._settings.tls, self._server.config.ssl
        if tls is not None and context is not None and self._watched.changed():
            try:
                context.load_cert_chain(tls.certificate, tls.key)
            except OSError as error:
                _log.warning("%s cannot be read anew: %s", tls.certificate, error)

    # -- requests -----------------------------------------------------------------------------

    async def _app(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except _RefusedError as refused:
            answer = refused.answer
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [
                    (b"content-type", answer.kind),
                    (b"content-length", str(len(answer.body)).encode()),
                    *answer.headers,
                ],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: _Message, receive: _Receive) -> _Answer:
        method, path = scope["method"], scope["path"].rstrip("/")
        headers: _Headers = dict(scope["headers"])
        if method in {"GET", "HEAD"} and path in {"/healthz", "/readyz"}:
            return _Answer(200, b"ok\n") if self._alive() else _Answer(503, b"not running\n")
        shown = headers.get(b"authorization", b"").decode("latin-1")
        if self._bearer.wanted and not self._bearer.shown(shown):
            self.counts.add(http_requests_unauthenticated=1)
            raise _RefusedError(401, "a bearer token is wanted", (b"www-authenticate", b"Bearer"))
        if method == "POST":
            if path in {"/api/v2/spans", ""}:
                return await self._take_zipkin(scope, headers, receive)
            if path == "/v1/traces":
                return await self._take_otlp(
                    scope, headers, receive, self._intake.traces, otlp_json.traces
                )
            if path == "/v1/logs":
                return await self._take_otlp(
                    scope, headers, receive, self._intake.logs, otlp_json.logs
                )
        if method in {"GET", "HEAD"} and path in self._pages:
            page, kind = self._pages[path](headers.get(b"accept", b"").decode("latin-1"))
            return _Answer(200, page, kind.encode())
        raise _RefusedError(
            404, "no such page; POST /v1/traces /v1/logs /api/v2/spans, GET /healthz /readyz"
            " /metrics /ledger",
        )  # fmt: skip

    async def _take_otlp(
        self,
        scope: _Message,
        headers: _Headers,
        receive: _Receive,
        take: Callable[[bytes, float], bytes],
        from_json: Callable[[bytes], bytes],
    ) -> _Answer:
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in {_JSON, _PROTOBUF}:
            raise _RefusedError(
                415, "application/x-protobuf or application/json is wanted, not"
                f" {kind.decode('latin-1')!r:.100}",
            )  # fmt: skip

        def work(body: bytes) -> bytes:
            if kind == _PROTOBUF:
                return take(body, 0.0)
            answer = take(from_json(body), 0.0)
            return otlp_json.response(answer)

        async with self._turns.of(_sender(scope)):
            body = await self._body(headers, receive)
            try:
                async with self._decoding:
                    # In a thread: a large body must not keep the health checks waiting.
                    return _Answer(200, await asyncio.to_thread(work, body), kind)
            except MalformedError as error:
                raise _RefusedError(400, str(error)) from None
            except BusyError as error:
                raise _RefusedError(503, str(error), (b"retry-after", b"1")) from None

    async def _take_zipkin(self, scope: _Message, headers: _Headers, receive: _Receive) -> _Answer:
        # Straight from CoreDNS: its own address is what tells one instance from another.
        sender = _sender(scope)
        async with self._turns.of(sender):
            try:
                body = await self._body(headers, receive)
                async with self._decoding:
                    spans, refused = await asyncio.to_thread(zipkin.decode, body, sender)
            except MalformedError as error:
                self.counts.add(zipkin_requests_malformed=1)
                raise _RefusedError(400, str(error)) from None
            except _RefusedError as error:
                if error.answer.status == 413:
                    self.counts.add(zipkin_requests_too_large=1)
                else:
                    self.counts.add(zipkin_requests_malformed=1)
                raise
            incoming = sort_spans(spans, refused, self._services)
            if refused:
                if not self.counts["zipkin_spans_refused"]:
                    _log.warning(
                        "refused a Zipkin span: %s (said once; see metrics)", refused.first
                    )
                self.counts.add(zipkin_spans_refused=refused.count)
            if spans and not await self._offer_or_hold(incoming, len(body)):
                self.counts.add(zipkin_spans_dropped_full=len(spans))
                return _Answer(202)
        self.counts.add(
            zipkin_requests=1,
            zipkin_server_spans=len(incoming.server_spans),
            zipkin_other_spans=incoming.other_spans,
        )
        return _Answer(202)

    async def _offer_or_hold(self, incoming: Incoming, size: int) -> bool:
        deadline = asyncio.get_running_loop().time() + _HOLD_S
        while not self._offer(incoming, size, 0):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _body(self, headers: _Headers, receive: _Receive) -> bytes:
        """Read a body, unpacked where it is gzip, within the limits on a request."""
        encoding = headers.get(b"content-encoding", b"").strip().lower()
        if encoding not in {b"", b"identity", b"gzip"}:
            raise _RefusedError(415, "of content encodings, gzip is taken")
        try:
            async with asyncio.timeout(self._limits.read):
                return await self._read(receive, gzip=encoding == b"gzip")
        except TimeoutError:
            self.counts.add(http_requests_too_slow=1)
            raise _RefusedError(
                408, f"the body took over {self._limits.read:g} s", (b"connection", b"close")
            ) from None

    async def _read(self, receive: _Receive, *, gzip: bool) -> bytes:
        limit = self._settings.max_request
        unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if gzip else None
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _RefusedError(400, "the sender went away in the middle of the body")
            part, more = message.get("body", b""), message.get("more_body", False)
            if unpack is not None:
                try:
                    part = unpack.decompress(part, limit - size + 1)
                except zlib.error as error:
                    raise _RefusedError(400, f"broken gzip: {error}") from None
            size += len(part)
            if size > limit:
                raise _RefusedError(413, f"a body of over {limit} bytes")
            parts.append(part)
        if unpack is not None and (not unpack.eof or unpack.unused_data):
            raise _RefusedError(400, "broken gzip: cut short, or followed by something else")
        return b"".join(parts)


def _sender(scope: _Message) -> str:
    return scope["client"][0] if scope.get("client") else ""
