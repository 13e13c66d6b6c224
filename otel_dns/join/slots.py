"""Who gets which server trace: one slot for each client, name and type.

A lookup asks each of its candidates once for each type, so it fills a slot once. Letting each slot
be used once, first in first out, is the main win over any interval rule once names repeat.
"""

from collections import deque
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from otel_dns.model import JoinedTrace, Lookup, ServerTrace, Span

SlotKey = tuple[str, str, str]
"""Client address, normalised name, type."""

MAX_ATTEMPTS = 16
"""Server traces that one lookup may have in one slot; glibc's own bound on attempts is 5."""


@dataclass(slots=True, eq=False)
class WaitingLookup:
    """A lookup that waits for its server traces to arrive."""

    lookup: Lookup
    due_ns: int
    candidates: dict[SlotKey, list[int]] = field(default_factory=dict)
    """Its slots, each with the candidates that it is asked for: more than one where the search
    list repeats itself."""
    traces: list[JoinedTrace] = field(default_factory=list)
    contested: bool = False

    def __post_init__(self) -> None:
        lookup = self.lookup
        for candidate, name in enumerate(lookup.candidates):
            for type_ in lookup.types:
                self.candidates.setdefault((lookup.client, name, type_), []).append(candidate)


@dataclass(slots=True, eq=False)
class WaitingTrace:
    """A server trace that waits: for the rest of its spans, then for its lookup."""

    trace_id: bytes
    expires_ns: int
    spans: dict[bytes, Span] = field(default_factory=dict)
    """By span id, so a span delivered twice is held once."""
    trace: ServerTrace | None = None
    """Set once the root is there, with the root only; ``spans`` may still grow."""
    key: SlotKey | None = None
    disputed: bool = False
    """Several lookups could have caused it as a retry: it is none's, now and later."""

    @property
    def start_ns(self) -> int:
        """Start, nanoseconds since the epoch, by the server's clock; needs the root."""
        assert self.trace is not None
        return self.trace.root.start_ns

    def complete(self) -> ServerTrace:
        """Return the trace with all the spans that have come."""
        assert self.trace is not None
        root = self.trace.root
        others = [span for span in self.spans.values() if span is not root]
        others.sort(key=lambda span: (span.start_ns, span.span_id))
        return replace(self.trace, spans=(root, *others))


Assignment = tuple[WaitingLookup, WaitingTrace, int]
"""A lookup, a server trace of its own, and the candidate that this was a query for."""


@dataclass(slots=True, eq=False)
class Slot:
    """All that waits for one client, name and type."""

    key: SlotKey
    lookups: dict[WaitingLookup, None] = field(default_factory=dict)
    traces: dict[WaitingTrace, None] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing waits here."""
        return not self.lookups and not self.traces

    def assign(self, tolerance_ns: int, until_ns: int) -> list[Assignment]:
        """Assign the server traces that started before ``until_ns`` to lookups, first in first out.

        A trace belongs to a lookup that was running when it started (give or take the tolerance).
        A second trace in one lookup's slot is a retry where no other known lookup could have caused
        it; otherwise it stays unassigned. Lookups that competed are marked as contested, and so is
        one with a second trace that the first does not call for: it may be an unknown lookup's.

        The result does not depend on the order in which anything arrived, nor on which of the
        lookups is settled first; the time it takes grows as that of sorting.
        """
        assigned: list[Assignment] = []
        known = [one for one in self.lookups if one.lookup.start_ns - tolerance_ns <= until_ns]
        upcoming = deque(sorted(known, key=_lookup_order))
        first_ns = upcoming[0].lookup.start_ns - tolerance_ns if upcoming else until_ns
        free: deque[WaitingLookup] = deque()  # those that ended meanwhile are left out when met
        running: list[tuple[int, int, WaitingLookup]] = []  # a heap: what ends first is on top
        uncontested: list[WaitingLookup] = []
        attempts: dict[WaitingLookup, int] = {}
        latest: dict[WaitingLookup, WaitingTrace] = {}
        in_reach = [trace for trace in self.traces if first_ns <= trace.start_ns <= until_ns]
        for trace in sorted(in_reach, key=_trace_order):
            at = trace.start_ns
            while upcoming and upcoming[0].lookup.start_ns - tolerance_ns <= at:
                waiting = upcoming.popleft()
                heappush(running, (waiting.lookup.end_ns + tolerance_ns, len(attempts), waiting))
                attempts[waiting] = 0
                free.append(waiting)
                uncontested.append(waiting)
            while running and running[0][0] < at:
                heappop(running)
            if not running:
                continue
            if len(running) > 1:
                for waiting in uncontested:
                    if waiting.lookup.end_ns + tolerance_ns >= at:
                        waiting.contested = True
                uncontested.clear()
            while free and (
                free[0].lookup.end_ns + tolerance_ns < at
                or attempts[free[0]] >= len(free[0].candidates[self.key])
            ):
                free.popleft()
            if free:
                owner = free[0]
            elif len(running) > 1 or trace.disputed:
                trace.disputed = True
                continue
            else:
                owner = running[0][2]
                if not _calls_for(latest[owner], trace):
                    owner.contested = True
                if attempts[owner] >= MAX_ATTEMPTS:
                    continue
            candidates = owner.candidates[self.key]
            assigned.append((owner, trace, candidates[min(attempts[owner], len(candidates) - 1)]))
            attempts[owner] += 1
            latest[owner] = trace
        return assigned


def _calls_for(first: WaitingTrace, second: WaitingTrace) -> bool:
    """Tell whether a server trace makes the stub ask again: truncated, or a server's failure."""
    assert first.trace is not None
    assert second.trace is not None
    if first.trace.rcode in {"SERVFAIL", "REFUSED", "NOTIMP"}:
        return True
    return first.trace.proto == "udp" and second.trace.proto == "tcp"


def _lookup_order(waiting: WaitingLookup) -> tuple[int, bytes, bytes]:
    span = waiting.lookup.span
    return span.start_ns, span.trace_id, span.span_id


def _trace_order(waiting: WaitingTrace) -> tuple[int, bytes]:
    return waiting.start_ns, waiting.trace_id
