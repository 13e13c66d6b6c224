"""Joined lookups, read back from the spans that the processor sent out.

Whatever shows a lookup starts here, so what is shown is what was exported, and nothing else.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from otel_dns import semconv
from otel_dns.history.answers import HopTime, Kept
from otel_dns.wire.otlp import AttributeValue, SpanView


@dataclass(frozen=True, slots=True)
class PluginTime:
    """One span of a server trace: a plugin, or one exchange with an upstream."""

    name: str
    start_ns: int
    end_ns: int
    own_ns: int
    peer: str
    """``address:port`` of the upstream, on ``connect`` only."""
    background_ns: int = 0
    """How long it went on after the server's own span had ended: nobody waited for that."""


@dataclass(frozen=True, slots=True)
class JoinedQuery:
    """One query of a lookup, as the server saw it."""

    name: str
    type: str
    rcode: str
    start_ns: int
    end_ns: int
    server: str
    """``service.name`` of the server."""
    plugins: tuple[PluginTime, ...]
    """``servedns`` first, then as the plugins called one another."""


@dataclass(frozen=True, slots=True)
class JoinedLookup:
    """A lookup with its queries and its breakdown, times in nanoseconds since the epoch."""

    span: SpanView
    caller: SpanView | None
    """The application's span in which the lookup happened."""
    queries: tuple[JoinedQuery, ...]
    segments: Mapping[str, int]
    plugins: Mapping[str, int]
    plugins_are: str = "on the critical path"
    """Which own times of plugins these are: the history keeps them of all queries."""

    @property
    def name(self) -> str:
        """The name as the application asked for it."""
        return text(self.span.attributes.get(semconv.DNS_QUESTION_NAME))

    @property
    def duration_ns(self) -> int:
        """How long the lookup took."""
        return self.span.end_ns - self.span.start_ns

    @property
    def inferred(self) -> bool:
        """Whether it is made of server evidence alone: then its duration is none of a client's."""
        return self.attribute(semconv.JOIN_METHOD) == semconv.METHOD_INFERRED

    def attribute(self, key: str) -> AttributeValue:
        """One attribute of the lookup span."""
        return self.span.attributes.get(key)


