"""What an application must not notice: forks, threads, shutdown, growth."""

import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

import otel_dns.client
from otel_dns import semconv
from otel_dns.client.recorder import Recorder
from tests.client.support import Telemetry

ROOT = Path(__file__).parents[2]


def test_a_forked_child_looks_up_and_records(recorded: Telemetry) -> None:
    socket.getaddrinfo("localhost", 80)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            socket.getaddrinfo("localhost", 80)
            status = 0 if len(recorded.spans()) == 2 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    socket.getaddrinfo("localhost", 80)
    assert len(recorded.spans()) == 2
    assert recorded.points(semconv.DNS_LOOKUP_DURATION)[0].count == 2


def test_a_fork_inside_a_lookup(recorded: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a resolver is a program that the C library, or a replacement of it, starts."""
    children: list[int] = []

    def forking(*_: object) -> list[object]:
        child = os.fork()
        if child == 0:
            os._exit(0)
        children.append(child)
        return []

    monkeypatch.setattr("socket._socket.getaddrinfo", forking)
    assert socket.getaddrinfo("localhost", 80) == []
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert recorded.span()


def test_threads_come_and_go(recorded: Telemetry) -> None:
    def look_up() -> None:
        socket.gethostbyname("localhost")

    for _ in range(50):
        threads = [threading.Thread(target=look_up) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(recorded.spans()) == 200
    assert recorded.points(semconv.CLIENT_ACTIVE_LOOKUPS)[0].value == 0


def test_nothing_grows_with_names_threads_or_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """10^6 lookups of distinct names, from a hundred threads that come and go."""

    def answer(  # noqa: PLR0917 - the socket module's signature
        host: str, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[object, ...]]:
        if host.endswith("7"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(2, 1, 6, "", ("192.0.2.7", port))]

    monkeypatch.setattr("socket.getaddrinfo", answer)
    # No span processor: spans go nowhere. One in eight is made, all are measured.
    provider = TracerProvider(sampler=TraceIdRatioBased(0.125), shutdown_on_exit=False)
    reader = InMemoryMetricReader()
    otel_dns.client.instrument(
        tracer_provider=provider,
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
        excluded_names=[".left.out"],
    )

    def look_up(first: int) -> None:
        for number in range(first, first + 10_000):
            with contextlib.suppress(socket.gaierror):
                socket.getaddrinfo(f"host-{number}.example", 80)

    blocks = []
    try:
        for first in range(0, 1_000_000, 10_000):
            thread = threading.Thread(target=look_up, args=(first,))
            thread.start()
            thread.join()
            if first in {100_000, 990_000}:
                gc.collect()
                blocks.append(sys.getallocatedblocks())
    finally:
        otel_dns.client.uninstrument()
    assert blocks[1] - blocks[0] < 1000
    (metric,) = (
        metric
        for resource in reader.get_metrics_data().resource_metrics  # type: ignore[union-attr]
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == semconv.DNS_LOOKUP_DURATION
    )
    assert sum(point.count for point in metric.data.data_points) == 1_000_000
    # 100 names, of which some failed, and all others, of which some failed.
    assert len(metric.data.data_points) <= 102


AT_SHUTDOWN = """
import atexit, socket, sys, threading
import otel_dns.client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

class Last:
    def __init__(self):
        self.look_up = socket.getaddrinfo
    def __del__(self):
        assert self.look_up("localhost", 80)
        print("deleted")

def at_exit():
    assert socket.getaddrinfo("localhost", 80)
    print("at exit")

atexit.register(at_exit)
otel_dns.client.instrument(
    tracer_provider=TracerProvider(), meter_provider=MeterProvider([InMemoryMetricReader()])
)
def busy():
    while True:
        socket.getaddrinfo("localhost", 80)
threading.Thread(target=busy, daemon=True).start()
sys.modules["kept"] = Last()
"""


def test_interpreter_shutdown() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_SHUTDOWN],
        check=True,
        cwd=ROOT,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["at exit", "deleted"]
    assert not done.stderr


SDK_SET_LATER = """
import asyncio, socket
import otel_dns.client
from otel_dns.client.recorder import Recorder
recorder = Recorder()
otel_dns.client.instrument(recorder=recorder)
socket.getaddrinfo("localhost", 80)
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))

def tracing():
    trace.set_tracer_provider(provider)

def measuring():
    metrics.set_meter_provider(MeterProvider([reader]))

def measured():
    found = reader.get_metrics_data()
    return [m.name for r in found.resource_metrics for s in r.scope_metrics for m in s.metrics]
"""


@pytest.mark.parametrize(
    "then",
    [
        # First the one, then the other, with lookups in between.
        """
tracing(); socket.getaddrinfo("localhost", 80)
measuring(); socket.getaddrinfo("localhost", 80)
assert len(exporter.get_finished_spans()) == 2
assert "dns.lookup.duration" in measured()
""",
        """
measuring(); socket.getaddrinfo("localhost", 80)
assert "dns.lookup.duration" in measured()
tracing(); socket.getaddrinfo("localhost", 80)
assert len(exporter.get_finished_spans()) == 1
""",
    ],
)
def test_an_sdk_configured_after_the_first_lookup(then: str) -> None:
    then += "assert type(recorder.spans).__name__ == '_SdkSpans'\n"
    then += "assert type(recorder.durations).__name__ == '_SdkDurations'\n"
    subprocess.run([sys.executable, "-c", SDK_SET_LATER + then], check=True, cwd=ROOT, timeout=240)


def test_nothing_is_read_where_nobody_records(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    monkeypatch.setattr("otel_dns.client.stub.Stub.current", fail)
    otel_dns.client.instrument()
    try:
        recorder_failed = []
        monkeypatch.setattr(Recorder, "failed", lambda _, error: recorder_failed.append(error))
        socket.getaddrinfo("localhost", 80)
        socket.gethostbyname("localhost")
        assert not recorder_failed
    finally:
        otel_dns.client.uninstrument()
