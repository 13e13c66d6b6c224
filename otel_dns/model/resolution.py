"""The joined whole."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from otel_dns import semconv
from otel_dns.model.breakdown import Breakdown
from otel_dns.model.spans import ClientQuery, Lookup, ServerTrace, Span

SURE: Final = 0.99
"""From this confidence on a join is called sure: one fixed threshold, the one that is measured."""

ROUNDING_NS: Final = 2_000
"""By so much a span may seem to end after the one that it is in: CoreDNS rounds start and duration
to a microsecond each."""


class Slice(Struct, frozen=True, gc=False):
    """A stretch of a server's time, in nanoseconds since the epoch, and the span that owns it."""

    start_ns: int
    end_ns: int
    span: Span


class Timeline(Struct, frozen=True, gc=False):
    """A server trace's time, from its root's start to its end: every nanosecond has one owner."""

    spans: tuple[Span, ...]
    """Whose time it is: the trace's, in its order."""
    names: tuple[str, ...]
    """Of these."""
    own_ns: tuple[int, ...]
    """What each of them owns, nanoseconds."""
    line: Sequence[Slice] | None = None
    """The slices, where they are not plain to see: where they are, each span is called by the one
    before, and ends within it."""
    together: bool = False
    """Whether, where they are plain to see, some span starts together with the one before."""

    @property
    def slices(self) -> Sequence[Slice]:
        """Whose time is when, without gap or overlap."""
        return self.line if self.line is not None else list(_slices_of(self.spans))

    def slices_until(self, end_ns: int) -> Iterator[Slice]:
        """Go through the slices that begin before a time; those after it are not made."""
        for piece in _slices_of(self.spans) if self.line is None else self.line:
            if piece.start_ns >= end_ns:
                break
            yield piece


def _slices_of(nested: Sequence[Span]) -> Iterator[Slice]:
    outer = nested[0]
    for span in nested[1:]:
        if span.start_ns > outer.start_ns:
            yield Slice(outer.start_ns, span.start_ns, outer)
        outer = span
    if outer.end_ns > outer.start_ns:
        yield Slice(outer.start_ns, outer.end_ns, outer)
    for inner, span in pairwise(reversed(nested)):
        if inner.end_ns < span.end_ns:
            yield Slice(inner.end_ns, span.end_ns, span)


class JoinedTrace(Struct, frozen=True, gc=False):
    """One server trace, with its place in the lookup."""

    trace: ServerTrace
    candidate: int
    """Index into the lookup's candidates."""
    timeline: Timeline
    """Whose the trace's time is, see :func:`otel_dns.join.timeline.timeline`."""
    method: str = "time"
    """``semconv.METHOD_...``: the rung of the ladder that joined this one."""
    parent: bytes = b""
    """Span id under which it hangs: a query span of the client, or the ``connect`` of the hop
    before it. Empty: the lookup itself."""
    hop: int = 0
    """0: the server that the client asked; 1: the one which that server asked; and so on."""
    skew_ns: int = 0
    """What was added to this server's times to bring them to the client's clock."""
    query: ClientQuery | None = None
    """The client's own sight of this query, where it has one."""

    @property
    def cache(self) -> str:
        """``hit`` or ``miss`` at this hop; empty where its spans do not tell.

        CoreDNS's cache answers by itself or calls the next plugin, whose span is then within its
        own. What runs on after it (prefetch, serve_stale) did not make the answer and is no miss.
        """
        found = ""
        for span in self.trace.spans:
            if span.name == semconv.CACHE_SPAN:
                found = semconv.CACHE_HIT
                cache_id, end_ns = span.span_id, span.end_ns + ROUNDING_NS
            elif found and span.parent_id == cache_id and span.end_ns <= end_ns:
                return semconv.CACHE_MISS
        return found


class Join(Struct, frozen=True, gc=False):
    """The statement that these server traces belong to that lookup."""

    traces: tuple[JoinedTrace, ...]
    """In order of start."""
    method: str
    """``semconv.METHOD_...``."""
    confidence: float
    """Calibrated probability that all of it is right; 0 when nothing was joined."""
    group_size: int = 1
    """Of how many interchangeable lookups this is one: which of them is whose nobody can know."""
    apart: bool = False
    """Its server traces stay in traces of their own, and the lookup's span links to them."""
    clocks_known: bool = True
    """Whether it was known how the clocks differ, where time was what it was joined by."""

    @property
    def certainty(self) -> str:
        """``semconv.CERTAINTY_...``; empty when nothing was joined, or inferred."""
        if not self.traces or self.method == semconv.METHOD_INFERRED:
            return ""
        if self.group_size > 1:
            return semconv.CERTAINTY_GROUP
        return semconv.CERTAINTY_SURE if self.confidence >= SURE else semconv.CERTAINTY_UNSURE


class Resolution(Struct, frozen=True, gc=False):
    """A lookup with all that was found of it."""

    lookup: Lookup
    join: Join
    breakdown: Breakdown
    outcome: str
    """How the lookup ended for the application: ``semconv.OUTCOME_...``."""
    unseen: str = ""
    """Why CoreDNS's spans of it are not there: ``semconv.UNSEEN_...``; empty where they are."""
