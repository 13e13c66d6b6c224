"""A stand-in for whoever takes OTLP over gRPC, and a way to send to those who do."""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
Request = trace_service_pb2.ExportTraceServiceRequest


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """One span with what it came in."""

    service: str
    scope: str
    name: str
    trace_id: bytes
    attributes: dict[str, Any]


class Sink:
    """Takes OTLP traces on ``address`` and keeps them; ``then`` sees each request as it came."""

    def __init__(self, address: str, then: Callable[[bytes], object] = lambda raw: None) -> None:
        self._lock = threading.Lock()
        self._received: list[Received] = []
        self._then = then
        self._server = grpc.server(ThreadPoolExecutor(4))
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        service, method = EXPORT.strip("/").split("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        assert self._server.add_insecure_port(address)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.stop(None).wait()

    def _export(self, raw: bytes, context: object) -> bytes:
        with self._lock:
            self._received.extend(received(Request.FromString(raw)))
        self._then(raw)
        return b""

    @property
    def spans(self) -> list[Received]:
        """All spans so far, in the order of arrival."""
        with self._lock:
            return list(self._received)

    @property
    def names(self) -> Counter[str]:
        """How often a span of each name has arrived."""
        return Counter(span.name for span in self.spans)


def received(request: Request) -> Iterator[Received]:
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes).get("service.name", "")
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = _values(span.attributes)
                yield Received(service, scope.scope.name, span.name, span.trace_id, attributes)


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


_counter = iter(range(1, 1 << 32))


def span(name: str, trace: int, attributes: dict[str, str] | None = None) -> Span:
    """A span of trace number ``trace``."""
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=next(_counter).to_bytes(8, "big"),
        name=name,
        start_time_unix_nano=1_700_000_000_000_000_000,
        end_time_unix_nano=1_700_000_000_001_000_000,
        attributes=[
            KeyValue(key=key, value=AnyValue(string_value=value))
            for key, value in (attributes or {}).items()
        ],
    )


def group(service: str, scopes: dict[str, list[Span]]) -> ResourceSpans:
    """A resource with its spans by instrumentation scope."""
    return ResourceSpans(
        resource=Resource(
            attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service))]
        ),
        scope_spans=[
            ScopeSpans(scope=InstrumentationScope(name=scope), spans=spans)
            for scope, spans in scopes.items()
        ],
    )


def send(address: str, *groups: ResourceSpans) -> None:
    """Sends one request and waits for its answer.

    Raises:
        grpc.RpcError: The answer is not OK.
    """
    forward(address, Request(resource_spans=groups).SerializeToString())


def forward(address: str, raw: bytes) -> None:
    """Sends one request, as it is, and waits for its answer."""
    with grpc.insecure_channel(address) as channel:
        channel.unary_unary(EXPORT)(raw, timeout=60)
