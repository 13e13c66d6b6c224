"""What the breakdowns themselves show: a few kinds of trouble, each with the evidence for it.

Pure: figures of this time and of the time before go in, findings come out. Each kind is a function
of its own; thresholds are constants beside it, and the texts say the figures that crossed them.
"""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final

from otel_dns.web.figures import duration, plural, share
from otel_dns.web.situation import Seen, Situation, Trouble, since, since_failing
from otel_dns.web.starved import starved_servers

MS: Final = 1_000_000


def find(seen: Situation) -> list[Trouble]:
    """Name what is wrong, the worst first."""
    starved = list(starved_servers(seen.outside, seen.plugins))
    # One finding for one cause: who lacks processor time is slow too.
    explained = {one.filters["server"] for one in starved}
    found = [
        *_timeouts(seen),
        *_failures(seen),
        *_failing_upstreams(seen.upstreams),
        *_slow_upstreams(seen.upstreams, seen.lookups.now.total_ns),
        *starved,
        *_slow_servers([one for one in seen.servers if one.name not in explained]),
        *_silent_servers(seen.servers),
        *_waste(seen),
    ]
    order = {"bad": 0, "warn": 1, "note": 2}
    return sorted(found, key=lambda one: order[one.severity])


# -- lookups that waited --------------------------------------------------------------------------

_TIMEOUTS_MIN: Final = 3
_TIMEOUTS_BAD: Final = 0.01


def _timeouts(seen: Situation) -> Iterator[Trouble]:
    waited = seen.timeouts.now
    if waited.count < _TIMEOUTS_MIN:
        return
    part = waited.count / max(seen.lookups.now.count, 1)
    ended_share = waited.failed / max(seen.lookups.now.count, 1)
    ended = f", {plural(waited.failed, 'lookup')} ended without an answer" if waited.failed else ""
    yield Trouble(
        kind="timeouts",
        severity="bad" if ended_share >= _TIMEOUTS_BAD else "warn",
        title=f"{plural(waited.count, 'lookup')} waited for a timeout",
        detail=(
            f"{share(part)} of all lookups sent a query that nobody answered in time{ended}."
            f" {_behind(seen.upstreams)}"
        ),
        since_s=since_failing(seen.timeouts.course),
        evidence=[
            *([("waited", duration(waited.total_ns))] if waited.total_ns else []),
            ("clients", f"{seen.clients_waited} of {seen.clients}"),
            *_before("before", waited.count, seen.timeouts.before.count),
        ],
        filters={"outcome": "timeout"} if waited.failed else {"min_ms": "900"},
    )


def _behind(upstreams: Sequence[Seen]) -> str:
    """Name what may be behind timeouts."""
    failing = [one for one in upstreams if _fails(one)]
    if not failing:
        return "Queries or answers get lost, or a server does not keep up."
    worst = max(failing, key=lambda one: one.now.failed)
    return f"Upstream {worst.name} failed {plural(worst.now.failed, 'exchange')} meanwhile."


# -- lookups that a server failed -----------------------------------------------------------------


def _failures(seen: Situation) -> Iterator[Trouble]:
    failed = seen.failures.now.count
    if failed < _TIMEOUTS_MIN:
        return
    part = failed / max(seen.lookups.now.count, 1)
    yield Trouble(
        kind="server_failures",
        severity="bad" if part >= _TIMEOUTS_BAD else "warn",
        title=f"{plural(failed, 'lookup')} ended with a server's failure",
        detail=f"{share(part)} of all lookups got SERVFAIL, REFUSED or the like.",
        since_s=since_failing(seen.failures.course),
        evidence=[*_before("before", failed, seen.failures.before.count)],
        filters={"outcome": "server_failure"},
    )


# -- upstreams ------------------------------------------------------------------------------------


def _fails(one: Seen) -> bool:
    return one.now.failed >= _TIMEOUTS_MIN and one.now.failed >= _TIMEOUTS_BAD * one.now.count


def _failing_upstreams(upstreams: Sequence[Seen]) -> Iterator[Trouble]:
    for one in upstreams:
        if not _fails(one):
            continue
        others = [other.now for other in upstreams if other is not one and other.now.count]
        theirs = sum(each.failed for each in others) / max(sum(each.count for each in others), 1)
        peers = f" (its peers: {share(theirs)})" if others else ""
        yield Trouble(
            kind="failing_upstream",
            severity="warn",
            title=f"Upstream {one.name} fails",
            detail=(
                f"{share(one.now.failed / one.now.count)} of its exchanges had no answer, or ended"
                f" with a failure such as SERVFAIL{peers}."
            ),
            since_s=since_failing(one.course),
            evidence=[
                ("exchanges", f"{one.now.count:,}"),
                ("failed", f"{one.now.failed:,}"),
                *_before("before", one.now.failed, one.before.failed),
            ],
            filters={"upstream": one.name},
        )


