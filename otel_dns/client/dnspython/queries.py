"""Queries that dnspython sends: `dns.query`, `dns.asyncquery`, and what they stand on.

The port that a query leaves from is known while its socket is open, so the functions that send and
connect are watched too. They do what they did before.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from inspect import isawaitable
from typing import Any, Final
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
from opentelemetry.trace import use_span

from otel_dns import semconv
from otel_dns.client.dnspython.marking import Marked, b3_headers, marked
from otel_dns.client.errors import class_name
from otel_dns.client.patch import Replacement
from otel_dns.client.query_recorder import (
    Exchange,
    Query,
    QueryRecorder,
    Response,
    Together,
    sending,
)

_KIND: Final = "dnspython"
_FUNCTIONS: Final = {
    "udp": (semconv.TRANSPORT_UDP, 53),
    "tcp": (semconv.TRANSPORT_TCP, 53),
    "tls": (semconv.TRANSPORT_TLS, 853),
    "https": (semconv.TRANSPORT_HTTPS, 443),
    "quic": (semconv.TRANSPORT_QUIC, 853),
}
"""Transport and default port."""


def of_query(recorder: QueryRecorder) -> Iterable[Replacement]:
    """Replace the functions of ``dns.query``.

    Args:
        recorder: Who records the queries.
    """
    module = import_module("dns.query")
    for name, (transport, port) in _FUNCTIONS.items():
        yield _Sent(module, name, transport, port, recorder)
    yield _Fallback(module, "udp_with_fallback")
    for name in ("send_udp", "send_tcp"):
        yield Replacement(module, name, _noting_socket)
    backend = getattr(module, "_NetworkBackend", None)
    if backend is not None:
        yield Replacement(backend, "connect_tcp", _noting_connection)
    client = _http_client(module)
    if client is not None and semconv.MARK_B3 in recorder.settings.marks:
        yield Replacement(client.Client, "send", _with_headers)


def of_asyncquery(recorder: QueryRecorder) -> Iterable[Replacement]:
    """Replace the functions of ``dns.asyncquery``.

    Args:
        recorder: Who records the queries.
    """
    module = import_module("dns.asyncquery")
    for name, (transport, port) in _FUNCTIONS.items():
        yield _AsyncSent(module, name, transport, port, recorder)
    yield _AsyncFallback(module, "udp_with_fallback")
    for name in ("send_udp", "send_tcp"):
        yield Replacement(module, name, _noting_async_socket)
    client = _http_client(module)
    if client is not None and semconv.MARK_B3 in recorder.settings.marks:
        # What it returns is awaited by the caller; headers are put in before.
        yield Replacement(client.AsyncClient, "send", _with_headers)


def of_quic(recorder: QueryRecorder) -> Iterable[Replacement]:
    """Replace methods of ``dns.quic``'s connections.

    Args:
        recorder: Who records the queries.
    """
    module = import_module("dns.quic")
    if not module.have_quic:
        return
    yield Replacement(module.SyncQuicConnection, "make_stream", _noting_stream)
    for name in ("AsyncioQuicConnection", "TrioQuicConnection"):
        connection = getattr(module, name, None)
        if connection is not None:
            yield Replacement(connection, "make_stream", _noting_async_stream)
    common = sys.modules.get("dns.quic._common")
    base = getattr(common, "BaseQuicConnection", None)
    if semconv.MARK_B3 in recorder.settings.marks and hasattr(base, "send_headers"):
        yield Replacement(base, "send_headers", _with_h3_headers)


def of_backend(name: str) -> Iterable[Replacement]:
    """Replace how an async backend connects for HTTPS.

    Args:
        name: The backend's module.
    """
    backend = getattr(import_module(name), "_NetworkBackend", None)
    if backend is not None:
        yield Replacement(backend, "connect_tcp", _noting_async_connection)


# -- functions that send a query and return its response -------------------------------------------


class _Reading(Replacement):
    """A function that sends a query, replaced by one that records it."""

    def __init__(
        self, owner: Any, name: str, transport: str, port: int, recorder: QueryRecorder
    ) -> None:
        self.transport = transport
        self.port = port
        self.recorder = recorder
        self.api = f"{owner.__name__}.{name}"
        super().__init__(owner, name, self._wrap)

    def _wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        raise NotImplementedError

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "_Ongoing | None":
        recorder = self.recorder
        if not (self.live and recorder.awake):
            return None
        try:
            query = _read(self.transport, self.port, self.api, *args, **kwargs)
        except Exception:  # noqa: BLE001 - wrong arguments: the original raises
            return None
        if query is None:
            return None
        try:
            exchange = recorder.begin(query)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            recorder.recorder.failed(error)
            return None
        return None if exchange is None else _Ongoing(recorder, exchange, args, kwargs)


class _Sent(_Reading):
    def _wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            ongoing = self.begin(args, kwargs)
            if ongoing is None:
                return original(*args, **kwargs)
            with ongoing.around():
                try:
                    response = original(*ongoing.args, **ongoing.kwargs)
                except BaseException as error:
                    ongoing.failed(error)
                    raise
            ongoing.answered(response)
            return response

        return wrapper


class _AsyncSent(_Reading):
    def _wrap(self, original: Callable[..., Any]) -> Callable[..., Any]:
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            ongoing = self.begin(args, kwargs)
            if ongoing is None:
                return await original(*args, **kwargs)
            with ongoing.around():
                try:
                    response = await original(*ongoing.args, **ongoing.kwargs)
                except BaseException as error:
                    ongoing.failed(error)
                    raise
            ongoing.answered(response)
            return response

        return wrapper


class _Ongoing:
    """A query that is recorded, with the arguments to send it by."""

    def __init__(
        self,
        recorder: QueryRecorder,
        exchange: Exchange,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._recorder = recorder
        self._exchange = exchange
        self._marked: Marked | None = None
        self.args = args
        self.kwargs = kwargs
        context = exchange.span.get_span_context()
        wanted = recorder.settings.marks
        if wanted and context.trace_flags.sampled:
            try:
                self._mark(wanted)
            except Exception as error:  # noqa: BLE001 - then it is sent as it is
                recorder.recorder.failed(error)

    def _mark(self, wanted: frozenset[str]) -> None:
        exchange = self._exchange
        made = marked(exchange.message, exchange.span.get_span_context(), wanted)
        if made is not None:
            self._marked = made
            exchange.message = made.message
            exchange.marks = made.marks
            if self.args:
                self.args = (made.message, *self.args[1:])
            else:
                self.kwargs = {**self.kwargs, "q": made.message}
        if semconv.MARK_B3 in wanted and exchange.query.transport == semconv.TRANSPORT_HTTPS:
            exchange.marks = (*exchange.marks, semconv.MARK_B3)

    def around(self) -> AbstractContextManager[Any]:
        """Make the query's span the current one where others may make spans under it."""
        if self._exchange.query.transport != semconv.TRANSPORT_HTTPS:
            return nullcontext()
        return use_span(
            self._exchange.span,
            end_on_exit=False,
            record_exception=False,
            set_status_on_exception=False,
        )

    def answered(self, response: Any) -> None:
        self._end(response, None)

    def failed(self, error: BaseException) -> None:
        if isinstance(error, dns.message.Truncated):
            self._end(error.kwargs["message"], None, truncated=True)
        else:
            self._end(None, error)

    def _end(self, response: Any, error: BaseException | None, *, truncated: bool = False) -> None:
        recorder, exchange = self._recorder, self._exchange
        told = Response()
        try:
            if exchange.size is None:
                wire = getattr(exchange.message, "wire", None)
                exchange.size = len(wire) if wire else None
            told = _response(exchange, response, error, truncated=truncated)
        except Exception as problem:  # noqa: BLE001 - the application must not see it
            recorder.recorder.failed(problem)
        recorder.end(exchange, told, error)
        if self._marked is not None:
            try:
                self._marked.restore(response)
            except Exception as problem:  # noqa: BLE001 - the application must not see it
                recorder.recorder.failed(problem)


