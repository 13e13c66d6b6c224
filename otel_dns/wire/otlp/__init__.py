"""OTLP trace requests, cut into span slices and put together again, without decoding a span.

A span is kept as the bytes that it came in. A reduced schema in which spans are ``repeated bytes``
lets protobuf's C parser cut a request into slices; ids, name and times are read from what the same
parser made of the whole request when that was checked; attributes are cut too, and each decoded
once as long as it comes again; and a span is changed by concatenating slices.
"""

from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.wire.otlp.attributes import (
    AttributeValue,
    attributes_of,
    cached,
    double_attribute,
    hex_attribute,
    int_attribute,
    string_attribute,
    word_attribute,
)
from otel_dns.wire.otlp.origins import (
    encode_scope,
    origin_of,
    resource_attributes,
    scope_name,
    server_addresses,
    server_instance,
    service_name,
)
from otel_dns.wire.otlp.pieces import SpansInPieces
from otel_dns.wire.otlp.requests import (
    EXPORT,
    SpanGroup,
    build,
    build_grouped,
    change_attributes,
    cut,
    read,
    rest_of,
    sound,
)
from otel_dns.wire.otlp.spans import (
    ERROR_STATUS,
    MAX_NAME,
    encode_span,
    event_field,
    move,
    read_span,
    rewrite,
    span_of,
    spans_of,
    with_kind,
    with_span_id,
    wrong_ids,
)
from otel_dns.wire.otlp.views import SpanView, decode

__all__ = [
    "ERROR_STATUS",
    "EXPORT",
    "MAX_NAME",
    "AttributeValue",
    "ProtoSpan",
    "SpanGroup",
    "SpanView",
    "SpansInPieces",
    "attributes_of",
    "build",
    "build_grouped",
    "cached",
    "change_attributes",
    "cut",
    "decode",
    "double_attribute",
    "encode_scope",
    "encode_span",
    "event_field",
    "hex_attribute",
    "int_attribute",
    "move",
    "origin_of",
    "read",
    "read_span",
    "resource_attributes",
    "rest_of",
    "rewrite",
    "scope_name",
    "server_addresses",
    "server_instance",
    "service_name",
    "sound",
    "span_of",
    "spans_of",
    "string_attribute",
    "with_kind",
    "with_span_id",
    "word_attribute",
    "wrong_ids",
]
