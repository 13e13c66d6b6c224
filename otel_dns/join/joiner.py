"""The join's state, and the only owner of it.

Lookups and server spans go in as they arrive, in any order; outcomes come out of
:meth:`Joiner.advance`. A lookup waits for the settle time, within which the exporters of both sides
have sent what belongs to it; a server trace waits as long as the longest lookup may last. Both are
bounded by age and by count, and everything that leaves is counted under a name.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from otel_dns import semconv
from otel_dns.join.breakdown import break_down
from otel_dns.join.outcome import outcome_of
from otel_dns.join.recognise import server_trace_of
from otel_dns.join.slots import Slot, SlotKey, WaitingLookup, WaitingTrace
from otel_dns.join.timeline import timeline
from otel_dns.model import Join, JoinedTrace, Lookup, Resolution, Span
from otel_dns.wire import MalformedError

SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How long and how much the join holds."""

    settle_ns: int = 7 * SECOND
    """A lookup waits so long for its server traces: OpenTelemetry's batch processor sends every
    5 s, CoreDNS's reporter every 1 s, and a second for the way."""
    trace_wait_ns: int = 60 * SECOND
    """A server trace waits so long for its lookup, whose span comes only when it has ended."""
    tolerance_ns: int = 2_000_000
    """How far the two clocks may be apart."""
    max_lookups: int = 100_000
    max_server_spans: int = 500_000
    max_remembered: int = 200_000
    """Server traces that left, remembered so that their late spans follow them; and lookups that
    left, so that one delivered again is not sent again with other content."""


