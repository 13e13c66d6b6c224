"""The words of the field as immutable values: no behaviour that needs I/O, no clock."""

from otel_dns.model.breakdown import Breakdown
from otel_dns.model.message import Message, MessageKind
from otel_dns.model.resolution import (
    ROUNDING_NS,
    SURE,
    Join,
    JoinedTrace,
    Resolution,
    Slice,
    Timeline,
)
from otel_dns.model.spans import ClientQuery, Lookup, Origin, ServerTrace, Span

__all__ = [
    "ROUNDING_NS",
    "SURE",
    "Breakdown",
    "ClientQuery",
    "Join",
    "JoinedTrace",
    "Lookup",
    "Message",
    "MessageKind",
    "Origin",
    "Resolution",
    "ServerTrace",
    "Slice",
    "Span",
    "Timeline",
]
