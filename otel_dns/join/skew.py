"""How far a server's clock is from a client's, for each pair of them.

Exact pairs bound it as NTP does: the server had the query after the client sent it, and its answer
was out before the client had it. Without exact pairs there is the mode: of all differences between
a lookup's start and the server traces of its first question, the true ones gather in one place.
A correction is made only where one place stands out, and only where it matters; a clock that drifts
is followed, one that has stepped is refused until the new place stands out.
"""

from bisect import bisect_left
from collections import OrderedDict, deque
from statistics import median
from typing import Final

from otel_dns import semconv
from otel_dns.join.waiting import Slot, WaitingLookup, WaitingTrace
from otel_dns.model import Lookup, ServerTrace
from otel_dns.wire import otlp

MATTERS_NS: Final = 1_000_000
"""Less than this is left alone: it is within what the join tolerates."""
REACH_NS: Final = 500_000_000
"""Clocks further apart than this are not found by the mode."""
_GATHERED_NS: Final = 600_000
_FIRST_GAP_NS: Final = 200_000
"""What lies between a lookup's start and its first query at the server."""
_LOOKUPS: Final = 64
"""Latest lookups that the mode is taken of."""
_ENOUGH: Final = 8
_STANDS_OUT: Final = 0.4
"""Share of the lookups that have a difference in the place where most have."""
_AS_MANY: Final = 0.9
_MAX_DIFFERENCES: Final = 256
_BOUNDS: Final = 16
_EVERY: Final = 8
_MAX_PAIRS: Final = 20_000

Key = tuple[str, str]
"""Client's node or address, server."""


class _Clock:
    """What is known of one pair."""

    __slots__ = ("bounds", "differences", "offset_ns", "refused", "since")

    def __init__(self) -> None:
        self.offset_ns = 0
        self.refused = False
        self.since = 0
        self.bounds: deque[tuple[int, int]] = deque(maxlen=_BOUNDS)
        self.differences: deque[list[int]] = deque(maxlen=_LOOKUPS)

    def estimate(self) -> int | None:
        """Work the offset out; nothing where the evidence does not agree."""
        if len(self.bounds) >= 3:
            for latest in (len(self.bounds), 4):
                some = list(self.bounds)[-latest:]
                low, high = max(one[0] for one in some), min(one[1] for one in some)
                if low <= high:
                    return 0 if low <= 0 <= high else (low + high) // 2
            return None
        return self._mode()

    def _mode(self) -> int | None:
        if len(self.differences) < _ENOUGH:
            return self.offset_ns
        every = sorted(
            (difference, number)
            for number, some in enumerate(self.differences)
            for difference in some
        )
        places = []
        low = 0
        for high in range(len(every)):
            while every[high][0] - every[low][0] > _GATHERED_NS:
                low += 1
            places.append((high - low + 1, low, high))
        most = max(places)[0]
        # Lookups at regular times have several such places: the clocks are rather near than far.
        _, low, high = min(
            (abs(every[low][0] + every[high][0]), low, high)
            for count, low, high in places
            if count >= _AS_MANY * most
        )
        gathered = every[low : high + 1]
        if not gathered or len({number for _, number in gathered}) < _STANDS_OUT * len(
            self.differences
        ):
            return None
        offset_ns = round(median(one for one, _ in gathered)) + _FIRST_GAP_NS
        return offset_ns if abs(offset_ns) >= MATTERS_NS else 0


