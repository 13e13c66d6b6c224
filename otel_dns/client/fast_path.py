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
from bisect import bisect_left
from collections.abc import Callable
from copy import copy
from importlib import import_module
from threading import Lock
from time import time_ns
from types import FunctionType
from typing import Any, Final, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Histogram, NoOpHistogram
from opentelemetry.trace import (
    NonRecordingSpan,
    NoOpTracer,
    ProxyTracer,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    Tracer,
)
from opentelemetry.trace.span import TraceState

from otel_dns import semconv
from otel_dns.client.api_path import (
    ApiDurations,
    ApiSpans,
    DurationPath,
    SpanPath,
    duration_attributes,
)
from otel_dns.client.details import Attributes, Lookup

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
_FLAGS: Final = tuple(TraceFlags(number) for number in range(4))
_MOST_TRACE_ID: Final = (1 << 128) - 1
_MOST_SPAN_ID: Final = (1 << 64) - 1
# Places in the tuple that a SpanContext is.
_TRACE_ID: Final = 0
_SPAN_ID: Final = 1
_IS_REMOTE: Final = 2
_TRACE_FLAGS: Final = 3
_TRACE_STATE: Final = 4
_IS_VALID: Final = 5
_SAMPLED: Final = int(TraceFlags.SAMPLED)
_RANDOM: Final = int(TraceFlags.RANDOM_TRACE_ID)
_NO_STATE: Final = TraceState()
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


