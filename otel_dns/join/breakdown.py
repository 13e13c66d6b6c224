"""Where a lookup's time went: segments that add up to its duration, to the nanosecond.

A stub resolver tries candidates one after another and asks A and AAAA of each side by side. So a
lookup is a row of *rounds*, one a candidate; within a round the critical path runs backwards from
the server trace that ends last. On that path the time belongs to whoever owns it on the server's
own timeline; between server traces it belongs to the stub and the network, unless it is so long
that only a timeout explains it, or unless a round that must have been there was not seen.

The server's last span may outlast the answer (CoreDNS writes the answer before it ends the span),
by more than the whole lookup took. The next round cannot start before the answer was there, and
the lookup cannot end before: what a trace has beyond either is time after the answer.
"""

from collections.abc import Sequence
from typing import Final

from otel_dns import semconv
from otel_dns.model import Breakdown, Join, JoinedTrace, Lookup, Slice

TIMEOUT_NS: Final = 900_000_000
"""A gap from here on is a stub's timeout: resolv.conf(5) counts them in whole seconds, and the
server's time before the loss takes a part of the first."""


_MAX_PLUGINS: Final = 64
"""Plugins told apart: a name becomes an attribute, and hostile spans may have any."""
_OTHER_PLUGINS: Final = "other"


class _Account:
    """Adds up stretches of one lookup's time."""

    def __init__(self) -> None:
        self.segments = dict.fromkeys(semconv.SEGMENTS, 0)
        self.plugins: dict[str, int] = {}

    def gap(self, nanoseconds: int, *, explained: bool) -> None:
        """Time in which no query is known to be at a server."""
        if not explained:
            segment = semconv.SEGMENT_UNATTRIBUTED
        elif nanoseconds >= TIMEOUT_NS:
            segment = semconv.SEGMENT_WAITING
        else:
            segment = semconv.SEGMENT_STUB_NETWORK
        self.segments[segment] += nanoseconds

    def server(self, slices: Sequence[Slice], start_ns: int, end_ns: int) -> None:
        """The part of a server's timeline from ``start_ns`` to ``end_ns``."""
        for slice_start, slice_end, span in slices:
            nanoseconds = min(slice_end, end_ns) - max(slice_start, start_ns)
            if nanoseconds <= 0:
                continue
            if span.name == semconv.CONNECT_SPAN:
                self.segments[semconv.SEGMENT_UPSTREAM] += nanoseconds
            else:
                self.segments[semconv.SEGMENT_SERVER] += nanoseconds
                name = span.name
                if name not in self.plugins and len(self.plugins) >= _MAX_PLUGINS:
                    name = _OTHER_PLUGINS
                self.plugins[name] = self.plugins.get(name, 0) + nanoseconds


def break_down(lookup: Lookup, join: Join) -> Breakdown:
    """Break a lookup's time down by what was joined to it."""
    account = _Account()
    after_answer = 0
    position, end = lookup.start_ns, max(lookup.end_ns, lookup.start_ns)
    rounds = _rounds(join.traces)
    starts = [min(joined.trace.root.start_ns for joined in traces) for traces in rounds]
    for number, traces in enumerate(rounds):
        limit = min(end, starts[number + 1]) if number + 1 < len(rounds) else end
        after_answer += sum(
            max(joined.trace.root.end_ns - max(limit, _start(joined)), 0) for joined in traces
        )
        seen = traces[0].candidate == (rounds[number - 1][0].candidate + 1 if number else 0)
        for trace, start_ns, end_ns in _critical_path(traces, position, limit):
            account.gap(start_ns - position, explained=seen)
            account.server(trace.timeline, start_ns, end_ns)
            position, seen = end_ns, True
    account.gap(end - position, explained=bool(rounds) and _ended_there(lookup, rounds[-1]))
    return Breakdown(
        segments=account.segments,
        plugins=account.plugins,
        after_answer_ns=after_answer,
        bottleneck=_bottleneck(account),
        waste_queries=_waste(lookup, join),
    )


def _rounds(traces: Sequence[JoinedTrace]) -> list[list[JoinedTrace]]:
    """Group server traces by candidate, in the resolver's order."""
    rounds: dict[int, list[JoinedTrace]] = {}
    for joined in traces:
        rounds.setdefault(joined.candidate, []).append(joined)
    return [rounds[candidate] for candidate in sorted(rounds)]


def _critical_path(
    traces: Sequence[JoinedTrace], start_ns: int, end_ns: int
) -> list[tuple[JoinedTrace, int, int]]:
    """Find, backwards from the end, the server trace that each moment of a round waited for.

    Returns:
        Stretches that do not overlap, in order of time, all within ``start_ns`` to ``end_ns``.
    """
    path = []
    limit = end_ns
    left = [joined for joined in traces if joined.trace.root.start_ns < limit]
    while left:
        last = max(left, key=lambda joined: (min(joined.trace.root.end_ns, limit), -_start(joined)))
        start, end = max(_start(last), start_ns), min(last.trace.root.end_ns, limit)
        if end > start:
            path.append((last, start, end))
            limit = start
        left = [joined for joined in left if joined is not last and _start(joined) < limit]
    return path[::-1]


def _start(joined: JoinedTrace) -> int:
    return joined.trace.root.start_ns


def _ended_there(lookup: Lookup, last_round: Sequence[JoinedTrace]) -> bool:
    """Tell whether the lookup can have ended with the last round seen.

    A failed lookup tried every candidate: without the last one, its end is not explained.
    """
    return not lookup.error_type or last_round[0].candidate == len(lookup.candidates) - 1


def _waste(lookup: Lookup, join: Join) -> int:
    """Count the queries for candidates before the last one tried: the search list's price."""
    last = max((joined.candidate for joined in join.traces), default=0)
    if lookup.error_type:
        return 0  # nothing was found: no query was less useful than another
    return sum(joined.candidate < last for joined in join.traces)


def _bottleneck(account: _Account) -> str:
    parts = dict(account.segments)
    del parts[semconv.SEGMENT_SERVER]
    parts |= {f"plugin:{plugin}": spent for plugin, spent in account.plugins.items()}
    return max(parts, key=lambda part: parts[part])


__all__ = ["TIMEOUT_NS", "break_down"]
