"""Spans decoded in full: for people and tests, not for the hot path."""

from collections.abc import Mapping
from typing import NamedTuple

from otel_dns.wire.otlp.attributes import AttributeValue, attributes_of
from otel_dns.wire.otlp.origins import scope_name
from otel_dns.wire.otlp.protobuf import fields
from otel_dns.wire.otlp.requests import cut
from otel_dns.wire.otlp.spans import read_span


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
            for tag, value, _, _ in fields(raw):
                if tag == 0x30 and isinstance(value, int):
                    kind = value
                elif tag == 0x7A and isinstance(value, bytes):
                    codes = [code for inner, code, _, _ in fields(value) if inner == 0x18]
                    error = codes[-1:] == [2]
            views.append(
                SpanView(
                    span.trace_id, span.span_id, span.parent_id, span.name, kind,
                    span.start_ns, span.end_ns, attributes_of(raw), resource, scope, error,
                )
            )  # fmt: skip
    return views
