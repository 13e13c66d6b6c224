"""What belongs to whom, of one request."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_dns import semconv
from otel_dns.join.recognise import lookup_of
from otel_dns.service.sorting import sort_otlp
from otel_dns.wire import otlp


def request(*names: str, scope: str = "", tagged: str = "dns.lookup") -> bytes:
    """As the Collector's jaeger receiver makes it: one group, and tags for all that is not its."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add().scope_spans.add()
    if scope:
        group.scope.name = scope
    for number, name in enumerate(names, 1):
        span = group.spans.add(
            trace_id=bytes(15) + b"\1",
            span_id=bytes(7) + bytes([number]),
            name=name,
            start_time_unix_nano=1,
            end_time_unix_nano=2,
        )
        if name == tagged:
            for key, value in {
                semconv.DNS_QUESTION_NAME: "db",
                semconv.CLIENT_ADDRESS: "10.0.0.7",
                semconv.RESOLVER_SEARCH: "shop.svc cluster.local",
                semconv.OTEL_SCOPE_NAME: semconv.CLIENT_SCOPE,
            }.items():
                span.attributes.add(key=key).value.string_value = value
    return made.SerializeToString()


def test_a_tag_in_place_of_a_scope() -> None:
    found = sort_otlp(request("order", "dns.lookup", "http"), {"coredns"})
    (span,) = found.lookups
    assert otlp.scope_name(span.origin.scope) == semconv.CLIENT_SCOPE
    assert found.other_spans == 2
    lookup = lookup_of(span)
    assert lookup is not None
    assert lookup.candidates == ("db.shop.svc.", "db.cluster.local.", "db.")


def test_the_tag_beside_a_scope_of_somebody_else_says_nothing() -> None:
    found = sort_otlp(request("dns.lookup", scope="other"), {"coredns"})
    assert not found.lookups
    assert found.other_spans == 1
