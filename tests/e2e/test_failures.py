"""Parts that die in the middle of a run: clear messages, no hang, good service afterwards."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from otel_dns import semconv
from otel_dns.lab import LabProcess
from tests.e2e.conftest import Chain
from tests.support.waiting import eventually


@contextmanager
def killed(process: LabProcess) -> Iterator[None]:
    """Within, a part is dead; it is back for the tests that follow, whatever was found."""
    process.kill()
    try:
        yield
    finally:
        process.restart()


def test_without_otel_dns_all_other_spans_arrive(default_chain: Chain) -> None:
    with killed(default_chain.processor.process):
        default_chain.run_storefront("bereft")
        traces = default_chain.found("bereft", http__method="GET")
    operations = {span["operationName"] for trace in traces for span in trace["spans"]}
    assert operations == {"GET"}
    default_chain.run_storefront("bereft-no-more")
    default_chain.found("bereft-no-more", otel_dns__join__method="time")


def test_coredns_killed(default_chain: Chain) -> None:
    with killed(default_chain.coredns.process):
        output = default_chain.run_storefront("alone")
    assert "Traceback" not in output
    traces = default_chain.found("alone", otel_dns__join__method="none")
    for trace in traces:
        for span in trace["spans"]:
            if span["operationName"] == "dns.lookup":
                tags = {tag["key"]: tag["value"] for tag in span["tags"]}
                # dnspython tells of its timeouts. The C library is refused by ICMP, at once, of
                # which nothing is known; but the kernel does not send one for each query.
                waited = tags["otel_dns.resolver.kind"] == "dnspython"
                if tags.get(semconv.JOIN_UNSEEN) == semconv.UNSEEN_NOT_ARRIVED:
                    waited = True
                    assert span["duration"] >= 900_000
                assert tags["otel_dns.bottleneck"] == ("waiting" if waited else "unattributed"), (
                    tags
                )
                segments = {
                    name: tags[f"{semconv.BREAKDOWN_PREFIX}{name}_ns"] for name in semconv.SEGMENTS
                }
                assert sum(segments.values()) // 1000 == span["duration"]
                assert not segments[semconv.SEGMENT_SERVER] + segments[semconv.SEGMENT_UPSTREAM]
    default_chain.run_storefront("again")
    default_chain.found("again", dns__question__name="db", otel_dns__join__method="time")


def test_jaeger_killed_and_back(chain: Chain) -> None:
    with killed(chain.jaeger.process):
        chain.run_storefront("patient")
        eventually(
            lambda: "server_spans_joined" in metrics(chain),
            "the processor to have joined",
        )
        assert chain.processor.process.returncode is None
    chain.found("patient", dns__question__name="www.example.org", otel_dns__join__method="time")


def test_collector_killed(default_chain: Chain) -> None:
    default_chain.collector.process.kill()
    output = default_chain.run_storefront("deaf")
    assert "database" in output
    process = default_chain.processor.process
    process.signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert "ended:" in process.output()


def metrics(chain: Chain) -> str:
    status, body = chain.lab.http_get(f"{chain.processor.http_url}/metrics")
    assert status == 200
    return body.decode()
