import contextlib
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.context import Context, attach, detach, set_value
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_dns.client
from otel_dns import semconv
from otel_dns.client import recorder as recorder_module
from otel_dns.client.recorder import Recorder
from otel_dns.client.settings import MAX_NAMES_VARIABLE
from tests.client.support import Telemetry

BARE = socket.getaddrinfo
ROOT = Path(__file__).parents[2]


def names_measured(telemetry: Telemetry) -> dict[str, int]:
    return {
        point.attributes[semconv.DNS_QUESTION_NAME]: point.count
        for point in telemetry.points(semconv.DNS_LOOKUP_DURATION)
    }


def look_up(*names: str) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, 80)


def test_suppression(recorded: Telemetry) -> None:
    with suppress_instrumentation():
        look_up("localhost")
    token = attach(set_value("suppress_instrumentation", True))
    look_up("localhost")
    detach(token)
    assert not recorded.spans()
    assert not names_measured(recorded)
    look_up("localhost")
    assert recorded.span()
    assert recorder_module._current.get() is None, "a span is kept alive"


class LookingUp(SpanExporter, SpanProcessor):
    """Looks a name up wherever the SDK lets it; as an exporter with a host name does."""

    def __init__(self) -> None:
        self.calls = 0

    def _look_up(self) -> None:
        self.calls += 1
        assert self.calls < 100, "a loop"
        socket.getaddrinfo("localhost", 4318)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._look_up()
        return SpanExportResult.SUCCESS

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._look_up()

    def on_end(self, span: ReadableSpan) -> None:
        self._look_up()

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


@pytest.mark.parametrize("batch", [True, False])
def test_exporters_lookups_are_not_traced(telemetry: Telemetry, batch: bool) -> None:
    exporter = LookingUp()
    kind = BatchSpanProcessor if batch else SimpleSpanProcessor
    telemetry.tracer_provider.add_span_processor(kind(exporter))
    otel_dns.client.instrument(**telemetry.options)
    look_up("localhost")
    telemetry.tracer_provider.force_flush()
    telemetry.tracer_provider.force_flush()
    assert exporter.calls == 1
    assert telemetry.span()


def test_lookups_inside_a_lookups_recording_are_not_traced(telemetry: Telemetry) -> None:
    processor = LookingUp()
    telemetry.tracer_provider.add_span_processor(processor)
    otel_dns.client.instrument(**telemetry.options)
    look_up("localhost", "localhost")
    assert processor.calls == 4
    assert len(telemetry.spans()) == 2


def test_not_sampled_is_measured(telemetry: Telemetry) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    otel_dns.client.instrument(tracer_provider=provider, meter_provider=telemetry.meter_provider)
    look_up("localhost")
    assert names_measured(telemetry) == {"localhost": 1}


def test_without_an_sdk() -> None:
    otel_dns.client.instrument()
    try:
        assert socket.getaddrinfo is not BARE
        assert socket.getaddrinfo("localhost", 80) == BARE("localhost", 80)
    finally:
        otel_dns.client.uninstrument()


def test_distinct_names_are_bounded(telemetry: Telemetry) -> None:
    otel_dns.client.instrument(**telemetry.options, max_metric_names=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look_up, [f"no such host {n}" for n in range(40)]))
    assert len(names_measured(telemetry)) <= 3
    assert names_measured(telemetry)[semconv.OTHER_NAMES] >= 38


@pytest.mark.parametrize(("value", "bound"), [("1", 1), ("0", 0), ("-5", 0), ("", 100), (" 7 ", 7)])
def test_bound_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, bound: int
) -> None:
    monkeypatch.setenv(MAX_NAMES_VARIABLE, value)
    names = Recorder(meter_provider=NoOpMeterProvider()).names
    distinct = {names.bounded(f"n{n}") for n in range(200)}
    assert len(distinct - {semconv.OTHER_NAMES}) == bound
    assert semconv.OTHER_NAMES in distinct


def test_bound_holds_when_threads_race() -> None:
    class Late(set[str]):
        """A set that looks empty: as when every thread looked before any of them added."""

        def __len__(self) -> int:
            return 0

    names = Recorder(meter_provider=NoOpMeterProvider(), max_metric_names=3).names
    names._known = Late()
    assert len({names.bounded(f"n{n}") for n in range(10)}) == 4


def test_nonsense_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(MAX_NAMES_VARIABLE, "many")
    names = Recorder(meter_provider=NoOpMeterProvider()).names
    assert names.bounded("x") == "x"
    assert MAX_NAMES_VARIABLE in caplog.text


