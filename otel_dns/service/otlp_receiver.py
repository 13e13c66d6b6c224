"""OTLP over gRPC in: raw bytes through a generic handler, answers as the protocol wants them.

Malformed is INVALID_ARGUMENT, too busy is UNAVAILABLE with the time to come again (clients drop on
anything else), success is an empty answer, and spans refused for themselves are a partial success.
Beside it the health service (grpc.health.v1), as Kubernetes' gRPC probes ask for it.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NoReturn

import grpc
from google.protobuf.any_pb2 import Any

from otel_dns.service import secrets
from otel_dns.service.bearer import Bearer
from otel_dns.service.counts import Counts
from otel_dns.service.intake import BusyError, OtlpIntake
from otel_dns.service.output import EXPORT
from otel_dns.service.settings import ServeSettings
from otel_dns.wire import MalformedError

EXPORT_LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"  # HealthCheckResponse.status
_NOT_SERVING: Final = b"\x08\x02"
_WAIT_FOR_ROOM_S: Final = 1.0
_THREADS: Final = 8
_MAY_WAIT: Final = 4
"""Of the threads, so many may wait for room; the others stay free to refuse and to tell health."""
_GRACE_S: Final = 2.0


def _retry_info() -> bytes:
    """Make the details of UNAVAILABLE: google.rpc.Status with RetryInfo of one second."""
    info = Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\x0a\x02\x08\x01")
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
    ) -> None:
        """Make the receiver.

        Args:
            settings: where to listen, and whom to let in.
            intake: takes the requests.
            healthy: what the health service tells.
        """
        self._settings = settings.receivers.otlp
        self._intake = intake
        self._healthy = healthy
        self._bearer = Bearer(self._settings.token_file)
        self._waiting = threading.Semaphore(_MAY_WAIT)
        self.counts = Counts()
        self.address: str = self._settings.listen
        """Where it listens; once started with the port that was chosen where it was 0."""
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="otel-dns-otlp"),
            handlers=[
                _handler(EXPORT, self._taking(intake.traces)),
                _handler(EXPORT_LOGS, self._taking(intake.logs)),
                _handler(HEALTH, self._health),
            ],
            options=[
                ("grpc.max_receive_message_length", self._settings.max_request),
                ("grpc.max_concurrent_streams", 2 * _THREADS),  # others wait in their sender
                ("grpc.so_reuseport", 0),
            ],
        )

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        address = self._settings.listen
        try:
            if self._settings.tls is None:
                port = self._server.add_insecure_port(address)
            else:
                credentials = secrets.server_credentials(self._settings.tls)
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address} for OTLP: {error}") from None
        self._server.start()
        if not address.startswith("unix:"):
            self.address = f"{address.rpartition(':')[0]}:{port}"

    def stop(self) -> None:
        """Take no new requests; let those under way end."""
        self._server.stop(_GRACE_S).wait()

    def gauges(self) -> dict[str, int]:
        """Nothing is held here."""
        return {}

    def _taking(
        self, take: Callable[[bytes, float], bytes]
    ) -> Callable[[bytes, grpc.ServicerContext], bytes]:
        def export(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self._bearer.wanted and not self._bearer.shown(_authorization(context)):
                self.counts.add(requests_unauthenticated=1)
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is wanted")
            may_wait = self._waiting.acquire(blocking=False)
            try:
                return take(request, _WAIT_FOR_ROOM_S if may_wait else 0)
            except MalformedError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            except BusyError as error:
                _come_again(context, str(error))
            finally:
                if may_wait:
                    self._waiting.release()

        return export

    def _health(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        del request, context
        return _SERVING if self._healthy() else _NOT_SERVING


def _come_again(context: grpc.ServicerContext, why: str) -> NoReturn:
    context.set_trailing_metadata(_COME_AGAIN)
    context.abort(grpc.StatusCode.UNAVAILABLE, why)


def _authorization(context: grpc.ServicerContext) -> str:
    for key, value in context.invocation_metadata():
        if key == "authorization" and isinstance(value, str):
            return value
    return ""


def _handler(
    path: str, export: Callable[[bytes, grpc.ServicerContext], bytes]
) -> grpc.GenericRpcHandler:
    """Make a handler without (de)serialisers: what the method takes and gives are bytes."""
    _, service, method = path.split("/")
    return grpc.method_handlers_generic_handler(
        service, {method: grpc.unary_unary_rpc_method_handler(export)}
    )
