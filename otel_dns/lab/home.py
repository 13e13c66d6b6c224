"""Where labs live on disk while they run: one private directory each, and who may delete it.

``$XDG_RUNTIME_DIR/otel-dns/<name>`` or ``<temporary directory>/otel-dns-<uid>/<name>``, holding

* ``lock``: flock(2)ed by the lab's keeper for as long as it lives,
* ``control.sock``: the keeper listens here,
* ``keeper.log`` and ``files/`` (logs, Corefiles, zones) unless the user keeps these elsewhere.

A directory whose lock can be had has no keeper; the next lab to start removes it, and so does who
asks for a lab that does not run.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from otel_dns.lab import labels
from otel_dns.lab.errors import LabError

_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class LabHome:
    """The directory of one lab."""

    path: Path

    @property
    def name(self) -> str:
        """The lab's name, as the command line takes it."""
        return self.path.name

    @property
    def lock(self) -> Path:
        """Locked by the keeper while it lives."""
        return self.path / "lock"

    @property
    def control_socket(self) -> Path:
        """Where the keeper takes requests."""
        return self.path / "control.sock"

    @property
    def keeper_log(self) -> Path:
        """What the keeper itself has to say; empty in the normal course."""
        return self.path / "keeper.log"

    @property
    def files(self) -> Path:
        """Logs and configuration, unless the user gave a directory for them."""
        return self.path / "files"

    def is_alive(self) -> bool:
        """Whether a keeper holds the lock."""
        try:
            fd = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def remove(self) -> None:
        """Delete the directory, and the one above with the last in it; never fails."""
        with contextlib.suppress(OSError), _locked(self.path.parent, make=False):
            shutil.rmtree(self.path, ignore_errors=True)
            _remove_if_empty(self.path.parent)


def base_directory() -> Path:
    """The private directory of this user's labs; it exists only while there is one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / "otel-dns"
    return Path(tempfile.gettempdir()) / f"otel-dns-{os.geteuid()}"


def create(name: str | None = None) -> tuple[LabHome, int]:
    """Make a new lab's directory, and remove those whose keepers are dead.

    Args:
        name: The lab's name; a fresh one when ``None``.

    Returns:
        The home, and the descriptor that holds its lock: pass it to the keeper and close it.

    Raises:
        LabError: The name is not a valid one, or a lab of this name runs.
    """
    if name is not None and not labels.is_label(name):
        raise LabError(f"{name!r} is no name for a lab: it must be {labels.RULE}")
    base = base_directory()
    with _locked(base, make=True):
        _remove_dead(base)
        home = LabHome(base / (name or f"lab-{os.getpid()}-{secrets.token_hex(3)}"))
        try:
            home.path.mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(
                f"a lab named {home.name} runs already; "
                f"stop it with `otel-dns lab down --name {home.name}`"
            ) from None
        lock = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return home, lock


def find(name: str) -> LabHome:
    """A running lab by its name; where it does not run, what dead ones left is removed.

    Raises:
        LabError: None of that name runs.
    """
    home = LabHome(base_directory() / name)
    if not labels.is_label(name) or not home.is_alive():
        removed = _sweep()
        running = ", ".join(sorted(each.name for each in running_labs())) or "none"
        killed = ": its keeper was killed; what it left is removed now" if name in removed else ""
        raise LabError(
            f"no lab named {name} runs (running: {running}){killed}; start it with `otel-dns lab up"
            f" --name {name}`"
        )
    return home


def running_labs() -> list[LabHome]:
    """Every lab of this user that runs."""
    return [home for home in _homes(base_directory()) if home.is_alive()]


def _sweep() -> list[str]:
    """Remove what dead keepers left; the names of their labs."""
    base = base_directory()
    with contextlib.suppress(OSError), _locked(base, make=False):
        removed = _remove_dead(base)
        _remove_if_empty(base)
        return removed
    return []


def _remove_dead(base: Path) -> list[str]:
    dead = [home for home in _homes(base) if not home.is_alive()]
    for home in dead:
        shutil.rmtree(home.path, ignore_errors=True)
    return [home.name for home in dead]


def _remove_if_empty(base: Path) -> None:
    if not _homes(base):
        (base / _LOCK).unlink()
        base.rmdir()


def _homes(base: Path) -> list[LabHome]:
    if not base.is_dir():
        return []
    return [LabHome(path) for path in sorted(base.iterdir()) if path.is_dir()]


def _make_base(base: Path) -> None:
    base.mkdir(mode=0o700, exist_ok=True)
    status = base.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise LabError(
            f"{base} is not a directory that only you can write to; "
            "remove it, or set TMPDIR or XDG_RUNTIME_DIR to a place of your own"
        )


@contextlib.contextmanager
def _locked(base: Path, *, make: bool) -> Iterator[None]:
    # Held only while directories are made and removed, so that nobody takes a directory whose lock
    # is about to be taken for a stale one.
    fd = _lock(base, make=make)
    try:
        yield
    finally:
        os.close(fd)


def _lock(base: Path, *, make: bool) -> int:
    path = base / _LOCK
    while True:
        if make:
            _make_base(base)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # The end of another lab has removed the directory just now.
            if make:
                continue
            raise
        fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        # It has removed the file we locked: then lock its successor.
        os.close(fd)
