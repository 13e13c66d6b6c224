"""The clocks of servers against those of clients, for each pair of a client's node and a server.

Before the offset of a pair is known, and while its track is lost, nothing that its server traces
are joined to by time is sure.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join.clocks.clock import Clock
from otel_dns.join.clocks.search import EARLY_NS, FIRST_GAP_NS, LATE_NS, REACH_NS
from otel_dns.model import ClientQuery, Lookup, ServerTrace
from otel_dns.wire import otlp

if TYPE_CHECKING:
    from otel_dns.join.waiting import Slot, Slots, WaitingLookup, WaitingTrace

MAX_NODES: Final = 4_096
MAX_SERVERS: Final = 64
"""Servers of which one node's clocks are remembered."""
_MAX_CLIENTS: Final = 100_000
_MAX_HEARD: Final = 4_096
_MAX_TEXT: Final = 255
"""Characters of a node's name."""
_ON_THE_WAY_NS: Final = 2_000_000_000
"""CoreDNS's reporter sends every second, and clocks may differ by half of one."""
_CROWD: Final = 256
"""Among so many server traces of one question any clock fits; and the dense case must not slow the
rest."""
_MISFIT: Final = 0.025
"""From this share of misfits on clocks are in doubt."""
_JUDGED: Final = 256
"""Queries that weigh in on that: older ones fade."""
_ELSEWHERE_NS: Final = 10_000_000
"""So long before a lookup's first query nothing of its own is to be expected."""


class NodeClocks:
    """The clocks of all servers against that of one node's clients."""

    def __init__(self, newest_ns: Mapping[str, int]) -> None:
        self.version = 0
        """Changes when an offset does; 0: no clock was ever corrected."""
        self._clocks: OrderedDict[str, Clock] = OrderedDict()
        self._newest_ns = newest_ns
        self._coming: deque[WaitingLookup] = deque()
        self._misfit = 0.0

    def add(self, waiting: "WaitingLookup") -> None:
        """Take a lookup in, to learn of it when its server traces have come."""
        self._coming.append(waiting)

    def catch_up(self, due_ns: int, slots: "Slots") -> None:
        """Learn of the lookups that are due, and of later ones whose server traces have come.

        So a clock that jumps is mostly found out before the first lookup after that is decided.
        """
        coming = self._coming
        ready = []
        while coming and coming[0].due_ns <= due_ns:
            ready.append(coming.popleft())
        if coming:
            horizon_ns = self._horizon_ns()
            while coming and (coming[0].lookup.end_ns <= horizon_ns or coming[0].due_ns <= due_ns):
                ready.append(coming.popleft())
        if len(ready) > 1:
            ready.sort(key=_start_order)
        for waiting in ready:
            slot = slots.get(next(iter(waiting.candidates), ("", "", "")))
            if slot is not None and slot.traces:
                self._follow(waiting, slot)
        for clock in self._clocks.values():
            if not clock.known and clock.search():
                self.version += 1

    def _horizon_ns(self) -> int:
        """By when lookups have ended all of whose server traces are there, as far as one knows."""
        heard = [self._newest_ns.get(server, 0) for server in self._clocks]
        newest_ns = min(heard) if heard else max(self._newest_ns.values(), default=0)
        return newest_ns - _ON_THE_WAY_NS

    def offset_ns(self, server: str, at_ns: int) -> int:
        """Return what is to be added to a server's time."""
        clock = self._clocks.get(server)
        return clock.at(at_ns)[0] if clock is not None else 0

    def judge(self, misfits: int, given: int) -> None:
        """Take note of how well lookups and server traces fit by the clocks as they are known.

        Args:
            misfits: queries that were missing while others were left over.
            given: queries that a lookup was given.
        """
        number = misfits + given
        if misfits or (number and self._misfit):
            self._misfit += (misfits / number - self._misfit) * min(number / _JUDGED, 1.0)

    def doubts(self, waiting: "WaitingLookup", given: Iterable["WaitingTrace"]) -> bool:
        """Whether clocks were not known well enough for what a lookup is given by time."""
        if self._misfit > _MISFIT:
            return True
        for trace in given:
            clock = self._clocks.get(trace.server)
            if clock is None or not clock.at(trace.start_ns)[1]:
                return True
        span = waiting.lookup.span
        for clock in self._clocks.values():
            if clock.in_doubt(span.start_ns, span.end_ns, explained=waiting.explained):
                return True
        return not self._clocks

    def _follow(self, waiting: "WaitingLookup", slot: "Slot") -> None:
        """Learn of the server traces of a lookup's first question."""
        start_ns = waiting.lookup.span.start_ns
        near = slot.traces_between(start_ns - _ELSEWHERE_NS, start_ns + LATE_NS + 2 * FIRST_GAP_NS)
        if len(near) > _CROWD:
            return
        best: tuple[int, int, Clock] | None = None
        chance = False
        for trace in near:
            header = trace.header
            assert header is not None
            clock = self._clocks.get(header.server)
            if clock is None or not clock.known:
                continue
            difference_ns = start_ns - header.root.start_ns
            late_ns = clock.late_ns(start_ns, difference_ns)
            if late_ns < -EARLY_NS:
                chance |= late_ns >= -_ELSEWHERE_NS and late_ns < LATE_NS + EARLY_NS - _ELSEWHERE_NS
            elif late_ns <= LATE_NS and (best is None or abs(late_ns) < best[0]):
                best = abs(late_ns), difference_ns, clock
        if best is not None:
            waiting.explained = True
            if best[2].matched(start_ns, best[1], chance=chance):
                self.version += 1
            if False not in [clock.known for clock in self._clocks.values()]:
                return
        differences: dict[str, list[int]] = {}
        in_reach = slot.traces_between(start_ns - REACH_NS, start_ns + REACH_NS)
        if len(in_reach) > _CROWD:
            return
        for trace in in_reach:
            differences.setdefault(trace.server, []).append(start_ns - trace.start_ns)
        for server, some in differences.items():
            clock = self._clock(server)
            if (best is None or not clock.known) and clock.missed(start_ns, some, chance=chance):
                self.version += 1

    def bound(self, server: str, at_ns: int, low_ns: int, high_ns: int) -> None:
        """Take note of an exact pair: between what the offset lies."""
        if self._clock(server).bound(at_ns, low_ns, high_ns):
            self.version += 1

    def _clock(self, server: str) -> Clock:
        clock = self._clocks.get(server)
        if clock is None:
            clock = self._clocks[server] = Clock()
            if len(self._clocks) > MAX_SERVERS:
                self._clocks.popitem(last=False)
        return clock


