"""Where a lookup's time went: segments that add up to its duration, to the nanosecond.

A stub resolver tries candidates one after another and asks A and AAAA of each side by side. So a
lookup is a row of *rounds*, one a candidate; within a round the critical path runs backwards from
the server trace that ends last. On that path the time belongs to whoever owns it on the server's
own timeline; between server traces it belongs to the stub and the network, unless it is so long
that only a timeout explains it, or unless something that must have been there was not seen.
Where the client tells of its own queries, the stub's time is what lies outside of them.

The server's last span may outlast the answer (CoreDNS writes the answer before it ends the span),
by more than the whole lookup took. dnstap tells when the answer was out, and the client when it had
it. Without either the next round cannot start before the answer was there, and the lookup cannot
end before: what a trace has beyond is time after the answer.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from operator import eq, itemgetter
from typing import Final, NamedTuple, TypeVar

from msgspec import Struct

from otel_dns import semconv
from otel_dns.model import Breakdown, Join, JoinedTrace, Lookup, Span, Timeline

TIMEOUT_NS: Final = 900_000_000
"""A gap from here on is a stub's timeout: resolv.conf(5) counts them in whole seconds, and the
server's time before the loss takes a part of the first."""


_MAX_PLUGINS: Final = 64
"""Plugins told apart: a name becomes an attribute, and hostile spans may have any."""
_OTHER_PLUGINS: Final = "other"
_CONNECT: Final = semconv.CONNECT_SPAN
_NOT_SERVER: Final = tuple(one for one in semconv.SEGMENTS if one != semconv.SEGMENT_SERVER)
_Own = TypeVar("_Own", str, int)


class _Account:
    """Adds up stretches of one lookup's time."""

    def __init__(self, sent: "Sequence[_Sent]" = ()) -> None:
        self._sent = sent
        self.segments = dict.fromkeys(semconv.SEGMENTS, 0)
        self.plugins: dict[str, int] = {}

    def gap(self, start_ns: int, end_ns: int, *, explained: bool) -> None:
        """Time in which no query is known to be at a server."""
        nanoseconds = end_ns - start_ns
        if self._sent:
            self._apart(start_ns, end_ns)
            return
        if not explained:
            segment = semconv.SEGMENT_UNATTRIBUTED
        elif nanoseconds >= TIMEOUT_NS:
            segment = semconv.SEGMENT_WAITING
        else:
            segment = semconv.SEGMENT_STUB_NETWORK
        self.segments[segment] += nanoseconds

    def _apart(self, start_ns: int, end_ns: int) -> None:
        """Such time where the client tells of its queries."""
        edges = {start_ns, end_ns}
        for sent in self._sent:
            edges |= {edge for edge in sent[:2] if start_ns < edge < end_ns}
        for since_ns, until_ns in pairwise(sorted(edges)):
            during = [
                one for one in self._sent if one.start_ns <= since_ns and until_ns <= one.end_ns
            ]
            if not during:
                segment = semconv.SEGMENT_STUB
            elif until_ns - since_ns >= TIMEOUT_NS:
                segment = semconv.SEGMENT_WAITING
            elif any(one.seen for one in during):
                segment = semconv.SEGMENT_NETWORK
            else:
                segment = semconv.SEGMENT_UNATTRIBUTED
            self.segments[segment] += until_ns - since_ns

    def server(self, timeline: Timeline, start_ns: int, end_ns: int) -> None:
        """The part of a server's timeline from ``start_ns`` to ``end_ns``."""
        if timeline.line is None:
            spans = timeline.spans
            if start_ns <= spans[0].start_ns and spans[-1].end_ns <= end_ns:
                self._called(timeline, end_ns)
                return
        for piece in timeline.slices_until(end_ns):
            # Not min and max: this runs for every span.
            until_ns = piece.end_ns if piece.end_ns < end_ns else end_ns  # noqa: FURB136
            since_ns = piece.start_ns if piece.start_ns > start_ns else start_ns  # noqa: FURB136
            if until_ns > since_ns:
                self._own(piece.span.name, until_ns - since_ns)

    def _called(self, timeline: Timeline, end_ns: int) -> None:
        """Spans each of which is called by the one before, from the start of the first.

        What they own after ``end_ns``, when the last is over, is left out.
        """
        spans, names, own = timeline.spans, timeline.names, timeline.own_ns
        if spans[0].end_ns > end_ns:
            own = _until(spans, own, end_ns)
        if timeline.together:
            starts = [span.start_ns for span in spans]
            together = tuple(map(eq, starts, starts[1:]))
            in_turn = (_in_turn if len(names) <= _MAX_PLUGINS else _in_turn.__wrapped__)(together)
            names, own = in_turn(names), in_turn(own)
        plugins = self.plugins
        if not plugins and len(names) <= _MAX_PLUGINS:
            plugins = dict(zip(names, own, strict=True))
            if len(plugins) == len(names) and _CONNECT not in plugins:
                if 0 in own:
                    plugins = {name: own_ns for name, own_ns in plugins.items() if own_ns}
                self.plugins = plugins
                self.segments[semconv.SEGMENT_SERVER] += sum(own)
                return
            plugins = self.plugins
        server_ns = 0
        for name, own_ns in zip(names, own, strict=True):
            if name in plugins:
                plugins[name] += own_ns
                server_ns += own_ns
            else:
                self._own(name, own_ns)
        self.segments[semconv.SEGMENT_SERVER] += server_ns

    def _own(self, name: str, nanoseconds: int) -> None:
        plugins = self.plugins
        if not nanoseconds:
            return
        if name in plugins:
            plugins[name] += nanoseconds
        elif name == _CONNECT:
            self.segments[semconv.SEGMENT_UPSTREAM] += nanoseconds
            return
        else:
            if len(plugins) >= _MAX_PLUGINS:
                name = _OTHER_PLUGINS
            plugins[name] = plugins.get(name, 0) + nanoseconds
        self.segments[semconv.SEGMENT_SERVER] += nanoseconds


