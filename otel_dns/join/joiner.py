"""The join's state, and the only owner of it.

Lookups, server spans and messages go in as they arrive, in any order; outcomes come out of
:meth:`Joiner.advance`. A lookup waits for the settle time, within which the exporters of both sides
have sent what belongs to it; a server trace waits as long as the longest lookup may last. Both are
bounded by age, count and bytes, and everything that leaves is counted under a name.

What comes in is taken in here. What is held is in :mod:`~otel_dns.join.held`; lookups that are due
are for :mod:`~otel_dns.join.settle`, server traces that nobody came for are for
:mod:`~otel_dns.join.release`, and what has left is remembered in :mod:`~otel_dns.join.leaving`.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import attrgetter
from typing import Final

from otel_dns import semconv
from otel_dns.join.assemble import Assembler
from otel_dns.join.clocks.skew import Skew
from otel_dns.join.early import MAX_QUERIES, EarlyQueries
from otel_dns.join.held import MAX_MESSAGES, OWN_TRACE, Held
from otel_dns.join.leaving import Outcome
from otel_dns.join.release import Releaser
from otel_dns.join.settings import JoinSettings
from otel_dns.join.settle import Settler
from otel_dns.join.silence import Silence
from otel_dns.join.tie import Ties
from otel_dns.join.unseen import Unseen
from otel_dns.join.waiting import WaitingLookup, WaitingTrace
from otel_dns.model import ClientQuery, Lookup, Message, Span
from otel_dns.wire import MalformedError, otlp

_trace_id: Final = attrgetter("trace_id")


class Joiner:
    """Joins lookups with server traces, as a stream.

    Not thread-safe: one thread feeds it. ``now_ns`` is any clock that only moves forward.
    """

    def __init__(self, settings: JoinSettings | None = None) -> None:
        settings = settings or JoinSettings()
        self._held = held = Held(settings)
        self.counts = held.counts
        """Exits by name, in spans or messages of the kind the name says."""
        self.came_with = held.came_with
        """Of which requests the things held are; whoever wants to know says which one comes."""
        self._early_queries = EarlyQueries(settings.trace_wait_ns, settings.max_lookups)
        self._skew = Skew(follow=settings.follow_clocks)
        self._silence = Silence(settings.relays)
        self._unseen = Unseen()
        self._ties = Ties(held, self._unseen)
        self._assembler = Assembler(held, self._silence)
        self._settler = Settler(held, self._ties, self._assembler, self._unseen)
        self._releaser = Releaser(held, self._ties, self._assembler, self._silence, self._unseen)

    @property
    def settings(self) -> JoinSettings:
        """How long and how much is held; tolerance and clocks stay as they were at first."""
        return self._held.settings

    @settings.setter
    def settings(self, settings: JoinSettings) -> None:
        self._held.settings = settings

    @property
    def waiting_lookups(self) -> int:
        """Number of lookups held."""
        return len(self._held.lookups)

    @property
    def waiting_server_spans(self) -> int:
        """Number of server spans and messages held."""
        return self._held.server_spans

    @property
    def waiting_messages(self) -> int:
        """Number of messages held."""
        return self._held.messages

    @property
    def waiting_queries(self) -> int:
        """Number of clients' queries held whose lookup has not come."""
        return len(self._early_queries)

    @property
    def waiting_bytes(self) -> int:
        """Bytes held, about."""
        return self._held.bytes

    # -- lookups, and their queries as clients saw them ------------------------------------------

    def add_lookup(self, lookup: Lookup, now_ns: int) -> None:
        """Take a lookup in."""
        held = self._held
        identity = (lookup.span.trace_id, lookup.span.span_id)
        if identity in held.lookups or held.leaving.is_resolved(identity):
            self.counts["duplicate"] += 1
            return
        due_ns = now_ns + held.settings.settle_ns
        waiting = WaitingLookup(lookup, due_ns, self._skew.clocks_of(lookup))
        if self._early_queries:
            for query in self._early_queries.take(identity):
                waiting.queries[query.span_id] = query
        held.add_lookup(waiting)
        self._reserve(waiting)
        if lookup.client and self._silence.spoke(lookup.client, now_ns, lookup.start_ns):
            self.counts["lookups_after_silence"] += 1
        if len(held.lookups) > held.settings.max_lookups or held.bytes > held.settings.max_bytes:
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
        waiting = self._held.lookups.get(lookup)
        if waiting is None:
            if self._held.leaving.is_resolved(lookup):
                self.counts["queries_late"] += 1
            else:
                self._early_queries.add(lookup, query, now_ns, self.counts)
        elif query.span_id in waiting.queries:
            self.counts["queries_duplicate"] += 1
        elif len(waiting.queries) >= MAX_QUERIES:
            self.counts["queries_surplus"] += 1
        else:
            self._held.ladder.add_query(waiting, query)
            self._reserve(waiting)

    def _reserve(self, waiting: WaitingLookup) -> None:
        """Take what is a lookup's for sure from the slots: it is not for guesses any more."""
        for trace in waiting.claimed:
            self._held.slots.remove_trace(trace)

    # -- what servers tell -----------------------------------------------------------------------

    def add_server_span(self, span: Span, now_ns: int) -> None:
        """Take one of CoreDNS's spans in."""
        self.add_server_spans((span,), now_ns)

    def add_server_spans(self, spans: Iterable[Span], now_ns: int) -> None:
        """Take CoreDNS's spans in; those of one trace come side by side, mostly."""
        leaving = self._held.leaving
        for trace_id, together in groupby(spans, _trace_id):
            if leaving.has_left(trace_id):
                for span in together:
                    leaving.follow(span)
                self.came_with.pass_by(self.came_with.current)
            else:
                self._add_to_trace(trace_id, together, now_ns)

    def _add_to_trace(self, trace_id: bytes, spans: Iterable[Span], now_ns: int) -> None:
        held = self._held
        if trace_id[:8] != OWN_TRACE:
            spans = self._without_served(spans)
        waiting = held.traces.get(trace_id)
        number = size = 0
        for span in spans:
            if waiting is None:
                waiting = held.new_trace(trace_id, now_ns)
            span_id = span.span_id
            if span_id in waiting.spans:
                self.counts["duplicate"] += 1
                continue
            waiting.spans[span_id] = span
            number += 1
            size += len(span.raw)
            if not span.parent_id and span.name == semconv.SERVEDNS_SPAN and not waiting.rooted:
                self._show(waiting, span, now_ns)
        if waiting is not None and number:
            waiting.requests = self.came_with.more(waiting.requests)
            held.grew(waiting, number, size)
        self._keep_bounds()

    def _without_served(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Leave out what was sent on with a lookup, in whose own trace it was."""
        for span in spans:
            if self._held.leaving.is_served(span):
                self.counts["duplicate"] += 1
            else:
                yield span

    def _show(self, waiting: WaitingTrace, root: Span, now_ns: int) -> None:
        """A root has come: let lookups see the trace."""
        try:
            waiting.add_root(root)
            self._ties.spans_came = True
        except MalformedError:
            self.counts["bad_root"] += 1
            return
        header = waiting.header
        if header is not None:
            self._skew.heard(header.server, root.start_ns)
            for address in otlp.server_addresses(root.origin.resource):
                self._silence.relays(address)
        if waiting.claim is None and not waiting.carries_context:
            self._held.slots.add_trace(waiting)
            if header is not None:
                self._releaser.hurry(waiting, header.client, now_ns)

    def add_message(self, message: Message, now_ns: int) -> None:
        """Take in a message of dnstap or of a log."""
        held = self._held
        if message.trace_id:
            self._unseen.traced(message.server)
        else:
            self._ties.messages_came = True
        waiting = held.trace_of(message, now_ns)
        if waiting is None:
            self.counts["messages_late"] += 1
            return
        if message in waiting.messages:
            self.counts["messages_duplicate"] += 1
            return
        if len(waiting.messages) >= MAX_MESSAGES:
            self.counts["messages_surplus"] += 1
            return
        held.add_message(waiting, message)
        waiting.requests = self.came_with.more(waiting.requests)
        asked = message.kind in {"CQ", "CR"}
        if not asked and message.client:
            self._silence.relays(message.client)
        if waiting.claim is None and not waiting.carries_context:
            if asked:
                self._skew.heard(message.server, message.query_time_ns or message.time_ns)
                held.slots.add_trace(waiting)
                self._releaser.hurry(waiting, message.client, now_ns)
        else:
            held.slots.remove_trace(waiting)
        for inner, outer in held.reentries.add(waiting, message):
            held.merge(inner, outer)
        self._keep_bounds()

    # -- bounds ----------------------------------------------------------------------------------

    def _keep_bounds(self) -> None:
        held = self._held
        while held.too_many_traces and held.traces:
            oldest = next(iter(held.soon), None) or next(iter(held.traces.values()))
            held.release(oldest, "evicted")
        while held.lookups and held.bytes > held.settings.max_bytes:
            self._settle_early()

    def _settle_early(self) -> None:
        # Several at once: what they share is then worked out once, not once for each.
        lookups = self._held.lookups
        early = list(islice(lookups.values(), 1 + len(lookups) // 100))
        self.counts["lookups_settled_early"] += len(early)
        self._settler.settle(early)

    # -- out -------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> list[Outcome]:
        """Let time pass, and take what is due."""
        self._assembler.now_ns = now_ns
        due = []
        for waiting in self._held.lookups.values():
            if waiting.due_ns > now_ns:
                break
            due.append(waiting)
        if due:
            self._settler.settle(due)
        self._releaser.expire(now_ns)
        if self._early_queries:
            self._early_queries.expire(now_ns, self.counts)
        return self._held.leaving.take()

    def drain(self) -> list[Outcome]:
        """End: take everything that is held, joined as far as it can be now."""
        self._settler.settle(list(self._held.lookups.values()))
        self._releaser.let_go(list(self._held.traces.values()))
        self._early_queries.drain(self.counts)
        return self._held.leaving.take()
