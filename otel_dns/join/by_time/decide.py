"""Rung ``time``: server traces to lookups by client address, candidate names and time alone.

Nearly every lookup has no competitor: nobody else known asked the same while it ran, and there is
one server trace for each of its questions. Such a lookup costs next to nothing. The others form
knots, connected by the slots they share; a knot is solved as a whole
(:mod:`otel_dns.join.by_time.knot`), and one that is too large is cut into pieces in order of time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import pairwise
from typing import Final

from msgspec import Struct

from otel_dns.join.by_time import first_in
from otel_dns.join.by_time.completeness import Completeness
from otel_dns.join.by_time.knot import EVEN, Knot
from otel_dns.join.by_time.member import Member, alike
from otel_dns.join.by_time.timing import Timing
from otel_dns.join.waiting import Slot, Slots, WaitingLookup, WaitingTrace

CERTAIN: Final = 0.999
"""Confidence of a lookup without a competitor: what went wrong then was nothing that is seen."""
MAX_KNOT: Final = 400
"""Lookups that are worked out together; where more hang together they are cut by time."""
LOOKAHEAD: Final = 64
"""Lookups beyond the last one due that are taken into account with it."""
MAX_REACH: Final = 128
"""Lookups at one time in one slot up to which a knot is worked out: beyond, first in first out."""
_FIRST_IN_CONFIDENCE: Final = 0.25
_PLAUSIBLE_NS: Final = 3_000_000
"""So soon after its start a lookup without a competitor is expected to ask."""
_DISORDER_NS: Final = 1_000_000
_LEARN_EVERY: Final = 8
_NEARLY_ALL: Final = 0.95
"""Where fewer server traces are there, that some are missing is no wonder."""

_Versions = list[tuple[Slot, int]]
_Rival = tuple[WaitingLookup, float, bool]
"""Who could have what a lookup has, with which odds, and whether it does not matter who has it."""


class Decision(Struct, frozen=True):
    """What one lookup is given."""

    lookup: WaitingLookup
    given: list[tuple[WaitingTrace, int]]
    """Server traces, each with the candidate that it was a query for."""
    confidence: float
    group_size: int = 1


class _Plan(Struct, frozen=True):
    """What was found of a lookup before it was due."""

    decision: Decision
    versions: _Versions
    rivals: list[_Rival]


class ByTime:
    """Decides, and learns from what it decided."""

    def __init__(self, slots: Slots, tolerance_ns: int) -> None:
        self._slots = slots
        self._tolerance_ns = tolerance_ns
        self._timing = Timing()
        self._completeness = Completeness()
        self._plans: dict[WaitingLookup, _Plan] = {}
        self._until_learning = 1
        self.counts: defaultdict[str, int] = defaultdict(int)
        """Lookups by how they were decided: ``alone``, ``in_knots``, ``first_in``."""

    @property
    def seen(self) -> float:
        """What share of the queries' server traces is there, as far as the joins tell."""
        return self._completeness.seen

    def decide(self, due: list[WaitingLookup]) -> Iterator[Decision]:
        """Decide what lookups that are due are given; their order does not matter."""
        left = dict.fromkeys(sorted(due, key=_start_order))
        for waiting in list(left):
            if waiting not in left:
                continue
            decision = self._alone(waiting) or self._planned(waiting)
            made = [decision] if decision is not None else self._together(waiting, left)
            for decision in made:
                del left[decision.lookup]
                self._plans.pop(decision.lookup, None)
                yield decision

    # -- nobody else ---------------------------------------------------------------------------

    def _alone(self, waiting: WaitingLookup) -> Decision | None:
        """Decide about a lookup without a competitor; nothing if it has one."""
        if waiting.claimed or waiting.inherited_doubt:
            return None
        span = waiting.lookup.span
        start_ns = span.start_ns - self._tolerance_ns
        end_ns = span.end_ns + self._tolerance_ns
        given: list[tuple[WaitingTrace, int]] = []
        contested = False
        for key, candidates in waiting.candidates.items():
            slot = self._slots[key]
            if not slot.traces:
                continue
            traces = slot.traces_between(start_ns, end_ns)
            if not traces:
                continue
            if (
                len(traces) > 1
                or (len(slot.traces) > 1 and slot.surplus(end_ns) > 0)
                or (len(slot.lookups) > 1 and self._rivals(slot, traces[0]))
            ):
                contested = True
                break
            if not waiting.excludes(traces[0]):
                given.append((traces[0], candidates[0]))
        if contested:
            return None
        if given:
            first_ns = min([trace.at_ns for trace, _ in given]) - span.start_ns
            if first_ns > _PLAUSIBLE_NS or self._completeness.seen < 0.5 or _disordered(given):
                return None
        waiting.clocks.judge(0, len(given))
        self.counts["alone"] += 1
        self._until_learning -= 1
        if not self._until_learning:
            self._until_learning = _LEARN_EVERY
            self._learn(waiting, given)
        return Decision(waiting, given, CERTAIN if given else 0.0)

    def _rivals(self, slot: Slot, trace: WaitingTrace) -> bool:
        """Tell whether more than one lookup ran when a server trace started.

        One that only overlaps with the trace's owner is no rival: whether it is still here must
        not matter.
        """
        start_ns, reach_ns = trace.at_ns, self._tolerance_ns
        return len(slot.lookups_between(start_ns - reach_ns, start_ns + reach_ns)) > 1

    # -- knots ---------------------------------------------------------------------------------

    def _planned(self, waiting: WaitingLookup) -> Decision | None:
        """Return what was found when the knot was solved, if nothing has come since."""
        plan = self._plans.get(waiting)
        if plan is None:
            return None
        if any(slot.version != version for slot, version in plan.versions) or any(
            trace.slot is None for trace, _ in plan.decision.given
        ):
            del self._plans[waiting]
            return None
        _bequeath(plan.rivals)
        return plan.decision

    def _together(self, waiting: WaitingLookup, left: dict[WaitingLookup, None]) -> list[Decision]:
        lookups, cut = self._gather(waiting, left)
        if not lookups:
            return self._first_in(waiting, left)
        slots = self._fill_order(lookups)
        start_ns = min(one.lookup.start_ns for one in lookups) - self._tolerance_ns
        end_ns = max(one.lookup.end_ns for one in lookups) + self._tolerance_ns
        until_ns = max(one.lookup.end_ns for one in lookups if one in left)
        knot = Knot(lookups, self._timing, self._completeness.seen, self._tolerance_ns)
        knot.solve(
            {
                slot: (
                    slot.traces_between(start_ns, end_ns),
                    self._completeness.strangers_hz(slot, until_ns),
                )
                for slot in slots
            }
        )
        if self._completeness.seen > _NEARLY_ALL:
            waiting.clocks.judge(*knot.misfit())
        sizes = Counter(member.root() for member in knot.members)
        versions = [(slot, slot.version) for slot in slots]
        decided: list[Decision] = []
        rivals: dict[Member, list[_Rival]] = {member: [] for member in knot.members}
        for (one, other), odds in knot.odds.items():
            partners = odds >= EVEN and alike(one, other)
            rivals[one].append((other.waiting, odds, partners))
            rivals[other].append((one.waiting, odds, partners))
        settled = len(lookups) - LOOKAHEAD if cut else len(lookups)
        for number, member in enumerate(knot.members):
            decision = _decision(member, sizes[member.root()])
            if member.waiting not in left:
                if not cut:
                    self._plans[member.waiting] = _Plan(decision, versions, rivals[member])
            elif number < settled or not decided:
                self.counts["in_knots"] += 1
                self._learn(member.waiting, decision.given)
                decided.append(decision)
        leaving = {decision.lookup for decision in decided}
        for member in knot.members:
            if member.waiting in leaving:
                _bequeath(rival for rival in rivals[member] if rival[0] not in leaving)
        return decided

    def _gather(
        self, waiting: WaitingLookup, left: dict[WaitingLookup, None]
    ) -> tuple[list[WaitingLookup], bool]:
        """Find the lookups that hang together with one, the earliest first.

        Returns:
            The lookups, and whether more hang together with them than are worked out at once; none
            where too many compete at one moment.
        """
        number = 0
        queue = [(waiting.lookup.start_ns, number, waiting)]
        seen = {waiting}
        found: list[WaitingLookup] = []
        ahead = 0
        while queue:
            if len(found) >= MAX_KNOT or ahead > LOOKAHEAD:
                found.sort(key=_start_order)
                return found, True
            _, _, one = heappop(queue)
            found.append(one)
            ahead = 0 if one in left else ahead + 1
            start_ns = one.lookup.start_ns - 2 * self._tolerance_ns
            end_ns = one.lookup.end_ns + 2 * self._tolerance_ns
            for slot in self._slots.of(one):
                if len(slot.lookups) == 1 or not slot.traces:
                    continue
                rivals = slot.lookups_between(start_ns, end_ns)
                if len(rivals) > MAX_REACH:
                    return [], True
                for other in rivals:
                    if other not in seen:
                        seen.add(other)
                        number += 1
                        heappush(queue, (other.lookup.start_ns, number, other))
        found.sort(key=_start_order)
        return found, False

    def _fill_order(self, lookups: list[WaitingLookup]) -> list[Slot]:
        """Return the lookups' slots in the order in which they are filled."""
        places: dict[Slot, tuple[int, str]] = {}
        for waiting in lookups:
            for slot in self._slots.of(waiting):
                place = (waiting.candidates[slot.key][0], slot.key[2])
                if slot not in places or place < places[slot]:
                    places[slot] = place
        return sorted(places, key=lambda slot: (*places[slot], slot.key))

    # -- too many ------------------------------------------------------------------------------

    def _first_in(self, waiting: WaitingLookup, left: dict[WaitingLookup, None]) -> list[Decision]:
        """Decide, first in first out, about a lookup and all that are due and share a slot."""
        keys = waiting.candidates.keys()
        sharing = [one for one in left if one is waiting or not keys.isdisjoint(one.candidates)]
        given: dict[WaitingLookup, list[tuple[WaitingTrace, int]]] = {one: [] for one in sharing}
        until_ns = max(one.lookup.end_ns for one in sharing) + self._tolerance_ns
        taken: set[WaitingTrace] = set()
        for slot in dict.fromkeys(slot for one in sharing for slot in self._slots.of(one)):
            for owner, trace, candidate in first_in.assign(slot, self._tolerance_ns, until_ns):
                if owner in given and trace not in taken and not owner.excludes(trace):
                    taken.add(trace)
                    given[owner].append((trace, candidate))
        self.counts["first_in"] += len(sharing)
        return [Decision(one, given[one], _FIRST_IN_CONFIDENCE) for one in sharing]

    # -- learning ------------------------------------------------------------------------------

    def _learn(self, waiting: WaitingLookup, given: list[tuple[WaitingTrace, int]]) -> None:
        lookup = waiting.lookup
        if not waiting.candidates:
            return  # nothing of it was to be found here
        headers = [
            (trace.header, candidate, trace.skew_ns)
            for trace, candidate in given
            if trace.header is not None
        ]
        seen = [(one.trace, one.candidate) for one in waiting.traces if not one.hop]
        seen += [
            (one.header, waiting.candidate_of(one.header.name))
            for one in waiting.behind
            if one.header is not None
        ]
        seen += [(header, candidate) for header, candidate, _ in headers]
        self._completeness.learn(lookup, seen)
        self._timing.learn(lookup, headers)


def _disordered(given: list[tuple[WaitingTrace, int]]) -> bool:
    """Whether a candidate was asked for before one that comes first."""
    return len(given) > 1 and any(
        later.at_ns < earlier.at_ns - _DISORDER_NS
        for (earlier, one), (later, other) in pairwise(given)
        if one < other
    )


def _bequeath(rivals: Iterable[_Rival]) -> None:
    """Let the rivals of a lookup that leaves know what it leaves with."""
    for heir, odds, partners in rivals:
        heir.inherited_doubt += odds
        heir.inherited_partners += partners


def _decision(member: Member, group_size: int) -> Decision:
    group_size += member.waiting.inherited_partners
    given = [(column.trace, candidate) for column, candidate in member.given()]
    confidence = 1 / group_size if group_size > 1 else member.confidence
    return Decision(member.waiting, given, confidence if given else 0.0, group_size)


def _start_order(waiting: WaitingLookup) -> tuple[int, bytes, bytes]:
    span = waiting.lookup.span
    return span.start_ns, span.trace_id, span.span_id
