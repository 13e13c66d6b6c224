"""CoreDNS's configuration as evidence: what it makes known to otel-dns, and its traps. Pure."""

from otel_dns.corefile.check import Finding, Report, check
from otel_dns.corefile.parse import CorefileError, Directive, ServerBlock, parse

__all__ = [
    "CorefileError",
    "Directive",
    "Finding",
    "Report",
    "ServerBlock",
    "check",
    "parse",
]
