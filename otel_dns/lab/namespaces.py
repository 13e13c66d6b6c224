"""The few Linux calls that Python 3.11 does not offer: namespaces, mounts, host name, prctl.

Nothing here knows of the lab. Every function raises OSError with the kernel's errno.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_MS_NOSUID: Final = 0x2
_MS_NODEV: Final = 0x4
_MS_NOEXEC: Final = 0x8
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x40000

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """Move the calling process into new namespaces (for a PID namespace: its next children)."""
    _check(_libc().unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, flags: int) -> None:
    """Enter namespaces.

    Args:
        fd: A descriptor of one namespace, or (Linux 5.8) a pidfd: that process's.
        flags: Which of them, ``CLONE_NEW...`` or-ed together.
    """
    _check(_libc().setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def set_hostname(name: str) -> None:
    """Set the host name of this UTS namespace; cut at the kernel's 64 bytes."""
    raw = name.encode()[:64]
    _check(_libc().sethostname(ctypes.c_char_p(raw), ctypes.c_size_t(len(raw))), "sethostname")


def die_with_parent(signal_number: int) -> None:
    """Get this signal when the parent thread ends. Changing credentials later undoes it."""
    _check(
        _libc().prctl(ctypes.c_int(_PR_SET_PDEATHSIG), ctypes.c_ulong(signal_number), 0, 0, 0),
        "prctl(PR_SET_PDEATHSIG)",
    )


def set_process_name(name: str) -> None:
    """Set the name that process lists show; cut at the kernel's 15 bytes."""
    raw = ctypes.create_string_buffer(name.encode()[:15])
    _check(_libc().prctl(ctypes.c_int(_PR_SET_NAME), raw, 0, 0, 0), "prctl(PR_SET_NAME)")


def map_root_to(uid: int, gid: int) -> None:
    """In a new user namespace, be root there and (uid, gid) outside; no other user exists in it."""
    # An unprivileged process may write gid_map only after giving up setgroups.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    result = _libc().mount(
        ctypes.c_char_p(source.encode()),
        ctypes.c_char_p(target.encode()),
        ctypes.c_char_p(kind.encode()) if kind else None,
        ctypes.c_ulong(flags),
        ctypes.c_char_p(options.encode()) if options else None,
    )
    _check(result, f"mount on {target}")


def make_mounts_private() -> None:
    """Stop mounts and unmounts of this mount namespace from reaching any other."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)


def mount_proc() -> None:
    """Mount a /proc that shows this PID namespace."""
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)


def mount_tmpfs(target: Path) -> None:
    """Hide a directory under an empty one in memory."""
    _mount("tmpfs", str(target), "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")


def bind_mount(source: Path, target: Path) -> None:
    """Make an existing file or directory show another's content."""
    _mount(str(source), str(target), None, _MS_BIND, None)
