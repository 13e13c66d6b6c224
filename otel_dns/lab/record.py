"""Record a scenario: what every part really sent, in files that tests and the demo replay."""

import datetime
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import otel_dns
from otel_dns import semconv
from otel_dns.lab import odd_shapes, programs, scenarios
from otel_dns.lab.capture_files import Capture
from otel_dns.lab.dns import DnsServer
from otel_dns.lab.errors import LabError
from otel_dns.lab.lab import Lab
from otel_dns.lab.places import Pod
from otel_dns.model import Message
from otel_dns.wire.dnstap import decode

FORMAT_VERSION: Final = 1
"""Of ``manifest.json`` and of what it lists; raised when a reader of the old would go wrong."""

FILES: Final[Mapping[str, str]] = {
    "client-traces.otlp": "ExportTraceServiceRequest messages of the application, each behind its "
    "length as a varint",
    "client-metrics.otlp": "ExportMetricsServiceRequest messages of the application, likewise",
    "coredns-zipkin.jsonl": "what CoreDNS's trace plugin posted: one JSON list of spans a line",
    "coredns.fstrm": "what CoreDNS's dnstap plugin sent: a frame stream; the extra field is "
    "'<trace id> <DNS id> <client port>'",
    "coredns.log": "CoreDNS's output: one line a query, '{common} {/trace/traceid}'",
    "coredns-metrics.txt": "CoreDNS's metrics after the run, in Prometheus's text format",
    "application.txt": "what the application printed",
}

_QUERY_LINE: Final = re.compile(r"^\[INFO\] \S+:\d+ - \d+ .*$", re.MULTILINE)
_RUN_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a scenario has set up."""

    pod: Pod
    """The application runs here."""
    traced: Sequence[DnsServer]
    """These send spans, and write a line a query."""
    tapped: DnsServer


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is set up around the application, and what that is."""

    description: str
    set_up: Callable[[Lab, Capture], Setting]
    application: Callable[[], list[str]] = scenarios.storefront


def _demo(lab: Lab, capture: Capture, *, node_local_dns: bool = False) -> Setting:
    lab.upstream_dns()
    cluster = lab.cluster_dns(dnstap=capture.dnstap)
    traced = [cluster]
    if node_local_dns:
        traced.append(lab.node_local_dns(zipkin=capture.zipkin_url))
    lab.web_server()
    return Setting(lab.pod("storefront-7d4b9c", namespace="shop"), traced, cluster)


def _odd_shapes(lab: Lab, capture: Capture) -> Setting:
    return Setting(*odd_shapes.set_up(lab, zipkin=capture.zipkin_url, dnstap=capture.dnstap))


_SCENARIOS: Final = (
    Scenario("A Pod, a cluster DNS server, an upstream server, a web server", _demo),
    Scenario("As demo, with a cache on the node", partial(_demo, node_local_dns=True)),
    Scenario(
        "What CoreDNS's plugins make of a query: autopath, dns64, prefetch and others",
        _odd_shapes,
        odd_shapes.application,
    ),
)
SCENARIOS: Final[Mapping[str, Scenario]] = dict(zip(scenarios.RECORDED, _SCENARIOS, strict=True))


def record(
    directory: Path,
    *,
    scenario: str = "demo",
    argv: Sequence[str] | None = None,
    userns: bool | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run a scenario in a lab of its own and write down what its parts sent.

    Args:
        directory: Where the files go; made, or empty.
        scenario: One of ``SCENARIOS``.
        argv: The program with its arguments that runs under ``opentelemetry-instrument`` in a Pod,
            e.g. ``["app.py"]`` or ``["python", "-m", "app"]``; ``None``: the scenario's own, for
            demo examples/storefront.
        userns: As for ``Lab``.
        progress: Told what is going on.

    Returns:
        The manifest's path.

    Raises:
        LabError: The directory has files, or something in the lab failed.
        ProgramMissing: There is no CoreDNS.
    """
    if directory.exists() and any(directory.iterdir()):
        raise LabError(f"{directory} is not empty; give a new directory, or clear it")
    chosen = SCENARIOS[scenario]
    command = list(argv) if argv else chosen.application()
    if command[0].endswith(".py"):
        command.insert(0, sys.executable)
    directory.mkdir(parents=True, exist_ok=True)
    with Lab(userns=userns, progress=progress) as lab:
        capture = lab.capture()
        setting = chosen.set_up(lab, capture)
        progress("running the application under opentelemetry-instrument")
        done = setting.pod.run(
            scenarios.instrumented(command),
            env={**scenarios.client_env(capture.otlp), "OTEL_METRICS_EXPORTER": "otlp"},
            timeout=_RUN_SECONDS,
        )
        (directory / "application.txt").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise LabError(
                f"the application ended with exit code {done.returncode}; "
                f"see {directory / 'application.txt'}"
            )
        progress("waiting for what CoreDNS sends every second")
        _await_all(capture, setting)
        (directory / "coredns-metrics.txt").write_bytes(lab.http_get(setting.tapped.metrics_url)[1])
        capture.process.stop()
        for name, source in {
            "client-traces.otlp": capture.traces,
            "client-metrics.otlp": capture.metrics,
            "coredns-zipkin.jsonl": capture.zipkin,
            "coredns.fstrm": capture.dnstap_file,
            "coredns.log": setting.tapped.log,
        }.items():
            shutil.copyfile(source, directory / name)
        manifest = _manifest(scenario, chosen, command, lab.status()["pods"])
    path = directory / "manifest.json"
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path


def _await_all(capture: Capture, setting: Setting) -> None:
    # Every query has a line in the log at once; its spans and messages come later.
    lines = [_query_lines(server) for server in setting.traced]
    # What a server asks itself has no trace of its own.
    spans = sum(not line.endswith(" -") for of_server in lines for line in of_server)
    messages = 2 * len(_query_lines(setting.tapped))

    def is_all() -> bool:
        names = Counter(span["name"] for span in capture.zipkin_spans())
        tapped = capture.dnstap_messages()
        kinds = Counter(each.kind for one in tapped if isinstance(each := decode(one), Message))
        return (
            names[semconv.SERVEDNS_SPAN] >= spans
            and kinds["CQ"] + kinds["CR"] >= messages
            # What the cache fetches anew in the background, too.
            and names[semconv.CONNECT_SPAN] >= kinds["FR"] == kinds["FQ"]
        )

    capture.wait_until(is_all, f"{spans} servedns spans and {messages} dnstap messages")


def _query_lines(server: DnsServer) -> list[str]:
    return _QUERY_LINE.findall(server.log.read_text())


def _manifest(
    name: str, scenario: Scenario, command: Sequence[str], pods: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "scenario": name,
        "description": scenario.description,
        # Without this machine's directories.
        "application": [Path(each).name if "/" in each else each for each in command],
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "pods": [
            {key: pod[key] for key in ("name", "namespace", "node", "addresses")} for pod in pods
        ],
        "files": dict(FILES),
    }


def _versions() -> dict[str, str]:
    coredns = subprocess.run(
        [str(programs.find("coredns")), "-version"], capture_output=True, text=True, check=False
    ).stdout
    versions = {
        "otel-dns": otel_dns.__version__,
        "CoreDNS": coredns.splitlines()[0].removeprefix("CoreDNS-") if coredns else "unknown",
        "Python": platform.python_version(),
        "C library": " ".join(platform.libc_ver()).strip(),
        "Linux": platform.release().partition("-")[0],
    }
    for package in ("opentelemetry-sdk", "opentelemetry-instrumentation", "dnspython"):
        versions[package] = importlib.metadata.version(package)
    return versions
