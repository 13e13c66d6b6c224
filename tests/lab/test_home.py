"""The directories of labs: private, locked by the living, swept of the dead."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from otel_dns.lab import LabError, home
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path / f"otel-dns-{os.geteuid()}"


def test_alive_as_long_as_the_lock_is_held(base: Path) -> None:
    made, lock = home.create("one")
    assert made.path == base / "one"
    assert made.is_alive()
    assert [each.name for each in home.running_labs()] == ["one"]
    assert home.find("one") == made
    with pytest.raises(LabError, match=r"a lab named one runs already.*lab down --name one"):
        home.create("one")
    os.close(lock)
    assert not made.is_alive()
    assert home.running_labs() == []


def test_the_next_one_removes_the_dead() -> None:
    dead, lock = home.create("dead")
    (dead.path / "files").mkdir()
    (dead.path / "files/log").write_text("x")
    alive, alive_lock = home.create("alive")
    os.close(lock)
    third, third_lock = home.create()
    assert not dead.path.exists()
    assert alive.path.exists()
    for each, fd in ((alive, alive_lock), (third, third_lock)):
        each.remove()
        os.close(fd)


def test_the_last_one_removes_the_base(base: Path) -> None:
    one, lock_one = home.create("one")
    two, lock_two = home.create("two")
    one.remove()
    assert base.is_dir()
    two.remove()
    assert not base.exists()
    os.close(lock_one)
    os.close(lock_two)
    two.remove()


def test_lock_that_was_removed_is_not_enough(base: Path) -> None:
    # While one waits for the base's lock, another lab's end removes it, and a third makes it anew.
    _, lock = home.create("one")
    path = base / ".lock"
    with path.open() as old:
        fcntl.flock(old, fcntl.LOCK_EX)
        creates = "from otel_dns.lab import home; home.create('two')"
        command = [sys.executable, "-c", creates]
        environment = {**os.environ, "TMPDIR": str(base.parent)}
        with subprocess.Popen(command, cwd=ROOT, env=environment) as waiting:
            eventually(lambda: _waits_for_a_lock(waiting.pid), "the child at the lock")
            path.unlink()
            with path.open("w") as new:
                fcntl.flock(new, fcntl.LOCK_EX)
                fcntl.flock(old, fcntl.LOCK_UN)
                eventually(lambda: _waits_for_a_lock(waiting.pid, path), "it at the new lock")
                assert not (base / "two").exists()
    assert waiting.returncode == 0
    assert (base / "two").is_dir()
    os.close(lock)


def _waits_for_a_lock(pid: int, path: Path | None = None) -> bool:
    # "12: -> FLOCK ADVISORY WRITE 1234 fe:00:5678 0 EOF"
    inode = "" if path is None else f":{path.stat().st_ino} "
    lines = Path("/proc/locks").read_text().splitlines()
    return any(f" WRITE {pid} " in line and "->" in line and inode in line for line in lines)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "Lab", "a_b", "a-", "x" * 64])
def test_names(name: str) -> None:
    with pytest.raises(LabError, match=r"is no name for a lab: .* RFC 1123 label"):
        home.create(name)


def test_asking_for_a_dead_one_removes_it_and_says_so(base: Path) -> None:
    dead, lock = home.create("dead")
    alive, alive_lock = home.create("alive")
    os.close(lock)
    with pytest.raises(LabError, match=r"no lab named dead runs \(running: alive\).*was killed"):
        home.find("dead")
    assert not dead.path.exists()
    assert home.find("alive") == alive
    os.close(alive_lock)
    with pytest.raises(LabError, match="no lab named other runs"):
        home.find("other")
    assert not base.exists()


def test_a_base_that_others_can_write_is_refused(base: Path) -> None:
    base.mkdir()
    base.chmod(0o777)
    with pytest.raises(LabError, match="not a directory that only you can write to"):
        home.create("one")
    base.rmdir()
    base.symlink_to("/tmp")
    with pytest.raises(LabError, match="not a directory that only you can write to"):
        home.create("one")


def test_runtime_directory_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert home.base_directory() == tmp_path / "otel-dns"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    assert home.base_directory().name == f"otel-dns-{os.geteuid()}"
