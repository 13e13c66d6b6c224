"""Lookups that waited for a timeout: what each has is found anew, with the queries it sent again.

Slot by slot one sees no query that was sent again; so the queries of several lookups that timed out
may be given round in a ring, and no exchange of two makes that good. Here one lookup is given the
likeliest of all the ways through the server traces that it may have caused, from its start to its
end; those who had these are then given theirs anew, without them. It is done if all of them
together are likelier so.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from otel_dns.join.by_time.likelihood import UNEXPECTED, UNKNOWN, Likelihood
from otel_dns.join.by_time.member import Column, Member, Place, give, suits, take
from otel_dns.join.by_time.timing import TIMEOUT_STEP_NS

ODD: Final = 10.0
"""From this :meth:`Likelihood.oddity` on a lookup is found anew."""
_VICTIM: Final = 1.0
"""From this on it may lose what it has to another."""
_RING: Final = 8
"""Lookups that are found anew together, at most."""
_MAX_COLUMNS: Final = 160
_STEPS: Final = 1_000_000
"""Steps from one server trace to another that are weighed in a knot. Where many lookups of the same
wait together, as while an upstream does not answer, all would take seconds."""
_KEPT: Final = 3
_LIKELIER: Final = 1.0
_PRICE: Final = 13.0
"""What a server trace is worth that another has, in nats: about what it is to that one. What none
has is worth what it costs to leave it to a stranger."""
_AGAIN_NS: Final = TIMEOUT_STEP_NS - 20_000_000

Columns = Callable[[Member, Place], Sequence[Column]]
"""The server traces of a lookup's place, in order of start."""


class _Way(NamedTuple):
    """A way through server traces, up to one of them."""

    score: float
    candidate: int
    present: int
    """Types of the candidate that were asked for, as bits."""
    asked: int
    """Those since the last timeout."""
    sent_ns: int
    """When the first of these was."""
    ready_ns: int
    """When the last answer was out."""
    found: bool
    column: Column | None = None
    place: Place = (0, 0)
    before: "_Way | None" = None


