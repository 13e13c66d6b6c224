"""Start a program inside a Pod's namespaces: fork, enter, exec. For single-threaded callers."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from otel_dns.lab import namespaces

_ABOVE_ALL: Final = 200
_POD_NAMESPACES: Final = namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS | namespaces.CLONE_NEWUTS


def restore_signals() -> None:
    """In a fork, undo what Python, the keeper or its owner ignore: a program would inherit it."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)


def enter_pod(holder_pidfd: int) -> None:
    """Enter the network, mount and UTS namespaces of a Pod, for good."""
    namespaces.setns(holder_pidfd, _POD_NAMESPACES)


def enter_network(fd: int) -> None:
    """Enter a network namespace, by a descriptor of it or by a pidfd of a process in it."""
    namespaces.setns(fd, namespaces.CLONE_NEWNET)


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    fds: Sequence[int],
    holder_pidfd: int | None,
) -> int:
    """Start a program as the leader of a new session.

    Args:
        argv: Program and arguments; the program is looked for in ``env``'s PATH.
        env: Its whole environment.
        cwd: Its working directory.
        fds: Become its descriptors 0, 1, 2, 3, ... in this order; the caller still owns them.
        holder_pidfd: The Pod to start it in; ``None`` for the caller's namespaces.

    Returns:
        The process id.

    Raises:
        OSError: The program cannot be started.
    """
    failure, report = os.pipe2(os.O_CLOEXEC)
    # Out of the way of the numbers that the program's own descriptors get.
    high_report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL)
    os.close(report)
    pid = os.fork()
    if pid == 0:
        try:
            _become(argv, env, cwd, fds, holder_pidfd)
        except BaseException as error:  # noqa: BLE001 - the parent raises it
            number = getattr(error, "errno", None) or 0
            with contextlib.suppress(OSError):
                text = getattr(error, "strerror", None) or str(error)
                os.write(high_report, f"{number} {text}".encode()[:4000])
        finally:
            os._exit(127)
    os.close(high_report)
    with open(failure, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        raw = pipe.read()
    if raw:
        os.waitpid(pid, 0)
        number, _, text = raw.decode(errors="replace").partition(" ")
        raise OSError(int(number), text)
    return pid


def _become(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    fds: Sequence[int],
    holder_pidfd: int | None,
) -> None:
    os.setsid()
    if holder_pidfd is not None:
        enter_pod(holder_pidfd)
    os.chdir(cwd)
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_ALL) for fd in fds]
    for place, fd in enumerate(parked):
        os.dup2(fd, place)
    restore_signals()
    os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606
