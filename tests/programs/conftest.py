"""A machine of one's own: PATH and caches that hold only what the test puts there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_dns.lab.programs import PROGRAMS
from otel_dns.lab.programs.finding import _is_usable


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is installed; the cache folder is empty."""
    for program in PROGRAMS.values():
        monkeypatch.delenv(program.override, raising=False)
    for name in ("GOFLAGS", "GOTOOLCHAIN", "GOENV", "GOPATH", "GOCACHE", "GOMODCACHE", "GOROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    # What the scripts below use.
    for tool in ("sh", "sleep", "touch", "mkdir", "cp", "chmod", "env", "cat"):
        found = shutil.which(tool)
        assert found
        (tmp_path / "bin" / tool).symlink_to(os.path.realpath(found))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    _is_usable.cache_clear()
    return tmp_path


@pytest.fixture
def install(machine: Path) -> Callable[..., Path]:
    """Puts a shell script somewhere, on PATH unless told otherwise."""

    def write(name: str, script: str, folder: Path = machine / "bin") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(f"#!{machine}/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def cache(machine: Path) -> Path:
    return machine / "cache" / "otel-dns" / "programs"
