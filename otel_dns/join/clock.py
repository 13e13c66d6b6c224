"""One server's clock against those of the clients on one node, followed through time.

The offset is a line of steps: each holds from one lookup's start on. It is found by a search over
all differences (:mod:`otel_dns.join.clock_search`), followed by what the first server traces of the
next lookups show, and watched by Page's test: when first server traces stay away that should be
there, the track is lost from the first one on, and what lies after it is in doubt until a search
finds the clock again. Exact pairs bound the offset as NTP does, and need no such guesses.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import inf, log
from typing import Final, NamedTuple

from otel_dns.join.clock_search import EARLY_NS, FIRST_GAP_NS, LATE_NS, search

_LOST: Final = 12.0
"""In nats: so much likelier is it that the clock is elsewhere than that all these are missing."""
_FADE: Final = 1 / 64
_CHANCE: Final = 0.02
_SAMPLES: Final = 8
_FOLLOW_NS: Final = 150_000
_JUMP_NS: Final = 500_000
_PERSISTENT: Final = 24
"""A longer move than that is believed only of so many lookups: a busy machine makes all late."""
_SEARCHED: Final = 64
_JAM_NS: Final = 1_000_000_000
"""Queries that are late for so long are not late because somebody has too much to do."""
_LONG_NS: Final = 5_000_000_000
"""Over more time than this a clock may drift too far to be found in one place."""
_FEW: Final = 16
_MAX_DIFFERENCES: Final = 64
_STEPS: Final = 64
_BOUNDS: Final = 8
_ENOUGH_BOUNDS: Final = 3
_EXACT_NS: Final = 60_000_000_000
"""So long exact pairs are all that the offset is taken of."""


class Step(NamedTuple):
    """From when on the offset is what."""

    since_ns: float
    """By the clients' clock."""
    offset_ns: int
    """To be added to the server's times."""
    known: bool


class _Bounds(NamedTuple):
    at_ns: int
    low_ns: int
    high_ns: int


