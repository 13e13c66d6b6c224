"""What the JSON API answers: one model for each question, and so the OpenAPI document."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

Ns = Annotated[int, Field(description="Nanoseconds.")]
MaybeNs = Annotated[int | None, Field(description="Nanoseconds; null where there is nothing.")]
Us = Annotated[int, Field(description="Microseconds since the epoch.")]
Segments = Annotated[dict[str, int], Field(description="Nanoseconds by segment; they add up.")]


class Named(BaseModel):
    """A word of the project, and how people say it."""

    name: str
    label: str


class About(BaseModel):
    """What this page is of."""

    version: str
    first_us: int | None
    last_us: int | None
    ended: bool = Field(description="The history is no longer written: look at its end.")
    lookups: int
    live: bool = Field(description="There is a running service to ask.")
    jaeger: bool
    namespaces: list[str] | None = Field(description="What the token is bound to; null: nothing.")
    segments: list[Named]
    certainties: list[Named]
    labels: dict[str, str]
    problems: list[str] = Field(description="Files of the history that could not be read.")


class Labelled(BaseModel):
    """A figure with its name, as text."""

    label: str
    value: str


class Coverage(Labelled):
    """How much is seen of one thing."""

    enough: bool
    explanation: str


class Finding(BaseModel):
    """What the breakdowns themselves show, with the evidence for it."""

    kind: str
    severity: Literal["bad", "warn", "note"]
    title: str
    detail: str
    since_us: int | None
    evidence: list[Labelled]
    view: Literal["lookups", "pods"] = Field(description="The page's view that shows it.")
    filters: dict[str, str] = Field(description="The view's parameters.")
    advice: str = ""


class Sufferer(BaseModel):
    """A Pod whose lookups fail or take long."""

    namespace: str
    pod: str
    node: str
    lookups: int
    failed: int
    p95_ns: MaybeNs
    bottleneck: str
    since_us: int | None


class Change(BaseModel):
    """Something that is not as it was in the time before."""

    label: str
    text: str
    filters: dict[str, str]


class Totals(BaseModel):
    """All lookups of a time, added up."""

    lookups: int
    rate: float
    failed: int
    p50_ns: MaybeNs
    p95_ns: MaybeNs
    p99_ns: MaybeNs
    joined: int
    sure: int
    queries: int
    waste_queries: int


class State(BaseModel):
    """The first page: one sentence, and what stands behind it."""

    verdict: Literal["healthy", "findings", "failing", "unknown"]
    sentence: str
    reason: str
    coverage: list[Coverage]
    findings: list[Finding]
    sufferers: list[Sufferer]
    changes: list[Change]
    changes_reason: str
    totals: Totals


class Course(BaseModel):
    """How a time went: a value for each column."""

    times: list[int]
    step_s: int
    from_s: float = Field(description="Where the time begins: the first column may do so before.")
    to_s: float = Field(description="Where it ends: the last column may do so after.")
    lookups: list[int]
    failed: list[int]
    p50_ns: list[int | None]
    p95_ns: list[int | None]
    p99_ns: list[int | None]
    segments: dict[str, list[int | None]] = Field(
        description="Nanoseconds by segment, of an average joined lookup."
    )
    joins: dict[str, list[float | None]] = Field(description="Share of lookups by certainty.")


class LookupRow(BaseModel):
    """One lookup, in a list."""

    trace_id: str
    span_id: str
    start_us: Us
    duration_ns: Ns
    name: str
    type: str
    outcome: str
    bottleneck: str
    namespace: str
    pod: str
    node: str
    service: str
    client: str
    method: str
    certainty: str
    queries: int
    waste_queries: int
    retries: int
    inferred: bool = Field(description="Known by server evidence alone: no client latency.")
    segments: Segments


class Lookups(BaseModel):
    """A page of a list of lookups."""

    total: int
    offset: int
    lookups: list[LookupRow]


class FacetValue(BaseModel):
    """A value that lookups have, and how many do."""

    value: str
    label: str
    count: int
    chosen: bool


class Facet(BaseModel):
    """The values of one filter."""

    name: str
    label: str
    values: list[FacetValue]


class Facets(BaseModel):
    """By what the lookups of a time can be narrowed down."""

    facets: list[Facet]


class SpanRow(BaseModel):
    """One plugin, or one exchange with an upstream, within a query."""

    name: str
    peer: str
    segment: str
    depth: int
    at_ns: Ns = Field(description="From the lookup's start.")
    duration_ns: Ns
    own_ns: Ns
    own: list[tuple[int, int]] = Field(description="Its own time: [at_ns, length]s.")


class QuerySeen(BaseModel):
    """One query, as one server saw it."""

    name: str
    type: str
    rcode: str
    server: str
    proto: str
    hop: int
    candidate: int
    cache: str
    method: str
    source: str
    skew_ns: int
    at_ns: Ns = Field(description="From the lookup's start.")
    duration_ns: Ns
    own_ns: Ns = Field(description="The server's own, around its plugins.")
    own: list[tuple[int, int]]
    spans: list[SpanRow]


class Candidate(BaseModel):
    """A full name of the search list, and what came of it."""

    name: str
    result: str
    queries: int
    at_ns: int | None
    waste: bool


class Evidence(BaseModel):
    """What was received, as it came."""

    label: str
    lines: list[str]


class Neighbour(BaseModel):
    """The lookup of the same Pod before or after."""

    trace_id: str
    span_id: str
    name: str


class LookupWhole(LookupRow):
    """One lookup, with all that is known of it."""

    confidence: float
    group_size: int
    waste_ns: Ns
    after_answer_ns: Ns
    api: str
    plugins: dict[str, int] = Field(description="Own time on the critical path, by plugin.")
    candidates: list[Candidate]
    queries_seen: list[QuerySeen]
    facts: list[Labelled]
    evidence: list[Evidence]
    earlier: Neighbour | None
    later: Neighbour | None
    jaeger_url: str | None


class Subject(BaseModel):
    """A server, plugin or upstream, and how long it takes."""

    subject: str = Field(description="`server:`, `plugin:` or `upstream:`, and its name.")
    label: str
    queries: int
    failed: int | None
    p50_ns: MaybeNs
    p95_ns: MaybeNs
    p99_ns: MaybeNs


class Servers(BaseModel):
    """All servers, plugins and upstreams of a time, the slowest first."""

    servers: list[Subject]
    plugins: list[Subject]
    traced: float = Field(
        description="Share of queries that figures of plugins are of; below 1 they are estimates."
    )
    upstreams: list[Subject]


class Latency(BaseModel):
    """How long one subject took, over time: for a heat map, and as percentiles."""

    times: list[int]
    step_s: int
    edges_ns: list[int] = Field(description="Lower edge of each row.")
    counts: list[list[int]] = Field(description="By column, then row.")
    p50_ns: list[int | None]
    p95_ns: list[int | None]
    p99_ns: list[int | None]


class Side(BaseModel):
    """One side of a comparison."""

    label: str
    queries: int
    failed: int | None
    p50_ns: MaybeNs
    p95_ns: MaybeNs
    p99_ns: MaybeNs
    share: list[float] = Field(description="Of its queries, by row of latency.")


class Comparison(BaseModel):
    """Two subjects in one time, or one subject in two."""

    edges_ns: list[int]
    a: Side
    b: Side


class PodRow(BaseModel):
    """A Pod, node or namespace."""

    namespace: str
    pod: str
    node: str
    lookups: int
    failed: int
    p50_ns: MaybeNs
    p95_ns: MaybeNs
    p99_ns: MaybeNs
    segments: Segments
    bottleneck: str
    queries: int
    waste_queries: int
    query_rate: float


class Pods(BaseModel):
    """Who asks."""

    rows: list[PodRow]


class Way(BaseModel):
    """One way to follow advice."""

    text: str
    paste: list[str] = Field(description="Lines.")


class Advice(BaseModel):
    """A change that would save queries and time, computed from what was seen."""

    title: str
    text: str
    namespace: str
    pod: str
    saved_queries: int
    saved_ns: Ns
    ways: list[Way]


class Advised(BaseModel):
    """All advice, the most worth first."""

    advice: list[Advice]


class LiveFigures(BaseModel):
    """The service, at this moment."""

    waiting_lookups: int | None
    waiting_server_spans: int | None
    figures: dict[str, float]
