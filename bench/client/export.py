"""What a span costs once it is made: ``python -m bench.client.export SUBJECT SPANS ROUNDS``.

The subject's own spans, as they come out of it, through the standard OTLP exporter to a server in
another process. Prints one line of JSON: bytes a span, and nanoseconds of CPU a span by round.
"""

import json
import sys
import time
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bench.client.subjects import SUBJECTS, web_server

BATCH = 512
"""The batch processor's default."""


def spans_of(subject: str, number: int) -> list[Any]:
    """Return what a subject's instrumentation records of so many calls."""
    kept = InMemorySpanExporter()
    resource = Resource.create({"service.name": "bench", "k8s.pod.name": "bench-7d4b9c-x2lkp"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    options = {"tracer_provider": provider, "meter_provider": MeterProvider()}
    with SUBJECTS[subject](options) as pair:
        for _ in range(number):
            pair.instrumented()
    return list(kept.get_finished_spans())


def rounds(subject: str, number: int, repeats: int) -> dict[str, Any]:
    spans = spans_of(subject, BATCH)
    sent: list[float] = []
    with web_server() as port:
        exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")
        exporter.export(spans)  # makes the connection
        for _ in range(repeats):
            start = time.process_time_ns()
            for _ in range(max(number // BATCH, 1)):
                assert exporter.export(spans) is SpanExportResult.SUCCESS
            sent.append((time.process_time_ns() - start) / (max(number // BATCH, 1) * len(spans)))
        exporter.shutdown()
    return {"bytes": encode_spans(spans).ByteSize() / len(spans), "cpu": sent}


if __name__ == "__main__":
    _, subject, number, repeats = sys.argv
    print(json.dumps(rounds(subject, int(number), int(repeats))))
