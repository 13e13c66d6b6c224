"""DNS lookups of a Python application as OpenTelemetry spans and metrics.

``opentelemetry-instrument`` finds the instrumentations by itself; a program that configures
OpenTelemetry on its own calls `instrument` once::

    import otel_dns.client

    otel_dns.client.instrument()
"""

from importlib import import_module
from typing import Any

from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.recorder import Recorder

__all__ = ["instrument", "uninstrument"]


def instrument(**options: Any) -> None:
    """Record lookups of the socket module, of event loops, and of dnspython where it is installed.

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
            instrumentor.instrument(recorder=recorder)


def uninstrument() -> None:
    """Restore the original functions; what is switched off already stays so."""
    for instrumentor in _instrumentors():
        if instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.uninstrument()


def _instrumentors() -> list[LookupInstrumentor]:
    # Imported when needed: an application that has no dnspython must be able to import this.
    found = [
        import_module("otel_dns.client.getaddrinfo").GetaddrinfoInstrumentor(),
        import_module("otel_dns.client.gethostby").GethostbyInstrumentor(),
        import_module("otel_dns.client.event_loop").EventLoopInstrumentor(),
    ]
    try:
        found.append(import_module("otel_dns.client.dnspython").DnspythonInstrumentor())
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "dns":
            raise
    return found
