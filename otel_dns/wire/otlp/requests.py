"""Whole trace requests: checked, cut into spans, and put together again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.model import Origin
from otel_dns.wire import MalformedError
from otel_dns.wire.otlp.attributes import AttributeValue, attribute_of, string_attribute
from otel_dns.wire.otlp.protobuf import LITTLE, fields, has_tiny_parts, varint
from otel_dns.wire.otlp.schema import Request

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""The method of gRPC that takes them."""
_RESOURCE_SPANS: Final = 0x0A
_SCOPE_SPANS: Final = 0x12
_FEW: Final = 1000
_LEAST: Final = 30
"""Bytes of a span that has its ids and nothing else, and so of a scope or a resource with one."""


class SpanGroup(NamedTuple):
    """The spans of one scope under one resource, as slices of the request."""

    origin: Origin
    spans: Sequence[bytes]


def read(request: bytes) -> Iterator[tuple[SpanGroup, Sequence[ProtoSpan]]]:
    """Check a whole ``ExportTraceServiceRequest``, every span's inner fields included, and cut it.

    Cutting is not validation: a span with a broken inner field would pass the reduced schema and
    make a backend refuse everything that travels with it. The C parser does this for about 0.15
    microseconds a span.

    Yields:
        Each group with its spans as protobuf read them, for :func:`span_of`.

    Raises:
        MalformedError: protobuf cannot parse the request, or it has more parts than sound ones
            have room in it; nothing was yielded.
    """
    tiny = has_tiny_parts(request)
    groups = _cut(request, tiny=tiny)
    if tiny:
        raise MalformedError("a request of tiny messages")
    try:
        parsed = ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None
    whole = (scope.spans for resource in parsed.resource_spans for scope in resource.scope_spans)
    return zip(groups, whole, strict=True)


def cut(request: bytes) -> list[SpanGroup]:
    """Cut an ``ExportTraceServiceRequest`` into groups of span slices.

    Raises:
        MalformedError: the request's outer layers are broken; spans are not looked into (that is
            :func:`read`).
    """
    return _cut(request, tiny=True)


def _cut(request: bytes, *, tiny: bool) -> list[SpanGroup]:
    """Cut a request.

    Args:
        request: the request.
        tiny: it may be of tiny messages; else it has not so many spans that they need be counted
            before they are cut.
    """
    if len(request) >= LITTLE:
        _check_room(request, tiny=tiny)
    groups: list[SpanGroup] = []
    spans = 0
    for resource_spans in _parse(request).resource_spans:
        resource, rest = _merged(resource_spans.resource), _rest(resource_spans)
        for scope in resource_spans.scope_spans:
            spans += len(scope.spans)
            groups.append(
                SpanGroup(Origin(resource, _merged(scope.scope), rest, _rest(scope)), scope.spans)
            )
    if spans > _FEW + len(request) // _LEAST:
        raise MalformedError("more spans than sound ones have room")
    return groups


def _check_room(request: bytes, *, tiny: bool) -> None:
    """Count a request's parts before they are made objects, which take more than the bytes.

    Raises:
        MalformedError: they are more than sound ones have room, or it is broken.
    """
    groups = spans = _FEW + len(request) // _LEAST
    for tag, resource_spans, _, _ in fields(request):
        if tag != _RESOURCE_SPANS or not isinstance(resource_spans, bytes):
            continue
        groups -= 1
        for inner, scope_spans, _, _ in fields(resource_spans):
            groups -= inner == _SCOPE_SPANS
            if groups < 0:
                break
            if not tiny or inner != _SCOPE_SPANS or not isinstance(scope_spans, bytes):
                continue
            for _ in fields(scope_spans):
                spans -= 1
                if spans < 0:
                    raise MalformedError("more spans than sound ones have room")
        if groups < 0:
            raise MalformedError("more resources and scopes than sound ones have room")


def rest_of(request: bytes) -> bytes:
    """Return the fields of an ``ExportTraceServiceRequest`` that nobody knows, as they came.

    Raises:
        MalformedError: the request's outer layer is broken.
    """
    return b"".join(
        request[start:end] for tag, _, start, end in fields(request) if tag != _RESOURCE_SPANS
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
        return Request.FromString(request)
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
    request = Request()
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
    for tag, value, start, end in fields(raw):
        part = raw[start:end]
        if tag == 0x4A and isinstance(value, bytes):
            key, decoded = attribute_of(value)
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
    codes = [status[start:end] for tag, _, start, end in fields(status) if tag == 0x18]
    inner = codes[-1] if codes else b""
    return b"\x7a" + varint(len(inner)) + inner
