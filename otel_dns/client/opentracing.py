"""Lookups as spans of OpenTracing, for applications on jaeger-client that have not moved yet.

The application's own tracer makes and sends them; its operator changes nothing::

    from otel_dns.client import opentracing

    opentracing.instrument()

What follows is as with OpenTelemetry, but for two things: tags are single values, so lists are
written with blanks between, as resolv.conf(5) does; and only lookups make spans, not the queries
of dnspython.
"""

from typing import Any, Final

import opentracing
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, Status, StatusCode

import otel_dns.client
from otel_dns import __version__, semconv
from otel_dns.client.api_path import DurationPath
from otel_dns.client.details import Attributes, Lookup
from otel_dns.client.fast_path import durations_of
from otel_dns.client.recorder import Recorder

_NANOSECONDS: Final = 1e9


def instrument(tracer: opentracing.Tracer | None = None, **options: Any) -> None:
    """Record lookups in the active OpenTracing trace; `otel_dns.client.uninstrument` ends it.

    Args:
        tracer: Who makes the spans; OpenTracing's global tracer, as soon as there is one, if not
            given.
        **options: As for `otel_dns.client.instrument`; spans do not go to a ``tracer_provider``.
    """
    otel_dns.client.instrument(recorder=OpenTracingRecorder(tracer, **options))


class OpenTracingRecorder(Recorder):
    """Makes a span of OpenTracing of every lookup, and OpenTelemetry's measurement beside it."""

    def __init__(self, tracer: opentracing.Tracer | None = None, **options: Any) -> None:
        """Prepare; see `instrument`.

        Args:
            tracer: Who makes the spans.
            **options: As for `Recorder`.
        """
        super().__init__(**options)
        self._given = tracer
        self.spans = _Spans(self)
        self.durations = _WithoutExemplars(self.durations)
        self.unsampled = None  # a tag holds one value: there is no place for a record

    def wake(self) -> bool:
        """Find out whether there is a tracer."""
        if self._given is None and not opentracing.is_global_tracer_registered():
            return False
        if self.settings.fast_path:
            found = durations_of(self._histogram)
            if found is not None:
                self.durations = _WithoutExemplars(found)
                self.awake = True
        return True

    def has_parent(self) -> bool:
        """Tell whether a span is active here."""
        return self.opentracer.active_span is not None

    @property
    def opentracer(self) -> opentracing.Tracer:
        """Who makes the spans now."""
        return self._given or opentracing.global_tracer()


class _Spans:
    """Lookup spans by an OpenTracing tracer."""

    def __init__(self, recorder: OpenTracingRecorder) -> None:
        self._recorder = recorder

    def start(self, lookup: Lookup, started_at: int) -> Span:
        tags = {
            semconv.OTEL_SCOPE_NAME: semconv.CLIENT_SCOPE,
            semconv.OTEL_SCOPE_VERSION: __version__,
            opentracing.tags.SPAN_KIND: opentracing.tags.SPAN_KIND_RPC_CLIENT,
        }
        tags |= {name: _tag(value) for name, value in lookup.attributes().items()}
        # As a child of the active span, and not active itself.
        return _Span(
            self._recorder.opentracer.start_span(
                semconv.LOOKUP_SPAN, tags=tags, start_time=started_at / _NANOSECONDS
            )
        )

    def describe(self, span: Span, attributes: Attributes) -> None:
        span.set_attributes(attributes)

    def end(self, span: Span, ended_at: int) -> None:
        span.end(ended_at)


class _Span(NonRecordingSpan):
    """OpenTelemetry's face of a span of OpenTracing, for hooks and the recorder."""

    def __init__(self, span: opentracing.Span) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self.opentracing_span = span

    def is_recording(self) -> bool:
        # Sampling is not part of OpenTracing; jaeger-client tells.
        sampled = getattr(self.opentracing_span, "is_sampled", None)
        return bool(sampled()) if callable(sampled) else True

    def set_attribute(self, key: str, value: Any) -> None:
        self.opentracing_span.set_tag(key, _tag(value))

    def set_attributes(self, attributes: Any) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: Any, description: str | None = None) -> None:
        code = status.status_code if isinstance(status, Status) else status
        said = status.description if isinstance(status, Status) else description
        if code is StatusCode.ERROR:
            self.opentracing_span.set_tag(opentracing.tags.ERROR, True)
            if said:
                self.opentracing_span.set_tag(semconv.OTEL_STATUS_DESCRIPTION, said)

    def end(self, end_time: int | None = None) -> None:
        self.opentracing_span.finish(None if end_time is None else end_time / _NANOSECONDS)


class _WithoutExemplars:
    """Measurements that do not point to spans: OpenTracing's are not OpenTelemetry's."""

    def __init__(self, durations: DurationPath) -> None:
        self._durations = durations

    def record(
        self,
        seconds: float,
        name: str | None,
        error_type: str | None,
        span: Span | None,  # noqa: ARG002 - the protocol's
    ) -> None:
        self._durations.record(seconds, name, error_type, None)


def _tag(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else value
