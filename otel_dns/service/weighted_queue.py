"""A queue bounded by what its items weigh, not by how many they are."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class WeightedQueue(Generic[T]):
    """First in, first out, between threads, bounded by total weight.

    An item heavier than the whole bound is let in when the queue is empty: it has passed the
    receiver's own limit, and would otherwise wait for ever.
    """

    def __init__(self, max_weight: int) -> None:
        self._max_weight = max_weight
        self._items: deque[tuple[T, int, int]] = deque()
        self._weight = 0
        self._count = 0
        self._changed = threading.Condition()
        self._closed = False

    @property
    def weight(self) -> int:
        """What the waiting items weigh together."""
        return self._weight

    @property
    def full(self) -> bool:
        """Whether a sixteenth of the room is left, or less."""
        return self._weight >= self._max_weight * 15 // 16

    @property
    def count(self) -> int:
        """How many things the waiting items hold together, as told when they were put in."""
        return self._count

    def put(self, item: T, weight: int, timeout_s: float, count: int = 1) -> bool:
        """Add an item, waiting for room; False when there was none in time, or after close."""
        with self._changed:
            if not self._wait_for_room(weight, timeout_s):
                return False
            self._items.append((item, weight, count))
            self._weight += weight
            self._count += count
            self._changed.notify_all()
            return True

    def wait_for_room(self, weight: int, timeout_s: float) -> bool:
        """Wait for room; False when there was none in time, or after close."""
        with self._changed:
            return self._wait_for_room(weight, timeout_s)

    def _wait_for_room(self, weight: int, timeout_s: float) -> bool:
        return (
            not self._closed
            and self._changed.wait_for(
                lambda: (
                    self._closed or not self._items or self._weight + weight <= self._max_weight
                ),
                timeout_s,
            )
            and not self._closed
        )

    def get(self, timeout_s: float) -> T | None:
        """Take the oldest item; None when none came in time, or when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            if not self._items:
                return None
            item, weight, count = self._items.popleft()
            self._weight -= weight
            self._count -= count
            self._changed.notify_all()
            return item

    def total(self, of: Callable[[T], int]) -> int:
        """Add up something of every waiting item."""
        with self._changed:
            return sum(of(item) for item, _, _ in self._items)

    def close(self) -> None:
        """Let nothing more in; what is inside can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Closed, and everything taken."""
        return self._closed and not self._items
