"""How the lab's owner talks to its keeper: one JSON message a packet, descriptors beside it.

A Unix SEQPACKET socket; one connection a request. A reply that takes time (a process's end) comes
when it comes; closing the connection withdraws the request. Requests, by ``op``:

=============  =====================================================  =============================
op             takes                                                  answers
=============  =====================================================  =============================
``status``                                                            pods, processes
``pod``        name, namespace, node, addresses, nameservers, ...     the Pod, as in ``status``
``delete_pod`` pod
``spawn``      pod, name, argv, env, cwd, about, tied; fds       the process; its pidfd
``signal``     process, signal
``process``    process                                                the process, as it is now
``wait``       process                                                the process, once it ended
``connect``    pod, host, port, kind                                  a connected socket
``down``                                                              after all processes ended
=============  =====================================================  =============================
"""

import array
import errno
import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from otel_dns.lab.errors import LabError, LabGone

MAX_MESSAGE: Final = 400_000
"""Bytes; what a socket buffer of Linux's default size limit takes as one packet."""
MAX_DESCRIPTORS: Final = 16

Message = dict[str, Any]


def accept(listener: socket.socket) -> socket.socket:
    """Take a waiting connection; it is non-blocking.

    Raises:
        OSError: There is none.
    """
    connection, _ = listener.accept()
    connection.setblocking(False)
    _raise_buffers(connection)
    return connection


def _raise_buffers(connection: socket.socket) -> None:
    # One packet must fit the send buffer; an environment of a few hundred kB is legal.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE)


def listen(path: Path) -> socket.socket:
    """A non-blocking listening control socket at this path."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _short_path(path) as address:
        listener.bind(address)
    listener.listen(64)
    listener.setblocking(False)
    return listener


def connect(path: Path) -> socket.socket:
    """A connection to the keeper that listens there.

    Raises:
        LabGone: Nobody does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        _raise_buffers(connection)
        with _short_path(path) as address:
            connection.connect(address)
    except OSError as error:
        connection.close()
        raise LabGone(f"the lab {path.parent.name} is gone: {error.strerror}") from None
    return connection


def send(connection: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        LabError: It is too large.
        OSError: The other side is gone.
    """
    raw = json.dumps(message).encode()
    too_large = LabError(f"a message of {len(raw)} bytes is too large; is the environment?")
    if len(raw) > MAX_MESSAGE:
        raise too_large
    try:
        socket.send_fds(connection, [raw], fds)
    except OSError as error:
        # The system's own limit may be lower.
        if error.errno == errno.EMSGSIZE:
            raise too_large from None
        raise


def receive(connection: socket.socket) -> tuple[Message, list[int]] | None:
    """Take one message and its descriptors; ``None`` when the other side has closed."""
    # Not socket.recv_fds: that of Python 3.11 drops the flags, and with them CLOEXEC.
    fds = array.array("i")
    raw, ancillary, flags, _ = connection.recvmsg(
        MAX_MESSAGE, socket.CMSG_LEN(MAX_DESCRIPTORS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if not raw:
        return None
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise LabError("a message was cut short")
    message = json.loads(raw)
    if not isinstance(message, dict):
        raise LabError("a message is not an object")
    return message, list(fds)


class _short_path:  # noqa: N801 - used like a function
    """A path to a socket that fits the 108 bytes of sockaddr_un, however deep its directory is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directory = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self._path)) < 100:
            return str(self._path)
        self._directory = os.open(self._path.parent, os.O_PATH | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._directory}/{self._path.name}"

    def __exit__(self, *_: object) -> None:
        if self._directory >= 0:
            os.close(self._directory)
