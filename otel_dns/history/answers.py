"""What the questions answer, as values.

Times are nanoseconds; those that end in ``at`` are since the epoch. Field names are the columns
that the questions give, in :mod:`otel_dns.history.questions`. Percentiles are within
:data:`otel_dns.history.cells.ERROR` of a duration that occurred; those of groups and of Pods are
exact.
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
class Extent:
    """How far lookups reach."""

    lookups: int
    first_at: int | None
    last_at: int | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Everything in a period, summed up."""

    lookups: int
    inferred: int
    """Of them, known by server evidence alone: these claim no latency, and count as no join."""
    failed: int
    """Ended without an answer."""
    not_found: int
    joined: int
    sure: int
    exact: int
    """Joined by a method that identifies every query, rather than by time."""
    exact_queries: int
    """Queries of those."""
    client_queries: int
    """Queries of lookups that are not inferred."""
    queries: int
    waste_queries: int
    waste_ns: int
    retries: int
    joined_ns: int
    """Time of joined lookups, and of it ..."""
    unexplained_ns: int
    """... what no evidence attributes to anything."""
    first_at: int | None
    last_at: int | None
    latency: Latency
    segments: Mapping[str, int]
    """Time by segment; together all time that lookups took."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How many asked in a period."""

    pods: int
    clients: int
    """Addresses that were seen to ask."""
    clients_told: int
    """Addresses from which lookup spans came."""
    clients_waited: int
    """Addresses with a lookup that waited for a timeout."""


@dataclass(frozen=True, slots=True)
class Point:
    """One step of time."""

    at: int
    """Where the step begins."""
    lookups: int
    failed: int
    joined: int
    certainties: Mapping[str, int]
    """Of joined lookups."""
    latency: Latency
    segments: Mapping[str, int]
    """Time of joined lookups by segment."""


@dataclass(frozen=True, slots=True)
class Strain:
    """What went wrong in one step of time."""

    at: int
    is_before: bool
    """In the time before the period."""
    lookups: int
    failed: int
    total_ns: int
    waited: int
    """Waited for a timeout, whatever came of it."""
    waiting_ns: int
    timeouts: int
    """Ended with one."""
    server_failures: int
    waste_ns: int


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
    queries: int
    total_ns: int
    p50_ns: int
    p95_ns: int
    p99_ns: int
    """Quantiles over queries; a query's time is what its lookup spent there, by query."""
    max_ns: int


@dataclass(frozen=True, slots=True)
class PluginSum:
    """Own time of one plugin at one server, summed up."""

    server: str
    plugin: str
    queries: int
    own_ns: int
    """Of all queries together."""

    @property
    def mean_ns(self) -> float:
        """Of one query."""
        return self.own_ns / max(self.queries, 1)


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
class Subject:
    """A server, plugin or upstream, by name, over all else."""

    name: str
    queries: int
    """Or exchanges."""
    failed: int
    traced: int
    """Queries that came with the server's own spans."""
    total_ns: int
    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None


@dataclass(frozen=True, slots=True)
class SubjectPoint(Subject):
    """The same in one period, or in one step of it."""

    is_before: bool
    """Of the time before the period."""
    at: int | None
    """Where the step begins; None: all of the period."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One cell of a heat map: so many in one step of time and one class of durations."""

    at: int
    bin: int
    """Durations from ``10 ** (bin / PER_DECADE)`` nanoseconds,
    :data:`otel_dns.history.questions.PER_DECADE`."""
    count: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a dimension, and how many lookups have it."""

    value: str
    lookups: int


@dataclass(frozen=True, slots=True)
class PodFigures:
    """A Pod, node or namespace; what it is not told apart by is empty."""

    namespace: str
    pod: str
    node: str
    lookups: int
    failed: int
    queries: int
    waste_queries: int
    suffered: int
    """Lookups that failed, or made somebody wait."""
    suffering_ns: int
    """Their time, and some more for each that failed."""
    suffers_since: int | None
    suffers_of: str | None
    """The bottleneck of the slowest of them."""
    latency: Latency
    segments: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Habit:
    """Answered lookups of one workload, for names with so many dots."""

    namespace: str
    workload: str
    """The service, or the Pod where it has none."""
    ndots: int
    dots: int
    as_it_is: bool
    """The name was answered as it is, rather than completed by the search list."""
    pod: str
    """One of its Pods."""
    lookups: int
    queries: int
    waste_queries: int
    waste_ns: int


@dataclass(frozen=True, slots=True)
class Waster:
    """A Pod, and what it spends on the search list."""

    namespace: str
    pod: str
    waste_queries: int


@dataclass(frozen=True, slots=True)
class WastedName:
    """A name that one workload looks up in vain along its search list before it gets an answer."""

    namespace: str
    workload: str
    name: str
    waste_queries: int


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
    segments: Mapping[str, int]


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

    @property
    def brief(self) -> Brief:
        """The lookup in one line of a list."""
        columns = {name: self.row[name] for name in Brief.__dataclass_fields__ if name in self.row}
        return Brief(segments=self.segments, **columns)

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
