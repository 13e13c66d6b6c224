"""Dashboards and rules: generated ones are current, and every query has an answer on real data."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from dashboards.__main__ import HERE, files
from dashboards.queries import LOSSES
from otel_dns.lab import Lab, available, programs, scenarios
from tests.support.programs import require
from tests.support.waiting import eventually

MACROS = {"$__rate_interval": "1m", "$namespace": ".*", "$server": ".*"}

FAILED_CHECKS = "coredns_proxy_healthcheck_failures_total"
UNUSUAL = """
import socket
for name in ("nowhere.example.org.", "host.slow.example.", "www.example.org", "db"):
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        pass
"""


def queries() -> Iterator[tuple[str, str]]:
    """Every panel's queries, with Grafana's variables filled in."""
    for path in sorted((HERE / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"]
                for macro, value in MACROS.items():
                    expression = expression.replace(macro, value)
                yield f"{path.stem}: {panel['title']}", expression


def rules() -> Iterator[tuple[str, str]]:
    for path in ("otel-dns-recording.yaml", "otel-dns-alerts.yaml"):
        for group in yaml.safe_load((HERE / "prometheus" / path).read_text())["groups"]:
            for rule in group["rules"]:
                yield rule.get("record") or rule["alert"], rule["expr"]


@pytest.fixture(scope="module")
def ask() -> Iterator[Any]:
    """Asks a Prometheus that scraped real CoreDNS and a real processor at work."""
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    for program in ("coredns", "prometheus"):
        require(program)
    with Lab() as lab:
        output = lab.capture("joined", zipkin_port=None, dnstap_port=None)
        processor = lab.processor(
            ["--settle", "1.2"],
            output=output.otlp,
            env={"OTEL_DNS__METRICS__WATCH": '["*.example.org"]'},
        )
        lab.upstream_dns(delay="5ms", drop=2)
        lab.cluster_dns(zipkin=processor.zipkin_url)
        lab.web_server()
        prometheus = lab.prometheus()
        pod = lab.pod("storefront-7d4b9c", namespace="shop", options=("ndots:5", "timeout:1"))

        def ask(expression: str) -> list[dict[str, Any]]:
            query = urlencode({"query": expression})
            status, body = lab.http_get(f"{prometheus.url}/api/v1/query?{query}")
            assert status == 200, f"{expression}: {body}"
            return json.loads(body)["data"]["result"]

        def run(command: list[str]) -> None:
            pod.run(
                scenarios.instrumented(command),
                env=scenarios.client_env(processor.otlp),
                timeout=240,
                check=True,
            )

        seen = 'sum(otel_dns_pod_lookups_total{k8s_pod_name="storefront-7d4b9c"})'

        def lookups() -> float:
            return sum(float(each["value"][1]) for each in ask(seen))

        run(scenarios.storefront())
        each = scenarios.STOREFRONT_LOOKUPS
        eventually(lambda: lookups() >= each, "lookups in Prometheus")
        # Counters must be seen growing: what a series starts with is no rate yet.
        run([sys.executable, "-c", UNUSUAL])
        run(scenarios.storefront())
        eventually(lambda: lookups() >= 2 * each + 4, "more lookups in Prometheus")
        yield ask


def test_what_is_generated_is_current() -> None:
    stale = [
        str(path.relative_to(HERE))
        for path, text in files().items()
        if not path.is_file() or path.read_text() != text
    ]
    assert not stale, "run make dashboards"


def test_every_panel_has_an_answer_on_real_data(ask: Any) -> None:
    asked = list(queries())
    empty = {
        f"{title}: {expression}" for title, expression in asked if not _numbers(ask(expression))
    }
    assert len(asked) > 25
    assert not empty


def _numbers(result: list[Mapping[str, Any]]) -> list[float]:
    values = [float(each["value"][1]) for each in result]
    return [value for value in values if value == value]  # noqa: PLR0124 NaN is none


def test_every_metric_that_rules_ask_for_is_there(ask: Any) -> None:
    known = {each["metric"]["__name__"] for each in ask('{__name__!=""}')}
    recorded = {name for name, _ in rules() if ":" in name}
    wanted = {
        name
        for _, expression in rules()
        for name in re.findall(r"\b(?:otel_dns|coredns)[a-z_:0-9]*\b", expression)
        if name.endswith(("_total", "_sum", "_count", "_bucket", "_lookups")) or ":" in name
    }
    wanted |= set(LOSSES.values())
    # These two are there once it has happened.
    assert wanted - recorded - known <= {"coredns_panics_total", FAILED_CHECKS}, "not scraped"
    assert wanted > recorded - {"otel_dns:lookups:rate5m"}


def test_rules_do_what_their_tests_say() -> None:
    require("promtool")
    done = subprocess.run(
        [programs.find("promtool"), "test", "rules", "otel-dns-rules.test.yaml"],
        cwd=HERE / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_the_inhibition_names_alerts_that_exist() -> None:
    alerts = {name for name, _ in rules()}
    text = Path(HERE / "prometheus" / "alertmanager-inhibit.yaml").read_text()
    named = set(re.findall(r"\b[A-Z][A-Za-z]*DNS[A-Za-z]*|\bDNS[A-Za-z]+", text))
    assert named
    assert named <= alerts
