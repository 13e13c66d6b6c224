"""Every example, in one lab: each yields a joined trace."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_dns.lab import Lab, available, programs, scenarios
from otel_dns.lab.telemetry import COLLECTOR_OTLP
from tests.e2e.conftest import Chain, make_chain
from tests.support.programs import require
from tests.support.waiting import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    for program in ("coredns", "otelcol", "jaeger"):
        require(program)
    # As the Collector merges several --config: maps are joined, everything else is replaced.
    config = merged(
        yaml.safe_load((programs.collector_config() / "simple.yaml").read_text()),
        yaml.safe_load((EXAMPLES / "opentracing" / "collector.yaml").read_text()),
    )
    config["receivers"]["jaeger"]["protocols"]["thrift_compact"]["endpoint"] = "10.244.0.1:6831"
    path = tmp_path_factory.mktemp("collector") / "with-jaeger.yaml"
    path.write_text(yaml.safe_dump(config))
    with Lab() as lab:
        yield make_chain(lab, str(path))


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for key, value in other.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, dict) else value
    return both


def joined(chain: Chain, service: str, name: str) -> None:
    """A trace of the service in Jaeger holds the lookup, and CoreDNS's spans under it."""

    def found() -> bool:
        for trace in chain.search(service, {"dns.question.name": name}):
            spans = {span["spanID"]: span for span in trace["spans"]}
            for span in spans.values():
                parents = [ref["spanID"] for ref in span["references"]]
                if span["operationName"] == "servedns" and parents and parents[0] in spans:
                    return True
        return False

    eventually(found, f"a joined lookup of {name} by {service} in Jaeger")


@pytest.mark.parametrize(
    ("example", "names"),
    [
        ("storefront", ["web", "db", "www.example.org"]),
        ("aiohttp", ["web", "www.example.org"]),
        ("dnspython", ["web", "www.example.org"]),
    ],
)
def test_switched_on_from_outside(chain: Chain, example: str, names: list[str]) -> None:
    chain.run([sys.executable, str(EXAMPLES / example / "app.py")], example)
    for name in names:
        joined(chain, example, name)


def test_flask(chain: Chain) -> None:
    command = scenarios.instrumented([sys.executable, str(EXAMPLES / "flask" / "app.py")])
    service = chain.pod.start(
        command, env=scenarios.client_env(COLLECTOR_OTLP, service="flask"), name="flask"
    )
    try:
        status, body = eventually(lambda: answer(chain), "an answer of the service")
        assert (status, body[:13]) == (200, b"the catalogue")
        joined(chain, "flask", "web")
    finally:
        service.stop()


def answer(chain: Chain) -> tuple[int, bytes] | None:
    try:
        return chain.lab.http_get(f"http://{chain.pod.address}:8000/")
    except OSError:
        return None


def test_jaeger_client(chain: Chain) -> None:
    pytest.importorskip("jaeger_client")
    done = chain.pod.run(
        [sys.executable, str(EXAMPLES / "opentracing" / "app.py")],
        env={"JAEGER_SERVICE_NAME": "orders", "JAEGER_AGENT_HOST": "10.244.0.1"},
        timeout=240,
        check=True,
    )
    assert done.stdout.startswith("web ")
    for name in ("web", "db"):
        joined(chain, "orders", name)

    def ordered() -> bool:
        (trace,) = chain.search("orders", {"dns.question.name": "db"})
        return "order" in {span["operationName"] for span in trace["spans"]}

    eventually(ordered, "the application's own span in the trace")
