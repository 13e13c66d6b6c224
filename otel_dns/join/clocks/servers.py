"""The clocks of servers against each other: of one that asks, and of the next that it asks.

An exchange with an upstream bounds the offset of the two from both sides, as NTP's does (RFC 5905,
section 8): the next server took the query no earlier than it was sent, and had answered when the
answer came. Which of its server traces an exchange caused is not known before the clocks are: so an
exchange has a stretch for every one that it may be, and the offset lies where the stretches of most
exchanges meet.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from otel_dns.model import ROUNDING_NS

REACH_NS: Final = 500_000_000
"""Clocks further apart than this are not found."""
LEFT_ALONE_NS: Final = 1_000_000
"""Offsets below this are; and so much a clock may drift while it is looked for, or an answer's time
be late on a busy machine."""
_EXCHANGES: Final = 8
"""That are remembered, of each client."""
_ENOUGH: Final = 6
"""Of these, whose stretches have to meet."""
_FEW: Final = 4
"""One in so many may speak for the offset that there was, and yet it is another now."""
_DRIFT_NS: Final = 4 * LEFT_ALONE_NS
_LATE_NS: Final = 10_000_000
"""So late a busy server may be in taking a query and in ending its span: as if its clock were
ahead. Unlike a clock it is not equally so each time."""
_MAX_CLIENTS: Final = 16
_MAX_PAIRS: Final = 10_000


class Stretch(NamedTuple):
    """Between what an offset lies, if a server trace is the one that an exchange caused."""

    low_ns: int
    high_ns: int
    """Below ``low_ns`` where an answer's time is late: a server ends its span after it."""

    def holds(self, offset_ns: int) -> bool:
        """Whether this may be the offset."""
        return (
            self.low_ns - LEFT_ALONE_NS
            <= offset_ns
            <= max(self.low_ns, self.high_ns) + LEFT_ALONE_NS
        )


Stretches = Sequence[Stretch]
"""Of one exchange, those of one client's server traces at one server."""


class _Pair:
    """What is known of one server's clock against that of another which asks it."""

    __slots__ = ("_by_client", "known", "misses", "offset_ns")

    def __init__(self) -> None:
        self.known = False
        self.offset_ns = 0
        self.misses = 0
        self._by_client: OrderedDict[str, deque[Stretches]] = OrderedDict()

    def look(self, client: str, stretches: Stretches) -> bool:
        """Take an exchange in; whether the offset has changed."""
        seen = self._by_client.get(client)
        if seen is None:
            seen = self._by_client[client] = deque(maxlen=_EXCHANGES)
            if len(self._by_client) > _MAX_CLIENTS:
                self._by_client.popitem(last=False)
        self._by_client.move_to_end(client)
        seen.append(stretches)
        if any(one.holds(self.offset_ns) for one in stretches):
            if self.known:
                return False
        else:
            self.misses += 1
        return len(seen) >= _ENOUGH and self.settle(seen)

    def settle(self, exchanges: Collection[Stretches]) -> bool:
        """Find the offset, if it can be; whether it has changed."""
        found = place(exchanges)
        if found is None:
            return False
        odd = self.known and _holding(exchanges, self.offset_ns) > len(exchanges) // _FEW
        drifts = self.offset_ns and abs(found - self.offset_ns) <= _DRIFT_NS
        if odd and not drifts:
            return False  # some are odd, as on a machine that is too busy
        self.known = True
        changed, self.offset_ns = found != self.offset_ns, found
        return changed