def _read(  # noqa: PLR0917 - the signatures read have these in common
    transport: str,
    default_port: int,
    api: str,
    q: dns.message.Message,
    where: str,
    timeout: float | None = None,  # noqa: ARG001
    port: int | None = None,
    *_: Any,
    **__: Any,
) -> Query | None:
    if not isinstance(q, dns.message.Message) or not q.question:
        return None
    question = q.question[0]
    server, port = where, default_port if port is None else port
    if transport == semconv.TRANSPORT_HTTPS and "/" in where:
        url = urlsplit(where)
        server, port = url.hostname or where, url.port or 443
    return Query(
        q,
        question.name.to_text(),
        dns.rdatatype.to_text(question.rdtype),
        transport,
        server,
        port,
        api,
        _KIND,
    )


def _response(
    exchange: Exchange, response: Any, error: BaseException | None, *, truncated: bool
) -> Response:
    # Read now: over QUIC and HTTP/3 dnspython sets the id to 0.
    dns_id = getattr(exchange.message, "id", None)
    if not isinstance(response, dns.message.Message):
        return Response(dns_id, error_type=None if error is None else _error_type(error))
    wire = getattr(response, "wire", None)
    return Response(
        dns_id,
        dns.rcode.to_text(response.rcode()),
        truncated or bool(response.flags & dns.flags.TC),
        len(wire) if wire else None,
    )


