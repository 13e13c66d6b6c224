"""Measurements as the SDK's histogram takes them, each series found only once."""

import sys
from bisect import bisect_left
from importlib import import_module
from time import time_ns
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import NonRecordingSpan, Span

from otel_dns.client.api_path import ApiDurations, DurationPath, duration_attributes
from otel_dns.client.details import Attributes
from otel_dns.client.fast_path.current import (
    SAMPLED,
    SPAN_ID,
    SPAN_KEY,
    TRACE_FLAGS,
    TRACE_ID,
    current_context,
)
from otel_dns.client.fast_path.genuine import is_genuine, is_known

_MAX_SERIES: Final = 4096
_new: Any = object.__new__
_set: Any = object.__setattr__
_set_item: Any = dict.__setitem__


def durations_of(histogram: Histogram) -> DurationPath | None:
    """Return the way to a histogram's measurements; nothing as long as it has no SDK behind it.

    Args:
        histogram: What ``create_histogram`` returned.
    """
    real: Any = histogram
    if hasattr(histogram, "_real_instrument"):
        real = histogram._real_instrument
        if real is None:
            return None
    if is_known(real, "opentelemetry.sdk.metrics._internal.instrument", "_Histogram"):
        internal = "opentelemetry.sdk.metrics._internal"
        consumer = import_module(f"{internal}.measurement_consumer")
        storage = import_module(f"{internal}.metric_reader_storage")
        match = import_module(f"{internal}._view_instrument_match")
        measurement = import_module(f"{internal}.measurement")
        touched = (
            (type(real).__mro__[1], ("record",)),
            (consumer.SynchronousMeasurementConsumer, ("consume_measurement",)),
            (storage.MetricReaderStorage, ("consume_measurement",)),
            (match._ViewInstrumentMatch, ("consume_measurement",)),
            (measurement.Measurement, ("__post_init__",)),
        )
        behind = real._measurement_consumer
        if all(is_genuine(owner, names) for owner, names in touched) and (
            type(behind) is consumer.SynchronousMeasurementConsumer
        ):
            return _SdkDurations(real, measurement.Measurement)
    return ApiDurations(histogram)


class _Series(NamedTuple):
    """Where the measurements of one set of attributes go."""

    attributes: Attributes
    plain: list[Any]
    """Aggregations that are a histogram with an exemplar for each bucket: the usual ones."""
    others: list[Any]
    """Methods that take a measurement, of all others."""


