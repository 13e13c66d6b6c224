"""Fields of tomorrow, and fields given twice, at every level of a request that is rebuilt."""

import grpc
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.join import JoinSettings
from otel_dns.service.sorting import sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import otlp
from tests.service.support import Backend, serving
from tests.support.otlp import forward
from tests.support.spans import COREDNS, MS, lookup, nested, servedns, span
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field, of a number up to 2047."""
    tag = number << 3 | 2
    return bytes((tag & 0x7F | 0x80, tag >> 7, len(value))) + value


tails = st.lists(
    st.builds(field, st.integers(100, 2047), st.binary(max_size=20)), max_size=2
).map(b"".join)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A mixed request, and the fields in it that nobody knows."""
    whole, told = b"", []

    def with_tail(encoded: bytes) -> bytes:
        tail = draw(tails)
        told.append(tail)
        return encoded + tail

    root = servedns(0, MS)
    ours = [[lookup(0, MS).span], [root, *nested(root)], [span("work", 0, 1, origin=OTHER)]]
    for spans in draw(st.permutations(ours)):
        origin = spans[0].origin
        scopes = with_tail(
            b"".join(ScopeSpans(spans=[ProtoSpan.FromString(one.raw)]).SerializeToString()
                     for one in spans)
            + (b"\x0a" + bytes((len(origin.scope),)) + origin.scope if origin.scope else b"")
        )  # fmt: skip
        group = ResourceSpans()
        group.resource.MergeFromString(origin.resource)
        inner = (
            group.SerializeToString()
            + ResourceSpans(
                scope_spans=[ScopeSpans.FromString(scopes)],
                schema_url=draw(st.sampled_from(["", "u"])),
            ).SerializeToString()
        )
        inner = with_tail(inner)
        whole += ExportTraceServiceRequest(
            resource_spans=[ResourceSpans.FromString(inner)]
        ).SerializeToString()
    return with_tail(whole), [one for one in told if one]


@given(requests())
def test_fields_of_tomorrow_survive_in_a_mixed_request(made: tuple[bytes, list[bytes]]) -> None:
    raw, told = made
    sent: list[bytes] = []
    stream = Stream(JoinSettings(), lambda request, _spans: sent.append(request))
    stream.take(sort_otlp(raw, {"coredns"}), 0)
    stream.drain()
    assert stream.counts()["lookups_joined"] == 1
    for tail in told:
        assert any(tail in request for request in sent)
    urls = {one.schema_url for one in ExportTraceServiceRequest.FromString(raw).resource_spans}
    parsed = [ExportTraceServiceRequest.FromString(request) for request in sent]
    assert urls == {one.schema_url for request in parsed for one in request.resource_spans}
    assert sum(len(g.spans) for request in sent for g in otlp.cut(request)) == 11


@given(st.sampled_from([1, 2, 4]), st.sampled_from([8, 15, 16]), st.booleans(), st.booleans())
def test_an_id_that_is_given_twice_is_written_once(
    number: int, size: int, first: bool, same: bool
) -> None:
    root = servedns(0, MS)
    one = nested(root, ("cache",))[0]
    again = bytes((number << 3 | 2, size)) + bytes(range(1, size + 1))
    raw = again + one.raw if first else one.raw + again + one.raw[:38]
    if same:
        raw = one.raw + one.raw[:38]
    read = otlp.read_span(raw, COREDNS)
    sound = otlp.rewrite(read, b"t" * 16, b"p" * 8)
    parsed = ProtoSpan.FromString(sound)
    assert (parsed.trace_id, parsed.parent_span_id) == (b"t" * 16, b"p" * 8)
    assert parsed.span_id == read.span_id
    for tag in (b"\x0a\x0f", b"\x0a\x08", b"\x12\x0f", b"\x12\x10"):
        assert tag + bytes(range(1, tag[1] + 1)) not in sound


def test_an_id_that_is_given_twice_costs_the_neighbours_nothing() -> None:
    """A backend in Go refuses a whole request for the first of the two, if that is no id."""
    broken = b"\x0a\x0f" + bytes(15)
    hostile = span("hostile", 0, 1, origin=OTHER)
    spans = [span(f"good{n}", 0, 1, origin=OTHER) for n in range(4)] + [lookup(0, MS).span]
    raw = otlp.build([*((one.origin, one.raw) for one in spans), (OTHER, broken + hostile.raw)])

    def strict(request: bytes, context: grpc.ServicerContext) -> bytes:
        if broken in request:
            context.abort(grpc.StatusCode.INTERNAL, "invalid length for TraceID")
        return b""

    with Backend(behave=strict) as backend, serving(backend.address) as running:
        forward(running.otlp, raw)
        eventually(lambda: running.count("spans_sent") == 5, "the good ones")
        assert running.count("spans_refused_internal") == 1
        assert "hostile" not in backend.names
