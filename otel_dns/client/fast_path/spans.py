"""Lookup spans as the SDK makes them, without what all of them have in common being made anew."""

import sys
from copy import copy
from importlib import import_module
from threading import Lock
from typing import Any, Final, NamedTuple

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
from otel_dns.client.api_path import ApiSpans, SpanPath
from otel_dns.client.details import Attributes, Lookup
from otel_dns.client.fast_path.current import (
    IS_REMOTE,
    IS_VALID,
    SAMPLED,
    SPAN_KEY,
    TRACE_FLAGS,
    TRACE_ID,
    TRACE_STATE,
    current_context,
)
from otel_dns.client.fast_path.genuine import is_genuine, is_known
from otel_dns.client.fast_path.sampling import MOST_SPAN_ID, rules_of

_CLIENT: Final = SpanKind.CLIENT
_FLAGS: Final = tuple(TraceFlags(number) for number in range(4))
_RANDOM: Final = int(getattr(TraceFlags, "RANDOM_TRACE_ID", 2))  # an older API has none
_MOST_TRACE_ID: Final = (1 << 128) - 1
_NO_STATE: Final = TraceState()
_new: Any = object.__new__
_new_tuple: Any = tuple.__new__


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
    if is_known(real, "opentelemetry.sdk.trace", "Tracer"):
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
            all(is_genuine(owner, names) for owner, names in touched)
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
        self._rules = rules_of(self._sampler, sdk.sampling)
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
        if parent is None or not parent[IS_VALID]:
            parent = None
            trace_id = ids.generate_trace_id()
            random = _RANDOM if ids.is_trace_id_random() else 0
        else:
            trace_id = parent[TRACE_ID]
            random = parent[TRACE_FLAGS] & _RANDOM
        sampler = tracer.sampler
        given: Any = None
        attributes: Attributes | None = None
        if sampler is self._sampler and self._rules is not None:
            # One of the SDK's own: what it would say follows from what it looks at.
            if parent is None:
                rule = self._rules[0]
                state = _NO_STATE
            else:
                rule = self._rules[1 + 2 * parent[IS_REMOTE] + (parent[TRACE_FLAGS] & SAMPLED)]
                state = parent[TRACE_STATE]
            sampled = recorded = trace_id & MOST_SPAN_ID < rule
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
        if 0 < trace_id <= _MOST_TRACE_ID and 0 < span_id <= MOST_SPAN_ID:
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
        current: Any = current_context().get(SPAN_KEY)
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
        elif context[TRACE_FLAGS] & SAMPLED:
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
        if is_genuine(cls, hooks)
    ]
    return _KnownProcessors(
        several if is_genuine(several, hooks) else None,
        frozenset(quiet),
        export.BatchSpanProcessor if export.BatchSpanProcessor in quiet else None,
    )
