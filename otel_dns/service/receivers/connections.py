"""Connections that gRPC has accepted: how many, of whom, which are too many or came to nothing.

gRPC's core takes every connection and tells nobody. But its sockets are this process's: they are
looked at once a second, and those beyond a limit are shut down, which gRPC takes for the peer's
going away. The newest go first.

Of TLS gRPC tells that a handshake begins, as it wants certificates for it, and not how it ends. So
those count as failed that are gone without having asked for anything.
"""

import contextlib
import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, ip_address
from typing import Final, TypeAlias
from urllib.parse import unquote

from otel_dns.service.configuration.settings import Limits
from otel_dns.service.counts import Counts
from otel_dns.service.receivers.listening import owner

_LOOK_S: Final = 1.0
_Peer: TypeAlias = tuple[str, int]
"""Whose a connection is, and which of his: by port, on a Unix socket by inode."""


class Connections:
    """Watches one address, in a thread of its own; where there is no ``/proc`` it sees nothing."""

    def __init__(self, limits: Limits, counts: Counts) -> None:
        """Make a watch.

        Args:
            limits: in all, and of one peer.
            counts: gets ``otlp_connections_turned_away`` and ``otlp_connections_not_secured``.
        """
        self._limits = limits
        self._counts = counts
        self._ended = threading.Event()
        self._known: set[_Peer] = set()
        self._handshakes = Counts()
        self._asking: dict[str, _Peer] = {}
        """Connections that have asked for something, by what gRPC calls the peer."""
        self._asked = self._turned_away = self._not_secured = 0
        """So many asked for something; were turned away before they had; neither, and are gone."""
        self.number = 0
        """Of the connections, when they were last looked at."""

    def watch(self, address: int | str) -> None:
        """Begin to watch a port, or a Unix socket by its path."""
        threading.Thread(
            target=self._run, args=(address,), name="otel-dns-connections", daemon=True
        ).start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()

    def handshake(self) -> None:
        """Note that a handshake of TLS begins; from any thread."""
        self._handshakes.add(begun=1)

    def asks(self, peer: str) -> None:
        """Note that a request has come, of whom gRPC calls ``ipv4:10.0.0.7:41234``."""
        if peer not in self._asking and peer.startswith("ip"):
            host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
            self._asking[peer] = _host(host.strip("[]")), int(port)
            self._asked += 1

    def _run(self, address: int | str) -> None:
        while not self._ended.wait(_LOOK_S):
            self.look(address)

    def look(self, address: int | str) -> None:
        """Look at the connections once, and shut down those that are too many."""
        # In this order one that changes meanwhile is seen as failed too late, and never wrongly.
        begun, asking = self._handshakes["begun"], self._asking.copy()
        with contextlib.ExitStack() as opened:
            found = [(opened.enter_context(one), peer) for one, peer in _accepted(address)]
            found.sort(key=lambda each: each[1] not in self._known)  # the new ones last
            kept = self._turn_away(found)
        self._known, self.number = kept, len(kept)
        for named, peer in asking.items():
            if peer not in kept:
                del self._asking[named]
        silent = len(kept.difference(self._asking.values()))
        failed = begun - silent - self._turned_away - self._asked
        if failed > self._not_secured:
            self._counts.add(otlp_connections_not_secured=failed - self._not_secured)
            self._not_secured = failed

    def _turn_away(self, found: Iterable[tuple[socket.socket, _Peer]]) -> set[_Peer]:
        """Shut down what is too much of connections; returns those that stay."""
        of_owner: Counter[str] = Counter()
        kept: set[_Peer] = set()
        asking = set(self._asking.values())
        for one, peer in found:
            if (
                len(kept) < self._limits.connections
                and of_owner[peer[0]] < self._limits.connections_of_a_peer
            ):
                of_owner[peer[0]] += 1
                kept.add(peer)
                continue
            self._counts.add(otlp_connections_turned_away=1)
            self._turned_away += peer not in asking
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return kept


def _accepted(address: int | str) -> Iterator[tuple[socket.socket, _Peer]]:
    """Give copies of this process's sockets that are connections to one of its addresses."""
    try:
        files = os.listdir("/proc/self/fd")  # noqa: PTH208 - every second, thousands
    except OSError:
        return
    seen: set[_Peer] = set()  # a copy may have the number of a file that was closed meanwhile
    for name in files:
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            copy = socket.socket(fileno=os.dup(int(name)))
            peer = None
            with contextlib.suppress(OSError):
                peer = _peer(copy, address)
            if peer and peer not in seen:
                seen.add(peer)
                yield copy, peer
            else:
                copy.close()


def _peer(connection: socket.socket, address: int | str) -> _Peer | None:
    """Tell whose a connection to an address is; None if it is to another.

    Raises:
        OSError: it is no connection.
    """
    named, peer = connection.getsockname(), connection.getpeername()
    if isinstance(address, str):
        inode = os.fstat(connection.fileno()).st_ino
        return (owner(connection, peer), inode) if named == address else None
    if isinstance(named, tuple) and named[1:2] == (address,):
        return _host(peer[0]), peer[1]
    return None


def _host(address: str) -> str:
    """Return an address, an IPv4 one as such also where it is written as IPv6's."""
    found = ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
