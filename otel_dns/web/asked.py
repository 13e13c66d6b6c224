"""What is asked about: a stretch of time, narrowed down, and never more than the asker may see."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from otel_dns import semconv
from otel_dns.history.cells import WIDTHS_S
from otel_dns.history.questions import EVERYTHING
from otel_dns.history.where import Where
from otel_dns.web.access import Scope

MS: Final = 1_000_000
SECOND: Final = 1_000_000_000
_STEPS: Final = (
    1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
)  # fmt: skip
_COLUMNS: Final = 120
_EXACT_S: Final = 300
_COARSE_S: Final = 21_600
"""From so long on a time is rounded to the finer and to the coarser cells of the history."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in nanoseconds since the epoch; the end is not in it."""

    from_ns: int
    to_ns: int

    def rounded(self) -> "Window":
        """Give a time that whole cells of the history answer for: a long one takes in a bit more.

        To 10 seconds from five minutes on, to five minutes from six hours on.
        """
        if self.seconds < _EXACT_S:
            return self
        width_ns = WIDTHS_S[self.seconds >= _COARSE_S] * SECOND
        return Window(self.from_ns // width_ns * width_ns, -(-self.to_ns // width_ns) * width_ns)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.to_ns - self.from_ns) / SECOND

    @property
    def step_s(self) -> int:
        """The width of a column of a chart: a round one, of which there are not too many."""
        least = WIDTHS_S[0] if self.seconds >= _EXACT_S else 1
        for step in _STEPS:
            if step >= least and self.seconds / step <= _COLUMNS:
                return step
        return _STEPS[-1] * math.ceil(self.seconds / _STEPS[-1] / _COLUMNS)

    @property
    def times(self) -> list[int]:
        """Where each column begins, seconds since the epoch."""
        step = self.step_s
        first = self.from_ns // SECOND // step * step
        return list(range(first, -(-self.to_ns // SECOND), step))

    def before(self) -> "Window":
        """The stretch of the same length that ends where this one begins."""
        return Window(self.from_ns - (self.to_ns - self.from_ns), self.from_ns)


@dataclass(frozen=True, slots=True)
class Asked:
    """A window, filters, and the asker's scope."""

    window: Window
    scope: Scope
    filters: Where = EVERYTHING
    """All but the time and the scope."""

    @property
    def where(self) -> Where:
        """Which lookups a question is about: never more than the asker may see."""
        return replace(
            self.filters,
            since_ns=self.window.from_ns,
            until_ns=self.window.to_ns,
            namespaces=self.scope.namespaces,
        )

    def before(self) -> "Asked":
        """The same about the stretch before."""
        return replace(self, window=self.window.before())

    def both(self) -> "Asked":
        """The same about the stretch before and this one together."""
        return replace(self, window=Window(self.window.before().from_ns, self.window.to_ns))


def filters_of(given: Mapping[str, str | float | None]) -> Where:
    """Read the filters of an address, by the names that they have there."""
    texts = {key: str(given.get(key) or "") for key in _TEXTS}
    min_ms, max_ms, certainty = (given.get(key) for key in ("min_ms", "max_ms", "certainty"))
    return Where(
        **texts,  # type: ignore[arg-type]
        name_part=str(given.get("name") or ""),
        certainty="" if certainty == semconv.METHOD_NONE else str(certainty or ""),
        joined=None if not certainty else certainty != semconv.METHOD_NONE,
        min_ns=None if min_ms is None else math.ceil(float(min_ms) * MS),
        max_ns=None if max_ms is None else math.ceil(float(max_ms) * MS) - 1,
    )


_TEXTS: Final = (
    "namespace", "pod", "node", "service", "type", "outcome", "bottleneck", "plugin", "upstream",
    "server", "method",
)  # fmt: skip