class Rebuild:
    """Finds lookups of a knot anew."""

    def __init__(
        self, likelihood: Likelihood, columns: Columns, stranger: Callable[[Column], float]
    ) -> None:
        """Make one.

        Args:
            likelihood: what is known of gaps.
            columns: the server traces of a lookup's place.
            stranger: the log density of strangers' queries like this one.
        """
        self._likelihood = likelihood
        self._columns = columns
        self._stranger = stranger
        self._steps = _STEPS

    def all(self, members: Iterable[Member]) -> bool:
        """Find those anew whose gaps are odd, the oddest first.

        Returns:
            Whether any has changed.
        """
        oddity = {member: self._likelihood.oddity(member) for member in members}
        loose = {member for member, odd in oddity.items() if odd >= _VICTIM}
        long = [member for member in oddity if _is_long(member)]
        long.sort(key=lambda one: (-oddity[one], one.start_ns, one.waiting.identity))
        changed = False
        for member in long:
            if self._steps <= 0:
                break
            if self._likelihood.oddity(member) >= ODD or any(
                column.owner is None for column, _ in self._reachable(member, loose, set())
            ):
                changed |= self._one(member, loose)
        return changed

    def _one(self, member: Member, loose: set[Member]) -> bool:
        """Find one anew, and those from whom it takes something."""
        found: dict[Member, list[tuple[Column, Place]]] = {}
        locked: set[int] = set()
        gain = 0.0
        queue = [member]
        while queue:
            one = queue.pop(0)
            if one in found:
                continue
            if len(found) == _RING:
                return False
            mine = self._reachable(one, loose, locked)
            if len(mine) > _MAX_COLUMNS:
                return False
            way = self._best(one, mine)
            gain += self._score(one, way) - self._score(one, _held(one))
            found[one] = way
            for column, _ in way:
                locked.add(id(column))
                if column.owner is not None and column.owner not in found:
                    queue.append(column.owner)
        if gain < _LIKELIER:
            return False
        for one in found:
            for column, _ in _held(one):
                column.owner = None
        for one, way in found.items():
            one.edges, one.retries = {}, []
            for column, place in way:
                if place in one.edges:
                    take(one, place, column)
                else:
                    give(one, place, column)
        return True

    def _reachable(
        self, member: Member, loose: set[Member], locked: set[int]
    ) -> list[tuple[Column, Place]]:
        mine = []
        for candidate in range(len(member.waiting.lookup.candidates)):
            for place in member.places(candidate):
                columns = self._columns(member, place)
                first = bisect_left(columns, member.from_ns, key=_start)
                last = bisect_right(columns, member.until_ns, key=_start)
                for column in columns[first:last]:
                    owner = column.owner
                    if (
                        id(column) not in locked
                        and (owner is None or owner is member or owner in loose)
                        and suits(member, column)
                    ):
                        mine.append((column, place))
        mine.sort(key=_order)
        return mine

    def _best(
        self, member: Member, mine: Sequence[tuple[Column, Place]]
    ) -> list[tuple[Column, Place]]:
        """Find the likeliest way from a lookup's start to its end."""
        ways = [_begin(member)]
        best, last = self._end(member, ways[0]), ways[0]
        for column, place in mine:
            worth = -self._stranger(column) if column.owner is None else _PRICE
            self._steps -= len(ways)
            here = [
                way for before in ways if (way := self._step(member, before, column, place, worth))
            ]
            here.sort(key=lambda way: -way.score)
            ways += here[:_KEPT]
            for way in here[:_KEPT]:
                score = self._end(member, way)
                if score > best:
                    best, last = score, way
        found: list[tuple[Column, Place]] = []
        while last.before is not None and last.column is not None:
            found.append((last.column, last.place))
            last = last.before
        found.reverse()
        return found

    def _score(self, member: Member, held: Iterable[tuple[Column, Place]]) -> float:
        """Return how likely a lookup has these, beside that they are strangers'."""
        way = _begin(member)
        for column, place in sorted(held, key=_order):
            worth = -self._stranger(column)
            after = self._step(member, way, column, place, worth)
            if after is None:  # out of order
                after = way._replace(score=way.score + UNKNOWN + UNEXPECTED + worth)
            way = after
        return self._end(member, way)

    def _step(
        self, member: Member, way: _Way, column: Column, place: Place, worth: float
    ) -> _Way | None:
        """Go on to a server trace; nothing where no stub resolver does."""
        candidate, kind = place
        timing, bit = self._likelihood.timing, 1 << kind
        start_ns, score = column.start_ns, way.score
        since_ns = start_ns - way.sent_ns
        after_ns = start_ns - way.ready_ns
        if candidate < way.candidate:
            return None
        present = asked = bit
        sent_ns, ready_ns, found = start_ns, column.answer_ns, column.found
        if candidate == way.candidate:
            present |= way.present
            found = found or way.found
            if since_ns > _AGAIN_NS:
                score += max(timing.first.log_late(since_ns), timing.next.log_late(after_ns))
            elif way.asked & bit:
                return None
            else:
                asked |= way.asked
                score += max(
                    timing.pair.log(since_ns if kind else -since_ns),
                    timing.next.log(after_ns) - 3,
                )
                sent_ns, ready_ns = way.sent_ns, max(ready_ns, way.ready_ns)
        else:
            if way.found:
                score += UNEXPECTED
            score += self._missing(member, way, candidate)
            if candidate == way.candidate + 1:
                gap = timing.next if candidate else timing.first
                score += gap.log_late(after_ns)
            else:
                score += min(UNKNOWN, timing.next.log_late(after_ns))
        score += self._likelihood.seen + worth
        return _Way(score, candidate, present, asked, sent_ns, ready_ns, found, column, place, way)

    def _missing(self, member: Member, way: _Way, until: int) -> float:
        """What it costs that there is nothing of some queries before a candidate."""
        kinds = len(member.waiting.lookup.types)
        number = kinds * (until - way.candidate - 1)
        if way.candidate >= 0:
            number += kinds - way.present.bit_count()
        return number * self._likelihood.missed

    def _end(self, member: Member, way: _Way) -> float:
        last = len(member.waiting.lookup.candidates) - 1
        if way.candidate < 0 or not (way.found or way.candidate == last):
            return way.score + self._missing(member, way, way.candidate + 2) + UNKNOWN
        score = way.score + self._missing(member, way, way.candidate + 1)
        return score + self._likelihood.timing.end.log_late(member.end_ns - way.ready_ns)


def _begin(member: Member) -> _Way:
    return _Way(0.0, -1, 0, 0, member.start_ns, member.start_ns, False)


def _is_long(member: Member) -> bool:
    return member.end_ns - member.start_ns > TIMEOUT_STEP_NS


def _held(member: Member) -> list[tuple[Column, Place]]:
    return [(column, place) for place, column in member.edges.items()] + member.retries


def _order(pair: tuple[Column, Place]) -> tuple[int, Place]:
    return pair[0].start_ns, pair[1]


def _start(column: Column) -> int:
    return column.start_ns
