"""Series as Prometheus scrapes them, with exemplars where the scraper asks for OpenMetrics."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from otel_dns.service.metrics import series
from otel_dns.service.metrics.series import DNS_BUCKETS, Family

_UNITS = {"s": "_seconds"}
_BOUNDS = tuple(f"{bound:.10f}".rstrip("0").rstrip(".") or "0" for bound in DNS_BUCKETS)


class SeriesCollector(Collector):
    """Gives families of series to the Prometheus client."""

    def __init__(self, families: Callable[[], Iterable[Family[Any]]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Give every family as it is now."""
        for family in self._families():
            yield _metric(family)


def prometheus_name(name: str, unit: str) -> str:
    """Name a metric as OpenTelemetry's translation to Prometheus does, without ``_total``."""
    return name.replace(".", "_") + _UNITS.get(unit, "")


def _metric(family: Family[Any]) -> Metric:
    described = family.description
    name = prometheus_name(described.name, described.unit)
    labels = [key.replace(".", "_") for key in described.attributes]
    if family.point is series.Histogram:
        histogram = HistogramMetricFamily(name, described.text, labels=labels)
        for values, point in family.series():
            buckets = _cumulative(point)
            histogram.add_metric(values, buckets, point.sum)
        return histogram
    kind = CounterMetricFamily if family.point is series.Counter else GaugeMetricFamily
    metric = kind(name, described.text, labels=labels)
    for values, point in family.series():
        metric.add_metric(values, point.value)
    return metric


def _cumulative(point: series.Histogram) -> Sequence[Any]:
    buckets: list[tuple[Any, ...]] = []
    total = 0
    # Copies: the pipeline goes on counting meanwhile.
    exemplars = dict(point.exemplars)
    for place, (bound, count) in enumerate(
        zip((*_BOUNDS, "+Inf"), list(point.buckets), strict=True)
    ):
        total += count
        found = exemplars.get(place)
        if found is None:
            buckets.append((bound, total))
        else:
            lead = found.lead
            ids = {"trace_id": lead.trace_id.hex(), "span_id": lead.span_id.hex()}
            buckets.append((bound, total, Exemplar(ids, found.value, lead.time_ns / 1e9)))
    return buckets
