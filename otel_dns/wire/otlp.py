"""OTLP trace requests, cut into span slices and put together again, without decoding a span.

A span is kept as the bytes that it came in. A reduced schema in which spans are ``repeated bytes``
lets protobuf's C parser cut a request into slices; ids, name and times are read from what the same
parser made of the whole request when that was checked; attributes are cut too, and each decoded
once as long as it comes again; and a span is changed by concatenating slices. Field numbers are
those of opentelemetry-proto's ``trace.proto`` v1.
"""

import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache, wraps
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.model import Origin, Span
from otel_dns.wire import MalformedError

AttributeValue: TypeAlias = str | bool | int | float | bytes | tuple[Any, ...] | None

_TRACE_SPAN_IDS: Final = (b"\x0a\x10", b"\x12\x08")  # fields 1 and 2, length-delimited, 16 and 8
_PARENT_ID: Final = b"\x22\x08"  # field 4, 8 bytes
_EMPTY_PARENT_ID: Final = b"\x22\x00"  # the Collector writes a root's so
_TIMES: Final = struct.Struct("<BQBQ")  # tags and values of fields 7 and 8, both fixed64
_START_TAG: Final = 0x39
_END_TAG: Final = 0x41
_PARENT_SIZES: Final = (0, 8)
_RESOURCE_SPANS: Final = 0x0A
_MAX_DEPTH: Final = 4
_MAX_REMEMBERED: Final = 256
"""Bytes of an attribute that is decoded only once."""
_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(0x80))

_Key = TypeVar("_Key", str, bytes)
_Value = TypeVar("_Value")


def _cached(function: Callable[[_Key], _Value]) -> Callable[[_Key], _Value]:
    """Remember a function's latest results, but not of long keys: they would fill the memory."""
    remembered = lru_cache(maxsize=4096)(function)

    @wraps(function)
    def result(key: _Key) -> _Value:
        return remembered(key) if len(key) <= 4096 else function(key)

    return result


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


def _reduced_schema() -> Callable[[str], Any]:
    """Make the message classes in which resources, scopes, spans and attributes stay bytes."""
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
        ("scope", 1, many, octets, ""),
        ("spans", 2, many, octets, ""),
        ("schema_url", 3, one, text, ""),
    )
    message(
        "ResourceSpans",
        ("resource", 1, many, octets, ""),
        ("scope_spans", 2, many, sub, ".otel_dns.reduced.ScopeSpans"),
        ("schema_url", 3, one, text, ""),
    )
    message("Request", ("resource_spans", 1, many, sub, ".otel_dns.reduced.ResourceSpans"))
    message("Resource", ("attributes", 1, many, octets, ""))
    message("Scope", ("attributes", 3, many, octets, ""))
    message("Span", ("attributes", 9, many, octets, ""))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"otel_dns.reduced.{name}")
    )


_reduced: Final = _reduced_schema()
_Request: Final = _reduced("Request")
_WITH_ATTRIBUTES: Final = {1: _reduced("Resource"), 3: _reduced("Scope"), 9: _reduced("Span")}
"""By the number of the field that holds the attributes."""


def read(request: bytes) -> Iterator[tuple[SpanGroup, Sequence[ProtoSpan]]]:
    """Check a whole ``ExportTraceServiceRequest``, every span's inner fields included, and cut it.

    Cutting is not validation: a span with a broken inner field would pass the reduced schema and
    make a backend refuse everything that travels with it. The C parser does this for about 0.15
    microseconds a span.

    Yields:
        Each group with its spans as protobuf read them, for :func:`span_of`.

    Raises:
        MalformedError: protobuf cannot parse the request; nothing was yielded.
    """
    try:
        parsed = ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None
    whole = (scope.spans for resource in parsed.resource_spans for scope in resource.scope_spans)
    return zip(cut(request), whole, strict=True)


def cut(request: bytes) -> list[SpanGroup]:
    """Cut an ``ExportTraceServiceRequest`` into groups of span slices.

    Raises:
        MalformedError: the request's outer layers are broken; spans are not looked into (that is
            :func:`read`).
    """
    groups = []
    for resource_spans in _parse(request).resource_spans:
        resource, rest = _merged(resource_spans.resource), _rest(resource_spans)
        groups += [
            SpanGroup(Origin(resource, _merged(scope.scope), rest, _rest(scope)), scope.spans)
            for scope in resource_spans.scope_spans
        ]
    return groups


