"""Metrics over OTLP, into a real Prometheus."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from otel_dns.service.metrics import ResolutionMetrics
from otel_dns.service.metrics.push import MetricsPush
from tests.service.support import Backend, get
from tests.service.test_metrics import connect, measured
from tests.support.processes import free_addresses, running
from tests.support.programs import require
from tests.support.spans import MS, lookup, servedns
from tests.support.waiting import eventually


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """Address of a Prometheus that takes OTLP and scrapes nothing."""
    program = require("prometheus")
    (address,) = free_addresses(1)
    config = tmp_path / "prometheus.yaml"
    config.write_text("{}\n")
    command = [
        str(program), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}", "--web.enable-otlp-receiver",
        "--enable-feature=native-histograms",
    ]  # fmt: skip
    ready = f"http://{address}/-/ready"
    with running(command, env={}, log=tmp_path / "log", ready=ready):
        yield address


def value(address: str, expression: str) -> float | None:
    _, body = get(f"http://{address}/api/v1/query?{urlencode({'query': expression})}")
    result = json.loads(body)["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def pushed(metrics: ResolutionMetrics, address: str) -> MetricsPush:
    push = MetricsPush(f"http://{address}/api/v1/otlp/v1/metrics", metrics.families, 0.2)
    push.start()
    return push


def test_prometheus_makes_native_histograms_of_them(prometheus: str) -> None:
    root = servedns(2 * MS, 8 * MS)
    push = pushed(measured(lookup(0, 10 * MS), root, connect(root, 2 * MS, 7 * MS)), prometheus)
    try:
        median = eventually(
            lambda: value(
                prometheus, "histogram_quantile(0.5, sum(otel_dns_lookup_duration_seconds))"
            ),
            "a native histogram",
        )
        # Eight buckets to a doubling: right to one of them.
        assert median == pytest.approx(0.010, rel=0.09)
        assert value(prometheus, "sum(otel_dns_lookups_total)") == 1
    finally:
        push.stop()
    assert push.counts["metrics_pushes"] > 0
    assert push.counts["metrics_push_failures"] == 0


def test_nobody_there_is_said_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    (address,) = free_addresses(1)
    push = pushed(ResolutionMetrics(), address)

    eventually(lambda: push.counts["metrics_push_failures"] > 2, "failures")
    push.stop()

    assert len([record for record in caplog.records if address in record.message]) == 1


def test_what_does_not_speak_http_is_tried_again() -> None:
    with Backend() as grpc_only:  # whose answer to HTTP/1.1 is no status line
        push = pushed(ResolutionMetrics(), grpc_only.address)
        eventually(lambda: push.counts["metrics_push_failures"] > 1, "tried again")
        push.stop()
