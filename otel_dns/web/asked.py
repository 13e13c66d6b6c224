"""What is asked about: a stretch of time, narrowed down, and never more than the asker may see."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from otel_dns.web.access import Scope

SECOND: Final = 1_000_000_000
_STEPS: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
)  # fmt: skip
_COLUMNS: Final = 120


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in nanoseconds since the epoch; the end is not in it."""

    from_ns: int
    to_ns: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.to_ns - self.from_ns) / SECOND

    @property
    def step_s(self) -> int:
        """The width of a column of a chart: a round one, of which there are not too many."""
        for step in _STEPS:
            if self.seconds / step <= _COLUMNS:
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
    filters: tuple[tuple[str, str | float], ...] = ()

    def before(self) -> "Asked":
        """The same about the stretch before."""
        return replace(self, window=self.window.before())

    def narrowed(self, **filters: str | float | None) -> "Asked":
        """The same with some filters replaced, or with None taken away."""
        kept = {key: value for key, value in self.filters if key not in filters}
        kept.update({key: value for key, value in filters.items() if value is not None})
        return replace(self, filters=tuple(kept.items()))

    def condition(self) -> tuple[str, list[Any]]:
        """As SQL on the table of lookups: the text after WHERE, and its parameters."""
        parts = ["start_ns >= ?", "start_ns < ?"]
        parameters: list[Any] = [self.window.from_ns, self.window.to_ns]
        if self.scope.namespaces is not None:
            parts.append("list_contains(?, namespace)")
            parameters.append(sorted(self.scope.namespaces))
        for key, value in self.filters:
            text, count = _CONDITIONS[key]
            parts.append(text)
            parameters += [value] * count
        return " AND ".join(parts), parameters


_EQUAL: Final = (
    "namespace", "pod", "node", "service", "type", "outcome", "bottleneck", "method",
)  # fmt: skip
_CONDITIONS: Final[dict[str, tuple[str, int]]] = {
    **{key: (f'"{key}" = ?', 1) for key in _EQUAL},
    "certainty": ("(CASE WHEN method = 'none' THEN 'none' ELSE certainty END) = ?", 1),
    "name": ("contains(lower(name), lower(?))", 1),
    "plugin": ("len(list_filter(plugins, lambda p: p.plugin = ?)) > 0", 1),
    "server": ("len(list_filter(hops, lambda h: h.server = ?)) > 0", 1),
    "upstream": (
        (
            "len(list_filter(exchanges,"
            " lambda e: e.upstream = ? OR starts_with(e.upstream, ? || ':'))) > 0"
        ),
        2,
    ),
    "min_ms": ("duration_ns >= ? * 1000000", 1),
    "max_ms": ("duration_ns < ? * 1000000", 1),
}
"""Each filter as SQL, and how often its value occurs in it."""
