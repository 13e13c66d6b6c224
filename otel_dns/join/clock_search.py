"""Which offset two clocks most likely have, when nothing is known of them yet.

Of all differences between a lookup's start and the server traces of its first question, the true
ones gather in one place and the others lie anywhere. So every place is weighed as a hypothesis: a
lookup that has a difference there speaks for it, the more the fewer others it has; one that has
none speaks against it a little, for its own server trace may be lost or not sampled. Clocks that
agree are likelier to begin with than any other place, as nearly all machines are synchronised. The
likeliest place counts only if it leaves every other one far behind: lookups that come as regularly
as a clock have several such places, and then nobody can know.
"""

from collections.abc import Collection, Sequence
from math import log
from typing import Final, NamedTuple

REACH_NS: Final = 500_000_000
"""Clocks further apart than this are not found."""
FIRST_GAP_NS: Final = 200_000
"""What lies between a lookup's start and its first query at the server: half a round trip, and the
stub's own time. It is the median of what was measured, and part of every offset."""
EARLY_NS: Final = 1_000_000
LATE_NS: Final = 4_000_000
"""A first query that comes so much before or after it is expected may be on time by clocks that
agree: a busy machine makes it late, and what comes early is within what the join tolerates."""
_ENOUGH: Final = 6
_ENOUGH_NEAR: Final = 32
"""Lookups that have to speak for clocks that do not agree; of which that may be doubted."""
_WIDTHS_NS: Final = (600_000, 4_000_000)
"""How far apart the true differences lie: when all is quiet, and on a machine that has too much to
do or whose clock drifts."""
_SEEN: Final = 0.2
"""Share of the lookups whose first query the server tells of; with more, a miss would say more."""
_AGREEING: Final = 0.9
_FAR_BEHIND: Final = 5.0
"""In nats: 150 times less likely."""
_LASTING: Final = 0.8
"""Share of the lookups that have to speak for a place that a busy machine could explain too."""


class Found(NamedTuple):
    """The likeliest offset."""

    offset_ns: int
    """To be added to the server's times; 0 where the clocks agree."""
    share: float
    """Share of the lookups that speak for it."""


class _Place(NamedTuple):
    score: float
    offset_ns: int
    lookups: int


def search(lookups: Sequence[Collection[int]], *, lasting: bool = True) -> Found | None:
    """Find the offset of a server's clock.

    Args:
        lookups: of each lookup the differences between its start and server traces of its first
            question, in nanoseconds, none further than :data:`REACH_NS`.
        lasting: whether they span so much time that queries would not be late all along because
            the client or the server has too much to do: such a jam soon ends, a clock stays wrong.

    Returns:
        Nothing where no place stands out.
    """
    prior = log((1 - _AGREEING) * _WIDTHS_NS[0] / (2 * REACH_NS))
    places = [
        one._replace(score=one.score + prior)
        for width_ns in _WIDTHS_NS
        for one in _places(lookups, width_ns)
    ]
    agreeing = _agreeing(lookups, places, log(_AGREEING) - prior)
    nowhere = _Place(log(1 - _AGREEING), 0, 0)
    best = max(places, default=nowhere)
    if within(best.offset_ns):
        lasts = best.lookups >= max(_ENOUGH_NEAR, _LASTING * len(lookups))
        clear = best.score - agreeing.score >= _FAR_BEHIND and abs(best.offset_ns) >= EARLY_NS
        best = best if lasts and clear else agreeing
    elif best.lookups < _ENOUGH or (best.offset_ns < 0 and not lasting):
        return None
    rivals = [one.score for one in places if abs(one.offset_ns - best.offset_ns) > LATE_NS]
    if not within(best.offset_ns):
        rivals.append(agreeing.score)
    if best.score - max([*rivals, nowhere.score]) < _FAR_BEHIND:
        return None
    return Found(best.offset_ns, best.lookups / len(lookups))


def within(offset_ns: int) -> bool:
    """Whether an offset may be none at all: the queries are late, or early by next to nothing."""
    return -LATE_NS <= offset_ns <= EARLY_NS


def _agreeing(
    lookups: Sequence[Collection[int]], places: Sequence[_Place], likelier: float
) -> _Place:
    """Weigh that the clocks agree: all on time, or all in a place that is none's but theirs."""
    share = (EARLY_NS + LATE_NS) / (2 * REACH_NS)
    score, number = log(_AGREEING), 0
    for some in lookups:
        if any(within(difference + FIRST_GAP_NS) for difference in some):
            score += _weight(len(some), share)
            number += 1
        else:
            score += log(1 - _SEEN)
    gathered = max((one for one in places if abs(one.offset_ns) <= EARLY_NS), default=None)
    if gathered is not None and gathered.score + likelier > score:
        return _Place(gathered.score + likelier, 0, gathered.lookups)
    return _Place(score, 0, number)


def _places(lookups: Sequence[Collection[int]], width_ns: int) -> list[_Place]:
    """Weigh the places of one width: one for every difference that is the last of its place."""
    share = width_ns / (2 * REACH_NS)
    gains = [_weight(len(some), share) - log(1 - _SEEN) for some in lookups]
    every = sorted((one, number) for number, some in enumerate(lookups) for one in some)
    held: dict[int, int] = {}
    score, low = len(lookups) * log(1 - _SEEN), 0
    found = []
    for high, (difference, number) in enumerate(every):
        held[number] = held.get(number, 0) + 1
        if held[number] == 1:
            score += gains[number]
        while difference - every[low][0] > width_ns:
            leaving = every[low][1]
            low += 1
            held[leaving] -= 1
            if not held[leaving]:
                del held[leaving]
                score -= gains[leaving]
        found.append(_Place(score, every[(low + high) // 2][0] + FIRST_GAP_NS, len(held)))
    return found


def _weight(differences: int, share: float) -> float:
    return log(1 - _SEEN + _SEEN / (max(differences, 1) * share))
