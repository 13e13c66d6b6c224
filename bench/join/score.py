"""Verdicts into figures: precision and recall, what is sure, how well the confidence is calibrated.

*Right* is a lookup whose server traces are exactly those that it caused and that arrived: none
missing, none of another's.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

DECILES = 10
GROUPS = 6
"""Sizes of groups that are told apart; the last is that and more."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One lookup as a method joined it."""

    joined: frozenset[str]
    true: frozenset[str]
    confidence: float = 0
    certainty: str = ""
    group_size: int = 1
    exact: bool = False
    """By an exact rung."""

    @property
    def right(self) -> bool:
        """All of its own, nothing else's."""
        return self.joined == self.true

    @property
    def clean(self) -> bool:
        """Nothing else's, whatever is missing."""
        return self.joined <= self.true


@dataclass(slots=True)
class Score:
    """Counts of one cell; cells of several seeds add up."""

    lookups: int = 0
    right: int = 0
    joined: int = 0
    joined_right: int = 0
    exact: int = 0
    """Joined by exact rungs, all of it."""
    sure: int = 0
    sure_right: int = 0
    sure_clean: int = 0
    grouped: int = 0
    grouped_right: int = 0
    grouped_expected: float = 0
    queries_true: int = 0
    queries_joined: int = 0
    queries_right: int = 0
    deciles: list[list[float]] = field(default_factory=lambda: [[0, 0, 0] for _ in range(DECILES)])
    """Joins by time outside of groups: how many, their confidence added up, those right."""
    groups: list[list[int]] = field(default_factory=lambda: [[0, 0, 0, 0] for _ in range(GROUPS)])
    """Lookups in groups by size: how many, those right, their server traces, those their own."""

    def add(self, verdict: Verdict) -> None:
        """Take one lookup in; one of which nothing arrived or was joined tells nothing."""
        if not verdict.true and not verdict.joined:
            return
        self.lookups += 1
        self.right += verdict.right
        self.queries_true += len(verdict.true)
        self.queries_joined += len(verdict.joined)
        self.queries_right += len(verdict.joined & verdict.true)
        if not verdict.joined:
            return
        self.joined += 1
        self.joined_right += verdict.right
        self.exact += verdict.exact
        if verdict.certainty == "sure":
            self.sure += 1
            self.sure_right += verdict.right
            self.sure_clean += verdict.clean
        if verdict.certainty == "group":
            self.grouped += 1
            self.grouped_right += verdict.right
            self.grouped_expected += verdict.confidence
            size = self.groups[min(verdict.group_size, GROUPS) - 1]
            own = len(verdict.joined & verdict.true)
            for at, count in enumerate((1, verdict.right, len(verdict.joined), own)):
                size[at] += count
        elif verdict.certainty and not verdict.exact:
            decile = self.deciles[min(int(verdict.confidence * DECILES), DECILES - 1)]
            decile[0] += 1
            decile[1] += verdict.confidence
            decile[2] += verdict.right

    def merge(self, other: "Score") -> None:
        """Add another cell's counts."""
        for name in self.__slots__:
            if name not in {"deciles", "groups"}:
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in zip(self.deciles, other.deciles, strict=True):
            mine[:] = [one + another for one, another in zip(mine, theirs, strict=True)]
        for ours, yours in zip(self.groups, other.groups, strict=True):
            ours[:] = [one + another for one, another in zip(ours, yours, strict=True)]

    @property
    def right_share(self) -> float:
        """Share of lookups wholly right."""
        return share(self.right, self.lookups)

    @property
    def precision(self) -> float:
        """Share of joined queries that are the lookup's."""
        return share(self.queries_right, self.queries_joined)

    @property
    def recall(self) -> float:
        """Share of queries that were joined to their lookup."""
        return share(self.queries_right, self.queries_true)

    @property
    def sure_share(self) -> float:
        """Share of lookups whose join is called sure."""
        return share(self.sure, self.lookups)

    @property
    def sure_right_share(self) -> float:
        """Share of the sure joins that are right."""
        return share(self.sure_right, self.sure)


def share(part: float, whole: float) -> float:
    """A share; NaN of nothing."""
    return part / whole if whole else math.nan


def wilson_low(hits: int, trials: int) -> float:
    """Lower bound of the two-sided 95% interval of a share (Wilson 1927)."""
    if not trials:
        return math.nan
    z = 1.959964
    rate = hits / trials
    centre = rate + z * z / (2 * trials)
    margin = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return (centre - margin) / (1 + z * z / trials)


def total(scores: Iterable[Score]) -> Score:
    """Add cells up."""
    added = Score()
    for score in scores:
        added.merge(score)
    return added


def spread(values: Sequence[float]) -> float:
    """Largest less smallest."""
    return max(values) - min(values) if values else math.nan