@dataclass(frozen=True, slots=True)
class Released:
    """Spans that leave as they came."""

    spans: tuple[Span, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Late:
    """A span of a server trace that has left already: it follows under the same ids."""

    span: Span
    trace_id: bytes
    parent_id: bytes


Outcome: TypeAlias = Resolution | Released | Late


class Joiner:
    """Joins lookups with server traces, as a stream.

    Not thread-safe: one thread feeds it. ``now_ns`` is any clock that only moves forward.
    """

    def __init__(self, settings: JoinSettings | None = None) -> None:
        self.settings = settings or JoinSettings()
        self.counts: Counter[str] = Counter()
        """Exits by name, in spans of the kind the name says."""
        self._lookups: OrderedDict[tuple[bytes, bytes], WaitingLookup] = OrderedDict()
        self._traces: OrderedDict[bytes, WaitingTrace] = OrderedDict()
        self._slots: dict[SlotKey, Slot] = {}
        self._server_spans = 0
        self._left: OrderedDict[bytes, tuple[bytes, bytes] | None] = OrderedDict()
        self._resolved: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()
        self._outcomes: deque[Outcome] = deque()

    @property
    def waiting_lookups(self) -> int:
        """Number of lookups held."""
        return len(self._lookups)

    @property
    def waiting_server_spans(self) -> int:
        """Number of server spans held."""
        return self._server_spans

    # -- in -----------------------------------------------------------------------------------

    def add_lookup(self, lookup: Lookup, now_ns: int) -> None:
        """Take a lookup in."""
        identity = (lookup.span.trace_id, lookup.span.span_id)
        if identity in self._lookups or identity in self._resolved:
            self.counts["duplicate"] += 1
            return
        waiting = WaitingLookup(lookup, now_ns + self.settings.settle_ns)
        self._lookups[identity] = waiting
        for key in waiting.candidates:
            self._slot(key).lookups[waiting] = None
        if len(self._lookups) > self.settings.max_lookups:
            # Several at once: what they share is then worked out once, not once for each.
            early = list(islice(self._lookups.values(), 1 + self.settings.max_lookups // 100))
            self.counts["lookups_settled_early"] += len(early)
            self._settle(early)

    def add_server_span(self, span: Span, now_ns: int) -> None:
        """Take one of CoreDNS's spans in."""
        trace_id = span.trace_id
        if trace_id in self._left:
            self._follow(span)
            return
        waiting = self._traces.get(trace_id)
        if waiting is None:
            waiting = WaitingTrace(trace_id, now_ns + self.settings.trace_wait_ns)
            self._traces[trace_id] = waiting
        if span.span_id in waiting.spans:
            self.counts["duplicate"] += 1
            return
        waiting.spans[span.span_id] = span
        self._server_spans += 1
        if span.name == semconv.SERVEDNS_SPAN and not span.parent_id and waiting.trace is None:
            self._show(waiting, span)
        if self._server_spans > self.settings.max_server_spans:
            self._release(next(iter(self._traces.values())), "evicted")

    # -- out ----------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> list[Outcome]:
        """Let time pass, and take what is due."""
        due = []
        for waiting in self._lookups.values():
            if waiting.due_ns > now_ns:
                break
            due.append(waiting)
        if due:
            self._settle(due)
        while self._traces:
            oldest = next(iter(self._traces.values()))
            if oldest.expires_ns > now_ns:
                break
            self._release(oldest, "unmatched" if oldest.trace else "no_root")
        outcomes = list(self._outcomes)
        self._outcomes.clear()
        return outcomes

    def drain(self) -> list[Outcome]:
        """End: take everything that is held, joined as far as it can be now."""
        self._settle(list(self._lookups.values()))
        for waiting in list(self._traces.values()):
            self._release(waiting, "unmatched" if waiting.trace else "no_root")
        outcomes = list(self._outcomes)
        self._outcomes.clear()
        return outcomes

    # -- inside -------------------------------------------------------------------------------

    def _slot(self, key: SlotKey) -> Slot:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot(key)
        return slot

    def _show(self, waiting: WaitingTrace, root: Span) -> None:
        """A root has come: let lookups see the trace."""
        try:
            trace = server_trace_of(root)
        except MalformedError:
            self.counts["bad_root"] += 1
            return
        waiting.trace = trace
        waiting.key = (trace.client, trace.name, trace.type)
        self._slot(waiting.key).traces[waiting] = None

    def _settle(self, due: list[WaitingLookup]) -> None:
        """Resolve lookups that have waited long enough, together: they share slots fairly."""
        by_slot: dict[SlotKey, list[WaitingLookup]] = {}
        for waiting in due:
            for key in waiting.candidates:
                by_slot.setdefault(key, []).append(waiting)
        for key, sharing in by_slot.items():
            slot = self._slots[key]
            if slot.traces:
                self._fill(slot, set(sharing))
        for waiting in sorted(due, key=lambda waiting: waiting.lookup.end_ns):
            self._resolve(waiting)

    def _fill(self, slot: Slot, due: set[WaitingLookup]) -> None:
        tolerance_ns = self.settings.tolerance_ns
        until_ns = max(waiting.lookup.end_ns for waiting in due) + tolerance_ns
        for owner, waiting_trace, candidate in slot.assign(tolerance_ns, until_ns):
            if owner in due:
                trace = waiting_trace.complete()
                owner.traces.append(JoinedTrace(trace, candidate, timeline(trace)))
                span = owner.lookup.span
                self._forget(waiting_trace, (span.trace_id, span.span_id))

    def _resolve(self, waiting: WaitingLookup) -> None:
        lookup = waiting.lookup
        identity = (lookup.span.trace_id, lookup.span.span_id)
        del self._lookups[identity]
        self._resolved[identity] = None
        if len(self._resolved) > self.settings.max_remembered:
            self._resolved.popitem(last=False)
        for key in waiting.candidates:
            slot = self._slots[key]
            del slot.lookups[waiting]
            if slot.empty:
                del self._slots[key]
        traces = tuple(sorted(waiting.traces, key=_order))
        if traces:
            join = Join(traces, semconv.METHOD_TIME, 0.5 if waiting.contested else 1.0)
            self.counts["lookups_joined"] += 1
            self.counts["server_spans_joined"] += sum(len(one.trace.spans) for one in traces)
        else:
            join = Join((), semconv.METHOD_NONE, 0.0)
            self.counts["lookups_unjoined"] += 1
        self._outcomes.append(
            Resolution(lookup, join, break_down(lookup, join), outcome_of(lookup, join))
        )

    def _release(self, waiting: WaitingTrace, reason: str) -> None:
        self._forget(waiting, None)
        spans = tuple(waiting.spans.values())
        self.counts[f"server_spans_{reason}"] += len(spans)
        self._outcomes.append(Released(spans, reason))

    def _forget(self, waiting: WaitingTrace, destination: tuple[bytes, bytes] | None) -> None:
        """Let a server trace go, and remember where to."""
        del self._traces[waiting.trace_id]
        self._server_spans -= len(waiting.spans)
        if waiting.key is not None:
            slot = self._slots[waiting.key]
            del slot.traces[waiting]
            if slot.empty:
                del self._slots[waiting.key]
        self._left[waiting.trace_id] = destination
        if len(self._left) > self.settings.max_remembered:
            self._left.popitem(last=False)

    def _follow(self, span: Span) -> None:
        self.counts["server_spans_late"] += 1
        destination = self._left[span.trace_id]
        if destination is None:
            self._outcomes.append(Released((span,), "late"))
        else:
            trace_id, lookup_span_id = destination
            self._outcomes.append(Late(span, trace_id, span.parent_id or lookup_span_id))


def _order(joined: JoinedTrace) -> tuple[int, bytes]:
    root = joined.trace.root
    return root.start_ns, root.trace_id
