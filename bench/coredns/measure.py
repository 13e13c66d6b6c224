"""One cell of the table: a level, a state of its receiver, and what CoreDNS did under load."""

import json
import re
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.coredns.sink import READY
from otel_dns.lab import Lab, corefiles, dns, programs
from otel_dns.lab import addresses as plan
from otel_dns.lab.places import Pod
from otel_dns.lab.process import LabProcess
from otel_dns.wire.dnstap import EXTRA_FORMAT

LEVELS: Final = (0, 1, 2, 3, 4)
STATES: Final = ("healthy", "slow", "hung", "refusing", "gone")
"""``refusing``: nobody listens at the address. ``gone``: nobody has the address."""

_NOBODY: Final = "10.244.99.99"
_CORES: Final = ("0", "1")
"""Of the load, and of CoreDNS."""
_SENT_WITHIN_S: Final = 1.6
"""CoreDNS sends spans and messages every second; the sink writes its counts down twice in one."""
_NAMES: Final = ("db.shop.svc", "web.shop.svc", "payments.shop.svc", "kubernetes.default.svc")
_METRIC: Final = re.compile(r"^(process_\w+) ([-+.e\d]+)$", re.MULTILINE)
_VERBOSE: Final = re.compile(r"^> (\w+) \S+ \S+ ([.\d]+)$", re.MULTILINE)
_RATE: Final = re.compile(r"Queries per second:\s+([.\d]+)")
_LOST: Final = re.compile(r"Queries lost:\s+(\d+)")
_SENT: Final = re.compile(r"Queries sent:\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Cell:
    """What was measured; times in microseconds, sizes in bytes."""

    level: int
    state: str
    cpu_us: float
    """Of CoreDNS, for one query, at the load's rate."""
    cpu_most_us: float
    """The same with as many queries as it can answer: less of it is waking up."""
    p99_us: float
    rss: int
    """At the end of the load."""
    bytes_a_query: float
    """To the receiver, or into the log."""
    lost: int
    most: float
    """Queries a second at most, on one core."""


def corefile(level: int, zone: Path, receiver: str) -> str:
    """The lab's server with a level's evidence, and the same plugins otherwise."""
    lines = ["errors", f"prometheus 0.0.0.0:{corefiles.METRICS_PORT}"]
    if level == 1:
        lines.append("log")
    if level >= 2:
        lines += [
            "metadata",
            f'dnstap tcp://{receiver}:6000 full {{\n        extra "{EXTRA_FORMAT}"\n    }}',
        ]
    if level >= 3:
        rate = "every 1" if level == 4 else "every 100\n        zipkin_max_backlog_size 200"
        lines.append(f"trace zipkin http://{receiver}:9411/api/v2/spans {{\n        {rate}\n    }}")
    lines += ["loadbalance", "cache 30", f'file "{zone}" cluster.local']
    return ".:53 {\n    " + "\n    ".join(lines) + "\n}\n"


class Bench:
    """A lab with a client Pod, in which cells are measured one after the other."""

    def __init__(self, lab: Lab, rate: int, seconds: float) -> None:
        self._lab = lab
        self._rate = rate
        self._seconds = seconds
        self._client = lab.pod("load", nameservers=[plan.CLUSTER_DNS])
        self._queries = lab.directory / "queries.txt"
        lines = [f"{name}.cluster.local {type_}" for name in _NAMES for type_ in ("A", "AAAA")]
        self._queries.write_text("\n".join(lines) + "\n")
        self._zone = dns.write_zones(lab.session) / "cluster.local.zone"
        self._number = 0

    def cell(self, level: int, state: str) -> Cell:
        """Measure one cell; everything it starts is stopped again."""
        self._number += 1
        counts = self._lab.directory / f"sink-{self._number}.json"
        receiver = _NOBODY if state == "gone" else plan.NODE
        sink = self._sink(counts, slow=state == "slow") if state != "gone" else None
        server = self._coredns(level, receiver)
        try:
            if sink is not None and state == "hung":
                self._load(0.5, self._rate)  # connected, and then silent
                sink.pause()
            elif sink is not None and state == "refusing":
                sink.stop()
            return self._measure(level, state, server, counts)
        finally:
            server[1].stop()
            if sink is not None and state != "refusing":
                if state == "hung":
                    sink.resume()
                sink.stop()
            server[0].delete()

    def _measure(
        self, level: int, state: str, server: tuple[Pod, LabProcess], counts: Path
    ) -> Cell:
        pod, process = server
        self._load(0.5, self._rate)  # warm: caches, memory pools
        time.sleep(_SENT_WITHIN_S)
        before, bytes_before = self._metrics(pod), self._bytes(level, counts, process)
        out = self._load(self._seconds, self._rate)
        after = self._metrics(pod)
        time.sleep(_SENT_WITHIN_S)
        sent = int(_only(_SENT, out))
        times = sorted(float(match[2]) * 1e6 for match in _VERBOSE.finditer(out))
        bytes_sent = self._bytes(level, counts, process) - bytes_before
        # Other work on this machine only ever makes it worse: the best of three.
        cpu_most, most = zip(*(self._full(pod) for _ in range(3)), strict=True)
        return Cell(
            level=level,
            state=state,
            cpu_us=(_cpu(after) - _cpu(before)) / sent * 1e6,
            cpu_most_us=min(cpu_most),
            p99_us=statistics.quantiles(times, n=100)[98] if len(times) > 100 else float("nan"),
            rss=int(after["process_resident_memory_bytes"]),
            bytes_a_query=bytes_sent / sent,
            lost=int(_only(_LOST, out)),
            most=max(most),
        )

    def _full(self, pod: Pod) -> tuple[float, float]:
        """Ask as fast as it answers: CPU a query in microseconds, queries a second."""
        before = self._metrics(pod)
        out = self._load(self._seconds / 2, None)
        spent = _cpu(self._metrics(pod)) - _cpu(before)
        return spent / int(_only(_SENT, out)) * 1e6, float(_only(_RATE, out))

    def _load(self, seconds: float, rate: int | None) -> str:
        limit = ["-Q", str(rate), "-v"] if rate else []
        argv = [
            *("taskset", "-c", _CORES[0], "dnsperf", "-s", plan.CLUSTER_DNS),
            *("-d", str(self._queries), "-l", f"{max(seconds, 1):.0f}", "-c", "8", "-q", "64"),
            *("-t", "2", *limit),
        ]
        return self._client.run(argv, check=True, timeout=seconds + 20).stdout

    def _sink(self, counts: Path, *, slow: bool) -> LabProcess:
        argv = [sys.executable, "-m", "bench.coredns.sink", "--host", plan.NODE]
        return self._lab.node.start(
            ["taskset", "-c", _CORES[0], *argv, "--counts", str(counts), *["--slow"] * slow],
            name=f"sink-{self._number}",
            ready=lambda process: READY in process.output(),
        )

    def _coredns(self, level: int, receiver: str) -> tuple[Pod, LabProcess]:
        pod = self._lab.pod(
            f"coredns-{self._number}", namespace="kube-system",
            addresses=["", plan.CLUSTER_DNS], nameservers=[], search=[],
        )  # fmt: skip
        path = self._lab.session.write(
            f"bench-{self._number}.Corefile", corefile(level, self._zone, receiver)
        )
        process = pod.start(
            ["taskset", "-c", _CORES[1], str(programs.find("coredns")), "-conf", str(path)],
            name=f"coredns-{self._number}",
            ready=lambda process: "\nCoreDNS-" in "\n" + process.output(),
        )
        return pod, process

    def _metrics(self, pod: Pod) -> dict[str, float]:
        _, body = self._lab.http_get(f"http://{pod.address}:{corefiles.METRICS_PORT}/metrics")
        return {match[1]: float(match[2]) for match in _METRIC.finditer(body.decode())}

    def _bytes(self, level: int, counts: Path, process: LabProcess) -> int:
        if level == 1:
            return process.log.stat().st_size
        counted: dict[str, int] = json.loads(counts.read_text()) if counts.exists() else {}
        return sum(counted.values())


def _cpu(metrics: dict[str, float]) -> float:
    return metrics["process_cpu_seconds_total"]


def _only(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise RuntimeError(f"dnsperf did not say {pattern.pattern!r}:\n{text[-2000:]}")
    return found[1]