def _until(spans: Sequence[Span], own: Sequence[int], end_ns: int) -> tuple[int, ...]:
    """Return what spans own up to a time, when the last of them is over."""
    return tuple(
        own_ns - span.end_ns + max(inner.end_ns, end_ns) if span.end_ns > end_ns else own_ns
        for span, inner, own_ns in zip(spans, (*spans[1:], spans[-1]), own, strict=True)
    )


@lru_cache(maxsize=1024)
def _in_turn(together: tuple[bool, ...]) -> Callable[[tuple[_Own, ...]], tuple[_Own, ...]]:
    """Make what puts spans, each of which calls the next, in the order in which they own time.

    Args:
        together: of each but the last, whether it starts together with the next: all its own time
            is after that.
    """
    numbers = range(len(together) + 1)
    after = [number for number in numbers[:-1] if together[number]]
    return itemgetter(*(number for number in numbers if number not in after), *reversed(after))


def break_down(lookup: Lookup, join: Join) -> Breakdown:
    """Break a lookup's time down by what was joined to it."""
    account = _Account(_sent(lookup, join) if lookup.queries else ())
    after_answer = 0
    position = lookup.span.start_ns
    end = max(lookup.span.end_ns, position)
    rounds = _rounds(join.traces)
    gaps = _Gaps(lookup, rounds)
    for number, asked in enumerate(rounds):
        limit = end
        if number + 1 < len(rounds):  # the next round cannot start before the answer was there
            limit = min(end, *[one.start_ns for one in rounds[number + 1]])
        for one in asked:
            root_end_ns = one.joined.trace.root.end_ns
            if root_end_ns > limit or root_end_ns > one.answer_ns:
                answered = max(min(limit, one.answer_ns), one.start_ns)
                after_answer += max(root_end_ns - answered, 0)
        entered = False
        awaited = _awaited(asked) if lookup.kind == "musl" and len(asked) > 1 else asked
        for joined, start_ns, end_ns in _critical_path(awaited, position, limit):
            if start_ns > position:
                gap_ns = start_ns - position
                explained = entered or gaps.explained_before(number, gap_ns)
                account.gap(position, start_ns, explained=explained)
            account.server(joined.timeline, start_ns, end_ns)
            position, entered = end_ns, True
    if end > position:
        account.gap(position, end, explained=gaps.explained_at_end(end - position))
    several = [one for asked in rounds for one in asked] if len(join.traces) > 1 else ()
    waste_queries, waste_ns = _waste(lookup, several) if several else (0, 0)
    plugins = account.plugins
    slowest = max(plugins, key=plugins.__getitem__) if plugins else ""
    return Breakdown(
        account.segments, plugins, after_answer, _bottleneck(account, slowest),
        waste_queries, waste_ns, _retries(several) if several else 0, slowest,
    )  # fmt: skip


