"""Who has which query when all keep their order: the heaviest chain of pairs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_dns.join.by_time.member import Member, Place


class Chain:
    """The heaviest chain of pairs in which both rows and columns go up, row by row.

    A Fenwick tree of prefix maxima over the columns: the time for a pair is that of a logarithm.
    """

    def __init__(self, columns: int) -> None:
        self._size = columns
        self._tree: list[_Link | None] = [None] * (columns + 1)

    def add(self, pairs: Sequence[tuple[float, int]], row: tuple[Member, Place]) -> None:
        """Take the possible pairs of the next row."""
        links = []
        for gain, at in pairs:
            before = self._best_before(at)
            weight = gain + (before.weight if before else 0.0)
            links.append(_Link(weight, at, row, before))
        for link in links:  # only now: one row takes one column
            at = link.at + 1
            while at <= self._size:
                held = self._tree[at]
                if held is None or link.weight > held.weight:
                    self._tree[at] = link
                at += at & -at

    def pairs(self) -> Iterable[tuple[int, tuple[Member, Place]]]:
        """Go through the heaviest chain, from its end."""
        link = self._best_before(self._size)
        while link is not None:
            yield link.at, link.row
            link = link.before

    def _best_before(self, at: int) -> "_Link | None":
        best = None
        while at > 0:
            held = self._tree[at]
            if held is not None and (best is None or held.weight > best.weight):
                best = held
            at -= at & -at
        return best


@dataclass(slots=True, eq=False)
class _Link:
    weight: float
    at: int
    row: tuple[Member, Place]
    before: "_Link | None"
