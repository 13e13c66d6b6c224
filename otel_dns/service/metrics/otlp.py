"""Series as OTLP metrics: histograms as exponential ones, so that no bucket is anybody's guess."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from otel_dns import __version__, semconv
from otel_dns.service.metrics import series
from otel_dns.service.metrics.series import SCALE, Family

MAX_BUCKETS: Final = 160
"""Of one exponential histogram: the SDKs' own default."""


def request_of(
    families: Iterable[Family[Any]], started_ns: int, now_ns: int, resource: Sequence[KeyValue]
) -> bytes:
    """Encode families as one ``ExportMetricsServiceRequest``, cumulative.

    Args:
        families: what to encode; those without a series are left out.
        started_ns: since when they count, nanoseconds since the epoch.
        now_ns: the time of the points.
        resource: attributes of the processor itself.
    """
    request = ExportMetricsServiceRequest()
    resource_metrics = request.resource_metrics.add()
    resource_metrics.resource.attributes.extend(resource)
    scope_metrics = resource_metrics.scope_metrics.add()
    scope_metrics.scope.name = semconv.PROCESSOR_SCOPE
    scope_metrics.scope.version = __version__
    for family in families:
        if family.series():
            _encode(family, scope_metrics.metrics.add(), started_ns, now_ns)
    return request.SerializeToString()


def _encode(family: Family[Any], metric: Metric, started_ns: int, now_ns: int) -> None:
    described = family.description
    metric.name, metric.unit, metric.description = described.name, described.unit, described.text
    cumulative = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    new_point: Any
    if family.point is series.Histogram:
        metric.exponential_histogram.aggregation_temporality = cumulative
        new_point = metric.exponential_histogram.data_points.add
    elif family.point is series.Counter:
        metric.sum.aggregation_temporality = cumulative
        metric.sum.is_monotonic = True
        new_point = metric.sum.data_points.add
    else:
        new_point = metric.gauge.data_points.add
    for values, point in family.series():
        encoded: ExponentialHistogramDataPoint | NumberDataPoint = new_point(
            start_time_unix_nano=started_ns, time_unix_nano=now_ns
        )
        for key, value in zip(described.attributes, values, strict=True):
            encoded.attributes.add(key=key).value.string_value = value
        if isinstance(encoded, NumberDataPoint):
            encoded.as_double = point.value
        else:
            _encode_histogram(point, encoded)


def _encode_histogram(point: series.Histogram, encoded: ExponentialHistogramDataPoint) -> None:
    counts = dict(point.exponential)
    scale = SCALE
    while counts and max(counts) - min(counts) >= MAX_BUCKETS:
        # Two neighbours become one: the data model's own way to a coarser scale.
        merged: dict[int, int] = {}
        for index, count in counts.items():
            merged[index >> 1] = merged.get(index >> 1, 0) + count
        counts, scale = merged, scale - 1
    encoded.scale = scale
    encoded.zero_count = point.zeros
    encoded.count = point.zeros + sum(counts.values())
    encoded.sum = point.sum
    if counts:
        first = min(counts)
        encoded.positive.offset = first
        encoded.positive.bucket_counts.extend(
            counts.get(index, 0) for index in range(first, max(counts) + 1)
        )
    for exemplar in list(point.exemplars.values()):
        encoded.exemplars.add(
            time_unix_nano=exemplar.lead.time_ns,
            as_double=exemplar.value,
            trace_id=exemplar.lead.trace_id,
            span_id=exemplar.lead.span_id,
        )