def joined_lookups(spans: Iterable[SpanView]) -> list[JoinedLookup]:
    """Find the lookups among exported spans, in order of start, each with what hangs under it."""
    by_trace: dict[bytes, list[SpanView]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    lookups = [
        _joined_lookup(span, trace)
        for trace in by_trace.values()
        for span in trace
        if semconv.QUERIES in span.attributes  # which no server's span has
    ]
    return sorted(lookups, key=lambda lookup: lookup.span.start_ns)


def text(value: AttributeValue) -> str:
    """Give an attribute's value as text; nothing as an empty string."""
    return value if isinstance(value, str) else "" if value is None else str(value)


def number(value: AttributeValue) -> int:
    """Give an attribute's value as an integer; anything else as zero."""
    return value if isinstance(value, int) else 0


def _joined_lookup(span: SpanView, trace: list[SpanView]) -> JoinedLookup:
    children: dict[bytes, list[SpanView]] = {}
    for other in trace:
        children.setdefault(other.parent_id, []).append(other)
    prefix = semconv.BREAKDOWN_PREFIX
    queries = [_query(root, children) for root in _servers_asked(span, children)]
    return JoinedLookup(
        span=span,
        caller=next((other for other in trace if other.span_id == span.parent_id), None),
        queries=tuple(sorted(queries, key=lambda query: query.start_ns)),
        segments={
            segment: number(span.attributes.get(f"{prefix}{segment}_ns"))
            for segment in semconv.SEGMENTS
        },
        plugins={
            key.removeprefix(semconv.BREAKDOWN_PLUGIN_PREFIX).removesuffix("_ns"): number(value)
            for key, value in span.attributes.items()
            if key.startswith(semconv.BREAKDOWN_PLUGIN_PREFIX)
        },
    )


def _servers_asked(
    lookup: SpanView, children: Mapping[bytes, list[SpanView]]
) -> Iterator[SpanView]:
    """Find the servers' root spans: under the lookup, or under a query that its client saw."""
    for child in children.get(lookup.span_id, ()):
        if child.name == semconv.SERVEDNS_SPAN:
            yield child
        elif child.scope == semconv.CLIENT_SCOPE:
            yield from (
                server
                for server in children.get(child.span_id, ())
                if server.name == semconv.SERVEDNS_SPAN
            )


def _query(root: SpanView, children: Mapping[bytes, list[SpanView]]) -> JoinedQuery:
    plugins = []
    ahead, seen = [root], set()
    while ahead:
        span = ahead.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        plugins.append(
            PluginTime(
                span.name,
                span.start_ns,
                span.end_ns,
                number(span.attributes.get(semconv.OWN_TIME)),
                text(span.attributes.get(semconv.PEER_ADDRESS)),
                number(span.attributes.get(semconv.BACKGROUND)),
            )
        )
        ahead += sorted(children.get(span.span_id, ()), key=lambda child: -child.start_ns)
    return JoinedQuery(
        name=text(root.attributes.get(semconv.COREDNS_NAME)),
        type=text(root.attributes.get(semconv.COREDNS_TYPE)),
        rcode=text(root.attributes.get(semconv.COREDNS_RCODE)),
        start_ns=root.start_ns,
        end_ns=root.end_ns,
        server=text(root.resource.get(semconv.SERVICE_NAME)),
        plugins=tuple(plugins),
    )


def kept_lookup(kept: Kept) -> JoinedLookup:
    """Read a lookup back from the history: the same as from the spans that were sent out."""
    row = kept.row
    start_ns = row["start_ns"]
    attributes: dict[str, AttributeValue] = {
        attribute: row[column] for attribute, column in _ATTRIBUTES.items()
    }
    resource = {semconv.SERVICE_NAME: row["service"], semconv.K8S_POD_NAME: row["pod"]}
    span = SpanView(
        bytes.fromhex(row["trace_id"]), bytes.fromhex(row["span_id"]), b"", semconv.LOOKUP_SPAN, 3,
        start_ns, start_ns + row["duration_ns"], attributes, resource, semconv.CLIENT_SCOPE,
        bool(row["error_type"]),
    )  # fmt: skip
    return JoinedLookup(
        span=span,
        caller=None,
        queries=tuple(_kept_query(hop, start_ns) for hop in kept.hops),
        segments=kept.segments,
        plugins={
            plugin: spent
            for plugin, spent in kept.plugins.items()
            if plugin != semconv.CONNECT_SPAN  # the upstream's
        },
        plugins_are="over all queries",
    )


def _kept_query(hop: HopTime, zero_ns: int) -> JoinedQuery:
    return JoinedQuery(
        name=hop.name,
        type=hop.type,
        rcode=hop.rcode,
        start_ns=zero_ns + hop.start_ns,
        end_ns=zero_ns + hop.start_ns + hop.duration_ns,
        server=hop.server,
        plugins=tuple(
            PluginTime(
                span.name,
                zero_ns + span.start_ns,
                zero_ns + span.start_ns + span.duration_ns,
                span.own_ns,
                span.peer,
            )
            for span in hop.spans
        ),
    )


_ATTRIBUTES: Final = {
    semconv.DNS_QUESTION_NAME: "name",
    semconv.LOOKUP_API: "api",
    semconv.CLIENT_ADDRESS: "client",
    semconv.LOOKUP_OUTCOME: "outcome",
    semconv.BOTTLENECK: "bottleneck",
    semconv.JOIN_METHOD: "method",
    semconv.JOIN_CERTAINTY: "certainty",
    semconv.JOIN_UNSEEN: "unseen",
    semconv.QUERIES: "queries",
    semconv.WASTE_QUERIES: "waste_queries",
    semconv.AFTER_ANSWER: "after_answer_ns",
}
"""The attributes of a lookup span that are columns of the history."""
