"""Whole requests, of traces and as far as they are alike of logs: checked, cut, put together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any, Final, NamedTuple

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.model import Origin
from otel_dns.wire import MalformedError, Refusals
from otel_dns.wire.otlp.attributes import AttributeValue, attribute_of, string_attribute
from otel_dns.wire.otlp.pieces import (
    LOG_RECORD,
    PIECE,
    RESOURCE,
    SCOPE,
    SPAN,
    Layout,
    SpansInPieces,
    check_fields,
    pieces,
)
from otel_dns.wire.otlp.protobuf import fields, varint
from otel_dns.wire.otlp.schema import Request

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
"""The method of gRPC that takes them."""
_RESOURCE_SPANS: Final = 0x0A
_SCOPE_SPANS: Final = 0x12
_FEW: Final = 1000
_LEAST_SPAN: Final = 48
"""Bytes of a span that has its ids and times and nothing else."""
_LEAST_PART: Final = 20
"""Bytes of a part of the outer layers, as a third of a resource with one scope and one span."""
_LITTLE: Final = 1 << 16
"""Bytes of a request that takes little memory, whatever is in it."""


class SpanGroup(NamedTuple):
    """The spans of one scope under one resource, as slices of the request."""

    origin: Origin
    spans: Sequence[bytes]


def read(request: bytes) -> Iterable[tuple[SpanGroup, Iterable[ProtoSpan]]]:
    """Check a whole ``ExportTraceServiceRequest``, every span's inner fields included, and cut it.

    Cutting is not validation: a span with a broken inner field would pass the reduced schema and
    make a backend refuse everything that travels with it. The C parser does this for about 0.15
    microseconds a span.

    Returns:
        Each group with its spans as protobuf reads them, for :func:`span_of`.

    Raises:
        MalformedError: protobuf cannot parse the request, or it is of more parts than sound ones.
    """
    if len(request) < PIECE:
        groups = cut(request)
        parsed = _checked(request)
        whole = (scope.spans for each in parsed.resource_spans for scope in each.scope_spans)
        return zip(groups, whole, strict=True)
    groups = list(_groups(request, bare=True))
    for piece in _in_pieces(groups, SPAN):
        _checked(piece)
    return ((group, SpansInPieces(group.spans)) for group in groups if group.spans)


def _checked(request: bytes) -> ExportTraceServiceRequest:
    try:
        return ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise MalformedError(f"not an OTLP trace request: {error}") from None


def sound(request: bytes, refused: Refusals) -> dict[Origin, list[bytes]]:
    """Return the spans of a broken request that are sound themselves, by their origin.

    Args:
        request: an ``ExportTraceServiceRequest`` that :func:`read` did not take.
        refused: told of the others, each by itself.

    Raises:
        MalformedError: the request's outer layers are broken.
    """
    found: dict[Origin, list[bytes]] = {}
    for origin, raws in cut(request):
        try:
            list(read(build_grouped({origin: ()})))
        except MalformedError as error:
            for _ in raws:
                refused.add(str(error))
            continue
        for raw in raws:
            try:
                check_fields(raw, SPAN)
                ProtoSpan.FromString(raw)
            except (MalformedError, DecodeError) as error:
                refused.add(str(error))
            else:
                found.setdefault(origin, []).append(raw)
    return found


def cut(request: bytes) -> list[SpanGroup]:
    """Cut an ``ExportTraceServiceRequest`` into groups of span slices.

    Raises:
        MalformedError: the request's outer layers are broken, or of more parts than those of sound
            ones; spans are not looked into (that is :func:`read`).
    """
    return list(_groups(request))


def _groups(request: bytes, *, bare: bool = False) -> Iterator[SpanGroup]:
    """Cut a request into groups; with ``bare`` a resource without any scope is one too."""
    if len(request) >= _LITTLE:
        _check_room(request)
    for resource_spans in _parse(request).resource_spans:
        resource, rest = _merged(resource_spans.resource), _rest(resource_spans)
        for scope in resource_spans.scope_spans:
            yield SpanGroup(Origin(resource, _merged(scope.scope), rest, _rest(scope)), scope.spans)
        if bare and not resource_spans.scope_spans:
            yield SpanGroup(Origin(resource, b"", rest), ())


def logs_in_pieces(request: bytes) -> Iterable[bytes]:
    """Cut an ``ExportLogsServiceRequest``, if it is a large one, into several of the same records.

    Its outer layers are numbered as a trace request's are.

    Raises:
        MalformedError: they are broken, or it is of more parts than sound ones.
    """
    return (request,) if len(request) < PIECE else _in_pieces(cut(request), LOG_RECORD)


def _in_pieces(groups: Iterable[SpanGroup], layout: Layout) -> Iterator[bytes]:
    """Encode a large request's groups as several requests.

    Args:
        groups: the groups.
        layout: of a span, or what else is in them.

    Raises:
        MalformedError: a message is of more fields than sound ones.
    """
    piece: dict[Origin, list[bytes]] = {}
    size = 0
    for origin, raws in groups:
        check_fields(origin.resource, RESOURCE)
        check_fields(origin.scope, SCOPE)
        size += sum(map(len, origin))
        together = piece.setdefault(origin, [])
        for some in pieces(raws):
            sizes = list(map(len, some))
            if max(sizes) >= PIECE:
                for raw in some:
                    check_fields(raw, layout)
            together += some
            size += sum(sizes)
            if size >= PIECE:
                yield build_grouped(piece)
                together, size = [], 0
                piece = {origin: together}
    yield build_grouped(piece)


def _check_room(request: bytes) -> None:
    """Count a request's parts before they are made objects, which take more than the bytes.

    Raises:
        MalformedError: they are more than sound ones have room, or it is broken.
    """
    groups, spans = _FEW + len(request) // _LEAST_PART, _FEW + len(request) // _LEAST_SPAN
    for tag, resource_spans, _, _ in fields(memoryview(request)):
        groups -= 1
        if tag == _RESOURCE_SPANS and isinstance(resource_spans, memoryview):
            for inner, scope_spans, _, _ in fields(resource_spans):
                groups -= 1
                # In a smaller request spans are few enough, whatever they are.
                if len(request) >= PIECE and inner == _SCOPE_SPANS:
                    spans -= _number_of_fields(scope_spans, spans)
                if groups < 0 or spans < 0:
                    break
        if groups < 0:
            raise MalformedError("more resources and scopes than sound ones have room")
        if spans < 0:
            raise MalformedError("more spans than sound ones have room")


def _number_of_fields(message: int | bytes | memoryview, at_most: int) -> int:
    """Count a message's fields: none if it is no message, and up to one more than there may be."""
    if isinstance(message, int):
        return 0
    return sum(1 for _ in islice(fields(message), at_most + 1))


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
