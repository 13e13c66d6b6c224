"""Listening sockets: opened by address, and with a limit on what they let in.

What is too many is turned away before TLS, whose handshake a peer may draw out: it has a place
among the connections from the moment it has connected.
"""

import asyncio
import contextlib
import errno
import os
import socket
import stat
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from otel_dns.service.configuration.settings import Limits
from otel_dns.service.counts import Counts

_REFUSALS: Final = 64
"""After so many in a row the event loop has its turn, however fast they come."""
_KEEP_ALIVE: Final = (
    ((socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1),
    *(
        ((socket.IPPROTO_TCP, getattr(socket, name)), value)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)
"""A peer that vanished without a word is found out within minutes."""


_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user and group: unix(7), ``SO_PEERCRED``."""


def listening_socket(address: str) -> socket.socket:
    """Open a socket that listens at ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:/PATH``.

    Raises:
        OSError: it cannot.
    """
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        make_way(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.ExitStack() as opened:
            opened.enter_context(listening).bind(path)
            opened.pop_all()
        return listening
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise OSError("HOST:PORT is wanted")
    listening = socket.create_server(
        (host.strip("[]"), int(port)),
        family=socket.AF_INET6 if ":" in host else socket.AF_INET,
    )
    for option, value in _KEEP_ALIVE:
        listening.setsockopt(*option, value)
    return listening


def owner(connection: socket.socket, address: object) -> str:
    """Return whose a connection from an address is: its host's, on a Unix socket its user's."""
    if isinstance(address, tuple):
        return str(address[0])
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return "unix"
    # The user alone: a process can make others, each of which would be one more peer.
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    return f"user {_CREDENTIALS.unpack(credentials)[1]}"


class Listening(socket.socket):
    """Accepts no more connections than it may, for an event loop of asyncio's."""

    def __init__(self, taken: socket.socket, limits: Limits, counts: Counts, senders: str) -> None:
        """Take over a listening socket.

        Args:
            taken: is closed by this; use it no more.
            limits: of connections, in all and of one peer.
            counts: gets ``{senders}_turned_away`` and ``{senders}_not_secured``.
            senders: what the connections are called in counts.
        """
        super().__init__(fileno=taken.detach())
        self._limits = limits
        self._counts = counts
        self._senders = senders
        self._of_peer: Counter[str] = Counter()
        self._securing: set[int] = set()
        """Files of the connections that are not ready to be used yet."""

    @property
    def connected(self) -> int:
        """How many connections there are, those in their handshake among them."""
        return self._of_peer.total()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, after having turned away those that are too many."""
        for _ in range(_REFUSALS):
            accepted, address = super().accept()
            peer = owner(accepted, address)
            if (
                self._of_peer.total() < self._limits.connections
                and self._of_peer[peer] < self._limits.connections_of_a_peer
            ):
                break
            self._counts.add(**{f"{self._senders}_turned_away": 1})
            accepted.close()
        else:
            raise BlockingIOError("for now there is none")
        connection = _Connection(accepted, lambda file: self._gone(peer, file))
        self._of_peer[peer] += 1
        self._securing.add(connection.fileno())
        return connection, address

    def secured(self, transport: asyncio.BaseTransport) -> None:
        """Take note that a connection is ready: if it is encrypted, its handshake is over."""
        self._securing.discard(transport.get_extra_info("socket").fileno())

    def _gone(self, peer: str, file: int) -> None:
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            del self._of_peer[peer]
        if file in self._securing:
            self._securing.discard(file)
            self._counts.add(**{f"{self._senders}_not_secured": 1})


class _Connection(socket.socket):
    """Tells when it is closed, and which file it was."""

    def __init__(self, accepted: socket.socket, gone: Callable[[int], None]) -> None:
        super().__init__(fileno=accepted.detach())
        self._gone: Callable[[int], None] | None = gone

    def close(self) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone(self.fileno())  # before another may have its number
        super().close()


def make_way(path: str) -> None:
    """Remove a Unix socket that nobody listens on any more, as after a crash; nothing else.

    Raises:
        OSError: somebody listens on it, or it is no socket.
    """
    try:
        in_use = not stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not in_use:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            in_use = probe.connect_ex(path) != errno.ECONNREFUSED
    if in_use:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    Path(path).unlink(missing_ok=True)
