"""collector-config/jaeger-memory.yaml on the real Jaeger: what is sent can be searched for."""

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from otel_dns import semconv
from otel_dns.lab.programs import collector_config
from tests.support.otlp import group, send, span
from tests.support.processes import free_addresses, running
from tests.support.programs import require
from tests.support.waiting import eventually


def search(query: str, **parameters: str) -> list[Any]:
    url = f"http://{query}/api/traces?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)["data"] or []


def test_a_span_is_found_by_its_tags(tmp_path: Path) -> None:
    otlp, http, grpc, health = free_addresses(4)
    env = {
        "JAEGER_OTLP_GRPC": otlp,
        "JAEGER_QUERY_HTTP": http,
        "JAEGER_QUERY_GRPC": grpc,
        "JAEGER_HEALTH": health,
    }
    command = [require("jaeger"), "--config", collector_config() / "jaeger-memory.yaml"]
    ready = f"http://{health}/status"
    with running(command, env=env, log=tmp_path / "jaeger.log", ready=ready):
        attributes = {semconv.LOOKUP_OUTCOME: "timeout", semconv.JOIN_METHOD: "time"}
        lookups = [span("one", 0xA1, attributes), span("two", 0xA2)]
        send(otlp, group("shop", {semconv.CLIENT_SCOPE: lookups}))
        # Jaeger searches by start time; the spans carry a fixed one.
        span_of_time = {"start": "1699999999000000", "end": "1700000001000000"}
        tags = json.dumps(attributes)
        found = eventually(
            lambda: search(http, service="shop", tags=tags, **span_of_time), "the trace"
        )
        assert [int(trace["traceID"], 16) for trace in found] == [0xA1]
        other = json.dumps({**attributes, semconv.JOIN_METHOD: "none"})
        assert search(http, service="shop", tags=other, **span_of_time) == []