def rest_of(request: bytes) -> bytes:
    """Return the fields of an ``ExportTraceServiceRequest`` that nobody knows, as they came.

    Raises:
        MalformedError: the request's outer layer is broken.
    """
    return b"".join(
        request[start:end] for tag, _, start, end in _fields(request) if tag != _RESOURCE_SPANS
    )


def _rest(message: Any) -> bytes:
    """Return what a message holds beside what it holds together."""
    if not message.schema_url and not len(UnknownFieldSet(message)):
        return b""
    copy = type(message)()
    copy.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.name != "schema_url":
            copy.ClearField(field.name)
    rest: bytes = copy.SerializeToString()
    return rest


def _merged(parts: Sequence[bytes]) -> bytes:
    """Return a message that may have come in several parts, which protobuf merges."""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _parse(request: bytes) -> Any:
    try:
        return _Request.FromString(request)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None


def build(spans: Iterable[tuple[Origin, bytes]]) -> bytes:
    """Put encoded spans together into one ``ExportTraceServiceRequest``, grouped by origin."""
    by_origin: dict[Origin, list[bytes]] = {}
    for origin, raw in spans:
        by_origin.setdefault(origin, []).append(raw)
    return build_grouped(by_origin)


def build_grouped(by_origin: Mapping[Origin, Sequence[bytes]]) -> bytes:
    """Put encoded spans, given by their origin, together into one ``ExportTraceServiceRequest``."""
    request = _Request()
    by_resource: dict[tuple[bytes, bytes], Any] = {}
    for origin, raws in by_origin.items():
        key = (origin.resource, origin.resource_rest)
        resource_spans = by_resource.get(key)
        if resource_spans is None:
            by_resource[key] = resource_spans = request.resource_spans.add(
                resource=_part(origin.resource)
            )
            if origin.resource_rest:
                resource_spans.MergeFromString(origin.resource_rest)
        scope_spans = resource_spans.scope_spans.add(scope=_part(origin.scope), spans=raws)
        if origin.scope_rest:
            scope_spans.MergeFromString(origin.scope_rest)
    encoded: bytes = request.SerializeToString()
    return encoded


def _part(message: bytes) -> Sequence[bytes]:
    return (message,) if message else ()


# -- one span ---------------------------------------------------------------------------------


def read_span(raw: bytes, origin: Origin) -> Span:
    """Read ids, name and times of an encoded span.

    Raises:
        MalformedError: a backend would refuse this span: ids of a wrong length, or broken fields.
    """
    try:
        read = ProtoSpan.FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"not a span: {error}") from None
    return span_of(read, raw, origin)


def span_of(
    read: ProtoSpan, raw: bytes, origin: Origin, ids: dict[bytes, bytes] | None = None
) -> Span:
    """Take ids, name and times from a span that protobuf has read.

    Args:
        read: the span as protobuf read it.
        raw: its bytes.
        origin: under what it came.
        ids: those of the request's other spans so far: one that comes again is held once.

    Raises:
        MalformedError: a backend would refuse this span for ids of a wrong length.
    """
    trace_id, span_id, parent_id = read.trace_id, read.span_id, read.parent_span_id
    if len(trace_id) != 16 or len(span_id) != 8 or len(parent_id) not in _PARENT_SIZES:
        raise MalformedError(wrong_ids(read))
    if ids is not None:
        trace_id = ids.setdefault(trace_id, trace_id)
        span_id = ids.setdefault(span_id, span_id)
        parent_id = ids.setdefault(parent_id, parent_id)
    return Span(
        trace_id, span_id, parent_id, sys.intern(read.name),
        read.start_time_unix_nano, read.end_time_unix_nano, raw, origin,
    )  # fmt: skip


