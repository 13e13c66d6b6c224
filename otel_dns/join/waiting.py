"""What waits in the join: lookups, server traces in the making, and the slots where they meet.

A lookup asks each of its candidates once for each type. Each (client address, name, type) is a
*slot*; a server trace falls into the slot that its question names, whatever arrives first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join import exchange
from otel_dns.join.clocks.skew import NodeClocks
from otel_dns.join.recognise import server_trace_of
from otel_dns.marks import begins
from otel_dns.model import ClientQuery, JoinedTrace, Lookup, Message, ServerTrace, Span

Identity = tuple[bytes, bytes]
"""Trace and span id: what makes a lookup delivered twice the same."""

SlotKey = tuple[str, str, str]
"""Client address, normalised name, type."""


def _span_order(span: Span) -> tuple[int, int, bytes]:
    # Of those that start in one microsecond, as a third of CoreDNS's traces have, the longer ones
    # are around the others.
    return span.start_ns, -span.end_ns, span.span_id


class WaitingLookup(Struct, eq=False):
    """A lookup that waits for its server traces to arrive."""

    lookup: Lookup
    due_ns: int
    clocks: NodeClocks
    """The servers' clocks against its own."""
    candidates: dict[SlotKey, list[int]] = field(default_factory=dict)
    """Its slots, each with the candidates that it is asked for: more than one where the search
    list repeats itself."""
    queries: dict[bytes, ClientQuery] = field(default_factory=dict)
    """What the client saw of its queries itself, by span id."""
    claimed: dict["WaitingTrace", "Claim"] = field(default_factory=dict)
    """Server traces that are its own for sure."""
    behind: dict["WaitingTrace", ClientQuery | None] = field(default_factory=dict)
    """Of these, those of servers that were asked by others, each with its own query."""
    traces: list[JoinedTrace] = field(default_factory=list)
    explained: bool = False
    """Its first query was at a server just when it should have been."""
    clocks_known: bool = True
    """Whether it was known how the clocks differ when it was joined by time."""
    claims_confidence: float = 1.0
    """How sure its claims by letter case are."""
    hops_confidence: float = 1.0
    """How sure the server traces behind the first server's are."""
    spans_lost: bool = False
    """A server traced one of its queries, and the spans did not come."""
    apart: bool = False
    """Its server traces stay in traces of their own."""
    inherited_doubt: float = 0.0
    """Odds of exchanges with rivals that have left with what they were given."""
    crowd: int = 0
    """How many lookups of the same started with it; 0 where they are few."""
    inherited_partners: int = 0
    """Rivals that have left and with which it is interchangeable."""
    size: int = 0
    """Bytes held, about."""
    requests: tuple[int, ...] = ()
    """Numbers of the requests that it came with."""
    found_names: list[str] = field(default_factory=list)
    """What servers saw, where the lookup does not tell its name."""
    identity: Identity = (b"", b"")
    """What makes a lookup delivered twice the same."""

    def __post_init__(self) -> None:
        lookup = self.lookup
        self.identity = lookup.span.trace_id, lookup.span.span_id
        for candidate, name in enumerate(lookup.candidates if lookup.client else ()):
            for type_ in lookup.types:
                self.candidates.setdefault((lookup.client, name, type_), []).append(candidate)
        for query in lookup.queries:
            self.queries[query.span_id] = query

    def candidate_of(self, name: str) -> int:
        """Return which candidate a query was for; the last for a name that is none."""
        names: Sequence[str] = self.lookup.candidates
        if not self.lookup.name:
            names = self.found_names
            if name not in names:
                self.found_names.append(name)
        return names.index(name) if name in names else max(len(names) - 1, 0)

    def apart_ns(self, at_ns: int) -> int:
        """How far a moment is outside its time, 0 within."""
        return max(self.lookup.start_ns - at_ns, at_ns - self.lookup.end_ns, 0)

    def may_ask(self, header: ServerTrace) -> bool:
        """Whether a query is one that this lookup makes, as far as it tells."""
        lookup = self.lookup
        return (
            lookup.client in {"", header.client}
            and (not lookup.name or header.name in lookup.candidates)
            and header.type in lookup.types
        )

    def excludes(self, trace: "WaitingTrace") -> bool:
        """Whether the wire says that a server trace is none of its own.

        Another port or id, or a name that does not carry this lookup's mark.
        """
        if not self.lookup.marked and not self.queries:
            return False
        header = trace.header
        if header is None:
            return False
        if self.lookup.marked and header.asked and not begins(header.asked, self.lookup.marked):
            return True
        if not self.queries or not header.client_port:
            return False
        ports = {query.client_port for query in self.queries.values()}
        return 0 not in ports and header.client_port not in ports


class Claim(NamedTuple):
    """That a server trace is a lookup's for sure."""

    owner: WaitingLookup
    method: str
    """``semconv.METHOD_...``."""
    query: ClientQuery | None


