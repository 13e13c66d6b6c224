"""How much of either side is there to be joined: it decides how sure a join by time can be.

Server traces are missing where CoreDNS samples (``every``) or its reporter loses some. Their share
is read off the joins themselves: a round of which one family was seen had two queries, and after a
candidate that did not exist comes the next one. Lookups are missing where the application samples
or neighbours at the address are not instrumented: their server traces are left over in the slots.
"""

from collections import OrderedDict
from collections.abc import Collection
from typing import Final

from otel_dns.join.breakdown import TIMEOUT_NS
from otel_dns.join.waiting import Slot
from otel_dns.model import Lookup, ServerTrace

_REMEMBERED: Final = 2_000.0
_PRIOR: Final = 50.0
_PRIOR_SEEN: Final = 0.98
_MAX_CLIENTS: Final = 20_000
QUICK_NS: Final = 150_000
"""A lookup that was answered this fast was so without a server: from a file or a cache."""
_FEW_STRANGERS_HZ: Final = 0.001


class Completeness:
    """What share of the server traces is there, as far as the joins tell."""

    def __init__(self) -> None:
        self._present = _PRIOR * _PRIOR_SEEN
        self._missing = _PRIOR * (1 - _PRIOR_SEEN)
        self._families: OrderedDict[str, set[str]] = OrderedDict()
        self.seen = 0.0
        """How likely the server trace of a query is to be there."""
        self._count(0, 0)

    def strangers_hz(self, slot: Slot, until_ns: int) -> float:
        """Estimate how many queries a second in a slot come from lookups that are not known.

        Later than ``until_ns`` nothing is counted: there lookups are still on their way.
        """
        traces, lookups, span_ns = slot.until(until_ns)
        surplus = traces - self.seen * lookups
        if surplus < 2:  # one may be a query sent again
            return _FEW_STRANGERS_HZ
        return _FEW_STRANGERS_HZ + surplus / max(span_ns / 1e9, 1.0)

    def learn(self, lookup: Lookup, given: Collection[tuple[ServerTrace, int]]) -> None:
        """Take note of what a lookup was given: server traces, each with its candidate."""
        if not given:
            took_ns = lookup.end_ns - lookup.start_ns
            # What timed out may have reached no server at all, and an outage is no sampling.
            timed_out = lookup.error_type and took_ns >= TIMEOUT_NS
            if len(lookup.types) == 1 and took_ns > QUICK_NS and not timed_out:
                self._count(0, 1)
            return
        families = self._families.get(lookup.client)
        if families is None:
            families = self._families[lookup.client] = set()
            if len(self._families) > _MAX_CLIENTS:
                self._families.popitem(last=False)
        rounds: dict[int, set[str]] = {}
        for trace, candidate in given:
            rounds.setdefault(candidate, set()).add(trace.type)
            families.add(trace.type)
        # A stub without IPv6 never asks for AAAA: only what a client is known to ask is missed.
        expected = sum(type_ in families for type_ in lookup.types)
        last = max(rounds)
        for candidate in range(last + 1):
            seen = len(rounds.get(candidate, ()))
            if candidate < last or expected > 1:
                # Given one, what of the others? The one itself says nothing.
                told = 0 if candidate < last else 1
                self._count(max(seen - told, 0), max(expected - max(seen, told), 0))
        if len(lookup.types) == 1 and last == 0:
            self._count(1, 0)

    def _count(self, present: int, missing: int) -> None:
        self._present += present
        self._missing += missing
        total = self._present + self._missing
        if total > _REMEMBERED:
            self._present *= 0.5
            self._missing *= 0.5
        share = self._present / (self._present + self._missing)
        self.seen = min(max(share, 0.02), 0.995)