def wrong_ids(read: ProtoSpan) -> str:
    """Say what is wrong with the ids of a span that protobuf read; nothing if they are right."""
    trace_id, span_id, parent_id = read.trace_id, read.span_id, read.parent_span_id
    if len(trace_id) == 16 and len(span_id) == 8 and len(parent_id) in _PARENT_SIZES:
        return ""
    return (
        f"span ids of {len(trace_id)}, {len(span_id)} and {len(parent_id)} bytes;"
        " OTLP wants 16, 8 and 8 or none"
    )


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
        parent = raw[28:30]
        at = 38 if parent == _PARENT_ID else 30 if parent == _EMPTY_PARENT_ID else 28
        # Of a field that is given twice the last one wins: ours does, unless another may come
        # further on.
        if (
            raw.find(_PARENT_ID, at) < 0
            and raw.find(_EMPTY_PARENT_ID, at) < 0
            and raw[2:18] == span.trace_id
            and raw[20:28] == span.span_id
            and raw.find(raw[:18], at) < 0
        ):
            return b"".join(
                (
                    _TRACE_SPAN_IDS[0], trace_id, raw[18:28],
                    _PARENT_ID, parent_id, raw[at:], attributes,
                )
            )  # fmt: skip
    kept = b"".join(
        raw[start:end] for tag, _, start, end in _fields(raw) if tag not in {0x0A, 0x12, 0x22}
    )
    ids = _TRACE_SPAN_IDS[0], trace_id, _TRACE_SPAN_IDS[1], span.span_id, _PARENT_ID, parent_id
    return b"".join((*ids, kept, attributes))


def with_span_id(raw: bytes, span_id: bytes) -> bytes:
    """Encode a span again under another id; all else stays.

    Raises:
        MalformedError: broken fields.
    """
    return b"".join(
        b"\x12\x08" + span_id if tag == 0x12 else raw[start:end]
        for tag, _, start, end in _fields(raw)
    )


def with_kind(raw: bytes, kind: int, instead_of: int) -> bytes:
    """Encode a span again with one ``SpanKind`` instead of another; all else stays.

    Raises:
        MalformedError: broken fields.
    """
    for tag, value, start, end in _fields(raw):
        if tag == 0x30 and value == instead_of:
            return b"".join((raw[:start], bytes((0x30, kind)), raw[end:]))
    return raw


def move(span: Span, by_ns: int) -> Span:
    """Copy a span with its start and end moved in time; all else stays, to the byte.

    Args:
        span: the span.
        by_ns: nanoseconds to add to both.
    """
    start_ns, end_ns = max(span.start_ns + by_ns, 0), max(span.end_ns + by_ns, 0)
    raw = bytearray(span.raw)
    for tag, _, _, end in _fields(span.raw):
        if tag in {_START_TAG, _END_TAG}:
            time_ns = start_ns if tag == _START_TAG else end_ns
            raw[end - 8 : end] = time_ns.to_bytes(8, "little")
    return replace(span, start_ns=start_ns, end_ns=end_ns, raw=bytes(raw))


def attributes_of(raw: bytes, field: int = 9) -> dict[str, AttributeValue]:
    """Decode the attributes of an encoded span.

    Args:
        raw: an encoded message that holds ``repeated KeyValue``.
        field: number of that field: 9 in a span, 1 in a resource, 3 in a scope.

    Raises:
        MalformedError: broken fields.
    """
    try:
        holder = _WITH_ATTRIBUTES[field].FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"no attributes: {error}") from None
    return dict(
        [
            _remembered(raw) if len(raw) <= _MAX_REMEMBERED else _attribute(raw)
            for raw in holder.attributes
        ]
    )


def _attribute(raw: bytes) -> tuple[str, AttributeValue]:
    try:
        attribute = KeyValue.FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"not an attribute: {error}") from None
    return sys.intern(attribute.key), _plain(attribute.value)


_remembered: Final = lru_cache(maxsize=1 << 13)(_attribute)


