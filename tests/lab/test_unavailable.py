"""Machines that give no lab, or only part of what it would like."""

import subprocess
import sys
from pathlib import Path

import pytest

from otel_dns.lab import Lab, LabError, LabUnavailable, available, environment, launch, namespaces
from tests.support.programs import require


def test_available_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert available() is None
    assert list(tmp_path.iterdir()) == []


def test_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert available() == "the lab needs Linux's network namespaces; this is darwin"
    with pytest.raises(LabUnavailable, match="darwin"), Lab():
        pass


def test_without_pyroute2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    assert available() == "the lab needs pyroute2; install it with: pip install 'otel-dns[lab]'"


# Runs a program with a prepared environment around the lab, in namespaces of its own.
IN_NAMESPACES = """
import subprocess, sys
from otel_dns.lab import namespaces as ns
ns.unshare(ns.CLONE_NEWNS)
ns.make_mounts_private()
{prepare}
from otel_dns.lab import Lab, available
{then}
"""


def run_prepared(prepare: str, then: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", IN_NAMESPACES.format(prepare=prepare, then=then)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


needs_root = pytest.mark.skipif(
    "os.geteuid() != 0", reason="only root can take rights away for a test"
)


@needs_root
def test_user_namespaces_forbidden() -> None:
    prepare = """
ns.unshare(ns.CLONE_NEWUSER)
ns.map_root_to(0, 0)
open("/proc/sys/user/max_user_namespaces", "w").write("0")
"""
    done = run_prepared(
        prepare,
        "from otel_dns.lab import LabUnavailable\n"
        "try: Lab(userns=True).start()\n"
        "except LabUnavailable as error: print(error)",
    )
    assert "no more namespaces may be made" in done.stdout, done
    assert "user.max_user_namespaces" in done.stdout
    assert done.stdout.count("\n") == 1


@needs_root
def test_masked_proc_is_made_do_with() -> None:
    # As in a container: then the kernel lets nobody mount a fresh /proc in a user namespace.
    require("coredns")
    done = run_prepared(
        "from pathlib import Path; ns.mount_tmpfs(Path('/proc/tty'))",
        "with Lab(userns=True) as lab:\n"
        "    lab.cluster_dns(zipkin=None)\n"
        "    pod = lab.pod('a', namespace='shop')\n"
        "    print(pod.run(['getent', 'ahostsv4', 'db'], check=True).stdout)\n"
        "    print('fresh' if lab.node.run(['cat', '/proc/1/comm']).stdout == 'python' else 'old')",
    )
    assert done.stdout.startswith("10.96.0.20 "), done
    assert done.stdout.endswith("old\n")


def test_keeper_that_dies_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "own_source", lambda: {"PYTHONHOME": "/nowhere"})
    with pytest.raises(LabError, match="the lab's keeper died: ") as caught, Lab():
        pass
    # No reason to skip a test or to replay a recording.
    assert not isinstance(caught.value, LabUnavailable)


def test_process_names_and_namespaces_raise_oserror() -> None:
    with pytest.raises(OSError, match="setns: "):
        namespaces.setns(0, namespaces.CLONE_NEWNET)
    with pytest.raises(OSError, match="unshare: Invalid argument"):
        namespaces.unshare(0x1)
