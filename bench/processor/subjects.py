"""The programs that are measured, each with its configuration, and what the system says of them."""

import contextlib
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from otel_dns.lab import programs
from tests.support.processes import answers, free_addresses
from tests.support.waiting import eventually

TICK = os.sysconf("SC_CLK_TCK")
CORE = max(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Subject:
    """A running program under measurement."""

    process: subprocess.Popen[bytes]
    address: str
    health: str

    def cpu_s(self) -> float:
        """CPU seconds used so far, in user and kernel mode, by all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mib(self, what: str = "VmRSS") -> float:
        """Resident memory now, or with VmHWM its peak."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        raise AssertionError(what)

    def gauge(self, name: str) -> float:
        """A metric of otel-dns."""
        with urllib.request.urlopen(f"{self.health}/metrics", timeout=20) as page:
            for line in page.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        return 0.0


class SinkProcess:
    """The sink, seen from here."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.processor.sink"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        self.address = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def spans(self) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def running(command: Sequence[str], address: str, ready: str, log: Path) -> Iterator[Subject]:
    """Start a program on one core, and stop it at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(command), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            env={**os.environ, "GOMAXPROCS": "1"},
        )  # fmt: skip
    try:
        os.sched_setaffinity(process.pid, {CORE})
        eventually(lambda: answers(ready), f"{command[0]} ready; see {log}", within=60)
        yield Subject(process, address, ready.rpartition("/")[0])
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def collector(output: str, directory: Path, *, joining: bool, wait_s: float) -> Iterator[Subject]:
    """The Collector: forwarding only, or with the nearest that it has to a join."""
    address, health = free_addresses(2)
    # Its default queue of 1000 requests would drop spans here; ours waits instead.
    exporter = {
        "endpoint": output, "tls": {"insecure": True}, "compression": "none",
        "sending_queue": {"queue_size": 1_000_000},
    }  # fmt: skip
    pipeline: dict[str, list[str]] = {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": address}}}},
        "exporters": {"otlp_grpc": exporter},
        "extensions": {"health_check": {"endpoint": health}},
        "service": {
            "extensions": ["health_check"],
            "pipelines": {"traces": pipeline},
            "telemetry": {"metrics": {"level": "none"}},
        },
    }
    if joining:
        config["processors"] = {
            "groupbytrace": {"wait_duration": f"{wait_s:g}s", "num_traces": 1_000_000},
            "batch": {},
        }
        config["connectors"] = {"span_metrics": {}}
        config["exporters"]["nop"] = {}  # type: ignore[index]
        pipeline |= {
            "processors": ["groupbytrace", "batch"],
            "exporters": ["otlp_grpc", "span_metrics"],
        }
        config["service"]["pipelines"]["metrics"] = {  # type: ignore[index]
            "receivers": ["span_metrics"], "exporters": ["nop"],
        }  # fmt: skip
    file = directory / "collector.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [str(programs.find("otelcol")), "--config", str(file)]
    with running(command, address, f"http://{health}/", directory / "collector.log") as subject:
        yield subject


@contextlib.contextmanager
def serving(output: str, directory: Path, settings: Mapping[str, Any]) -> Iterator[Subject]:
    """otel-dns with some settings, without a page."""
    address, http = free_addresses(2)
    config = {
        "receivers": {"otlp": {"listen": address}, "http": {"listen": http}},
        "outputs": [{"endpoint": output}],
        "history": {"keep": False},
        "page": {"listen": None},
        **settings,
    }
    file = directory / "otel-dns.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-P", "-m", "otel_dns", "serve", "--config", str(file)]
    with running(command, address, f"http://{http}/readyz", directory / "otel-dns.log") as subject:
        yield subject


def processor(
    output: str, directory: Path, *, export: str, wait_s: float, history: bool = False
) -> AbstractContextManager[Subject]:
    """otel-dns with join, breakdown and metrics; with history too where that is wanted."""
    return serving(output, directory, {
        "export": {"what": export},
        "history": {"keep": history, "directory": str(directory / "history")},
        "join": {
            "settle": wait_s, "server_trace_wait": wait_s,
            "max_lookups": 1_000_000, "max_server_spans": 10_000_000, "max_bytes": "16GiB",
        },
    })  # fmt: skip
