"""From hop to hop: the server trace that another server's own query caused.

A cache on the node asks the cluster's DNS, which asks an upstream: the second server sees the
first one's address as its client. Its server trace lies within the ``connect`` span of the first
that has the same question. An address that fits there again and again is that server's; one that
fits now and then, as any busy client does by chance, is not. Where the clocks of the two differ,
what fits is known once their offset is (:mod:`otel_dns.join.clocks.servers`).
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from otel_dns import semconv
from otel_dns.join import exchange
from otel_dns.join.clocks.servers import LEFT_ALONE_NS, REACH_NS, ServerClocks, Stretch
from otel_dns.join.waiting import Slots, WaitingTrace
from otel_dns.model import ROUNDING_NS, Message, ServerTrace, Slice, Span
from otel_dns.wire import MalformedError, otlp

MAX_HOPS: Final = 8
_ENOUGH: Final = 8
"""Exchanges with an upstream after which its address is known or is not."""
_OFTEN: Final = 0.3
_MAX_PEERS: Final = 10_000
_MAX_ADDRESS: Final = 255
"""Characters of an upstream's address that are looked at."""
_REMEMBERED: Final = 1_000
_NEW: Final = 0.9
_AMBIGUOUS: Final = 0.5
_LATE_END_NS: Final = 10_000_000
"""So long after its answer has gone CoreDNS's span of it may end, on a busy machine."""
_CROWD: Final = 64
"""Of so many server traces of one question nothing is learned of clocks, and not which is behind
which: any would fit some."""
_SURVEYED: Final = 2_000
_SURVEY: Final = 16
"""Exchanges that are enough to find an offset by, and server traces among which they are looked
for."""


class Below(NamedTuple):
    """A server trace under another's ``connect``."""

    connect: Span
    trace: WaitingTrace
    skew_ns: int
    """What is to be added to its times to bring them to the client's clock."""
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

    def forget(self) -> None:
        """Begin anew: what fitted did so by clocks that were not right."""
        self.exchanges = 0
        self.by_client.clear()

    def trust(self, client: str) -> float:
        """How sure it is that this address is the server's own; 0 when it is not."""
        if self.exchanges < _ENOUGH:
            return _NEW
        share = self.by_client.get(client, 0) / self.exchanges
        return 1.0 if share >= _OFTEN else 0.0 if share < _OFTEN / 10 else _NEW


