"""One server's clock against those of the clients on one node, followed through time.

The offset is a line of straight pieces. Its first piece is found by a search over all differences
(:mod:`otel_dns.join.clocks.search`), and followed by what the first server traces of the next
lookups show. Page's test watches it: when first server traces stay away that should be there, the
track is lost from the first one on, and what lies after it is in doubt until a search finds the
clock again. Exact pairs bound the offset as NTP does, and need no such guesses.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import inf, log
from typing import Final, NamedTuple

from otel_dns.join.clocks.search import EARLY_NS, FIRST_GAP_NS, LATE_NS, MAX_RATE, Sight, search

_LOST: Final = 12.0
"""In nats: so much likelier is it that the clock is elsewhere than that all these are missing."""
_FADE: Final = 1 / 64
_CHANCE: Final = 0.02
_SAMPLES: Final = 8
_FOLLOW_NS: Final = 150_000
_JUMP_NS: Final = 500_000
_PERSISTENT: Final = 24
"""A longer move than that is believed only of so many lookups: a busy machine makes all late."""
_RATE_OVER_NS: Final = 2_000_000_000
_STRAIGHT_NS: Final = 10_000_000_000
"""So long a drift is thought to go on when nothing shows it."""
_SEARCHED: Final = 64
_LONG_NS: Final = 5_000_000_000
"""Over more time than this a clock may drift too far to be found in one place."""
_FEW: Final = 16
_MAX_DIFFERENCES: Final = 64
_PIECES: Final = 64
_BOUNDS: Final = 8
_ENOUGH_BOUNDS: Final = 3
_EXACT_NS: Final = 60_000_000_000
"""So long exact pairs are all that the offset is taken of."""


class Piece(NamedTuple):
    """From when on the offset is what; times are by the clients' clock."""

    since_ns: float
    known: bool
    at_ns: int
    offset_ns: int
    """To be added to the server's times, at ``at_ns``."""
    rate: float = 0.0
    """Nanoseconds that it grows by in one."""

    def at(self, time_ns: int) -> int:
        """Return the offset at a time."""
        if not self.rate:
            return self.offset_ns
        after_ns = min(max(time_ns - self.at_ns, -_STRAIGHT_NS), _STRAIGHT_NS)
        return self.offset_ns + int(self.rate * after_ns)


class _Bounds(NamedTuple):
    at_ns: int
    low_ns: int
    high_ns: int


