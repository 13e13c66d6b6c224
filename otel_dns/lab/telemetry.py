"""The telemetry programs of the lab, all on the node: Collector, processor, Jaeger, Prometheus."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_dns.lab import addresses as plan
from otel_dns.lab import corefiles, dns, environment, programs, reach
from otel_dns.lab.places import Node
from otel_dns.lab.process import LabProcess
from otel_dns.lab.session import Session

PROCESSOR_OTLP: Final = f"{plan.NODE}:4417"
PROCESSOR_HTTP: Final = f"{plan.NODE}:9412"
JAEGER_OTLP: Final = f"{plan.NODE}:14317"
COLLECTOR_OTLP: Final = f"{plan.NODE}:4317"

# The variables by which the configurations in collector-config/ take their addresses.
_ADDRESSES: Final = {
    "COLLECTOR_OTLP_GRPC": COLLECTOR_OTLP,
    "COLLECTOR_OTLP_HTTP": f"{plan.NODE}:4318",
    "COLLECTOR_ZIPKIN": f"{plan.NODE}:9411",
    "COLLECTOR_JOINED": f"{plan.NODE}:4319",
    "COLLECTOR_HEALTH": f"{plan.NODE}:13133",
    "COLLECTOR_METRICS_HOST": plan.NODE,
    "OTEL_DNS_ENDPOINT": PROCESSOR_OTLP,
    "JAEGER_ENDPOINT": JAEGER_OTLP,
    "JAEGER_OTLP_GRPC": JAEGER_OTLP,
    "JAEGER_QUERY_HTTP": f"{plan.NODE}:16686",
    "JAEGER_QUERY_GRPC": f"{plan.NODE}:16685",
    "JAEGER_HEALTH": f"{plan.NODE}:14133",
    "PROMETHEUS_OTLP_URL": f"http://{plan.NODE}:9090/api/v1/otlp/v1/metrics",
}


@dataclass(frozen=True, slots=True)
class Collector:
    """A running OpenTelemetry Collector; its addresses are those of its configuration."""

    process: LabProcess
    otlp: str = COLLECTOR_OTLP
    zipkin_url: str = f"http://{plan.NODE}:9411/api/v2/spans"


@dataclass(frozen=True, slots=True)
class Processor:
    """A running ``otel-dns serve``."""

    process: LabProcess
    otlp: str
    http_url: str

    @property
    def zipkin_url(self) -> str:
        """Where CoreDNS may send its spans directly."""
        return f"{self.http_url}/api/v2/spans"


@dataclass(frozen=True, slots=True)
class Jaeger:
    """A running Jaeger with its traces in memory."""

    process: LabProcess
    otlp: str = JAEGER_OTLP
    query_url: str = f"http://{plan.NODE}:16686"


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running Prometheus; it takes OTLP at ``/api/v1/otlp/v1/metrics``."""

    process: LabProcess
    url: str


def start_collector(
    session: Session, config: Path, *, env: Mapping[str, str] | None, name: str
) -> Collector:
    """See ``Lab.collector``."""
    program = programs.find("otelcol")
    session.progress(f"starting the Collector with {config.name}")
    process = Node(session).start(
        [str(program), "--config", str(config)],
        name=name,
        env={**_ADDRESSES, **(env or {})},
        # Its own words, and the last of its start; a health_check extension may not be configured.
        ready=lambda process: "Everything is ready" in process.output(),
    )
    return Collector(process)


def start_jaeger(session: Session, config: Path | None, *, env: Mapping[str, str] | None) -> Jaeger:
    """See ``Lab.jaeger``."""
    program = programs.find("jaeger")
    if config is None:
        config = programs.collector_config() / "jaeger-memory.yaml"
    variables = {**_ADDRESSES, **(env or {})}
    health = f"http://{variables['JAEGER_HEALTH']}/status"
    session.progress("starting Jaeger")
    process = Node(session).start(
        [str(program), "--config", str(config)],
        name="jaeger",
        env=variables,
        ready=lambda _: reach.answers_http(session, health),
    )
    return Jaeger(
        process, variables["JAEGER_OTLP_GRPC"], f"http://{variables['JAEGER_QUERY_HTTP']}"
    )


def start_prometheus(session: Session, config: Path | None, *, args: Sequence[str]) -> Prometheus:
    """See ``Lab.prometheus``."""
    if config is None:
        config = session.write("prometheus.yaml", _scrape_config(dns.metrics_addresses(session)))
    program = programs.find("prometheus")
    address = f"{plan.NODE}:9090"
    session.progress("starting Prometheus")
    process = Node(session).start(
        [
            str(program),
            f"--config.file={config}",
            f"--storage.tsdb.path={session.directory / 'prometheus'}",
            f"--web.listen-address={address}",
            "--web.enable-otlp-receiver",
            *args,
        ],
        name="prometheus",
        ready=lambda _: reach.answers_http(session, f"http://{address}/-/ready"),
    )
    return Prometheus(process, f"http://{address}")


def _scrape_config(dns_servers: Sequence[str]) -> str:
    return (
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "- job_name: coredns\n"
        f"  static_configs: [{{targets: {json.dumps(list(dns_servers))}}}]\n"
        "- job_name: otel-dns\n"
        f"  static_configs: [{{targets: [{json.dumps(PROCESSOR_HTTP)}]}}]\n"
    )


def start_processor(
    session: Session,
    args: Sequence[str],
    *,
    otlp_listen: str,
    http_listen: str,
    output: str,
    env: Mapping[str, str] | None,
    name: str,
) -> Processor:
    """See ``Lab.processor``."""
    session.progress("starting otel-dns serve")
    process = Node(session).start(
        [
            *(sys.executable, "-P", "-m", "otel_dns", "serve"),
            *("--otlp-listen", otlp_listen, "--http-listen", http_listen, "--output", output),
            *("--export", "all"),
            *(() if "--history" in args else ("--no-history",)),
            *("--coredns-service", corefiles.CLUSTER_SERVICE),
            *("--coredns-service", corefiles.NODE_CACHE_SERVICE),
            *args,
        ],
        name=name,
        env={**environment.own_source(), **(env or {})},
        ready=lambda _: reach.answers_http(session, f"http://{http_listen}/readyz"),
    )
    return Processor(process, otlp_listen, f"http://{http_listen}")