class Hops:
    """Finds the next hop."""

    def __init__(
        self,
        slots: Slots,
        tolerance_ns: int,
        waiting: Iterable[WaitingTrace] = (),
        *,
        follow_clocks: bool = True,
    ) -> None:
        """Know where to look.

        Args:
            slots: where server traces wait, by their questions.
            tolerance_ns: how far apart the times of two clocks that agree may be.
            waiting: all server traces that wait, the oldest first.
            follow_clocks: whether the clocks of servers may differ by more.
        """
        self._slots = slots
        self._tolerance_ns = tolerance_ns
        self._waiting = waiting
        self._clocks = ServerClocks() if follow_clocks else None
        self._peers: OrderedDict[tuple[int, str], _Peer] = OrderedDict()
        """By the hash of the server's resource and the upstream's address."""

    def below(
        self,
        trace: ServerTrace,
        skew_ns: int = 0,
        forwarded: Iterable[Message] = (),
        carried: Collection[WaitingTrace] = (),
    ) -> Iterator[Below]:
        """Find the server traces that a server trace's own queries caused, each at most once.

        Args:
            trace: on the client's clock.
            skew_ns: what it was moved by to be there.
            forwarded: the server's messages to its upstreams and theirs, where they are there: what
                it asked may be another name than what it was asked (rewrite, autopath, a CNAME's
                target), and only they tell.
            carried: server traces of which it is known that they are of the same lookup, as their
                queries carried its context; taken from when they are found.
        """
        taken: set[WaitingTrace] = set()
        questions = {(trace.name, trace.type): None}
        for message in forwarded:
            if message.kind in {"FQ", "FR"}:
                questions[message.name, message.type] = None
        connects = [span for span in trace.spans if span.name == semconv.CONNECT_SPAN]
        for connect in connects:
            waiting = [one for question in questions for one in self._slots.asking(*question)]
            sure = [one for one in carried if _question(one) in questions]
            if not waiting and not sure:
                return
            left = [one for one in waiting if one not in taken]
            left = [one for one in left if not self._is_known_client(one, trace)]
            asked = _Asked(trace.server, connect, skew_ns)
            peer = self._peer(trace, connect)
            if self._clocks is not None and self._learn(self._clocks, asked, (*left, *sure)):
                peer.forget()
            fitting = self._direct([one for one in (*left, *sure) if self._fits(one, asked)])
            peer.learn([one.slot.key[0] for one in fitting if one.slot is not None])
            found = self._carried(fitting, asked, sure, alone=len(connects) == 1)
            if found is None:
                found = self._choose(fitting, asked, peer, waiting)
            if found is not None:
                taken.add(found.trace)
                yield found

    def _carried(
        self,
        fitting: Sequence[WaitingTrace],
        asked: "_Asked",
        sure: Sequence[WaitingTrace],
        *,
        alone: bool,
    ) -> Below | None:
        """Choose by the context that the query carried.

        Of a server that asked once it is that exchange, also by clocks that are not right.
        """
        found = [one for one in fitting if one in sure] or (sure if alone else [])
        if len(found) != 1:
            return None
        (one,) = found
        return Below(asked.connect, one, self._skew_ns(asked, one), 1.0, known=True)

    def _choose(
        self,
        fitting: Sequence[WaitingTrace],
        asked: "_Asked",
        peer: _Peer,
        waiting: Sequence[WaitingTrace],
    ) -> Below | None:
        trusted = []
        for one in fitting:
            trust = peer.trust(one.slot.key[0]) if one.slot is not None else 0.0
            skew_ns = self._skew_ns(asked, one)
            # An address not known yet is taken only if it fits without any tolerance.
            strict_ns = LEFT_ALONE_NS if skew_ns != asked.skew_ns else ROUNDING_NS
            if trust == 1 or (trust and self._fits(one, asked, strict_ns)):
                trusted.append(
                    (
                        -trust,
                        abs(one.start_ns + skew_ns - asked.connect.start_ns),
                        str(one.key),
                        one,
                    )
                )
        if not trusted:
            return None
        trust, _, _, nearest = min(trusted)
        trusted = [one for one in trusted if one[0] == trust]
        skew_ns = self._skew_ns(asked, nearest)
        ambiguous = len(trusted) > 1 or self._is_anothers(nearest, waiting)
        confidence = _AMBIGUOUS if ambiguous else -trust
        return Below(asked.connect, nearest, skew_ns, confidence, trust == -1)

    def _is_anothers(self, nearest: WaitingTrace, waiting: Sequence[WaitingTrace]) -> bool:
        """Whether an exchange of a server trace that waits may have caused it as well."""
        return any(
            self._fits(nearest, _Asked(one.server, span, 0))
            for one in waiting
            if one is not nearest
            for span in one.spans.values()
            if span.name == semconv.CONNECT_SPAN
        )

    def _direct(self, fitting: list[WaitingTrace]) -> list[WaitingTrace]:
        """Leave out what another one's exchange caused: it is behind that one."""
        if not 1 < len(fitting) <= _CROWD:
            return fitting
        return [
            one
            for one in fitting
            if not any(
                self._fits(one, _Asked(other.server, connect, 0))
                for other in fitting
                if other is not one
                for connect in _connects(other)
            )
        ]

    def _skew_ns(self, asked: "_Asked", below: WaitingTrace) -> int:
        if self._clocks is None:
            return asked.skew_ns
        return asked.skew_ns + self._clocks.offset_ns(asked.server, below.server)

    def _fits(
        self, waiting: WaitingTrace, asked: "_Asked", tolerance_ns: int | None = None
    ) -> bool:
        header = waiting.header
        if header is None:
            return False
        connect, skew_ns = asked.connect, self._skew_ns(asked, waiting)
        late_ns = tolerance_ns
        if tolerance_ns is None:
            tolerance_ns = self._tolerance_ns
            late_ns = tolerance_ns if header.sent_ns else _LATE_END_NS
        start_ns = header.root.start_ns + skew_ns
        return (
            connect.start_ns - tolerance_ns <= start_ns <= connect.end_ns
            and header.answer_ns + skew_ns <= connect.end_ns + (late_ns or 0)
        )

    # -- clocks --------------------------------------------------------------------------------

    def _learn(
        self, clocks: ServerClocks, asked: "_Asked", waiting: Sequence[WaitingTrace]
    ) -> bool:
        """Learn of the clocks by what an exchange may have caused; whether an offset changed."""
        changed = False
        for (server, client), stretches in _stretches(asked, waiting).items():
            if clocks.look(asked.server, server, client, stretches):
                changed = True
                continue
            offset_ns = clocks.offset_ns(asked.server, server)
            missed = not any(one.holds(offset_ns) for one in stretches)
            if missed and clocks.is_news(asked.server, server):
                changed |= clocks.settle(asked.server, server, self._survey(asked, server, client))
        return changed

    def _survey(self, asked: "_Asked", server: str, client: str) -> list[Sequence[Stretch]]:
        """Gather the exchanges that wait between two servers, the oldest first."""
        found: list[Sequence[Stretch]] = []
        for one in islice(self._waiting, _SURVEYED):
            header = one.header
            if header is None or one.server != asked.server:
                continue
            waiting = self._slots.asking(header.name, header.type)
            if len(waiting) < 2:
                continue
            for connect in _connects(one):
                stretches = _stretches(_Asked(asked.server, connect, 0), waiting)
                if (server, client) in stretches:
                    found.append(stretches[server, client])
            if len(found) >= _SURVEY:
                break
        return found

    @staticmethod
    def _is_known_client(waiting: WaitingTrace, above: ServerTrace) -> bool:
        slot = waiting.slot
        return slot is None or bool(slot.lookups) or slot.key[0] == above.client

    def _peer(self, trace: ServerTrace, connect: Span) -> _Peer:
        try:
            address = otlp.attributes_of(connect.raw).get(semconv.PEER_ADDRESS)
        except MalformedError:
            address = None
        address = address[:_MAX_ADDRESS] if isinstance(address, str) else ""
        key = hash(trace.root.origin.resource), address
        peer = self._peers.get(key)
        if peer is None:
            peer = self._peers[key] = _Peer()
            if len(self._peers) > _MAX_PEERS:
                self._peers.popitem(last=False)
        return peer


