"""However a lab ends, nothing of it is left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_dns.lab import Lab, LabGone
from tests.support.programs import require
from tests.support.waiting import eventually

# Makes a lab, says how to recognise what is its own, and waits for its end.
OWNER = """
import json, os, sys, time
from otel_dns.lab import Lab
with Lab(userns={"yes": True, "auto": None}[sys.argv[1]]) as lab:
    dns = lab.cluster_dns(zipkin=None)
    pod = lab.pod("a")
    app = pod.start(["sh", "-c", "sleep 1000 & sleep 1001"], name="app")
    kinds = ("net", "mnt", "pid", "uts", "ipc")
    pids = [dns.process.host_pid, app.host_pid]
    namespaces = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids for kind in kinds}
    parent = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{entry}/stat").read().rsplit(")", 1)[1].split()
            parent[int(entry)] = int(fields[1])
        except OSError:
            pass
    init = parent[app.host_pid]
    print(json.dumps({
        "keeper": parent[init], "init": init, "namespaces": sorted(namespaces),
        "home": str(lab.session.directory.parent),
    }), flush=True)
    time.sleep(1000)
"""


@dataclass(frozen=True)
class Owned:
    owner: "subprocess.Popen[str]"
    keeper: int
    init: int
    namespaces: frozenset[str]
    home: Path

    def processes(self) -> list[str]:
        """Command lines of the processes that are in any of the lab's namespaces."""
        found = []
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                links = {str(link.readlink()) for link in (process / "ns").iterdir()}
                if links & self.namespaces:
                    found.append((process / "cmdline").read_bytes().decode())
        return found

    def assert_gone(self) -> None:
        eventually(lambda: not self.processes(), "the end of every process")
        eventually(lambda: not self.home.exists(), "the end of the directory")
        assert str(self.home) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture(params=["auto", "yes"])
def owned(request: pytest.FixtureRequest) -> Iterator[Owned]:
    require("coredns")
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, request.param],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as owner:
        try:
            assert owner.stdout is not None
            told = json.loads(owner.stdout.readline())
            lab = Owned(
                owner,
                told["keeper"],
                told["init"],
                frozenset(told["namespaces"]),
                Path(told["home"]),
            )
            # Otherwise the test would not notice.
            ours = {str(link.readlink()) for link in Path("/proc/self/ns").iterdir()}
            assert not ours & lab.namespaces
            assert len(lab.processes()) >= 5
            assert lab.home.is_dir()
            yield lab
        finally:
            owner.kill()


def test_owner_killed(owned: Owned) -> None:
    owned.owner.kill()
    owned.assert_gone()


def test_owner_terminated(owned: Owned) -> None:
    owned.owner.terminate()
    owned.assert_gone()


def test_ctrl_c(owned: Owned) -> None:
    # To the whole group, as a terminal does.
    os.killpg(owned.owner.pid, signal.SIGINT)
    assert owned.owner.wait(120) != 0
    owned.assert_gone()


def test_ctrl_c_twice(owned: Owned) -> None:
    os.killpg(owned.owner.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        owned.owner.wait(0.3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(owned.owner.pid, signal.SIGINT)
    owned.assert_gone()


def test_init_killed(owned: Owned) -> None:
    os.kill(owned.init, signal.SIGKILL)
    owned.assert_gone()


def test_keeper_killed(owned: Owned) -> None:
    os.kill(owned.keeper, signal.SIGKILL)
    eventually(lambda: not owned.processes(), "the end of every process")
    # Nobody is left to remove its directory but its owner, and the next lab.
    with Lab():
        assert not owned.home.exists()
    owned.owner.kill()
    owned.assert_gone()


def test_keeper_terminated(owned: Owned) -> None:
    os.kill(owned.keeper, signal.SIGTERM)
    owned.assert_gone()


def test_normal_end_and_requests_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with Lab() as lab:
        pod = lab.pod("a")
        process = pod.start(
            ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"],
            ready=lambda process: "deaf" in process.output(),
        )
        home = lab.directory.parent
        assert home.is_relative_to(tmp_path)
        assert home.stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LabGone):
        process.terminate()
    with pytest.raises(LabGone):
        pod.run(["true"])


def test_exception_in_the_block_ends_the_lab() -> None:
    lab = Lab()
    homes = []

    def fail_inside() -> None:
        with lab:
            homes.append(lab.directory.parent)
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert not homes[0].exists()


def test_kept_directory(tmp_path: Path) -> None:
    require("coredns")
    with Lab(directory=tmp_path / "kept for later") as lab:
        lab.cluster_dns(zipkin=None)
        pod = lab.pod("a")
        for _ in range(2):
            pod.start(["echo", "something"], name="app").wait()
    logs = tmp_path / "kept for later/logs"
    names = ["a-app-2.log", "a-app.log", "coredns-0-coredns.log"]
    assert sorted(each.name for each in logs.iterdir()) == names
    assert (logs / "a-app.log").read_text() == "something\n"


def test_two_labs_at_once() -> None:
    require("coredns")
    with Lab() as one, Lab(userns=True) as two:
        one.cluster_dns(zipkin=None)
        two.cluster_dns(zipkin=None, corefile=".:53 {\n hosts {\n  192.0.2.7 db\n }\n}\n")
        pods = [lab.pod("shop-1", namespace="shop") for lab in (one, two)]
        assert pods[0].address == pods[1].address
        assert pods[0].run(["getent", "ahostsv4", "db"]).stdout.startswith("10.96.0.20 ")
        assert pods[1].run(["getent", "ahostsv4", "db."]).stdout.startswith("192.0.2.7 ")
        one.stop()
        assert pods[1].run(["getent", "ahostsv4", "db."]).returncode == 0
