"""The one place that makes client spans and metrics.

A wrapper hands in a frozen `Lookup` before it makes the call and an `Outcome` after it. Nothing
here raises into the application: what fails is counted, logged once, and forgotten.
"""

import itertools
import logging
import os
import time
from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import partial
from typing import Any, Final

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Histogram, Meter, MeterProvider, get_meter
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    TracerProvider,
    get_tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from otel_dns import __version__, semconv
from otel_dns.client.details import Lookup, Outcome

MAX_NAMES_VARIABLE: Final = "OTEL_DNS_CLIENT_MAX_METRIC_NAMES"
DEFAULT_MAX_NAMES: Final = 100

_MAX_ANSWERS = 32
_MAX_TEXT = 1024
"""No name is longer, escapes included; and no answer or message needs to be."""

_logger = logging.getLogger(__name__)


class Recorder:
    """Makes a span and a measurement of every lookup that it is told about."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        *,
        max_metric_names: int | None = None,
    ) -> None:
        """Get the tracer and the instruments.

        Args:
            tracer_provider: Where spans go; the global provider if not given.
            meter_provider: Where measurements go; the global provider if not given.
            max_metric_names: How many distinct names the metric may carry; all others are counted
                under one value. If not given, the environment variable
                ``OTEL_DNS_CLIENT_MAX_METRIC_NAMES`` says, else 100.
        """
        self._tracer = get_tracer(semconv.CLIENT_SCOPE, __version__, tracer_provider)
        meter = get_meter(semconv.CLIENT_SCOPE, __version__, meter_provider)
        self._duration = _duration_histogram(meter)
        self._failures = meter.create_counter(
            semconv.CLIENT_FAILURES,
            unit="{failure}",
            description="Failures of the instrumentation itself, hidden from the application.",
        )
        self._names = _Names(_max_names() if max_metric_names is None else max_metric_names)
        self._failure_logged = False

    def begin(self, lookup: Lookup) -> "Ongoing | None":
        """Start to record a lookup.

        Args:
            lookup: What is looked up.

        Returns:
            The recording, to be ended by `Ongoing.end`; nothing when instrumentation is
            suppressed here, or when this call is made inside another lookup.
        """
        if in_lookup():
            return None
        if not is_instrumentation_enabled():
            return None
        ongoing = Ongoing(self, lookup)
        # From here on, so that a sampler or a span processor that looks up names starts nothing.
        ongoing.token = _current.set(ongoing)
        try:
            ongoing.span = self._tracer.start_span(
                semconv.LOOKUP_SPAN,
                kind=SpanKind.CLIENT,
                attributes=_attributes_before(lookup),
                start_time=ongoing.started_at,
            )
        except BaseException as error:
            ongoing.leave()
            if not isinstance(error, Exception):
                raise
            self.failed(error)
            return None
        return ongoing

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

    def measure(self, lookup: Lookup, seconds: float, error_type: str | None, span: Span) -> None:
        """Record the duration of a lookup, with the span as its exemplar if it is recorded.

        Args:
            lookup: What was looked up.
            seconds: How long it took.
            error_type: How it failed, if it did.
            span: The lookup's span.
        """
        attributes = {semconv.DNS_QUESTION_NAME: self._names.bounded(lookup.name)}
        if error_type is not None:
            attributes[semconv.ERROR_TYPE] = error_type
        context = set_span_in_context(span) if span.is_recording() else None
        self._duration.record(seconds, attributes, context)


class Ongoing:
    """A lookup between its begin and its end."""

    __slots__ = ("_clock", "_recorder", "lookup", "over", "span", "started_at", "token")

    span: Span

    def __init__(self, recorder: Recorder, lookup: Lookup) -> None:
        self._recorder = recorder
        self.lookup = lookup
        self.over = False
        self.token: Token[Ongoing | _Elsewhere | None] | None = None
        self.started_at = time.time_ns()
        self._clock = time.perf_counter_ns()

    def end(self, outcome: Callable[[Any], Outcome], subject: Any, *, failed: bool) -> None:
        """End the recording. Raises nothing.

        Args:
            outcome: Makes the outcome of what the call returned or raised; called only if
                somebody wants to know.
            subject: What the call returned or raised.
            failed: Whether it was raised.
        """
        elapsed = time.perf_counter_ns() - self._clock
        span = self.span
        try:
            error_type: str | None = None
            if failed or span.is_recording():
                how = outcome(subject)
                error_type = how.error_type
                if span.is_recording():
                    span.set_attributes(_attributes_after(how))
                    if error_type is not None:
                        span.set_status(Status(StatusCode.ERROR, _text(str(subject))))
            self._recorder.measure(self.lookup, elapsed / 1e9, error_type, span)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            self._recorder.failed(error)
        try:
            # Start plus monotonic time: a step of the wall clock must not bend the span.
            span.end(self.started_at + elapsed)
        except Exception as error:  # noqa: BLE001 - the application must not see it
            self._recorder.failed(error)
        finally:
            self.leave()

    def leave(self) -> None:
        """Make room for the next lookup of this thread or task."""
        self.over = True
        if self.token is not None:
            try:  # noqa: SIM105 - contextlib.suppress costs half a microsecond
                _current.reset(self.token)
            except ValueError:
                # Ended in another context than it began in; `over` says all that matters.
                pass


class _Elsewhere:
    """Stands for a lookup that another thread records, for as long as this one works for it."""

    over = False


_ELSEWHERE: Final = _Elsewhere()
_current: ContextVar[Ongoing | _Elsewhere | None] = ContextVar("otel_dns_lookup", default=None)
"""The lookup that this thread or task is in, whichever wrapper began it."""


def in_lookup() -> bool:
    """Tell whether this thread or task is inside a lookup that is recorded."""
    outer = _current.get()
    return outer is not None and not outer.over


def quietly(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function whose lookups are part of one that another thread records.

    Args:
        function: What to call.
        *args: Its arguments.
    """
    token = _current.set(_ELSEWHERE)
    try:
        return function(*args)
    finally:
        _current.reset(token)