class _Asked(NamedTuple):
    """An exchange with an upstream."""

    server: str
    connect: Span
    skew_ns: int
    """What its times were moved by."""


def _question(waiting: WaitingTrace) -> tuple[str, str]:
    header = waiting.header
    return (header.name, header.type) if header is not None else ("", "")


def _connects(waiting: WaitingTrace) -> list[Span]:
    """Return the exchanges of a server trace that waits, as its spans or its messages tell."""
    spans = [span for span in waiting.spans.values() if span.name == semconv.CONNECT_SPAN]
    if spans or not waiting.messages or waiting.header is None:
        return spans
    return exchange.forwarded(waiting.messages, waiting.header.root)


def _stretches(
    asked: _Asked, waiting: Sequence[WaitingTrace]
) -> dict[tuple[str, str], list[Stretch]]:
    """Return between what the offset lies, for each server trace that an exchange may have caused.

    By server and client.
    """
    found: dict[tuple[str, str], list[Stretch]] = {}
    since_ns, until_ns = (
        asked.connect.start_ns - asked.skew_ns,
        asked.connect.end_ns - asked.skew_ns,
    )
    number = 0
    for one in waiting:
        header = one.header
        if header is None or header.server == asked.server:
            continue
        start_ns, answer_ns = header.root.start_ns, header.answer_ns
        late_ns = 0 if header.sent_ns else _LATE_END_NS
        if (
            abs(since_ns - start_ns) > REACH_NS
            or answer_ns - start_ns > until_ns - since_ns + late_ns
        ):
            continue
        number += 1
        if number > _CROWD:
            return {}
        stretch = Stretch(since_ns - start_ns, until_ns - answer_ns)
        found.setdefault((header.server, header.client), []).append(stretch)
    return found


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
