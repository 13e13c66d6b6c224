"""Start and end a lab's keeper."""

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from otel_dns.lab import environment
from otel_dns.lab import home as homes
from otel_dns.lab.errors import LabError, LabUnavailable
from otel_dns.lab.home import LabHome

_START_SECONDS: Final = 90.0
_END_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Keeper:
    """A keeper that was started: its directory, where its files are, its outer process."""

    home: LabHome
    files: Path
    process: subprocess.Popen[bytes] | None
    """``None``: it lives on its own, and ends itself after a ``down`` request."""

    def end(self) -> None:
        """End the keeper and with it all that is in the lab; returns when it is gone."""
        if self.process is None:
            await_end(self.home)
            return
        try:
            self.process.terminate()
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        finally:
            self.home.remove()


def start_keeper(
    *,
    name: str | None = None,
    userns: bool | None = None,
    files: Path | None = None,
    detached: bool = False,
) -> Keeper:
    """Make a lab's namespaces and wait until its node stands.

    Args:
        name: The lab's name; a fresh one when ``None``.
        userns: Make a user namespace too; ``None``: when not root, or when root may not do without.
        files: Where logs and configuration go, to stay there; ``None``: a directory that goes away
            with the lab.
        detached: Live on when the calling process ends.

    Raises:
        LabUnavailable: This machine gives none.
        LabError: One of this name runs; or the keeper itself failed.
    """
    reason = _missing()
    if reason is not None:
        raise LabUnavailable(reason)
    home, lock = homes.create(name)
    files = home.files if files is None else files.absolute()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        with home.keeper_log.open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "otel_dns.lab.keeper"),
                    *("--home", str(home.path), "--files", str(files)),
                    *("--status-fd", str(writing), "--lock-fd", str(lock)),
                    *(["--detach"] if detached else ["--owner", str(os.getpid())]),
                    *("--userns", {None: "auto", True: "yes", False: "no"}[userns]),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing, lock),
                env={**os.environ, **environment.own_source()},
                cwd="/",
                # Ctrl-C is for the owner, who then ends the lab in order.
                start_new_session=True,
            )
    except BaseException:
        os.close(reading)
        home.remove()
        raise
    finally:
        os.close(writing)
        os.close(lock)
    if detached:
        process.wait()
    keeper = Keeper(home, files, None if detached else process)
    try:
        _await_ready(keeper, reading)
    except BaseException:
        keeper.end()
        raise
    return keeper


def await_end(home: LabHome) -> None:
    """Wait until a keeper that was told to end has removed its directory.

    Raises:
        LabError: It has not after half a minute.
    """
    deadline = time.monotonic() + _END_SECONDS
    while home.path.exists() and home.is_alive():
        if time.monotonic() >= deadline:
            raise LabError(f"the keeper of {home.path} does not end; see keeper.log there")
        time.sleep(_POLL_SECONDS)


def available() -> str | None:
    """Why this machine cannot give a lab, as one line; ``None`` when it can.

    It makes the namespaces and the network of a lab and takes them down: about 0.4 s.

    Raises:
        LabError: The keeper itself failed; that is no reason, but a mistake.
    """
    try:
        start_keeper().end()
    except LabUnavailable as error:
        return str(error)
    return None


def _missing() -> str | None:
    if sys.platform != "linux":
        return f"the lab needs Linux's network namespaces; this is {sys.platform}"
    if importlib.util.find_spec("pyroute2") is None:
        return "the lab needs pyroute2; install it with: pip install 'otel-dns[lab]'"
    return None


def _await_ready(keeper: Keeper, reading: int) -> None:
    with open(reading, "rb") as pipe:
        if not select.select([pipe], [], [], _START_SECONDS)[0]:
            raise LabError(f"the lab's node did not stand within {_START_SECONDS:g} s")
        raw = os.read(pipe.fileno(), 65536)
    with contextlib.suppress(ValueError):
        status = json.loads(raw)
        if "ready" in status:
            return
        raise LabUnavailable(str(status["unavailable"]))
    log = keeper.home.keeper_log.read_text(errors="replace").strip()
    raise LabError(f"the lab's keeper died: {log.splitlines()[-1] if log else 'no word'}")
