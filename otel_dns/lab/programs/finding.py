"""Finds a program without building anything: by override, on PATH, in the cache folder."""

import functools
import os
import shutil
import subprocess
from pathlib import Path

from otel_dns.lab.programs.catalog import PROGRAMS, Program
from otel_dns.lab.programs.errors import ProgramMissing


def cache_folder() -> Path:
    """Where built programs lie: the user's cache folder, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say to ignore a relative path.
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "otel-dns" / "programs"


def cached(program: Program) -> Path:
    """Where the program lies once it was built; it need not be there."""
    return cache_folder() / program.key / program.name


def find(name: str) -> Path:
    """The path of a program that is there and of a usable version.

    Args:
        name: One of ``PROGRAMS``.

    Raises:
        ProgramMissing: It is nowhere; the message says how to get it.
    """
    program = PROGRAMS[name]
    if override := os.environ.get(program.override):
        return _overridden(program, override)
    on_path = shutil.which(name)
    if on_path and _is_usable(program.name, on_path, Path(on_path).stat().st_mtime_ns):
        return Path(on_path)
    built = cached(program)
    if built.is_file():
        return built
    unusable = f"; {on_path} is not it or cannot be used" if on_path else ""
    raise ProgramMissing(
        f"{name} {program.version} ({program.purpose}) is neither on PATH{unusable} nor built yet."
        f" Get it: otel-dns programs get {name}"
        f" (about {_minutes(program.about_seconds)}), or set {program.override}=/path/to/{name}."
    )


def _overridden(program: Program, override: str) -> Path:
    path = Path(override)
    if path.is_file() and os.access(path, os.X_OK):
        return path.absolute()
    raise ProgramMissing(
        f"{program.override}={override} is no executable file."
        f" Correct it, or unset it and run: otel-dns programs get {program.name}"
    )


@functools.cache
def _is_usable(name: str, path: str, modified_ns: int) -> bool:  # noqa: ARG001  (part of the key)
    """Asks the program itself; a program of the same name may be quite another one."""
    program = PROGRAMS[name]
    try:
        result = subprocess.run(
            [path, *program.version_arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0 and program.usable(result.stdout + result.stderr)


def _minutes(seconds: int) -> str:
    return f"{max(1, round(seconds / 60))} minutes on two cores"
