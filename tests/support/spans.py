"""Builders of what the join works on: lookups, server traces, and the spans they come as."""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, Final

from otel_dns import marks, semconv
from otel_dns.join.timeline import timeline
from otel_dns.model import (
    ClientQuery,
    Join,
    JoinedTrace,
    Lookup,
    Message,
    MessageKind,
    Origin,
    ServerTrace,
    Span,
)
from otel_dns.wire import otlp

MS: Final = 1_000_000
SECOND: Final = 1_000 * MS
T0: Final = 1_700_000_000 * SECOND

CLIENT: Final = "10.0.0.7"
SEARCH: Final = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
EXTERNAL: Final = (
    *(f"www.example.org.{domain}." for domain in SEARCH),
    "www.example.org.",
)
"""Candidates of an external name in a Pod."""
PLUGINS: Final = (
    "prometheus", "errors", "log", "dnstap", "loadbalance", "rewrite", "cache", "forward",
)  # fmt: skip

APPLICATION: Final = Origin(
    otlp.string_attribute("service.name", "shop", field=1),
    b"\x0a" + bytes((len(semconv.CLIENT_SCOPE),)) + semconv.CLIENT_SCOPE.encode(),
)
COREDNS: Final = otlp.origin_of("coredns")

_numbers = count(1)


def new_id(size: int = 8) -> bytes:
    """An id that no other call gives."""
    return next(_numbers).to_bytes(size, "big")


def span(
    name: str,
    start_ns: int,
    end_ns: int,
    *,
    trace_id: bytes | None = None,
    span_id: bytes | None = None,
    parent_id: bytes = b"",
    kind: int = 0,
    tail: bytes = b"",
    origin: Origin = COREDNS,
) -> Span:
    """A span with its bytes; times are nanoseconds after T0."""
    raw = otlp.encode_span(
        trace_id=trace_id or new_id(16),
        span_id=span_id or new_id(),
        parent_id=parent_id,
        name=name,
        kind=kind,
        start_ns=T0 + start_ns,
        end_ns=T0 + end_ns,
        tail=tail,
    )
    return otlp.read_span(raw, origin)


def lookup(
    start_ns: int,
    end_ns: int,
    *,
    name: str = "db",
    candidates: Sequence[str] = ("db.",),
    types: Sequence[str] = ("A",),
    client: str = CLIENT,
    error_type: str = "",
    kind: str = "glibc",
    queries: Sequence[ClientQuery] = (),
    trace_id: bytes | None = None,
    marked: bool = False,
) -> Lookup:
    """A lookup, perhaps with its name in marked case; times are nanoseconds after T0."""
    attributes = otlp.string_attribute(semconv.DNS_QUESTION_NAME, name)
    attributes += otlp.string_attribute(semconv.CLIENT_ADDRESS, client)
    own = span(
        semconv.LOOKUP_SPAN, start_ns, end_ns, kind=3, tail=attributes, origin=APPLICATION,
        parent_id=new_id(), trace_id=trace_id,
    )  # fmt: skip
    return Lookup(
        own,
        client,
        tuple(candidates),
        tuple(types),
        error_type,
        kind,
        name,
        tuple(queries),
        marked=marks.cased(name.removesuffix("."), own.trace_id, own.span_id) if marked else "",
    )


def servedns(
    start_ns: int,
    end_ns: int,
    *,
    name: str = "db.",
    type_: str = "A",
    client: str = CLIENT,
    rcode: str = "NOERROR",
    proto: str = "udp",
    trace_id: bytes | None = None,
    parent_id: bytes = b"",
    origin: Origin = COREDNS,
) -> Span:
    """CoreDNS's root span of one query, with the ids it gives: the trace's, padded, is its own.

    With a parent it is in that one's trace.
    """
    span_id = trace_id[8:] if trace_id and not parent_id else new_id()
    tail = b"".join(
        (
            otlp.string_attribute(semconv.COREDNS_NAME, name),
            otlp.string_attribute(semconv.COREDNS_TYPE, type_),
            otlp.string_attribute(semconv.COREDNS_PROTO, proto),
            otlp.string_attribute(semconv.COREDNS_REMOTE, client),
            otlp.string_attribute(semconv.COREDNS_RCODE, rcode),
        )
    )
    return span(
        semconv.SERVEDNS_SPAN, start_ns, end_ns, kind=2, tail=tail,
        trace_id=trace_id if trace_id and parent_id else bytes(8) + span_id, span_id=span_id,
        parent_id=parent_id, origin=origin,
    )  # fmt: skip


def nested(root: Span, plugins: Iterable[str] = PLUGINS, step_ns: int = 10_000) -> list[Span]:
    """Plugin spans under a root, each ``step_ns`` within the one before, as CoreDNS's chain is."""
    spans = []
    parent, start_ns, end_ns = root, root.start_ns - T0, root.end_ns - T0
    for plugin in plugins:
        start_ns = min(start_ns + step_ns, end_ns)
        parent = span(
            plugin, start_ns, end_ns, trace_id=root.trace_id, parent_id=parent.span_id
        )  # fmt: skip
        spans.append(parent)
    return spans


def server_trace(root: Span, others: Iterable[Span] = ()) -> ServerTrace:
    """A whole server trace of these spans."""
    attributes = otlp.attributes_of(root.raw)
    return ServerTrace(
        root,
        (root, *sorted(others, key=lambda one: one.start_ns)),
        str(attributes.get(semconv.COREDNS_REMOTE, "")),
        str(attributes.get(semconv.COREDNS_NAME, "")),
        str(attributes.get(semconv.COREDNS_TYPE, "")),
        str(attributes.get(semconv.COREDNS_RCODE, "")),
    )


def join(*traces: tuple[ServerTrace, int]) -> Join:
    """A join of server traces, each with the index of its candidate."""
    joined = sorted(
        (JoinedTrace(trace, candidate, timeline(trace)) for trace, candidate in traces),
        key=lambda one: one.trace.root.start_ns,
    )
    return Join(tuple(joined), "time" if joined else "none", 1.0 if joined else 0.0)


def message(
    kind: MessageKind,
    time_ns: int,
    *,
    query_time_ns: int = 0,
    name: str = "db.",
    type_: str = "A",
    client: str = CLIENT,
    port: int = 40_000,
    dns_id: int = 7,
    server: str = "coredns-1",
    rcode: str = "",
    trace_id: bytes = b"",
    context: tuple[bytes, bytes] | None = None,
    peer: str = "",
    asked: str = "",
    source: str = "dnstap",
) -> Message:
    """A message at a server; times are nanoseconds after T0."""
    return Message(
        kind, server, T0 + time_ns, T0 + query_time_ns if query_time_ns else 0, client, port, peer,
        dns_id, name, asked or name, type_, "udp", rcode, trace_id=trace_id, context=context,
        source=source,
    )  # fmt: skip


def exchange(start_ns: int, end_ns: int, **about: Any) -> tuple[Message, Message]:
    """A query and its response, as dnstap shows them: the response has the query's time too."""
    rcode = about.pop("rcode", "NOERROR")
    query = message("CQ", start_ns, **about)
    about.pop("context", None)
    return query, message("CR", end_ns, query_time_ns=start_ns, rcode=rcode, **about)


def query(
    start_ns: int,
    end_ns: int,
    *,
    name: str = "db.",
    type_: str = "A",
    port: int = 40_000,
    dns_id: int | None = 7,
) -> ClientQuery:
    """What a client saw of one query; times are nanoseconds after T0."""
    return ClientQuery(
        new_id(), T0 + start_ns, T0 + end_ns, name, type_, "10.96.0.10", 53, port, dns_id, "udp"
    )