class WaitingTrace(Struct, eq=False):
    """A server trace that waits: for the rest of its spans and messages, then for its lookup."""

    key: Hashable
    """The trace id that CoreDNS gave (16 bytes); without one, what tells the query from others."""
    expires_ns: int
    spans: dict[bytes, Span] = field(default_factory=dict)
    """By span id, so a span delivered twice is held once."""
    messages: list[Message] = field(default_factory=list)
    slot: "Slot | None" = None
    claim: Claim | None = None
    disputed: bool = False
    """Several lookups could have caused it as a retry: it is none's, now and later."""
    size: int = 0
    """Bytes held, about."""
    skew_ns: int = 0
    """What is added to its times to bring them to its client's clock."""
    requests: tuple[int, ...] = ()
    """Numbers of the requests that its spans and messages came with."""
    _rooted: ServerTrace | None = None
    _header: ServerTrace | None = None

    def add_root(self, root: Span) -> None:
        """Take CoreDNS's own root span.

        Raises:
            MalformedError: its attributes are broken.
        """
        self._rooted = server_trace_of(root)
        self._header = None

    def add_message(self, message: Message) -> None:
        """Take a message of this query."""
        self.messages.append(message)
        self._header = None

    def give(self, claim: Claim | None) -> None:
        """Let a claim take the place of the one before, if there was any."""
        if self.claim is not None:
            del self.claim.owner.claimed[self]
        self.claim = claim
        if claim is not None:
            claim.owner.claimed[self] = claim

    def take(self, spans: Iterable[Span]) -> int:
        """Take spans away that are sent on by themselves.

        Returns:
            Their bytes.
        """
        size = 0
        for span in spans:
            del self.spans[span.span_id]
            size += len(span.raw)
            if self._rooted is not None and self._rooted.root is span:
                self._rooted = self._header = None
        return size

    @property
    def rooted(self) -> bool:
        """Whether CoreDNS's own root span is there."""
        return self._rooted is not None

    @property
    def carries_context(self) -> bool:
        """Whether the query says whose it is: then it is not for guesses, whoever that may be."""
        return bool(self.messages) and any(one.carried is not None for one in self.messages)

    @property
    def header(self) -> ServerTrace | None:
        """What is known of the query by now; its only span is the root, or one made of messages.

        Nothing until a root span or a message of the client's side is there.
        """
        header = self._header
        if header is None:
            if self._rooted is not None:
                header = self._rooted
                if self.messages:
                    header = exchange.completed(header, self.messages)
            elif self.messages:
                trace_id = self.key if isinstance(self.key, bytes) else b""
                header = exchange.server_trace(self.messages, trace_id)
            self._header = header
        return header

    @property
    def start_ns(self) -> int:
        """Start, nanoseconds since the epoch, by the server's clock; needs the header."""
        header = self._header or self.header
        assert header is not None
        return header.root.start_ns

    @property
    def at_ns(self) -> int:
        """Start by its client's clock."""
        header = self._header or self.header
        assert header is not None
        return header.root.start_ns + self.skew_ns

    @property
    def server(self) -> str:
        """Which server's clock its times are by."""
        header = self._header or self.header
        return header.server if header is not None else ""

    @property
    def spans_lost(self) -> bool:
        """Whether its messages have the id of a trace of which no root span has come."""
        return self._rooted is None and isinstance(self.key, bytes)

    def complete(self) -> ServerTrace:
        """Return the trace with all that has come."""
        header = self.header
        assert header is not None
        root = header.root
        others = [span for span in self.spans.values() if span is not root]
        if self.messages and not any(span.name == semconv.CONNECT_SPAN for span in others):
            others += exchange.forwarded(self.messages, root)
        others.sort(key=_span_order)
        return replace(header, spans=(root, *others))


