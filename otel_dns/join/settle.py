"""Lookups that have waited long enough: what is theirs is decided, and each is resolved."""

from typing import Final

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join.assemble import Assembler
from otel_dns.join.breakdown import break_down
from otel_dns.join.by_time.decide import ByTime, Decision
from otel_dns.join.held import Held
from otel_dns.join.outcome import outcome_of
from otel_dns.join.tie import Ties
from otel_dns.join.unseen import Unseen, explained
from otel_dns.join.waiting import Claim, WaitingLookup, WaitingTrace
from otel_dns.model import Join, JoinedTrace, Lookup, Resolution

_CLOCKS_UNKNOWN: Final = 0.5
"""Confidence of a join by time, at most, across clocks of which it is not known how they differ."""


class Settler:
    """Decides about lookups that are due, all that are due at one moment together."""

    def __init__(self, held: Held, ties: Ties, assembler: Assembler, unseen: Unseen) -> None:
        self._held = held
        self._ties = ties
        self._assembler = assembler
        self._unseen = unseen
        self._by_time = ByTime(held.slots, held.settings.tolerance_ns)

    def settle(self, due: list[WaitingLookup]) -> None:
        """Resolve lookups: first what is sure, then what time tells; they share slots fairly."""
        held, ties_wanted = self._held, self._ties.wanted
        for waiting in due:
            if ties_wanted:
                self._ties.tie_to_claimed(waiting)
                for slot in held.slots.of(waiting):
                    self._ties.tie(slot)
            if waiting.lookup.span.trace_id in held.traces:
                self._assembler.join_own_trace(waiting)
            if waiting.claimed:
                self._join_claimed(waiting)
        _follow_clocks(due, held)
        decisions = []
        for decision in self._by_time.decide(due):
            decisions.append(decision)
            self._join_given(decision)
        decisions.sort(key=_end_order)
        for decision in decisions:
            self._join_behind(decision.lookup)
            self._resolve(decision)

    def _join_claimed(self, waiting: WaitingLookup) -> None:
        _set_apart(waiting)
        for trace, claim in sorted(waiting.claimed.items(), key=_claim_order):
            if trace.header is not None:
                candidate = waiting.candidate_of(trace.header.name)
                if claim.method == semconv.METHOD_CASE:
                    # One mark on all of them: what is wrong with one is with the others.
                    waiting.claims_confidence = min(
                        waiting.claims_confidence, self._held.by_case.confidence(trace)
                    )
                self._assembler.join(waiting, trace, candidate, claim.method, claim.query)

    def _join_behind(self, waiting: WaitingLookup) -> None:
        """Give a lookup what was behind a server that was not seen itself."""
        for trace, query in tuple(waiting.behind.items()):
            assert trace.header is not None
            candidate = waiting.candidate_of(trace.header.name)
            self._assembler.join(waiting, trace, candidate, semconv.METHOD_EDNS, query)

    def _join_given(self, decision: Decision) -> None:
        waiting = decision.lookup
        self._held.slots.remove_lookup(waiting)
        if not decision.given:
            return
        waiting.apart = (
            self._held.settings.leave_groups and decision.group_size > 1 and not waiting.traces
        )
        given = [trace for trace, _ in decision.given]
        waiting.clocks_known = not waiting.clocks.doubts(waiting, given)
        for trace, candidate in decision.given:
            self._assembler.join(waiting, trace, candidate, semconv.METHOD_TIME, None)

    def _resolve(self, decision: Decision) -> None:
        waiting = decision.lookup
        self._held.remove_lookup(waiting)
        lookup, join = self._with_queries(waiting), self._joined(decision)
        unseen = self._unseen.reason(
            lookup, join, self._by_time.seen, spans_lost=waiting.spans_lost
        )
        if unseen:
            self._held.counts[f"lookups_{unseen}"] += 1
        breakdown = explained(break_down(lookup, join), unseen)
        self._held.leaving.outcomes.append(
            Resolution(lookup, join, breakdown, outcome_of(lookup, join), unseen)
        )

    def _with_queries(self, waiting: WaitingLookup) -> Lookup:
        """Return a lookup with what has become known of it while it waited."""
        lookup = waiting.lookup
        if waiting.queries:
            queries = tuple(sorted(waiting.queries.values(), key=lambda one: one.start_ns))
            lookup = replace(lookup, queries=queries)
            self._held.counts["queries_joined"] += len(queries)
        if waiting.found_names:
            lookup = replace(lookup, candidates=tuple(waiting.found_names))
        return lookup

    def _joined(self, decision: Decision) -> Join:
        waiting, counts = decision.lookup, self._held.counts
        if len(waiting.traces) > 1:
            waiting.traces.sort(key=in_order)
        traces = tuple(waiting.traces)
        if not traces:
            counts["lookups_unjoined"] += 1
            return Join((), semconv.METHOD_NONE, 0.0)
        counts["lookups_joined"] += 1
        methods = {one.method for one in traces if not one.hop}
        method = max(methods, key=semconv.METHODS.index) if len(methods) > 1 else methods.pop()
        confidence, group_size = 1.0, 1
        if decision.given:
            confidence, group_size = decision.confidence, decision.group_size
            if not waiting.clocks_known:
                confidence = min(confidence, _CLOCKS_UNKNOWN)
                counts["lookups_clocks_unknown"] += 1
        confidence *= waiting.claims_confidence * waiting.hops_confidence
        return Join(traces, method, confidence, group_size, waiting.apart, waiting.clocks_known)


def in_order(joined: JoinedTrace) -> tuple[int, bytes]:
    """Sort a lookup's server traces by this: when they started."""
    root = joined.trace.root
    return root.start_ns, root.trace_id


def _follow_clocks(due: list[WaitingLookup], held: Held) -> None:
    """Learn how the servers' clocks go, before anything is decided by time."""
    latest = dict.fromkeys([waiting.clocks for waiting in due], 0)
    for waiting in due:
        latest[waiting.clocks] = max(waiting.due_ns, latest[waiting.clocks])
    for clocks, due_ns in latest.items():
        clocks.catch_up(due_ns, held.slots)


def _set_apart(waiting: WaitingLookup) -> None:
    """Set apart what other servers asked: they pass on the context that a query carries."""
    for trace, claim in tuple(waiting.claimed.items()):
        if claim.method == semconv.METHOD_EDNS and claim.query and trace.header is not None:
            own = claim.query.client or waiting.lookup.client
            if own and trace.header.client != own:
                trace.give(None)
                waiting.behind[trace] = claim.query


def _claim_order(item: tuple[WaitingTrace, Claim]) -> int:
    header = item[0].header
    return header.root.start_ns if header is not None else 0


def _end_order(decision: Decision) -> tuple[int, bytes, bytes]:
    span = decision.lookup.lookup.span
    return span.end_ns, span.trace_id, span.span_id
