"""OTLP over gRPC in: raw bytes through a generic handler, answers as the protocol wants them.

Malformed is INVALID_ARGUMENT, too busy is UNAVAILABLE (clients drop on anything else), success is
an empty answer, and spans refused for themselves are a partial success. Logs are taken too: of
CoreDNS's lines messages are made, the rest is counted.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_dns.service.counts import Counts
from otel_dns.service.log_sorting import MESSAGE_BYTES, sort_logs
from otel_dns.service.output import EXPORT
from otel_dns.service.settings import ServeSettings
from otel_dns.service.sorting import Incoming, sort_otlp
from otel_dns.wire import MalformedError

EXPORT_LOGS: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_WAIT_FOR_ROOM_S: Final = 1.0
_THREADS: Final = 8
_GRACE_S: Final = 2.0
_MAX_WHOLE_BYTES: Final = 3 << 20

PassOn = Callable[[bytes, int], bool]
Offer = Callable[[Incoming, int, float], bool]


class OtlpReceiver:
    """The one method of the trace service, and that of the log service."""

    def __init__(self, settings: ServeSettings, offer: Offer, pass_on: PassOn) -> None:
        """Make the receiver.

        Args:
            settings: where to listen, and whose spans are CoreDNS's.
            offer: hands sorted spans to the pipeline.
            pass_on: hands a whole request to the output, unchanged.
        """
        self._settings = settings
        self._offer = offer
        self._pass_on = pass_on
        self.counts = Counts()
        self.address: str = settings.receivers.otlp.listen
        """Where it listens; once started with the port that was chosen where it was 0."""
        self._server = grpc.server(
            ThreadPoolExecutor(_THREADS, thread_name_prefix="otel-dns-otlp"),
            handlers=[_handler(EXPORT, self._export), _handler(EXPORT_LOGS, self._export_logs)],
            options=[
                ("grpc.max_receive_message_length", settings.receivers.otlp.max_request),
                ("grpc.max_concurrent_streams", 2 * _THREADS),  # others wait in their sender
                ("grpc.so_reuseport", 0),
            ],
        )

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        address = self._settings.receivers.otlp.listen
        try:
            port = self._server.add_insecure_port(address)
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

    def _export(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            incoming = sort_otlp(request, self._settings.receivers.coredns_services)
        except MalformedError as error:
            self.counts.add(requests_malformed=1)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if incoming.lookups or incoming.server_spans or incoming.refused:
            taken = self._offer(incoming, len(request), _WAIT_FOR_ROOM_S)
        elif incoming.others and len(request) > _MAX_WHOLE_BYTES:
            # Whoever comes next may take no more than gRPC's usual 4 MiB: the pipeline cuts it up.
            taken = self._offer(incoming, len(request), _WAIT_FOR_ROOM_S)
        elif incoming.others:
            taken = self._pass_on(request, len(incoming.others))
        else:
            taken = True
        if not taken:
            self.counts.add(requests_turned_away=1)
            context.abort(grpc.StatusCode.UNAVAILABLE, "otel-dns is full; try again later")
        self.counts.add(
            requests=1,
            lookup_spans=len(incoming.lookups),
            server_spans=len(incoming.server_spans),
            other_spans=len(incoming.others),
            spans_refused=incoming.refused.count,
        )
        if not incoming.refused:
            return b""
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = incoming.refused.count
        answer.partial_success.error_message = incoming.refused.first
        return answer.SerializeToString()

    def _export_logs(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            incoming, counted = sort_logs(request)
        except MalformedError as error:
            self.counts.add(log_requests_malformed=1)
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        weight = len(incoming.messages) * MESSAGE_BYTES
        if incoming.messages and not self._offer(incoming, weight, _WAIT_FOR_ROOM_S):
            self.counts.add(log_requests_turned_away=1)
            context.abort(grpc.StatusCode.UNAVAILABLE, "otel-dns is full; try again later")
        self.counts.add(log_requests=1, **counted)
        return b""


def _handler(
    path: str, export: Callable[[bytes, grpc.ServicerContext], bytes]
) -> grpc.GenericRpcHandler:
    """Make a handler without (de)serialisers: what the method takes and gives are bytes."""
    _, service, method = path.split("/")
    return grpc.method_handlers_generic_handler(
        service, {method: grpc.unary_unary_rpc_method_handler(export)}
    )
