"""What anybody would try first, on the same data: how much the join is better is measured.

Each gets all lookups and all server traces at once, and says which trace is whose.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from bench.join.recording import Asked
from otel_dns.join import JoinSettings

TOLERANCE_NS: Final = JoinSettings().tolerance_ns


class Candidate(NamedTuple):
    """A server trace as a baseline sees it."""

    trace_id: str
    start_ns: int


Slots = Mapping[tuple[str, str], Sequence[Candidate]]
Joined = dict[int, set[str]]
"""Trace ids by number of the lookup."""


def first_match(lookups: Sequence[Asked], slots: Slots) -> Joined:
    """Give a trace to the first lookup that asks its question and runs when it starts."""
    return _one_by_one(lookups, slots, lambda running: min(running, key=lambda one: one.start_ns))


def tightest_interval(lookups: Sequence[Asked], slots: Slots) -> Joined:
    """Give a trace to the shortest of the lookups that ask its question and run when it starts."""
    return _one_by_one(
        lookups, slots, lambda running: min(running, key=lambda one: one.end_ns - one.start_ns)
    )


def first_in_first_out(lookups: Sequence[Asked], slots: Slots) -> Joined:
    """Give each lookup the first trace of each of its questions that no earlier one has."""
    joined: Joined = defaultdict(set)
    for slot, asking in _asking(lookups).items():
        traces = slots.get(slot, ())
        used = 0
        for one in asking:
            while used < len(traces) and traces[used].start_ns < one.start_ns - TOLERANCE_NS:
                used += 1
            if used < len(traces) and traces[used].start_ns <= one.end_ns + TOLERANCE_NS:
                joined[one.number].add(traces[used].trace_id)
                used += 1
    return joined


BASELINES: Final[Mapping[str, Callable[[Sequence[Asked], Slots], Joined]]] = {
    "first": first_match,
    "tightest": tightest_interval,
    "fifo": first_in_first_out,
}


def _asking(lookups: Sequence[Asked]) -> dict[tuple[str, str], list[Asked]]:
    asking: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in sorted(lookups, key=lambda one: one.start_ns):
        for name in one.candidates:
            for type_ in ("A", "AAAA"):
                asking[name, type_].append(one)
    return asking


def _one_by_one(
    lookups: Sequence[Asked], slots: Slots, choose: Callable[[list[Asked]], Asked]
) -> Joined:
    joined: Joined = defaultdict(set)
    asking = _asking(lookups)
    for slot, traces in slots.items():
        upcoming = iter(asking.get(slot, ()))
        following = next(upcoming, None)
        running: list[Asked] = []
        for trace in traces:
            while following and following.start_ns - TOLERANCE_NS <= trace.start_ns:
                running.append(following)
                following = next(upcoming, None)
            running = [one for one in running if one.end_ns + TOLERANCE_NS >= trace.start_ns]
            if running:
                joined[choose(running).number].add(trace.trace_id)
    return joined
