"""collector-config/otel-dns.yaml on the real Collector."""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable

import pytest

from otel_dns import semconv
from tests.collector.conftest import Collector, Neighbours
from tests.support.otlp import Sink, forward, group, send, span
from tests.support.processes import answers
from tests.support.waiting import eventually

Start = Callable[..., Collector]
CONFIG = "otel-dns.yaml"
JOINED = {semconv.JOIN_METHOD: "time"}


def lookup(name: str, trace: int, attributes: dict[str, str] | None = None):
    return {semconv.CLIENT_SCOPE: [span(name, trace, attributes)]}


def post_zipkin(address: str, *spans: tuple[str, str]) -> int:
    body = [
        {
            "traceId": f"{number:016x}",
            "id": f"{number:016x}",
            "name": name,
            "timestamp": 1_700_000_000_000_000,
            "duration": 1000,
            "localEndpoint": {"serviceName": service},
        }
        for number, (service, name) in enumerate(spans, start=1000)
    ]
    request = urllib.request.Request(
        f"http://{address}/api/v2/spans",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.status


@pytest.fixture
def otel_dns(neighbours: Neighbours):
    with Sink(neighbours.otel_dns) as sink:
        yield sink


@pytest.fixture
def jaeger(neighbours: Neighbours):
    with Sink(neighbours.jaeger) as sink:
        yield sink


def test_a_mixed_request_is_split_and_nothing_is_lost(
    collector: Start, otel_dns: Sink, jaeger: Sink
) -> None:
    running = collector(CONFIG)
    send(
        running.otlp,
        group(
            "shop",
            {
                "http": [span("GET", 1), span("POST", 2)],
                semconv.CLIENT_SCOPE: [span("lookup-1", 1), span("lookup-2", 2)],
                "": [span("no-scope", 1)],
            },
        ),
        group("bank", {**lookup("lookup-3", 3), "sql": [span("SELECT", 3)]}),
        # A service of that name is not CoreDNS for having it: CoreDNS speaks Zipkin.
        group("coredns", {"http": [span("reload", 4)]}),
    )
    expected = {"GET", "POST", "no-scope", "SELECT", "reload"}
    eventually(lambda: set(jaeger.names) >= expected, "others at Jaeger")
    eventually(lambda: len(otel_dns.names) == 3, "lookups at otel-dns")
    assert jaeger.names == Counter(expected)
    assert otel_dns.names == Counter({"lookup-1", "lookup-2", "lookup-3"})
    assert {each.scope for each in otel_dns.spans} == {semconv.CLIENT_SCOPE}
    services = {each.name: each.service for each in otel_dns.spans + jaeger.spans}
    assert services["lookup-1"] == services["GET"] == "shop"
    assert services["lookup-3"] == services["SELECT"] == "bank"
    assert {each.scope for each in jaeger.spans if each.name == "GET"} == {"http"}


def test_of_zipkin_only_corednss_spans_go_to_otel_dns(
    collector: Start, otel_dns: Sink, jaeger: Sink
) -> None:
    running = collector(CONFIG)
    status = post_zipkin(
        running.zipkin, ("coredns", "servedns"), ("legacy", "GET"), ("coredns", "cache")
    )
    assert status == 202
    eventually(lambda: jaeger.names, "the other service's span at Jaeger")
    eventually(lambda: len(otel_dns.names) == 2, "CoreDNS's spans at otel-dns")
    assert jaeger.names == Counter({"GET": 1})
    assert otel_dns.names == Counter({"servedns", "cache"})


def test_what_comes_back_goes_out_once_and_never_around(
    collector: Start, neighbours: Neighbours, jaeger: Sink
) -> None:
    running = collector(CONFIG)
    with Sink(neighbours.otel_dns, then=lambda raw: forward(running.joined, raw)) as otel_dns:
        send(running.otlp, group("shop", {**lookup("lookup", 1), "http": [span("GET", 1)]}))
        post_zipkin(running.zipkin, ("coredns", "servedns"))
        eventually(lambda: len(jaeger.names) == 3, "all of it at Jaeger")
        # Whatever went around would be there before a second lookup that started later.
        send(running.otlp, group("shop", lookup("second", 2)))
        eventually(lambda: jaeger.names["second"], "the second lookup at Jaeger")
        assert jaeger.names == Counter({"lookup", "GET", "servedns", "second"})
        assert otel_dns.names == Counter({"lookup", "servedns", "second"})


def test_joined_lookups_sent_to_the_wrong_receiver_do_not_go_around(
    collector: Start, neighbours: Neighbours, jaeger: Sink
) -> None:
    running = collector(CONFIG)

    def join_and_return(raw: bytes) -> None:
        joined = lookup("lookup", 1, JOINED)
        send(running.otlp, group("shop", joined))

    with Sink(neighbours.otel_dns, then=join_and_return) as otel_dns:
        send(running.otlp, group("shop", lookup("lookup", 1)))
        eventually(lambda: jaeger.names["lookup"], "the lookup at Jaeger")
        assert otel_dns.names == Counter({"lookup": 1})
        assert [each.attributes for each in jaeger.spans] == [JOINED]


def test_with_otel_dns_dead_all_else_arrives_and_nobody_is_held_up(
    collector: Start, jaeger: Sink
) -> None:
    # A full queue is the worst that a dead otel-dns can do; this one is full after 50 spans.
    running = collector(
        CONFIG,
        "yaml:exporters::otlp_grpc/otel_dns::sending_queue::queue_size: 50",
        "yaml:processors::batch/otel_dns: {send_batch_size: 10, send_batch_max_size: 10}",
    )
    for number in range(1, 101):
        others = [span(f"GET-{number}", number)]
        lookups = [span(f"lookup-{number}-{part}", number) for part in range(10)]
        send(running.otlp, group("shop", {semconv.CLIENT_SCOPE: lookups, "http": others}))
        assert post_zipkin(running.zipkin, ("coredns", "servedns")) == 202
    expected = Counter(f"GET-{number}" for number in range(1, 101))
    eventually(lambda: len(jaeger.names) == len(expected), "others at Jaeger")
    eventually(
        lambda: "enqueue_failed_spans" in metrics(running), "the loss in the Collector's metrics"
    )
    # Once each: a sender that was told of the full queue would send again.
    assert jaeger.names == expected
    assert answers(f"http://{running.health}/")
    assert running.process.poll() is None


def metrics(running: Collector) -> str:
    with urllib.request.urlopen(f"http://{running.metrics}/metrics", timeout=60) as response:
        return response.read().decode()


def test_lookups_survive_a_restart_of_otel_dns(
    collector: Start, neighbours: Neighbours, jaeger: Sink
) -> None:
    running = collector(CONFIG)
    send(running.otlp, group("shop", lookup("early", 1)))
    eventually(lambda: "otelcol_exporter_queue_size" in metrics(running), "the queue's metric")
    with Sink(neighbours.otel_dns) as otel_dns:
        eventually(lambda: otel_dns.names["early"], "the early lookup at otel-dns")
        assert otel_dns.names == Counter({"early": 1})


def test_one_tail_sampler_sees_both_halves_of_a_trace(collector: Start, jaeger: Sink) -> None:
    policy = (
        "{name: failed, type: string_attribute,"
        f" string_attribute: {{key: {semconv.LOOKUP_OUTCOME}, values: [timeout]}}}}"
    )
    running = collector(
        CONFIG,
        f"yaml:processors::tail_sampling::policies: [{policy}]",
        # All three requests are to be there by then, also on a busy machine.
        "yaml:processors::tail_sampling::decision_wait: 5s",
    )
    failed = {**JOINED, semconv.LOOKUP_OUTCOME: "timeout"}
    fine = {**JOINED, semconv.LOOKUP_OUTCOME: "ok"}
    send(running.otlp, group("shop", {"http": [span("GET fine", 1), span("GET failed", 2)]}))
    send(running.joined, group("shop", lookup("fine", 1, fine)))
    send(running.joined, group("shop", lookup("failed", 2, failed)))
    eventually(lambda: len(jaeger.names) == 2, "the failed lookup's trace at Jaeger")
    assert jaeger.names == Counter({"GET failed", "failed"})
