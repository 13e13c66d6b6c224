"""Which offset two clocks most likely have, when nothing is known of them yet.

Of all differences between a lookup's start and the server traces of its first question, the true
ones gather in one place and the others lie anywhere. So every place is weighed as a hypothesis: a
lookup that has a difference there speaks for it, the more the fewer others it has; one that has
none speaks against it a little, for its own server trace may be lost or not sampled. Places may
drift, as clocks that are being set right do. Clocks that agree are likelier to begin with than any
other place, as nearly all machines are synchronised. The likeliest place counts only if it leaves
every other one far behind: lookups that come as regularly as a clock have several such places, and
then nobody can know.
"""

from collections.abc import Sequence
from itertools import chain
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
MAX_RATE: Final = 500e-6
"""Clocks that NTP sets right by slewing gain or lose as much (adjtimex(2), RFC 5905)."""
_RATES: Final = (125e-6, -125e-6, 250e-6, -250e-6, 375e-6, -375e-6, MAX_RATE, -MAX_RATE)
_DRIFTS_AFTER_NS: Final = 1_000_000_000
"""In less time than this no drift is to be seen."""
_JAM_NS: Final = 1_000_000_000
"""Queries that are late for so long are not late because client or server had too much to do."""
_ENOUGH: Final = 6
_ENOUGH_NEAR: Final = 32
"""Lookups that have to speak for clocks that do not agree; of which that may be doubted."""
_WIDTH_NS: Final = 600_000
"""How far apart the true differences lie when all is quiet ..."""
_BUSY_WIDTH_NS: Final = 4_000_000
"""... and on a machine that has too much to do."""
_SEEN: Final = 0.2
"""Share of the lookups whose first query the server tells of; with more, a miss would say more."""
_MISS: Final = log(1 - _SEEN)
_AGREEING: Final = 0.9
_DRIFTING: Final = 0.1
_FAR_BEHIND: Final = 5.0
"""In nats: 150 times less likely."""
_LASTING: Final = 0.8
"""Share of the lookups that have to speak for a place that a busy machine could explain too."""


class Sight(NamedTuple):
    """One lookup."""

    start_ns: int
    differences: Sequence[int]
    """Between its start and server traces of its first question, nanoseconds, none further than
    :data:`REACH_NS`."""


class Found(NamedTuple):
    """The likeliest offset."""

    at_ns: int
    """The time at which it is as given."""
    offset_ns: int
    """To be added to the server's times; 0 where the clocks agree."""
    rate: float
    """Nanoseconds that it grows by in one."""
    share: float
    """Share of the lookups that speak for it."""


class _Place(NamedTuple):
    score: float
    offset_ns: int
    rate: float
    lookups: int

    def at(self, after_ns: int) -> float:
        """The offset so long after the middle of all."""
        return self.offset_ns + self.rate * after_ns


