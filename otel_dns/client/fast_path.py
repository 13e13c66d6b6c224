"""A shortcut past OpenTelemetry's public API, for the exact SDK that it was written against.

By the public API a lookup's span and measurement cost several times what they need to: attributes
that are clean already are cleaned one by one, twice, and what only depends on the names of metric
attributes is found anew for each measurement. Everything that the SDK's behaviour consists of is
kept: the sampler is asked, span processors and exemplar filters are called, in the same order and
with the same arguments. `tests/client/test_client_fast_path.py` compares the two.

This is the only file that touches what is private to OpenTelemetry. Whatever is not exactly as
expected (version, classes, a method that somebody replaced, limits that cut attributes) goes by
the public API, see `otel_dns.client.api_path`.
"""

import sys
from collections import deque
from collections.abc import Callable
from importlib import import_module
from threading import Lock
from time import time_ns
from types import FunctionType
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Histogram, NoOpHistogram
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    NoOpTracer,
    ProxyTracer,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
)

from otel_dns import semconv
from otel_dns.client.api_path import ApiDurations, ApiSpans, Attributes, DurationPath, SpanPath

KNOWN_SDKS: Final = frozenset({"1.45.1"})
"""Versions of opentelemetry-sdk whose source this was compared with."""

_SUPPRESS_KEY: Final = getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", None)
_SPAN_KEY: Final = getattr(trace.propagation, "_SPAN_KEY", "")
_RUNTIME_CONTEXT: Final = getattr(context_api, "_RUNTIME_CONTEXT", None)
_current_context: Callable[[], Context] = (
    _RUNTIME_CONTEXT._current_context.get  # the context variable itself
    if type(_RUNTIME_CONTEXT) is ContextVarsRuntimeContext
    else get_current
)
_MAX_SERIES: Final = 4096
_CLIENT: Final = SpanKind.CLIENT
_INVALID: Final = INVALID_SPAN.get_span_context()
_FLAGS: Final = tuple(TraceFlags(number) for number in range(4))
_MOST_TRACE_ID: Final = (1 << 128) - 1
_MOST_SPAN_ID: Final = (1 << 64) - 1
# Places in the tuple that a SpanContext is.
_TRACE_ID: Final = 0
_TRACE_FLAGS: Final = 3
_IS_VALID: Final = 5
_SAMPLED: Final = int(TraceFlags.SAMPLED)
_RANDOM: Final = int(TraceFlags.RANDOM_TRACE_ID)
_new: Any = object.__new__
_new_tuple: Any = tuple.__new__
_set: Any = object.__setattr__
_set_item: Any = dict.__setitem__


def nobody_records(tracer: Tracer, histogram: Histogram) -> bool:
    """Tell, as fast as can be, that neither a tracer nor a histogram has an SDK behind it.

    Args:
        tracer: What `get_tracer` returned; it may come to life later.
        histogram: What ``create_histogram`` returned; it may come to life later.
    """
    try:
        return (
            # Proxies become real with the global provider, and stay so.
            type(tracer) is ProxyTracer
            and tracer._real_tracer is None
            and trace._TRACER_PROVIDER is None
            and histogram._real_instrument is None  # type: ignore[attr-defined]
        ) or (type(tracer) is NoOpTracer and type(histogram) is NoOpHistogram)
    except AttributeError:
        return False


def suppressed() -> bool:
    """Tell whether instrumentation is suppressed here."""
    if _SUPPRESS_KEY is None:
        return not is_instrumentation_enabled()
    current = _current_context()
    return bool(current.get(_SUPPRESS_KEY) or current.get("suppress_instrumentation"))


