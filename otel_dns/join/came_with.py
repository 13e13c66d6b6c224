"""With which requests the things that are held came: a number a request, no object a span.

Whoever feeds the join says of which request the things are that come next. A thing that is held has
a tuple of numbers, the very same for all of one request; what leaves leaves its numbers behind,
until the one who takes the outcomes takes them too.
"""

from collections import Counter, defaultdict
from itertools import chain
from typing import TypeAlias

Numbers: TypeAlias = tuple[int, ...]


class CameWith:
    """Counts, for every request, the things held that came with it."""

    def __init__(self) -> None:
        self.current: Numbers = ()
        """The request of what comes now; without it, nothing is counted."""
        self._held: defaultdict[int, int] = defaultdict(int)
        self._gone: list[Numbers] = []

    def more(self, had: Numbers, also: Numbers | None = None) -> Numbers:
        """Return the numbers of something that had some, and has got more.

        Args:
            had: its numbers so far.
            also: those of what was added; without them, the current request.
        """
        if also is None:
            also = self.current
            if had[-1:] == also:
                return had
        new = tuple(number for number in also if number not in had) if had else also
        for number in new:
            self._held[number] += 1
        return had + new if had else new

    def let_go(self, numbers: Numbers) -> None:
        """Take note that something left."""
        if numbers:
            self._gone.append(numbers)

    def pass_by(self, numbers: Numbers) -> None:
        """Take note that something left that is not held by itself."""
        self.let_go(self.more((), numbers))

    def holds(self, number: int) -> bool:
        """Whether something is held that came with a request; also what left untaken."""
        return number in self._held

    def take_gone(self) -> tuple[set[int], list[int]]:
        """Take the numbers of what has left.

        Returns:
            All of them, and those of which nothing is held any more.
        """
        gone = Counter(chain.from_iterable(self._gone))
        self._gone.clear()
        finished = []
        for number, things in gone.items():
            left = self._held[number] - things
            if left:
                self._held[number] = left
            else:
                del self._held[number]
                finished.append(number)
        return set(gone), finished
