"""The one place that makes client spans and metrics.

A wrapper hands in a frozen `Lookup` before it makes the call and an `Outcome` after it. Nothing
here raises into the application: what fails is counted, logged once, and forgotten.
"""

import logging
import os
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from functools import partial
from time import perf_counter_ns, time_ns
from typing import Any, Final

from opentelemetry.metrics import (
    CallbackOptions,
    Histogram,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
)
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    get_tracer,
)

from otel_dns import __version__, semconv
from otel_dns.client.api_path import ApiDurations, ApiSpans, DurationPath, SpanPath
from otel_dns.client.details import Attributes, Lookup, Outcome
from otel_dns.client.fast_path import (
    always_sampling,
    durations_of,
    nobody_records,
    spans_of,
    suppressed,
)
from otel_dns.client.names_bound import NamesBound, sendable
from otel_dns.client.settings import Settings
from otel_dns.client.unsampled import UnsampledRecords

_MAX_ANSWERS: Final = 32
_SURELY_SENDABLE: Final = 1000
_logger = logging.getLogger(__name__)


class Recorder:
    """Makes a span and a measurement of every lookup that it is told about."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> None:
        """Get the tracer and the instruments.

        Args:
            tracer_provider: Where spans go; the global provider if not given.
            meter_provider: Where measurements go; the global provider if not given.
            **options: See `Settings.read`.
        """
        tracer = get_tracer(semconv.CLIENT_SCOPE, __version__, tracer_provider)
        meter = get_meter(semconv.CLIENT_SCOPE, __version__, meter_provider)
        histogram = duration_histogram(
            meter,
            semconv.DNS_LOOKUP_DURATION,
            "Measures the time taken to perform a DNS lookup.",
        )
        self.tracer, self.meter, self._histogram = tracer, meter, histogram
        self.spans: SpanPath = ApiSpans(tracer)
        self.durations: DurationPath = ApiDurations(histogram)
        self._failures = meter.create_counter(
            semconv.CLIENT_FAILURES,
            unit="{failure}",
            description="Failures of the instrumentation itself, hidden from the application.",
        )
        meter.create_observable_up_down_counter(
            semconv.CLIENT_ACTIVE_LOOKUPS,
            [_observe_active],
            unit="{lookup}",
            description="Lookups that have begun and not ended.",
        )
        self.settings = Settings.read(options)
        self.names = NamesBound(self.settings.max_metric_names, self.settings.metric_names)
        self.unsampled = (
            UnsampledRecords(self._always_sampling, self._unseen)
            if self.settings.unsampled_records
            else None
        )
        """Takes lookups without a span that is sent; nothing if nobody wants them."""
        self._failure_logged = False
        self.awake = False
        """Whether somebody is known to record. As long as it is not, ask `wake`."""

    def wake(self) -> bool:
        """Find out whether anybody records: an SDK may be configured at any time.

        Returns:
            Whether lookups are to be read at all.
        """
        if nobody_records(self.tracer, self._histogram):
            return False
        if not self.settings.fast_path:
            self.awake = True
            return True
        try:
            spans, durations = spans_of(self.tracer), durations_of(self._histogram)
        except Exception as error:  # noqa: BLE001 - then by the public API
            self.failed(error)
            self.awake = True
            return True
        self.spans = spans or self.spans
        self.durations = durations or self.durations
        # As long as one of them has no SDK yet, it is looked at again.
        self.awake = spans is not None and durations is not None
        return True

    def begin(self, lookup: Lookup) -> "Ongoing | None":
        """Start to record a lookup.

        Args:
            lookup: What is looked up.

        Returns:
            The recording, to be ended by `Ongoing.end`; nothing when instrumentation is
            suppressed here, or when this call is made inside another lookup.
        """
        outer = _current.get()
        if outer is not None and not outer.over:
            return None
        if suppressed():
            return None
        settings = self.settings
        if settings.excluded is not None and settings.excluded(lookup.name):
            return LeftOut(self, lookup)
        ongoing = Ongoing(self, lookup)
        # From here on, so that a sampler or a span processor that looks up names starts nothing.
        ongoing.token = _current.set(ongoing)
        try:
            if settings.require_parent and not self.has_parent():
                ongoing.span = INVALID_SPAN
                return ongoing
            span = ongoing.span = self.spans.start(lookup, ongoing.started_at)
            if settings.request_hook is not None and span.is_recording():
                self._call(settings.request_hook, span, lookup)
        except BaseException as error:
            ongoing.leave()
            if not isinstance(error, Exception):
                raise
            self.failed(error)
            return None
        return ongoing

    def has_parent(self) -> bool:
        """Tell whether a span is active here."""
        return get_current_span().get_span_context().is_valid

    def _always_sampling(self) -> Tracer | None:
        return always_sampling(self.tracer)

    def _unseen(self, make_spans: Callable[[], None]) -> None:
        """Make spans that are no lookups, in the application's thread or in one of our own."""
        try:
            # A span processor that looks names up must not start the next record with it.
            quietly(None, make_spans)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            self.failed(error)

    def _call(self, hook: Callable[..., object], *args: object) -> None:
        try:
            hook(*args)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Count a failure of the instrumentation, and log the first one.

        Args:
            error: What was raised.
        """
        try:
            self._failures.add(1, {semconv.ERROR_TYPE: type(error).__qualname__})
            if not self._failure_logged:
                self._failure_logged = True
                _logger.warning(
                    "Recording a DNS lookup failed, the application is not affected; "
                    "further failures are only counted in %s.",
                    semconv.CLIENT_FAILURES,
                    exc_info=error,
                )
        except Exception:  # noqa: BLE001, S110 - nobody is left to tell
            pass

    def describe(self, lookup: Lookup, how: Outcome, subject: object, span: Span) -> None:
        """Put a lookup's outcome on its span.

        Args:
            lookup: What was looked up.
            how: Its outcome.
            subject: What the call returned or raised.
            span: The lookup's span, which is recording.
        """
        self.spans.describe(span, _attributes_after(how))
        if how.error_type is not None:
            span.set_status(Status(StatusCode.ERROR, sendable(str(subject))))
        hook = self.settings.response_hook
        if hook is not None:
            self._call(hook, span, lookup, how)


class Ongoing:
    """A lookup between its begin and its end."""

    __slots__ = (
        "_clock",
        "_recorder",
        "lookup",
        "over",
        "questions",
        "span",
        "started_at",
        "token",
    )

    span: Span
    questions: dict[object, int] | None
    """How often what was asked on the wire, as far as the library lets it be seen."""

    def __init__(self, recorder: Recorder, lookup: Lookup) -> None:
        self._recorder = recorder
        self.lookup = lookup
        self.over = False
        self.token: Token[Ongoing | _Elsewhere | None] | None = None
        self.questions = None
        _active.add(self)
        self.started_at = time_ns()
        self._clock = perf_counter_ns()

    def end(self, outcome: Callable[[Any], Outcome], subject: Any, *, failed: bool) -> None:
        """End the recording. Raises nothing.

        Args:
            outcome: Makes the outcome of what the call returned or raised; called only if
                somebody wants to know.
            subject: What the call returned or raised.
            failed: Whether it was raised.
        """
        elapsed = perf_counter_ns() - self._clock
        recorder, lookup, span = self._recorder, self.lookup, self.span
        unsampled = recorder.unsampled
        try:
            error_type: str | None = None
            recording = span.is_recording()
            cached: bool | None = False
            if failed or recording or (unsampled is not None and lookup.resolver.caches):
                how = outcome(subject)
                error_type, cached = how.error_type, how.cached
                if recording:
                    recorder.describe(lookup, how, subject, span)
            recorder.durations.record(
                elapsed / 1e9,
                recorder.names.bounded(lookup.name),
                error_type,
                span if recording else None,
            )
            if (
                unsampled is not None
                and not (recording and span.get_span_context().trace_flags.sampled)
                and not cached  # which asked nobody
            ):
                unsampled.add(lookup, self.started_at, elapsed, error_type)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            recorder.failed(error)
        try:
            # Start plus monotonic time: a step of the wall clock must not bend the span.
            recorder.spans.end(span, self.started_at + elapsed)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            recorder.failed(error)
        finally:
            self.leave()

    def step_out(self) -> None:
        """Make room for other lookups of this thread or task, while this one goes on elsewhere."""
        if self.token is not None:
            _current.reset(self.token)
            self.token = None

    def leave(self) -> None:
        """Make room for the next lookup of this thread or task."""
        self.over = True
        _active.discard(self)
        if self.token is not None:
            try:  # noqa: SIM105 - contextlib.suppress costs half a microsecond
                _current.reset(self.token)
            except ValueError:
                # Ended in another context than it began in; `over` says all that matters.
                pass


class LeftOut(Ongoing):
    """A lookup of a name that is left out: neither recorded nor measured, nor is what it does."""

    __slots__ = ()

    def __init__(self, recorder: Recorder, lookup: Lookup) -> None:
        super().__init__(recorder, lookup)
        _active.discard(self)
        self.span = INVALID_SPAN
        self.token = _current.set(self)

    def end(self, outcome: Callable[[Any], Outcome], subject: Any, *, failed: bool) -> None:  # noqa: ARG002
        """End what was not recorded.

        Args:
            outcome: Not called.
            subject: Not looked at.
            failed: Not looked at.
        """
        self.leave()


class _Elsewhere:
    """Stands for a lookup that another thread records, for as long as this one works for it."""

    __slots__ = ("ongoing",)
    over = False

    def __init__(self, ongoing: Ongoing | None) -> None:
        self.ongoing = ongoing


_current: ContextVar[Ongoing | _Elsewhere | None] = ContextVar("otel_dns_lookup", default=None)
"""The lookup that this thread or task is in, whichever wrapper began it."""

_active: set[Ongoing] = set()
"""All lookups that have begun and not ended. A set, whose methods need no lock to be atomic, and
observed: two measurements a lookup would cost more than all the rest."""

# Lookups of the parent's other threads will not end in the child: those threads are not there.
os.register_at_fork(after_in_child=_active.clear)


def _observe_active(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(len(_active))]


def in_lookup() -> bool:
    """Tell whether this thread or task is inside a lookup that is recorded."""
    outer = _current.get()
    return outer is not None and not outer.over


def current() -> Ongoing | None:
    """Return the recorded lookup that this thread or task is in, or works for."""
    outer = _current.get()
    if outer is None or outer.over:
        return None
    return outer.ongoing if isinstance(outer, _Elsewhere) else outer


def quietly(ongoing: Ongoing | None, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function whose lookups are part of one that another thread records.

    Args:
        ongoing: That one.
        function: What to call.
        *args: Its arguments.
    """
    token = _current.set(_Elsewhere(ongoing))
    try:
        return function(*args)
    finally:
        _current.reset(token)


def _attributes_after(outcome: Outcome) -> Attributes:
    answers, error_type, response_code, cached = outcome
    attributes: Attributes = {}
    if answers:
        answers = answers[:_MAX_ANSWERS]
        together = "".join(answers)
        if not (together.isascii() and len(together) <= _SURELY_SENDABLE):
            answers = tuple(map(sendable, answers))
        attributes[semconv.DNS_ANSWERS] = answers
    if error_type is not None:
        attributes[semconv.ERROR_TYPE] = error_type
    if response_code is not None:
        attributes[semconv.DNS_RESPONSE_CODE] = response_code
    if cached is not None:
        attributes[semconv.LOOKUP_CACHED] = cached
    return attributes


def duration_histogram(meter: Meter, name: str, description: str) -> Histogram:
    """Make a histogram of seconds, in the buckets that the semantic conventions have for lookups.

    Args:
        meter: Whose.
        name: Its name.
        description: Its description.
    """
    create = partial(meter.create_histogram, name, unit="s", description=description)
    try:
        return create(explicit_bucket_boundaries_advisory=semconv.DNS_LOOKUP_DURATION_BUCKETS)
    except TypeError:  # a provider older than the advice
        return create()
