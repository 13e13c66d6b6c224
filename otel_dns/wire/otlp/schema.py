"""The reduced schema of trace requests: resources, scopes, spans and attributes stay bytes.

Field numbers are those of opentelemetry-proto's ``trace.proto`` v1.
"""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


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
    message("Span", ("attributes", 9, many, octets, ""))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"otel_dns.reduced.{name}")
    )


_reduced: Final = _reduced_schema()
Request: Final = _reduced("Request")
"""An ``ExportTraceServiceRequest``."""
ScopeSpans: Final = _reduced("ScopeSpans")
WITH_ATTRIBUTES: Final = {1: _reduced("Resource"), 9: _reduced("Span")}
"""By the number of the field that holds the attributes."""
