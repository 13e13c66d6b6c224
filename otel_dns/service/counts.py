"""Counts by name, from any thread."""

import threading
from collections import Counter


class Counts:
    """A counter that several threads may add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counter: Counter[str] = Counter()

    def add(self, **amounts: int) -> None:
        """Add to each named count."""
        with self._lock:
            self._counter.update(amounts)

    def __getitem__(self, name: str) -> int:
        return self._counter[name]

    def snapshot(self) -> Counter[str]:
        """Return what is counted so far."""
        with self._lock:
            return self._counter.copy()
