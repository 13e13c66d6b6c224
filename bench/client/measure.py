"""One subject under one configuration of the SDK, measured in this process.

``python -m bench.client.measure SUBJECT CONFIGURATION CALLS ROUNDS`` prints one line of JSON:
nanoseconds a call above the bare call, by round.
"""

import contextlib
import gc
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace

from bench.client.subjects import SUBJECTS, Call

CONFIGURATIONS = ("recording", "not_sampled", "no_sdk")
TOLD = "not_sampled_but_told"
"""Ours alone: compact records of the lookups that are not sampled."""


def providers(configuration: str) -> dict[str, Any]:
    if configuration == "no_sdk":
        return {}
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    class Discard(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    ratio = 1.0 if configuration == "recording" else 0.0
    tracer_provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False
    )
    tracer_provider.add_span_processor(BatchSpanProcessor(Discard(), max_queue_size=100_000))
    meter_provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    found: dict[str, Any] = {"tracer_provider": tracer_provider, "meter_provider": meter_provider}
    return found | ({"unsampled_records": True} if configuration == TOLD else {})


def timed(call: Call, calls: int, flush: Call) -> tuple[float, float]:
    """Return wall time of the calls and CPU time of the process, both in ns a call."""
    turns = range(calls)
    cpu = time.process_time_ns()
    start = time.perf_counter_ns()
    for _ in turns:
        call()
    wall = time.perf_counter_ns() - start
    flush()  # what is left to a thread is paid for too
    return wall / calls, (time.process_time_ns() - cpu) / calls


def rounds(subject: str, configuration: str, calls: int, number: int) -> dict[str, list[float]]:
    options = providers(configuration)
    provider = options.get("tracer_provider")
    flush = provider.force_flush if provider else lambda: None
    found: dict[str, list[float]] = {"bare": [], "wall": [], "cpu": []}
    with SUBJECTS[subject](options) as pair, contextlib.ExitStack() as stack:
        if provider:
            # As in an application: under the span of the request that it works for.
            parent = provider.get_tracer("app").start_span("request")
            stack.enter_context(trace.use_span(parent))
        timed(pair.bare, calls // 4, flush)
        timed(pair.instrumented, calls // 4, flush)
        gc.collect()
        gc.freeze()
        for _ in range(number):
            bare_wall, bare_cpu = timed(pair.bare, calls, flush)
            wall, cpu = timed(pair.instrumented, calls, flush)
            found["bare"].append(bare_wall)
            found["wall"].append(wall - bare_wall)
            found["cpu"].append(cpu - bare_cpu)
    if provider:
        provider.shutdown()
    return found


if __name__ == "__main__":
    _, subject, configuration, calls, number = sys.argv
    print(json.dumps(rounds(subject, configuration, int(calls), int(number))))
