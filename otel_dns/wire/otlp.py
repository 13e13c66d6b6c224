"""OTLP trace requests, cut into span slices and put together again, without decoding a span.

On the hot path a span never becomes a protobuf object. A reduced schema in which spans are
``repeated bytes`` lets protobuf's C parser cut a request into slices; ids, name and times are then
read at their offsets (with a fallback for any legal order of fields), and a span is changed by
concatenating slices. Field numbers are those of opentelemetry-proto's ``trace.proto`` v1.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_dns.model import Origin, Span
from otel_dns.wire import MalformedError

AttributeValue: TypeAlias = str | bool | int | float | bytes | tuple[Any, ...] | None

_NO_PARENT: Final = b""
_TRACE_SPAN_IDS: Final = (b"\x0a\x10", b"\x12\x08")  # fields 1 and 2, length-delimited, 16 and 8
_PARENT_ID: Final = b"\x22\x08"  # field 4, 8 bytes
_TIMES: Final = struct.Struct("<BQBQ")  # tags and values of fields 7 and 8, both fixed64
_START_TAG: Final = 0x39
_END_TAG: Final = 0x41


class SpanGroup(NamedTuple):
    """The spans of one scope under one resource, as slices of the request."""

    origin: Origin
    spans: Sequence[bytes]


class SpanView(NamedTuple):
    """A span fully decoded: for people and tests, not for the hot path."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, AttributeValue]
    resource: Mapping[str, AttributeValue]
    scope: str
    error: bool


# -- requests ---------------------------------------------------------------------------------


