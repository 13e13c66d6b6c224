"""A program in the lab, in the hands of who started it."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from otel_dns.lab.control import RequestFailed, receive_answer
from otel_dns.lab.errors import LabError, ProgramFailed
from otel_dns.lab.session import Session

POLL_SECONDS: Final = 0.02
READY_SECONDS: Final = 90.0
"""How long programs may take until they are ready, unless told otherwise."""
_LAST_LINES: Final = 15
_STOP_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Spec:
    """How to start a program; enough to start it again.

    Attributes:
        name: The process's name in the lab and of its log.
        pod: ``namespace/name``; empty for the node.
        argv: Program and arguments.
        env: Its whole environment.
        cwd: Its working directory.
        about: Kept with the process, for ``status``.
        ready: Whether it is ready; asked every 20 ms.
        ready_seconds: The bound on that.
        fds: Further descriptors, from number 3 on.
    """

    name: str
    pod: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    about: Mapping[str, Any] = field(default_factory=dict)
    ready: "Callable[[LabProcess], bool] | None" = None
    ready_seconds: float = READY_SECONDS
    fds: Sequence[int] = ()


class LabProcess:
    """A started program. All its output is in ``log``; signals go to its whole process group."""

    def __init__(self, session: Session, spec: Spec, log: Path) -> None:
        self._session = session
        self._spec = spec
        self.log = log
        self._number = 0
        self._returncode: int | None = None
        self._output_from = 0
        self.pid = 0
        """Process id inside the lab."""
        self.host_pid = 0
        """Process id outside, as the machine's own tools show it; 0 if it cannot be told."""

    @classmethod
    def start(cls, session: Session, spec: Spec) -> "LabProcess":
        """Start a program, and await its readiness if its spec says how to tell.

        Raises:
            LabError: It cannot be started.
            ProgramFailed: It ended before it was ready, or was not in time.
        """
        process = cls(session, spec, session.new_log(_file_name(spec)))
        process._start()
        return process

    @property
    def name(self) -> str:
        """The process's name in the lab."""
        return self._spec.name

    @property
    def argv(self) -> Sequence[str]:
        """Program and arguments."""
        return self._spec.argv

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; ``None`` while it runs."""
        if self._returncode is None:
            answer = self._session.control.call("process", process=self._number)
            self._returncode = answer["returncode"]
        return self._returncode

    @property
    def running(self) -> bool:
        """Whether it has not ended (a paused program runs)."""
        return self.returncode is None

    def output(self) -> str:
        """What it has written since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._output_from)
            return log.read().decode(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the program has ended."""
        try:
            _signal(self._session, self._number, number)
        except RequestFailed:
            if self.running:
                raise

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL), and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def pause(self) -> None:
        """Stop it from running, as a hung program (SIGSTOP)."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float | None = _STOP_SECONDS) -> int:
        """Wait for its end.

        Args:
            timeout: Seconds; ``None``: without bound.

        Returns:
            Exit code, negative for a signal.

        Raises:
            TimeoutError: It still runs.
        """
        if self._returncode is None:
            try:
                answer = self._session.control.call("wait", process=self._number, timeout=timeout)
            except TimeoutError:
                raise TimeoutError(f"{self.name} still runs after {timeout:g} s") from None
            self._returncode = int(answer["returncode"])
        return self._returncode

    def stop(self, timeout: float = _STOP_SECONDS) -> int:
        """End it: SIGTERM, and SIGKILL if it has not ended after ``timeout`` seconds."""
        self.terminate()
        try:
            return self.wait(timeout)
        except TimeoutError:
            self.kill()
            return self.wait()

    def restart(self) -> None:
        """Stop it if it runs, start it anew with the same log, and await its readiness."""
        if self._spec.fds:
            raise LabError(f"{self.name} cannot be restarted: it was handed open descriptors")
        if self.running:
            self.stop()
        self._start()

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout: float = READY_SECONDS
    ) -> None:
        """Wait for something that this program is to bring about.

        Args:
            condition: Asked every 20 ms.
            what: Completes "<name> ..." in the error, e.g. "was not ready".
            timeout: Seconds.

        Raises:
            ProgramFailed: The program ended first, or time ran out.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.running:
                raise self._failure(f"{self.name} {_how_ended(self.returncode)} and {what}")
            if time.monotonic() >= deadline:
                raise self._failure(f"{self.name} {what} within {timeout:g} s")
            time.sleep(POLL_SECONDS)

    def _start(self) -> None:
        spec = self._spec
        self._output_from = self.log.stat().st_size
        with (
            self.log.open("ab") as log,
            Path(os.devnull).open("rb") as nothing,
            _spawned(
                self._session, spec, [nothing.fileno(), log.fileno(), log.fileno()], tied=False
            ) as started,
        ):
            self._number = started.number
            self.pid = started.pid
            self.host_pid = started.host_pid
        self._returncode = None
        if spec.ready is not None:
            ready = spec.ready
            self.wait_until(lambda: ready(self), "was not ready", spec.ready_seconds)

    def _failure(self, message: str) -> ProgramFailed:
        lines = self.output().splitlines()[-_LAST_LINES:]
        shown = "".join(f"\n  | {line}" for line in lines) or " it wrote nothing."
        return ProgramFailed(
            f"{message}.\nLast lines of {self.log}:{shown}",
            name=self.name,
            returncode=self._returncode,
            log=self.log,
        )


def run(
    session: Session, spec: Spec, *, stdin: str | None, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end and take its output; it is killed when the caller goes away.

    Raises:
        LabError: It cannot be started.
        subprocess.TimeoutExpired: It did not end within ``timeout`` seconds; it was killed.
    """
    # Files rather than pipes: nothing to pump while waiting, and nothing can fill up.
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write((stdin or "").encode())
        given.seek(0)
        fds = [given.fileno(), out.fileno(), err.fileno()]
        returncode: int | None
        try:
            returncode = run_attached(session, spec, fds, timeout=timeout)
        except TimeoutError:
            returncode = None
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    if returncode is None:
        raise subprocess.TimeoutExpired(list(spec.argv), timeout, texts[0], texts[1])
    return subprocess.CompletedProcess(list(spec.argv), returncode, texts[0], texts[1])


