"""Programs in the lab: started, awaited, signalled, ended; and clear words when that fails."""

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otel_dns.lab import Lab, LabError, LabProcess, ProgramFailed
from otel_dns.lab.keeper.processes import REMEMBERED
from tests.support.programs import require
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


def test_run_is_as_subprocess_run(any_lab: Lab, tmp_path: Path) -> None:
    pod = any_lab.pod("a")
    done = pod.run(
        ["sh", "-c", "cat; pwd; echo wrong >&2; exit 3"], input="given\n", cwd=str(tmp_path)
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, f"given\n{tmp_path}\n", "wrong\n")
    assert pod.run(["sh", "-c", "kill -9 $$"]).returncode == -signal.SIGKILL
    with pytest.raises(subprocess.CalledProcessError):
        pod.run(["false"], check=True)
    # More than any pipe or packet holds.
    assert len(pod.run(["head", "-c", "3000000", "/dev/zero"]).stdout) == 3_000_000


def test_run_too_long_is_killed_with_what_it_started(lab: Lab) -> None:
    pod = lab.pod("a")

    def said(timeout: float) -> str:
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            pod.run(["sh", "-c", "echo begun; sleep 1000 & sleep 1001"], timeout=timeout)
        return caught.value.output

    # A busy machine may take longer to begin.
    assert any(said(timeout) == "begun\n" for timeout in (0.5, 5, 30))
    eventually(
        lambda: "sleep" not in lab.node.run(["ps", "-eo", "comm"], check=True).stdout,
        "the end of both",
    )


@pytest.mark.parametrize("where", ["pod", "node"])
def test_missing_program(lab: Lab, where: str) -> None:
    place = lab.node if where == "node" else lab.pod("a")
    # A directory in PATH that may not be entered would make it another error.
    path = {"PATH": "/usr/bin:/bin"}
    with pytest.raises(LabError, match="no-such-program cannot be started: No such file"):
        place.run(["no-such-program"], env=path)
    with pytest.raises(LabError, match="cannot be started: Permission denied"):
        place.start(["/etc/passwd"])
    with pytest.raises(LabError, match="cannot be started: No such file"):
        place.run(["true"], cwd="/no/such/directory")
    assert place.run(["true"]).returncode == 0


def test_signals_and_exit_codes(lab: Lab) -> None:
    pod = lab.pod("a")
    process = pod.start(["sleep", "1000"])
    assert process.running
    assert process.host_pid != process.pid
    assert Path(f"/proc/{process.host_pid}/comm").read_text() == "sleep\n"
    with pytest.raises(TimeoutError, match=r"sleep still runs after 0\.1 s"):
        process.wait(0.1)
    process.pause()
    state = Path(f"/proc/{process.host_pid}/stat")
    eventually(lambda: state.read_text().split()[2] == "T", "a stopped process")
    process.resume()
    process.terminate()
    assert process.wait() == -signal.SIGTERM
    assert process.returncode == -signal.SIGTERM
    process.terminate()
    process.kill()
    assert pod.start(["sh", "-c", "exit 5"]).wait() == 5


def test_programs_get_default_signals_and_no_descriptors(lab: Lab) -> None:
    show = "grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd"
    shown = lab.pod("a").run(["sh", "-c", show], check=True).stdout.split()
    # Not those that the C library keeps for itself: nobody can set them.
    settable = sum(1 << number - 1 for number in signal.valid_signals())
    assert (shown[0], shown[2]) == ("SigBlk:", "SigIgn:")
    assert (int(shown[1], 16) & settable, int(shown[3], 16) & settable) == (0, 0)
    assert shown[4:] == [*"0123"]  # 3: the directory that ls reads


