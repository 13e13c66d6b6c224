"""What belongs to whom, of one request."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_dns import semconv
from otel_dns.join.recognise import lookup_of
from otel_dns.service.sorting import sort_otlp
from otel_dns.wire import MalformedError, otlp
from otel_dns.wire.otlp import protobuf
from otel_dns.wire.otlp.pieces import PIECE


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


def field(number: int, *inner: bytes) -> bytes:
    """A length-delimited field."""
    value = b"".join(inner)
    return bytes((number << 3 | 2,)) + protobuf.varint(len(value)) + value


def under_one_scope(*spans: bytes) -> bytes:
    return field(1, field(2, *(field(2, span) for span in spans)))


IDS = field(1, bytes(range(1, 17))) + field(2, bytes(range(1, 9)))
MANY = 600_000


def test_every_layer_of_a_large_request_is_checked() -> None:
    whole = under_one_scope(*[IDS + field(5, b"a name of its own")] * (PIECE // 48))
    assert list(otlp.read(whole))
    for broken in (field(1, b"\xff"), field(2, field(1, b"\xff")), field(2, field(2, b"\xff"))):
        with pytest.raises(MalformedError):
            otlp.read(whole + field(1, broken))


@pytest.mark.parametrize(
    "raw",
    [
        field(1) * MANY,
        field(1, field(3, b"aaaaa")) * MANY,
        field(1, field(2) * MANY),
        field(1, field(2, field(3, b"aaaaa")) * MANY),
        under_one_scope(*[b""] * MANY),
        under_one_scope(*[field(5, b"aaaaa")] * MANY),
        under_one_scope(IDS + field(9) * MANY),
        under_one_scope(IDS + field(9, field(1, b"ab"), field(2)) * MANY),
        under_one_scope(IDS + field(11, field(2, b"abcd")) * MANY),
        under_one_scope(IDS + field(9, field(2, field(5, field(1) * MANY)))),
        field(1, field(1, field(1) * MANY), field(2, field(2, IDS))),
        field(1, field(2, field(1, field(3) * MANY), field(2, IDS))),
    ],
    ids=[
        "resources", "with a word", "scopes", "scopes with a word", "spans", "spans with a word",
        "attributes", "attributes with keys", "events", "values", "of a resource", "of a scope",
    ],
)  # fmt: skip
def test_a_large_request_of_tiny_parts_is_refused(raw: bytes) -> None:
    assert len(raw) >= PIECE
    with pytest.raises(MalformedError):
        sort_otlp(raw, {"coredns"})


def test_many_small_spans_and_resources_are_none_of_them() -> None:
    spans = [IDS[:-2] + number.to_bytes(2) for number in range(10, 10_000)]
    assert sort_otlp(under_one_scope(*spans), {"coredns"}).other_spans == len(spans)
    each = b"".join(
        field(1, field(1, field(1, field(1, b"service.name"), field(2, field(1, b"shop")))),
              field(2, field(2, span)))
        for span in spans
    )  # fmt: skip
    assert sort_otlp(each, {"coredns"}).other_spans == len(spans)


def test_one_of_tiny_parts_costs_its_neighbours_nothing_and_a_blank_image_is_none() -> None:
    tiny = field(9) * MANY
    blank = field(9, field(1, b"image"), field(2, field(7, bytes(2 * MANY))))
    found = sort_otlp(under_one_scope(IDS, IDS + tiny, IDS + blank), {"coredns"})
    assert (found.other_spans, found.refused.count) == (2, 1)


def test_a_large_request_is_sorted_as_small_ones_are() -> None:
    shop, coredns = otlp.origin_of("shop"), otlp.origin_of("coredns")
    client = shop._replace(scope=otlp.encode_scope(semconv.CLIENT_SCOPE))
    padding = field(9, field(1, b"padding"), field(2, field(1, b"a" * 6_000)))
    spans = [
        (origin, raw + field(5, name) + padding)
        for origin, raw, name in (
            (shop, IDS, b"order"),
            (coredns, IDS, b"servedns"),
            (client, IDS, b"dns.lookup"),
            (shop, IDS[:-1], b"wrong id"),
            (coredns, IDS[:-1], b"wrong id"),
            (shop, IDS, b"no text: \xff"),
        )
        for _ in range(40)
    ]
    whole = otlp.build(spans)
    assert len(whole) > PIECE
    found = sort_otlp(whole, {"coredns"})
    assert [span.raw for span in found.lookups] == [raw for _, raw in spans[80:120]]
    assert [span.raw for span in found.server_spans] == [raw for _, raw in spans[40:80]]
    assert [group.origin for group in found.others] == [shop]
    assert list(found.others[0].spans) == [raw for _, raw in spans[:40]]
    assert found.refused.count == 120
