"""Lookups in the traces of jaeger-client itself."""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest

jaeger_client = pytest.importorskip("jaeger_client")
import opentracing  # noqa: E402
from jaeger_client.reporter import InMemoryReporter  # noqa: E402
from jaeger_client.sampler import ConstSampler  # noqa: E402

import otel_dns.client  # noqa: E402
from otel_dns import semconv  # noqa: E402
from otel_dns.client.opentracing import instrument  # noqa: E402
from tests.client.support import Telemetry  # noqa: E402

# jaeger-client's own sockets, left to the garbage collector, and its code's age.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def event_loop_of_this_thread() -> Iterator[None]:
    """What jaeger-client's version of Tornado expects, and asyncio.run takes away."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


class Tracing:
    def __init__(self, sampled: bool = True) -> None:
        self.reporter = InMemoryReporter()
        self.tracer = jaeger_client.Tracer("shop", self.reporter, ConstSampler(sampled))

    def spans(self) -> list[Any]:
        return [
            span for span in self.reporter.get_spans() if span.operation_name == semconv.LOOKUP_SPAN
        ]


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    tracing = Tracing()
    yield tracing
    otel_dns.client.uninstrument()
    tracing.tracer.close()


def tags(span: Any) -> dict[str, Any]:
    values = ("vStr", "vBool", "vLong", "vDouble")
    return {
        tag.key: next(value for name in values if (value := getattr(tag, name)) is not None)
        for tag in span.tags
    }


def test_a_child_of_the_active_span(tracing: Tracing, telemetry: Telemetry) -> None:
    instrument(tracing.tracer, **telemetry.options)
    with tracing.tracer.start_active_span("work") as scope:
        bare = socket.getaddrinfo("localhost", 80)
    (span,) = tracing.spans()
    assert span.parent_id == scope.span.span_id
    assert span.trace_id == scope.span.trace_id
    found = tags(span)
    assert found["otel.scope.name"] == semconv.CLIENT_SCOPE
    assert found["span.kind"] == "client"
    assert found[semconv.DNS_QUESTION_NAME] == "localhost"
    assert bare[0][4][0] in found[semconv.DNS_ANSWERS].split()
    assert isinstance(found[semconv.RESOLVER_NDOTS], int)
    assert span.end_time >= span.start_time
    # OpenTelemetry's span is not made too; its measurement is.
    assert not telemetry.spans()
    assert telemetry.points(semconv.DNS_LOOKUP_DURATION)[0].count == 1


def test_failures(tracing: Tracing) -> None:
    instrument(tracing.tracer)
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("no such host", 80)
    (span,) = tracing.spans()
    found = tags(span)
    assert found["error"] is True
    assert found[semconv.ERROR_TYPE]
    assert found["otel.status_description"] == str(caught.value)


def test_not_sampled() -> None:
    tracing = Tracing(sampled=False)
    instrument(tracing.tracer)
    try:
        socket.getaddrinfo("localhost", 80)
        assert not tracing.spans()
    finally:
        otel_dns.client.uninstrument()
        tracing.tracer.close()


def test_parents_only(tracing: Tracing) -> None:
    instrument(tracing.tracer, require_parent=True)
    socket.getaddrinfo("localhost", 80)
    assert not tracing.spans()
    with tracing.tracer.start_active_span("work"):
        socket.getaddrinfo("localhost", 80)
    assert tracing.spans()


def test_the_global_tracer_may_come_later(
    tracing: Tracing, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrument()
    socket.getaddrinfo("localhost", 80)
    monkeypatch.setattr(opentracing, "is_global_tracer_registered", lambda: True)
    monkeypatch.setattr(opentracing, "global_tracer", lambda: tracing.tracer)
    socket.getaddrinfo("localhost", 80)
    assert len(tracing.spans()) == 1