def _error_type(error: BaseException) -> str:
    if isinstance(error, dns.exception.Timeout):
        return semconv.ERROR_TIMEOUT
    return class_name(error)


# -- functions that make several queries -------------------------------------------------------


class _Fallback(Replacement):
    def __init__(self, owner: Any, name: str) -> None:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if not self.live:
                    return original(*args, **kwargs)
                with Together():
                    return original(*args, **kwargs)

            return wrapper

        super().__init__(owner, name, wrap)


class _AsyncFallback(Replacement):
    def __init__(self, owner: Any, name: str) -> None:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                if not self.live:
                    return await original(*args, **kwargs)
                with Together():
                    return await original(*args, **kwargs)

            return wrapper

        super().__init__(owner, name, wrap)


# -- where a query leaves from ---------------------------------------------------------------------


def _note(exchange: Exchange | None, name: Any) -> None:
    """Note a socket's own name, if it is that of an internet socket."""
    if exchange is not None and isinstance(name, tuple) and len(name) >= 2:
        exchange.client = (str(name[0]), int(name[1]))


def _noting_socket(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        exchange = sending()
        if exchange is not None:
            with suppress(Exception):  # a socket of somebody else's making
                _note(exchange, _first("sock", args, kwargs).getsockname())
        return result

    return wrapper


def _noting_async_socket(original: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        exchange = sending()
        if exchange is not None:
            with suppress(Exception):  # a socket of somebody else's making
                _note(exchange, await _name_of(_first("sock", args, kwargs)))
        return result

    return wrapper


def _noting_stream(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(connection: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(connection, *args, **kwargs)
        with suppress(Exception):  # another version of dnspython's
            _note(sending(), connection._socket.getsockname())
        return result

    return wrapper


def _noting_async_stream(original: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(connection: Any, *args: Any, **kwargs: Any) -> Any:
        result = await original(connection, *args, **kwargs)
        exchange = sending()
        if exchange is not None:
            with suppress(Exception):  # another version of dnspython's
                _note(exchange, await _name_of(connection._socket))
        return result

    return wrapper


async def _name_of(sock: Any) -> Any:
    name = sock.getsockname()
    if isawaitable(name):  # not of trio's own sockets, which its QUIC connections have
        name = await name
    if name[1] == 0:
        # asyncio asked before anything was sent: a port is taken with the first datagram.
        return sock.transport.get_extra_info("socket").getsockname()
    return name


def _noting_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        stream = original(*args, **kwargs)
        _note_stream(stream)
        return stream

    return wrapper


def _noting_async_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        stream = await original(*args, **kwargs)
        _note_stream(stream)
        return stream

    return wrapper


def _note_stream(stream: Any) -> None:
    exchange = sending()
    if exchange is None:
        return
    try:
        _note(exchange, stream.get_extra_info("client_addr"))
        peer = stream.get_extra_info("server_addr")
        exchange.peer = (str(peer[0]), int(peer[1]))
    except Exception:  # noqa: BLE001, S110 - another version of the HTTP client's
        pass


# -- B3 headers --------------------------------------------------------------------------------


def _http_client(module: Any) -> Any:
    """Return the HTTP client that this version of dnspython uses, if it is installed."""
    return getattr(module, "httpx2", None) or getattr(module, "httpx", None)


def _with_headers(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(client: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        for name, value in _headers().items():
            request.headers[name] = value
        return original(client, request, *args, **kwargs)

    return wrapper


def _with_h3_headers(original: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(connection: Any, stream_id: Any, headers: Any, *args: Any, **kwargs: Any) -> Any:
        # HTTP/3 has names in lower case; a server resets the stream of any other.
        added = [(name.lower().encode(), value.encode()) for name, value in _headers().items()]
        return original(connection, stream_id, [*headers, *added], *args, **kwargs)

    return wrapper


def _headers() -> dict[str, str]:
    exchange = sending()
    if exchange is None or semconv.MARK_B3 not in exchange.marks:
        return {}
    return b3_headers(exchange.span.get_span_context())


def _first(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs[name]