class Clock:
    """What is known of one server's clock."""

    __slots__ = (
        "_chance",
        "_exact_ns",
        "_jumping",
        "_matched_ns",
        "_news",
        "_one_of",
        "_pending",
        "_samples",
        "_seen",
        "_suspicion",
        "_until_held",
        "_until_ns",
        "bounds",
        "known",
        "steps",
    )

    def __init__(self) -> None:
        self.known = False
        self.steps: deque[Step] = deque([Step(-inf, 0, False)], maxlen=_STEPS)
        self.bounds: deque[_Bounds] = deque(maxlen=_BOUNDS)
        self._pending: list[tuple[int, Sequence[int]]] = []
        """Lookups that the offset does not explain: start, and differences. Of more than are
        searched one of so many is held, so that they span all of the time."""
        self._one_of = 1
        self._until_held = 1
        self._news = False
        self._samples: deque[tuple[int, int]] = deque(maxlen=_SAMPLES)
        self._jumping = 0
        self._seen = 0.9
        self._chance = _CHANCE
        self._suspicion = 0.0
        self._matched_ns: float = -inf
        self._until_ns: float = -inf
        self._exact_ns: float = -inf

    # -- what is known -------------------------------------------------------------------------

    @property
    def offset_ns(self) -> int:
        """The latest offset; 0 before any is known."""
        return self.steps[-1].offset_ns

    def at(self, server_ns: int) -> Step:
        """Return the step that holds for a time by the server's clock."""
        for step in reversed(self.steps):
            if server_ns + step.offset_ns >= step.since_ns:
                return step
        return self.steps[0]

    def in_doubt(self, start_ns: int, end_ns: int, *, explained: bool) -> bool:
        """Whether a lookup ran while the offset was not known.

        Args:
            start_ns: when it started.
            end_ns: when it ended.
            explained: its first query is where it should be: then it is in doubt only if the track
                was lost while it ran, for it may have gone to another server.
        """
        until_ns = inf
        if self._suspicion and self._pending:
            since_ns = self._pending[0][0]
            if end_ns >= since_ns and (not explained or start_ns <= since_ns):
                return True
        for step in reversed(self.steps):
            if until_ns < start_ns:
                break
            overlaps = not step.known and step.since_ns <= end_ns
            if overlaps and (not explained or step.since_ns >= start_ns):
                return True
            until_ns = step.since_ns
        return False

    # -- following -----------------------------------------------------------------------------

    def late_ns(self, difference_ns: int) -> int:
        """Return how late a query came that was so far from its lookup's start."""
        return self.offset_ns - difference_ns - FIRST_GAP_NS

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
        seen, by_chance = self._shares()
        self._suspicion -= log(seen / by_chance)
        self._seen += (1 - self._seen) * _FADE
        if self._suspicion <= 0:
            self._suspicion = 0.0
            self._explained()
        return self._follow(start_ns, difference_ns + FIRST_GAP_NS)

    def missed(self, start_ns: int, differences: Sequence[int], *, chance: bool) -> bool:
        """Take note of a lookup that the offset does not explain.

        Returns:
            Whether the offset has changed.
        """
        if start_ns <= self._until_ns:
            return False
        self._until_ns = start_ns
        if len(differences) > _MAX_DIFFERENCES:
            differences = sorted(differences, key=abs)[:_MAX_DIFFERENCES]
        self._hold(start_ns, differences)
        if self.known:
            self._chance += (chance - self._chance) * _FADE
            seen, by_chance = self._shares()
            self._suspicion += log((1 - by_chance) / (1 - seen))
            self._seen -= self._seen * _FADE
            if self._suspicion < _LOST:
                return False
            self._lose()
        spanned_ns = start_ns - self._pending[0][0]
        if spanned_ns > _LONG_NS and len(self._pending) >= _FEW:
            return self.search() or self._forget()
        return False

    def _hold(self, start_ns: int, differences: Sequence[int]) -> None:
        self._until_held -= 1
        if self._until_held:
            return
        self._pending.append((start_ns, differences))
        self._news = True
        if len(self._pending) > _SEARCHED:
            del self._pending[1::2]
            self._one_of *= 2
        self._until_held = self._one_of

    def _forget(self) -> bool:
        """Drop the older half of what is held, and take every lookup again."""
        del self._pending[: len(self._pending) // 2]
        self._one_of = self._until_held = 1
        return False

    def _explained(self) -> None:
        """Nothing is held any more."""
        self._pending.clear()
        self._one_of = self._until_held = 1

    def search(self) -> bool:
        """Look for a clock that is not known.

        Returns:
            Whether the offset has changed.
        """
        if self.known or not self._news:
            return False
        self._news = False
        lasting = self._pending[-1][0] - self._pending[0][0] >= _JAM_NS
        found = search([differences for _, differences in self._pending], lasting=lasting)
        if found is None:
            return False
        return self._find(found.offset_ns, found.share)

    def _shares(self) -> tuple[float, float]:
        """How often a first query is there when the offset is right, and when it is not."""
        by_chance = min(max(self._chance, _CHANCE), 0.9)
        return min(max(self._seen, by_chance + 0.05), 0.97), by_chance

    def _lose(self) -> None:
        self.known = False
        self._suspicion = 0.0
        self._samples.clear()
        before = self.steps[-1]
        self._add(Step(self._matched_ns, before.offset_ns, known=False))

    def _find(self, offset_ns: int, share: float) -> bool:
        self.known = True
        self._seen = share
        self._samples.clear()
        self._jumping = 0
        before = self.steps[-1]
        pending = list(self._pending)
        self._explained()
        explained = [
            (start_ns, min(some, key=lambda one: abs(offset_ns - one - FIRST_GAP_NS)))
            for start_ns, some in pending
            if any(_on_time(offset_ns - one - FIRST_GAP_NS) for one in some)
        ]
        changed = offset_ns != before.offset_ns
        if before.since_ns == -inf:
            self.steps[-1] = Step(-inf, offset_ns, known=True)
        elif abs(offset_ns - before.offset_ns) <= EARLY_NS:  # it was there all the time
            self.steps[-1] = Step(before.since_ns, offset_ns, known=True)
        else:
            since_ns = explained[0][0] if explained else pending[0][0]
            self._add(Step(since_ns, offset_ns, known=True))
        for start_ns, difference_ns in explained:
            self._matched_ns = start_ns
            changed |= self._follow(start_ns, difference_ns + FIRST_GAP_NS)
        return changed

    def _follow(self, start_ns: int, offset_ns: int) -> bool:
        """Take one lookup's own sight of the offset in."""
        if start_ns - self._exact_ns < _EXACT_NS:
            return False
        samples = self._samples
        samples.append((start_ns, offset_ns))
        if len(samples) < _SAMPLES:
            return False
        # What comes early says more than what comes late: only the way out can have been quick.
        seen_ns = sorted(one for _, one in samples)[_SAMPLES * 3 // 4 - 1]
        before = self.offset_ns
        moved_ns = seen_ns - before
        if abs(moved_ns) <= (_FOLLOW_NS if before else EARLY_NS):
            self._jumping = 0
            return False
        self._jumping += 1
        if abs(moved_ns) > _JUMP_NS and self._jumping < _PERSISTENT:
            return False
        self._jumping = 0
        offset_ns = 0 if abs(seen_ns) < EARLY_NS // 2 else seen_ns
        self._add(Step(samples[_SAMPLES // 2][0], offset_ns, known=True))
        return True

    def _add(self, step: Step) -> None:
        while len(self.steps) > 1 and self.steps[-1].since_ns >= step.since_ns:
            self.steps.pop()
        if self.steps[-1].since_ns >= step.since_ns:
            self.steps[-1] = step
        else:
            self.steps.append(step)

    # -- exact pairs ---------------------------------------------------------------------------

    def bound(self, at_ns: int, low_ns: int, high_ns: int) -> bool:
        """Take note of an exact pair: the offset's bounds.

        Returns:
            Whether the offset has changed.
        """
        if self.bounds and at_ns < self.bounds[-1].at_ns:
            return False
        self.bounds.append(_Bounds(at_ns, low_ns, high_ns))
        agreed = _agreed(self.bounds)
        if len(agreed) < _ENOUGH_BOUNDS:
            return False
        self._exact_ns = at_ns
        low_ns, high_ns = max(one.low_ns for one in agreed), min(one.high_ns for one in agreed)
        before = self.steps[-1]
        offset_ns = before.offset_ns
        if not low_ns <= offset_ns <= high_ns:
            offset_ns = 0 if low_ns <= 0 <= high_ns else (low_ns + high_ns) // 2
        if self.known and offset_ns == before.offset_ns:
            return False
        self.known = True
        self._suspicion = 0.0
        self._explained()
        self._samples.clear()
        self._matched_ns = at_ns
        if before.since_ns == -inf and not before.known:
            self.steps[-1] = Step(-inf, offset_ns, known=True)
        else:
            self._add(Step(agreed[-1].at_ns, offset_ns, known=True))
        return offset_ns != before.offset_ns


def _on_time(late_ns: int) -> bool:
    return -EARLY_NS <= late_ns <= LATE_NS


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