def always_sampling(tracer: Tracer) -> Tracer | None:
    """Return a tracer whose spans are all sampled, and go where another one's go.

    Args:
        tracer: The other one; its own sampler is not changed.

    Returns:
        Nothing as long as it has no SDK behind it.
    """
    real: Any = getattr(tracer, "_tracer", tracer)  # what a proxy stands for
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None or type(real) is not sdk.Tracer:
        return None
    other: Any = copy(real)
    other.sampler = sdk.sampling.ALWAYS_ON
    always: Tracer = other
    return always


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
        self._limits = tracer._span_limits
        self._noop = noop
        self._drop = sdk.sampling.Decision.DROP
        self._sample = sdk.sampling.Decision.RECORD_AND_SAMPLE
        self._max_attributes = self._limits.max_span_attributes
        self._sdk_class = sdk._Span
        self._nothing = sdk.BoundedList(0)
        self._attributes_class = _derived(
            sdk.BoundedAttributes,
            {
                "maxlen": self._max_attributes,
                "dropped": 0,
                "max_value_len": None,
                "_immutable": False,
            },
        )
        self._span_class = _span_class(tracer, sdk._Span, noop, self._nothing)
        self._readable_class = _derived(
            sdk.ReadableSpan,
            {name: getattr(self._span_class, name) for name in _SAME_FOR_ALL},
        )
        self._sampler = tracer.sampler
        self._rules = _rules_of(self._sampler, sdk.sampling)
        self._known_processors = _known_processors(sdk)
        self._processors: Any = None
        self._on_start: list[Any] = []
        self._on_ending: list[Any] = []
        self._on_end: list[Any] = []

    def start(self, lookup: Lookup, started_at: int) -> Span:
        tracer = self._tracer
        config = tracer._tracer_config  # replaced as a whole when it changes
        if not config.is_enabled:
            return self._slow.start(lookup, started_at)
        parent = self._parent()
        ids = tracer.id_generator
        if parent is None or not parent[_IS_VALID]:
            parent = None
            trace_id = ids.generate_trace_id()
            random = _RANDOM if ids.is_trace_id_random() else 0
        else:
            trace_id = parent[_TRACE_ID]
            random = parent[_TRACE_FLAGS] & _RANDOM
        sampler = tracer.sampler
        given: Any = None
        attributes: Attributes | None = None
        if sampler is self._sampler and self._rules is not None:
            # One of the SDK's own: what it would say follows from what it looks at.
            if parent is None:
                rule = self._rules[0]
                state = _NO_STATE
            else:
                rule = self._rules[1 + 2 * parent[_IS_REMOTE] + (parent[_TRACE_FLAGS] & _SAMPLED)]
                state = parent[_TRACE_STATE]
            sampled = recorded = trace_id & _MOST_SPAN_ID < rule
        else:
            attributes = lookup.attributes()
            result = sampler.should_sample(
                None, trace_id, semconv.LOOKUP_SPAN, _CLIENT, attributes, ()
            )
            sampled = result.decision is self._sample
            recorded = result.decision is not self._drop
            given = result.attributes
            state = _NO_STATE if result.trace_state is None else result.trace_state
        flags = _FLAGS[random | sampled]
        span_id = ids.generate_span_id()
        if 0 < trace_id <= _MOST_TRACE_ID and 0 < span_id <= _MOST_SPAN_ID:
            context = _new_tuple(SpanContext, (trace_id, span_id, False, flags, state, True))
        else:
            context = SpanContext(trace_id, span_id, False, flags, state)
        if not recorded:
            return NonRecordingSpan(context)
        if attributes is None:
            given = attributes = lookup.attributes()
        most = self._max_attributes
        if given == attributes and (most is None or len(attributes) <= most):
            span = self._of_parts(attributes, context, parent, started_at)
        else:
            span = self._of_the_sdk(given, context, parent)
            span._start_time = started_at
        processor = tracer.span_processor
        if self._are_known(processor):
            for on_start in self._on_start:
                on_start(span, parent_context=None)
        else:
            processor.on_start(span, parent_context=None)
        made: Span = span
        return made

    def _parent(self) -> SpanContext | None:
        """Return what `get_current_span` finds, without the long way round."""
        current: Any = _current_context().get(_SPAN_KEY)
        cls = type(current)
        if cls is self._sdk_class or cls is NonRecordingSpan:
            known: SpanContext = current._context
            return known
        return current.get_span_context() if isinstance(current, Span) else None

    def _are_known(self, processor: Any) -> bool:
        """Tell whether a tracer's span processors are those whose hooks are at hand."""
        if type(processor) is not self._known_processors.several:
            return False
        processors = processor._span_processors  # replaced as a whole when one is added
        if processors is not self._processors:
            nothing, batching = (
                self._known_processors.without_hooks,
                self._known_processors.batching,
            )
            others = [one for one in processors if type(one) not in nothing]
            self._on_start = [one.on_start for one in others]
            self._on_ending = [one._on_ending for one in others]
            self._on_end = [
                one._batch_processor.emit if type(one) is batching else one.on_end
                for one in processors
            ]
            self._processors = processors
        return True

    def _of_the_sdk(self, attributes: Any, context: SpanContext, parent: SpanContext | None) -> Any:
        tracer = self._tracer
        return self._sdk_class(
            name=semconv.LOOKUP_SPAN,
            context=context,
            parent=parent,
            sampler=tracer.sampler,
            resource=tracer.resource,
            attributes=attributes,
            span_processor=tracer.span_processor,
            kind=_CLIENT,
            links=(),
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
        tracer = self._tracer
        bounded = _new(self._attributes_class)
        bounded._dict = attributes
        bounded._lock = Lock()
        span = _new(self._span_class)
        span._context = context
        span._parent = parent
        span._start_time = started_at
        span._attributes = bounded
        span._resource = tracer.resource
        span._sampler = tracer.sampler
        span._span_processor = tracer.span_processor
        span._lock = Lock()
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
        attributes = span._attributes
        attributes._immutable = True
        processor = span._span_processor
        known = self._are_known(processor)
        if not known:
            processor._on_ending(span)
        elif self._on_ending:
            for on_ending in self._on_ending:
                on_ending(span)
        context = span._context
        readable = _new(self._readable_class)
        readable._context = context
        readable._parent = span._parent
        readable._start_time = span._start_time
        readable._end_time = ended_at
        readable._attributes = attributes
        readable._resource = span._resource
        # What few spans have of their own.
        if span._name is not semconv.LOOKUP_SPAN:
            readable._name = span._name
        if span._status is not self._readable_class._status:
            readable._status = span._status
        if span._events is not self._nothing:
            readable._events = span._events
        if span._links is not self._nothing:
            readable._links = span._links
        if not known:
            processor.on_end(readable)
        elif context[_TRACE_FLAGS] & _SAMPLED:
            for on_end in self._on_end:
                on_end(readable)
        else:
            processor.on_end(readable)


_SAME_FOR_ALL: Final = (
    "_name",
    "_kind",
    "_instrumentation_info",
    "_instrumentation_scope",
    "_events",
    "_links",
    "_status",
)


def _derived(base: type, values: dict[str, Any]) -> Any:
    """Return a class that looks like its base, with values that all its objects share."""
    return type(base.__name__, (base,), {"__module__": base.__module__, **values})


def _span_class(tracer: Any, base: Any, noop: Any, nothing: Any) -> Any:
    """Return a class of spans that have in common, as the class's, what all lookups' spans have."""

    def add_event(self: Any, event: Any) -> None:
        if self._events is nothing and self._end_time is None:
            self._events = self._new_events()
        base._add_event(self, event)

    def add_link(self: Any, link: Any) -> None:
        if self._links is nothing and self._end_time is None:
            self._links = self._new_links(())
        base._add_link(self, link)

    model = base(
        semconv.LOOKUP_SPAN,
        None,
        sampler=tracer.sampler,
        resource=tracer.resource,
        limits=tracer._span_limits,
        kind=_CLIENT,
    )
    return _derived(
        base,
        {
            "_add_event": add_event,
            "_add_link": add_link,
            "_name": semconv.LOOKUP_SPAN,
            "_kind": _CLIENT,
            "_instrumentation_info": tracer.instrumentation_info,
            "_instrumentation_scope": tracer._instrumentation_scope,
            "_end_time": None,
            "_events": nothing,
            "_links": nothing,
            "_status": model._status,  # the one that the SDK gives to all spans
            "_trace_config": None,
            "_record_exception": True,
            "_set_status_on_exception": True,
            "_limits": tracer._span_limits,
            "_record_end_metrics": staticmethod(noop),
        },
    )


def _rules_of(sampler: Any, sampling: Any) -> tuple[int, ...] | None:
    """Return what the SDK's own samplers compare a trace id's lower half with, by parent.

    Args:
        sampler: A tracer's sampler.
        sampling: The SDK's module of samplers.

    Returns:
        The bounds for no parent; for one here, not sampled and sampled; for a remote one, not
        sampled and sampled. Nothing if any of them is somebody else's sampler.
    """
    own = (sampling.ParentBased, sampling.StaticSampler, sampling.TraceIdRatioBased)
    if not all(_is_genuine(cls, ("should_sample",)) for cls in own):
        return None
    if type(sampler) is sampling.ParentBased:
        asked = (
            sampler._root,
            sampler._local_parent_not_sampled,
            sampler._local_parent_sampled,
            sampler._remote_parent_not_sampled,
            sampler._remote_parent_sampled,
        )
    else:
        asked = (sampler,) * 5
    always = {sampling.Decision.RECORD_AND_SAMPLE: _MOST_SPAN_ID + 1, sampling.Decision.DROP: 0}
    bounds = []
    for one in asked:
        if type(one) is sampling.TraceIdRatioBased:
            bounds.append(one._bound)
        elif type(one) is sampling.StaticSampler and one._decision in always:
            bounds.append(always[one._decision])
        else:
            return None
    return tuple(bounds)


class _KnownProcessors(NamedTuple):
    several: Any
    """Calls one span processor after the other."""
    without_hooks: frozenset[type]
    """Do something at a span's end only."""
    batching: Any
    """Hands a sampled span on at its end, and that is all."""


def _known_processors(sdk: Any) -> _KnownProcessors:
    export = import_module("opentelemetry.sdk.trace.export")
    hooks = ("on_start", "_on_ending", "on_end")
    several = sdk.SynchronousMultiSpanProcessor
    quiet = [
        cls
        for cls in (export.BatchSpanProcessor, export.SimpleSpanProcessor)
        if _is_genuine(cls, hooks)
    ]
    return _KnownProcessors(
        several if _is_genuine(several, hooks) else None,
        frozenset(quiet),
        export.BatchSpanProcessor if export.BatchSpanProcessor in quiet else None,
    )


class _Series(NamedTuple):
    """Where the measurements of one set of attributes go."""

    attributes: Attributes
    plain: list[Any]
    """Aggregations that are a histogram with an exemplar for each bucket: the usual ones."""
    others: list[Any]
    """Methods of all others."""


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
                context = _current_context()
                seen = context.get(_SPAN_KEY)
            # The usual classes first: asking an abstract one takes long.
            wanted = (
                span is not None or type(seen) is NonRecordingSpan or isinstance(seen, Span)
            ) and bool(seen.get_span_context()[_TRACE_FLAGS] & _SAMPLED)
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
                        bucket._ExemplarBucket__span_id = known[_SPAN_ID]
                        bucket._ExemplarBucket__trace_id = known[_TRACE_ID]
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
    context = _current_context()
    if span is not None:
        context = Context(context)
        _set_item(context, _SPAN_KEY, span)
    return context


def _is_plain(aggregation: Any) -> bool:
    """Tell whether an aggregation is the SDK's usual histogram, with its usual exemplars."""
    internal = "opentelemetry.sdk.metrics._internal"
    reservoirs = f"{internal}.exemplar.exemplar_reservoir"
    if not (
        _is_known(aggregation, f"{internal}.aggregation", "_ExplicitBucketHistogramAggregation")
        and _is_known(aggregation._reservoir, reservoirs, "AlignedHistogramBucketExemplarReservoir")
    ):
        return False
    module = sys.modules[reservoirs]
    return all(
        _is_genuine(owner, names)
        for owner, names in (
            (type(aggregation), ("aggregate",)),
            (type(aggregation).__mro__[1], ("_sample_exemplar",)),
            (module.FixedSizeExemplarReservoirABC, ("offer",)),
            (module.AlignedHistogramBucketExemplarReservoir, ("_find_bucket_index",)),
            (module.ExemplarBucket, ("offer",)),
        )
    )
