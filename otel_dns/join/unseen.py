"""Why a lookup has no server trace, or none with spans of CoreDNS's own.

Four things look alike from afar: CoreDNS did not sample the query, it did and the spans were lost,
the query never came to a server, or none was needed. What tells them apart:

* the lookup itself: /etc/hosts had its name, or a cache answered (``no_query``);
* dnstap or the log: their messages carry CoreDNS's trace id where it sampled the query. One with an
  id whose spans did not come is ``lost``; one without, of a server that gives ids, ``not_sampled``;
* what servers tell of all the others: where next to every query is seen, a lookup that waited for
  its timeout has had none that arrived (``not_arrived``), and one that was answered has had some
  that were lost; where CoreDNS samples, at most every second is seen (``not_sampled``).
"""

from collections import OrderedDict
from ipaddress import ip_address
from typing import Final

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join.breakdown import TIMEOUT_NS
from otel_dns.join.by_time.completeness import QUICK_NS
from otel_dns.model import Breakdown, Join, Lookup

_EVERYTHING: Final = 0.97
"""Share of the answered lookups that servers tell of from which on a silence says something."""
_REMEMBERED: Final = 2_000
_SAMPLED: Final = 0.6
"""At most: ``every 2``, the densest sampling, shows a half. Between the two, spans are lost."""
_ANSWERS: Final = frozenset({"", semconv.ERROR_HOST_NOT_FOUND, semconv.ERROR_NO_DATA})
_MAX_KNOWN: Final = 20_000
_BEFORE_ANY_QUERY: Final = frozenset({"files", semconv.BESIDES_CACHE})
"""Who is known to have answered; a daemon only might have."""


class Unseen:
    """Finds the reason; remembers which servers and clients are seen at all."""

    def __init__(self) -> None:
        self._tracing: OrderedDict[str, None] = OrderedDict()
        """Servers whose messages carry trace ids."""
        self._clients: OrderedDict[str, None] = OrderedDict()
        """Addresses whose queries servers told of."""
        self._told, self._untold = 20.0, 0.0
        """Lookups of these that were answered by a server: how many servers told of."""

    def traced(self, server: str) -> None:
        """Take note of a server one of whose messages had a trace id."""
        _remember(self._tracing, server)

    def is_traced(self, server: str) -> bool:
        """Whether this server's messages carry trace ids, where it traced the query."""
        return server in self._tracing

    def reason_of_inferred(self, client: str) -> str:
        """Find why no client told of a lookup: ``semconv.UNSEEN_...``."""
        if client in self._clients:
            return semconv.UNSEEN_NOT_RECORDED
        return semconv.UNSEEN_NOT_INSTRUMENTED

    def reason(self, lookup: Lookup, join: Join, seen: float, *, spans_lost: bool) -> str:
        """Find why something of a lookup was not seen.

        Args:
            lookup: the lookup.
            join: what was joined to it.
            seen: share of the queries that servers tell of.
            spans_lost: whether messages told of a trace whose spans did not come.

        Returns:
            ``semconv.UNSEEN_...``; empty where CoreDNS's spans are there, as they should be.
        """
        if not join.traces:
            return self._without_traces(lookup, seen)
        _remember(self._clients, lookup.client)
        self._learn(told=True)
        if _first_never_came(lookup, join) and self._all_is_told(seen):
            return semconv.UNSEEN_NOT_ARRIVED
        asked = [one.trace for one in join.traces if not one.hop]
        for trace in asked:
            if trace.source == semconv.SOURCE_TRACE:
                return ""
        if spans_lost:
            return semconv.UNSEEN_LOST
        if any(trace.server in self._tracing for trace in asked):
            return semconv.UNSEEN_NOT_SAMPLED
        return semconv.UNSEEN_NOT_TRACED

    def _without_traces(self, lookup: Lookup, seen: float) -> str:
        if _needs_none(lookup):
            return semconv.UNSEEN_NO_QUERY
        if lookup.client not in self._clients:
            return semconv.UNSEEN_UNKNOWN
        if seen <= _SAMPLED:
            return semconv.UNSEEN_NOT_SAMPLED
        if _timed_out(lookup):
            return semconv.UNSEEN_NOT_ARRIVED if self._all_is_told(seen) else semconv.UNSEEN_UNKNOWN
        if lookup.besides:
            # A daemon, which may have a cache.
            return semconv.UNSEEN_NO_QUERY if self._all_is_told(seen) else semconv.UNSEEN_UNKNOWN
        if lookup.error_type not in _ANSWERS:
            return semconv.UNSEEN_UNKNOWN
        self._learn(told=False)
        return semconv.UNSEEN_LOST

    def _all_is_told(self, seen: float) -> bool:
        return seen > _SAMPLED and self._told / (self._told + self._untold) >= _EVERYTHING

    def _learn(self, *, told: bool) -> None:
        self._told += told
        self._untold += not told
        if self._told + self._untold > _REMEMBERED:
            self._told /= 2
            self._untold /= 2


_EXPLAINS: Final = {
    semconv.UNSEEN_NOT_ARRIVED: semconv.SEGMENT_WAITING,
    semconv.UNSEEN_NO_QUERY: semconv.SEGMENT_STUB_NETWORK,
}


def explained(breakdown: Breakdown, unseen: str) -> Breakdown:
    """Attribute the time of a lookup without server traces, where the reason explains it."""
    segment = _EXPLAINS.get(unseen)
    if segment is None:
        return breakdown
    hidden_ns = breakdown.segments[semconv.SEGMENT_UNATTRIBUTED]
    stub_ns = breakdown.segments[semconv.SEGMENT_STUB]
    if not hidden_ns or hidden_ns + stub_ns != breakdown.total_ns:
        return breakdown
    segments = {**breakdown.segments, semconv.SEGMENT_UNATTRIBUTED: 0, segment: hidden_ns}
    bottleneck = segment if hidden_ns >= stub_ns else semconv.SEGMENT_STUB
    return replace(breakdown, segments=segments, bottleneck=bottleneck)


def _needs_none(lookup: Lookup) -> bool:
    """Whether it was, or could only be, answered without a query."""
    if lookup.queries:
        return False
    if not _BEFORE_ANY_QUERY.isdisjoint(lookup.besides) or not lookup.candidates:
        return True
    # One that failed was not answered: that a server is gone is told by ICMP as fast.
    if lookup.error_type in _ANSWERS and lookup.end_ns - lookup.start_ns < QUICK_NS:
        return True
    try:
        ip_address(lookup.name.partition("%")[0])
    except ValueError:
        return False
    return "PTR" not in lookup.types


def _timed_out(lookup: Lookup) -> bool:
    return bool(lookup.error_type) and lookup.end_ns - lookup.start_ns >= TIMEOUT_NS


def _first_never_came(lookup: Lookup, join: Join) -> bool:
    """Whether the lookup waited for its timeout before a server saw anything of it."""
    return join.traces[0].trace.root.start_ns - lookup.span.start_ns >= TIMEOUT_NS


def _remember(known: OrderedDict[str, None], one: str) -> None:
    if one in known:
        known.move_to_end(one)
        return
    known[one] = None
    if len(known) > _MAX_KNOWN:
        known.popitem(last=False)
