"""What a real Collector does with each refusal of the processor: it comes again, or it counts."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest

from otel_dns.wire import otlp
from tests.collector.conftest import Collector, Neighbours
from tests.service.support import Backend, Running, balanced, serving
from tests.support.otlp import Request, forward, group, span
from tests.support.spans import MS, lookup
from tests.support.waiting import eventually

Front = Callable[..., tuple[Collector, Running]]

ONE_BY_ONE: Final = "yaml:processors::batch: {timeout: 1ms, send_batch_size: 1}"
GRPC: Final = ("yaml:exporters::otlp_grpc/otel_dns::retry_on_failure::initial_interval: 50ms",)
HTTP: Final = (
    "yaml:exporters::otlp_http/otel_dns::traces_endpoint: http://{}/v1/traces",
    "yaml:exporters::otlp_http/otel_dns::retry_on_failure::initial_interval: 50ms",
    "yaml:service::pipelines::traces::exporters: [otlp_http/otel_dns]",
)


@pytest.fixture(params=["otlp", "http"])
def front(
    request: pytest.FixtureRequest, collector: Callable[..., Collector], neighbours: Neighbours
) -> Iterator[Front]:
    """Starts a processor, and a Collector that sends it everything, over gRPC or HTTP."""
    exporter = [more.format(neighbours.otel_dns) for more in (GRPC, HTTP)[request.param == "http"]]
    with contextlib.ExitStack() as stack:

        def start(backend: Backend, **settings: object) -> tuple[Collector, Running]:
            listen = {f"receivers__{request.param}__listen": neighbours.otel_dns}
            settings = {key.format(request.param): value for key, value in settings.items()}
            processor = stack.enter_context(serving(backend.address, **listen, **settings))
            return collector("simple.yaml", ONE_BY_ONE, *exporter), processor

        yield start


def shop(*names: str, **attributes: str) -> bytes:
    spans = [span(name, number, attributes) for number, name in enumerate(names, start=1)]
    return Request(resource_spans=[group("shop", {"http": spans})]).SerializeToString()


def poisoned(name: str) -> bytes:
    """Of a span with text that is no UTF-8, as the Collector takes it."""
    return shop(name, key="@@").replace(b"@@", b"\xff\xfe")


def sent(collector: Collector, spans: int, failed: int = 0) -> None:
    """Wait until the Collector is done with its spans, all counted by it."""
    eventually(
        lambda: (
            (
                collector.counted("exporter_sent_spans"),
                collector.counted("exporter_send_failed_spans"),
            )
            == (spans, failed)
        ),
        f"{spans} spans sent and {failed} failed",
    )


# -- retried ---------------------------------------------------------------------------------------


def test_while_the_queues_are_full_it_comes_again(front: Front) -> None:
    room = threading.Event()

    def behave(request: bytes, context: grpc.ServicerContext) -> bytes:
        room.wait(20)
        return b""

    names = [f"{number}" for number in range(8)]
    with Backend(behave=behave) as backend:
        collector, processor = front(backend, outputs__0__queue=1)
        for name in names:
            forward(collector.otlp, shop(name))
        eventually(lambda: processor.count("requests_turned_away"), "a refusal")
        room.set()
        sent(collector, len(names))
        eventually(lambda: len(backend.names) == len(names), "all spans")
        assert backend.names == names  # each once
        balanced(processor)


def test_near_the_memory_limit_it_comes_again(front: Front) -> None:
    # The process alone is over this limit: it refuses for as long as it holds anything.
    with Backend() as backend:
        collector, processor = front(backend, memory_limit="20MiB", settle_s=1.0)
        held = lookup(0, MS).span
        forward(collector.otlp, otlp.build([(held.origin, held.raw)]))
        eventually(lambda: processor.service.gauges()["waiting_lookups"], "a held lookup")
        names = []

        def turned_away() -> int:
            names.append(f"patient-{len(names):03}")
            forward(collector.otlp, shop(names[-1]))
            return processor.count("requests_turned_away")

        eventually(turned_away, "a refusal")
        sent(collector, 1 + len(names))
        eventually(lambda: backend.names == ["dns.lookup", *names], "all spans, each once")
        balanced(processor)


# -- dropped, and counted --------------------------------------------------------------------------


def test_what_is_too_large_is_dropped_alone_and_counted_by_the_collector(front: Front) -> None:
    with Backend() as backend:
        collector, processor = front(backend, **{"receivers__{}__max_request": 20_000})
        forward(collector.otlp, shop("large", key="x" * 30_000))
        sent(collector, 0, failed=1)
        forward(collector.otlp, shop("small"))
        eventually(lambda: backend.names == ["small"], "the next span")
        balanced(processor)


def test_without_the_token_all_is_dropped_and_counted_on_both_sides(
    front: Front, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret")
    with Backend() as backend:
        collector, processor = front(
            backend, **{"receivers__{}__token_file": str(tmp_path / "token")}
        )
        forward(collector.otlp, shop("stranger"))
        sent(collector, 0, failed=1)
        counted = processor.service.counts()
        assert counted["requests_unauthenticated"] + counted["http_requests_unauthenticated"] == 1
        assert not backend.asked


def test_a_broken_span_is_dropped_alone_and_said(front: Front, tmp_path: Path) -> None:
    with Backend() as backend:
        collector, processor = front(backend)
        forward(collector.otlp, shop("a", "b") + poisoned("bad"))  # one request: protobuf merges
        eventually(lambda: backend.names == ["a", "b"], "the good spans")
        sent(collector, 3)
        assert processor.count("spans_refused") == 1
        assert "Partial success" in (tmp_path / "collector.log").read_text()
        balanced(processor)


def test_a_request_with_nothing_sound_is_dropped_and_counted_on_both_sides(front: Front) -> None:
    with Backend() as backend:
        collector, processor = front(backend)
        forward(collector.otlp, poisoned("bad"))
        sent(collector, 0, failed=1)
        assert processor.count("requests_malformed") == 1
        forward(collector.otlp, shop("good"))
        eventually(lambda: backend.names == ["good"], "the next span")
        balanced(processor)
