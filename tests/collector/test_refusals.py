"""What a real Collector does with each refusal of the processor: it comes again, or it counts."""

import threading
from pathlib import Path

import grpc

from otel_dns.wire import otlp
from tests.collector.conftest import Collector, Front
from tests.service.support import Backend, balanced
from tests.support.otlp import Request, forward, group, span
from tests.support.spans import MS, lookup
from tests.support.waiting import eventually


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
        room.wait(250)
        return b""

    names = [f"{number}" for number in range(8)]
    with Backend(behave=behave) as backend:
        collector, processor = front(backend.address, outputs__0__queue=1)
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
        collector, processor = front(backend.address, memory_limit="20MiB", settle_s=3.0)
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
        collector, processor = front(
            backend.address, **{"receivers__{receiver}__max_request": 20_000}
        )
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
            backend.address, **{"receivers__{receiver}__token_file": str(tmp_path / "token")}
        )
        forward(collector.otlp, shop("stranger"))
        sent(collector, 0, failed=1)
        counted = processor.service.counts()
        assert counted["requests_unauthenticated"] + counted["http_requests_unauthenticated"] == 1
        assert not backend.asked


def test_a_broken_span_is_dropped_alone_and_said(front: Front, tmp_path: Path) -> None:
    with Backend() as backend:
        collector, processor = front(backend.address)
        forward(collector.otlp, shop("a", "b") + poisoned("bad"))  # one request: protobuf merges
        eventually(lambda: backend.names == ["a", "b"], "the good spans")
        sent(collector, 3)
        assert processor.count("spans_refused") == 1
        assert "Partial success" in (tmp_path / "collector.log").read_text()
        balanced(processor)


def test_a_request_with_nothing_sound_is_dropped_and_counted_on_both_sides(front: Front) -> None:
    with Backend() as backend:
        collector, processor = front(backend.address)
        forward(collector.otlp, poisoned("bad"))
        sent(collector, 0, failed=1)
        assert processor.count("requests_malformed") == 1
        forward(collector.otlp, shop("good"))
        eventually(lambda: backend.names == ["good"], "the next span")
        balanced(processor)
