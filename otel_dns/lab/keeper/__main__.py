"""The outer half of the keeper: namespaces first, then wait, then clean up.

Owner, outer keeper and PID 1 are chained: when the owner ends in whatever way, the outer keeper
kills PID 1; when the outer keeper ends, the kernel does. And when PID 1 ends, the kernel kills
every process of its PID namespace; with the last of them, networks and mounts vanish.
"""

import argparse
import errno
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

from otel_dns.lab import namespaces
from otel_dns.lab.errors import LabError, LabUnavailable
from otel_dns.lab.home import LabHome
from otel_dns.lab.keeper.init import Init

_NAMESPACES: Final = (
    namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
)


def main() -> int:
    """Run the keeper; see ``otel_dns.lab.launch`` for who starts it with which arguments."""
    arguments = _arguments()
    if arguments.detach and os.fork() != 0:
        os._exit(0)  # The one who started us need not be the one to wait for us.
    owner = os.pidfd_open(arguments.owner) if arguments.owner else None
    if owner is not None and os.getppid() != arguments.owner:
        return 1  # The owner was gone before it could be watched.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    home = LabHome(arguments.home)
    init: int | None = None
    try:
        try:
            _enter_new_namespaces(arguments.userns)
            init = _fork_init(home, arguments)
        except OSError as error:
            _report(arguments.status_fd, {"unavailable": _why(error)})
            return 1
        os.close(arguments.status_fd)
        _wait_for_either(os.pidfd_open(init), owner)
    finally:
        # A second signal must not cut the cleaning short.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if init is not None:
            os.kill(init, signal.SIGKILL)
            os.waitpid(init, 0)
        home.remove()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="otel_dns.lab.keeper")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True, help="logs and configuration go here")
    parser.add_argument("--status-fd", type=int, required=True, help="one JSON object when ready")
    parser.add_argument("--lock-fd", type=int, required=True, help="holds the home's lock")
    parser.add_argument("--owner", type=int, default=0, help="end when this parent process ends")
    parser.add_argument("--detach", action="store_true", help="live on as nobody's child")
    parser.add_argument("--userns", choices=["auto", "yes", "no"], default="auto")
    return parser.parse_args()


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _enter_new_namespaces(userns: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    if userns == "no" or (userns == "auto" and uid == 0):
        try:
            namespaces.unshare(_NAMESPACES)
        except PermissionError:
            # Root of a container that has given up CAP_SYS_ADMIN.
            if userns == "no":
                raise
        else:
            return
    namespaces.unshare(_NAMESPACES | namespaces.CLONE_NEWUSER)
    namespaces.map_root_to(uid, gid)


def _fork_init(home: LabHome, arguments: argparse.Namespace) -> int:
    outer = os.pidfd_open(os.getpid())
    pid = os.fork()
    if pid != 0:
        os.close(outer)
        return pid
    status = 1
    try:
        # With a program that held the lock, a dead lab would look alive.
        os.close(arguments.lock_fd)
        namespaces.die_with_parent(signal.SIGKILL)
        if not _has_ended(outer):
            _run_init(home, arguments)
            status = 0
    except BaseException:  # noqa: BLE001 - a fork must never return into its parent's code
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _run_init(home: LabHome, arguments: argparse.Namespace) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        init = Init(home.control_socket, arguments.files)
    except (LabError, OSError) as error:
        reason = str(error) if isinstance(error, LabUnavailable) else _why(error)
        _report(arguments.status_fd, {"unavailable": reason})
        return
    _report(arguments.status_fd, {"ready": True})
    os.close(arguments.status_fd)
    init.run()


def _report(fd: int, message: dict[str, object]) -> None:
    os.write(fd, json.dumps(message).encode())


def _has_ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])


def _wait_for_either(init: int, owner: int | None) -> None:
    select.select([init] if owner is None else [init, owner], [], [])


def _why(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    file = str(getattr(error, "filename", None) or "/proc/")
    if not file.startswith("/proc/"):  # where uid_map is
        return str(error)
    if number in {errno.EPERM, errno.EACCES}:
        return (
            f"this system lets nobody but root make namespaces ({error}); run as root, or allow "
            "unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, or on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0; in Docker, --privileged)"
        )
    if number in {errno.ENOSPC, errno.EUSERS}:
        return f"no more namespaces may be made ({error}); see sysctl user.max_user_namespaces"
    return f"namespaces cannot be made here: {error}"


if __name__ == "__main__":
    sys.exit(main())
