"""telemetrygen's traffic beside DNS traffic: it passes, and nothing of it has changed."""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from otel_dns.wire import otlp
from tests.collector.conftest import Front
from tests.collector.test_passing import told
from tests.service.support import Backend, Running, balanced, serving
from tests.support.otlp import Request, forward
from tests.support.programs import require
from tests.support.spans import MS, lookup, servedns
from tests.support.waiting import eventually

TRACES: Final = 15
SPANS: Final = 4 * TRACES
ATTRIBUTES: Final = (
    "--otlp-attributes", 'deployment="test"', "--otlp-attributes", 'list=["a","b"]',
    "--telemetry-attributes", 'text="grüße"', "--telemetry-attributes", "yes=true",
    "--telemetry-attributes", "number=7",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _program() -> None:
    require("telemetrygen")  # before anything is started


def telemetrygen(kind: str, address: str, *arguments: str) -> None:
    """Run it to its end; all that it sent was accepted."""
    command = [require("telemetrygen"), kind, "--otlp-endpoint", address, "--otlp-insecure"]
    ended = subprocess.run(
        [*command, "--rate", "0", *ATTRIBUTES, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


def traces(address: str, *arguments: str) -> None:
    telemetrygen(
        "traces", address, "--traces", f"{TRACES}", "--child-spans", "3", "--span-links", "2",
        "--status-code", "Error", *arguments,
    )  # fmt: skip


@contextmanager
def dns_traffic(address: str) -> Iterator[None]:
    """Within, lookups and their server traces are sent all the time."""
    ended, begun = threading.Event(), threading.Event()

    def send() -> None:
        while not ended.wait(0.01):
            spans = [lookup(0, MS).span, servedns(0, MS)]
            forward(address, otlp.build((one.origin, one.raw) for one in spans))
            begun.set()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert begun.wait(60)
        yield
    finally:
        ended.set()
        thread.join()


def generated(backend: Backend) -> list[Request]:
    """Wait for all of telemetrygen's spans; the requests of them, without all else in these."""

    def found() -> list[Request]:
        requests = map(Request.FromString, backend.requests)
        kept = [
            Request(resource_spans=[one for one in request.resource_spans if is_its(one)])
            for request in requests
        ]
        return kept if len(spans_of(kept)) >= SPANS else []

    return eventually(found, "all of telemetrygen's spans")


def is_its(resource: Any) -> bool:
    return any(
        one.key == "service.name" and one.value.string_value == "telemetrygen"
        for one in resource.resource.attributes
    )


def spans_of(requests: list[Request]) -> list[Any]:
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def all_told(requests: list[Request]) -> Counter[tuple[Any, ...]]:
    return told(*(request.SerializeToString() for request in requests))


def shapes(requests: list[Request]) -> Counter[tuple[Any, ...]]:
    """What they tell, but for what is another at every run: ids, times, order of attributes."""
    for request in requests:
        for resource in request.resource_spans:
            resource.resource.attributes.sort(key=lambda one: one.key)
    for span in spans_of(requests):
        for one in (span, *span.links):
            one.ClearField("trace_id")
            one.ClearField("span_id")
            one.attributes.sort(key=lambda one: one.key)
        for name in ("parent_span_id", "start_time_unix_nano", "end_time_unix_nano"):
            span.ClearField(name)
    return all_told(requests)


def settled(processor: Running) -> None:
    """Wait until all that came has left, while its backend is still there; and it balances."""
    eventually(lambda: not processor.service.gauges()["requests_open"], "nothing held")
    balanced(processor)


def test_through_a_collector_it_is_what_the_collector_sends_elsewhere(front: Front) -> None:
    with Backend() as direct, Backend() as backend:
        collector, processor = front(
            backend.address,
            "yaml:exporters::otlp_grpc/direct:"
            f" {{endpoint: '{direct.address}', tls: {{insecure: true}}}}",
            "yaml:service::pipelines::traces::exporters: [{exporter}, otlp_grpc/direct]",
        )
        with dns_traffic(collector.otlp):
            traces(collector.otlp)
            arrived = all_told(generated(backend))
        assert arrived.total() == SPANS
        assert arrived == all_told(generated(direct))
        assert processor.count("lookup_spans")
        settled(processor)


@pytest.mark.parametrize("over", ["grpc", "http"])
def test_straight_from_it_all_arrives_as_at_a_backend(over: str) -> None:
    with Backend() as direct, Backend() as backend, serving(backend.address) as processor:
        traces(direct.address)
        with dns_traffic(processor.otlp):
            if over == "grpc":
                traces(processor.otlp)
            else:
                traces(processor.http.removeprefix("http://"), "--otlp-http")
            arrived = generated(backend)
        assert len({span.span_id for span in spans_of(arrived)}) == SPANS
        assert shapes(arrived) == shapes(generated(direct))
        settled(processor)


def test_its_logs_are_taken_counted_and_end_here() -> None:
    with Backend() as backend, serving(backend.address) as processor:
        telemetrygen("logs", processor.otlp, "--logs", "30")
        unused = processor.service.ledger().not_taken
        assert sum(count for name, count in unused.items() if "_unused_" in name) == 30
        assert not backend.asked
        balanced(processor)
