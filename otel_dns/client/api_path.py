"""Spans and measurements by OpenTelemetry's public API: what works with any provider."""

from typing import Protocol

from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from otel_dns import semconv
from otel_dns.client.details import Attributes, Lookup


class SpanPath(Protocol):
    """A way to make lookup spans. Attributes handed over are the path's to keep."""

    def start(self, lookup: Lookup, started_at: int) -> Span:
        """Start a span under the current one."""

    def describe(self, span: Span, attributes: Attributes) -> None:
        """Add attributes to a recording span."""

    def end(self, span: Span, ended_at: int) -> None:
        """End a span."""


class DurationPath(Protocol):
    """A way to record durations of lookups."""

    def record(
        self, seconds: float, name: str | None, error_type: str | None, span: Span | None
    ) -> None:
        """Record a duration, with the span as its exemplar where there is one."""


class ApiSpans:
    """Lookup spans by a tracer's public methods."""

    def __init__(self, tracer: Tracer) -> None:
        """Make spans.

        Args:
            tracer: Any tracer.
        """
        self._tracer = tracer

    def start(self, lookup: Lookup, started_at: int) -> Span:
        """Start a span under the current one.

        Args:
            lookup: What is looked up.
            started_at: Nanoseconds since the epoch.
        """
        return self._tracer.start_span(
            semconv.LOOKUP_SPAN,
            kind=SpanKind.CLIENT,
            attributes=lookup.attributes(),
            start_time=started_at,
        )

    def describe(self, span: Span, attributes: Attributes) -> None:
        """Add attributes to a recording span.

        Args:
            span: The span.
            attributes: What the lookup's end told.
        """
        span.set_attributes(attributes)

    def end(self, span: Span, ended_at: int) -> None:
        """End a span.

        Args:
            span: The span.
            ended_at: Nanoseconds since the epoch.
        """
        span.end(ended_at)


class ApiDurations:
    """Durations by a histogram's public method."""

    def __init__(self, histogram: Histogram) -> None:
        """Record durations.

        Args:
            histogram: Any histogram.
        """
        self._histogram = histogram

    def record(
        self, seconds: float, name: str | None, error_type: str | None, span: Span | None
    ) -> None:
        """Record a duration.

        Args:
            seconds: How long a lookup took.
            name: What is shown of the name, if anything.
            error_type: How it failed, if it did.
            span: Its exemplar; nothing if the span is not recorded.
        """
        attributes = duration_attributes(name, error_type)
        context = None if span is None else set_span_in_context(span)
        self._histogram.record(seconds, attributes, context)


def duration_attributes(name: str | None, error_type: str | None) -> Attributes:
    """Return the attributes of a measurement.

    Args:
        name: What is shown of the looked-up name, if anything.
        error_type: How the lookup failed, if it did.
    """
    attributes: Attributes = {}
    if name is not None:
        attributes[semconv.DNS_QUESTION_NAME] = name
    if error_type is not None:
        attributes[semconv.ERROR_TYPE] = error_type
    return attributes