class Skew:
    """Offsets of servers' clocks against clients'."""

    def __init__(self) -> None:
        self._clocks: OrderedDict[Key, _Clock] = OrderedDict()
        self._until_sampling = 1
        self.corrects = False
        """Whether any clock has ever been corrected: if not, nobody need ask."""

    def of(self, key: Key) -> int:
        """Return what is to be added to the server's times; 0 where nothing is known."""
        clock = self._clocks.get(key)
        return clock.offset_ns if clock is not None else 0

    def refused(self, key: Key) -> bool:
        """Whether the evidence does not agree, so that nothing is corrected."""
        clock = self._clocks.get(key)
        return clock is not None and clock.refused

    def knows(self, key: Key) -> bool:
        """Whether this pair has been looked at."""
        return key in self._clocks

    def learn_exact(self, key: Key, bounds: tuple[int, int]) -> bool:
        """Take note of an exact pair: the offset's bounds, in nanoseconds.

        Returns:
            Whether the offset has changed.
        """
        clock = self._clock(key)
        clock.bounds.append(bounds)
        return self._update(clock)

    def sample(self) -> bool:
        """Whether the mode is to be fed with this lookup: one of so many is."""
        self._until_sampling -= 1
        if self._until_sampling:
            return False
        self._until_sampling = _EVERY
        return True

    def learn(self, node: str, waiting: WaitingLookup, slot: Slot) -> set[Key]:
        """Take note of a lookup and of the server traces of its first question.

        Returns:
            The pairs whose offset has changed.
        """
        start_ns = waiting.lookup.start_ns
        found: dict[str, list[int]] = {}
        for trace in _near(slot, start_ns):
            found.setdefault(trace.server, []).append(start_ns - trace.start_ns)
        changed = set()
        for server, differences in found.items():
            key = (node, server)
            clock = self._clock(key)
            clock.differences.append(differences)
            clock.since += 1
            if clock.since >= _ENOUGH:
                clock.since = 0
                if self._update(clock):
                    changed.add(key)
        return changed

    def _update(self, clock: _Clock) -> bool:
        estimate = clock.estimate()
        clock.refused = estimate is None
        before = clock.offset_ns
        if estimate is not None and abs(estimate - before) > MATTERS_NS // 5:
            clock.offset_ns = estimate
            self.corrects = True
        return clock.offset_ns != before

    def _clock(self, key: Key) -> _Clock:
        clock = self._clocks.get(key)
        if clock is None:
            clock = self._clocks[key] = _Clock()
            if len(self._clocks) > _MAX_PAIRS:
                self._clocks.popitem(last=False)
        return clock


def bounds_of(trace: ServerTrace, start_ns: int, end_ns: int) -> tuple[int, int]:
    """Return between what the offset lies, by an exact pair.

    Args:
        trace: the server's sight of the query, by its own clock.
        start_ns: when the client sent the query.
        end_ns: when the client had the answer.
    """
    return start_ns - trace.root.start_ns, end_ns - trace.answer_ns


def node_of(lookup: Lookup) -> str:
    """Return whose clock a lookup's times are by: its node's, else its address's."""
    attributes = otlp.resource_attributes(lookup.span.origin.resource)
    node = attributes.get(semconv.K8S_NODE_NAME)
    return node if isinstance(node, str) and node else lookup.client


def moved(trace: ServerTrace, by_ns: int) -> ServerTrace:
    """Copy a server trace with its times moved to the client's clock."""
    spans = tuple(otlp.move(span, by_ns) for span in trace.spans)
    return ServerTrace(
        spans[0], spans, trace.client, trace.name, trace.type, trace.rcode, trace.proto,
        trace.server, trace.client_port, trace.dns_id, trace.source,
        trace.asked_ns + by_ns if trace.asked_ns else 0,
        trace.sent_ns + by_ns if trace.sent_ns else 0, trace.asked,
    )  # fmt: skip


def _near(slot: Slot, at_ns: int) -> list[WaitingTrace]:
    traces = slot.by_server_time()
    first = bisect_left(traces, at_ns - REACH_NS, key=_start)
    last = bisect_left(traces, at_ns + REACH_NS, lo=first, key=_start)
    if last - first > _MAX_DIFFERENCES:
        middle = bisect_left(traces, at_ns, key=_start)
        first = max(first, middle - _MAX_DIFFERENCES // 2)
        last = min(last, first + _MAX_DIFFERENCES)
    return traces[first:last]


def _start(trace: WaitingTrace) -> int:
    return trace.start_ns