_SLOW_NS: Final = 20 * MS
_TIMES_SLOWER: Final = 3.0
_QUERIES_MIN: Final = 5
_PART_MIN: Final = 0.05


def _slow_upstreams(upstreams: Sequence[Seen], all_ns: int) -> Iterator[Trouble]:
    for one, usual, compared in _outliers(upstreams):
        part = one.now.total_ns / max(all_ns, 1)
        if part < _PART_MIN:
            continue
        yield Trouble(
            kind="slow_upstream",
            severity="warn",
            title=f"Upstream {one.name} is slow",
            detail=(
                f"One exchange in twenty takes {duration(one.now.p95_ns)} or more; {compared}."
                f" All exchanges together took {duration(one.now.total_ns)}."
            ),
            since_s=since(one.course, max(_SLOW_NS, usual * _TIMES_SLOWER)),
            evidence=[
                ("exchanges", f"{one.now.count:,}"),
                ("p50", duration(one.now.p50_ns)),
                ("p95", duration(one.now.p95_ns)),
                ("p99", duration(one.now.p99_ns)),
            ],
            filters={"upstream": one.name},
        )


def _outliers(subjects: Sequence[Seen]) -> Iterator[tuple[Seen, float, str]]:
    """Yield subjects slower than their peers, or than they were, or than any should be."""
    for one in subjects:
        p95 = one.now.p95_ns
        if p95 is None or one.now.count < _QUERIES_MIN or p95 < _SLOW_NS:
            continue
        peers = [
            other.now.p95_ns
            for other in subjects
            if other is not one and other.now.p95_ns is not None and other.now.count >= _QUERIES_MIN
        ]
        if peers and p95 >= _TIMES_SLOWER * median(peers):
            yield one, median(peers), f"its peers: {duration(round(median(peers)))}"
        elif (
            one.before.p95_ns
            and one.before.count >= _QUERIES_MIN
            and p95 >= _TIMES_SLOWER * one.before.p95_ns
        ):
            yield one, one.before.p95_ns, f"in the time before: {duration(one.before.p95_ns)}"
        elif not peers and p95 >= 2 * _SLOW_NS:
            yield one, 0.0, "there is no other to compare it with"


# -- DNS servers ----------------------------------------------------------------------------------


def _slow_servers(servers: Sequence[Seen]) -> Iterator[Trouble]:
    for one, usual, compared in _outliers(servers):
        yield Trouble(
            kind="slow_server",
            severity="warn",
            title=f"DNS server {one.name} is slow",
            detail=(
                f"One query in twenty takes {duration(one.now.p95_ns)} or more of its own time, its"
                f" upstream left aside; {compared}."
            ),
            since_s=since(one.course, max(_SLOW_NS, usual * _TIMES_SLOWER)),
            evidence=[
                ("queries", str(one.now.count)),
                ("p50", duration(one.now.p50_ns)),
                ("p95", duration(one.now.p95_ns)),
            ],
            filters={"server": one.name},
        )


_SILENT_MIN: Final = 20


def _silent_servers(servers: Sequence[Seen]) -> Iterator[Trouble]:
    for one in servers:
        others = sum(other.now.count for other in servers if other is not one)
        if one.now.count or one.before.count < _SILENT_MIN or others < _SILENT_MIN:
            continue
        yield Trouble(
            kind="silent_server",
            severity="warn",
            title=f"DNS server {one.name} is silent",
            detail=(
                f"It told of {plural(one.before.count, 'query', 'queries')} in the time before, and"
                " of none since: it is gone, gets no queries, or its telemetry does not arrive."
            ),
            since_s=None,
            evidence=[("others", plural(others, "query", "queries"))],
            filters={},
        )


# -- the search list ------------------------------------------------------------------------------

_WASTE_SHARE: Final = 0.3
_WASTE_MIN: Final = 20


def _waste(seen: Situation) -> Iterator[Trouble]:
    if seen.waste_queries < _WASTE_MIN or seen.waste_queries < _WASTE_SHARE * seen.queries:
        return
    yield Trouble(
        kind="search_waste",
        severity="note",
        title=(
            f"{share(seen.waste_queries / seen.queries)} of all queries are for names that do not"
            " exist"
        ),
        detail=(
            f"The search list makes {plural(seen.waste_queries, 'query', 'queries')} of"
            f" {seen.queries:,} before the one that counts"
            + (f", {duration(seen.waste_ns)} of lookups' time." if seen.waste_ns else ".")
        ),
        since_s=None,
        evidence=[
            (pod or "(no Pod)", f"{wasted:,} wasted") for pod, wasted in seen.worst_waste[:3]
        ],
        view="pods",
        filters={"order": "waste"},
        advice="Pods shows what ndots or a trailing dot would save, with the lines to paste.",
    )


def _before(label: str, now: int, before: int) -> Iterable[tuple[str, str]]:
    return [(label, str(before))] if before != now else []