class Clock:
    """What is known of one server's clock."""

    __slots__ = (
        "_bounds",
        "_chance",
        "_exact_ns",
        "_jumping",
        "_matched_ns",
        "_news",
        "_one_of",
        "_pending",
        "_sampled_ns",
        "_samples",
        "_seen",
        "_straight_ns",
        "_suspicion",
        "_until_held",
        "_until_ns",
        "known",
        "pieces",
    )

    def __init__(self) -> None:
        self.known = False
        self.pieces: deque[Piece] = deque([Piece(-inf, known=False, at_ns=0, offset_ns=0)], _PIECES)
        self._bounds: deque[_Bounds] = deque(maxlen=_BOUNDS)
        self._pending: list[Sight] = []
        """Lookups that the offset does not explain. Of more than are searched one of so many is
        held, so that they span all of the time."""
        self._one_of = 1
        self._until_held = 1
        self._news = 0
        self._samples: deque[int] = deque(maxlen=_SAMPLES)
        self._sampled_ns: deque[int] = deque(maxlen=_SAMPLES)
        self._jumping = 0
        self._straight_ns: float = inf
        self._seen = 0.9
        self._chance = _CHANCE
        self._suspicion = 0.0
        self._matched_ns: float = -inf
        self._until_ns: float = -inf
        self._exact_ns: float = -inf

    # -- what is known -------------------------------------------------------------------------

    def at(self, server_ns: int) -> tuple[int, bool]:
        """Return the offset at a time by the server's clock, and whether it is known."""
        last = self.pieces[-1]
        if len(self.pieces) == 1 and not last.rate:
            return last.offset_ns, last.known
        for piece in reversed(self.pieces):
            offset_ns = piece.at(server_ns + piece.offset_ns)
            if server_ns + offset_ns >= piece.since_ns:
                return offset_ns, piece.known
        piece = self.pieces[0]
        return piece.offset_ns, piece.known

    def in_doubt(self, start_ns: int, end_ns: int, *, explained: bool) -> bool:
        """Whether a lookup ran while the offset was not known.

        Args:
            start_ns: when it started.
            end_ns: when it ended.
            explained: its first query is where it should be: then it is in doubt only if the track
                was lost while it ran, for it may have gone to another server.
        """
        if not self._suspicion and len(self.pieces) == 1 and self.known:
            return False
        if self._suspicion and self._pending:
            since_ns = self._pending[0].start_ns
            if end_ns >= since_ns and (not explained or start_ns <= since_ns):
                return True
        until_ns = inf
        for piece in reversed(self.pieces):
            if until_ns < start_ns:
                break
            overlaps = not piece.known and piece.since_ns <= end_ns
            if overlaps and (not explained or piece.since_ns >= start_ns):
                return True
            until_ns = piece.since_ns
        return False

    # -- following -----------------------------------------------------------------------------

    def late_ns(self, start_ns: int, difference_ns: int) -> int:
        """Return how late the query came that was so far from the start of its lookup."""
        return self.pieces[-1].at(start_ns) - difference_ns - FIRST_GAP_NS

    def matched(self, start_ns: int, difference_ns: int, *, chance: bool) -> bool:
        """Take note of a lookup whose first query is where it should be.

        Args:
            start_ns: the lookup's start.
            difference_ns: between it and the server trace.
            chance: whether there was another where none should have been.

        Returns:
            Whether the offset has changed.
        """
        if start_ns <= self._until_ns:
            return False
        self._until_ns = self._matched_ns = start_ns
        self._chance += (chance - self._chance) * _FADE
        if self._suspicion:
            seen, by_chance = self._shares()
            self._suspicion = max(self._suspicion - log(seen / by_chance), 0.0)
        self._seen += (1 - self._seen) * _FADE
        if self._pending and not self._suspicion:
            self._let_go()
        return self._follow(start_ns, difference_ns + FIRST_GAP_NS)

    def missed(self, start_ns: int, differences: Sequence[int], *, chance: bool) -> bool:
        """Take note of a lookup that the offset does not explain.

        Returns:
            Whether the offset has changed.
        """
        if start_ns <= self._until_ns:
            return False
        self._until_ns = start_ns
        self._hold(start_ns, differences)
        if self.known:
            self._chance += (chance - self._chance) * _FADE
            seen, by_chance = self._shares()
            self._suspicion += log((1 - by_chance) / (1 - seen))
            self._seen -= self._seen * _FADE
            if self._suspicion < _LOST:
                return False
            self._lose()
        if start_ns - self._pending[0].start_ns <= _LONG_NS or len(self._pending) < _FEW:
            return False
        if self.search():
            return True
        if not self.known:
            del self._pending[: len(self._pending) // 2]
            self._one_of = self._until_held = 1
        return False

    def search(self) -> bool:
        """Look for a clock that is not known.

        Returns:
            Whether the offset has changed.
        """
        changed = False
        while not self.known and self._news * 4 >= len(self._pending) > 0:
            self._news = 0
            found = search(self._pending)
            if found is None:
                break
            self._seen = found.share
            changed |= self._find(Piece(0, True, found.at_ns, found.offset_ns, found.rate))
        return changed

    def _hold(self, start_ns: int, differences: Sequence[int]) -> None:
        self._until_held -= 1
        if self._until_held:
            return
        if len(differences) > _MAX_DIFFERENCES:
            differences = sorted(differences, key=abs)[:_MAX_DIFFERENCES]
        self._pending.append(Sight(start_ns, differences))
        self._news += 1
        if len(self._pending) > _SEARCHED:
            del self._pending[1::2]
            self._one_of *= 2
        self._until_held = self._one_of

    def _let_go(self) -> None:
        self._pending.clear()
        self._one_of = self._until_held = 1
        self._news = 0

    def _shares(self) -> tuple[float, float]:
        """How often a first query is there when the offset is right, and when it is not."""
        by_chance = min(max(self._chance, _CHANCE), 0.9)
        return min(max(self._seen, by_chance + 0.05), 0.97), by_chance

    def _lose(self) -> None:
        self.known = False
        self._suspicion = 0.0
        self._forget_samples()
        self._add(self.pieces[-1]._replace(since_ns=self._matched_ns, known=False))

    def _find(self, piece: Piece) -> bool:
        before, pending = self.pieces[-1], list(self._pending)
        explained = [_explained(piece, sight) for sight in pending]
        first = next((at for at, one in enumerate(explained) if one is not None), 0)
        first_ns = pending[first].start_ns
        self._let_go()
        self.known = True
        self._forget_samples()
        self._jumping = 0
        self._straight_ns = first_ns
        if before.since_ns == -inf:
            self.pieces[-1] = piece._replace(since_ns=-inf)
        elif abs(piece.at(first_ns) - before.at(first_ns)) <= EARLY_NS:  # it was there all the time
            self.pieces[-1] = piece._replace(since_ns=before.since_ns)
        else:
            self._add(piece._replace(since_ns=first_ns))
        changed = bool(piece.offset_ns or piece.rate or before.offset_ns or before.rate)
        self._until_ns = self._matched_ns = first_ns - 1
        for sight in pending[first:]:
            difference_ns = _explained(self.pieces[-1], sight) if self.known else None
            if difference_ns is None:
                changed |= self.missed(sight.start_ns, sight.differences, chance=False)
            else:
                changed |= self.matched(sight.start_ns, difference_ns, chance=False)
        return changed

    def _follow(self, start_ns: int, offset_ns: int) -> bool:
        """Take one lookup's own sight of the offset in."""
        if start_ns - self._exact_ns < _EXACT_NS:
            return False
        samples, piece = self._samples, self.pieces[-1]
        samples.append(offset_ns - piece.at(start_ns))
        self._sampled_ns.append(start_ns)
        if len(samples) < _SAMPLES:
            return False
        # What comes early says more than what comes late: only the way out can have been quick.
        off_ns = sorted(samples)[_SAMPLES * 3 // 4 - 1]
        agrees = not piece.offset_ns and not piece.rate
        if abs(off_ns) <= (EARLY_NS if agrees else _FOLLOW_NS):
            self._jumping = 0
            return False
        self._jumping += 1
        jumps = abs(off_ns) > _JUMP_NS
        if jumps and self._jumping < _PERSISTENT:
            return False
        self._jumping = 0
        at_ns = self._sampled_ns[_SAMPLES // 2]
        there = piece.at(at_ns) + off_ns
        if jumps:
            self._straight_ns = at_ns
        rate = self._rate(at_ns, there)
        if not rate and abs(there) < EARLY_NS // 2:
            there = 0
        self._forget_samples()
        self._add(Piece(at_ns, True, at_ns, there, rate))
        return True

    def _forget_samples(self) -> None:
        self._samples.clear()
        self._sampled_ns.clear()

    def _rate(self, at_ns: int, offset_ns: int) -> float:
        """How fast the offset grows, by where it was two seconds ago or more."""
        for piece in reversed(self.pieces):
            if not piece.known or piece.at_ns < self._straight_ns:
                break
            if at_ns - piece.at_ns >= _RATE_OVER_NS:
                rate = (offset_ns - piece.offset_ns) / (at_ns - piece.at_ns)
                return min(max(rate, -MAX_RATE), MAX_RATE)
        return self.pieces[-1].rate

    def _add(self, piece: Piece) -> None:
        while len(self.pieces) > 1 and self.pieces[-1].since_ns >= piece.since_ns:
            self.pieces.pop()
        if self.pieces[-1].since_ns >= piece.since_ns:
            self.pieces[-1] = piece
        else:
            self.pieces.append(piece)

    # -- exact pairs ---------------------------------------------------------------------------

    def bound(self, at_ns: int, low_ns: int, high_ns: int) -> bool:
        """Take note of an exact pair: the offset's bounds.

        Returns:
            Whether the offset has changed.
        """
        if self._bounds and at_ns < self._bounds[-1].at_ns:
            return False
        self._bounds.append(_Bounds(at_ns, low_ns, high_ns))
        agreed = _agreed(self._bounds)
        if len(agreed) < _ENOUGH_BOUNDS:
            return False
        self._exact_ns = at_ns
        low_ns, high_ns = max(one.low_ns for one in agreed), min(one.high_ns for one in agreed)
        before = self.pieces[-1]
        offset_ns = before.at(at_ns)
        if self.known and low_ns <= offset_ns <= high_ns:
            return False
        if not low_ns <= offset_ns <= high_ns:
            offset_ns = 0 if low_ns <= 0 <= high_ns else (low_ns + high_ns) // 2
        self.known = True
        self._suspicion = 0.0
        self._let_go()
        self._forget_samples()
        self._matched_ns = self._straight_ns = at_ns
        piece = Piece(agreed[-1].at_ns, True, at_ns, offset_ns)
        if before.since_ns == -inf and not before.known:
            self.pieces[-1] = piece._replace(since_ns=-inf)
        else:
            self._add(piece)
        return offset_ns != before.offset_ns


def _explained(piece: Piece, sight: Sight) -> int | None:
    """Return which difference of a lookup is on time; nothing if none is."""
    expected_ns = piece.at(sight.start_ns) - FIRST_GAP_NS
    nearest = min(sight.differences, key=lambda one: abs(expected_ns - one), default=None)
    if nearest is not None and -EARLY_NS <= expected_ns - nearest <= LATE_NS:
        return nearest
    return None


def _agreed(bounds: Iterable[_Bounds]) -> list[_Bounds]:
    """Return the latest bounds that agree, the latest first."""
    low_ns, high_ns = -inf, inf
    found: list[_Bounds] = []
    for one in reversed(list(bounds)):
        low_ns, high_ns = max(low_ns, one.low_ns), min(high_ns, one.high_ns)
        if low_ns > high_ns:
            break
        found.append(one)
    return found