class _Names:
    """Lets the first so many distinct names through, and one value for all others."""

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 0)
        self._known: set[str] = set()
        # next() on it is atomic: the bound holds without a lock, which a fork could leave locked.
        self._slots = itertools.count()

    def bounded(self, name: str) -> str:
        name = _text(name)
        if name in self._known:
            return name
        if len(self._known) < self._limit and next(self._slots) < self._limit:
            self._known.add(name)
            return name
        return semconv.OTHER_NAMES


def _text(text: str) -> str:
    """Return text that any exporter can send: bounded, and without half surrogate pairs."""
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT]
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _attributes_before(lookup: Lookup) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        semconv.DNS_QUESTION_NAME: _text(lookup.name),
        semconv.LOOKUP_API: lookup.api,
        **lookup.resolver.attributes,
    }
    if lookup.family is not None:
        attributes[semconv.LOOKUP_FAMILY] = lookup.family
    if lookup.question_type is not None:
        attributes[semconv.DNS_QUESTION_TYPE] = lookup.question_type
    return attributes


def _attributes_after(outcome: Outcome) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    if outcome.answers:
        attributes[semconv.DNS_ANSWERS] = [
            _text(answer) for answer in outcome.answers[:_MAX_ANSWERS]
        ]
    if outcome.error_type is not None:
        attributes[semconv.ERROR_TYPE] = outcome.error_type
    if outcome.response_code is not None:
        attributes[semconv.DNS_RESPONSE_CODE] = outcome.response_code
    return attributes


def _duration_histogram(meter: Meter) -> Histogram:
    create = partial(
        meter.create_histogram,
        semconv.DNS_LOOKUP_DURATION,
        unit="s",
        description="Measures the time taken to perform a DNS lookup.",
    )
    try:
        return create(explicit_bucket_boundaries_advisory=semconv.DNS_LOOKUP_DURATION_BUCKETS)
    except TypeError:  # a provider older than the advice
        return create()


def _max_names() -> int:
    value = os.environ.get(MAX_NAMES_VARIABLE, "").strip()
    if not value:
        return DEFAULT_MAX_NAMES
    try:
        return int(value)
    except ValueError:
        _logger.warning(
            "%s=%r is no number; using %d.", MAX_NAMES_VARIABLE, value, DEFAULT_MAX_NAMES
        )
        return DEFAULT_MAX_NAMES