class Slot(Struct, eq=False):
    """All that waits for one client, name and type."""

    key: SlotKey
    lookups: dict[WaitingLookup, None] = field(default_factory=dict)
    traces: dict[WaitingTrace, None] = field(default_factory=dict)
    clocks: NodeClocks | None = None
    """Those of its lookups; nothing while there are none."""
    _version: int = 0
    _lookups_sorted: list[WaitingLookup] | None = None
    _longest_ns: int = 0
    _traces_sorted: list[WaitingTrace] | None = None
    _clocks_version: int = 0

    @property
    def version(self) -> int:
        """Changes when something is added, and when server traces are moved in time."""
        return self._version + (self.clocks.version if self.clocks is not None else 0)

    def lookups_between(self, start_ns: int, end_ns: int) -> list[WaitingLookup]:
        """Return the lookups that ran in a stretch of time, in order of start."""
        if len(self.lookups) == 1:
            return list(self.lookups)
        found = self._sorted_lookups()
        first = bisect_left(found, start_ns - self._longest_ns, key=_lookup_start)
        last = bisect_right(found, end_ns, key=_lookup_start)
        return [one for one in found[first:last] if one.lookup.end_ns >= start_ns]

    def traces_between(self, start_ns: int, end_ns: int) -> list[WaitingTrace]:
        """Return the server traces that started in a stretch of time, in order of start."""
        found = self._sorted_traces()
        if len(found) == 1:
            return found[:] if start_ns <= found[0].at_ns <= end_ns else []
        first = bisect_left(found, start_ns, key=_trace_start)
        return found[first : bisect_right(found, end_ns, lo=first, key=_trace_start)]

    def until(self, end_ns: int) -> tuple[int, int, int]:
        """Count what started up to a time.

        Returns:
            Server traces, lookups, and how far apart the first and the last server trace are.
        """
        if not self.traces:
            return 0, 0, 0
        traces = self._sorted_traces()
        number = bisect_right(traces, end_ns, key=_trace_start)
        span_ns = traces[number - 1].at_ns - traces[0].at_ns if number else 0
        if len(self.lookups) == 1:
            return number, 1, span_ns
        return number, bisect_right(self._sorted_lookups(), end_ns, key=_lookup_start), span_ns

    def surplus(self, end_ns: int) -> int:
        """Return how many more server traces than lookups there are up to a time."""
        traces, lookups, _ = self.until(end_ns)
        return traces - lookups

    def _sorted_lookups(self) -> list[WaitingLookup]:
        found = self._lookups_sorted
        if found is None:
            found = self._lookups_sorted = sorted(self.lookups, key=_lookup_start)
            self._longest_ns = max(
                (one.lookup.end_ns - one.lookup.start_ns for one in found), default=0
            )
        return found

    def _sorted_traces(self) -> list[WaitingTrace]:
        found = self._traces_sorted
        clocks = self.clocks
        if (
            clocks is not None
            and clocks.version
            and (found is None or self._clocks_version != clocks.version)
        ):
            for trace in self.traces:
                trace.skew_ns = clocks.offset_ns(trace.server, trace.start_ns)
            self._clocks_version = clocks.version
            found = None
        if found is None:
            found = self._traces_sorted = list(self.traces)
            if len(found) > 1:
                found.sort(key=_trace_start)
        return found

    def add_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup wait here."""
        self.lookups[waiting] = None
        self.clocks = waiting.clocks
        self._version += 1
        self._lookups_sorted = None

    def remove_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup leave."""
        del self.lookups[waiting]
        self._lookups_sorted = None

    def add_trace(self, waiting: WaitingTrace) -> None:
        """Let a server trace wait here."""
        self.traces[waiting] = None
        self._version += 1
        self._traces_sorted = None

    def remove_trace(self, waiting: WaitingTrace) -> None:
        """Let a server trace leave."""
        del self.traces[waiting]
        self._traces_sorted = None


class Slots:
    """All slots in which something waits."""

    def __init__(self) -> None:
        self._slots: dict[SlotKey, Slot] = {}
        self._questions: dict[tuple[str, str], dict[WaitingTrace, None]] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, key: SlotKey) -> Slot:
        return self._slots[key]

    def get(self, key: SlotKey) -> Slot | None:
        """Return a slot if something waits in it."""
        return self._slots.get(key)

    def add_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup wait in all of its slots."""
        for key in waiting.candidates:
            self._at(key).add_lookup(waiting)

    def remove_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup leave."""
        for key in waiting.candidates:
            slot = self._slots[key]
            slot.remove_lookup(waiting)
            if not slot.lookups and not slot.traces:
                del self._slots[key]

    def add_trace(self, waiting: WaitingTrace) -> None:
        """Let a server trace wait in its question's slot, which may have changed."""
        told: Message | ServerTrace | None = None
        for message in waiting.messages:
            if message.kind in {"CQ", "CR"}:
                told = message
                break
        told = told or waiting.header
        assert told is not None
        key = (told.client, told.name, told.type)
        if waiting.slot is not None:
            if waiting.slot.key == key:
                return
            self.remove_trace(waiting)
        slot = waiting.slot = self._at(key)
        slot.add_trace(waiting)
        self._questions.setdefault(key[1:], {})[waiting] = None

    def remove_trace(self, waiting: WaitingTrace) -> None:
        """Let a server trace leave, if it is there."""
        slot = waiting.slot
        if slot is None:
            return
        waiting.slot = None
        slot.remove_trace(waiting)
        asking = self._questions[slot.key[1:]]
        del asking[waiting]
        if not asking:
            del self._questions[slot.key[1:]]
        if not slot.lookups and not slot.traces:
            del self._slots[slot.key]

    def asking(self, name: str, type_: str) -> list[WaitingTrace]:
        """Return the server traces of a question, whoever asked it."""
        return list(self._questions.get((name, type_), ()))

    def of(self, waiting: WaitingLookup) -> Iterator[Slot]:
        """Go through a lookup's slots, in the order in which the resolver fills them."""
        for key in waiting.candidates:
            yield self._slots[key]

    def _at(self, key: SlotKey) -> Slot:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot(key)
        return slot


def _lookup_start(waiting: WaitingLookup) -> int:
    return waiting.lookup.span.start_ns


def _trace_start(waiting: WaitingTrace) -> int:
    return waiting.at_ns
