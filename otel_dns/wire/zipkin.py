"""Zipkin v2 JSON, as CoreDNS's trace plugin posts it, into OTLP spans.

The translation is the Collector's own (its Zipkin receiver): a 64-bit trace id is padded on the
left with zeros, a span without a kind stays without, a span that is its own parent has none, tags
become string attributes, a tag ``error`` makes the span's status, and the resource holds the local
endpoint's service name only (and the sender, where :func:`decode` is told it).
Format: zipkin-api, ``zipkin2-api.yaml``.
"""

import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from otel_dns.model import Span
from otel_dns.wire import MalformedError, Refusals, otlp

_KINDS: Final = {"SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}  # OTLP SpanKind
_MAX_MICROSECONDS: Final = (1 << 63) // 1000


class _Endpoint(msgspec.Struct, gc=False):
    serviceName: str = ""  # noqa: N815 the wire's spelling


class _Annotation(msgspec.Struct, gc=False):
    timestamp: int = 0
    value: str = ""


class _ZipkinSpan(msgspec.Struct):
    traceId: str  # noqa: N815
    id: str
    parentId: str | None = None  # noqa: N815
    name: str | None = None
    kind: str | None = None
    timestamp: int | None = None
    duration: int | None = None
    localEndpoint: _Endpoint | None = None  # noqa: N815
    tags: dict[str, str] | None = None
    annotations: list[_Annotation] | None = None


_body: Final = msgspec.json.Decoder(list[_ZipkinSpan])
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw])
_span: Final = msgspec.json.Decoder(_ZipkinSpan)

_MAX_ONE_BY_ONE: Final = 4 << 20
"""A larger body with a broken element is refused whole: of rubbish, looking at each element takes
many times the body's memory. CoreDNS's usual body is a hundred times smaller."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def decode(body: bytes, sender: str = "") -> tuple[list[Span], Refusals]:
    """Decode the body of one POST.

    Args:
        body: as it came, unpacked.
        sender: who sent it, which becomes ``service.instance.id``: Zipkin's own format has
            nothing that tells one CoreDNS from another.

    Returns:
        The good spans, and how many were refused: one bad span costs the others nothing.

    Raises:
        MalformedError: the body is no JSON list.
    """
    try:
        return _decode(body, sender)
    except MalformedError:
        # Half a surrogate pair in a tag is no reason to lose the batch.
        mended = _SURROGATE.sub(rb"\\ufffd", body)
        if mended == body:
            raise
    return _decode(mended, sender)


def _decode(body: bytes, sender: str) -> tuple[list[Span], Refusals]:
    refused = Refusals()
    spans: list[Span] = []
    try:
        decoded: Iterable[_ZipkinSpan] = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if len(body) > _MAX_ONE_BY_ONE:
            raise MalformedError(f"a large body with a broken span: {error}") from None
        decoded = _one_by_one(body, refused)
    for span in decoded:
        try:
            spans.append(_to_otlp(span, sender))
        except MalformedError as error:
            refused.add(str(error))
    return spans, refused


def _one_by_one(body: bytes, refused: Refusals) -> Iterator[_ZipkinSpan]:
    try:
        elements = _elements.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not a JSON list of Zipkin spans: {error}") from None
    for element in elements:
        try:
            yield _span.decode(element)
        except (ValueError, RecursionError) as error:
            refused.add(str(error))


def _to_otlp(span: _ZipkinSpan, sender: str) -> Span:
    trace_id = _id(span.traceId, "traceId", 16)
    span_id = _id(span.id, "id", 8)
    if not any(trace_id) or not any(span_id):
        raise MalformedError("an id of zero")
    parent_id = _id(span.parentId, "parentId", 8) if span.parentId else b""
    if parent_id == span_id or not any(parent_id):
        parent_id = b""
    start_us, duration_us = span.timestamp or 0, span.duration or 0
    if not 0 <= start_us <= start_us + max(duration_us, 0) <= _MAX_MICROSECONDS:
        raise MalformedError(f"timestamp {start_us} or duration {duration_us} out of range")
    start_ns, end_ns = start_us * 1000, (start_us + max(duration_us, 0)) * 1000
    tail = b""
    if span.tags:
        if "error" in span.tags:
            tail = otlp.ERROR_STATUS
            if span.tags["error"] == "true":
                del span.tags["error"]
        tail += b"".join([otlp.string_attribute(key, value) for key, value in span.tags.items()])
    if span.annotations:
        tail += b"".join(
            [
                otlp.event_field(note.timestamp * 1000, note.value)
                for note in span.annotations
                if 0 <= note.timestamp <= _MAX_MICROSECONDS
            ]
        )
    name = span.name or ""
    raw = otlp.encode_span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        kind=_KINDS.get(span.kind, 0) if span.kind else 0,
        start_ns=start_ns,
        end_ns=end_ns,
        tail=tail,
    )
    endpoint = span.localEndpoint
    origin = otlp.origin_of(endpoint.serviceName if endpoint else "", sender)
    return Span(
        trace_id, span_id, parent_id, name[: otlp.MAX_NAME], start_ns, end_ns, raw, origin
    )  # fmt: skip


def _id(text: str, key: str, size: int) -> bytes:
    """Decode a hexadecimal id, padded on the left to ``size`` bytes."""
    if not 0 < len(text) <= 2 * size:
        raise MalformedError(f"{key} of {len(text)} characters")
    try:
        return binascii.unhexlify(text.rjust(2 * size, "0"))
    except ValueError:
        raise MalformedError(f"{key} is not hexadecimal") from None
