"""Metrics of what was resolved: made of everything that leaves the join, before any is dropped.

`resolutions` turns outcomes into measurements, `series` keeps them bounded, `prometheus` shows them
to whoever asks, `push` sends them as `otlp`.
"""

from otel_dns.service.metrics.prometheus import SeriesCollector
from otel_dns.service.metrics.push import MetricsPush
from otel_dns.service.metrics.resolutions import ResolutionMetrics
from otel_dns.service.metrics.series import Family

__all__ = ["Family", "MetricsPush", "ResolutionMetrics", "SeriesCollector"]
