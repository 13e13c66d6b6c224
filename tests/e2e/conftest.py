"""The whole chain in a lab: real CoreDNS, Collector, otel-dns and Jaeger."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from otel_dns import semconv
from otel_dns.lab import Lab, available, programs, scenarios
from otel_dns.lab.dns import DnsServer
from otel_dns.lab.places import Pod
from otel_dns.lab.telemetry import COLLECTOR_OTLP, Collector, Jaeger, Processor
from tests.support.programs import require
from tests.support.waiting import eventually

COLLECTOR_JOINED = "10.244.0.1:4319"
SETTLE = ["--settle", "3", "--server-trace-wait", "20"]


@dataclass(slots=True)
class Chain:
    """Everything that runs, and how to ask Jaeger about it."""

    lab: Lab
    jaeger: Jaeger
    processor: Processor
    collector: Collector
    upstream: DnsServer
    coredns: DnsServer
    pod: Pod

    def run_storefront(self, service: str) -> str:
        """Run the storefront once; its output."""
        return self.run(scenarios.storefront(), service)

    def run(self, command: list[str], service: str, **env: str) -> str:
        """Run a Python program in the Pod, instrumented from outside; its output."""
        done = self.pod.run(
            scenarios.instrumented(command),
            env={**scenarios.client_env(COLLECTOR_OTLP, service=service), **env},
            timeout=400,
            check=True,
        )
        return done.stdout + done.stderr

    def counted(self, name: str) -> float:
        """A counter of the processor's, all its series together."""
        status, body = self.lab.http_get(f"{self.processor.http_url}/metrics")
        assert status == 200, body
        return sum(
            float(line.rpartition(" ")[2])
            for line in body.decode().splitlines()
            if line.partition("{")[0].partition(" ")[0] == f"otel_dns_{name}_total"
        )

    def search(self, service: str, tags: Mapping[str, str]) -> list[dict[str, Any]]:
        """Traces that Jaeger's own search finds."""
        query = urlencode({"service": service, "tags": json.dumps(dict(tags)), "limit": 100})
        status, body = self.lab.http_get(f"{self.jaeger.query_url}/api/traces?{query}")
        assert status == 200, body
        return json.loads(body)["data"]

    def found(self, service: str, **tags: str) -> list[dict[str, Any]]:
        """Traces that Jaeger finds in the end, whole; tags with underscores for dots."""
        wanted = {key.replace("__", "."): tags[key] for key in tags}

        def whole() -> list[dict[str, Any]] | None:
            traces = self.search(service, wanted)
            return traces if all(map(is_whole, traces)) else None

        return eventually(whole, f"a trace of {service} with {tags} in Jaeger")


def tags_of(span: dict[str, Any]) -> dict[str, Any]:
    """A span's tags, as Jaeger has them."""
    return {tag["key"]: tag["value"] for tag in span["tags"]}


def is_whole(trace: dict[str, Any]) -> bool:
    """Whether all that was joined with its lookups is there: Jaeger shows what it has so far."""
    roots = [span for span in trace["spans"] if span["operationName"] == semconv.SERVEDNS_SPAN]
    joined = [
        tags_of(span).get(semconv.QUERIES, 0)
        for span in trace["spans"]
        if span["operationName"] == semconv.LOOKUP_SPAN
    ]
    own_ns = sum(tags_of(span).get(semconv.OWN_TIME, 0) for span in trace["spans"])
    return sum(joined) <= len(roots) and own_ns >= 1000 * sum(root["duration"] for root in roots)


def make_chain(lab: Lab, config: str) -> Chain:
    """Start everything, with one of the Collector's configurations."""
    path = programs.collector_config() / config
    output = COLLECTOR_JOINED if config == "otel-dns.yaml" else None
    jaeger = lab.jaeger()
    processor = lab.processor(SETTLE, output=output or jaeger.otlp)
    collector = lab.collector(path, env={"DECISION_WAIT": "4s"})
    upstream = lab.upstream_dns()
    coredns = lab.cluster_dns(
        zipkin=collector.zipkin_url, delays={"slow.cluster.local": "50ms"}, cache=0
    )
    lab.web_server()
    pod = lab.pod("storefront-7d4b9c", namespace="shop")
    return Chain(lab, jaeger, processor, collector, upstream, coredns, pod)


@pytest.fixture(scope="module")
def chains() -> Iterator[Callable[[str], Chain]]:
    """Chains by configuration, each made once for the tests of a module."""
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    for program in ("coredns", "otelcol", "jaeger"):
        require(program)
    made: dict[str, Chain] = {}
    with ExitStack() as labs:

        def chain(config: str) -> Chain:
            if config not in made:
                made[config] = make_chain(labs.enter_context(Lab()), config)
            return made[config]

        yield chain


@pytest.fixture(params=["otel-dns.yaml", "simple.yaml"])
def chain(request: pytest.FixtureRequest, chains: Callable[[str], Chain]) -> Chain:
    return chains(request.param)


@pytest.fixture
def default_chain(chains: Callable[[str], Chain]) -> Chain:
    return chains("otel-dns.yaml")