def run_attached(
    session: Session,
    spec: Spec,
    fds: Sequence[int],
    *,
    timeout: float | None,
    started: "Callable[[Callable[[int], None]], None] | None" = None,
) -> int:
    """Run a program on the given stdin, stdout and stderr until it ends.

    Args:
        session: The lab.
        spec: The program.
        fds: Its descriptors 0, 1 and 2.
        timeout: Seconds; ``None``: without bound.
        started: Called once it runs, with a function that sends it a signal.

    Returns:
        Exit code, negative for a signal.

    Raises:
        LabError: It cannot be started.
        TimeoutError: It ran too long; it was killed.
    """
    with _spawned(session, spec, fds, tied=True) as process:
        if started is not None:
            started(lambda number: _signal(session, process.number, number))
        process.connection.settimeout(timeout)
        answer, _ = receive_answer(process.connection)
        return int(answer["returncode"])


@dataclass(frozen=True, slots=True)
class _Started:
    number: int
    pid: int
    host_pid: int
    connection: socket.socket


@contextlib.contextmanager
def _spawned(session: Session, spec: Spec, fds: Sequence[int], *, tied: bool) -> Iterator[_Started]:
    """Start a program: for good, or (tied) for as long as the ``with`` block."""
    try:
        with session.control.request(
            "spawn",
            fds=[*fds, *spec.fds],
            pod=spec.pod,
            name=spec.name,
            argv=list(spec.argv),
            env=dict(spec.env),
            cwd=spec.cwd,
            about=dict(spec.about),
            tied=tied,
        ) as (answer, received, connection):
            host_pid = 0
            for fd in received:
                host_pid = _pid_of(fd)
                os.close(fd)
            yield _Started(answer["process"], answer["pid"], host_pid, connection)
    except RequestFailed as error:
        raise LabError(f"{spec.argv[0]} cannot be started: {error}") from None


def _signal(session: Session, process: int, number: int) -> None:
    session.control.call("signal", process=process, signal=int(number))


def _pid_of(pidfd: int) -> int:
    # The kernel shows a pidfd's process id as the reader's own PID namespace has it.
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:"):
            return max(0, int(line.split()[1]))
    return 0


def _file_name(spec: Spec) -> str:
    return f"{spec.pod.partition('/')[2]}-{spec.name}" if spec.pod else spec.name


def _how_ended(returncode: int | None) -> str:
    if returncode is not None and returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"
