"""Who never sends lookups: most Pods of a cluster. Their server traces wait for nobody.

An address is silent when its queries have been seen for a while and no lookup of it came in that
time, nor was one of its server traces joined. Relays are never silent: a cache on the node sends
no lookups, yet its queries are the second hop of somebody's. An address is known for one when it is
a server's own (its spans or its messages tell it), when settings list it, or when its server traces
are hops of others' again and again.
"""

from collections import OrderedDict
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final

_MAX_KNOWN: Final = 100_000
_RELAY: Final = 1 << 64
"""When a relay spoke: later than any time."""
_SINCE, _RELEASED = 0, 1


class Silence:
    """Remembers addresses, so many of them; one that was forgotten is new, and so not silent."""

    def __init__(self, relays: Iterable[str] = (), max_known: int = _MAX_KNOWN) -> None:
        """Make one.

        Args:
            relays: addresses and networks of relays.
            max_known: addresses remembered; those not seen for longest are forgotten first.
        """
        self._listed = [ip_network(one, strict=False) for one in relays]
        self._max_known = max_known
        self._known: OrderedDict[str, list[int]] = OrderedDict()
        """By address: since when it is silent, and when the latest of its server traces that left
        early began."""

    def spoke(self, address: str, now_ns: int, start_ns: int | None = None) -> bool:
        """Take note that an address sent a lookup, or had a server trace joined.

        Args:
            address: the client's.
            now_ns: the time.
            start_ns: when the lookup began, nanoseconds since the epoch.

        Returns:
            Whether server traces of that time have left already.
        """
        known = self._known.get(address)
        if known is None:
            self._meet(address, now_ns)
            return False
        late = start_ns is not None and start_ns <= known[_RELEASED]
        known[_SINCE], known[_RELEASED] = max(known[_SINCE], now_ns), 0
        return late

    def relays(self, address: str) -> None:
        """Take note that an address is a relay."""
        known = self._known.get(address) or self._meet(address, _RELAY)
        known[_SINCE] = _RELAY

    def is_silent(self, address: str, now_ns: int, after_ns: int) -> bool:
        """Tell whether an address, seen just now, has been silent for so long."""
        known = self._known.get(address)
        if known is None:
            self._meet(address, now_ns)
            return False
        self._known.move_to_end(address)
        return known[_SINCE] <= now_ns - after_ns

    def released(self, address: str, start_ns: int) -> None:
        """Take note that a server trace of an address, begun then, leaves early."""
        known = self._known.get(address)
        if known is not None:
            known[_RELEASED] = max(known[_RELEASED], start_ns)

    def _meet(self, address: str, now_ns: int) -> list[int]:
        known = self._known[address] = [_RELAY if self._is_listed(address) else now_ns, 0]
        if len(self._known) > self._max_known:
            self._known.popitem(last=False)
        return known

    def _is_listed(self, address: str) -> bool:
        if not self._listed:
            return False
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._listed)
