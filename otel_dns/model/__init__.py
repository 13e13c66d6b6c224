"""The words of the field as immutable values: no behaviour that needs I/O, no clock."""

from otel_dns.model.breakdown import Breakdown
from otel_dns.model.resolution import Join, JoinedTrace, Resolution, Slice
from otel_dns.model.spans import Lookup, Origin, ServerTrace, Span

__all__ = [
    "Breakdown",
    "Join",
    "JoinedTrace",
    "Lookup",
    "Origin",
    "Resolution",
    "ServerTrace",
    "Slice",
    "Span",
]
