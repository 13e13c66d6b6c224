"""DNS lookups of a Python application as OpenTelemetry spans and metrics.

``opentelemetry-instrument`` finds the instrumentations by itself; a program that configures
OpenTelemetry on its own calls `instrument` once::

    import otel_dns.client

    otel_dns.client.instrument()
"""

from typing import Any

from otel_dns.client.aiodns import AiodnsInstrumentor
from otel_dns.client.dnspython import DnspythonInstrumentor
from otel_dns.client.event_loop import EventLoopInstrumentor
from otel_dns.client.getaddrinfo import GetaddrinfoInstrumentor
from otel_dns.client.gethostby import GethostbyInstrumentor
from otel_dns.client.gevent import GeventInstrumentor
from otel_dns.client.recorder import Recorder

__all__ = ["instrument", "uninstrument"]


def instrument(**options: Any) -> None:
    """Record lookups of the socket module, of event loops, of dnspython, of c-ares and of gevent.

    What is switched on already stays as it is.

    Args:
        **options: ``tracer_provider`` and ``meter_provider`` (the global ones if not given), and
            what `otel_dns.client.settings.Settings.read` takes.
    """
    off = [found for found in _instrumentors() if not found.is_instrumented_by_opentelemetry]
    if off:
        # One for all: so the bound on names is one, too.
        recorder = options.pop("recorder", None) or Recorder(**options)
        for instrumentor in off:
            # As opentelemetry-instrument does: a library that is not there is no error.
            instrumentor.instrument(recorder=recorder, skip_dep_check=True)


def uninstrument() -> None:
    """Restore the original functions; what is switched off already stays so."""
    for instrumentor in _instrumentors():
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def _instrumentors() -> list[Any]:
    return [
        GetaddrinfoInstrumentor(),
        GethostbyInstrumentor(),
        EventLoopInstrumentor(),
        DnspythonInstrumentor(),
        AiodnsInstrumentor(),
        GeventInstrumentor(),
    ]
