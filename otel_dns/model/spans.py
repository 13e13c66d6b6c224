"""Spans as they travel through the processor, and the two things they describe.

Many are made every second, so they are msgspec's Structs: made and read several times as fast as
frozen dataclasses, and in less memory. None of them can be a part of itself, so Python's collector
need not look at them (``gc=False``). Change a copy with :func:`msgspec.structs.replace`.
"""

from typing import NamedTuple

from msgspec import Struct


class Origin(NamedTuple):
    """Under what a span came: an OTLP resource and scope, kept as encoded bytes.

    Equal bytes make equal origins, so spans of many requests regroup under one header.
    """

    resource: bytes
    """Encoded ``opentelemetry.proto.resource.v1.Resource``."""
    scope: bytes
    """Encoded ``opentelemetry.proto.common.v1.InstrumentationScope``."""
    resource_rest: bytes = b""
    """What else ``ResourceSpans`` said, encoded: its schema's URL, and fields that nobody knows."""
    scope_rest: bytes = b""
    """The same of ``ScopeSpans``."""


class Span(Struct, frozen=True, gc=False):
    """One span: what the join needs of it, and its bytes."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes."""
    parent_id: bytes
    """8 bytes, or empty for a root."""
    name: str
    """A long one is cut: :data:`otel_dns.wire.otlp.MAX_NAME`."""
    start_ns: int
    """Nanoseconds since the epoch, by the clock of whoever made the span."""
    end_ns: int
    raw: bytes
    """The encoded ``opentelemetry.proto.trace.v1.Span`` as it came."""
    origin: Origin


class ClientQuery(Struct, frozen=True, gc=False):
    """One query of a lookup as the client saw it, from a span of its own under the lookup's."""

    span_id: bytes
    start_ns: int
    end_ns: int
    name: str
    """Normalised; empty where the client does not tell it."""
    type: str
    server: str
    """Address of the nameserver."""
    server_port: int
    client_port: int
    """0 when unknown."""
    dns_id: int | None
    transport: str
    """``udp``, ``tcp``, ``tls``, ``https`` or ``quic``."""
    client: str = ""
    """Address that this query came from; empty where only the lookup tells it."""
    marked: str = ""
    """The name as it went out, without the last dot, where its letter case marks it as this span's;
    else empty. See :func:`otel_dns.marks.cased`."""


class Lookup(Struct, frozen=True, gc=False):
    """One call that an application made, as its span tells."""

    span: Span
    client: str
    """Address that the queries come from; empty where only they tell it."""
    candidates: tuple[str, ...]
    """Full names, in the order in which the resolver tries them; of a lookup that does not tell its
    name, those that servers saw."""
    types: tuple[str, ...]
    """Question types asked of every candidate: ``("A", "AAAA")``, ``("MX",)``."""
    error_type: str = ""
    """``error.type`` of the span; empty when the lookup ended well."""
    kind: str = "other"
    """Whose search rules apply: ``otel_dns.resolver.kind``."""
    name: str = ""
    """The name as the application asked for it."""
    queries: tuple["ClientQuery", ...] = ()
    """What the client itself saw of its queries on the wire (dnspython); empty for getaddrinfo."""
    recorded: bool = True
    """Whether there is a span to send on. An application's sampler may leave a lookup out and send
    a compact record instead, so that the join knows of the competitor; an inferred one has none."""
    inferred: bool = False
    """Made of server evidence alone: it claims no latency of the client."""
    marked: str = ""
    """The name as it went out, without the last dot and whatever the search list added, where its
    letter case marks it as this span's; else empty. See :func:`otel_dns.marks.cased`."""
    besides: tuple[str, ...] = ()
    """Who could have answered without a query: nsswitch.conf(5)'s names, and ``cache`` where the
    resolver's own did."""

    @property
    def start_ns(self) -> int:
        """Start, nanoseconds since the epoch, by the application's clock."""
        return self.span.start_ns

    @property
    def end_ns(self) -> int:
        """End, nanoseconds since the epoch, by the application's clock."""
        return self.span.end_ns


class ServerTrace(Struct, frozen=True, gc=False):
    """What CoreDNS's trace plugin wrote for one hop: ``servedns`` and the spans under it."""

    root: Span
    spans: tuple[Span, ...]
    """All spans, the root first, then in order of start."""
    client: str
    """Address that the query came from."""
    name: str
    """Normalised question name (after any rewrite)."""
    type: str
    rcode: str
    """RCODE mnemonic, empty when CoreDNS set none."""
    proto: str = ""
    """``udp``, ``tcp``, ..."""
    server: str = ""
    """The instance that answered: its Pod or dnstap identity where known, else its service."""
    client_port: int = 0
    """The client's port; 0 when only spans tell of the query, which do not have it."""
    dns_id: int | None = None
    """The message's id; None when only spans tell of the query."""
    source: str = "trace"
    """What tells of the query: ``trace``, ``dnstap`` or ``log``."""
    asked_ns: int = 0
    """When the query came in, from the wire; 0 when only spans tell."""
    sent_ns: int = 0
    """When the answer went out, from the wire; 0 when only spans tell: a span goes on after it."""
    asked: str = ""
    """The question name as it was on the wire, letter case kept; empty when only spans tell."""

    @property
    def start_ns(self) -> int:
        """When the server took the query, nanoseconds since the epoch, by its clock."""
        return self.root.start_ns

    @property
    def answer_ns(self) -> int:
        """When the answer was out, as near as the evidence tells."""
        return self.sent_ns or self.root.end_ns
