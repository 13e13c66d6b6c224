"""Where a lookup's time went."""

from collections.abc import Mapping

from msgspec import Struct


class Breakdown(Struct, frozen=True, gc=False):
    """Segments of one lookup's time, in nanoseconds; they add up to its duration exactly."""

    segments: Mapping[str, int]
    """By name of semconv.SEGMENTS; every segment is there, also those of zero."""
    plugins: Mapping[str, int]
    """Parts of segment ``server``: own time on the critical path, by plugin."""
    after_answer_ns: int
    """What servers went on spending once the answer was out; outside the lookup."""
    bottleneck: str
    """The largest part: a segment, or ``plugin:<name>`` where one plugin is the most of all."""
    waste_queries: int
    """Server traces of candidates before the one that ended the lookup."""
    waste_ns: int = 0
    """Time until the first query for that candidate: the search list's price."""
    retries: int = 0
    """Queries that repeated one which got no answer, or none that was of use."""
    slowest: str = ""
    """The plugin with the most of ``plugins``; empty where there is none."""

    @property
    def total_ns(self) -> int:
        """The lookup's duration."""
        return sum(self.segments.values())
