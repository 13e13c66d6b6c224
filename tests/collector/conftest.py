"""The real Collector with one of our configurations, between stand-ins for its neighbours."""

import contextlib
import dataclasses
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from otel_dns.lab.programs import collector_config
from tests.service.support import Running, serving
from tests.support.processes import free_addresses, running
from tests.support.programs import require


@dataclasses.dataclass(frozen=True, slots=True)
class Collector:
    """A running Collector and the addresses around it."""

    process: subprocess.Popen[bytes]
    otlp: str
    zipkin: str
    joined: str
    health: str
    metrics: str

    def counted(self, name: str) -> int:
        """One of its own counters, all series together: ``exporter_sent_spans``."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=60) as response:
            lines = response.read().decode().splitlines()
        counter = re.compile(rf"otelcol_{name}(__spans_|__spans)?(_total)?\{{.*\}} (\S+)")
        return sum(int(float(found[3])) for line in lines if (found := counter.fullmatch(line)))


@dataclasses.dataclass(frozen=True, slots=True)
class Neighbours:
    """Where the Collector sends to; nobody listens there until a test does."""

    otel_dns: str
    jaeger: str


@pytest.fixture
def neighbours() -> Neighbours:
    return Neighbours(*free_addresses(2))


@pytest.fixture
def collector(neighbours: Neighbours, tmp_path: Path) -> Iterator[Callable[..., Collector]]:
    """Starts the Collector: ``collector("otel-dns.yaml", "yaml:more::settings: 1")``."""
    program = require("otelcol")
    with contextlib.ExitStack() as stack:

        def start(config: str, *more: str) -> Collector:
            otlp, http, zipkin, joined, health, metrics = free_addresses(6)
            env = {
                "COLLECTOR_OTLP_GRPC": otlp,
                "COLLECTOR_OTLP_HTTP": http,
                "COLLECTOR_ZIPKIN": zipkin,
                "COLLECTOR_JOINED": joined,
                "COLLECTOR_HEALTH": health,
                "COLLECTOR_METRICS_PORT": metrics.rpartition(":")[2],
                "OTEL_DNS_ENDPOINT": neighbours.otel_dns,
                "JAEGER_ENDPOINT": neighbours.jaeger,
                "DECISION_WAIT": "1s",
            }
            configs = [f"--config={each}" for each in (collector_config() / config, *more)]
            process = stack.enter_context(
                running(
                    [program, *configs],
                    env=env,
                    log=tmp_path / "collector.log",
                    ready=f"http://{health}/",
                )
            )
            return Collector(process, otlp, zipkin, joined, health, metrics)

        yield start


# -- in front of a processor -----------------------------------------------------------------------

Front = Callable[..., tuple[Collector, Running]]

_ONE_BY_ONE: Final = "yaml:processors::batch: {timeout: 1ms, send_batch_size: 1}"
_EXPORTERS: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "grpc": ("otlp", "otlp_grpc/otel_dns", ()),
    "http": ("http", "otlp_http/otel_dns", ()),
    "json": ("http", "otlp_http/otel_dns", ("yaml:exporters::{exporter}::encoding: json",)),
}
"""By transport: the processor's receiver, the Collector's exporter, and what that needs."""


@pytest.fixture(params=["grpc", "http"])
def front(
    request: pytest.FixtureRequest, collector: Callable[..., Collector], neighbours: Neighbours
) -> Iterator[Front]:
    """Starts a processor, and a Collector that sends everything to it, span by span.

    ``front(output, "yaml:exporters::{exporter}::...", receivers__{receiver}__...=...)``.
    """
    receiver, exporter, needed = _EXPORTERS[request.param]
    with contextlib.ExitStack() as stack:

        def start(output: str, *more: str, **settings: object) -> tuple[Collector, Running]:
            listen = {"receivers__{receiver}__listen": neighbours.otel_dns}
            keys = {
                key.format(receiver=receiver): value for key, value in (listen | settings).items()
            }
            processor = stack.enter_context(serving(output, **keys))
            configs = (
                "yaml:exporters::{exporter}::retry_on_failure::initial_interval: 50ms",
                # A request that was late is sent again, and would be there twice.
                "yaml:exporters::{exporter}::timeout: 60s",
                "yaml:service::pipelines::traces::exporters: [{exporter}]",
                f"yaml:exporters::otlp_http/otel_dns::endpoint: http://{neighbours.otel_dns}",
                _ONE_BY_ONE,
                *needed,
                *more,
            )
            formatted = [config.replace("{exporter}", exporter) for config in configs]
            return collector("simple.yaml", *formatted), processor

        yield start
