"""Runs one step of a build: output to a log, progress shown, nothing left running."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from otel_dns.lab.programs import tied
from otel_dns.lab.programs.errors import BuildFailed
from otel_dns.lab.programs.progress import Progress

_POLL_SECONDS = 0.5
_TAIL_LINES = 15


def run_logged(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    progress: Progress,
    advice: str,
) -> None:
    """Runs a command to its end.

    Args:
        command: Program and arguments.
        cwd: Where it runs.
        env: Its whole environment.
        log: File that its output is appended to.
        progress: Is kept up to date.
        advice: What to do when it fails; ends the message.

    Raises:
        BuildFailed: It could not be started, or ended with an error.
    """
    shown = " ".join(map(str, command))
    with log.open("a") as output, _signals_raise():
        output.write(f"\n$ {shown}\n")
        output.flush()
        try:
            # A session of its own, so that one signal reaches the compilers below it too; and tied
            # to us by its standard input, so that it ends when we are killed.
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", tied.__file__, *map(str, command)],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise BuildFailed(f"{command[0]} could not be started: {error}. {advice}") from error
        try:
            code = _await(process, log, progress)
        except BaseException:
            _end_group(process)
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()
            progress.wipe()
    if code != 0:
        tail = "\n".join(f"  | {line}" for line in _lines(log)[-_TAIL_LINES:])
        raise BuildFailed(
            f"{shown} ended with code {code}. The last lines of its output:\n{tail}\n"
            f"The whole of it: {log}\n{advice}"
        )


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Makes the signals that would end this process at once end it in good order, as Ctrl-C does.

    Else the build, which has a session of its own, would go on alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: object) -> None:
        del frame
        raise SystemExit(128 + number)

    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) == signal.SIG_DFL
    ]
    try:
        for number in ours:
            signal.signal(number, leave)
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _await(process: subprocess.Popen[bytes], log: Path, progress: Progress) -> int:
    while True:
        try:
            return process.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            progress.update(next(reversed(_lines(log)), ""))


def _lines(log: Path) -> list[str]:
    """The log's last lines; a build's log can be long and is looked at often."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 8192))
        text = file.read().decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    # What ignores the first signal, or outlives its parent, must not stay either.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