def test_programs_get_default_signals_whatever_the_owner_ignores() -> None:
    # SIGQUIT as below "sh -c 'pytest &'", 32 as a program of another C library may leave it.
    script = """
import ctypes, signal
signal.signal(signal.SIGQUIT, signal.SIG_IGN)
ctypes.CDLL(None).syscall(13, 32, (ctypes.c_ulong * 4)(1, 0, 0, 0), None, 8)
import tests.lab.test_process as this
from otel_dns.lab import Lab
with Lab() as lab:
    this.test_programs_get_default_signals_and_no_descriptors(lab)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("../../../../evil", "x"),
        ("a", "../x"),
        ("A", "x"),
        ("a.b", "x"),
        ("a" * 64, "x"),
        ("", "x"),
    ],
)
def test_names_of_pods_are_labels(lab: Lab, name: str, namespace: str) -> None:
    with pytest.raises(LabError, match="RFC 1123 label: lower-case letters, digits and '-'"):
        lab.pod(name, namespace=namespace)
    assert not (lab.directory / "pods").exists()


def test_stop_kills_what_does_not_heed(lab: Lab) -> None:
    process = lab.pod("a").start(
        ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"],
        ready=lambda process: "deaf" in process.output(),
    )
    assert process.stop(0.2) == -signal.SIGKILL


def test_everything_stops_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    with Lab() as lab:
        pod = lab.pod("a")
        for name in "abc":
            pod.start(
                ["sh", "-c", f"trap 'echo {name} >> {order}; exit' TERM; echo up; sleep 99 & wait"],
                ready=lambda process: "up" in process.output(),
            )
        paused = pod.start(
            ["sh", "-c", f"trap 'echo d >> {order}; exit' TERM; echo up; sleep 99 & wait"],
            ready=lambda process: "up" in process.output(),
        )
        paused.pause()
    assert order.read_text().split() == ["d", "c", "b", "a"], "none was killed, or left paused"


def test_program_that_dies_at_start_is_shown(lab: Lab) -> None:
    require("coredns")
    with pytest.raises(ProgramFailed) as caught:
        lab.cluster_dns(".:53 {\n    no_such_plugin\n}\n")
    message = str(caught.value)
    assert "coredns ended with exit code 1 and was not ready" in message
    assert "no_such_plugin" in message
    assert str(caught.value.log) in message
    assert caught.value.returncode == 1
    assert caught.value.name == "coredns"


def test_program_that_is_not_ready_in_time_is_shown(lab: Lab) -> None:
    with pytest.raises(ProgramFailed, match=r"(?s)slow was not ready within 0\.2 s.*\| one") as it:
        lab.node.start(
            ["sh", "-c", "echo one; sleep 1000"],
            name="slow",
            ready=lambda process: "two" in process.output(),
            ready_seconds=0.2,
        )
    assert it.value.returncode is None


def test_restart_waits_for_the_new_one(lab: Lab) -> None:
    process = lab.node.start(
        ["sh", "-c", "sleep 0.2; echo up $$; sleep 1000"],
        ready=lambda process: "up" in process.output(),
    )
    first = process.pid
    process.restart()
    assert process.running
    assert process.pid != first
    assert process.output() == f"up {process.pid}\n"
    assert process.log.read_text() == f"up {first}\nup {process.pid}\n"


def test_pods_are_separate(lab: Lab) -> None:
    one, two = lab.pod("same", namespace="one"), lab.pod("same", namespace="two")
    assert one.address != two.address
    with pytest.raises(LabError, match="there is a Pod one/same already"):
        lab.pod("same", namespace="one")
    with pytest.raises(LabError, match=r"one/same has the address 10\.244\.0\.2 already"):
        lab.pod("other", addresses=[one.address])
    with pytest.raises(LabError, match="'nonsense' cannot be a Pod's address"):
        lab.pod("other", addresses=["nonsense"])
    assert lab.pod("other").run(["hostname"]).stdout == "other\n"
    assert [pod.name for pod in lab.pods()] == ["same", "same", "other"]


def test_a_pod_s_successor_takes_over_its_address(lab: Lab) -> None:
    serve = [sys.executable, "-m", "http.server", "80"]
    client = lab.pod("client")
    fetch = [
        sys.executable,
        "-c",
        "import urllib.request as r; print(r.urlopen('http://10.96.0.99/', timeout=60).status)",
    ]
    for _ in range(3):
        pod = lab.pod("server", addresses=["", "10.96.0.99"])
        listens = functools.partial(_listens, lab, pod.address)
        process = pod.start([*serve, "--bind", "0.0.0.0"], ready=listens)
        assert client.run(fetch, check=True).stdout == "200\n"
        pod.delete()
        assert process.wait() == -signal.SIGKILL
    with pytest.raises(LabError, match="there is no Pod default/server"):
        pod.run(["true"])


def _listens(lab: Lab, address: str, _: LabProcess) -> bool:
    try:
        lab.connect(address, 80).close()
    except OSError:
        return False
    return True


def test_many_processes(lab: Lab) -> None:
    pod = lab.pod("a")
    first = pod.start(["true"])
    for _ in range(REMEMBERED + 10):
        pod.start(["true", "x" * 1000])
    last = pod.start(["false"])
    assert last.wait() == 1
    assert len(lab.status()["processes"]) == REMEMBERED
    with pytest.raises(LabError, match="is not known; it may have ended long ago"):
        _ = first.returncode


def test_large_environment(lab: Lab) -> None:
    pod = lab.pod("a")
    big = {f"V{number}": "x" * 1000 for number in range(200)}
    assert pod.run(["sh", "-c", "env | grep -c ^V"], env=big).stdout == "200\n"
    with pytest.raises(LabError, match="too large"):
        pod.run(["true"], env={f"V{number}": "x" * 1000 for number in range(600)})
    assert pod.run(["printenv", "ODD"], env={"ODD": os.fsdecode(b"\xff")}).returncode == 0