def _reduced_request() -> Any:
    """Make the message class in which resources, scopes and spans stay bytes."""
    file = descriptor_pb2.FileDescriptorProto(
        name="otel_dns/reduced_trace.proto", package="otel_dns.reduced", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto

    def message(name: str, *fields: tuple[str, int, int, int, str]) -> None:
        declared = file.message_type.add(name=name)
        for field_name, number, label, type_, type_name in fields:
            declared.field.add(
                name=field_name, number=number, label=label, type=type_, type_name=type_name or None
            )

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    text, octets, sub = field.TYPE_STRING, field.TYPE_BYTES, field.TYPE_MESSAGE
    message(
        "ScopeSpans",
        ("scope", 1, one, octets, ""),
        ("spans", 2, many, octets, ""),
        ("schema_url", 3, one, text, ""),
    )
    message(
        "ResourceSpans",
        ("resource", 1, one, octets, ""),
        ("scope_spans", 2, many, sub, ".otel_dns.reduced.ScopeSpans"),
        ("schema_url", 3, one, text, ""),
    )
    message("Request", ("resource_spans", 1, many, sub, ".otel_dns.reduced.ResourceSpans"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("otel_dns.reduced.Request"))


_Request: Final = _reduced_request()


def check(request: bytes) -> None:
    """Check a whole ``ExportTraceServiceRequest``, every span's inner fields included.

    Cutting is not validation: a span with a broken inner field would pass the reduced schema and
    make a backend refuse everything that travels with it. The C parser does this for about 0.15
    microseconds a span.

    Raises:
        MalformedError: protobuf cannot parse the request.
    """
    try:
        ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None


def cut(request: bytes) -> list[SpanGroup]:
    """Cut an ``ExportTraceServiceRequest`` into groups of span slices.

    Raises:
        MalformedError: the request's outer layers are broken; spans are not looked into (that is
            :func:`check`).
    """
    try:
        parsed = _Request.FromString(request)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None
    groups = []
    for resource_spans in parsed.resource_spans:
        resource, url = resource_spans.resource, resource_spans.schema_url
        groups += [
            SpanGroup(Origin(resource, scope.scope, url, scope.schema_url), scope.spans)
            for scope in resource_spans.scope_spans
        ]
    return groups


def build(spans: Iterable[tuple[Origin, bytes]]) -> bytes:
    """Put encoded spans together into one ``ExportTraceServiceRequest``, grouped by origin."""
    by_origin: dict[Origin, list[bytes]] = {}
    for origin, raw in spans:
        by_origin.setdefault(origin, []).append(raw)
    request = _Request()
    by_resource: dict[tuple[bytes, str], Any] = {}
    for origin, raws in by_origin.items():
        key = (origin.resource, origin.resource_schema_url)
        resource_spans = by_resource.get(key)
        if resource_spans is None:
            by_resource[key] = resource_spans = request.resource_spans.add(
                resource=origin.resource, schema_url=origin.resource_schema_url
            )
        resource_spans.scope_spans.add(
            scope=origin.scope, spans=raws, schema_url=origin.scope_schema_url
        )
    encoded: bytes = request.SerializeToString()
    return encoded


# -- one span ---------------------------------------------------------------------------------


def read_span(raw: bytes, origin: Origin) -> Span:
    """Read ids, name and times of an encoded span.

    Raises:
        MalformedError: a backend would refuse this span: ids of a wrong length, or broken fields.
    """
    if raw[:2] == _TRACE_SPAN_IDS[0] and raw[18:20] == _TRACE_SPAN_IDS[1]:
        # The order in which every known encoder writes; anything unexpected falls through.
        if raw[28:30] == _PARENT_ID:
            parent_id, at = raw[30:38], 38
        else:
            parent_id, at = _NO_PARENT, 28
        if len(raw) >= at + 2 and raw[at] == 0x2A and (length := raw[at + 1]) < 0x80:
            name_at = at + 2
            at = name_at + length
            if len(raw) > at + 2 and raw[at] == 0x30:  # kind: one byte of value
                at += 2
            if len(raw) >= at + 18:
                start_tag, start_ns, end_tag, end_ns = _TIMES.unpack_from(raw, at)
                if start_tag == _START_TAG and end_tag == _END_TAG:
                    name = _text(raw[name_at : name_at + length])
                    return Span(
                        raw[2:18], raw[20:28], parent_id, name, start_ns, end_ns, raw, origin
                    )
    return _read_span_in_any_order(raw, origin)


def _read_span_in_any_order(raw: bytes, origin: Origin) -> Span:
    trace_id = span_id = parent_id = name = b""
    start_ns = end_ns = 0
    for number, value, _, _ in _fields(raw):
        if isinstance(value, int):
            if number == 7:
                start_ns = value
            elif number == 8:
                end_ns = value
        elif number == 1:
            trace_id = value
        elif number == 2:
            span_id = value
        elif number == 4:
            parent_id = value
        elif number == 5:
            name = value
    if len(trace_id) != 16 or len(span_id) != 8 or len(parent_id) not in {0, 8}:
        raise MalformedError(
            f"span ids of {len(trace_id)}, {len(span_id)} and {len(parent_id)} bytes;"
            " OTLP wants 16, 8 and 8 or none"
        )
    return Span(trace_id, span_id, parent_id, _text(name), start_ns, end_ns, raw, origin)


def rewrite(span: Span, trace_id: bytes, parent_id: bytes, attributes: bytes = b"") -> bytes:
    """Encode a span again under another trace and parent, with attributes appended.

    Args:
        span: the span; all its other fields stay as they came, to the byte.
        trace_id: the new trace id, 16 bytes.
        parent_id: the new parent's span id, 8 bytes.
        attributes: encoded by :func:`string_attribute` and its kin.
    """
    raw = span.raw
    if raw[:2] == _TRACE_SPAN_IDS[0] and raw[18:20] == _TRACE_SPAN_IDS[1]:
        rest = raw[38:] if raw[28:30] == _PARENT_ID else raw[28:]
        if not span.parent_id or raw[28:30] == _PARENT_ID:
            return b"".join(
                (_TRACE_SPAN_IDS[0], trace_id, raw[18:28], _PARENT_ID, parent_id, rest, attributes)
            )
    kept = b"".join(
        raw[start:end] for number, _, start, end in _fields(raw) if number not in {1, 4}
    )
    return b"".join((_TRACE_SPAN_IDS[0], trace_id, _PARENT_ID, parent_id, kept, attributes))


def attributes_of(raw: bytes, field: int = 9) -> dict[str, AttributeValue]:
    """Decode the attributes of an encoded span.

    Args:
        raw: an encoded message that holds ``repeated KeyValue``.
        field: number of that field: 9 in a span, 1 in a resource, 3 in a scope.

    Raises:
        MalformedError: broken fields.
    """
    found: dict[str, AttributeValue] = {}
    for number, value, _, _ in _fields(raw):
        if number == field and isinstance(value, bytes):
            key = ""
            decoded: AttributeValue = None
            for inner, inner_value, _, _ in _fields(value):
                if inner == 1 and isinstance(inner_value, bytes):
                    key = _text(inner_value)
                elif inner == 2 and isinstance(inner_value, bytes):
                    decoded = _any_value(inner_value)
            found[key] = decoded
    return found


def _any_value(raw: bytes, depth: int = 0) -> AttributeValue:
    """Decode an ``AnyValue``; maps and what lies too deep are given as their bytes."""
    decoded: AttributeValue = None
    for number, value, _, _ in _fields(raw):
        if isinstance(value, int):
            if number == 2:
                decoded = bool(value)
            elif number == 3:
                decoded = value - (1 << 64) if value >> 63 else value
            elif number == 4:
                decoded = struct.unpack("<d", struct.pack("<Q", value))[0]
        elif number == 1:
            decoded = value.decode("utf-8", "replace")
        elif number == 5 and depth < 4:
            decoded = tuple(
                _any_value(item, depth + 1)
                for inner, item, _, _ in _fields(value)
                if inner == 1 and isinstance(item, bytes)
            )
        else:
            decoded = value
    return decoded


# -- headers ----------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def service_name(resource: bytes) -> str:
    """Return ``service.name`` of an encoded resource, or an empty string."""
    value = attributes_of(resource, field=1).get("service.name")
    return value if isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def scope_name(scope: bytes) -> str:
    """Return the name of an encoded instrumentation scope, or an empty string."""
    name = ""
    for number, value, _, _ in _fields(scope):
        if number == 1 and isinstance(value, bytes):
            name = _text(value)
    return name


@lru_cache(maxsize=4096)
def origin_of(service: str, scope: str = "") -> Origin:
    """Make the origin of spans that carried only a service's name, as Zipkin's do."""
    resource = string_attribute("service.name", service, field=1)
    scope_bytes = InstrumentationScope(name=scope).SerializeToString()
    return Origin(resource, scope_bytes)


# -- encoding ---------------------------------------------------------------------------------


def string_attribute(key: str, value: str, field: int = 9) -> bytes:
    """Encode one string attribute as a field of a span (9) or a resource (1)."""
    text = value.encode("utf-8", "replace")
    return _key_value(key, field, b"\x0a" + _varint(len(text)) + text)


def int_attribute(key: str, value: int, field: int = 9) -> bytes:
    """Encode one integer attribute as a field of a span (9) or a resource (1)."""
    return _key_value(key, field, b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF))


def _key_value(key: str, field: int, any_value: bytes) -> bytes:
    inner = _encoded_key(key) + _varint(len(any_value)) + any_value
    return bytes((field << 3 | 2,)) + _varint(len(inner)) + inner


@lru_cache(maxsize=1024)
def _encoded_key(key: str) -> bytes:
    text = key.encode()
    return b"\x0a" + _varint(len(text)) + text + b"\x12"


def encode_span(
    *,
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes,
    name: str,
    kind: int,
    start_ns: int,
    end_ns: int,
    tail: bytes = b"",
) -> bytes:
    """Encode a span in the order of its field numbers; ``tail`` holds encoded attributes."""
    text = name.encode("utf-8", "replace")
    return b"".join(
        (
            _TRACE_SPAN_IDS[0] + trace_id + _TRACE_SPAN_IDS[1] + span_id,
            _PARENT_ID + parent_id if parent_id else b"",
            b"\x2a" + _varint(len(text)) + text,
            bytes((0x30, kind)) if kind else b"",
            _TIMES.pack(_START_TAG, start_ns, _END_TAG, end_ns),
            tail,
        )
    )


def event_field(time_ns: int, name: str) -> bytes:
    """Encode one span event (field 11 of a span) that has a time and a name."""
    text = name.encode("utf-8", "replace")
    inner = struct.pack("<BQ", 0x09, time_ns) + b"\x12" + _varint(len(text)) + text
    return b"\x5a" + _varint(len(inner)) + inner


@lru_cache(maxsize=4096)
def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- decoding, generally ----------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes, int, int]]:
    """Walk the fields of one message: number, value, and where the field starts and ends.

    Length-delimited values are bytes, all others unsigned integers.

    Raises:
        MalformedError: a field is cut short, or of a wire type that proto3 does not have.
    """
    at, size = 0, len(raw)
    while at < size:
        start = at
        tag, at = _read_varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 2:
            length, at = _read_varint(raw, at)
            end = at + length
            value: int | bytes = raw[at:end]
        elif wire_type == 0:
            value, end = _read_varint(raw, at)
        elif wire_type == 1:
            end = at + 8
            value = int.from_bytes(raw[at:end], "little")
        elif wire_type == 5:
            end = at + 4
            value = int.from_bytes(raw[at:end], "little")
        else:
            raise MalformedError(f"wire type {wire_type} at byte {start}")
        if end > size:
            raise MalformedError(f"field {number} at byte {start} is cut short")
        yield number, value, start, end
        at = end


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise MalformedError(f"broken varint before byte {at}")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


# -- for people and tests ---------------------------------------------------------------------


def decode(request: bytes) -> list[SpanView]:
    """Decode every span of a request in full.

    Raises:
        MalformedError: the request or a span in it is broken.
    """
    views = []
    for group in cut(request):
        resource = attributes_of(group.origin.resource, field=1)
        scope = scope_name(group.origin.scope)
        for raw in group.spans:
            span = read_span(raw, group.origin)
            kind = error = 0
            for number, value, _, _ in _fields(raw):
                if number == 6 and isinstance(value, int):
                    kind = value
                elif number == 15 and isinstance(value, bytes):
                    error = next((v for n, v, _, _ in _fields(value) if n == 3), 0) == 2
            views.append(
                SpanView(
                    span.trace_id, span.span_id, span.parent_id, span.name, kind,
                    span.start_ns, span.end_ns, attributes_of(raw), resource, scope, bool(error),
                )
            )  # fmt: skip
    return views


__all__ = [
    "AttributeValue", "InstrumentationScope", "Resource", "SpanGroup", "SpanView", "attributes_of",
    "build", "check", "cut", "decode", "encode_span", "event_field", "int_attribute", "origin_of",
    "read_span", "rewrite", "scope_name", "service_name", "string_attribute",
]  # fmt: skip
