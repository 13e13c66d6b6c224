"""What the questions answer, as values.

Times are nanoseconds; those that end in ``at`` are since the epoch. Field names are the columns
that the questions give, in :mod:`otel_dns.history.questions`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otel_dns import semconv
from otel_dns.history.schema import SEGMENT_COLUMNS


@dataclass(frozen=True, slots=True)
class Latency:
    """How long lookups took; None where there were none that tell."""

    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None
    max_ns: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything in a period, summed up."""

    lookups: int
    """With a client's span; the numbers below are of these."""
    inferred: int
    """Beside them, known by server evidence alone."""
    failed: int
    """Ended without an answer."""
    not_found: int
    joined: int
    sure: int
    exact: int
    """Joined by a method that identifies every query, rather than by time."""
    queries: int
    waste_queries: int
    waste_ns: int
    retries: int
    pods: int
    first_at: int | None
    last_at: int | None
    latency: Latency
    segments: Mapping[str, int]
    """Time by segment; together all time that lookups took."""


@dataclass(frozen=True, slots=True)
class Point:
    """One step of time."""

    at: int
    """Where the step begins."""
    lookups: int
    failed: int
    not_found: int
    queries: int
    waste_queries: int
    latency: Latency
    segments: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Group:
    """Lookups that have one thing in common: a Pod, a name, an outcome."""

    key: str
    lookups: int
    failed: int
    queries: int
    waste_queries: int
    waste_ns: int
    retries: int
    total_ns: int
    first_at: int
    last_at: int
    latency: Latency


@dataclass(frozen=True, slots=True)
class PluginTime:
    """Own time of one plugin at one server, by query."""

    plugin: str
    server: str
    lookups: int
    queries: int
    total_ns: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    """Quantiles of a lookup's own time in that plugin, by query."""
    max_ns: int


@dataclass(frozen=True, slots=True)
class PluginPoint:
    """Own time of one plugin at one server in one step of time."""

    at: int
    plugin: str
    server: str
    queries: int
    p50_ns: int
    p95_ns: int
    p99_ns: int


@dataclass(frozen=True, slots=True)
class ServerTime:
    """One server instance."""

    server: str
    queries: int
    failed: int
    """Answered SERVFAIL, REFUSED or the like, or not at all."""
    clients: int
    first_at: int
    last_at: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class UpstreamTime:
    """One upstream, as seen by one server instance."""

    upstream: str
    server: str
    exchanges: int
    failed: int
    """Exchanges of queries that were answered SERVFAIL or the like in the end."""
    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a heat map: so many in one step of time and one class of durations."""

    at: int
    from_ns: int
    """Durations from here, up to the next of :data:`otel_dns.history.questions.HEAT_BOUNDS`."""
    count: int


@dataclass(frozen=True, slots=True)
class Waste:
    """What the search list costs one Pod's lookups of names that the list does not help with."""

    namespace: str
    pod: str
    node: str
    resolver: str
    ndots: int
    """-1: unknown."""
    lookups: int
    """All of the Pod's."""
    wasteful: int
    """Those that spent queries on the search list."""
    queries: int
    waste_queries: int
    waste_ns: int
    max_dots: int
    min_dots: int
    """Dots in the names of wasteful lookups, at most and at least."""
    search_hits: int
    """Lookups of names with dots that a domain of the search list completed: what a lower ndots
    would make slower, never wrong."""
    min_hit_dots: int | None
    names: tuple[str, ...]
    """Some of the names."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a name."""

    name: str
    cluster: str
    namespace: str
    pod: str
    node: str
    client: str
    lookups: int
    failed: int
    first_at: int
    last_at: int


@dataclass(frozen=True, slots=True)
class Brief:
    """A lookup in one line of a list."""

    trace_id: str
    span_id: str
    start_ns: int
    duration_ns: int
    service: str
    namespace: str
    pod: str
    node: str
    client: str
    name: str
    type: str
    outcome: str
    error_type: str
    bottleneck: str
    method: str
    certainty: str
    queries: int
    waste_queries: int
    retries: int
    inferred: bool


@dataclass(frozen=True, slots=True)
class SpanTime:
    """One span within a hop; times after the lookup's start."""

    name: str
    parent: int
    """Place in :attr:`HopTime.spans` of the span around this one; -1: the first."""
    start_ns: int
    duration_ns: int
    own_ns: int
    peer: str


@dataclass(frozen=True, slots=True)
class HopTime:
    """One server's handling of one query; times after the lookup's start."""

    name: str
    type: str
    rcode: str
    proto: str
    server: str
    start_ns: int
    duration_ns: int
    upstream: str
    upstream_ns: int
    cache: str
    candidate: int
    hop: int
    parent: int
    """Place in :attr:`Kept.hops` of the hop that asked this one; -1: the client did."""
    method: str
    source: str
    skew_ns: int
    trace: str
    client_port: int
    dns_id: int
    spans: tuple[SpanTime, ...]
    """In the order in which they started, the hop's own first."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One lookup with everything that was kept of it."""

    row: Mapping[str, Any]
    """Every column that is no list of structs, by name."""
    hops: tuple[HopTime, ...]
    segments: Mapping[str, int]
    plugins: Mapping[str, int]
    """Own time by plugin, over all servers."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Kept":
        """Read a row, as :func:`otel_dns.history.rows.row_of` gives it."""
        spans: dict[int, list[SpanTime]] = {}
        for span in row["spans"] or ():
            values = dict(span)
            spans.setdefault(values.pop("hop"), []).append(SpanTime(**values))
        plugins: dict[str, int] = {}
        for entry in row["plugins"] or ():
            plugins[entry["plugin"]] = plugins.get(entry["plugin"], 0) + entry["own_ns"]
        return cls(
            row={key: value for key, value in row.items() if key not in _STRUCTS},
            hops=tuple(
                HopTime(**hop, spans=tuple(spans.get(number, ())))
                for number, hop in enumerate(row["hops"] or ())
            ),
            segments={
                segment: row.get(SEGMENT_COLUMNS[segment]) or 0 for segment in semconv.SEGMENTS
            },
            plugins=plugins,
        )


_STRUCTS = frozenset({"plugins", "exchanges", "hops", "spans"})