class _Asked(Struct, frozen=True, gc=False):
    """A server trace of the server that the client asked."""

    joined: JoinedTrace
    start_ns: int
    answer_ns: int
    """When the answer was out, as near as server and client tell."""


class _Gaps:
    """Whether a gap between rounds can be the stub's and the network's, or hides what was not seen.

    A gap hides something when a round is missing before it, or when the round before it is half
    seen: the other family's server trace then ran in it, and nobody knows for how long.
    """

    def __init__(self, lookup: Lookup, rounds: Sequence[Sequence[_Asked]]) -> None:
        self._lookup = lookup
        self._rounds = rounds
        self._last = len(lookup.candidates) - 1

    def _tried(self, number: int) -> int:
        """Return the candidate of a round."""
        return self._rounds[number][0].joined.candidate

    def _is_whole(self, number: int) -> bool:
        """Whether all of a round was seen that is to be expected."""
        seen = {one.joined.trace.type for one in self._rounds[number]}
        if len(self._rounds) == 1:
            return seen.issuperset(self._lookup.types)
        # A stub without IPv6 asks for A only. One round alone does not tell, several do.
        return all(one.joined.trace.type in seen for asked in self._rounds for one in asked)

    def explained_before(self, number: int, gap_ns: int) -> bool:
        """Whether the gap before this round is explained."""
        timed_out = gap_ns >= TIMEOUT_NS
        tried = self._tried(number)
        previous = self._tried(number - 1) if number else -1
        # After a timeout glibc leaves the rest of the search list out.
        follows = tried == previous + 1 or (timed_out and tried == self._last)
        return follows and (timed_out or number == 0 or self._is_whole(number - 1))

    def explained_at_end(self, gap_ns: int) -> bool:
        """Whether the gap after the last round is explained."""
        if not self._rounds:
            return False
        timed_out = gap_ns >= TIMEOUT_NS
        return (timed_out or self._is_whole(-1)) and self._ended_there(timed_out)

    def _ended_there(self, timed_out: bool) -> bool:
        """Tell whether the lookup can have ended with the last round seen.

        One that found nothing tried every candidate; a timeout ends it anywhere, and so does, for
        dnspython, a name without records of the type.
        """
        error_type = self._lookup.error_type
        if not error_type or self._tried(-1) == self._last:
            return True
        if error_type == semconv.ERROR_TRY_AGAIN:
            return timed_out
        if error_type == semconv.ERROR_NO_DATA:
            return self._lookup.kind == "dnspython"
        return error_type == semconv.ERROR_TIMEOUT


def _rounds(traces: Sequence[JoinedTrace]) -> list[list[_Asked]]:
    """Group the asked server's traces by candidate, in the resolver's order.

    What lies behind it is in its timeline.
    """
    asked = [
        _Asked(joined, joined.trace.root.start_ns, _answer(joined))
        for joined in traces
        if not joined.hop
    ]
    if len(asked) == 1:
        return [asked]
    rounds: dict[int, list[_Asked]] = {}
    for one in asked:
        rounds.setdefault(one.joined.candidate, []).append(one)
    return [rounds[candidate] for candidate in sorted(rounds)]


