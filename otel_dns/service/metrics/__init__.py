"""Metrics of what was resolved: made of everything that leaves the join, before any is dropped.

`resolutions` turns outcomes into measurements, `series` keeps them bounded, `prometheus` and
`otlp` show them to whoever asks.
"""

from otel_dns.service.metrics.prometheus import SeriesCollector
from otel_dns.service.metrics.resolutions import ResolutionMetrics
from otel_dns.service.metrics.series import Family

__all__ = ["Family", "ResolutionMetrics", "SeriesCollector"]