def spans_of(tracer: Tracer) -> SpanPath | None:
    """Return the way to a tracer's spans; nothing as long as it has no SDK behind it.

    Args:
        tracer: What `get_tracer` returned.
    """
    real: Any = tracer
    if type(tracer) is ProxyTracer:
        real = getattr(tracer, "_tracer", None)
        if type(real) is NoOpTracer:
            return None
    if _is_known(real, "opentelemetry.sdk.trace", "Tracer"):
        sdk = import_module("opentelemetry.sdk.trace")
        metrics = import_module("opentelemetry.sdk.trace._tracer_metrics")
        touched = (
            (sdk.Tracer, ("start_span", "_is_enabled")),
            (sdk.ReadableSpan, ("__init__",)),
            (
                sdk.Span,
                ("__init__", "start", "end", "set_attributes", "is_recording", "_readable_span"),
            ),
        )
        limits = real._span_limits
        if (
            all(_is_genuine(owner, names) for owner, names in touched)
            and type(real._tracer_metrics) is metrics.NoOpTracerMetrics
            and limits.max_span_attribute_length is None
        ):
            return _SdkSpans(real, sdk, metrics.noop)
    return ApiSpans(real if isinstance(real, Tracer) else tracer)


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
    if _is_known(real, "opentelemetry.sdk.metrics._internal.instrument", "_Histogram"):
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
        if all(_is_genuine(owner, names) for owner, names in touched) and (
            type(behind) is consumer.SynchronousMeasurementConsumer
        ):
            return _SdkDurations(real, measurement.Measurement)
    return ApiDurations(histogram)


def _is_known(candidate: object, module: str, name: str) -> bool:
    """Tell whether an object is exactly of one class of a known SDK. Imports nothing new."""
    cls = type(candidate)
    if cls.__module__ != module or cls.__qualname__ != name:
        return False
    version = import_module("opentelemetry.sdk.version").__version__
    return cls is getattr(sys.modules[module], name) and version in KNOWN_SDKS


def _is_genuine(owner: type, names: tuple[str, ...]) -> bool:
    """Tell whether a class's methods are those of its own file, which nobody has replaced."""
    file = sys.modules[owner.__module__].__file__
    methods = [vars(owner).get(name) for name in names]
    return all(type(m) is FunctionType and m.__code__.co_filename == file for m in methods)


