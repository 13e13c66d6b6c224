"""Who gets which server trace: one slot for each client, name and type.

A lookup asks each of its candidates once for each type, so it fills a slot once. Letting each slot
be used once, first in first out, is the main win over any interval rule once names repeat.
"""

from dataclasses import dataclass, field, replace

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
    keys: tuple[tuple[SlotKey, int], ...]
    """Its slots, each with the index of its candidate."""
    traces: list[JoinedTrace] = field(default_factory=list)
    contested: bool = False


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

    def complete(self) -> ServerTrace:
        """Return the trace with all the spans that have come."""
        assert self.trace is not None
        root = self.trace.root
        others = [span for span in self.spans.values() if span is not root]
        others.sort(key=lambda span: span.start_ns)
        return replace(self.trace, spans=(root, *others))


@dataclass(slots=True, eq=False)
class Slot:
    """All that waits for one client, name and type."""

    lookups: list[WaitingLookup] = field(default_factory=list)
    traces: list[WaitingTrace] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Nothing waits here."""
        return not self.lookups and not self.traces

    def assign(self, tolerance_ns: int) -> list[tuple[WaitingLookup, WaitingTrace]]:
        """Assign server traces to lookups, first in first out.

        A trace belongs to a lookup that was running when it started (give or take the tolerance).
        A second trace in one lookup's slot is a retry where no other lookup could have caused it;
        otherwise it stays unassigned. Lookups that competed are marked as contested.
        """
        assigned: list[tuple[WaitingLookup, WaitingTrace]] = []
        by_start = sorted(self.lookups, key=lambda waiting: waiting.lookup.start_ns)
        attempts = dict.fromkeys(map(id, by_start), 0)
        running: list[WaitingLookup] = []
        upcoming = 0
        for waiting_trace in sorted(self.traces, key=_start_ns):
            at = _start_ns(waiting_trace)
            while (
                upcoming < len(by_start) and by_start[upcoming].lookup.start_ns - tolerance_ns <= at
            ):
                running.append(by_start[upcoming])
                upcoming += 1
            running = [one for one in running if one.lookup.end_ns + tolerance_ns >= at]
            if not running:
                continue
            if len(running) > 1:
                for one in running:
                    one.contested = True
            owner = next((one for one in running if not attempts[id(one)]), None)
            if owner is None:
                owner = running[0]
                owner.contested = True
                if len(running) > 1 or attempts[id(owner)] >= MAX_ATTEMPTS:
                    continue
            attempts[id(owner)] += 1
            assigned.append((owner, waiting_trace))
        return assigned


def _start_ns(waiting: WaitingTrace) -> int:
    return waiting.trace.root.start_ns if waiting.trace else 0
