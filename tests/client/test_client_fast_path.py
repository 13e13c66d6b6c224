"""The way past the public API beside the public API: whatever can be seen must be the same."""

import contextlib
import json
import socket
from collections.abc import Sequence
from itertools import accumulate, count
from typing import Any
from unittest.mock import patch

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    Histogram,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.trace import (
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)
from opentelemetry.trace.span import TraceState

import otel_dns.client
from otel_dns import semconv
from otel_dns.client.api_path import ApiDurations, ApiSpans
from otel_dns.client.fast_path import genuine
from otel_dns.client.recorder import Recorder

HERE = socket.getaddrinfo("localhost", 80)
MISSING = "no such host"


class Ids(IdGenerator):
    """The same ids in each run."""

    def __init__(self, *, random: bool) -> None:
        self._numbers = count(1)
        self._random = random

    def generate_span_id(self) -> int:
        return next(self._numbers)

    def generate_trace_id(self) -> int:
        return next(self._numbers) << 64

    def is_trace_id_random(self) -> bool:
        return self._random


class Sampling(Sampler):
    def __init__(self, decision: Decision, change: str) -> None:
        self.calls: list[Any] = []
        self._decision = decision
        self._change = change

    def should_sample(  # noqa: PLR0917 - the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        self.calls.append((parent_context, trace_id, name, kind, dict(attributes), links))
        if self._change == "add":
            attributes = {**attributes, "added": ["a", "b"]}
        elif self._change == "none":
            attributes = None
        elif self._change == "replace":
            attributes = {**attributes, semconv.DNS_QUESTION_NAME: "hidden"}
        state = TraceState([("a", "b")]) if self._change == "state" else None
        return SamplingResult(self._decision, attributes, state)

    def get_description(self) -> str:
        return "sampling"


class Watching(SpanProcessor):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.seen.append(("start", class_of(span), parent_context, seen_of(span)))
        span.set_attribute("seen", True)
        span.add_event("seen", timestamp=1)

    def _on_ending(self, span: Span) -> None:
        self.seen.append(("ending", class_of(span), span.is_recording(), seen_of(span)))

    def on_end(self, span: ReadableSpan) -> None:
        self.seen.append(("end", class_of(span), seen_of(span)))


def class_of(span: ReadableSpan) -> str:
    return f"{type(span).__module__}.{type(span).__qualname__}"


def seen_of(span: ReadableSpan) -> dict[str, Any]:
    """Everything that can be asked of a span, but its times."""
    known: dict[str, Any] = json.loads(span.to_json())
    assert (known.pop("end_time") is not None) == (span.end_time is not None)
    assert known.pop("start_time") is not None
    known["scope"] = repr(span.instrumentation_scope)
    known["dropped"] = (span.dropped_attributes, span.dropped_events, span.dropped_links)
    known["flags"] = int(span.context.trace_flags) if span.context else None
    known["closed"] = span._attributes._immutable  # type: ignore[union-attr]
    known["order"] = list(span.attributes or {})
    return known


def run(
    fast: bool,
    decision: Decision = Decision.RECORD_AND_SAMPLE,
    change: str = "",
    *,
    parent: trace.Span | None = None,
    limits: SpanLimits | None = None,
    random: bool = True,
    exemplars: Any = None,
    views: Sequence[View] = (),
    hook: Any = None,
    sampler: Sampler | None = None,
    temporality: AggregationTemporality = AggregationTemporality.CUMULATIVE,
) -> dict[str, Any]:
    """Look names up; return all that the SDK's user could see of it."""
    asked, watching = Sampling(decision, change), Watching()
    provider = TracerProvider(
        sampler=sampler or asked,
        id_generator=Ids(random=random),
        span_limits=limits,
        shutdown_on_exit=False,
    )
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader({Histogram: temporality})
    batches = InMemorySpanExporter()
    provider.add_span_processor(watching)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(BatchSpanProcessor(batches))
    meter_provider = MeterProvider(
        [reader], exemplar_filter=exemplars, views=views, shutdown_on_exit=False
    )
    recorder = Recorder(provider, meter_provider, fast_path=fast, request_hook=hook)
    otel_dns.client.instrument(recorder=recorder)
    points = []
    try:
        # Each lookup takes a millisecond more than the one before: exemplars go by buckets.
        clock = accumulate(count(0, 500_000))
        with (
            patch("otel_dns.client.recorder.perf_counter_ns", lambda: next(clock)),
            trace.use_span(parent) if parent else contextlib.nullcontext(),
        ):
            for _ in range(2):
                for name in ("localhost", "localhost", MISSING, "localhost", MISSING):
                    with contextlib.suppress(socket.gaierror):
                        socket.getaddrinfo(name, 80)
                points += points_of(reader)
        ways = (type(recorder.spans), type(recorder.durations))
        assert (ApiSpans in ways or ApiDurations in ways) is not fast or limits is not None
    finally:
        otel_dns.client.uninstrument()
        provider.shutdown()
    return {
        "sampler": asked.calls,
        "batches": [seen_of(span) for span in batches.get_finished_spans()],
        "processors": watching.seen,
        "spans": [seen_of(span) for span in exporter.get_finished_spans()],
        "metrics": points,
    }


def points_of(reader: InMemoryMetricReader) -> list[Any]:
    data = reader.get_metrics_data()
    assert data is not None
    return [
        (
            metric.name,
            dict(point.attributes),
            point.count,
            (point.sum, point.min, point.max, point.explicit_bounds, point.bucket_counts),
            [
                (kept.span_id, kept.trace_id, kept.value, dict(kept.filtered_attributes or {}))
                for kept in point.exemplars
            ],
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("dns.")
        for point in metric.data.data_points
    ]


def parent_of(flags: int, *, remote: bool = False, valid: bool = True) -> trace.Span:
    state = TraceState([("vendor", "x")])
    number = 7 if valid else 0
    return NonRecordingSpan(SpanContext(number, number, remote, TraceFlags(flags), state))


@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("change", ["", "add", "none", "replace", "state"])
def test_sampling(decision: Decision, change: str) -> None:
    fast = run(True, decision, change)
    assert fast == run(False, decision, change)
    assert len(fast["sampler"]) == 10
    assert len(fast["spans"]) == (10 if decision is Decision.RECORD_AND_SAMPLE else 0)
    assert len(fast["processors"]) == (0 if decision is Decision.DROP else 30)


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("valid", [False, True])
def test_parents(flags: int, remote: bool, valid: bool) -> None:
    for decision in (Decision.RECORD_AND_SAMPLE, Decision.DROP):
        parent = parent_of(flags, remote=remote, valid=valid)
        assert run(True, decision, parent=parent) == run(False, decision, parent=parent)


ODD = ParentBased(
    TraceIdRatioBased(0.5),
    remote_parent_sampled=ALWAYS_OFF,
    remote_parent_not_sampled=ALWAYS_ON,
    local_parent_sampled=TraceIdRatioBased(0.0),
    local_parent_not_sampled=TraceIdRatioBased(1.0),
)


@pytest.mark.parametrize(
    "sampler",
    [
        ALWAYS_ON,
        ALWAYS_OFF,
        DEFAULT_ON,
        TraceIdRatioBased(0.5),
        StaticSampler(Decision.RECORD_ONLY),
        ParentBased(StaticSampler(Decision.RECORD_ONLY)),
        ODD,
    ],
)
@pytest.mark.parametrize(
    "parent",
    [
        None,
        *(parent_of(flags, remote=remote) for flags in (0, 1) for remote in (False, True)),
        # A trace id just over, and just under, half of what it can be.
        *(NonRecordingSpan(SpanContext(half, 7, False)) for half in (1 << 63, (1 << 63) - 1)),
    ],
)
def test_samplers_of_the_sdk(sampler: Sampler, parent: trace.Span | None) -> None:
    """They are not asked, where what they say follows from what they would look at."""
    fast = run(True, parent=parent, sampler=sampler)
    assert fast == run(False, parent=parent, sampler=sampler)


def test_a_recording_parent() -> None:
    parent = TracerProvider(shutdown_on_exit=False).get_tracer("app").start_span("work")
    fast = run(True, parent=parent)
    assert fast == run(False, parent=parent)
    assert fast["spans"][0]["parent_id"] == f"0x{parent.get_span_context().span_id:016x}"


def test_ids_that_are_not_random() -> None:
    assert run(True, random=False) == run(False, random=False)


@pytest.mark.parametrize(
    "limits",
    [
        SpanLimits(max_span_attributes=3),
        SpanLimits(max_span_attributes=10),
        SpanLimits(max_span_attributes=0),
        SpanLimits(max_span_attribute_length=4),
        SpanLimits(max_events=0, max_links=1),
        SpanLimits(max_span_attributes=SpanLimits.UNSET, max_events=SpanLimits.UNSET),
    ],
)
def test_limits(limits: SpanLimits) -> None:
    assert run(True, limits=limits) == run(False, limits=limits)


@pytest.mark.parametrize(
    "exemplars",
    [AlwaysOnExemplarFilter(), AlwaysOffExemplarFilter(), TraceBasedExemplarFilter()],
)
@pytest.mark.parametrize("decision", list(Decision))
@pytest.mark.parametrize("parent", [None, parent_of(1), parent_of(0)])
def test_exemplars(exemplars: Any, decision: Decision, parent: trace.Span | None) -> None:
    fast = run(True, decision, exemplars=exemplars, parent=parent)
    assert fast == run(False, decision, exemplars=exemplars, parent=parent)
    if decision is Decision.RECORD_AND_SAMPLE:
        assert any(point[4] for point in fast["metrics"]) is not (
            isinstance(exemplars, AlwaysOffExemplarFilter)
        )


def test_views() -> None:
    views = [
        View(instrument_name=semconv.DNS_LOOKUP_DURATION, attribute_keys={semconv.ERROR_TYPE}),
        View(instrument_name=semconv.DNS_LOOKUP_DURATION, name="dns.all", attribute_keys=set()),
    ]
    fast = run(True, views=views)
    assert fast == run(False, views=views)
    assert {len(point[1]) for point in fast["metrics"]} == {0, 1}


def test_delta_temporality() -> None:
    fast = run(True, temporality=AggregationTemporality.DELTA)
    assert fast == run(False, temporality=AggregationTemporality.DELTA)
    assert [point[2] for point in fast["metrics"]] == [3, 2, 3, 2]


def test_hooks_that_change_the_span() -> None:
    def hook(span: Any, _: object) -> None:
        span.set_attribute(semconv.DNS_ANSWERS, ["mine"])
        span.add_event("hook", timestamp=2)
        span.add_link(parent_of(1).get_span_context())

    assert run(True, hook=hook) == run(False, hook=hook)


def test_hooks_that_name_the_span_and_its_status() -> None:
    def hook(span: Any, _: object) -> None:
        span.update_name("mine")
        span.set_status(StatusCode.OK, "fine")
        span.record_exception(ValueError("odd"), timestamp=3)

    fast = run(True, hook=hook)
    for known in (*fast["spans"], *fast["batches"]):
        assert known["events"][-1]["attributes"].pop("exception.stacktrace")
    slow = run(False, hook=hook)
    for known in (*slow["spans"], *slow["batches"]):
        assert known["events"][-1]["attributes"].pop("exception.stacktrace")
    assert fast["spans"] == slow["spans"]


def test_hooks_that_end_the_span() -> None:
    def hook(span: Any, _: object) -> None:
        span.end()

    assert run(True, hook=hook) == run(False, hook=hook)


# -- when it is taken -------------------------------------------------------------------------


def ways(**options: Any) -> tuple[str, str]:
    provider = TracerProvider(shutdown_on_exit=False)
    meter_provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    recorder = Recorder(provider, meter_provider, **options)
    assert recorder.wake()
    return type(recorder.spans).__name__, type(recorder.durations).__name__


def test_taken_with_the_sdk_that_is_locked() -> None:
    assert ways() == ("_SdkSpans", "_SdkDurations")


def test_switched_off() -> None:
    assert ways(fast_path=False) == ("ApiSpans", "ApiDurations")


def test_not_taken_with_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genuine, "KNOWN_SDKS", frozenset({"0.0.0"}))
    assert ways() == ("ApiSpans", "ApiDurations")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("opentelemetry.sdk.trace.Tracer.start_span", ("ApiSpans", "_SdkDurations")),
        ("opentelemetry.sdk.trace.Span.end", ("ApiSpans", "_SdkDurations")),
        (
            "opentelemetry.sdk.metrics._internal.instrument.Histogram.record",
            ("_SdkSpans", "ApiDurations"),
        ),
    ],
)
def test_not_taken_where_somebody_replaced_a_method(
    monkeypatch: pytest.MonkeyPatch, method: str, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(method, lambda *args, **kwargs: None)
    assert ways() == expected


def test_a_failure_to_find_the_way_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("otel_dns.client.recorder.spans_of", fail)
    assert ways() == ("ApiSpans", "ApiDurations")


def test_a_sampler_of_the_sdk_that_somebody_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def should_sample(*args: Any, **kwargs: Any) -> SamplingResult:
        asked.append(args)
        return SamplingResult(Decision.DROP)

    monkeypatch.setattr(StaticSampler, "should_sample", should_sample)
    fast = run(True, sampler=DEFAULT_ON)
    assert len(asked) == 10
    assert not fast["spans"]


def test_span_processors_that_come_later() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    recorder = Recorder(provider, MeterProvider(shutdown_on_exit=False))
    otel_dns.client.instrument(recorder=recorder)
    try:
        socket.getaddrinfo("localhost", 80)
        late, watching = InMemorySpanExporter(), Watching()
        provider.add_span_processor(watching)
        provider.add_span_processor(SimpleSpanProcessor(late))
        socket.getaddrinfo("localhost", 80)
    finally:
        otel_dns.client.uninstrument()
    assert len(late.get_finished_spans()) == 1
    assert [seen[0] for seen in watching.seen] == ["start", "ending", "end"]


def test_readers_that_come_later() -> None:
    meter_provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    recorder = Recorder(TracerProvider(shutdown_on_exit=False), meter_provider)
    otel_dns.client.instrument(recorder=recorder)
    try:
        for _ in range(3):
            assert socket.getaddrinfo("localhost", 80) == HERE
        late = InMemoryMetricReader()
        meter_provider.add_metric_reader(late)
        for _ in range(3):
            socket.getaddrinfo("localhost", 80)
    finally:
        otel_dns.client.uninstrument()
    ((_, _, number, _, _),) = points_of(late)
    assert number == 3
