"""collector-config/simple.yaml on the real Collector."""

from collections import Counter
from collections.abc import Callable

from otel_dns import semconv
from tests.collector.conftest import Collector, Neighbours
from tests.collector.test_default import post_zipkin
from tests.support.otlp import Sink, group, send, span
from tests.support.waiting import eventually


def test_everything_goes_to_otel_dns(
    collector: Callable[..., Collector], neighbours: Neighbours
) -> None:
    running = collector("simple.yaml")
    with Sink(neighbours.otel_dns) as otel_dns:
        scopes = {"http": [span("call", 1)], semconv.CLIENT_SCOPE: [span("lookup", 1)]}
        send(running.otlp, group("shop", scopes))
        assert post_zipkin(running.zipkin, ("coredns", "servedns")) == 202
        eventually(lambda: len(otel_dns.names) == 3, "all three spans at otel-dns")
        assert otel_dns.names == Counter({"call", "lookup", "servedns"})
