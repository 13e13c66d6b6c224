"""What the join holds: lookups and server traces that wait, what finds them, and how much it is."""

from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Sequence
from typing import Final

from otel_dns.join.by_case import ByCase
from otel_dns.join.came_with import CameWith
from otel_dns.join.ladder import Ladder, wire_key
from otel_dns.join.leaving import Destination, Leaving, Released
from otel_dns.join.reentry import Reentries
from otel_dns.join.settings import JoinSettings
from otel_dns.join.waiting import Identity, Slots, WaitingLookup, WaitingTrace
from otel_dns.model import Message, Span

OWN_TRACE: Final = bytes(8)
"""How a trace id begins that CoreDNS gave: its own have 64 bits."""
MAX_MESSAGES: Final = 256
"""Messages of one query that are kept: two of its own, two for every attempt at an upstream."""
_LOOKUP_BYTES: Final = 2_500
_SLOT_BYTES: Final = 250
_TRACE_BYTES: Final = 1_700
_SPAN_BYTES: Final = 400
_MESSAGE_BYTES: Final = 700
"""What is held for each beside its own bytes, about."""


class Held:
    """The join's tables. Whatever comes in or leaves does so in all of them at once."""

    def __init__(self, settings: JoinSettings) -> None:
        self.settings = settings
        self.counts: defaultdict[str, int] = defaultdict(int)
        """Exits by name, in spans or messages of the kind the name says."""
        self.lookups: OrderedDict[Identity, WaitingLookup] = OrderedDict()
        """By trace and span id, in the order in which they are due."""
        self.traces: OrderedDict[Hashable, WaitingTrace] = OrderedDict()
        """By key, in the order in which they expire."""
        self.soon: dict[WaitingTrace, int] = {}
        """Of these, those of silent clients, each with the time until which it waits."""
        self.slots = Slots()
        self.by_case = ByCase(self.slots, settings.tolerance_ns)
        self.ladder = Ladder(self.by_case, self.lookups)
        self.reentries = Reentries()
        self.came_with = CameWith()
        """Of which requests the things held are; whoever wants to know says which one comes."""
        self.leaving = Leaving(self.counts)
        self.server_spans = 0
        """Server spans and messages held."""
        self.messages = 0
        self.bytes = 0
        """About."""

    @property
    def too_many_traces(self) -> bool:
        """Whether server traces have to leave for want of room."""
        return (
            self.server_spans > self.settings.max_server_spans
            or self.bytes > self.settings.max_bytes
        )

    # -- lookups ---------------------------------------------------------------------------------

    def add_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup wait."""
        self.lookups[waiting.identity] = waiting
        slots = len(waiting.candidates)
        waiting.size = len(waiting.lookup.span.raw) + _LOOKUP_BYTES + _SLOT_BYTES * slots
        waiting.requests = self.came_with.more(())
        self.bytes += waiting.size
        waiting.clocks.add(waiting)
        self.slots.add_lookup(waiting)
        self.ladder.add_lookup(waiting)

    def remove_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup leave; its slots it has left already, when it was decided."""
        identity = waiting.identity
        del self.lookups[identity]
        self.came_with.let_go(waiting.requests)
        self.leaving.resolved(identity, self.settings.max_remembered)
        self.ladder.remove_lookup(waiting)
        self.bytes -= waiting.size

    # -- server traces ---------------------------------------------------------------------------

    def new_trace(self, key: Hashable, now_ns: int) -> WaitingTrace:
        """Let a server trace wait, of which nothing is there yet."""
        waiting = WaitingTrace(key, now_ns + self.settings.trace_wait_ns)
        waiting.size = _TRACE_BYTES
        self.bytes += _TRACE_BYTES
        self.traces[key] = waiting
        return waiting

    def trace_of(self, message: Message, now_ns: int) -> WaitingTrace | None:
        """Find the server trace that a message is a piece of; nothing if that has left."""
        if message.trace_id and len(message.trace_id) == len(OWN_TRACE):
            key: Hashable = OWN_TRACE + message.trace_id
        else:
            key = (*wire_key(message), message.server, message.query_time_ns or message.time_ns)
        if self.leaving.has_left(key):
            return None
        waiting = self.traces.get(key)
        if waiting is None and not isinstance(key, bytes):
            waiting = self.ladder.same_query(message)
        return waiting or self.new_trace(key, now_ns)

    def grew(self, waiting: WaitingTrace, number: int, size: int) -> None:
        """Take note that a server trace got so many spans, with so many bytes."""
        size += number * _SPAN_BYTES
        self.server_spans += number
        waiting.size += size
        self.bytes += size

    def add_message(self, waiting: WaitingTrace, message: Message) -> None:
        """Let a message wait with its server trace."""
        waiting.add_message(message)
        self.messages += 1
        self.server_spans += 1
        waiting.size += _MESSAGE_BYTES
        self.bytes += _MESSAGE_BYTES
        self.ladder.add_message(waiting, message)

    def take_spans(self, shared: WaitingTrace, spans: Sequence[Span]) -> None:
        """Take a server's spans out of a client's own trace: they leave with its lookup."""
        self.grew(shared, -len(spans), -shared.take(spans))
        for span in spans:
            self.leaving.served(span, self.settings.max_remembered)

    def leave_rest(self, shared: WaitingTrace) -> None:
        """Let what is left of a client's own trace wait on; more of it may come."""
        if shared.header is None:
            self.slots.remove_trace(shared)
        self.came_with.pass_by(shared.requests)
        if not shared.spans:
            self.bytes -= shared.size
            self.came_with.let_go(shared.requests)
            del self.traces[shared.key]

    def remove_trace(self, waiting: WaitingTrace, destination: Destination | None = None) -> None:
        """Let a server trace leave, and remember where to."""
        del self.traces[waiting.key]
        self.soon.pop(waiting, None)
        self.came_with.let_go(waiting.requests)
        self.server_spans -= len(waiting.spans) + len(waiting.messages)
        self.messages -= len(waiting.messages)
        self.bytes -= waiting.size
        self.slots.remove_trace(waiting)
        if waiting.claim is not None:
            del waiting.claim.owner.claimed[waiting]
        if waiting.messages:
            self.ladder.remove_trace(waiting)
            self.reentries.remove(waiting)
        self.leaving.left(waiting.key, destination, self.settings.max_remembered)

    def release(self, waiting: WaitingTrace, reason: str) -> None:
        """Let a server trace leave as it came, for a reason that is counted."""
        self.remove_trace(waiting)
        spans = tuple(waiting.spans.values())
        if waiting.messages:
            self.counts[f"messages_{reason}"] += len(waiting.messages)
        if spans:
            self.counts[f"server_spans_{reason}"] += len(spans)
            trace = waiting.complete() if waiting.rooted else None
            self.leaving.outcomes.append(Released(spans, reason, trace))

    def merge(self, told: WaitingTrace, trace: WaitingTrace) -> None:
        """Let messages that made a server trace of their own be a part of another."""
        messages = list(told.messages)
        trace.requests = self.came_with.more(trace.requests, told.requests)
        self.remove_trace(told)
        for message in messages:
            self.add_message(trace, message)
        if trace.claim is not None:
            self.slots.remove_trace(trace)