def _answer(joined: JoinedTrace) -> int:
    """When the answer was out, as near as server and client tell."""
    trace, query = joined.trace, joined.query
    root = trace.root
    answer_ns = min(trace.sent_ns, root.end_ns) if trace.sent_ns else root.end_ns
    if query is not None and root.start_ns < query.end_ns < answer_ns:
        return query.end_ns
    return answer_ns


def _awaited(asked: Sequence[_Asked]) -> list[_Asked]:
    """Leave out what musl did not wait for: it asks all nameservers, and the first answer counts.

    NOERROR and NXDOMAIN are answers to it, anything else is not.
    """
    first: dict[str, int] = {}
    for one in asked:
        trace, answer_ns = one.joined.trace, one.answer_ns
        if trace.rcode in {"NOERROR", "NXDOMAIN"}:
            first[trace.type] = min(first.get(trace.type, answer_ns), answer_ns)
    return [
        one for one in asked if one.answer_ns <= first.get(one.joined.trace.type, one.answer_ns)
    ]


def _critical_path(
    asked: Sequence[_Asked], start_ns: int, end_ns: int
) -> list[tuple[JoinedTrace, int, int]]:
    """Find, backwards from the end, the server trace that each moment of a round waited for.

    Returns:
        Stretches that do not overlap, in order of time, all within ``start_ns`` to ``end_ns``.
    """
    if len(asked) == 1:
        (only,) = asked
        start, end = max(only.start_ns, start_ns), min(only.answer_ns, end_ns)
        return [(only.joined, start, end)] if end > start else []
    path = []
    limit = end_ns
    left = [one for one in asked if one.start_ns < limit]
    while left:
        last, latest = left[0], (min(left[0].answer_ns, limit), -left[0].start_ns)
        for one in left[1:]:
            place = min(one.answer_ns, limit), -one.start_ns
            if place > latest:
                last, latest = one, place
        start, end = max(last.start_ns, start_ns), latest[0]
        if end > start:
            path.append((last.joined, start, end))
            limit = start
        left = [one for one in left if one is not last and one.start_ns < limit]
    return path[::-1]


class _Sent(NamedTuple):
    """A query as the client tells of it."""

    start_ns: int
    end_ns: int
    seen: bool
    """A server trace is joined to it."""


def _sent(lookup: Lookup, join: Join) -> list[_Sent]:
    """Return the queries of a lookup; none where the client does not tell of all."""
    seen = {one.query.span_id if one.query else b"" for one in join.traces if not one.hop}
    told = [_Sent(one.start_ns, one.end_ns, one.span_id in seen) for one in lookup.queries]
    return told if len(seen) <= sum(one.seen for one in told) else []


def _waste(lookup: Lookup, asked: Sequence[_Asked]) -> tuple[int, int]:
    """Count the queries for candidates before the last one tried, and the time until that."""
    if lookup.error_type:
        return 0, 0  # nothing was found: no query was less useful than another
    last = max([one.joined.candidate for one in asked])
    wasted = sum([one.joined.candidate < last for one in asked])
    if not wasted:
        return 0, 0
    began = min([one.start_ns for one in asked if one.joined.candidate == last])
    return wasted, max(min(began, lookup.end_ns) - lookup.start_ns, 0)


def _retries(asked: Sequence[_Asked]) -> int:
    """Count queries that came again: for one candidate and type, beside the first of each way.

    TCP after truncation is no repetition, and neither are nameservers asked side by side.
    """
    ways = {
        (one.joined.candidate, one.joined.trace.type, one.joined.trace.proto,
         one.joined.trace.server)
        for one in asked
    }  # fmt: skip
    return len(asked) - len(ways)


def _bottleneck(account: _Account, slowest: str) -> str:
    segments = account.segments
    largest = max(_NOT_SERVER, key=segments.__getitem__)
    if slowest and account.plugins[slowest] > segments[largest]:
        return f"plugin:{slowest}"
    return largest


__all__ = ["TIMEOUT_NS", "break_down"]
