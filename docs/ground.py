"""The lab of docs/investigations.md: three troubles, and everything that saw them, to be asked."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from click.testing import CliRunner

from otel_dns.cli import main
from otel_dns.lab import Lab, scenarios, troubled
from otel_dns.lab.places import Pod
from tests.support.processes import free_addresses

TIMES: Final = 10
"""How often each application asks for each of its names, in each of two runs."""
_COLUMNS: Final = 160
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Ground:
    """A lab with troubles, and where to ask about them."""

    lab: Lab
    troubles: troubled.Troubled
    jaeger: str
    prometheus: str
    otlp: str
    history: Path
    page: str = ""
    """Address of the page, where it was started."""

    def ask(self, kind: str, text: str) -> str:
        """Ask on the command line (``sh``), Prometheus (``promql``) or Jaeger (``jaeger``)."""
        ways: dict[str, Callable[[str], str]] = {
            "sh": self.command_line,
            "promql": self.query,
            "jaeger": self.search,
        }
        return ways[kind](text)

    def command_line(self, text: str) -> str:
        """Run a command of ours, as on a terminal."""
        program, *arguments = shlex.split(text)
        if program != "otel-dns":
            raise ValueError(f"not ours: {text}")
        environment = {
            "XDG_STATE_HOME": str(self.history.parents[1]),
            "TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": str(_COLUMNS),
        }  # fmt: skip
        # In this process: starting a new one takes longer than all that it is asked.
        done = CliRunner().invoke(main, arguments, env=environment)
        if done.exit_code:
            raise ValueError(f"{text}: {done.output}") from done.exception
        return "".join(f"{line.rstrip()}\n" for line in _STYLE.sub("", done.stdout).splitlines())

    def query(self, expression: str) -> str:
        """Ask Prometheus; a line for each series."""
        result = self._get(f"{self.prometheus}/api/v1/query", query=expression)["data"]["result"]
        rows = [
            (" ".join(f"{key}={value}" for key, value in each["metric"].items()), each["value"][1])
            for each in result
        ]
        width = max((len(labels) for labels, _ in rows), default=0)
        return "".join(f"{labels:{width}}  {float(value):.3g}\n" for labels, value in rows)

    def search(self, form: str) -> str:
        """Ask Jaeger with the fields of its form; a line that counts, and the first traces."""
        asked = dict(line.split(": ", 1) for line in form.splitlines())
        tags = dict(tag.split("=", 1) for tag in shlex.split(asked.get("Tags", "")))
        parameters = {"service": asked["Service"], "tags": json.dumps(tags), "limit": "500"}
        if "Min Duration" in asked:
            parameters["minDuration"] = asked["Min Duration"]
        if "Operation" in asked:
            parameters["operation"] = asked["Operation"]
        traces = self._get(f"{self.jaeger}/api/traces", **parameters)["data"]
        rows = sorted((_trace(each) for each in traces), reverse=True)
        return f"{len(rows)} traces\n" + "".join(
            f"{milliseconds:7.1f} ms  {text}\n" for milliseconds, text in rows[:3]
        )

    def exemplars(self, metric: str) -> set[str]:
        """Trace ids that Prometheus keeps beside a metric, as Grafana asks for them."""
        now = time.time()
        told = self._get(
            f"{self.prometheus}/api/v1/query_exemplars",
            query=metric, start=f"{now - 900}", end=f"{now}",
        )["data"]  # fmt: skip
        return {one["labels"]["trace_id"] for each in told for one in each["exemplars"]}

    def trace(self, trace_id: str) -> Mapping[str, Any]:
        """One trace, as Jaeger has it."""
        (found,) = self._get(f"{self.jaeger}/api/traces/{trace_id}")["data"]
        trace: Mapping[str, Any] = found
        return trace

    def look_up(self, pod: Pod, name: str) -> None:
        """Let a Pod make one more lookup."""
        program = "import socket, sys; socket.getaddrinfo(sys.argv[1], 443)"
        pod.run(
            scenarios.instrumented([sys.executable, "-c", program, name]),
            env=scenarios.client_env(self.otlp, service="one-more"),
            timeout=240,
            check=True,
        )

    def _get(self, url: str, **parameters: str) -> Any:
        status, body = self.lab.http_get(f"{url}?{urlencode(parameters)}")
        if status != 200:
            raise ValueError(f"{parameters}: {body.decode(errors='replace')}")
        return json.loads(body)


def _trace(trace: Mapping[str, Any]) -> tuple[float, str]:
    """How long a trace's lookup took, and what it is."""
    (lookup,) = (span for span in trace["spans"] if span["operationName"] == "dns.lookup")
    tags = {tag["key"]: tag["value"] for tag in lookup["tags"]}
    wanted = ("dns.question.name", "otel_dns.pod", "otel_dns.server", "otel_dns.bottleneck")
    return lookup["duration"] / 1000, "  ".join(str(tags.get(key, "-")) for key in wanted)


@contextlib.contextmanager
def ground(directory: Path, *, serve_page: bool = True) -> Iterator[Ground]:
    """Let the troubles happen twice, with everything that sees them; a rate needs two values.

    Args:
        directory: where the history goes.
        serve_page: whether to start the page on it, for a browser.

    Raises:
        LabError: there is no lab, or something in it failed.
    """
    history = directory / "otel-dns" / "history"
    with Lab() as lab, contextlib.ExitStack() as stack:
        jaeger = lab.jaeger()
        processor = lab.processor(
            ["--settle", "1.5", "--history", str(history)],
            output=jaeger.otlp,
            env={"OTEL_DNS__PAGE__LISTEN": "null", "OTEL_DNS__HISTORY__FLUSH": "1s"},
        )
        troubles = troubled.set_up(lab, processor.zipkin_url)
        prometheus = lab.prometheus(args=["--enable-feature=exemplar-storage"])
        made = Ground(lab, troubles, jaeger.query_url, prometheus.url, processor.otlp, history)
        expected = sum(len(each.names) for each in troubles.applications) * TIMES
        for runs in (1, 2):
            troubles.run(TIMES, processor.otlp)
            _wait(lambda runs=runs: _lookups(made) >= runs * expected)
        _wait(lambda: _kept(made) >= 2 * expected)
        if serve_page:
            where = {"--jaeger": lab.publish(16686), "--service": lab.publish(9412)}
            made.page = stack.enter_context(page(history, where))
        yield made


def _lookups(made: Ground) -> float:
    told = made.query("sum(otel_dns_pod_lookups_total)").split()
    return float(told[-1]) if told else 0.0


def _kept(made: Ground) -> int:
    if not list(made.history.rglob("*.parquet")):
        return 0
    sql = shlex.quote("SELECT count(*) AS n FROM lookups")
    return int(json.loads(made.command_line(f"otel-dns query --json {sql}"))[0]["n"])


def _wait(condition: Callable[[], bool], within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the lab's lookups did not arrive")
        time.sleep(0.2)


@contextlib.contextmanager
def page(history: Path, places: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    """Run the page on a history; gives its address."""
    (listen,) = free_addresses(1)
    command = [sys.executable, "-P", "-m", "otel_dns", "page", "--tied"]
    command += ["--history", str(history), "--listen", listen]
    for option, (host, port) in places.items():
        command += [option, f"http://{host}:{port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(lambda: _answers(listen))
            yield f"http://{listen}/"
        finally:
            process.terminate()
            process.wait()


def _answers(listen: str) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://{listen}/healthz", timeout=20).close()
        return True
    return False
