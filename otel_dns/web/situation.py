"""What findings are made of, and what they are: figures of a time and of the time before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_dns.history.answers import PluginSum


@dataclass(frozen=True, slots=True)
class Course:
    """How one subject went, column by column: seconds since the epoch, how many, p95, failures."""

    times: Sequence[int] = ()
    counts: Sequence[int] = ()
    p95_ns: Sequence[int | None] = ()
    failed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """Durations of one subject (a server, plugin, upstream, Pod, or all lookups) in one time."""

    count: int = 0
    failed: int = 0
    total_ns: int = 0
    p50_ns: int | None = None
    p95_ns: int | None = None
    p99_ns: int | None = None
    traced: int = 0
    """Of them, with the server's own spans."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A subject in this time, in the time before, and its course."""

    name: str
    now: Stats
    before: Stats = field(default_factory=Stats)
    course: Course = field(default_factory=Course)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One finding."""

    kind: str
    severity: str
    title: str
    detail: str
    since_s: int | None
    evidence: Sequence[tuple[str, str]]
    filters: Mapping[str, str]
    advice: str = ""
    view: str = "lookups"


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that findings are made of."""

    lookups: Seen
    timeouts: Seen
    """``failed`` are lookups that ended with a timeout, ``count`` those that waited for one."""
    failures: Seen
    """Lookups that a server failed."""
    upstreams: Sequence[Seen]
    servers: Sequence[Seen]
    """Time of a query at a server, without its upstream."""
    outside: Sequence[Seen]
    """Time of a lookup that is at no server and waits for no upstream, for each of its queries; by
    the server that it asked first."""
    plugins: Sequence[PluginSum]
    queries: int
    waste_queries: int
    waste_ns: int
    worst_waste: Sequence[tuple[str, int]]
    """Pods and their wasted queries, the most first."""
    clients_waited: int = 0
    """Addresses with a lookup that waited for a timeout."""
    clients: int = 0
    """Addresses that were seen to ask."""


def since(course: Course, over_ns: float) -> int | None:
    """When p95 went over a bound to stay there; columns with nothing in them are passed over."""
    began = None
    for time, p95 in zip(course.times, course.p95_ns, strict=True):
        if p95 is None:
            continue
        began = (time if began is None else began) if p95 >= over_ns else None
    return began


def since_failing(course: Course) -> int | None:
    """When failures began that have not ceased for more than a fifth of the time since."""
    failing = [at for at, failed in enumerate(course.failed) if failed]
    if not failing:
        return None
    longest_pause = max(len(course.times) // 10, 2)
    began = failing[-1]
    for at in reversed(failing):
        if began - at > longest_pause:
            break
        began = at
    return course.times[began]