class Agreeing(NodeClocks):
    """Clocks of which one knows that they agree: nothing is learned, and nothing is in doubt."""

    def add(self, waiting: "WaitingLookup") -> None:
        """Leave the lookup alone."""

    def catch_up(self, due_ns: int, slots: "Slots") -> None:
        """Learn nothing."""

    def doubts(self, waiting: "WaitingLookup", given: Iterable["WaitingTrace"]) -> bool:
        """Doubt nothing."""
        del waiting, given
        return False

    def bound(self, server: str, at_ns: int, low_ns: int, high_ns: int) -> None:
        """Learn nothing of an exact pair either."""

    def judge(self, misfits: int, given: int) -> None:
        """Learn nothing of what does not fit."""


AGREEING: Final = Agreeing({})


class Skew:
    """All clocks."""

    def __init__(self, *, follow: bool = True) -> None:
        """Start with no clock known.

        Args:
            follow: whether clocks may differ; else all agree.
        """
        self._agreeing = None if follow else AGREEING
        self._nodes: OrderedDict[str, NodeClocks] = OrderedDict()
        self._newest_ns: OrderedDict[str, int] = OrderedDict()
        self._clients: OrderedDict[tuple[str, int], NodeClocks] = OrderedDict()
        """By address, and by the hash of the resource, which would be kept for long otherwise."""

    def heard(self, server: str, at_ns: int) -> None:
        """Take note of when a server took a query, by its clock."""
        newest_ns = self._newest_ns
        if at_ns > newest_ns.get(server, 0):
            newest_ns[server] = at_ns
            if len(newest_ns) > _MAX_HEARD:
                newest_ns.popitem(last=False)

    def clocks_of(self, lookup: Lookup) -> NodeClocks:
        """Return the clocks against that of a lookup's node."""
        if self._agreeing is not None:
            return self._agreeing
        key = lookup.client, hash(lookup.span.origin.resource)
        clocks = self._clients.get(key)
        if clocks is None:
            node = node_of(lookup)
            clocks = self._nodes.get(node)
            if clocks is None:
                clocks = self._nodes[node] = NodeClocks(self._newest_ns)
                if len(self._nodes) > MAX_NODES:
                    self._nodes.popitem(last=False)
            self._clients[key] = clocks
            if len(self._clients) > _MAX_CLIENTS:
                self._clients.popitem(last=False)
        return clocks


def bounds_of(trace: ServerTrace, query: ClientQuery) -> tuple[int, int]:
    """Return between what the offset lies, by an exact pair, as NTP has it (RFC 5905, section 8).

    Args:
        trace: the server's sight of the query, by its own clock.
        query: the client's.
    """
    return query.start_ns - trace.root.start_ns, query.end_ns - trace.answer_ns


def node_of(lookup: Lookup) -> str:
    """Return whose clock a lookup's times are by: its node's, else its address's."""
    attributes = otlp.resource_attributes(lookup.span.origin.resource)
    node = attributes.get(semconv.K8S_NODE_NAME)
    return node[:_MAX_TEXT] if isinstance(node, str) and node else lookup.client


def moved(trace: ServerTrace, by_ns: int) -> ServerTrace:
    """Copy a server trace with its times moved to the client's clock."""
    if not by_ns:
        return trace
    spans = tuple(otlp.move(span, by_ns) for span in trace.spans)
    return replace(
        trace,
        root=spans[0],
        spans=spans,
        asked_ns=trace.asked_ns + by_ns if trace.asked_ns else 0,
        sent_ns=trace.sent_ns + by_ns if trace.sent_ns else 0,
    )


def _start_order(waiting: "WaitingLookup") -> tuple[int, bytes, bytes]:
    span = waiting.lookup.span
    return span.start_ns, span.trace_id, span.span_id
