"""Connections that gRPC has accepted: how many there are, of whom, and which are too many.

gRPC's core takes every connection and tells nobody. But its sockets are this process's: they are
looked at once a second, and those beyond a limit are shut down, which gRPC takes for the peer's
going away. The newest go first.
"""

import contextlib
import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from typing import Final, TypeAlias

from otel_dns.service.counts import Counts
from otel_dns.service.settings import Limits

_LOOK_S: Final = 1.0
_Peer: TypeAlias = tuple[str, int]


class Connections:
    """Watches one port, in a thread of its own; where there is no ``/proc`` it sees nothing."""

    def __init__(self, limits: Limits, counts: Counts) -> None:
        """Make a watch.

        Args:
            limits: in all, and of one peer.
            counts: gets ``otlp_connections_turned_away``.
        """
        self._limits = limits
        self._counts = counts
        self._ended = threading.Event()
        self._known: set[_Peer] = set()
        self.number = 0
        """Of the connections, when they were last looked at."""

    def watch(self, port: int) -> None:
        """Begin to watch a port."""
        threading.Thread(
            target=self._run, args=(port,), name="otel-dns-connections", daemon=True
        ).start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _run(self, port: int) -> None:
        while not self._ended.wait(_LOOK_S):
            self.look(port)

    def look(self, port: int) -> None:
        """Look at the connections once, and shut down those that are too many."""
        with contextlib.ExitStack() as opened:
            peers = [(opened.enter_context(one), peer) for one, peer in _accepted(port)]
            peers.sort(key=lambda each: each[1] not in self._known)  # the new ones last
            of_peer: Counter[str] = Counter()
            kept: set[_Peer] = set()
            for one, peer in peers:
                host = _host(peer[0])
                if (
                    len(kept) < self._limits.connections
                    and of_peer[host] < self._limits.connections_of_a_peer
                ):
                    of_peer[host] += 1
                    kept.add(peer)
                else:
                    self._counts.add(otlp_connections_turned_away=1)
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
            self._known, self.number = kept, len(kept)


def _accepted(port: int) -> Iterator[tuple[socket.socket, _Peer]]:
    """Give copies of this process's sockets that are connections to one of its ports."""
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
                named = copy.getsockname()
                if isinstance(named, tuple) and named[1:2] == (port,):
                    peer = copy.getpeername()[:2]
            if peer and peer not in seen:
                seen.add(peer)
                yield copy, peer
            else:
                copy.close()


def _host(address: str) -> str:
    """Return an address, an IPv4 one as such also where it is written as IPv6's."""
    found = ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
