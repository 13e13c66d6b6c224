"""Rung ``case``: a query whose name was in the letter case that marks it as one span's.

The C library sends a name in the case in which it gets it, and dnstap shows what was sent
(:mod:`otel_dns.marks`). Every letter halves what can pass for a span's by chance, so from
:data:`MIN_LETTERS` on a match is a claim. Fewer are evidence all the same: what contradicts a
lookup's mark is none of its own (:meth:`otel_dns.join.waiting.WaitingLookup.excludes`).
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from otel_dns import semconv
from otel_dns.join.waiting import Claim, Slots, WaitingLookup, WaitingTrace
from otel_dns.marks import begins, letters
from otel_dns.model import ClientQuery

MIN_LETTERS: Final = 10
"""So many make a chance match one in a thousand."""
_REACH_NS: Final = 5_000_000_000
"""How far outside its lookup's time a query may seem to be: clocks differ."""

_Key = tuple[str, str, str]
"""Client address, type, and the marked name or beginning of a name."""


class _Mark(NamedTuple):
    """What was marked."""

    owner: WaitingLookup
    query: ClientQuery | None
    """The client's own sight of the query, if that was what was marked."""

    def asks(self, trace: WaitingTrace) -> bool:
        """Whether a query in this letter case is one that this lookup makes."""
        header = trace.header
        assert header is not None
        if self.query is not None:
            return self.query.name == header.name
        return (header.client, header.name, header.type) in self.owner.candidates

    def apart_ns(self, at_ns: int, tolerance_ns: int) -> int:
        """How far a moment is outside its time; zero within the clocks' tolerance."""
        one = self.query or self.owner.lookup
        apart_ns = max(one.start_ns - at_ns, at_ns - one.end_ns)
        return apart_ns if apart_ns > tolerance_ns else 0


class ByCase:
    """Claims by letter case."""

    def __init__(self, slots: Slots, tolerance_ns: int) -> None:
        self._slots = slots
        self._tolerance_ns = tolerance_ns
        self._marks: dict[_Key, list[_Mark]] = {}

    def __len__(self) -> int:
        return len(self._marks)

    def add_lookup(self, waiting: WaitingLookup) -> None:
        """Take in a lookup, whose name may be marked."""
        marked = waiting.lookup.marked
        if letters(marked) < MIN_LETTERS:
            return
        for type_ in waiting.lookup.types:
            self._add((waiting.lookup.client, type_, marked), _Mark(waiting, None))
        for slot in self._slots.of(waiting):
            for trace in [one for one in slot.traces if begins(_asked(one), marked)]:
                self.judge(trace)

    def add_query(self, waiting: WaitingLookup, query: ClientQuery) -> None:
        """Take in a query, whose name may be marked."""
        if letters(query.marked) < MIN_LETTERS:
            return
        client = query.client or waiting.lookup.client
        self._add((client, query.type, query.marked), _Mark(waiting, query))
        slot = self._slots.get((client, query.name, query.type))
        if slot is not None:
            for trace in [one for one in slot.traces if begins(_asked(one), query.marked)]:
                self.judge(trace)

    def _add(self, key: _Key, mark: _Mark) -> None:
        alike = self._marks.setdefault(key, [])
        alike.append(mark)
        for other in alike[:-1]:
            # One in thousands: what looked like the other's may be this one's.
            for trace, claim in list(other.owner.claimed.items()):
                if claim.method == semconv.METHOD_CASE:
                    self.judge(trace)

    def remove_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup leave."""
        if not self._marks:
            return
        lookup = waiting.lookup
        keys = {(lookup.client, type_, lookup.marked) for type_ in lookup.types}
        keys |= {
            (one.client or lookup.client, one.type, one.marked) for one in waiting.queries.values()
        }
        for key in keys:
            left = [one for one in self._marks.get(key, ()) if one.owner is not waiting]
            if left:
                self._marks[key] = left
            else:
                self._marks.pop(key, None)

    def judge(self, trace: WaitingTrace) -> None:
        """Let a server trace be claimed by the one whose mark its query carried, if it is one."""
        if not self._marks or (
            trace.claim is not None and trace.claim.method != semconv.METHOD_CASE
        ):
            return
        # What says whose it is by a trace context is not for marks, whoever that may be.
        nearest = [] if trace.carries_context else self._nearest(trace)
        if len(nearest) == 1:
            trace.give(Claim(nearest[0].owner, semconv.METHOD_CASE, nearest[0].query))
            self._slots.remove_trace(trace)
        elif trace.claim is not None:
            trace.give(None)
            self._slots.add_trace(trace)

    def _nearest(self, trace: WaitingTrace) -> list[_Mark]:
        """Find the marks that a query carried, of those whose time it is nearest to."""
        header = trace.header
        if header is None or not header.asked:
            return []
        found: list[_Mark] = []
        nearest_ns = _REACH_NS
        for name in _beginnings(header.asked):
            for mark in self._marks.get((header.client, header.type, name), ()):
                apart_ns = mark.apart_ns(header.root.start_ns, self._tolerance_ns)
                if apart_ns > nearest_ns or not mark.asks(trace):
                    continue
                if apart_ns < nearest_ns:
                    found, nearest_ns = [], apart_ns
                found.append(mark)
        return found

    def confidence(self, trace: WaitingTrace) -> float:
        """How sure a claim is: what passes for a mark by chance could be anybody's who asked then.

        Args:
            trace: a server trace claimed by letter case.
        """
        claim, header = trace.claim, trace.header
        assert claim is not None
        assert header is not None
        mark = _Mark(claim.owner, claim.query)
        slot = self._slots.get((header.client, header.name, header.type))
        at_ns = header.root.start_ns
        reach_ns = max(mark.apart_ns(at_ns, self._tolerance_ns), self._tolerance_ns)
        asking = len(slot.lookups_between(at_ns - reach_ns, at_ns + reach_ns)) if slot else 1
        marked = claim.query.marked if claim.query else claim.owner.lookup.marked
        return max(1.0 - max(asking, 1) / 2.0 ** letters(marked), 0.0)


def _asked(trace: WaitingTrace) -> str:
    """Return the name that a server trace's query had on the wire; empty if nothing tells."""
    header = trace.header
    return header.asked if header is not None else ""


def _beginnings(asked: str) -> Iterator[str]:
    """Yield a name up to the end of each of its labels."""
    end = asked.find(".")
    while end >= 0:
        yield asked[:end]
        end = asked.find(".", end + 1)
    if not asked.endswith("."):
        yield asked