class ServerClocks:
    """The clocks of all servers against those of the ones that ask them."""

    def __init__(self) -> None:
        """Take all for agreeing."""
        self._pairs: OrderedDict[tuple[str, str], _Pair] = OrderedDict()

    def offset_ns(self, above: str, below: str) -> int:
        """Return what is to be added to the times of a server for those of one that asks it."""
        pair = self._pairs.get((above, below))
        return pair.offset_ns if pair is not None else 0

    def look(self, above: str, below: str, client: str, stretches: Stretches) -> bool:
        """Take in an exchange with what it may have caused at one server.

        Args:
            above: who asked.
            below: who was asked.
            client: the address that asked there.
            stretches: one for every server trace of this client's.

        Returns:
            Whether the offset has changed.
        """
        return self._pair(above, below).look(client, stretches)

    def is_news(self, above: str, below: str) -> bool:
        """Whether, after a miss, all exchanges that wait are worth a look: the 1st, 2nd, 4th ..."""
        misses = self._pair(above, below).misses
        return bool(misses) and not misses & (misses - 1)

    def settle(self, above: str, below: str, exchanges: Collection[Stretches]) -> bool:
        """Find an offset by many exchanges of one client; whether it has changed."""
        return self._pair(above, below).settle(exchanges)

    def _pair(self, above: str, below: str) -> _Pair:
        key = above, below
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = _Pair()
            if len(self._pairs) > _MAX_PAIRS:
                self._pairs.popitem(last=False)
        return pair


def place(exchanges: Collection[Stretches]) -> int | None:
    """Find the offset at which the stretches of most exchanges meet.

    Returns:
        0 where the clocks may agree, as nearly all do; nothing where no place stands out.
    """
    enough = max(_ENOUGH, len(exchanges) * 3 // 4)
    agreeing = _holding(exchanges, 0)
    if agreeing > len(exchanges) // _FEW:
        return 0 if agreeing >= enough else None
    met = list(_meetings(exchanges))
    best = max(met, key=lambda one: one[0], default=None)
    if best is None or best[0] < enough:
        return None
    number, low_ns, high_ns = best
    if any(
        2 * other > number and (until_ns < low_ns or since_ns > high_ns)
        for other, since_ns, until_ns in met
    ):
        return None
    offset_ns = _middle(exchanges, (low_ns + high_ns) // 2)
    if abs(offset_ns) < LEFT_ALONE_NS:
        return 0
    if -_LATE_NS < offset_ns < 0 and not _is_steady(exchanges, offset_ns):
        return None
    return offset_ns


def _holding(exchanges: Collection[Stretches], offset_ns: int) -> int:
    """Count the exchanges that may be with this offset."""
    return sum(any(one.holds(offset_ns) for one in stretches) for stretches in exchanges)


def _is_steady(exchanges: Collection[Stretches], offset_ns: int) -> bool:
    """Whether all that is remembered says that it is just this."""
    return len(exchanges) >= _EXCHANGES and all(
        any(
            one.low_ns - ROUNDING_NS <= offset_ns <= max(one.low_ns, one.high_ns) + ROUNDING_NS
            for one in stretches
        )
        for stretches in exchanges
    )


def _meetings(exchanges: Collection[Stretches]) -> Iterator[tuple[int, int, int]]:
    """Go through where stretches meet: how many exchanges' do, from where, to where."""
    edges = sorted(
        edge
        for number, stretches in enumerate(exchanges)
        for low_ns, high_ns in stretches
        for edge in (
            (low_ns - LEFT_ALONE_NS, 0, number),
            (max(low_ns, high_ns) + LEFT_ALONE_NS, 1, number),
        )
    )
    open_ = [0] * len(exchanges)
    met, since_ns, rose = 0, 0, False
    for at_ns, ends, number in edges:
        if not ends:
            open_[number] += 1
            if open_[number] == 1:
                met, since_ns, rose = met + 1, at_ns, True
            continue
        open_[number] -= 1
        if not open_[number]:
            if rose:
                yield met, since_ns, at_ns
            met, rose = met - 1, False


def _middle(exchanges: Collection[Stretches], near_ns: int) -> int:
    """Return the middle of what the latest exchanges agree on, near a place."""
    low_ns = high_ns = near_ns
    first = True
    for stretches in reversed(tuple(exchanges)):
        for one in stretches:
            if not one.holds(near_ns):
                continue
            until_ns = max(one.low_ns, one.high_ns)
            if first:
                low_ns, high_ns, first = one.low_ns, until_ns, False
            elif one.low_ns <= high_ns and until_ns >= low_ns:
                low_ns, high_ns = max(low_ns, one.low_ns), min(high_ns, until_ns)
            else:
                return (low_ns + high_ns) // 2
            break
    return (low_ns + high_ns) // 2