def search(sights: Sequence[Sight]) -> Found | None:
    """Find the offset of a server's clock.

    Args:
        sights: lookups, in order of start.

    Returns:
        Nothing where no place stands out.
    """
    if not sights:
        return None
    middle_ns, span_ns = sights[len(sights) // 2].start_ns, sights[-1].start_ns - sights[0].start_ns
    elsewhere = log((1 - _AGREEING) * _WIDTH_NS / (2 * REACH_NS))
    places = list(_places(sights, middle_ns, _BUSY_WIDTH_NS, 0.0, elsewhere))
    places += _places(sights, middle_ns, _WIDTH_NS, 0.0, elsewhere)
    agreeing = _agreeing(sights, places, log(_AGREEING) - elsewhere)
    if span_ns > _DRIFTS_AFTER_NS:
        drifting = elsewhere + log(_DRIFTING)
        places += chain.from_iterable(
            _places(sights, middle_ns, _WIDTH_NS, rate, drifting) for rate in _RATES
        )
    nowhere = _Place(log(1 - _AGREEING), 0, 0.0, 0)
    best = max(places, default=nowhere)
    if agreeing.score >= best.score:
        best = agreeing
    elif _near(best.offset_ns):
        lasts = best.lookups >= max(_ENOUGH_NEAR, _LASTING * len(sights))
        clear = best.score - agreeing.score >= _FAR_BEHIND
        moves = abs(best.offset_ns) + abs(best.rate) * span_ns / 2 >= EARLY_NS
        best = best if lasts and clear and moves else agreeing
    elif best.lookups < _ENOUGH or (
        best.offset_ns < 0 and _outside_a_jam(sights, best, middle_ns) < _ENOUGH
    ):
        return None
    rivals = [one.score for one in places if abs(one.offset_ns - best.offset_ns) > LATE_NS]
    if not _near(best.offset_ns):
        rivals.append(agreeing.score)
    if best.score - max([*rivals, nowhere.score]) < _FAR_BEHIND:
        return None
    return Found(middle_ns, best.offset_ns, best.rate, best.lookups / len(sights))


def _near(offset_ns: int) -> bool:
    """Whether an offset may be none at all: the queries are late, or early by next to nothing."""
    return -LATE_NS <= offset_ns <= EARLY_NS


def _outside_a_jam(sights: Sequence[Sight], place: _Place, middle_ns: int) -> int:
    """Count the lookups that speak for a place, without the most that one jam may have delayed."""
    supporters = [
        sight.start_ns
        for sight in sights
        if any(
            abs(difference + FIRST_GAP_NS - place.at(sight.start_ns - middle_ns)) <= LATE_NS
            for difference in sight.differences
        )
    ]
    jammed, low = 0, 0
    for high, start_ns in enumerate(supporters):
        while start_ns - supporters[low] > _JAM_NS:
            low += 1
        jammed = max(jammed, high - low + 1)
    return len(supporters) - jammed


def _agreeing(sights: Sequence[Sight], places: Sequence[_Place], likelier: float) -> _Place:
    """Weigh that the clocks agree: all on time, or all in a place that is none's but theirs."""
    share = (EARLY_NS + LATE_NS) / (2 * REACH_NS)
    score, number = log(_AGREEING), 0
    for sight in sights:
        if any(_near(difference + FIRST_GAP_NS) for difference in sight.differences):
            score += _hit(sight, share)
            number += 1
        else:
            score += _MISS
    gathered = max((one for one in places if abs(one.offset_ns) <= EARLY_NS), default=None)
    if gathered is not None and gathered.score + likelier > score:
        score, number = gathered.score + likelier, gathered.lookups
    return _Place(score, 0, 0.0, number)


def _places(
    sights: Sequence[Sight], middle_ns: int, width_ns: int, rate: float, prior: float
) -> list[_Place]:
    """Weigh the places of one width and drift: one for every difference that is its last."""
    gains = [_hit(sight, width_ns / (2 * REACH_NS)) - _MISS for sight in sights]
    every = sorted(
        (difference - int(rate * (sight.start_ns - middle_ns)), number)
        for number, sight in enumerate(sights)
        for difference in sight.differences
    )
    held = [0] * len(sights)
    score, low, lookups = prior + len(sights) * _MISS, 0, 0
    found = []
    for high, (difference, number) in enumerate(every):
        held[number] += 1
        if held[number] == 1:
            score += gains[number]
            lookups += 1
        while difference - every[low][0] > width_ns:
            leaving = every[low][1]
            low += 1
            held[leaving] -= 1
            if not held[leaving]:
                score -= gains[leaving]
                lookups -= 1
        found.append(_Place(score, every[(low + high) // 2][0] + FIRST_GAP_NS, rate, lookups))
    return found


def _hit(sight: Sight, share: float) -> float:
    """How much a lookup speaks for a place where it has a difference."""
    return log(1 - _SEEN + _SEEN / (max(len(sight.differences), 1) * share))