class _SdkSpans:
    """Does what the SDK's `Tracer.start_span`, `Span.set_attributes` and `Span.end` do."""

    def __init__(self, tracer: Any, sdk: Any, noop: Any) -> None:
        self._tracer = tracer
        self._slow = ApiSpans(tracer)
        self._span_class = sdk._Span
        self._readable_class = sdk.ReadableSpan
        self._attributes_class = sdk.BoundedAttributes
        self._list_class = sdk.BoundedList
        self._limits = tracer._span_limits
        self._noop = noop
        self._drop = sdk.sampling.Decision.DROP
        self._sample = sdk.sampling.Decision.RECORD_AND_SAMPLE
        # The one that the SDK gives to all spans.
        self._status = self._of_the_sdk({}, _INVALID, None, ())._status
        self._max_attributes = self._limits.max_span_attributes

    def start(self, attributes: Attributes, started_at: int) -> Span:
        tracer = self._tracer
        config = tracer._tracer_config  # replaced as a whole when it changes
        if not config.is_enabled:
            return self._slow.start(attributes, started_at)
        parent = self._parent()
        ids = tracer.id_generator
        if parent is None or not parent[_IS_VALID]:
            parent = None
            trace_id = ids.generate_trace_id()
            random = _RANDOM if ids.is_trace_id_random() else 0
        else:
            trace_id = parent[_TRACE_ID]
            random = parent[_TRACE_FLAGS] & _RANDOM
        result = tracer.sampler.should_sample(
            None, trace_id, semconv.LOOKUP_SPAN, _CLIENT, attributes, ()
        )
        decision = result.decision
        flags = _FLAGS[random | (_SAMPLED if decision is self._sample else 0)]
        span_id = ids.generate_span_id()
        if result.trace_state is None or not (
            0 < trace_id <= _MOST_TRACE_ID and 0 < span_id <= _MOST_SPAN_ID
        ):
            context = SpanContext(trace_id, span_id, False, flags, result.trace_state)
        else:
            context = _new_tuple(
                SpanContext, (trace_id, span_id, False, flags, result.trace_state, True)
            )
        if decision is self._drop:
            return NonRecordingSpan(context)
        given = result.attributes
        if given == attributes and (
            self._max_attributes is None or len(attributes) <= self._max_attributes
        ):
            span = self._of_parts(attributes.copy(), context, parent, started_at)
        else:
            span = self._of_the_sdk(given, context, parent, ())
            span._start_time = started_at
        tracer.span_processor.on_start(span, parent_context=None)
        made: Span = span
        return made

    def _parent(self) -> SpanContext | None:
        """Return what `get_current_span` finds, without the long way round."""
        current: Any = _current_context().get(_SPAN_KEY)
        cls = type(current)
        if cls is self._span_class or cls is NonRecordingSpan:
            known: SpanContext = current._context
            return known
        return current.get_span_context() if isinstance(current, Span) else None

    def _of_the_sdk(
        self, attributes: Any, context: SpanContext, parent: SpanContext | None, links: Any
    ) -> Any:
        tracer = self._tracer
        return self._span_class(
            name=semconv.LOOKUP_SPAN,
            context=context,
            parent=parent,
            sampler=tracer.sampler,
            resource=tracer.resource,
            attributes=attributes,
            span_processor=tracer.span_processor,
            kind=_CLIENT,
            links=links,
            instrumentation_info=tracer.instrumentation_info,
            record_exception=True,
            set_status_on_exception=True,
            limits=self._limits,
            instrumentation_scope=tracer._instrumentation_scope,
            record_end_metrics=self._noop,
        )

    def _of_parts(
        self,
        attributes: Attributes,
        context: SpanContext,
        parent: SpanContext | None,
        started_at: int,
    ) -> Any:
        # Attribute by attribute: a dictionary put in as a whole would cost more, and be one more
        # object for the garbage collector.
        tracer, limits = self._tracer, self._limits
        bounded = _new(self._attributes_class)
        bounded._dict = attributes
        bounded.maxlen = self._max_attributes
        bounded.dropped = 0
        bounded.max_value_len = None
        bounded._lock = Lock()
        bounded._immutable = False
        events = _new(self._list_class)
        events.dropped = 0
        events._dq = deque(maxlen=limits.max_events)
        events._lock = Lock()
        links = _new(self._list_class)
        links.dropped = 0
        links._dq = deque(maxlen=limits.max_links)
        links._lock = Lock()
        span = _new(self._span_class)
        span._name = semconv.LOOKUP_SPAN
        span._context = context
        span._kind = _CLIENT
        span._instrumentation_info = tracer.instrumentation_info
        span._instrumentation_scope = tracer._instrumentation_scope
        span._parent = parent
        span._start_time = started_at
        span._end_time = None
        span._attributes = bounded
        span._events = events
        span._links = links
        span._resource = tracer.resource
        span._status = self._status
        span._sampler = tracer.sampler
        span._trace_config = None
        span._record_exception = True
        span._set_status_on_exception = True
        span._span_processor = tracer.span_processor
        span._limits = limits
        span._lock = Lock()
        span._record_end_metrics = self._noop
        return span

    def describe(self, span: Any, attributes: Attributes) -> None:
        if type(span) is not self._span_class or span._end_time is not None:
            span.set_attributes(attributes)
            return
        bounded = span._attributes
        held = bounded._dict
        most = self._max_attributes
        if held.keys().isdisjoint(attributes) and (
            most is None or len(held) + len(attributes) <= most
        ):
            held.update(attributes)
        else:
            bounded._set_items(attributes)

    def end(self, span: Any, ended_at: int) -> None:
        cls = type(span)
        if cls is NonRecordingSpan:
            return
        if cls is not self._span_class or span._end_time is not None:
            span.end(ended_at)
            return
        span._end_time = ended_at
        span._attributes._immutable = True
        processor = span._span_processor
        processor._on_ending(span)
        readable = _new(self._readable_class)
        readable._name = span._name
        readable._context = span._context
        readable._kind = span._kind
        readable._instrumentation_info = span._instrumentation_info
        readable._instrumentation_scope = span._instrumentation_scope
        readable._parent = span._parent
        readable._start_time = span._start_time
        readable._end_time = ended_at
        readable._attributes = span._attributes
        readable._events = span._events
        readable._links = span._links
        readable._resource = span._resource
        readable._status = span._status
        processor.on_end(readable)


