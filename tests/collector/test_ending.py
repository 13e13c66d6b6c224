"""A processor that ends under load, and its successor: every span accepted arrives, once."""

import contextlib
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import grpc

from otel_dns.model import Span
from otel_dns.wire import otlp
from tests.collector.conftest import Collector, Neighbours
from tests.service.support import Backend, post, zipkin_body, zipkin_span
from tests.support.otlp import forward
from tests.support.processes import free_addresses, running
from tests.support.spans import MS, lookup, new_id, span
from tests.support.waiting import eventually

OTHER: Final = otlp.origin_of("checkout")
PROTOBUF: Final = {"Content-Type": "application/x-protobuf"}
Deliver = Callable[[list[Span]], bool]
"""Sends spans; whether they were accepted."""


class Load:
    """Spans of all kinds from several senders at once; the ids of those accepted are kept."""

    def __init__(self, senders: dict[str, Deliver]) -> None:
        self.accepted: dict[str, list[bytes]] = {name: [] for name in senders}
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(name, senders[name])) for name in senders
        ]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def more(self, requests: int) -> None:
        """Wait until each sender has had so many more requests accepted."""
        before = {name: len(ids) for name, ids in self.accepted.items()}
        eventually(
            lambda: all(len(self.accepted[name]) >= before[name] + requests for name in before),
            f"{requests} more requests accepted of each sender",
        )

    def _send(self, name: str, deliver: Deliver) -> None:
        while not self._ended.wait(0.01):
            trace = new_id(16)
            spans = [
                span("work", 0, MS, trace_id=trace, origin=OTHER),
                lookup(0, MS, name=f"{trace.hex()}.example.org", trace_id=trace).span,
            ]
            if deliver(spans):
                self.accepted[name] += [one.span_id for one in spans]


def over_grpc(address: str) -> Deliver:
    def deliver(spans: list[Span]) -> bool:
        with contextlib.suppress(grpc.RpcError):
            forward(address, otlp.build((one.origin, one.raw) for one in spans))
            return True
        return False

    return deliver


def over_http(address: str) -> Deliver:
    def deliver(spans: list[Span]) -> bool:
        body = otlp.build((one.origin, one.raw) for one in spans)
        with contextlib.suppress(OSError):
            return post(f"http://{address}/v1/traces", body, PROTOBUF) == 200
        return False

    return deliver


def over_zipkin(address: str) -> Deliver:
    def deliver(spans: list[Span]) -> bool:
        body = zipkin_body(
            *(zipkin_span(int.from_bytes(one.span_id, "big"), kind="SERVER") for one in spans)
        )
        with contextlib.suppress(OSError):
            return post(f"http://{address}/api/v2/spans", body) == 202
        return False

    return deliver


def test_a_restart_under_load_loses_nothing_and_sends_nothing_twice(
    collector: Callable[..., Collector], neighbours: Neighbours, tmp_path: Path
) -> None:
    (http,) = free_addresses(1)
    log = tmp_path / "serve.log"
    with Backend() as backend:
        command = [
            sys.executable, "-m", "otel_dns", "serve", "--no-history", "--export", "all",
            "--otlp-listen", neighbours.otel_dns, "--http-listen", http,
            "--output", backend.address, "--settle", "0.5", "--server-trace-wait", "1",
        ]  # fmt: skip
        ready = f"http://{http}/readyz"
        # A request that was late is sent again, and would be there twice.
        before = collector("simple.yaml", "yaml:exporters::otlp_grpc/otel_dns::timeout: 60s")
        load = Load({
            "collector": over_grpc(before.otlp),
            "grpc": over_grpc(neighbours.otel_dns),
            "http": over_http(http),
            "zipkin": over_zipkin(http),
        })  # fmt: skip
        with running(command, env={}, log=log, ready=ready) as first, load.running():
            load.more(50)
            first.send_signal(signal.SIGTERM)
            assert first.wait(120) == 0, log.read_text()
            # In between only the Collector accepts: for whom it gathers, it waits.
            with running(command, env={}, log=log, ready=ready) as second:
                load.more(50)
                load.end()
                through = len(load.accepted["collector"])
                eventually(
                    lambda: before.counted("exporter_sent_spans") == through, "the Collector's"
                )
                second.send_signal(signal.SIGTERM)
                assert second.wait(120) == 0, log.read_text()
        arrived = Counter(one.span_id for one in backend.spans)
        accepted = {one for ids in load.accepted.values() for one in ids}
        assert not accepted - arrived.keys()
        assert {one for one, times in arrived.items() if times > 1} == set()
