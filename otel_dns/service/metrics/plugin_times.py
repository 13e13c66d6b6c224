"""Own times of plugins, measured many server traces at a time.

They are most of all that is measured: one a span. Traces of one server with the same plugins make
columns, and CoreDNS's times are whole microseconds, so in a column they come again and again: each
is put into its buckets once.
"""

import threading
from collections import Counter
from typing import Final, TypeAlias

from otel_dns import semconv
from otel_dns.service.metrics.series import Exemplar, Family, Histogram, Lead

_TOGETHER: Final = 10_000
_SECOND: Final = 1e9


_Shape: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Server, RCODE, and the names of the spans in order."""


class PluginTimes:
    """Server traces that wait to be measured: up to 10,000 spans, or until somebody looks."""

    def __init__(self, durations: Family[Histogram]) -> None:
        """Make it empty.

        Args:
            durations: where times go, by plugin, server and RCODE.
        """
        self._durations = durations
        self._waiting: list[tuple[_Shape, tuple[int, ...], Lead | None]] = []
        self._spans = 0
        self._measuring = threading.Lock()

    def add(
        self, server: str, rcode: str, names: tuple[str, ...], own_ns: tuple[int, ...],
        lead: Lead | None,
    ) -> None:  # fmt: skip
        """Take a server trace; from one thread.

        Args:
            server: the instance.
            rcode: of its answer.
            names: of its spans.
            own_ns: their own times in the same order.
            lead: where exemplars are to lead.
        """
        self._waiting.append(((server, rcode, names), own_ns, lead))
        self._spans += len(names)
        if self._spans >= _TOGETHER:
            self._spans = 0
            self.measure()

    def measure(self) -> None:
        """Measure what waits; from any thread."""
        with self._measuring:
            waiting = self._waiting[:]
            del self._waiting[: len(waiting)]  # what has come since stays
            alike: dict[_Shape, list[tuple[tuple[int, ...], Lead | None]]] = {}
            for shape, own_ns, lead in waiting:
                alike.setdefault(shape, []).append((own_ns, lead))
            for shape, traces in alike.items():
                self._measure(shape, traces)

    def _measure(self, shape: _Shape, traces: list[tuple[tuple[int, ...], Lead | None]]) -> None:
        server, rcode, names = shape
        leads = [lead for _, lead in traces]
        columns = zip(*(own_ns for own_ns, _ in traces), strict=True)
        for name, column in zip(names, columns, strict=True):
            if name == semconv.CONNECT_SPAN:
                continue
            durations = self._durations.at(name, server, rcode, times=len(column))
            latest = dict(zip(column, leads, strict=True))
            for own_ns, times in Counter(column).items():
                seconds, lead = own_ns / _SECOND, latest[own_ns]
                exemplar = None if lead is None else Exemplar(seconds, lead)
                durations.record(seconds, exemplar, times)
