"""Who gets which server trace of a slot, first in first out.

A lookup asks each of its candidates once for each type, so it fills a slot once. Letting each slot
be used once, first in first out, is the main win over any interval rule once names repeat.
"""

from collections import deque
from heapq import heappop, heappush
from typing import Final

from otel_dns.join.waiting import Slot, WaitingLookup, WaitingTrace

MAX_ATTEMPTS: Final = 16
"""Server traces that one lookup may have in one slot; glibc's own bound on attempts is 5."""

Assignment = tuple[WaitingLookup, WaitingTrace, int]
"""A lookup, a server trace of its own, and the candidate that this was a query for."""


def assign(slot: Slot, tolerance_ns: int, until_ns: int) -> list[Assignment]:
    """Assign the server traces that started before ``until_ns`` to lookups, first in first out.

    A trace belongs to a lookup that was running when it started (give or take the tolerance).
    A second trace in one lookup's slot is a retry where no other known lookup could have caused
    it; otherwise it stays unassigned.

    The result does not depend on the order in which anything arrived, nor on which of the
    lookups is settled first; the time it takes grows as that of sorting.
    """
    assigned: list[Assignment] = []
    known = [one for one in slot.lookups if one.lookup.start_ns - tolerance_ns <= until_ns]
    upcoming = deque(sorted(known, key=_lookup_order))
    first_ns = upcoming[0].lookup.start_ns - tolerance_ns if upcoming else until_ns
    free: deque[WaitingLookup] = deque()  # those that ended meanwhile are left out when met
    running: list[tuple[int, int, WaitingLookup]] = []  # a heap: what ends first is on top
    attempts: dict[WaitingLookup, int] = {}
    in_reach = [trace for trace in slot.traces if first_ns <= trace.at_ns <= until_ns]
    for trace in sorted(in_reach, key=_trace_order):
        at = trace.at_ns
        while upcoming and upcoming[0].lookup.start_ns - tolerance_ns <= at:
            waiting = upcoming.popleft()
            heappush(running, (waiting.lookup.end_ns + tolerance_ns, len(attempts), waiting))
            attempts[waiting] = 0
            free.append(waiting)
        while running and running[0][0] < at:
            heappop(running)
        if not running:
            continue
        while free and (
            free[0].lookup.end_ns + tolerance_ns < at
            or attempts[free[0]] >= len(free[0].candidates[slot.key])
        ):
            free.popleft()
        if free:
            owner = free[0]
        elif len(running) > 1 or trace.disputed:
            trace.disputed = True
            continue
        else:
            owner = running[0][2]
            if attempts[owner] >= MAX_ATTEMPTS:
                continue
        candidates = owner.candidates[slot.key]
        assigned.append((owner, trace, candidates[min(attempts[owner], len(candidates) - 1)]))
        attempts[owner] += 1
    return assigned


def _lookup_order(waiting: WaitingLookup) -> tuple[int, bytes, bytes]:
    span = waiting.lookup.span
    return span.start_ns, span.trace_id, span.span_id


def _trace_order(waiting: WaitingTrace) -> tuple[int, str]:
    return waiting.at_ns, str(waiting.key)
