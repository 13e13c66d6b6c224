"""Counters and histograms, as cheap as a pipeline needs them, and bounded.

The pipeline's thread writes, any other reads. A series that is over its family's limit counts under
one overflow series, as OpenTelemetry's own cardinality limit does, so hostile names can make
neither memory nor a scrape grow.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

from msgspec import Struct

from otel_dns import semconv
from otel_dns.model import Span

DNS_BUCKETS: Final = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Seconds: from what a plugin takes (10 us) to what a lookup gives up after."""

SCALE: Final = 3
"""Of exponential histograms: eight buckets to a power of two, so a quantile is right to 4.5%."""
_PER_DOUBLING: Final = 1 << SCALE
_MAX_LABEL: Final = 512
"""Characters of an attribute's value; a series with a longer one counts under the overflow."""


class Lead(Struct, frozen=True, gc=False):
    """Where an exemplar leads: to a span. Not the span itself, of which there may be much."""

    trace_id: bytes
    span_id: bytes
    time_ns: int
    """When it ended, nanoseconds since the epoch, by the clock of its maker."""


class Exemplar(Struct, frozen=True, gc=False):
    """One measurement, and the span that it was made of."""

    value: float
    lead: Lead


def lead_to(span: Span) -> Lead:
    """Let exemplars lead to a span."""
    return Lead(span.trace_id, span.span_id, span.end_ns)


class Counter:
    """A sum that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float = 1) -> None:
        """Add to it."""
        self.value += amount

    def take(self, amounts: Iterable[float]) -> None:
        """Add several."""
        self.value = sum(amounts, self.value)


class Gauge:
    """A value that is replaced."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def take(self, values: Sequence[float]) -> None:
        """Replace it by the last of several."""
        self.value = values[-1]


class Histogram:
    """Measurements in seconds: explicit buckets for Prometheus, exponential ones for OTLP."""

    __slots__ = ("buckets", "exemplars", "exponential", "sum", "zeros")

    def __init__(self) -> None:
        self.buckets = [0] * (len(DNS_BUCKETS) + 1)
        """Not cumulative; the last is for all above."""
        self.exponential: dict[int, int] = {}
        """Counts by index: bucket ``i`` holds what is over ``2**(i/8)`` and at most
        ``2**((i+1)/8)`` (OpenTelemetry's data model, "Exponential Histogram")."""
        self.zeros = 0
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """The latest by place in ``buckets``."""

    def record(self, seconds: float, exemplar: Exemplar | None = None, times: int = 1) -> None:
        """Add a measurement, or so many equal ones; below nothing counts as nothing."""
        place, index = _places(seconds)
        self.buckets[place] += times
        if exemplar is not None:
            self.exemplars[place] = exemplar
        if index is None:
            self.zeros += times
        else:
            self.sum += seconds * times
            self.exponential[index] = self.exponential.get(index, 0) + times

    def take(self, measured: Iterable[tuple[float, Lead | None]]) -> None:
        """Add several measurements, each with where an exemplar is to lead."""
        buckets, exponential = self.buckets, self.exponential
        latest: dict[int, tuple[float, Lead]] = {}
        total = self.sum
        for seconds, lead in measured:
            place, index = _places(seconds)
            buckets[place] += 1
            if lead is not None:
                latest[place] = seconds, lead
            if index is None:
                self.zeros += 1
            else:
                total += seconds
                exponential[index] = exponential.get(index, 0) + 1
        self.sum = total
        for place, (seconds, lead) in latest.items():
            self.exemplars[place] = Exemplar(seconds, lead)


@lru_cache(maxsize=1 << 14)
def _places(seconds: float) -> tuple[int, int | None]:
    """Find the places of a measurement: in the buckets, and in the exponential ones.

    The latest are remembered: CoreDNS's times are whole microseconds.
    """
    place = bisect_left(DNS_BUCKETS, seconds)
    if seconds <= 0:
        return place, None
    return place, math.ceil(math.log2(seconds) * _PER_DOUBLING) - 1


Point = TypeVar("Point", bound=Counter | Gauge | Histogram)


@dataclass(frozen=True, slots=True)
class Description:
    """What a metric is, in OpenTelemetry's words."""

    name: str
    unit: str
    text: str
    attributes: tuple[str, ...]
    """Keys; every series has a value for each."""


class Family(Generic[Point]):
    """One metric with all its series."""

    def __init__(self, description: Description, point: type[Point], max_series: int) -> None:
        self.description = description
        self.point = point
        self.overflowed = 0
        """Measurements that came under the overflow series."""
        self.gathered: defaultdict[tuple[str, ...], list[Any]] = defaultdict(list)
        """Measurements by the values of their series, as its ``take`` wants them: until
        :meth:`settle` puts all of one series there at once."""
        self._max_series = max_series
        self._series: dict[tuple[str, ...], Point] = {}
        self._overflow = (semconv.OTHER_NAMES,) * len(description.attributes)

    def at(self, *values: str, times: int = 1) -> Point:
        """Give the series with these values, or the overflow series where there are too many.

        Args:
            values: one for each attribute.
            times: how many measurements are to come, to count those that overflow.
        """
        found = self._series.get(values)
        if found is None:
            full = (
                len(self._series) >= self._max_series
                or max(map(len, values), default=0) > _MAX_LABEL
            )
            if full and values != self._overflow:
                self.overflowed += times
                return self.at(*self._overflow)
            made: Point = self.point()
            self._series[values] = made
            return made
        return found

    def settle(self) -> None:
        """Put what was gathered into its series."""
        for values, measured in self.gathered.items():
            self.at(*values, times=len(measured)).take(measured)
        self.gathered.clear()

    def __contains__(self, values: tuple[str, ...]) -> bool:
        return values in self._series or values in self.gathered

    def series(self) -> Sequence[tuple[tuple[str, ...], Point]]:
        """Every series so far with its values; from any thread."""
        return list(self._series.items())
