"""What is current: the context, the span in it, whether anybody records or instruments at all."""

from collections.abc import Callable
from typing import Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import Histogram, NoOpHistogram
from opentelemetry.trace import NoOpTracer, ProxyTracer, TraceFlags, Tracer

SPAN_KEY: Final = getattr(trace.propagation, "_SPAN_KEY", "")
# Places in the tuple that a SpanContext is.
TRACE_ID: Final = 0
SPAN_ID: Final = 1
IS_REMOTE: Final = 2
TRACE_FLAGS: Final = 3
TRACE_STATE: Final = 4
IS_VALID: Final = 5
SAMPLED: Final = int(TraceFlags.SAMPLED)

_SUPPRESS_KEY: Final = getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", None)
_RUNTIME_CONTEXT: Final = getattr(context_api, "_RUNTIME_CONTEXT", None)
current_context: Callable[[], Context] = (
    _RUNTIME_CONTEXT._current_context.get  # the context variable itself
    if type(_RUNTIME_CONTEXT) is ContextVarsRuntimeContext
    else get_current
)
"""Return the current context."""


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
    current = current_context()
    return bool(current.get(_SUPPRESS_KEY) or current.get("suppress_instrumentation"))
