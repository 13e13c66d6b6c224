"""The join's state, and the only owner of it.

Lookups, server spans and messages go in as they arrive, in any order; outcomes come out of
:meth:`Joiner.advance`. A lookup waits for the settle time, within which the exporters of both sides
have sent what belongs to it; a server trace waits as long as the longest lookup may last. Both are
bounded by age, count and bytes, and everything that leaves is counted under a name.
"""

import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Final, TypeAlias

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join import context, exchange
from otel_dns.join.breakdown import break_down
from otel_dns.join.by_case import ByCase
from otel_dns.join.by_time import ByTime, Decision
from otel_dns.join.came_with import CameWith
from otel_dns.join.early import MAX_QUERIES, EarlyQueries
from otel_dns.join.hops import MAX_HOPS, Hops, spliced
from otel_dns.join.infer import gather
from otel_dns.join.ladder import Ladder, wire_key
from otel_dns.join.outcome import outcome_of
from otel_dns.join.recognise import server_trace_of
from otel_dns.join.reentry import Reentries
from otel_dns.join.silence import Silence
from otel_dns.join.skew import AGREEING, Skew, bounds_of, moved
from otel_dns.join.tie import is_bare, is_untied, ties
from otel_dns.join.timeline import add_up, timeline
from otel_dns.join.unseen import Unseen, explained
from otel_dns.join.waiting import Claim, Slot, Slots, WaitingLookup, WaitingTrace
from otel_dns.model import (
    ClientQuery,
    Join,
    JoinedTrace,
    Lookup,
    Message,
    Resolution,
    ServerTrace,
    Slice,
    Span,
)
from otel_dns.wire import MalformedError, otlp

SECOND: Final = 1_000_000_000
_SERVED: Final = b"served"
"""Beside trace and span id, of a server's span: with ``client_server`` CoreDNS's has both from the
client's."""
_OWN_TRACE: Final = bytes(8)
"""How a trace id begins that CoreDNS gave: its own have 64 bits."""
_CLOCKS_UNKNOWN: Final = 0.5
"""Confidence of a join by time, at most, across clocks of which it is not known how they differ."""
_MAX_MESSAGES: Final = 256
"""Messages of one query that are kept: two of its own, two for every attempt at an upstream."""
_DISORDER_NS: Final = 2 * SECOND
"""So much later than what came after it a server trace may arrive: reporters send every second."""
_LOOKUP_BYTES: Final = 2_500
_SLOT_BYTES: Final = 250
_TRACE_BYTES: Final = 1_700
_SPAN_BYTES: Final = 400
_MESSAGE_BYTES: Final = 700
"""What is held for each beside its own bytes, about."""


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How long and how much the join holds."""

    settle_ns: int = 7 * SECOND
    """A lookup waits so long for its server traces: OpenTelemetry's batch processor sends every
    5 s, CoreDNS's reporter every 1 s, and a second for the way."""
    trace_wait_ns: int = 60 * SECOND
    """A server trace waits so long for its lookup, whose span comes only when it has ended."""
    tolerance_ns: int = 2_000_000
    """How far apart the times of two clocks that agree may be."""
    follow_clocks: bool = True
    """Whether clocks may differ by more, and are followed; else they are taken to agree."""
    leave_groups: bool = False
    """Whether the server traces of interchangeable lookups stay in traces of their own."""
    infer: bool = False
    """Whether lookups are made of server traces that no known lookup claims."""
    silent_after_ns: int | None = None
    """A client is silent that has sent no lookup for so long: its server traces wait for the settle
    time only. None: all wait as long."""
    relays: tuple[str, ...] = ()
    """Addresses and networks of servers that ask others: they are never silent."""
    max_lookups: int = 100_000
    max_server_spans: int = 500_000
    """Of server spans and messages together."""
    max_bytes: int = 1 << 30
    """Of everything held, about."""
    max_remembered: int = 200_000
    """Server traces that left, remembered so that their late spans follow them; and lookups that
    left, so that one delivered again is not sent again with other content."""


@dataclass(frozen=True, slots=True)
class Released:
    """Spans that leave as they came."""

    spans: tuple[Span, ...]
    reason: str
    trace: ServerTrace | None = field(default=None, compare=False)
    """What they are together; None without the root."""


@dataclass(frozen=True, slots=True)
class Late:
    """A span of a server trace that has left already: it follows under the same ids."""

    span: Span
    trace_id: bytes
    parent_id: bytes


