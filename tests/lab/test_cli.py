"""`otel-dns lab`: up, exec, status, down, record; as a person at a terminal has them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_dns.lab import Lab, delimited
from otel_dns.lab.record import FILES
from otel_dns.wire import frame_streams
from tests.support.programs import require
from tests.support.waiting import eventually

OTEL_DNS = [sys.executable, "-m", "otel_dns", "lab"]


def otel_dns_lab(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*OTEL_DNS, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    require("coredns")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def up(runtime: Path) -> Iterator[str]:
    done = otel_dns_lab("up", "--name", "t")
    assert done.returncode == 0, done.stderr
    yield done.stdout
    otel_dns_lab("down", "--name", "t")


def test_up_exec_status_down(up: str, runtime: Path) -> None:
    assert "Lab t is up" in up
    assert "otel-dns lab exec --name t shop-1 -n shop -- getent hosts db" in up

    look_up = ("getent", "ahostsv4", "www.example.org")
    done = otel_dns_lab("exec", "--name", "t", "shop-1", "-n", "shop", "--", *look_up)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("192.0.2.80 ")

    # Found again without its namespace; input, output and exit code are the program's.
    done = otel_dns_lab(
        "exec", "--name", "t", "shop-1", "--", "sh", "-c", "hostname; cat; exit 7", stdin="in\n"
    )
    assert (done.returncode, done.stdout) == (7, "shop-1\nin\n")
    done = otel_dns_lab("exec", "--name", "t", "shop/shop-1", "--", "sh", "-c", "kill -15 $$")
    assert done.returncode == 128 + 15
    assert otel_dns_lab("exec", "--name", "t", "node", "--", "hostname").stdout == "node-a\n"

    done = otel_dns_lab("exec", "--name", "t", "shop-1", "--", "/no/sense")
    assert done.returncode == 1
    assert done.stderr == "Error: /no/sense cannot be started: No such file or directory\n"

    status = otel_dns_lab("status", "--name", "t").stdout
    assert "shop/shop-1" in status
    assert "kube-system/coredns-0" in status
    state = json.loads(otel_dns_lab("status", "--name", "t", "--json").stdout)
    assert [each["name"] for each in state["processes"]] == ["coredns", "coredns", "hello"]

    again = otel_dns_lab("up", "--name", "t")
    assert again.returncode == 1
    assert "a lab named t runs already" in again.stderr

    assert otel_dns_lab("down", "--name", "t").stdout == "Lab t is down.\n"
    assert list(runtime.iterdir()) == []
    gone = otel_dns_lab("status", "--name", "t")
    assert gone.returncode == 1
    assert "no lab named t runs (running: none); start it with `otel-dns lab up" in gone.stderr


def test_user_namespace_and_kept_directory(runtime: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = otel_dns_lab("up", "--userns", "--directory", str(kept))
    assert done.returncode == 0, done.stderr
    assert f"logs and configuration: {kept}" in done.stdout
    done = otel_dns_lab("exec", "a", "-n", "shop", "--", "sh", "-c", "id -u; getent hosts db")
    assert done.stdout.split()[:2] == ["0", "10.96.0.20"]
    assert otel_dns_lab("down").returncode == 0
    assert list(runtime.iterdir()) == [kept]
    assert '"A IN db.shop.svc.cluster.local.' in (kept / "logs/coredns-0-coredns.log").read_text()


def test_what_a_killed_keeper_leaves_is_removed_by_the_next_question(
    up: str, runtime: Path
) -> None:
    keepers = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and f"{runtime}/otel-dns/t".encode() in _command(process)
    ]
    for keeper in keepers:
        with contextlib.suppress(ProcessLookupError):  # the one before took it along
            os.kill(keeper, signal.SIGKILL)
    done = otel_dns_lab("status", "--name", "t")
    assert done.returncode == 1
    assert "its keeper was killed; what it left is removed now" in done.stderr
    assert list(runtime.iterdir()) == []


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_processor_without_a_receiver_is_told_and_joins_what_the_node_cache_sends(
    runtime: Path,
) -> None:
    done = otel_dns_lab("up", "--with-processor", "--with-node-local-dns")
    assert done.returncode == 0, done.stderr
    try:
        assert "10.244.0.1:14317, where nothing listens: add --with-jaeger" in done.stdout
        lab = Lab.attach("lab")
        running = lab.node.run(["ps", "-ewwo", "args"], check=True).stdout
        assert "--coredns-service coredns --coredns-service node-cache" in running
        corefile = (lab.directory / "config/node-local-dns.Corefile").read_text()
        assert "trace zipkin http://10.244.0.1:9412/api/v2/spans" in corefile
    finally:
        assert otel_dns_lab("down").returncode == 0


def test_same_pod_name_twice(up: str) -> None:
    for namespace in ("one", "two"):
        assert otel_dns_lab("exec", "--name", "t", f"{namespace}/a", "true").returncode == 0
    done = otel_dns_lab("exec", "--name", "t", "a", "true")
    assert done.returncode == 2
    assert "several Pods have this name: one/a, two/a; add -n NAMESPACE" in done.stderr
    done = otel_dns_lab("exec", "--name", "t", "one/a", "-n", "two", "true")
    assert "is in namespace one, not two" in done.stderr


def test_ctrl_c_goes_to_the_program_and_its_death_with_ours(up: str) -> None:
    command = [*OTEL_DNS, "exec", "--name", "t", "a", "--", "sh", "-c"]
    trap = "trap 'echo interrupted; exit 9' INT; echo begun; while :; do sleep 0.05; done"
    with subprocess.Popen([*command, trap], stdout=subprocess.PIPE, text=True) as interrupted:
        assert interrupted.stdout is not None
        assert interrupted.stdout.readline() == "begun\n"
        interrupted.send_signal(signal.SIGINT)
        assert interrupted.stdout.read() == "interrupted\n"
        assert interrupted.wait(120) == 9
    with subprocess.Popen([*command, "echo begun; sleep 4321"], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()

    def sleeps() -> bool:
        listed = otel_dns_lab("exec", "--name", "t", "node", "--", "ps", "-ewwo", "args").stdout
        return "sleep 4321" in listed.splitlines()

    eventually(lambda: not sleeps(), "the end of the program")


def test_up_that_fails_leaves_nothing(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = runtime / "coredns"
    broken.write_text("#!/bin/sh\necho CoreDNS is out of order\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("OTEL_DNS_COREDNS", str(broken))
    done = otel_dns_lab("up")
    assert done.returncode == 1
    assert "coredns ended with exit code 3 and was not ready" in done.stderr
    assert "| CoreDNS is out of order" in done.stderr
    # The line of the step under way is ended first.
    assert re.search(r"starting CoreDNS as upstream-0 .* \.\.\. stopped\nError: ", done.stderr)
    assert list(runtime.iterdir()) == [broken]

    monkeypatch.setenv("OTEL_DNS_COREDNS", "/no/such/coredns")
    done = otel_dns_lab("up")
    assert done.returncode == 1
    assert "OTEL_DNS_COREDNS=/no/such/coredns is no executable file" in done.stderr
    assert list(runtime.iterdir()) == [broken]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_interrupted_leaves_nothing(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    hangs = runtime / "coredns"
    hangs.write_text(f"#!/bin/sh\ntouch {runtime}/started\nexec sleep 1000\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("OTEL_DNS_COREDNS", str(hangs))
    with subprocess.Popen([*OTEL_DNS, "up"], stderr=subprocess.PIPE) as starting:
        eventually((runtime / "started").exists, "the start of coredns")
        starting.send_signal(number)
        assert starting.wait(120) == 130
    assert sorted(each.name for each in runtime.iterdir()) == ["coredns", "started"]


def test_up_with_everything(runtime: Path) -> None:
    for program in ("jaeger", "otelcol", "prometheus"):
        require(program)
    options = ("--with-jaeger", "--with-processor", "--with-collector", "--with-prometheus")
    done = otel_dns_lab("up", *options, "--with-node-local-dns")
    try:
        assert done.returncode == 0, done.stderr
        published = dict(line.split() for line in done.stdout.splitlines() if "http://127" in line)
        history = re.search(r"History +(\S+) ", done.stdout)
        assert history
        assert Path(history[1]).is_dir()
        with urllib.request.urlopen(f"{published['Jaeger']}/api/services", timeout=60) as answer:
            assert answer.status == 200
        targets = f"{published['Prometheus']}/api/v1/targets"

        def healthy() -> int:
            with urllib.request.urlopen(targets, timeout=60) as answer:
                active = json.load(answer)["data"]["activeTargets"]
            return sum(each["health"] == "up" for each in active)

        eventually(lambda: healthy() == 4, "four healthy targets")
    finally:
        assert otel_dns_lab("down").returncode == 0
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("scenario", ["demo", "node-local-dns"])
def test_record(runtime: Path, tmp_path: Path, scenario: str) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "import socket, sys\n"
        "for name in sys.argv[1:]: print(socket.getaddrinfo(name, 80)[0][4][0])\n"
    )
    directory = tmp_path / "recording"
    names = ("db", "www.example.org")
    arguments = ("record", "--scenario", scenario, str(directory), "--", str(app), *names)
    done = otel_dns_lab(*arguments)
    assert done.returncode == 0, done.stderr

    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["scenario"] == scenario
    assert manifest["application"][1:] == ["app.py", *names]
    assert manifest["versions"]["CoreDNS"].startswith("1.")
    assert manifest["files"] == dict(FILES)
    assert {each.name for each in directory.iterdir()} == {"manifest.json", *FILES}
    assert (directory / "application.txt").read_text().startswith("10.96.0.20\n192.0.2.80\n")

    queries = 10 if scenario == "demo" else 8  # two of them are the node's cache's to ask elsewhere
    log = (directory / "coredns.log").read_text()
    assert log.count(" IN ") == queries
    spans = [
        span
        for line in (directory / "coredns-zipkin.jsonl").read_text().splitlines()
        for span in json.loads(line)
    ]
    services = {"coredns"} if scenario == "demo" else {"coredns", "node-cache"}
    assert {span["localEndpoint"]["serviceName"] for span in spans} == services
    frames = frame_streams.decode((directory / "coredns.fstrm").read_bytes())
    assert len(frames) >= 2 + 2 * queries
    assert "coredns_dns_requests_total" in (directory / "coredns-metrics.txt").read_text()
    assert delimited.decode((directory / "client-traces.otlp").read_bytes()) is not None

    again = otel_dns_lab(*arguments)
    assert again.returncode == 1
    assert "is not empty" in again.stderr
    assert not (runtime / "otel-dns").exists()


def test_record_of_a_failing_application(runtime: Path, tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text("raise SystemExit('no good')")
    done = otel_dns_lab("record", str(tmp_path / "r"), str(app))
    assert done.returncode == 1
    assert "the application ended with exit code 1" in done.stderr
    assert "no good" in (tmp_path / "r/application.txt").read_text()


def test_help_has_examples() -> None:
    for command in ((), ("up",), ("exec",), ("record",)):
        assert "Examples:" in otel_dns_lab(*command, "--help").stdout