class _SdkDurations:
    """Does what the SDK's `Histogram.record` does, and finds each series of it only once."""

    def __init__(self, histogram: Any, measurement_class: Any) -> None:
        self._histogram = histogram
        self._consumer = histogram._measurement_consumer
        self._filter = self._consumer._sdk_config.exemplar_filter.should_sample
        # The default, whose answer is as quickly found as asked for.
        self._trace_based = _is_known(
            self._filter.__self__,
            "opentelemetry.sdk.metrics._internal.exemplar.exemplar_filter",
            "TraceBasedExemplarFilter",
        )
        self._measurement_class = measurement_class
        self._slow = ApiDurations(histogram)
        self._readers: Any = None
        self._series: dict[tuple[str, str | None], tuple[Attributes, list[Any]]] = {}

    def record(self, seconds: float, name: str, error_type: str | None, span: Span | None) -> None:
        config = self._histogram._meter_config
        readers = self._consumer._reader_storages  # replaced when it changes
        series = self._series.get((name, error_type)) if readers is self._readers else None
        if series is None or seconds < 0 or (config is not None and not config.is_enabled):
            # The first measurement of a series makes it; the next one finds it.
            self._slow.record(seconds, name, error_type, span)
            self._learn(readers, name, error_type)
            return
        attributes, aggregations = series
        context = _current_context()
        if span is not None:
            context = Context(context)
            _set_item(context, _SPAN_KEY, span)
        now = time_ns()
        if self._trace_based:
            seen: Any = context.get(_SPAN_KEY)
            # The usual classes first: asking an abstract one takes long.
            wanted = (
                type(seen) is NonRecordingSpan or span is not None or isinstance(seen, Span)
            ) and bool(seen.get_span_context()[_TRACE_FLAGS] & _SAMPLED)
        else:
            wanted = self._filter(seconds, now, attributes, context)
        measurement = _new(self._measurement_class)
        # Frozen, and so closed to plain assignment.
        _set(
            measurement,
            "__dict__",
            {
                "value": seconds,
                "time_unix_nano": now,
                "instrument": self._histogram,
                "context": context,
                "attributes": attributes,
            },
        )
        for aggregate in aggregations:
            aggregate(measurement, wanted)

    def _learn(self, readers: Any, name: str, error_type: str | None) -> None:
        """Remember where measurements of one set of attributes go, in each reader and view."""
        if readers is not self._readers:
            self._series = {}
            self._readers = readers
        attributes: Attributes = {semconv.DNS_QUESTION_NAME: name}
        if error_type is not None:
            attributes[semconv.ERROR_TYPE] = error_type
        module = import_module("opentelemetry.sdk.metrics._internal._view_instrument_match")
        found = []
        for storage in readers.values():
            for match in storage._get_or_init_view_instrument_match(self._histogram):
                keys = match._view._attribute_keys
                kept = {k: v for k, v in attributes.items() if keys is None or k in keys}
                aggregation = match._attributes_aggregation.get(module._hash_attributes(kept))
                if aggregation is None:
                    return
                found.append(aggregation.aggregate)
        if len(self._series) < _MAX_SERIES:
            self._series[name, error_type] = (attributes, found)
