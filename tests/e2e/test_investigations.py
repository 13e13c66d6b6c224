"""Three troubles at once, found by Jaeger's search and by Prometheus queries."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from otel_dns.lab import Lab, available, troubled
from tests.support.programs import require
from tests.support.waiting import eventually

TIMES = 10
ALL = "sum(otel_dns_pod_lookups_total)"


@dataclass(frozen=True, slots=True)
class Ground:
    """A lab with troubles, and where to look."""

    lab: Lab
    troubles: troubled.Troubled
    jaeger: str
    prometheus: str

    def traces(self, service: str, **tags: str) -> list[dict[str, Any]]:
        """What Jaeger's search finds; tags with two underscores for a dot."""
        wanted = {key.replace("__", "."): value for key, value in tags.items()}
        query = urlencode({"service": service, "tags": json.dumps(wanted), "limit": 500})
        _, body = self.lab.http_get(f"{self.jaeger}/api/traces?{query}")
        return json.loads(body)["data"]

    def values(self, expression: str, label: str) -> dict[str, float]:
        """What Prometheus answers, by one label."""
        query = urlencode({"query": expression})
        _, body = self.lab.http_get(f"{self.prometheus}/api/v1/query?{query}")
        result = json.loads(body)["data"]["result"]
        return {each["metric"].get(label, ""): float(each["value"][1]) for each in result}


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    for program in ("coredns", "jaeger", "prometheus"):
        require(program)
    with Lab() as lab:
        jaeger = lab.jaeger()
        processor = lab.processor(["--settle", "1.5"], output=jaeger.otlp)
        troubles = troubled.set_up(lab, processor.zipkin_url)
        prometheus = lab.prometheus()
        found = Ground(lab, troubles, jaeger.query_url, prometheus.url)
        # Twice: a rate needs to see its counter grow.
        for runs in (1, 2):
            troubles.run(TIMES, processor.otlp)
            eventually(
                lambda runs=runs: found.values(ALL, "").get("", 0) >= runs * 8 * TIMES,
                "all lookups counted",
                within=30,
            )
        yield found


def test_slow_upstream(ground: Ground) -> None:
    """Which lookups wait for an upstream, and for which."""
    found = ground.traces(
        "invoices", otel_dns__bottleneck="upstream", k8s__namespace__name="billing"
    )
    assert len(found) == 2 * TIMES
    (upstream,) = ground.values(
        "topk(1, histogram_quantile(0.95, sum by (le, server_address)"
        " (rate(otel_dns_upstream_duration_seconds_bucket[2m]))))",
        "server_address",
    )
    assert upstream.startswith(ground.troubles.upstream.address)


def test_search_waste(ground: Ground) -> None:
    """Whose queries are for names that the search list made up."""
    wasted = ground.values(
        "sum by (k8s_namespace_name) (otel_dns_search_wasted_queries_total)"
        " / sum by (k8s_namespace_name) (otel_dns_pod_queries_total)",
        "k8s_namespace_name",
    )
    # db takes 2, the external names 8 with 6 of them waste: 12 of 18.
    assert wasted["shop"] == pytest.approx(12 / 18, abs=0.05)
    assert wasted["billing"] < 0.5


def test_one_bad_instance(ground: Ground) -> None:
    """The Pods that suffer share a node, and the servers beside each other tell which is slow."""
    for metric, label, expected in (
        ("otel_dns_node_lookup_duration_seconds_bucket", "k8s_node_name", "node-b"),
        (
            "otel_dns_server_lookup_duration_seconds_bucket",
            "otel_dns_server",
            ground.troubles.bad.place.address,
        ),
    ):
        worst = ground.values(
            f"topk(1, histogram_quantile(0.5, sum by (le, {label}) (rate({metric}[2m]))))", label
        )
        assert list(worst) == [expected]
    suffering = ground.traces("storefront", k8s__node__name="node-b")
    assert len(suffering) == 6 * TIMES
