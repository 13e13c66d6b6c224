"""The processes of a lab: started, watched, reaped, and stopped in reverse order."""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from otel_dns.lab.errors import LabError
from otel_dns.lab.keeper import spawn

REMEMBERED: Final = 500
"""So many ended processes are remembered, so that a long-lived lab does not collect them."""
_SHOWN_ARGUMENTS: Final = 10
_SHOWN_LENGTH: Final = 100
STOP_SECONDS: Final = 5.0
"""How long a program may take to end after SIGTERM, before SIGKILL."""


@dataclass(slots=True)
class Process:
    """One program that was started in the lab.

    Attributes:
        number: Its identity; process ids come again, this does not.
        pid: Its process id inside the lab.
        pod: ``namespace/name`` of its Pod; empty for the node.
        about: Whatever the starter wants to find again in ``status``.
        returncode: Exit code, negative for a signal; ``None`` while it runs.
        on_end: Called once it has ended.
    """

    number: int
    name: str
    pod: str
    argv: list[str]
    pid: int
    about: dict[str, Any]
    returncode: int | None = None
    on_end: list[Callable[[], None]] = field(default_factory=list)

    def as_message(self) -> dict[str, Any]:
        """For replies."""
        return {
            "process": self.number,
            "name": self.name,
            "pod": self.pod,
            "argv": [each[:_SHOWN_LENGTH] for each in self.argv[:_SHOWN_ARGUMENTS]],
            "pid": self.pid,
            "about": self.about,
            "returncode": self.returncode,
        }

    def signal_group(self, number: int) -> None:
        """Send a signal to the program and to all that it started in its session."""
        if self.returncode is None:
            os.killpg(self.pid, number)


class ProcessTable:
    """All processes, running and ended."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}
        self._running: dict[int, Process] = {}
        self._ended: deque[Process] = deque()
        self._next_number = 1

    def start(
        self,
        name: str,
        pod: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        fds: Sequence[int],
        holder_pidfd: int | None,
        about: dict[str, Any],
    ) -> Process:
        """Start a program.

        Raises:
            OSError: It cannot be.
        """
        pid = spawn.spawn(argv, env=env, cwd=cwd, fds=fds, holder_pidfd=holder_pidfd)
        process = Process(self._next_number, name, pod, list(argv), pid, about)
        self._next_number += 1
        self._processes[process.number] = process
        self._running[pid] = process
        return process

    def get(self, number: int) -> Process:
        """A process by its number.

        Raises:
            LabError: There is none, or it has ended long ago.
        """
        try:
            return self._processes[number]
        except KeyError:
            raise LabError(f"process {number} is not known; it may have ended long ago") from None

    def all(self) -> list[Process]:
        """Every process that is remembered, in order of start."""
        return list(self._processes.values())

    def running_in(self, pod: str) -> list[Process]:
        """The running processes of a Pod."""
        return [each for each in self._running.values() if each.pod == pod]

    def forget(self, process: Process) -> None:
        """Drop an ended process that nobody will ask for again."""
        self._processes.pop(process.number, None)

    def reap(self) -> None:
        """Take note of every child that has ended, orphans included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            process = self._running.pop(pid, None)
            if process is None:
                continue
            process.returncode = os.waitstatus_to_exitcode(status)
            for call in process.on_end:
                call()
            process.on_end.clear()
            self._ended.append(process)
            if len(self._ended) > REMEMBERED:
                self.forget(self._ended.popleft())


class Stopping:
    """Ends all processes one after the other, the last started first."""

    def __init__(self, table: ProcessTable) -> None:
        self._left = [each for each in table.all() if each.returncode is None]
        self._current: Process | None = None
        self._deadline = 0.0

    def advance(self) -> float | None:
        """Do what is to be done now.

        Returns:
            Seconds until the next call is due at the latest (a process's end is a reason to call
            earlier); ``None`` when all have ended.
        """
        now = time.monotonic()
        while self._current is None or self._current.returncode is not None:
            if not self._left:
                return None
            self._current = self._left.pop()
            # One that was paused would never see the SIGTERM.
            self._current.signal_group(signal.SIGTERM)
            self._current.signal_group(signal.SIGCONT)
            self._deadline = now + STOP_SECONDS
        if now >= self._deadline:
            self._current.signal_group(signal.SIGKILL)
            self._deadline = now + STOP_SECONDS
        return self._deadline - now