class Broken:
    """Stands for any part of the SDK that raises."""

    def __init__(self, *methods: str) -> None:
        self.methods = methods

    def on(self, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("broken")

        for method in self.methods:
            monkeypatch.setattr(method, fail)


@pytest.mark.parametrize(
    "method",
    [
        "opentelemetry.sdk.trace.Tracer.start_span",
        "opentelemetry.sdk.trace.Span.set_attributes",
        "opentelemetry.sdk.trace.Span.set_status",
        "opentelemetry.sdk.trace.Span.is_recording",
        "opentelemetry.sdk.trace.Span.end",
        "opentelemetry.sdk.metrics._internal.instrument._Histogram.record",
        "otel_dns.client.stub.Stub.current",
        "otel_dns.client.recorder.suppressed",
    ],
)
def test_failures_stay_inside_and_are_counted(
    recorded: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    with monkeypatch.context() as broken:
        Broken(method).on(recorded, broken)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert socket.getaddrinfo("localhost", 80) == BARE("localhost", 80)
                with pytest.raises(socket.gaierror) as raised:
                    socket.getaddrinfo("no such host", 80)
                assert raised.value.__context__ is None
                assert "broken" not in str(raised.value)
    assert [record.name for record in caplog.records] == [recorder_module.__name__]
    (point,) = recorded.points(semconv.CLIENT_FAILURES)
    assert dict(point.attributes) == {semconv.ERROR_TYPE: "RuntimeError"}
    assert point.value >= 3

    recorded.exporter.clear()
    look_up("localhost")
    assert recorded.span(), "works again once the fault is gone"


def test_even_a_broken_counter_stays_inside(
    recorded: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    Broken(
        "opentelemetry.sdk.trace.Tracer.start_span",
        "opentelemetry.sdk.metrics._internal.instrument._Counter.add",
    ).on(recorded, monkeypatch)
    assert socket.getaddrinfo("localhost", 80) == BARE("localhost", 80)


class RaisingExporter(SpanExporter):
    """An exporter with a bug."""

    def __init__(self) -> None:
        self.called = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.called.set()
        raise RuntimeError("broken exporter")


class RaisingProcessor(SpanProcessor):
    """A span processor with a bug, at the start of a span or at its end."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.called = threading.Event()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.fail("start")

    def on_end(self, span: ReadableSpan) -> None:
        self.fail("end")

    def fail(self, at: str) -> None:
        if at == self.at:
            self.called.set()
            raise RuntimeError("broken processor")


@pytest.mark.parametrize("fast_path", [True, False])
@pytest.mark.parametrize("broken", ["exporter", "exporter in batches", "start", "end"])
def test_the_applications_own_telemetry_may_raise(
    telemetry: Telemetry, broken: str, fast_path: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the answer, or the error, that it gets without telemetry."""
    otel_dns.client.instrument(**telemetry.options, fast_path=fast_path)
    part: RaisingExporter | RaisingProcessor
    if broken.startswith("exporter"):
        part = RaisingExporter()
        wrap = BatchSpanProcessor if broken.endswith("batches") else SimpleSpanProcessor
        telemetry.tracer_provider.add_span_processor(wrap(part))
    else:
        part = RaisingProcessor(broken)
        telemetry.tracer_provider.add_span_processor(part)
    with caplog.at_level(logging.CRITICAL):
        assert socket.getaddrinfo("localhost", 80) == BARE("localhost", 80)
        with pytest.raises(socket.gaierror) as raised:
            socket.getaddrinfo("no such host", 80)
        assert raised.value.__context__ is None
        telemetry.tracer_provider.force_flush()
    assert part.called.is_set()
    telemetry.tracer_provider.shutdown()


def test_interrupts_pass_and_leave_nothing_behind(
    recorded: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("opentelemetry.sdk.trace.Tracer.start_span", interrupt)
        with pytest.raises(KeyboardInterrupt):
            socket.getaddrinfo("localhost", 80)
    with monkeypatch.context() as patched:
        patched.setattr("_socket.getaddrinfo", interrupt)
        patched.setattr("socket._socket.getaddrinfo", interrupt)
        with pytest.raises(KeyboardInterrupt):
            socket.getaddrinfo("localhost", 80)
    assert (recorded.span().attributes or {})[semconv.ERROR_TYPE] == "KeyboardInterrupt"
    recorded.exporter.clear()
    look_up("localhost")
    assert recorded.span()


CONFIGURED_LATER = """
import socket
import subprocess
import sys
import otel_dns.client
otel_dns.client.instrument()
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
socket.getaddrinfo("localhost", 80)
assert len(exporter.get_finished_spans()) == 1
(resource,) = reader.get_metrics_data().resource_metrics
"""


def test_the_sdk_may_be_configured_later() -> None:
    subprocess.run([sys.executable, "-c", CONFIGURED_LATER], check=True, cwd=ROOT, timeout=240)


WITHOUT_DNSPYTHON = """
import sys
sys.modules["dns"] = None
import socket, otel_dns.client
bare = socket.getaddrinfo
otel_dns.client.instrument()
assert socket.getaddrinfo is not bare
otel_dns.client.uninstrument()
assert socket.getaddrinfo is bare
"""


def test_without_dnspython() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_DNSPYTHON], check=True, cwd=ROOT, timeout=240)
