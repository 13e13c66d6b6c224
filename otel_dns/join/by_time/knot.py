"""A knot: lookups that compete for server traces, and who most likely caused which.

Within one slot queries nearly always keep the order in which their lookups were ready to send them;
so the likeliest assignment that keeps that order is found, by one pass over the pairs that are
possible at all. Slots are worked through in the order in which the resolver fills them, since the
answers of one candidate say when the queries of the next are due. What order does not tell is then
weighed exchange by exchange: how much likelier is what was found than the same with two queries
swapped, with one lookup's remaining queries swapped for another's, with a query left to a stranger?
The sum of these odds is the confidence, and near-even odds make two lookups interchangeable.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import exp, log
from typing import Final, NamedTuple

from otel_dns.join.by_time import retries
from otel_dns.join.by_time.chain import Chain
from otel_dns.join.by_time.confidence import confidence
from otel_dns.join.by_time.likelihood import UNEXPECTED, Likelihood
from otel_dns.join.by_time.member import (
    Column,
    Member,
    Place,
    alike,
    columns_of,
    give,
    ready_at,
    suits,
    unite,
    was_found,
)
from otel_dns.join.by_time.rebuild import Rebuild
from otel_dns.join.by_time.swap import exchanges
from otel_dns.join.by_time.timing import Gap, Timing
from otel_dns.join.waiting import Slot, SlotKey, WaitingLookup, WaitingTrace

MAX_PAIRS: Final = 12
"""Server traces that are looked at for one lookup in one slot: the likeliest."""
_NEIGHBOURS: Final = 3
"""Rivals before and after, in each slot, against which odds are worked out."""
EVEN: Final = 0.25
"""From these odds on an exchange makes two lookups interchangeable."""
_MAX_EXPONENT: Final = 50.0
_ENOUGH_DOUBT: Final = 20.0
_SPARES: Final = 5
"""Server traces before and after one that are looked at as what could be instead of it."""
_IMPROVEMENTS: Final = 4
_REBUILDS: Final = 3
_ODDITY: Final = 1e-4
"""How often a lookup's queries are others' in a way that no exchange shows. Measured (seeds 1 to 3,
2% loss): of those whose oddity is 100 and more every third is wrong."""
_FEW: Final = 0.006
"""Odds that another's query is the only one that is there to be seen, where nearly none are.
Measured (seeds 1 and 2, one query in 10 traced): of 55 lookups with less doubt than that and more
than two thirds of it 3 were wrong, of 728 without 2."""
_LIKELIER: Final = 0.05
_NEGLIGIBLE: Final = -10.0
_CROWD: Final = 3
_CROWD_NS: Final = 1_000_000
"""So many others of the same that start so close to a lookup make a crowd."""
_SECOND_NS: Final = 1_000_000_000
_TIMEOUTS: Final = 4
"""Timeouts of a second in a row after which a missing query is still looked for."""


class Knot:
    """Assigns server traces to the lookups of a knot."""

    def __init__(
        self, lookups: Iterable[WaitingLookup], timing: Timing, seen: float, tolerance_ns: int
    ) -> None:
        """Make a knot.

        Args:
            lookups: in order of start.
            timing: how the stub spends its time.
            seen: how likely the server trace of a query is to be there.
            tolerance_ns: how far the clocks may be apart.
        """
        self.members = [Member(one, tolerance_ns=tolerance_ns) for one in lookups]
        self._likelihood = Likelihood(timing, seen)
        self._strangers: dict[Slot, float] = {}
        self.odds: dict[tuple[Member, Member], float] = {}
        """How likely an exchange between two lookups is, beside what was found."""
        self._columns: dict[Slot, list[Column]] = {}
        self._rows: dict[Slot, list[tuple[Member, Place]]] = {}
        self._slots: dict[SlotKey, Slot] = {}

    def solve(self, slots: Mapping[Slot, tuple[list[WaitingTrace], float]]) -> None:
        """Assign.

        Args:
            slots: the lookups' slots in the order in which they are filled, each with the server
                traces to be given out and with the number of queries a second of lookups that are
                not known.
        """
        by_key = self._slots = {slot.key: slot for slot in slots}
        self._rows = {slot: [] for slot in slots}
        for member in self.members:
            for key, candidates in member.waiting.candidates.items():
                kind = member.waiting.lookup.types.index(key[2])
                self._rows[by_key[key]] += [(member, (one, kind)) for one in candidates]
        for slot, (traces, strangers_hz) in slots.items():
            self._columns[slot] = retries.put_behind(columns_of(traces), self._rows[slot])
            self._strangers[slot] = log(strangers_hz / 1e9)
        self._see_crowds()
        for slot in slots:
            self._align(slot)
            self._overtaken(slot)
        settled = False
        for _ in range(_IMPROVEMENTS):
            settled = not self._weigh(improve=True)
            if settled:
                break
        rebuild = Rebuild(self._likelihood, self._columns_of, self._stranger)
        for _ in range(_REBUILDS):
            if not rebuild.all(self.members):
                break
            settled = not self._weigh(improve=True)
        for slot in slots:
            retries.give(self._columns[slot], self._rows[slot], self._likelihood.timing)
        if not settled or any(one.retries or one.retry_doubt for one in self.members):
            self._weigh(improve=False)
        few = _FEW * exp(self._likelihood.missed)
        seen, calm = exp(self._likelihood.seen), exp(self._likelihood.timing.log_calm)
        for member in self.members:
            member.doubt += few + _ODDITY * self._likelihood.oddity(member)
            member.confidence = confidence(
                member.doubt,
                crowd=member.waiting.crowd,
                ports_known=member.ports_known,
                seen=seen,
                calm=calm,
            )

    def misfit(self) -> tuple[int, int]:
        """Count the queries that are missing while as many that were seen are left over.

        Either alone has its reasons; both together come of clocks that differ unknown to anyone,
        and then what seems to fit does so by chance.

        Returns:
            Their number, and that of all that were given.
        """
        given = sum(len(member.edges) for member in self.members)
        left = sum(one.owner is None for columns in self._columns.values() for one in columns)
        missing = 0
        for member in self.members if left else ():
            if member.waiting.claimed or member.waiting.traces:
                continue  # an exact rung has what is missing here
            places = len(member.waiting.lookup.types)
            missing += sum(1 for _ in self._holes(member)) if member.edges else places
        return min(left, missing), given

    def _columns_of(self, member: Member, place: Place) -> list[Column]:
        lookup = member.waiting.lookup
        return self._columns[
            self._slots[lookup.client, lookup.candidates[place[0]], lookup.types[place[1]]]
        ]

    def _stranger(self, column: Column) -> float:
        slot = column.trace.slot
        assert slot is not None
        return self._strangers[slot]

    def _see_crowds(self) -> None:
        """Mark lookups that start together: the order of their queries says nothing at all."""
        starts: dict[object, list[int]] = {}
        for member in self.members:  # in order of start
            lookup = member.waiting.lookup
            starts.setdefault((lookup.candidates, lookup.types), []).append(member.start_ns)
        for member in self.members:
            lookup = member.waiting.lookup
            alike = starts[lookup.candidates, lookup.types]
            first = bisect_left(alike, member.start_ns - _CROWD_NS)
            others = bisect_right(alike, member.start_ns + _CROWD_NS) - first - 1
            if others >= _CROWD:
                member.waiting.crowd = max(others, member.waiting.crowd)

    # -- who gets what -------------------------------------------------------------------------

    def _align(self, slot: Slot) -> None:
        """Find the likeliest assignment of one slot that keeps the order."""
        columns = self._columns[slot]
        if not columns:
            return
        rows = []
        for member, place in self._rows[slot]:
            if place not in member.edges:
                rows.append((ready_at(member, place), member, place))
        rows.sort(key=_row_order)
        starts = [column.start_ns for column in columns]
        best = Chain(len(columns))
        for ready_ns, member, place in rows:
            first = bisect_left(starts, member.from_ns)
            last = bisect_right(starts, member.until_ns)
            base = self._base(slot, member, place)
            pairs = []
            for at in range(first, last):
                gain = base + self._likelihood.fit(member, place, columns[at], ready_ns)
                if gain > 0:
                    pairs.append((gain, at))
            if len(pairs) > MAX_PAIRS:
                pairs.sort(reverse=True)
                del pairs[MAX_PAIRS:]
            best.add(pairs, (member, place))
        for at, (member, place) in best.pairs():
            give(member, place, columns[at])

    def _overtaken(self, slot: Slot) -> None:
        """Give what is left over to lookups that have none: a timeout breaks the order."""
        left = [column for column in self._columns[slot] if column.owner is None]
        if not left:
            return
        pairs = []
        for row, (member, place) in enumerate(self._rows[slot]):
            if place in member.edges:
                continue
            base, ready_ns = self._base(slot, member, place), ready_at(member, place)
            for at, column in enumerate(left):
                if suits(member, column):
                    gain = base + self._likelihood.fit(member, place, column, ready_ns)
                    if gain > 0:
                        pairs.append((gain, row, at))
        pairs.sort(key=lambda pair: (-pair[0], *pair[1:]))
        for _, row, at in pairs:
            member, place = self._rows[slot][row]
            if place not in member.edges and left[at].owner is None:
                give(member, place, left[at])

    def _base(self, slot: Slot, member: Member, place: Place) -> float:
        """What any server trace gains by being a lookup's rather than a stranger's."""
        base = self._likelihood.seen - self._likelihood.missed - self._strangers[slot]
        return base + UNEXPECTED if self._stopped(member, place[0]) else base

    def _stopped(self, member: Member, candidate: int) -> bool:
        return candidate > 0 and was_found(member, candidate - 1)

    # -- how likely it is, beside what could be instead ----------------------------------------

    def _rivals(self) -> set[tuple[int, int]]:
        """Find the pairs of lookups between which exchanges are weighed."""
        timing, fit = self._likelihood.timing, self._likelihood.fit
        numbers = {id(member): at for at, member in enumerate(self.members)}
        pairs: set[tuple[int, int]] = set()
        for slot, rows in self._rows.items():
            if not self._columns[slot]:
                continue
            order = sorted(
                (self._row(member, place, numbers[id(member)]) for member, place in rows),
                key=_row_start,
            )
            gap = timing.first if rows[0][1][0] == 0 else timing.next
            for at, one in enumerate(order):
                for other in order[at + 1 : at + 1 + _NEIGHBOURS]:
                    if one.number != other.number and _close(one, other, gap):
                        pair = (one.number, other.number)
                        pairs.add(pair if pair[0] < pair[1] else pair[::-1])
        for number, member in enumerate(self.members):
            for place, near in self._holes(member):
                ready_ns = ready_at(member, place)
                owned = [
                    (fit(member, place, column, ready_ns), numbers[id(column.owner)])
                    for column in near
                    if column.owner is not None and suits(member, column)
                ]
                owned.sort(reverse=True)
                for _, other_number in owned[:_NEIGHBOURS]:
                    pairs.add((min(number, other_number), max(number, other_number)))
        return pairs

    def _holes(self, member: Member) -> Iterator[tuple[Place, list[Column]]]:
        """Go through the queries that a lookup should have had and was not given.

        Each with the server traces in its slot that came about when it was due, or a timeout later.
        """
        lookup, edges = member.waiting.lookup, member.edges
        if not edges:
            return
        last = max(candidate for candidate, _ in edges)
        if not was_found(member, last):
            last = len(lookup.candidates) - 1
        due_ns = member.start_ns
        for candidate in range(last + 1):
            present = [edges[place] for place in member.places(candidate) if place in edges]
            if len(present) < len(lookup.types):
                moments = {due_ns}
                for column in present:
                    moments |= {column.start_ns, column.answer_ns}
                for place in member.places(candidate):
                    if place not in edges:
                        slot = self._slots[lookup.client, lookup.candidates[candidate],
                                           lookup.types[place[1]]]  # fmt: skip
                        yield place, self._due(slot, moments, member.end_ns)
            if present:
                due_ns = max(column.answer_ns for column in present)

    def _due(self, slot: Slot, moments: Iterable[int], end_ns: int) -> list[Column]:
        """Find the server traces of a slot next to some moments, and timeouts after them."""
        columns = self._columns[slot]
        if not columns:
            return []
        found: dict[int, None] = {}
        for moment_ns in moments:
            last_ns = min(end_ns, moment_ns + _TIMEOUTS * _SECOND_NS)
            for at_ns in range(moment_ns, last_ns + 1, _SECOND_NS):
                at = bisect_left(columns, at_ns, key=_column_start)
                found |= dict.fromkeys(range(max(at - _SPARES, 0), min(at + _SPARES, len(columns))))
        return [columns[at] for at in found]

    def _row(self, member: Member, place: Place, number: int) -> "_Row":
        edge, ready_ns = member.edges.get(place), ready_at(member, place)
        if edge is not None:
            return _Row(edge.start_ns, ready_ns, number, there=True)
        return _Row(member.start_ns + 200_000, ready_ns, number, there=False)

    def _weigh(self, *, improve: bool) -> bool:
        """Weigh every exchange: add up the odds, and make those that are likelier.

        Returns:
            Whether an exchange was made: the odds are then to be added up again.
        """
        members, likely = self.members, self._likelihood.of
        scores = [likely(member, member.edges) for member in members]
        self.odds.clear()
        for member in members:
            member.doubt = member.waiting.inherited_doubt + member.retry_doubt
            member.group = None
        changed = False
        for one, other in sorted(self._rivals()):
            first, second = members[one], members[other]
            here = scores[one] + scores[other]
            odds = 0.0
            for mine, yours in exchanges(first, second):
                there = likely(first, mine) + likely(second, yours)
                if improve and there > here + _LIKELIER:
                    first.edges, second.edges = mine, yours
                    scores[one] = likely(first, mine)
                    scores[other] = likely(second, yours)
                    changed = True
                    break
                odds += exp(min(there - here, _MAX_EXPONENT))
            first.doubt += odds
            second.doubt += odds
            self.odds[first, second] = odds
            if odds >= EVEN and alike(first, second):
                unite(first, second)
        if changed:
            self._own()
        for at, member in enumerate(members):
            if improve or member.doubt < _ENOUGH_DOUBT:
                changed |= self._weigh_strangers(member, scores[at], improve=improve)
        self._weigh_cycles()
        return changed

    def _weigh_cycles(self) -> None:
        """Add up the odds of exchanges among three: by way of a rival that is itself in doubt."""
        direct = {member: member.doubt for member in self.members}
        for (one, other), odds in self.odds.items():
            one.doubt += odds * min(max(direct[other] - odds, 0.0), _ENOUGH_DOUBT)
            other.doubt += odds * min(max(direct[one] - odds, 0.0), _ENOUGH_DOUBT)

    def _own(self) -> None:
        for columns in self._columns.values():
            for column in columns:
                column.owner = None
        for member in self.members:
            for place, column in member.edges.items():
                give(member, place, column)
            for column, place in member.retries:
                column.owner, column.place = member, place

    def _weigh_strangers(self, member: Member, here: float, *, improve: bool) -> bool:
        """Weigh what a lookup could have instead without a rival's loss.

        Returns:
            Whether it was likelier, and is now so.
        """
        for edges, gain in self._without_rivals(member):
            there = self._likelihood.of(member, edges) + gain
            loses = len(edges) < len(member.edges)  # which is doubted, but not done
            if improve and not loses and there > here + _LIKELIER:
                for column in member.edges.values():
                    column.owner = None
                member.edges = edges
                for place, column in edges.items():
                    give(member, place, column)
                return True
            member.doubt += exp(min(there - here, _MAX_EXPONENT))
        return False

    def _without_rivals(self, member: Member) -> Iterator[tuple[dict[Place, Column], float]]:
        """Go through what could be instead: a query is a stranger's, or a spare one its own.

        Each with what it gains where strangers are concerned: a log-likelihood.
        """
        fit, missed = self._likelihood.fit, self._likelihood.missed
        for place, column in member.edges.items():
            slot = column.trace.slot
            assert slot is not None
            ready_ns = ready_at(member, place)
            here = fit(member, place, column, ready_ns)
            # What is far less likely already by its own gap is not worked out in full.
            if missed + self._strangers[slot] - here > _NEGLIGIBLE:
                without = dict(member.edges)
                del without[place]
                yield without, self._strangers[slot]
            for spare in self._near(slot, column):
                if (
                    spare.owner is None
                    and fit(member, place, spare, ready_ns) - here > _NEGLIGIBLE
                    and suits(member, spare)
                ):
                    yield {**member.edges, place: spare}, 0.0
        for place, near in self._holes(member):
            for spare in near:
                if spare.owner is None and suits(member, spare):
                    slot = spare.trace.slot
                    assert slot is not None
                    yield {**member.edges, place: spare}, -self._strangers[slot]

    def _near(self, slot: Slot, column: Column) -> Sequence[Column]:
        columns = self._columns[slot]
        at = bisect_left(columns, column.start_ns, key=_column_start)
        return columns[max(at - _SPARES, 0) : at + _SPARES + 1]


class _Row(NamedTuple):
    """A lookup's query in one slot: when it was, or would have been."""

    start_ns: int
    ready_ns: int | None
    number: int
    there: bool


def _row_start(row: _Row) -> tuple[int, int]:
    return row.start_ns, row.number


def _close(one: _Row, other: _Row, gap: Gap) -> bool:
    """Whether two lookups' queries in one slot may be exchanged, by their own gaps."""
    if not one.there or not other.there or one.ready_ns is None or other.ready_ns is None:
        return one.there or other.there
    exchanged = gap.log_late(other.start_ns - one.ready_ns) + gap.log_late(
        one.start_ns - other.ready_ns
    )
    found = gap.log_late(one.start_ns - one.ready_ns) + gap.log_late(
        other.start_ns - other.ready_ns
    )
    return exchanged - found > _NEGLIGIBLE


def _column_start(column: Column) -> int:
    return column.start_ns


def _row_order(row: tuple[int | None, Member, Place]) -> tuple[int, int, bytes, bytes]:
    ready_ns, member, (candidate, _) = row
    span = member.waiting.lookup.span
    at_ns = member.start_ns + candidate * 500_000 if ready_ns is None else ready_ns
    return at_ns, member.start_ns, span.trace_id, span.span_id