Outcome: TypeAlias = Resolution | Released | Late


@dataclass(slots=True)
class _Destination:
    """Where a server trace went."""

    trace_id: bytes
    parent_id: bytes
    root_sent: bool
    """A root of its id is out already: made of messages, if CoreDNS's own had not come."""
    skew_ns: int


class Joiner:
    """Joins lookups with server traces, as a stream.

    Not thread-safe: one thread feeds it. ``now_ns`` is any clock that only moves forward.
    """

    def __init__(self, settings: JoinSettings | None = None) -> None:
        self.settings = settings or JoinSettings()
        self.counts: Counter[str] = Counter()
        """Exits by name, in spans or messages of the kind the name says."""
        self._lookups: OrderedDict[tuple[bytes, bytes], WaitingLookup] = OrderedDict()
        self._traces: OrderedDict[Hashable, WaitingTrace] = OrderedDict()
        self._soon: dict[WaitingTrace, int] = {}
        """Of these, those of silent clients, each with the time until which it waits."""
        self._slots = Slots()
        self._by_case = ByCase(self._slots, self.settings.tolerance_ns)
        self._ladder = Ladder(self._by_case)
        self._skew = Skew(follow=self.settings.follow_clocks)
        self._hops = Hops(
            self._slots,
            self.settings.tolerance_ns,
            self._traces.values(),
            follow_clocks=self.settings.follow_clocks,
        )
        self._reentries = Reentries()
        self._by_time = ByTime(self._slots, self.settings.tolerance_ns)
        self._unseen = Unseen()
        self._silence = Silence(self.settings.relays)
        self._now_ns = self._infer_from_ns = 0
        self._untied = self._rooted = False
        """Whether there have ever been messages that do not say of which trace they are, and
        spans."""
        self._early_queries = EarlyQueries(self.settings.trace_wait_ns, self.settings.max_lookups)
        self._server_spans = self._messages = 0
        self._bytes = 0
        self._left: OrderedDict[Hashable, _Destination | None] = OrderedDict()
        self._resolved: OrderedDict[tuple[bytes, ...], None] = OrderedDict()
        self._outcomes: deque[Outcome] = deque()
        self.came_with = CameWith()
        """Of which requests the things held are; whoever wants to know says which one comes."""

    @property
    def waiting_lookups(self) -> int:
        """Number of lookups held."""
        return len(self._lookups)

    @property
    def waiting_server_spans(self) -> int:
        """Number of server spans and messages held."""
        return self._server_spans

    @property
    def waiting_messages(self) -> int:
        """Number of messages held."""
        return self._messages

    @property
    def waiting_queries(self) -> int:
        """Number of clients' queries held whose lookup has not come."""
        return len(self._early_queries)

    @property
    def waiting_bytes(self) -> int:
        """Bytes held, about."""
        return self._bytes

    # -- in -----------------------------------------------------------------------------------

    def add_lookup(self, lookup: Lookup, now_ns: int) -> None:
        """Take a lookup in."""
        identity = (lookup.span.trace_id, lookup.span.span_id)
        if identity in self._lookups or identity in self._resolved:
            self.counts["duplicate"] += 1
            return
        waiting = WaitingLookup(
            lookup, now_ns + self.settings.settle_ns, self._skew.clocks_of(lookup)
        )
        self._lookups[identity] = waiting
        waiting.requests = self.came_with.more(())
        if self._early_queries:
            for query in self._early_queries.take(identity):
                waiting.queries[query.span_id] = query
        self._bytes += _size_of(waiting)
        waiting.clocks.add(waiting)
        self._slots.add_lookup(waiting)
        self._ladder.add_lookup(waiting)
        self._reserve(waiting)
        if lookup.client and self._silence.spoke(lookup.client, now_ns, lookup.start_ns):
            self.counts["lookups_after_silence"] += 1
        if len(self._lookups) > self.settings.max_lookups or self._bytes > self.settings.max_bytes:
            self._settle_early()
            self._keep_bounds()

    def add_query(self, lookup: tuple[bytes, bytes], query: ClientQuery, now_ns: int) -> None:
        """Take in what a client saw of one of its queries.

        Args:
            lookup: trace and span id of the lookup.
            query: the query; its span itself is sent on by whoever read it.
            now_ns: the time.
        """
        if query.client:
            self._silence.spoke(query.client, now_ns)
        waiting = self._lookups.get(lookup)
        if waiting is None:
            if lookup in self._resolved:
                self.counts["queries_late"] += 1
            else:
                self._early_queries.add(lookup, query, now_ns, self.counts)
        elif query.span_id in waiting.queries:
            self.counts["queries_duplicate"] += 1
        elif len(waiting.queries) >= MAX_QUERIES:
            self.counts["queries_surplus"] += 1
        else:
            self._ladder.add_query(waiting, query)
            self._reserve(waiting)

    def _reserve(self, waiting: WaitingLookup) -> None:
        """Take what is a lookup's for sure from the slots: it is not for guesses any more."""
        for trace in waiting.claimed:
            self._slots.remove_trace(trace)

    def add_server_span(self, span: Span, now_ns: int) -> None:
        """Take one of CoreDNS's spans in."""
        self.add_server_spans((span,), now_ns)

    def add_server_spans(self, spans: Iterable[Span], now_ns: int) -> None:
        """Take CoreDNS's spans in; those of one trace come side by side, mostly."""
        for trace_id, together in groupby(spans, _trace_id):
            if trace_id in self._left:
                for span in together:
                    self._follow(span)
                self.came_with.pass_by(self.came_with.current)
            else:
                self._add_to_trace(trace_id, together, now_ns)

    def _add_to_trace(self, trace_id: bytes, spans: Iterable[Span], now_ns: int) -> None:
        if trace_id[:8] != _OWN_TRACE:
            spans = self._without_resolved(spans)
        waiting = self._traces.get(trace_id)
        number = size = 0
        for span in spans:
            if waiting is None:
                waiting = self._new_trace(trace_id, now_ns)
            span_id = span.span_id
            if span_id in waiting.spans:
                self.counts["duplicate"] += 1
                continue
            waiting.spans[span_id] = span
            number += 1
            size += len(span.raw)
            if not span.parent_id and span.name == semconv.SERVEDNS_SPAN and not waiting.rooted:
                self._show(waiting, span, now_ns)
            if waiting.requests is not self.came_with.current:
                waiting.requests = self.came_with.more(waiting.requests)
        if waiting is not None:
            self._hold(waiting, size + number * _SPAN_BYTES, number)
        self._keep_bounds()

    def _without_resolved(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Leave out what was sent on with a lookup, in whose own trace it was."""
        for span in spans:
            if (span.trace_id, span.span_id, _SERVED) in self._resolved:
                self.counts["duplicate"] += 1
            else:
                yield span

    def add_message(self, message: Message, now_ns: int) -> None:
        """Take in a message of dnstap or of a log."""
        if message.trace_id:
            self._unseen.traced(message.server)
        else:
            self._untied = True
        waiting = self._trace_of(message, now_ns)
        if waiting is None:
            self.counts["messages_late"] += 1
            return
        if message in waiting.messages:
            self.counts["messages_duplicate"] += 1
            return
        if len(waiting.messages) >= _MAX_MESSAGES:
            self.counts["messages_surplus"] += 1
            return
        waiting.add_message(message)
        self._messages += 1
        self._hold(waiting, _MESSAGE_BYTES)
        waiting.requests = self.came_with.more(waiting.requests)
        self._ladder.add_message(waiting, message)
        asked = message.kind in {"CQ", "CR"}
        if not asked and message.client:
            self._silence.relays(message.client)
        if waiting.claim is None and not waiting.carries_context:
            if asked:
                self._skew.heard(message.server, message.query_time_ns or message.time_ns)
                self._slots.add_trace(waiting)
                self._hurry(waiting, message.client, now_ns)
        else:
            self._slots.remove_trace(waiting)
        for inner, outer in self._reentries.add(waiting, message):
            self._merge(inner, outer)
        self._keep_bounds()

    # -- out ----------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> list[Outcome]:
        """Let time pass, and take what is due."""
        self._now_ns = now_ns
        due = []
        for waiting in self._lookups.values():
            if waiting.due_ns > now_ns:
                break
            due.append(waiting)
        if due:
            self._settle(due)
        self._expire(now_ns)
        if self._early_queries:
            self._early_queries.expire(now_ns, self.counts)
        return self._take_outcomes()

    def drain(self) -> list[Outcome]:
        """End: take everything that is held, joined as far as it can be now."""
        self._settle(list(self._lookups.values()))
        self._let_go(list(self._traces.values()))
        self._early_queries.drain(self.counts)
        return self._take_outcomes()

    def _take_outcomes(self) -> list[Outcome]:
        outcomes = list(self._outcomes)
        self._outcomes.clear()
        return outcomes

    # -- server traces in the making ----------------------------------------------------------

    def _new_trace(self, key: Hashable, now_ns: int) -> WaitingTrace:
        waiting = WaitingTrace(key, now_ns + self.settings.trace_wait_ns)
        waiting.size = _TRACE_BYTES
        self._bytes += _TRACE_BYTES
        self._traces[key] = waiting
        return waiting

    def _trace_of(self, message: Message, now_ns: int) -> WaitingTrace | None:
        """Find the server trace that a message is a piece of; nothing if that has left."""
        if message.trace_id and len(message.trace_id) == len(_OWN_TRACE):
            key: Hashable = _OWN_TRACE + message.trace_id
        else:
            key = (*wire_key(message), message.server, message.query_time_ns or message.time_ns)
        if key in self._left:
            return None
        waiting = self._traces.get(key)
        if waiting is None and not isinstance(key, bytes):
            waiting = self._ladder.same_query(message)
        return waiting or self._new_trace(key, now_ns)

    def _hold(self, waiting: WaitingTrace, size: int, number: int = 1) -> None:
        self._server_spans += number
        waiting.size += size
        self._bytes += size

    def _show(self, waiting: WaitingTrace, root: Span, now_ns: int) -> None:
        """A root has come: let lookups see the trace."""
        try:
            waiting.add_root(root)
            self._rooted = True
        except MalformedError:
            self.counts["bad_root"] += 1
            return
        header = waiting.header
        if header is not None:
            self._skew.heard(header.server, root.start_ns)
            for address in otlp.server_addresses(root.origin.resource):
                self._silence.relays(address)
        if waiting.claim is None and not waiting.carries_context:
            self._slots.add_trace(waiting)
            if header is not None:
                self._hurry(waiting, header.client, now_ns)

    def _hurry(self, waiting: WaitingTrace, client: str, now_ns: int) -> None:
        """Let a server trace of a client that sends no lookups leave soon.

        It waits as long as a lookup does: for the rest of it, and for what the same client asked
        next, of which a lookup is inferred.
        """
        after_ns = self.settings.silent_after_ns
        if after_ns is None or waiting in self._soon:
            return
        if isinstance(waiting.key, bytes) and waiting.key[:8] != _OWN_TRACE:
            return  # in a trace of its client's
        until_ns = now_ns + self.settings.settle_ns
        if self._silence.is_silent(client, now_ns, after_ns) and until_ns < waiting.expires_ns:
            self._soon[waiting] = until_ns

    def _keep_bounds(self) -> None:
        while self._traces and (
            self._server_spans > self.settings.max_server_spans
            or self._bytes > self.settings.max_bytes
        ):
            oldest = next(iter(self._soon), None) or next(iter(self._traces.values()))
            self._release(oldest, "evicted")
        while self._lookups and self._bytes > self.settings.max_bytes:
            self._settle_early()

    def _settle_early(self) -> None:
        # Several at once: what they share is then worked out once, not once for each.
        early = list(islice(self._lookups.values(), 1 + len(self._lookups) // 100))
        self.counts["lookups_settled_early"] += len(early)
        self._settle(early)

    # -- lookups that are due -----------------------------------------------------------------

    def _settle(self, due: list[WaitingLookup]) -> None:
        """Resolve lookups that have waited long enough, together: they share slots fairly."""
        for waiting in due:
            if self._untied and self._rooted:
                self._tie_claimed(waiting)
                for key in waiting.candidates:
                    self._tie(self._slots[key])
            self._join_own_trace(waiting)
            if not waiting.claimed:
                continue
            self._put_behind(waiting)
            for trace, claim in sorted(waiting.claimed.items(), key=_claim_order):
                if trace.header is not None:
                    candidate = waiting.candidate_of(trace.header.name)
                    if claim.method == semconv.METHOD_CASE:
                        # One mark on all of them: what is wrong with one is with the others.
                        waiting.claims_confidence = min(
                            waiting.claims_confidence, self._by_case.confidence(trace)
                        )
                    self._join(waiting, trace, candidate, claim.method, claim.query)
        self._follow_clocks(due)
        decisions = []
        for decision in self._by_time.decide(due):
            decisions.append(decision)
            self._slots.remove_lookup(decision.lookup)
            if decision.given:
                given = [trace for trace, _ in decision.given]
                decision.lookup.apart = (
                    self.settings.leave_groups
                    and decision.group_size > 1
                    and not decision.lookup.traces
                )
                decision.lookup.clocks_known = not decision.lookup.clocks.doubts(
                    decision.lookup, given
                )
            for trace, candidate in decision.given:
                self._join(decision.lookup, trace, candidate, semconv.METHOD_TIME, None)
        decisions.sort(key=_end_order)
        for decision in decisions:
            for trace, query in tuple(decision.lookup.behind.items()):
                # Whoever asked was not seen.
                candidate = decision.lookup.candidate_of(trace.header.name if trace.header else "")
                self._join(decision.lookup, trace, candidate, semconv.METHOD_EDNS, query)
            self._resolve(decision)

    @staticmethod
    def _put_behind(waiting: WaitingLookup) -> None:
        """Set apart what servers asked: they pass on the context that a query carries."""
        for trace, claim in tuple(waiting.claimed.items()):
            if claim.method == semconv.METHOD_EDNS and claim.query and trace.header is not None:
                own = claim.query.client or waiting.lookup.client
                if own and trace.header.client != own:
                    trace.give(None)
                    waiting.behind[trace] = claim.query

    def _follow_clocks(self, due: list[WaitingLookup]) -> None:
        """Learn how the servers' clocks go, before anything is decided by time."""
        latest: dict[int, WaitingLookup] = {}
        for waiting in due:
            before = latest.setdefault(id(waiting.clocks), waiting)
            if waiting.due_ns > before.due_ns:
                latest[id(waiting.clocks)] = waiting
        for waiting in latest.values():
            waiting.clocks.catch_up(waiting.due_ns, self._slots)

    def _join_own_trace(self, waiting: WaitingLookup) -> None:
        """Join what servers wrote into the lookup's own trace."""
        trace_id = waiting.lookup.span.trace_id
        shared = self._traces.get(trace_id)
        if shared is None or trace_id[:8] == _OWN_TRACE:
            return
        for served in context.servers_of(waiting, shared.spans):
            trace, query, spans = served
            told = self._told_of(served)
            if told is not None:
                trace = exchange.completed(trace, told.messages)
            trace, skew_ns = self._corrected(waiting, trace, query)
            if told is not None:
                self._send_along(waiting, told, trace.root.parent_id, skew_ns)
            candidate = waiting.candidate_of(trace.name)
            joined = JoinedTrace(
                trace, candidate, timeline(trace), semconv.METHOD_CONTEXT, trace.root.parent_id,
                skew_ns=skew_ns, query=query,
            )  # fmt: skip
            waiting.traces.append(joined)
            self.counts["server_spans_made"] += len(trace.spans) - len(spans)
            self.counts["server_spans_joined"] += len(spans)
            size = shared.take(spans) + _SPAN_BYTES * len(spans)
            self._server_spans -= len(spans)
            shared.size -= size
            self._bytes -= size
            for span in spans:
                self._remember(trace_id, span.span_id, _SERVED)
        if shared.header is None:
            self._slots.remove_trace(shared)
        self.came_with.pass_by(shared.requests)
        if not shared.spans:
            self._bytes -= shared.size
            self.came_with.let_go(shared.requests)
            del self._traces[trace_id]

    def _told_of(self, served: context.Served) -> WaitingTrace | None:
        """Find the messages of a query whose spans are in the client's trace: nobody else's."""
        root, trace = served.spans[0], served.trace
        told = self._ladder.told_in(root.trace_id)
        slot = self._slots.get((trace.client, trace.name, trace.type))
        return context.nearest(served, [*told, *(slot.traces if slot else ())])

    def _join(
        self,
        owner: WaitingLookup,
        waiting: WaitingTrace,
        candidate: int,
        method: str,
        query: ClientQuery | None,
    ) -> None:
        owner.spans_lost = owner.spans_lost or waiting.spans_lost
        trace, skew_ns = self._corrected(owner, waiting.complete(), query)
        if trace.client != owner.lookup.client:  # it came by way of somebody else
            self._silence.spoke(trace.client, self._now_ns)
        self.counts["server_spans_made"] += len(trace.spans) - len(waiting.spans)
        parent = query.span_id if query else b""
        self._send_along(owner, waiting, parent or owner.lookup.span.span_id, skew_ns)
        joined = JoinedTrace(
            trace, candidate, timeline(trace), method, parent, skew_ns=skew_ns, query=query
        )
        owner.traces.append(self._with_hops(owner, joined, waiting.messages))

    @staticmethod
    def _corrected(
        owner: WaitingLookup, trace: ServerTrace, query: ClientQuery | None
    ) -> tuple[ServerTrace, int]:
        """Bring a server trace to a lookup's clock; an exact pair tells of the clocks first."""
        clocks = owner.clocks
        if query is not None:
            clocks.bound(trace.server, query.start_ns, *bounds_of(trace, query))
        skew_ns = clocks.offset_ns(trace.server, trace.start_ns) if clocks.version else 0
        return moved(trace, skew_ns), skew_ns

    def _with_hops(
        self, owner: WaitingLookup, joined: JoinedTrace, messages: Sequence[Message]
    ) -> JoinedTrace:
        """Join what the server's own queries caused; return the server's trace with its time."""
        if joined.hop >= MAX_HOPS:
            return joined
        line: Sequence[Slice] | None = None
        for connect, waiting, skew_ns, confidence, known in self._hops.below(
            joined.trace, joined.skew_ns, messages, owner.behind
        ):
            carried = waiting in owner.behind
            trace = moved(waiting.complete(), skew_ns)
            self.counts["server_spans_made"] += len(trace.spans) - len(waiting.spans)
            self._send_along(owner, waiting, connect.span_id, skew_ns)
            below = self._with_hops(
                owner,
                JoinedTrace(
                    trace, joined.candidate, timeline(trace),
                    semconv.METHOD_EDNS if carried else semconv.METHOD_TIME,
                    connect.span_id, joined.hop + 1, skew_ns,
                ),
                waiting.messages,
            )  # fmt: skip
            owner.traces.append(below)
            owner.hops_confidence *= confidence
            if known:
                self._silence.relays(trace.client)
            else:
                self._silence.spoke(trace.client, self._now_ns)
            above = joined.timeline.slices if line is None else line
            line = spliced(above, connect, below.timeline.slices)
        if line is None:
            return joined
        return replace(joined, timeline=add_up(joined.trace.spans, line))

    def _send_along(
        self, owner: WaitingLookup, waiting: WaitingTrace, parent: bytes, skew_ns: int
    ) -> None:
        """Let a server trace go with a lookup."""
        owner.behind.pop(waiting, None)
        if owner.lookup.inferred:
            self.counts["server_spans_inferred"] += len(waiting.spans)
            self.counts["messages_inferred"] += len(waiting.messages)
        else:
            self.counts["server_spans_joined"] += len(waiting.spans)
            self.counts["messages_joined"] += len(waiting.messages)
        destination = None
        if owner.lookup.recorded and not owner.apart:  # else there is no trace to go with
            destination = _Destination(
                owner.lookup.span.trace_id, parent, not waiting.rooted, skew_ns
            )
        self._forget(waiting, destination)

    def _resolve(self, decision: Decision) -> None:
        waiting = decision.lookup
        lookup = waiting.lookup
        if waiting.queries:
            queries = tuple(sorted(waiting.queries.values(), key=lambda one: one.start_ns))
            lookup = replace(lookup, queries=queries)
            self.counts["queries_joined"] += len(queries)
        del self._lookups[waiting.identity]
        self.came_with.let_go(waiting.requests)
        self._remember(*waiting.identity)
        self._ladder.remove_lookup(waiting)
        self._bytes -= _size_of(waiting)
        if waiting.found_names:
            lookup = replace(lookup, candidates=tuple(waiting.found_names))
        if len(waiting.traces) > 1:
            waiting.traces.sort(key=_order)
        traces = tuple(waiting.traces)
        if traces:
            methods = {one.method for one in traces if not one.hop}
            method = max(methods, key=semconv.METHODS.index) if len(methods) > 1 else methods.pop()
            confidence, group_size = 1.0, 1
            if decision.given:
                confidence, group_size = decision.confidence, decision.group_size
                if not waiting.clocks_known:
                    confidence = min(confidence, _CLOCKS_UNKNOWN)
                    self.counts["lookups_clocks_unknown"] += 1
            confidence *= waiting.claims_confidence * waiting.hops_confidence
            join = Join(traces, method, confidence, group_size, waiting.apart, waiting.clocks_known)
            self.counts["lookups_joined"] += 1
        else:
            join = Join((), semconv.METHOD_NONE, 0.0)
            self.counts["lookups_unjoined"] += 1
        unseen = self._unseen.reason(
            lookup, join, self._by_time.seen, spans_lost=waiting.spans_lost
        )
        if unseen:
            self.counts[f"lookups_{unseen}"] += 1
        breakdown = explained(break_down(lookup, join), unseen)
        self._outcomes.append(Resolution(lookup, join, breakdown, outcome_of(lookup, join), unseen))

    def _remember(self, *identity: bytes) -> None:
        """Remember a span that is sent on with what was found: it is not sent a second time."""
        self._resolved[identity] = None
        if len(self._resolved) > self.settings.max_remembered:
            self._resolved.popitem(last=False)

    # -- messages and spans of one query --------------------------------------------------------

    def _tie(self, slot: Slot) -> None:
        """Put messages without a trace id to the spans of their query, or leave them out."""
        if len(slot.traces) < 2:
            return
        untied = [one for one in slot.traces if self._is_untied(one)]
        bare = [one for one in slot.traces if is_bare(one)]
        if not untied or not bare:
            return
        for told, trace in list(ties(untied, bare)):
            if trace is None:
                self._release(told, "ambiguous")
            else:
                self.counts["messages_tied"] += len(told.messages)
                self._merge(told, trace)

    def _tie_claimed(self, waiting: WaitingLookup) -> None:
        for told in [one for one in waiting.claimed if self._is_untied(one)]:
            header = told.header
            slot = header and self._slots.get((header.client, header.name, header.type))
            if slot:
                for _, trace in list(ties([told], [one for one in slot.traces if is_bare(one)])):
                    if trace is not None:
                        self.counts["messages_tied"] += len(told.messages)
                        self._merge(told, trace)

    def _is_untied(self, trace: WaitingTrace) -> bool:
        # A server that gives ids leaves them out where it did not trace: there are no spans then.
        return is_untied(trace) and not self._unseen.is_traced(trace.messages[0].server)

    def _merge(self, told: WaitingTrace, trace: WaitingTrace) -> None:
        """Let messages that made a server trace of their own be a part of another."""
        messages = list(told.messages)
        trace.requests = self.came_with.more(trace.requests, told.requests)
        self._forget(told, None)
        for message in messages:
            trace.add_message(message)
            self._messages += 1
            self._hold(trace, _MESSAGE_BYTES)
            self._ladder.add_message(trace, message)
        if trace.claim is not None:
            self._slots.remove_trace(trace)

    # -- server traces that leave -------------------------------------------------------------

    def _expire(self, now_ns: int) -> None:
        """Let go of the server traces that no lookup has come for."""
        if now_ns < self._infer_from_ns:
            return
        expired = self._due_soon(now_ns) if self._soon else {}
        for waiting in self._traces.values():
            if waiting.expires_ns > now_ns:
                break
            expired.setdefault(waiting, waiting.expires_ns)
        due = list(expired)
        if due and self.settings.infer:
            # What one lookup asked of several servers comes in any order, within a second or two:
            # what is just due waits for what may have been before it.
            self._infer_from_ns = now_ns + SECOND
            started = [
                one.start_ns - (0 if expired[one] <= now_ns - 2 * _DISORDER_NS else _DISORDER_NS)
                for one in due
                if one.header is not None
            ]
            until_ns = max(started, default=0)
            due = [one for one in due if one.header is None or one.start_ns <= until_ns]
        for waiting in due:
            if waiting in self._soon and waiting.header is not None:
                self.counts["traces_of_silent_clients"] += 1
                self._silence.released(waiting.header.client, waiting.start_ns)
        self._let_go(due)

    def _due_soon(self, now_ns: int) -> dict[WaitingTrace, int]:
        """Take the server traces that have waited long enough, as their clients are silent."""
        due, waits_on = {}, []
        for waiting, until_ns in self._soon.items():
            if until_ns > now_ns:
                break
            if self._is_nobodys(waiting, now_ns):
                due[waiting] = until_ns
            else:
                waits_on.append(waiting)
        for waiting in waits_on:
            del self._soon[waiting]
        return due

    def _is_nobodys(self, waiting: WaitingTrace, now_ns: int) -> bool:
        after_ns, header = self.settings.silent_after_ns, waiting.header
        return (
            after_ns is not None
            and header is not None
            and waiting.claim is None
            and not waiting.carries_context
            and self._silence.is_silent(header.client, now_ns, after_ns)
        )

    def _let_go(self, due: list[WaitingTrace]) -> None:
        for waiting in [one for one in due if one.header is None]:
            self._release(waiting, "no_root")
        for waiting in sorted((one for one in due if one.header is not None), key=_trace_order):
            if waiting.slot is not None and self._untied and self._rooted:
                self._tie(waiting.slot)
            if waiting.key not in self._traces:
                continue  # it went with another
            if self.settings.infer and waiting.slot is not None and not waiting.disputed:
                self._infer(waiting)
            else:
                self._release(waiting, "silent" if waiting in self._soon else "unmatched")

    def _infer(self, first: WaitingTrace) -> None:
        """Make a lookup of server traces, of which this is the first."""
        inferred = gather(first, self._slots)
        lookup = inferred.lookup()
        owner = WaitingLookup(lookup, 0, AGREEING)  # its times are by the server's clock
        for trace, candidate in inferred.traces:
            if trace.key in self._traces:
                self._join(owner, trace, candidate, semconv.METHOD_INFERRED, None)
        self.counts["lookups_inferred"] += 1
        join = Join(tuple(sorted(owner.traces, key=_order)), semconv.METHOD_INFERRED, 0.0)
        self._outcomes.append(
            Resolution(
                lookup, join, break_down(lookup, join), inferred.outcome(),
                self._unseen.reason_of_inferred(lookup.client),
            )
        )  # fmt: skip

    def _release(self, waiting: WaitingTrace, reason: str) -> None:
        self._forget(waiting, None)
        spans = tuple(waiting.spans.values())
        if waiting.messages:
            self.counts[f"messages_{reason}"] += len(waiting.messages)
        if spans:
            self.counts[f"server_spans_{reason}"] += len(spans)
            trace = waiting.complete() if waiting.rooted else None
            self._outcomes.append(Released(spans, reason, trace))

    def _forget(self, waiting: WaitingTrace, destination: _Destination | None) -> None:
        """Let a server trace go, and remember where to."""
        del self._traces[waiting.key]
        self._soon.pop(waiting, None)
        self.came_with.let_go(waiting.requests)
        self._server_spans -= len(waiting.spans) + len(waiting.messages)
        self._messages -= len(waiting.messages)
        self._bytes -= waiting.size
        self._slots.remove_trace(waiting)
        if waiting.claim is not None:
            del waiting.claim.owner.claimed[waiting]
        if waiting.messages:
            self._ladder.remove_trace(waiting)
            self._reentries.remove(waiting)
        self._left[waiting.key] = destination
        if len(self._left) > self.settings.max_remembered:
            self._left.popitem(last=False)

    def _follow(self, span: Span) -> None:
        self.counts["server_spans_late"] += 1
        destination = self._left[span.trace_id]
        if destination is not None and destination.skew_ns:
            span = otlp.move(span, destination.skew_ns)
        if destination is None:
            self._outcomes.append(Released((span,), "late", _alone(span)))
        elif span.parent_id:
            self._outcomes.append(Late(span, destination.trace_id, span.parent_id))
        elif destination.root_sent:
            self.counts["server_spans_superseded"] += 1
        else:
            self._outcomes.append(Late(span, destination.trace_id, destination.parent_id))


def _claim_order(item: tuple[WaitingTrace, Claim]) -> int:
    header = item[0].header
    return header.root.start_ns if header is not None else 0


def _trace_id(span: Span) -> bytes:
    return span.trace_id


def _alone(span: Span) -> ServerTrace | None:
    """Read a span that came alone: a trace if it is a root."""
    if span.name != semconv.SERVEDNS_SPAN or span.parent_id:
        return None
    with contextlib.suppress(MalformedError):
        return server_trace_of(span)
    return None


def _end_order(decision: Decision) -> tuple[int, bytes, bytes]:
    span = decision.lookup.lookup.span
    return span.end_ns, span.trace_id, span.span_id


def _trace_order(waiting: WaitingTrace) -> tuple[int, str]:
    return waiting.start_ns, str(waiting.key)


def _order(joined: JoinedTrace) -> tuple[int, bytes]:
    root = joined.trace.root
    return root.start_ns, root.trace_id


def _size_of(waiting: WaitingLookup) -> int:
    return len(waiting.lookup.span.raw) + _LOOKUP_BYTES + _SLOT_BYTES * len(waiting.candidates)
