"""OTLP over gRPC in: raw bytes through a generic handler, answers as the protocol wants them.

Malformed is INVALID_ARGUMENT, too busy is UNAVAILABLE with the time to come again (clients drop on
anything else), success is an empty answer, and spans refused for themselves are a partial success.
Beside it the health service (grpc.health.v1), as Kubernetes' gRPC probes ask for it.

Requests are read in an event loop, so that one which comes slowly holds no thread; it must have
come within a time, and a peer has so many turns to be read at once and no more.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as ProtoAny

from otel_dns.service import secrets
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.counts import Counts
from otel_dns.service.receivers.bearer import Bearer
from otel_dns.service.receivers.connections import Connections
from otel_dns.service.receivers.intake import BusyError, OtlpIntake
from otel_dns.service.receivers.listening import listening_socket, make_way
from otel_dns.service.receivers.turns import CutOffError, Turns
from otel_dns.wire import MalformedError, otlp

EXPORT_LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"  # HealthCheckResponse.status
_NOT_SERVING: Final = b"\x08\x02"
_WAIT_FOR_ROOM_S: Final = 1.0
_THREADS: Final = 5
_MAY_WAIT: Final = 4
"""Of the threads, so many may wait for room; the others stay free to refuse."""
_SMALL: Final = 256 << 10
"""Bytes of a request that is looked at in the loop itself: a thread would cost more."""
_GRACE_S: Final = 2.0
_START_S: Final = 30.0

_Code: Final = grpc.StatusCode
_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_Handler: TypeAlias = Callable[[Any, _Context], Awaitable[bytes]]


def _retry_info() -> bytes:
    """Make the details of UNAVAILABLE: google.rpc.Status with RetryInfo of one second."""
    info = ProtoAny(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a\x02\x08\x01")
    packed = info.SerializeToString()
    return b"\x08\x0e\x1a" + bytes((len(packed),)) + packed


_COME_AGAIN: Final = (("grpc-status-details-bin", _retry_info()),)


class OtlpReceiver:
    """The one method of the trace service, that of the log service, and that of health."""

    def __init__(
        self,
        settings: ServeSettings,
        intake: OtlpIntake,
        healthy: Callable[[], bool] = lambda: True,
        scarce: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make the receiver.

        Args:
            settings: where to listen, and whom to let in.
            intake: takes the requests.
            healthy: what the health service tells.
            scarce: whether memory is.
        """
        self._settings = settings.receivers.otlp
        self._limits = settings.receivers.limits
        self._intake = intake
        self._healthy = healthy
        self._bearer = Bearer(self._settings.token_file)
        self._waiting = 0
        self.counts = Counts()
        self.address: str = self._settings.listen
        """Where it listens; once started with the port that was chosen where it was 0."""
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="otel-dns-otlp")
        self._loop = asyncio.new_event_loop()
        self._turns = Turns(scarce)
        self._connections = Connections(self._limits, self.counts)
        self._server: grpc.aio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="otel-dns-otlp", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_START_S)

    def stop(self) -> None:
        """Take no new requests; let those under way end."""
        if not self._thread.is_alive():
            self._pool.shutdown()
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._pool.shutdown()

    def gauges(self) -> dict[str, int]:
        """What is connected now, as far as it was looked at: within a second."""
        return {"otlp_connections": self._connections.number}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _start(self) -> None:
        limits = self._limits
        self._server = server = grpc.aio.server(
            handlers=[
                _handler(otlp.EXPORT, self._taking(self._intake.traces, "requests_turned_away")),
                _handler(EXPORT_LOGS, self._taking(self._intake.logs, "log_requests_turned_away")),
                _handler(HEALTH, self._health),
            ],
            options=[
                ("grpc.max_receive_message_length", self._settings.max_request),
                ("grpc.max_concurrent_streams", limits.streams),  # others wait in their sender
                ("grpc.max_metadata_size", limits.headers),
                ("grpc.absolute_max_metadata_size", limits.headers),
                ("grpc.max_connection_idle_ms", round(limits.idle * 1000)),
                ("grpc.server_handshake_timeout_ms", round(limits.read * 1000)),
                # A peer that vanished without a word is found out.
                ("grpc.keepalive_time_ms", 60_000),
                # What is not read yet takes 64 KiB of a stream, and not more and more.
                ("grpc.http2.bdp_probe", 0),
                ("grpc.so_reuseport", 0),
            ],
        )
        address, tls = self._settings.listen, self._settings.tls
        path = address.removeprefix("unix:") if address.startswith("unix:") else None
        credentials = secrets.server_credentials(tls, self._connections.handshake) if tls else None
        try:
            if path is not None:
                make_way(path)  # gRPC would take it away from whoever listens there
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except (OSError, RuntimeError) as error:
            why = _why_not(address) or error
            raise OSError(f"cannot listen on {address} for OTLP: {why}") from None
        await server.start()
        if path is None:
            self.address = f"{address.rpartition(':')[0]}:{port}"
        self._connections.watch(port if path is None else path)

    async def _stop(self) -> None:
        self._connections.stop()
        if self._server is not None:
            await self._server.stop(_GRACE_S)

    def _taking(self, take: Callable[[bytes, float], bytes], turned_away: str) -> _Handler:
        async def export(_requests: object, context: _Context) -> bytes:
            peer = context.peer()
            self._connections.asks(peer)
            if self._bearer.wanted and not self._bearer.shown(_authorization(context)):
                self.counts.add(requests_unauthenticated=1)
                return _refuse(context, _Code.UNAUTHENTICATED, "a bearer token is wanted")
            async with self._turns.of(peer.rpartition(":")[0]):
                try:
                    # Before it is read: what is not there takes no memory.
                    self._intake.look_for_room(self._may_wait_s, turned_away)
                    request = await self._read(context, turned_away)
                    if len(request) <= _SMALL and not self._intake.crowded:
                        return take(request, 0)
                    return await self._take(take, request)
                except _RefusedError as refused:
                    return _refuse(context, refused.code, str(refused))
                except MalformedError as error:
                    return _refuse(context, _Code.INVALID_ARGUMENT, str(error))
                except BusyError as error:
                    return _refuse(context, _Code.UNAVAILABLE, str(error), _COME_AGAIN)

        return export

    async def _read(self, context: _Context, turned_away: str) -> bytes:
        try:
            async with self._turns.reading(self._limits.read):
                request = await context.read()
        except CutOffError:
            self._intake.turn_away(turned_away)
        except TimeoutError:
            self.counts.add(requests_too_slow=1)
            raise _RefusedError(
                _Code.DEADLINE_EXCEEDED,
                f"the request took over {self._limits.read:g} s to come",
            ) from None
        if request is grpc.aio.EOF:
            # Of what gRPC refuses by itself, as too large, nothing else is heard.
            self.counts.add(requests_cut_off=1)
            raise _RefusedError(_Code.INVALID_ARGUMENT, "there is no request")
        found: bytes = request
        return found

    @property
    def _may_wait_s(self) -> float:
        return _WAIT_FOR_ROOM_S if self._waiting < _MAY_WAIT else 0

    async def _take(self, take: Callable[[bytes, float], bytes], request: bytes) -> bytes:
        """Take a request in a thread, where it may wait for room if not too many do."""
        wait_s = self._may_wait_s
        self._waiting += 1
        try:
            return await self._loop.run_in_executor(self._pool, take, request, wait_s)
        finally:
            self._waiting -= 1

    async def _health(self, _requests: object, context: _Context) -> bytes:
        self._connections.asks(context.peer())
        return _SERVING if self._healthy() else _NOT_SERVING


class _RefusedError(Exception):
    """A request that is answered with a status of its own."""

    def __init__(self, code: grpc.StatusCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def _refuse(
    context: _Context,
    code: grpc.StatusCode,
    details: str,
    metadata: tuple[tuple[str, bytes], ...] = (),
) -> bytes:
    """Answer with a status. ``abort`` would keep the request until garbage is looked for.

    gRPC holds what that raises, which holds all frames that it went through, which hold gRPC's.
    """
    context.set_code(code)
    context.set_details(details)
    context.set_trailing_metadata(metadata)
    return b""


def _why_not(address: str) -> OSError | None:
    """Find why an address cannot be listened on, which gRPC does not tell."""
    try:
        listening_socket(address).close()
    except OSError as error:
        return error
    return None


def _authorization(context: _Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            return value
    return ""


def _handler(path: str, answer: _Handler) -> grpc.GenericRpcHandler:
    """Make a handler without (de)serialisers: what the method takes and gives are bytes.

    For gRPC it takes a stream, though it reads one request: so it reads it itself, and in time.
    """
    _, service, method = path.split("/")
    return grpc.method_handlers_generic_handler(
        service, {method: grpc.stream_unary_rpc_method_handler(answer)}
    )
