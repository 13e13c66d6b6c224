"""From hop to hop: the server trace that another server's own query caused.

A cache on the node asks the cluster's DNS, which asks an upstream: the second server sees the
first one's address as its client. Its server trace lies within the ``connect`` span of the first
that has the same question. An address that fits there again and again is that server's; one that
fits now and then, as any busy client does by chance, is not.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from otel_dns import semconv
from otel_dns.join.waiting import Slots, WaitingTrace
from otel_dns.model import ROUNDING_NS, Message, ServerTrace, Slice, Span
from otel_dns.wire import MalformedError, otlp

MAX_HOPS: Final = 8
_ENOUGH: Final = 8
"""Exchanges with an upstream after which its address is known or is not."""
_OFTEN: Final = 0.3
_MAX_PEERS: Final = 10_000
_REMEMBERED: Final = 1_000
_NEW: Final = 0.9
_AMBIGUOUS: Final = 0.5
_LATE_END_NS: Final = 10_000_000
"""So long after its answer has gone CoreDNS's span of it may end, on a busy machine."""


class Below(NamedTuple):
    """A server trace under another's ``connect``."""

    connect: Span
    trace: WaitingTrace
    confidence: float
    known: bool
    """Whether its client's address is known for the first server's own."""


class _Peer:
    """What was seen of one server's exchanges with one upstream."""

    __slots__ = ("by_client", "exchanges")

    def __init__(self) -> None:
        self.exchanges = 0
        self.by_client: dict[str, int] = {}

    def learn(self, clients: Sequence[str]) -> None:
        self.exchanges += 1
        for client in clients:
            if client in self.by_client or len(self.by_client) < 64:
                self.by_client[client] = self.by_client.get(client, 0) + 1
        if self.exchanges > _REMEMBERED:
            self.exchanges //= 2
            self.by_client = {one: n // 2 for one, n in self.by_client.items() if n > 1}

    def trust(self, client: str) -> float:
        """How sure it is that this address is the server's own; 0 when it is not."""
        if self.exchanges < _ENOUGH:
            return _NEW
        share = self.by_client.get(client, 0) / self.exchanges
        return 1.0 if share >= _OFTEN else 0.0 if share < _OFTEN / 10 else _NEW


class Hops:
    """Finds the next hop."""

    def __init__(self, slots: Slots, tolerance_ns: int) -> None:
        self._slots = slots
        self._tolerance_ns = tolerance_ns
        self._peers: OrderedDict[tuple[bytes, str], _Peer] = OrderedDict()

    def below(
        self, trace: ServerTrace, skew_ns: int = 0, forwarded: Iterable[Message] = ()
    ) -> Iterator[Below]:
        """Find the server traces that a server trace's own queries caused, each at most once.

        Args:
            trace: on the client's clock.
            skew_ns: what it was moved by to be there; the next server's are moved by as much, as
                nothing is known of the clocks of servers among each other.
            forwarded: the server's messages to its upstreams and theirs, where they are there: what
                it asked may be another name than what it was asked (rewrite, autopath, a CNAME's
                target), and only they tell.
        """
        taken: set[WaitingTrace] = set()
        questions = {(trace.name, trace.type): None}
        for message in forwarded:
            if message.kind in {"FQ", "FR"}:
                questions[message.name, message.type] = None
        for connect in trace.spans:
            if connect.name != semconv.CONNECT_SPAN:
                continue
            waiting = [one for question in questions for one in self._slots.asking(*question)]
            if not waiting:
                return
            fitting = [
                one for one in waiting if one not in taken and self._fits(one, connect, skew_ns)
            ]
            fitting = [one for one in fitting if not self._is_known_client(one, trace)]
            peer = self._peer(trace, connect)
            peer.learn([one.slot.key[0] for one in fitting if one.slot is not None])
            found = self._choose(fitting, connect, peer, waiting, skew_ns)
            if found is not None:
                taken.add(found.trace)
                yield found

    def _choose(
        self,
        fitting: Sequence[WaitingTrace],
        connect: Span,
        peer: _Peer,
        waiting: Sequence[WaitingTrace],
        skew_ns: int,
    ) -> Below | None:
        trusted = []
        for one in fitting:
            trust = peer.trust(one.slot.key[0]) if one.slot is not None else 0.0
            # An address not known yet is taken only if it fits without any tolerance.
            if trust == 1 or (trust and self._fits(one, connect, skew_ns, ROUNDING_NS)):
                trusted.append(
                    (-trust, abs(one.start_ns + skew_ns - connect.start_ns), str(one.key), one)
                )
        if not trusted:
            return None
        trust, _, _, nearest = min(trusted)
        trusted = [one for one in trusted if one[0] == trust]
        rivals = sum(
            self._fits(nearest, span, 0)
            for one in waiting
            if one is not nearest
            for span in one.spans.values()
            if span.name == semconv.CONNECT_SPAN
        )
        if len(trusted) > 1 or rivals:
            return Below(connect, nearest, _AMBIGUOUS, trust == -1)
        return Below(connect, nearest, -trust, trust == -1)

    def _fits(
        self, waiting: WaitingTrace, connect: Span, skew_ns: int, tolerance_ns: int | None = None
    ) -> bool:
        header = waiting.header
        if header is None:
            return False
        late_ns = tolerance_ns
        if tolerance_ns is None:
            tolerance_ns = self._tolerance_ns
            late_ns = tolerance_ns if header.sent_ns else _LATE_END_NS
        start_ns = header.root.start_ns + skew_ns
        return (
            connect.start_ns - tolerance_ns <= start_ns <= connect.end_ns
            and header.answer_ns + skew_ns <= connect.end_ns + (late_ns or 0)
        )

    @staticmethod
    def _is_known_client(waiting: WaitingTrace, above: ServerTrace) -> bool:
        slot = waiting.slot
        return slot is None or bool(slot.lookups) or slot.key[0] == above.client

    def _peer(self, trace: ServerTrace, connect: Span) -> _Peer:
        try:
            address = otlp.attributes_of(connect.raw).get(semconv.PEER_ADDRESS)
        except MalformedError:
            address = None
        key = (trace.root.origin.resource, address if isinstance(address, str) else "")
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = _Peer()
            if len(self._peers) > _MAX_PEERS:
                self._peers.popitem(last=False)
        return peer


def spliced(above: Sequence[Slice], connect: Span, below: Sequence[Slice]) -> list[Slice]:
    """Put a hop's own time in the place where the hop before it waited for it.

    Returns:
        The line of the hop above: where it was in ``connect``, whoever owned the time below.
    """
    line: list[Slice] = []
    for piece in above:
        if piece.span is not connect:
            line.append(piece)
            continue
        position = piece.start_ns
        for inner in below:
            start_ns, end_ns = max(inner.start_ns, position), min(inner.end_ns, piece.end_ns)
            if end_ns <= start_ns:
                continue
            if start_ns > position:
                line.append(Slice(position, start_ns, connect))
            line.append(Slice(start_ns, end_ns, inner.span))
            position = end_ns
        if position < piece.end_ns:
            line.append(Slice(position, piece.end_ns, connect))
    return line
