"""Exchanges between two lookups: what each would have if some of it were the other's."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from otel_dns.join.by_time.member import Column, Member, Place, suits

_LONG_NS: Final = 900_000_000
"""A lookup of this length has nearly always waited for a timeout."""
_APART_NS: Final = 500_000

Edges = dict[Place, Column]
"""What a lookup has."""


def exchanges(one: Member, other: Member) -> Iterator[tuple[Edges, Edges]]:
    """Go through the exchanges between two lookups that could be instead."""
    shared = [
        (place, twin)
        for place in dict.fromkeys((*one.edges, *_twins_of(one, other)))
        if (twin := _twin_of(one, other, place)) is not None
        and (place in one.edges or twin in other.edges)
    ]
    if not shared:
        return
    shared.sort()
    possible = [
        _may_have(one, other.edges.get(twin)) and _may_have(other, one.edges.get(place))
        for place, twin in shared
    ]
    if max(one.end_ns - one.start_ns, other.end_ns - other.start_ns) > _LONG_NS or (
        len(shared) > 1 and _one_by_one(one) and _one_by_one(other)
    ):
        # After a timeout a stub may ask one by one: any stretch may be another's.
        for first in range(len(shared)):
            for last in range(first, len(shared)):
                if not possible[last]:
                    break
                yield _exchanged(one, other, shared[first : last + 1])
        return
    for stretch in _rounds(shared):
        if all(possible[stretch]):
            yield _exchanged(one, other, shared[stretch])


def _rounds(shared: Sequence[tuple[Place, Place]]) -> Iterator[slice]:
    """Go through what may be another's at once: all, a candidate, what is before or after it."""
    size = len(shared)
    yield slice(0, size)
    if size == 1:
        return
    numbers = [place[0] for place, _ in shared]
    for number in dict.fromkeys(numbers):
        first, last = bisect_left(numbers, number), bisect_right(numbers, number)
        if last - first < size:
            yield slice(first, last)
            if first and last < size:
                yield slice(first, size)
                yield slice(0, last)
        if last - first > 1:
            for at in range(first, last):
                yield slice(at, at + 1)


def _may_have(member: Member, column: Column | None) -> bool:
    return column is None or suits(member, column)


def _twin_of(one: Member, other: Member, place: Place) -> Place | None:
    """Return which place of another lookup is in the same slot."""
    mine, yours = one.waiting.lookup, other.waiting.lookup
    if mine.candidates == yours.candidates and mine.types == yours.types:
        return place
    name, type_ = mine.candidates[place[0]], mine.types[place[1]]
    if name not in yours.candidates or type_ not in yours.types or mine.client != yours.client:
        return None
    return yours.candidates.index(name), yours.types.index(type_)


def _twins_of(one: Member, other: Member) -> list[Place]:
    """Return the places of one lookup in whose slots another has a query."""
    return [place for edge in other.edges if (place := _twin_of(other, one, edge)) is not None]


def _exchanged(
    one: Member, other: Member, places: Iterable[tuple[Place, Place]]
) -> tuple[Edges, Edges]:
    """Return what two lookups would have with what they have in some places exchanged."""
    mine, yours = dict(one.edges), dict(other.edges)
    for place, twin in places:
        here, there = mine.pop(place, None), yours.pop(twin, None)
        if there is not None:
            mine[place] = there
        if here is not None:
            yours[twin] = here
    return mine, yours


def _one_by_one(member: Member) -> bool:
    """Whether a lookup asked for a second type only after the answer for the first."""
    edges = member.edges
    return any(
        (other := edges.get((number, 1))) is not None
        and max(one.start_ns, other.start_ns) >= min(one.answer_ns, other.answer_ns)
        and abs(one.start_ns - other.start_ns) > _APART_NS
        for (number, kind), one in edges.items()
        if kind == 0
    )
