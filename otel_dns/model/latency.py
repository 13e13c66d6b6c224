"""How slow is slow: a lookup's duration as one of a few words that people can search for."""

from bisect import bisect_right
from typing import Final

CLASSES: Final = ("under_1ms", "under_10ms", "under_100ms", "under_1s", "over_1s")
"""In order. The first is a warm cache nearby, the last has a timeout in it."""

_BOUNDS: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)


def latency_class(duration_ns: int) -> str:
    """Name the class of a duration in nanoseconds: one of :data:`CLASSES`."""
    return CLASSES[bisect_right(_BOUNDS, duration_ns)]
