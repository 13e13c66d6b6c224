"""As in a container: process 1 of its namespace, with nothing to write to but a tmpfs."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from otel_dns.cli.directories import default_history
from otel_dns.lab import available
from otel_dns.wire import otlp
from tests.service.support import Backend
from tests.support.otlp import forward
from tests.support.processes import answers, free_addresses
from tests.support.spans import MS, lookup
from tests.support.waiting import eventually

READ_ONLY: Final = r"""
mount --rbind / / &&
for point in $(awk '{print $5}' /proc/self/mountinfo | sort -u); do
    mount -o remount,bind,ro "$point" 2>/dev/null
done
mount -t tmpfs tmpfs "$1" || exit 90
touch "$2" 2>/dev/null && exit 91
shift 2
exec "$@"
"""
"""All mounts read-only, with a tmpfs at the first argument; the second is not written."""


def test_it_runs_as_process_1_on_a_read_only_root(tmp_path: Path) -> None:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    otlp_address, http, page = free_addresses(3)
    state, log = tmp_path / "state", tmp_path / "serve.log"
    state.mkdir()
    with Backend() as backend, log.open("wb") as output:
        outer = subprocess.Popen(
            ["unshare", "-Urmpf", "--kill-child", "--mount-proc", "sh", "-c", READ_ONLY, "sh",
             str(state), str(log), sys.executable, "-m", "otel_dns", "serve",
             "--history", str(state / "history"), "--page-listen", page,
             "--otlp-listen", otlp_address, "--http-listen", http,
             "--output", backend.address, "--settle", "3600"],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            eventually(lambda: answers(f"http://{http}/readyz"), f"ready; see {log}")
            # Which has no directory for temporary files.
            eventually(lambda: answers(f"http://{page}/api/v1/about"), f"the page; see {log}")
            child = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0]
            assert namespace_pid(child) == "1"
            asked = lookup(0, MS).span
            forward(otlp_address, otlp.build([(asked.origin, asked.raw)]))

            os.kill(int(child), signal.SIGTERM)

            assert outer.wait(120) == 0, log.read_text()
        finally:
            outer.kill()
            outer.wait()
    assert backend.names == ["dns.lookup"]
    assert "Read-only" not in log.read_text()
    assert "Traceback" not in log.read_text()


def test_process_1_hears_sigterm_while_it_still_loads(tmp_path: Path) -> None:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    loading = tmp_path / "loading"
    tmp_path.joinpath("grpc.py").write_text(
        f"import pathlib, signal\npathlib.Path({str(loading)!r}).touch()\n"
        "while True: signal.pause()\n"
    )
    outer = subprocess.Popen(
        ["unshare", "-Urpf", "--kill-child", "--mount-proc", sys.executable, "-m", "otel_dns",
         "serve", "--no-history"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    try:
        eventually(loading.exists, "grpc's import")
        child = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0]
        assert namespace_pid(child) == "1"
        os.kill(int(child), signal.SIGTERM)
        assert outer.wait(120) == 128 + signal.SIGTERM
    finally:
        outer.kill()
        outer.wait()


def namespace_pid(pid: str) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line.split()[-1] for line in status.splitlines() if line.startswith("NSpid"))


def test_a_user_without_a_name_and_a_home_has_a_history_somewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert default_history() == Path("/.local/state/otel-dns/history")
