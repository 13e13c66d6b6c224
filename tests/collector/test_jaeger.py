"""collector-config/jaeger-memory.yaml on the real Jaeger: what is sent can be searched for."""

import contextlib
import dataclasses
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_dns import semconv
from otel_dns.lab.programs import collector_config
from tests.service.support import Backend, balanced, serving
from tests.support.otlp import group, send, span
from tests.support.processes import free_addresses, running
from tests.support.programs import require
from tests.support.waiting import eventually


@dataclasses.dataclass(frozen=True, slots=True)
class Jaeger:
    """Where a Jaeger listens, whether it runs or not."""

    otlp: str
    query: str
    grpc: str
    health: str

    @contextlib.contextmanager
    def running(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Runs it, with nothing in its memory, until the block ends."""
        env = {
            "JAEGER_OTLP_GRPC": self.otlp,
            "JAEGER_QUERY_HTTP": self.query,
            "JAEGER_QUERY_GRPC": self.grpc,
            "JAEGER_HEALTH": self.health,
        }
        command = [require("jaeger"), "--config", collector_config() / "jaeger-memory.yaml"]
        with running(command, env=env, log=log, ready=f"http://{self.health}/status") as process:
            yield process

    def search(self, **parameters: str) -> list[Any]:
        """The traces that it finds; its own times are for spans of now, ours are of 2023."""
        times = {"start": "1699999999000000", "end": "1700000001000000"}
        url = f"http://{self.query}/api/traces?{urllib.parse.urlencode(times | parameters)}"
        with urllib.request.urlopen(url, timeout=60) as response:
            return json.load(response)["data"] or []


@pytest.fixture
def jaeger() -> Jaeger:
    return Jaeger(*free_addresses(4))


def test_a_span_is_found_by_its_tags(jaeger: Jaeger, tmp_path: Path) -> None:
    with jaeger.running(tmp_path / "jaeger.log"):
        attributes = {semconv.LOOKUP_OUTCOME: "timeout", semconv.JOIN_METHOD: "time"}
        lookups = [span("one", 0xA1, attributes), span("two", 0xA2)]
        send(jaeger.otlp, group("shop", {semconv.CLIENT_SCOPE: lookups}))
        tags = json.dumps(attributes)
        found = eventually(lambda: jaeger.search(service="shop", tags=tags), "the trace")
        assert [int(trace["traceID"], 16) for trace in found] == [0xA1]
        other = json.dumps({**attributes, semconv.JOIN_METHOD: "none"})
        assert jaeger.search(service="shop", tags=other) == []


def test_down_and_back_it_gets_all_that_its_queue_held_and_the_rest_is_counted(
    jaeger: Jaeger, tmp_path: Path
) -> None:
    names = [f"{number:03}" for number in range(60)]
    with Backend() as well, serving(
        well.address, jaeger.otlp, outputs__1__queue="5kB"
    ) as processor:  # fmt: skip

        def shop(names: list[str]) -> None:
            for name in names:
                send(processor.otlp, group("shop", {"http": [span(name, 1, {"key": "x" * 100})]}))

        def found() -> list[str]:
            traces = jaeger.search(service="shop")
            return sorted(one["operationName"] for trace in traces for one in trace["spans"])

        with jaeger.running(tmp_path / "jaeger.log") as process:
            shop(names[:10])
            eventually(lambda: found() == names[:10], "what was sent while it was up")
            process.kill()
            process.wait()
        shop(names[10:])
        eventually(lambda: well.names == names, "everything at the other output")
        dropped = processor.count("spans_dropped_full")
        assert 0 < dropped < 50
        with jaeger.running(tmp_path / "jaeger-again.log"):
            kept = names[10 : len(names) - dropped]
            eventually(lambda: found() == kept, "what the queue held")
            shop(["afterwards"])
            eventually(lambda: found() == [*kept, "afterwards"], "what came afterwards")
            balanced(processor)


def test_a_span_that_it_refuses_costs_its_neighbours_nothing(
    jaeger: Jaeger, tmp_path: Path
) -> None:
    poison = span("poison", 2)
    poison.trace_id = poison.trace_id[1:]
    spans = [span("before", 1), poison, span("after", 3)]
    with jaeger.running(tmp_path / "jaeger.log"), serving(jaeger.otlp) as processor:
        # None of these is ours, so they travel on as they came: one request.
        send(processor.otlp, group("shop", {"http": spans}))

        def found() -> list[str]:
            traces = jaeger.search(service="shop")
            return sorted(one["operationName"] for trace in traces for one in trace["spans"])

        eventually(lambda: found() == ["after", "before"], "the two that are sound")
        refused = eventually(
            lambda: {
                name: count
                for name, count in processor.service.counts().items()
                if name.startswith("spans_refused_")
            },
            "the third counted",
        )
        assert list(refused.values()) == [1]
        balanced(processor)
