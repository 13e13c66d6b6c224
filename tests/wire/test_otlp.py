"""OTLP by slices, against opentelemetry-proto's own classes."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_dns.model import Origin, Span
from otel_dns.wire import MalformedError, otlp
from tests.support import spans

NOWHERE = Origin(b"", b"")

texts = st.text(max_size=20)
trace_ids = st.binary(min_size=16, max_size=16)
span_ids = st.binary(min_size=8, max_size=8)
uint64 = st.integers(0, 2**64 - 1)
uint32 = st.integers(0, 2**32 - 1)

any_values = st.recursive(
    st.one_of(
        texts.map(lambda value: AnyValue(string_value=value)),
        st.booleans().map(lambda value: AnyValue(bool_value=value)),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value)),
        st.floats(allow_nan=False).map(lambda value: AnyValue(double_value=value)),
        st.binary(max_size=10).map(lambda value: AnyValue(bytes_value=value)),
        st.just(AnyValue()),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(
            lambda values: AnyValue(array_value=ArrayValue(values=values))
        ),
        st.lists(inner, max_size=2).map(
            lambda values: AnyValue(
                kvlist_value=KeyValueList(
                    values=[KeyValue(key=str(at), value=each) for at, each in enumerate(values)]
                )
            )
        ),
    ),
    max_leaves=4,
)
attributes = st.lists(st.builds(KeyValue, key=texts, value=any_values), max_size=4)
proto_spans = st.builds(
    ProtoSpan,
    trace_id=trace_ids,
    span_id=span_ids,
    parent_span_id=st.one_of(st.just(b""), span_ids),
    trace_state=st.one_of(st.just(""), st.just("vendor=1")),
    flags=st.one_of(st.just(0), uint32),
    name=st.one_of(texts, st.just("long " * 40)),
    kind=st.integers(0, 5),
    start_time_unix_nano=uint64,
    end_time_unix_nano=uint64,
    attributes=attributes,
    dropped_attributes_count=uint32,
    events=st.lists(
        st.builds(ProtoSpan.Event, time_unix_nano=uint64, name=texts, attributes=attributes),
        max_size=2,
    ),
    links=st.lists(
        st.builds(ProtoSpan.Link, trace_id=trace_ids, span_id=span_ids, flags=uint32), max_size=2
    ),
    status=st.builds(Status, message=texts, code=st.integers(0, 2)),
)


def split(message: bytes) -> list[bytes]:
    """The fields of a message, each with its tag, by a reading of the format of its own."""
    fields, at = [], 0
    while at < len(message):
        start = at
        tag, at = varint(message, at)
        if tag & 7 == 2:
            length, at = varint(message, at)
            at += length
        else:
            at = varint(message, at)[1] if tag & 7 == 0 else at + {1: 8, 5: 4}[tag & 7]
        fields.append(message[start:at])
    return fields


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 0x80:
            return value, at


unknown_fields = st.sampled_from(
    [b"", b"\xf8\x3f\x01", b"\xfa\x3f\x03abc", b"\xf9\x3f12345678", b"\xfd\x3f1234"]
)


@st.composite
def encoded_spans(draw: st.DrawFn) -> bytes:
    """A span in any legal encoding: canonical, as the Collector writes it, or in any order."""
    fields = split(draw(proto_spans).SerializeToString())
    order = draw(st.sampled_from(["canonical", "collector", "any"]))
    if order == "collector":
        return collector_encoding(fields)
    if order == "any":
        keep_order = {0x4A: [], 0x5A: [], 0x6A: []}  # repeated fields have one
        for each in fields:
            keep_order.get(each[0], []).append(each)
        shuffled = draw(st.permutations(fields))
        fields = [
            keep_order[each[0]].pop(0) if each[0] in keep_order else each for each in shuffled
        ]
    extra = draw(unknown_fields)
    at = draw(st.integers(0, len(fields)))
    return b"".join([*fields[:at], extra, *fields[at:]])


def collector_encoding(fields: list[bytes]) -> bytes:
    """As pdata (Collector v0.158) writes: parent and status always, flags before the name."""
    by_tag: dict[bytes, list[bytes]] = {}
    for each in fields:
        tag = each[:2] if each[0] & 0x80 else each[:1]
        by_tag.setdefault(tag, []).append(each)
    written = []
    for tag in (
        b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x85\x01", b"\x2a", b"\x30", b"\x39", b"\x41",
        b"\x4a", b"\x50", b"\x5a", b"\x60", b"\x6a", b"\x70", b"\x7a",
    ):  # fmt: skip
        always = [tag + b"\x00"] if tag in {b"\x22", b"\x7a"} else []
        written += by_tag.get(tag, always)
    return b"".join(written)


@given(encoded_spans())
def test_a_span_in_any_encoding_is_read_as_protobuf_reads_it(raw: bytes) -> None:
    truth = ProtoSpan.FromString(raw)

    span = otlp.read_span(raw, NOWHERE)

    assert span == Span(
        truth.trace_id, truth.span_id, truth.parent_span_id, truth.name,
        truth.start_time_unix_nano, truth.end_time_unix_nano, raw, NOWHERE,
    )  # fmt: skip


def test_a_parent_behind_everything_else_is_the_parent() -> None:
    (child,) = spans.nested(spans.servedns(0, 1), ("log",))
    raw = child.raw[:28] + child.raw[38:] + child.raw[28:38]

    assert otlp.read_span(raw, NOWHERE).parent_id == child.parent_id
    again = otlp.rewrite(replace(child, raw=raw), child.trace_id, b"parent..")
    assert ProtoSpan.FromString(again).parent_span_id == b"parent.."


int64 = st.integers(-(2**63), 2**63 - 1)


@given(encoded_spans(), st.integers(-(2**65), 2**65))
def test_moving_changes_times_that_are_there_and_nothing_else(raw: bytes, by_ns: int) -> None:
    wanted = ProtoSpan.FromString(raw)
    for time in ("start_time_unix_nano", "end_time_unix_nano"):
        if at_ns := getattr(wanted, time):
            setattr(wanted, time, min(max(at_ns + by_ns, 0), 2**64 - 1))

    moved = otlp.move(otlp.read_span(raw, NOWHERE), by_ns)

    assert ProtoSpan.FromString(moved.raw) == wanted


@given(encoded_spans(), trace_ids, span_ids, st.tuples(texts, texts), int64)
def test_rewriting_changes_what_was_asked_for_and_nothing_else(
    raw: bytes, trace_id: bytes, parent_id: bytes, tag: tuple[str, str], number: int
) -> None:
    key, text = tag
    wanted = ProtoSpan.FromString(raw)
    wanted.trace_id, wanted.parent_span_id = trace_id, parent_id
    wanted.attributes.add(key=key, value=AnyValue(string_value=text))
    wanted.attributes.add(key="n", value=AnyValue(int_value=number))

    added = otlp.string_attribute(key, text) + otlp.int_attribute("n", number)
    rewritten = otlp.rewrite(otlp.read_span(raw, NOWHERE), trace_id, parent_id, added)

    assert ProtoSpan.FromString(rewritten) == wanted
    again = otlp.read_span(rewritten, NOWHERE)
    assert (again.trace_id, again.parent_id) == (trace_id, parent_id)


@given(encoded_spans(), span_ids)
def test_another_id_changes_nothing_else(raw: bytes, span_id: bytes) -> None:
    wanted = ProtoSpan.FromString(raw)
    wanted.span_id = span_id
    assert ProtoSpan.FromString(otlp.with_span_id(raw, span_id)) == wanted


resources = st.builds(Resource, attributes=attributes, dropped_attributes_count=uint32)
scopes = st.builds(InstrumentationScope, name=texts, version=texts, attributes=attributes)
requests = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=resources,
            schema_url=texts,
            scope_spans=st.lists(
                st.builds(
                    ScopeSpans,
                    scope=scopes,
                    schema_url=texts,
                    spans=st.lists(proto_spans, max_size=2),
                ),
                max_size=2,
            ),
        ),
        max_size=2,
    ),
)


def flat(request: bytes) -> list[tuple[Resource, str, InstrumentationScope, str, bytes]]:
    """Every span of a request with all that it is under."""
    return sorted(
        (
            (rs.resource, rs.schema_url, ss.scope, ss.schema_url, span.SerializeToString())
            for rs in ExportTraceServiceRequest.FromString(request).resource_spans
            for ss in rs.scope_spans
            for span in ss.spans
        ),
        key=repr,
    )


@given(requests)
def test_what_is_cut_and_built_again_is_the_same_to_the_byte(request: ExportTraceServiceRequest):
    raw = request.SerializeToString()
    list(otlp.read(raw))

    cut = [(group.origin, span) for group in otlp.cut(raw) for span in group.spans]

    assert flat(otlp.build(cut)) == flat(raw)


@given(requests)
def test_decoding_agrees_with_protobuf(request: ExportTraceServiceRequest) -> None:
    views = otlp.decode(request.SerializeToString())

    truth = [
        (resource.resource, scope.scope, span)
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(views) == len(truth)
    for view, (resource, scope, span) in zip(views, truth, strict=True):
        assert view == otlp.SpanView(
            span.trace_id, span.span_id, span.parent_span_id, span.name, span.kind,
            span.start_time_unix_nano, span.end_time_unix_nano, plain(span.attributes),
            plain(resource.attributes), scope.name, span.status.code == Status.STATUS_CODE_ERROR,
        )  # fmt: skip


def plain(attributes: object) -> dict[str, otlp.AttributeValue]:
    return {each.key: plain_value(each.value) for each in attributes}


def plain_value(value: AnyValue, depth: int = 0) -> otlp.AttributeValue:
    """What attributes_of promises: maps, and arrays too deep, as their bytes."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value" if depth < 4:
            return tuple(plain_value(each, depth + 1) for each in value.array_value.values)
        case "array_value" | "kvlist_value" as field:
            return getattr(value, field).SerializeToString()
        case field:
            return getattr(value, field)


