"""HTTP: Zipkin v2 in (CoreDNS can send straight to it), OTLP/HTTP, health, and own metrics.

CoreDNS throws a batch away on any answer but 2xx, so a list of spans is always answered 202, with
the bad ones counted; only a body that is no list at all gets 400. While there is no room its
connection is held, never answered 429 or 503. OTLP's senders do come again: they get 503.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, NamedTuple, TypeAlias

from otel_dns.service import secrets
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.counts import Counts
from otel_dns.service.receivers.bearer import Bearer
from otel_dns.service.receivers.http_body import (
    Bodies,
    Headers,
    Receive,
    RefusedError,
    weight_of_json,
)
from otel_dns.service.receivers.http_server import HttpServer
from otel_dns.service.receivers.intake import BusyError, Offer, OtlpIntake
from otel_dns.service.receivers.listening import Listening, listening_socket
from otel_dns.service.receivers.turns import CutOffError, Turns
from otel_dns.service.sorting import Incoming, sort_spans
from otel_dns.wire import MalformedError, otlp_json, zipkin

_Message: TypeAlias = MutableMapping[str, Any]
_Send: TypeAlias = Callable[[_Message], Awaitable[None]]

_HOLD_S: Final = 3.0
"""A sender is held so long while the pipeline is full. CoreDNS gives up after 5 s, and would send
all of it again, and again with the next query: it must have its answer before."""
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


class _Signal(NamedTuple):
    """What OTLP sends to one path."""

    take: Callable[[bytes, float], bytes]
    from_json: Callable[[bytes], bytes]
    prefix: str
    """Of its counts."""


class HttpReceiver:
    """Listens in a thread of its own."""

    def __init__(
        self,
        settings: ServeSettings,
        intake: OtlpIntake,
        offer: Offer,
        alive: Callable[[], bool],
        pages: Mapping[str, Page],
        *,
        scarce: Callable[[], bool],
    ) -> None:
        """Make the receiver.

        Args:
            settings: where to listen, and whom to let in.
            intake: takes OTLP requests.
            offer: hands Zipkin's spans to the pipeline.
            alive: whether the service is well.
            pages: what can be read, by path.
            scarce: whether memory is.

        Raises:
            SecretError: certificates or the token cannot be read.
        """
        self._settings = settings.receivers.http
        self._services = settings.receivers.coredns_services
        self._max_weight = max(settings.receivers.max_waiting, 1 << 20)
        self._signals = {
            "/v1/traces": _Signal(intake.traces, otlp_json.traces, ""),
            "/v1/logs": _Signal(intake.logs, otlp_json.logs, "log_"),
        }
        self._intake = intake
        self._offer = offer
        self._alive = alive
        self._pages = pages
        self._bearer = Bearer(self._settings.token_file)
        self.counts = Counts()
        self.address: str = self._settings.listen
        """Where it listens; once started with the port that was chosen where it was 0."""
        self._limits = settings.receivers.limits
        tls = self._settings.tls
        self._context = secrets.server_context(tls) if tls else None
        self._listening: Listening | None = None
        self._server: HttpServer | None = None
        self._thread = threading.Thread()
        self._turns = Turns(scarce)
        self._bodies = Bodies(
            self._turns, self._settings.max_request, self._limits.read, self.counts
        )
        # One at a time, in a thread: what is large must not keep the health checks waiting.
        self._decoding, self._showing = asyncio.Semaphore(1), asyncio.Semaphore(1)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        address = self._settings.listen
        try:
            opened = listening_socket(address)
        except OSError as error:
            raise OSError(f"cannot listen on {address} for HTTP: {error}") from None
        listening = Listening(opened, self._limits, self.counts, "http_connections")
        server = HttpServer(self._app, self._limits, self.counts, self._context, listening.secured)
        self._thread = threading.Thread(
            target=server.run, args=([listening],), name="otel-dns-http", daemon=True
        )
        self._listening, self._server = listening, server
        self._thread.start()
        self.address = f"{address.rpartition(':')[0]}:{listening.getsockname()[1]}"

    def stop(self) -> None:
        """Take no new requests; let those under way end."""
        if self._server is None:
            return
        # Requests that do not end in time are cut off, which uvicorn reports one by one.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.should_exit = True
        self._thread.join()

    def gauges(self) -> dict[str, int]:
        """What is connected now."""
        return {"http_connections": self._listening.connected if self._listening else 0}

    # -- requests -----------------------------------------------------------------------------

    async def _app(self, scope: _Message, receive: Receive, send: _Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except RefusedError as refused:
            answer = _Answer(
                refused.status, f"{refused}\n".encode(), headers=tuple(refused.headers)
            )
        except asyncio.CancelledError:  # at the end, as the request takes longer than there is
            answer = _Answer(503, b"ending; try again later\n", headers=((b"retry-after", b"1"),))
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

    async def _answer(self, scope: _Message, receive: Receive) -> _Answer:
        method, path = scope["method"], scope["path"].rstrip("/")
        headers: Headers = dict(scope["headers"])
        if method in {"GET", "HEAD"} and path in {"/healthz", "/readyz"}:
            return _Answer(200, b"ok\n") if self._alive() else _Answer(503, b"not running\n")
        shown = headers.get(b"authorization", b"").decode("latin-1")
        if self._bearer.wanted and not self._bearer.shown(shown):
            self.counts.add(http_requests_unauthenticated=1)
            raise RefusedError(401, "a bearer token is wanted", (b"www-authenticate", b"Bearer"))
        if method == "POST":
            if path in {"/api/v2/spans", ""}:
                return await self._take_zipkin(scope, headers, receive)
            if path in self._signals:
                return await self._take_otlp(self._signals[path], scope, headers, receive)
        if method in {"GET", "HEAD"} and path in self._pages:
            accept = headers.get(b"accept", b"").decode("latin-1")
            async with self._showing:
                page, kind = await asyncio.to_thread(self._pages[path], accept)
            return _Answer(200, page, kind.encode())
        raise RefusedError(
            404, "no such page; POST /v1/traces /v1/logs /api/v2/spans, GET /healthz /readyz"
            " /metrics /ledger",
        )  # fmt: skip

    async def _take_otlp(
        self, signal: _Signal, scope: _Message, headers: Headers, receive: Receive
    ) -> _Answer:
        malformed = {f"{signal.prefix}requests_malformed": 1}
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind not in {_JSON, _PROTOBUF}:
            self.counts.add(**malformed)
            raise RefusedError(
                415, "application/x-protobuf or application/json is wanted, not"
                f" {kind.decode('latin-1')!r:.100}",
            )  # fmt: skip

        def work(body: bytes) -> bytes:
            if kind == _PROTOBUF:
                return signal.take(body, 0.0)
            try:
                body = signal.from_json(body)
            except MalformedError:
                self.counts.add(**malformed)
                raise
            return otlp_json.response(signal.take(body, 0.0))

        turned_away = f"{signal.prefix}requests_turned_away"
        async with self._turns.of(_sender(scope)):
            try:
                # Before it is read: what is not there takes no memory.
                self._intake.look_for_room(0, turned_away)
                try:
                    body = await self._bodies.read(headers, receive, signal.prefix)
                except CutOffError:
                    self._intake.turn_away(turned_away)
                if kind == _JSON:
                    self._weigh(body, signal.prefix)
                async with self._decoding:
                    return _Answer(200, await asyncio.to_thread(work, body), kind)
            except MalformedError as error:
                raise RefusedError(400, str(error)) from None
            except BusyError as error:
                raise RefusedError(503, str(error), (b"retry-after", b"1")) from None

    async def _take_zipkin(self, scope: _Message, headers: Headers, receive: Receive) -> _Answer:
        # Straight from CoreDNS: its own address is what tells one instance from another.
        sender = _sender(scope)
        async with self._turns.of(sender):
            try:
                body = await self._bodies.read(headers, receive, "zipkin_")
            except CutOffError:
                self.counts.add(zipkin_requests_cut_off=1)
                return _Answer(202)
            self._weigh(body, "zipkin_")
            try:
                async with self._decoding:
                    spans, refused = await asyncio.to_thread(zipkin.decode, body, sender)
            except MalformedError as error:
                self.counts.add(zipkin_requests_malformed=1)
                raise RefusedError(400, str(error)) from None
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

    def _weigh(self, body: bytes, prefix: str) -> None:
        """Refuse JSON that would take more memory, once decoded, than all that may wait."""
        if weight_of_json(body) > self._max_weight:
            self.counts.add(**{f"{prefix}requests_too_large": 1})
            raise RefusedError(413, f"JSON that takes over {self._max_weight} bytes of memory")

    async def _offer_or_hold(self, incoming: Incoming, size: int) -> bool:
        deadline = asyncio.get_running_loop().time() + _HOLD_S
        while not self._offer(incoming, size, 0):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.05)
        return True


def _sender(scope: _Message) -> str:
    return scope["client"][0] if scope.get("client") else ""