class _SdkDurations:
    """Does what the SDK's `Histogram.record` does, and finds each series of it only once."""

    def __init__(self, histogram: Any, measurement_class: Any) -> None:
        self._histogram = histogram
        self._consumer = histogram._measurement_consumer
        self._filter = self._consumer._sdk_config.exemplar_filter.should_sample
        # The default, whose answer is as quickly found as asked for.
        self._trace_based = is_known(
            self._filter.__self__,
            "opentelemetry.sdk.metrics._internal.exemplar.exemplar_filter",
            "TraceBasedExemplarFilter",
        )
        self._measurement_class = measurement_class
        self._slow = ApiDurations(histogram)
        self._readers: Any = None
        self._series: dict[tuple[str | None, str | None], _Series] = {}

    def record(
        self, seconds: float, name: str | None, error_type: str | None, span: Span | None
    ) -> None:
        config = self._histogram._meter_config
        readers = self._consumer._reader_storages  # replaced when it changes
        series = self._series.get((name, error_type)) if readers is self._readers else None
        if series is None or seconds < 0 or (config is not None and not config.is_enabled):
            # The first measurement of a series makes it; the next one finds it.
            self._slow.record(seconds, name, error_type, span)
            self._learn(readers, name, error_type)
            return
        attributes, plain, others = series
        now = 0
        context: Any = None
        if self._trace_based:
            seen: Any = span
            if span is None:
                context = current_context()
                seen = context.get(SPAN_KEY)
            # The usual classes first: asking an abstract one takes long.
            wanted = (
                span is not None or type(seen) is NonRecordingSpan or isinstance(seen, Span)
            ) and bool(seen.get_span_context()[TRACE_FLAGS] & SAMPLED)
        else:
            context, now = _context_of(span), time_ns()
            wanted = self._filter(seconds, now, attributes, context)
        for histogram in plain:
            # As its `aggregate` does.
            with histogram._lock:
                counts = histogram._value
                if counts is None:
                    counts = histogram._value = histogram._get_empty_bucket_counts()
                histogram._sum += seconds
                if histogram._record_min_max:
                    # Not min() and max(): this is the path of every lookup.
                    if seconds < histogram._min:  # noqa: PLR1730
                        histogram._min = seconds
                    if seconds > histogram._max:  # noqa: PLR1730
                        histogram._max = seconds
                counts[bisect_left(histogram._boundaries, seconds)] += 1
            if wanted:
                # As its reservoir's `offer` does.
                now = now or time_ns()
                reservoir = histogram._reservoir
                with reservoir._lock:
                    bucket = reservoir._reservoir_storage[
                        bisect_left(reservoir._boundaries, seconds)
                    ]
                    if span is None:
                        bucket.offer(seconds, now, attributes, context)
                    else:
                        known = span.get_span_context()
                        bucket._ExemplarBucket__value = seconds
                        bucket._ExemplarBucket__time_unix_nano = now
                        bucket._ExemplarBucket__attributes = attributes
                        bucket._ExemplarBucket__span_id = known[SPAN_ID]
                        bucket._ExemplarBucket__trace_id = known[TRACE_ID]
                        bucket._ExemplarBucket__offered = True
        if others:
            measurement = self._measurement(seconds, now or time_ns(), attributes, span)
            for aggregate in others:
                aggregate(measurement, wanted)

    def _measurement(
        self, seconds: float, now: int, attributes: Attributes, span: Span | None
    ) -> Any:
        measurement = _new(self._measurement_class)
        # Frozen, and so closed to plain assignment.
        _set(
            measurement,
            "__dict__",
            {
                "value": seconds,
                "time_unix_nano": now,
                "instrument": self._histogram,
                "context": _context_of(span),
                "attributes": attributes,
            },
        )
        return measurement

    def _learn(self, readers: Any, name: str | None, error_type: str | None) -> None:
        """Remember where measurements of one set of attributes go, in each reader and view."""
        if readers is not self._readers:
            self._series = {}
            self._readers = readers
        attributes = duration_attributes(name, error_type)
        module = import_module("opentelemetry.sdk.metrics._internal._view_instrument_match")
        series = _Series(attributes, [], [])
        for storage in readers.values():
            for match in storage._get_or_init_view_instrument_match(self._histogram):
                if getattr(match, "_reset_on_collect", False):
                    # From 1.45.2 on: what delta temporality has collected is not added to again.
                    series.others.append(match.consume_measurement)
                    continue
                keys = match._view._attribute_keys
                kept = {k: v for k, v in attributes.items() if keys is None or k in keys}
                aggregation = match._attributes_aggregation.get(module._hash_attributes(kept))
                if aggregation is None:
                    return
                if _is_plain(aggregation):
                    series.plain.append(aggregation)
                else:
                    series.others.append(aggregation.aggregate)
        if len(self._series) < _MAX_SERIES:
            self._series[name, error_type] = series


def _context_of(span: Span | None) -> Context:
    context = current_context()
    if span is not None:
        context = Context(context)
        _set_item(context, SPAN_KEY, span)
    return context


def _is_plain(aggregation: Any) -> bool:
    """Tell whether an aggregation is the SDK's usual histogram, with its usual exemplars."""
    internal = "opentelemetry.sdk.metrics._internal"
    reservoirs = f"{internal}.exemplar.exemplar_reservoir"
    if not (
        is_known(aggregation, f"{internal}.aggregation", "_ExplicitBucketHistogramAggregation")
        and is_known(aggregation._reservoir, reservoirs, "AlignedHistogramBucketExemplarReservoir")
    ):
        return False
    module = sys.modules[reservoirs]
    return all(
        is_genuine(owner, names)
        for owner, names in (
            (type(aggregation), ("aggregate",)),
            (type(aggregation).__mro__[1], ("_sample_exemplar",)),
            (module.FixedSizeExemplarReservoirABC, ("offer",)),
            (module.AlignedHistogramBucketExemplarReservoir, ("_find_bucket_index",)),
            (module.ExemplarBucket, ("offer",)),
        )
    )