def _plain(value: AnyValue, depth: int = 0) -> AttributeValue:
    """Decode a value; maps and what lies too deep are given as their bytes."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value" and depth < _MAX_DEPTH:
        return tuple(_plain(each, depth + 1) for each in value.array_value.values)
    plain: Any = getattr(value, kind)
    if kind in {"array_value", "kvlist_value"}:
        plain = plain.SerializeToString()
    return cast("AttributeValue", plain)


def change_attributes(
    request: bytes,
    keys: AbstractSet[str],
    change: Callable[[str, AttributeValue], AttributeValue],
) -> bytes:
    """Encode a request again with some of its spans' attributes changed.

    A span that has one of them loses its events and its status's message too: they may say the
    same. All else stays, fields that nobody knows included.

    Args:
        request: an ``ExportTraceServiceRequest``.
        keys: of the attributes that are to be changed.
        change: given key and value, returns the new string; anything else removes the attribute.

    Raises:
        MalformedError: the request is broken.
    """
    parsed = _parse(request)
    encoded_keys = [key.encode() for key in keys]
    for resource_spans in parsed.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            spans = list(scope_spans.spans)
            for number, raw in enumerate(spans):
                if any(key in raw for key in encoded_keys):
                    spans[number] = _changed(raw, keys, change)
            scope_spans.spans[:] = spans
    encoded: bytes = parsed.SerializeToString()
    return encoded


def _changed(
    raw: bytes, keys: AbstractSet[str], change: Callable[[str, AttributeValue], AttributeValue]
) -> bytes:
    parts, bare = [], []
    found = False
    for tag, value, start, end in _fields(raw):
        part = raw[start:end]
        if tag == 0x4A and isinstance(value, bytes):
            key, decoded = _attribute(value)
            if key in keys:
                found = True
                new = change(key, decoded)
                part = string_attribute(key, new) if isinstance(new, str) else b""
        parts.append(part)
        if tag == 0x7A and isinstance(value, bytes):
            part = _status_without_message(value)
        if tag != 0x5A:
            bare.append(part)
    return b"".join(bare if found else parts)


def _status_without_message(status: bytes) -> bytes:
    codes = [status[start:end] for tag, _, start, end in _fields(status) if tag == 0x18]
    inner = codes[-1] if codes else b""
    return b"\x7a" + _varint(len(inner)) + inner


# -- headers ----------------------------------------------------------------------------------


@_cached
def resource_attributes(resource: bytes) -> Mapping[str, AttributeValue]:
    """Return the attributes of an encoded resource; not to be changed, for it is remembered."""
    return MappingProxyType(attributes_of(resource, field=1))


@_cached
def service_name(resource: bytes) -> str:
    """Return ``service.name`` of an encoded resource, or an empty string."""
    value = resource_attributes(resource).get("service.name")
    return value if isinstance(value, str) else ""


@_cached
def scope_name(scope: bytes) -> str:
    """Return the name of an encoded instrumentation scope, or an empty string."""
    name = ""
    for tag, value, _, _ in _fields(scope):
        if tag == 0x0A and isinstance(value, bytes):
            name = value.decode("utf-8", "replace")
    return name


@_cached
def encode_scope(name: str) -> bytes:
    """Encode an instrumentation scope of which only the name is known."""
    text = name.encode()
    return b"\x0a" + _varint(len(text)) + text


def server_instance(resource: bytes) -> str:
    """Name the instance behind an encoded resource: its Pod, else its id, else its service.

    The Pod is there where a Collector's k8s_attributes looked it up, the instance id where the
    spans came straight from the server.
    """
    attributes = resource_attributes(resource)
    for key in ("k8s.pod.name", "service.instance.id", "service.name"):
        value = attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return ""


@_cached
def server_addresses(resource: bytes) -> tuple[str, ...]:
    """Return the addresses that an encoded resource tells of the instance behind it."""
    attributes = resource_attributes(resource)
    found = [attributes.get(key) for key in ("service.instance.id", "k8s.pod.ip", "server.address")]
    several = attributes.get("host.ip")
    found += several if isinstance(several, tuple) else [several]
    return tuple(one for one in found if isinstance(one, str))


def origin_of(service: str, instance: str = "") -> Origin:
    """Make the origin of spans that carried only a service's name, as Zipkin's do.

    Args:
        service: ``service.name``.
        instance: ``service.instance.id``, where who sent the spans is known.
    """
    return _origin_of(f"{instance}\0{service}")


@_cached
def _origin_of(instance_and_service: str) -> Origin:
    instance, _, service = instance_and_service.partition("\0")
    resource = string_attribute("service.name", service, field=1)
    if instance:
        resource += string_attribute("service.instance.id", instance, field=1)
    return Origin(resource, scope=b"")


# -- encoding ---------------------------------------------------------------------------------


def string_attribute(key: str, value: str, field: int = 9) -> bytes:
    """Encode one string attribute as a field of a span (9) or a resource (1)."""
    text = value.encode("utf-8", "replace")
    return _key_value(key, field, b"\x0a" + _varint(len(text)) + text)


@lru_cache(maxsize=1 << 12)
def word_attribute(key: str, word: str) -> bytes:
    """Encode one string attribute of a span whose values are few: it is remembered."""
    return string_attribute(key, word)


def hex_attribute(key: str, value: bytes) -> bytes:
    """Encode one string attribute of a span: an id of up to 16 bytes, in hexadecimal."""
    return _hex_prefix(key, len(value)) + value.hex().encode()


@lru_cache(maxsize=64)
def _hex_prefix(key: str, size: int) -> bytes:
    return string_attribute(key, "0" * (2 * size))[: -2 * size or None]


def double_attribute(key: str, value: float, field: int = 9) -> bytes:
    """Encode one floating-point attribute as a field of a span (9) or a resource (1)."""
    return _key_value(key, field, b"\x21" + struct.pack("<d", value))


@lru_cache(maxsize=1 << 14)
def int_attribute(key: str, value: int, field: int = 9) -> bytes:
    """Encode one integer attribute as a field of a span (9) or a resource (1).

    The latest are remembered: CoreDNS's times are whole microseconds, so they come again and again.
    """
    return _key_value(key, field, b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF))


def _key_value(key: str, field: int, any_value: bytes) -> bytes:
    encoded_key = _encoded_key(key)
    size = len(encoded_key) + 1 + len(any_value)
    if size <= 0x7F:
        return b"%c%c%b%c%b" % (field << 3 | 2, size, encoded_key, len(any_value), any_value)
    inner = encoded_key + _varint(len(any_value)) + any_value
    return bytes((field << 3 | 2,)) + _varint(len(inner)) + inner


@_cached
def _encoded_key(key: str) -> bytes:
    text = key.encode("utf-8", "replace")
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


ERROR_STATUS: Final = b"\x7a\x02\x18\x02"
"""A span's field 15, ``Status``, with code ERROR."""


