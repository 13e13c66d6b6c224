"""Every span knows the request that it came in: which requests are not done with yet.

A request is held by whoever holds something of it: the queue in front of the pipeline, the join, a
batch in the queue of an output. It is settled once nobody holds any of it: every span was
delivered, or left for a counted reason. That is when a durable queue may forget it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from itertools import count


def _nobody(_number: int) -> None:
    pass


class Requests:
    """Requests by number, from any thread."""

    def __init__(self, settled: Callable[[int], None] = _nobody) -> None:
        """Make one.

        Args:
            settled: is told each request that is settled, in the thread that let go of it last.
        """
        self._settled = settled
        self._numbers = count(1)
        self._held: Counter[int] = Counter()
        self._lock = threading.Lock()

    def begin(self) -> int:
        """Give a request a number, which is held once."""
        with self._lock:
            number = next(self._numbers)
            self._held[number] = 1
            return number

    def hold(self, numbers: Collection[int]) -> None:
        """Hold requests, once more each; somebody must be holding them."""
        if numbers:
            with self._lock:
                self._held.update(numbers)

    def let_go(self, numbers: Collection[int]) -> None:
        """Let go of requests, once each."""
        if not numbers:
            return
        settled = []
        with self._lock:
            for number in numbers:
                left = self._held[number] - 1
                if left:
                    self._held[number] = left
                else:
                    del self._held[number]
                    settled.append(number)
        for number in settled:
            self._settled(number)

    @property
    def open(self) -> int:
        """How many are not settled."""
        return len(self._held)

    def is_open(self, number: int) -> bool:
        """Whether something of a request is still held."""
        return number in self._held
