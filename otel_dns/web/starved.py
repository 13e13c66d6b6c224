"""A DNS server that gets to its queries late: short of processor time, or its queue is full.

A server that the kernel stops most of the time answers fast when it runs, so that most of its spans
look well. Two things tell on it, beside its neighbours: who asks it waits while no server works
for them (the queries lie in its queue), and under load every plugin's mean own time grows at once,
for any of them can be the one that was stopped. One slow plugin alone is something else.
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from otel_dns.history.answers import PluginSum
from otel_dns.web.figures import duration
from otel_dns.web.situation import Seen, Stats, Trouble, since

_LATE_NS: Final = 5_000_000
"""Less than that for a query is what another zone's network may take."""
_TIMES_SLOWER: Final = 3.0
_LOOKUPS_MIN: Final = 20
_QUERIES_MIN: Final = 20
_PLUGINS_MIN: Final = 4
_GROWN_MIN: Final = 0.75
_WORTH_NS: Final = 1_000_000
"""All plugins' mean own time together: less is nobody's trouble, however it grew."""


def starved_servers(outside: Sequence[Seen], plugins: Sequence[PluginSum]) -> Iterator[Trouble]:
    """Find servers that get to their queries late, beside their neighbours.

    Args:
        outside: time of a lookup's query that is at no server, by the server that was asked.
        plugins: own time of every plugin at every server.
    """
    told = {one.name: one for one in outside}
    for name in sorted({*told, *(one.server for one in plugins)}):
        # Of lookups without a client's span only plugins tell.
        one = told.get(name, Seen(name, Stats()))
        late_from = _late_from(one, outside)
        grown, compared, mean_ns = _grown(one.name, plugins)
        starved = (
            compared >= _PLUGINS_MIN and grown >= _GROWN_MIN * compared and mean_ns >= _WORTH_NS
        )
        if late_from is not None or starved:
            yield _trouble(one, late_from, starved, grown, compared)


def _late_from(one: Seen, all_of: Sequence[Seen]) -> float | None:
    """From where on p95 is late, by its peers, else by what it was itself; None: it is not."""
    if one.now.p95_ns is None or one.now.count < _LOOKUPS_MIN:
        return None
    usual = [
        other.now.p95_ns
        for other in all_of
        if other is not one and other.now.p95_ns is not None and other.now.count >= _LOOKUPS_MIN
    ]
    if not usual and one.before.p95_ns is not None and one.before.count >= _LOOKUPS_MIN:
        usual = [one.before.p95_ns]
    if not usual:
        return None
    late_from = max(_LATE_NS, _TIMES_SLOWER * median(usual))
    return late_from if one.now.p95_ns >= late_from else None


def _grown(server: str, plugins: Sequence[PluginSum]) -> tuple[int, int, float]:
    """Count plugins that take longer than at its neighbours, those compared, and add up means."""
    grown = compared = 0
    mean_ns = 0.0
    for one in plugins:
        if one.server != server or one.queries < _QUERIES_MIN:
            continue
        peers = [
            other.mean_ns
            for other in plugins
            if other.plugin == one.plugin
            and other.server != server
            and other.queries >= _QUERIES_MIN
        ]
        if peers:
            compared += 1
            grown += one.mean_ns >= _TIMES_SLOWER * median(peers)
            mean_ns += one.mean_ns
    return grown, compared, mean_ns


def _trouble(
    one: Seen, late_from: float | None, starved: bool, grown: int, compared: int
) -> Trouble:
    said = []
    if late_from is not None:
        said.append(
            f"Of lookups that ask it, one in twenty spends {duration(one.now.p95_ns)} or more for"
            f" each query at no server: on the way to it, or in its queue. From"
            f" {duration(round(late_from))} on that is three times its neighbours', or its own"
            " before."
        )
    if starved:
        said.append(
            f"{grown} of its {compared} plugins take three times as long as at its neighbours, all"
            " at once: it lacks processor time."
        )
    else:
        said.append("Its own work is not slow: the time passes before it begins.")
    return Trouble(
        kind="starved_server",
        severity="warn",
        title=f"DNS server {one.name} gets to its queries late",
        detail=" ".join(said),
        since_s=None if late_from is None else since(one.course, late_from),
        evidence=[
            *(_of_lookups(one.now) if one.now.count else []),
            *([("plugins grown", f"{grown} of {compared}")] if compared else []),
        ],
        filters={"server": one.name},
        advice=(
            "Look at its CPU limit (container_cpu_cfs_throttled_periods_total), at its node's UDP"
            " receive errors, and, if only one node's Pods ask it, at their way to it."
        ),
    )


def _of_lookups(now: Stats) -> list[tuple[str, str]]:
    return [
        ("lookups", f"{now.count:,}"),
        ("at no server, p50", duration(now.p50_ns)),
        ("p95", duration(now.p95_ns)),
    ]