def event_field(time_ns: int, name: str) -> bytes:
    """Encode one span event (field 11 of a span) that has a time and a name."""
    text = name.encode("utf-8", "replace")
    inner = struct.pack("<BQ", 0x09, time_ns) + b"\x12" + _varint(len(text)) + text
    return b"\x5a" + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    if value <= 0x7F:
        return _ONE_BYTE[value]
    if value <= 0x3FFF:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value <= 0x1F_FFFF:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- decoding, generally ----------------------------------------------------------------------


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes, int, int]]:
    """Walk the fields of one message: tag, value, and where the field starts and ends.

    A tag is the field's number and wire type as they are written (``number << 3 | wire type``), so
    a field of another type than the schema's is not taken for it.

    Length-delimited values are bytes, all others unsigned integers.

    Raises:
        MalformedError: a field is cut short, or of a wire type that proto3 does not have.
    """
    at, size = 0, len(raw)
    while at < size:
        start = at
        tag = raw[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = _read_varint(raw, at)
        wire_type = tag & 7
        if wire_type == 2:
            if at < size and raw[at] < 0x80:
                end = at + 1 + raw[at]
                at += 1
            else:
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
            raise MalformedError(f"field {tag >> 3} at byte {start} is cut short")
        yield tag, value, start, end
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
            kind, error = 0, False
            for tag, value, _, _ in _fields(raw):
                if tag == 0x30 and isinstance(value, int):
                    kind = value
                elif tag == 0x7A and isinstance(value, bytes):
                    codes = [code for inner, code, _, _ in _fields(value) if inner == 0x18]
                    error = codes[-1:] == [2]
            views.append(
                SpanView(
                    span.trace_id, span.span_id, span.parent_id, span.name, kind,
                    span.start_ns, span.end_ns, attributes_of(raw), resource, scope, error,
                )
            )  # fmt: skip
    return views


__all__ = [
    "ERROR_STATUS", "AttributeValue", "ProtoSpan", "SpanGroup", "SpanView", "attributes_of",
    "build", "build_grouped", "change_attributes", "cut", "decode", "double_attribute",
    "encode_scope", "encode_span", "event_field", "hex_attribute", "int_attribute", "origin_of",
    "read", "read_span", "resource_attributes", "rewrite", "scope_name", "server_instance",
    "service_name", "span_of", "string_attribute", "with_kind", "word_attribute", "wrong_ids",
]  # fmt: skip