# -- broken ------------------------------------------------------------------------------------


def every_reader(raw: bytes) -> None:
    """Put bytes through everything that reads bytes from outside."""
    for read in (
        lambda raw: list(otlp.read(raw)),
        otlp.cut,
        otlp.decode,
        lambda raw: otlp.rewrite(otlp.read_span(raw, NOWHERE), bytes(16), bytes(8)),
        otlp.attributes_of,
        otlp.service_name,
        otlp.scope_name,
    ):
        with contextlib.suppress(MalformedError):
            read(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    every_reader(raw)


@given(st.data(), st.one_of(requests.map(lambda one: one.SerializeToString()), encoded_spans()))
def test_a_damaged_message_is_read_or_refused(data: st.DataObject, raw: bytes) -> None:
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        if damaged:
            at = data.draw(st.integers(0, len(damaged) - 1))
            damaged[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    every_reader(bytes(damaged))


@pytest.mark.parametrize(
    ("trace_id", "span_id", "parent_id"),
    [
        (bytes(15), bytes(8), b""),
        (bytes(17), bytes(8), b""),
        (b"", bytes(8), b""),
        (bytes(16), bytes(7), b""),
        (bytes(16), b"", b""),
        (bytes(16), bytes(8), bytes(7)),
        (bytes(16), bytes(8), bytes(16)),
    ],
)
def test_ids_of_a_wrong_length_are_refused(trace_id, span_id, parent_id) -> None:
    raw = ProtoSpan(
        trace_id=trace_id, span_id=span_id, parent_span_id=parent_id, name="a",
        start_time_unix_nano=1, end_time_unix_nano=2,
    ).SerializeToString()  # fmt: skip

    with pytest.raises(MalformedError, match="bytes"):
        otlp.read_span(raw, NOWHERE)


def test_a_resource_in_two_parts_is_one_as_protobuf_has_it() -> None:
    halves = [
        ResourceSpans(
            resource=Resource(attributes=[KeyValue(key=key, value=AnyValue(string_value=key))]),
            scope_spans=[ScopeSpans(scope=InstrumentationScope(**scope))] if scope else [],
        ).SerializeToString()
        for key, scope in (("first", {}), ("second", {"name": "http"}))
    ]
    body = b"".join(halves)
    request = b"\x0a" + bytes((len(body),)) + body
    (group,) = otlp.cut(request)
    assert otlp.attributes_of(group.origin.resource, field=1) == {
        "first": "first", "second": "second",
    }  # fmt: skip
    built = ExportTraceServiceRequest.FromString(otlp.build_grouped({group.origin: []}))
    assert built == ExportTraceServiceRequest.FromString(request)


def test_a_span_with_a_broken_inner_field_fails_the_check() -> None:
    broken = spans.span("a", 0, 1).raw + b"\x4a\x05\x0a\x7f..."
    request = otlp.build([(spans.APPLICATION, broken)])

    with pytest.raises(MalformedError):
        list(otlp.read(request))


# -- the hot path ------------------------------------------------------------------------------


def sdk_spans() -> list[bytes]:
    """A root and a child as opentelemetry-sdk's exporter writes them."""
    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("root"), tracer.start_as_current_span("child") as child:
        child.set_attribute("key", "value")
    request = encode_spans(memory.get_finished_spans()).SerializeToString()
    return [span for group in otlp.cut(request) for span in group.spans]


@pytest.mark.parametrize("encoder", ["sdk", "collector", "ours", "rewritten"])
def test_spans_of_known_encoders_are_rewritten_at_their_offsets(encoder, monkeypatch) -> None:
    ours = [spans.servedns(0, 1), *spans.nested(spans.servedns(0, 1))]
    raws = {
        "sdk": sdk_spans,
        "collector": lambda: (
            [collector_encoding(split(raw)) for raw in sdk_spans()]
            + [collector_encoding(split(span.raw)) for span in ours]
        ),
        "ours": lambda: [span.raw for span in ours],
        "rewritten": lambda: [otlp.rewrite(span, bytes(16), bytes(8)) for span in ours],
    }[encoder]()
    monkeypatch.setattr("otel_dns.wire.otlp.spans.fields", None)

    for raw in raws:
        span = otlp.read_span(raw, NOWHERE)
        assert otlp.rewrite(span, span.trace_id, bytes(8)).startswith(raw[:28])


def test_encoded_events_are_what_protobuf_reads() -> None:
    raw = spans.span("a", 0, 1, tail=otlp.event_field(7, "hit") + otlp.ERROR_STATUS).raw

    read = ProtoSpan.FromString(raw)

    assert [(event.time_unix_nano, event.name) for event in read.events] == [(7, "hit")]
    assert read.status.code == Status.STATUS_CODE_ERROR
    assert struct.pack("<Q", read.start_time_unix_nano) in raw
