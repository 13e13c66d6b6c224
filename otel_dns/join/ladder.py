"""The exact rungs of the ladder: what says for sure whose query a server saw.

* ``context``: the server's root span is in the client's own trace: CoreDNS took the B3 headers of a
  DoH request.
* ``edns``: the query carried the client's trace context in an EDNS option, and dnstap shows it.
* ``id``: address, port and id of the query are those that the client says it sent.
* ``case``: the name of the query has the letter case that marks it as the client's span's
  (:mod:`otel_dns.join.by_case`).

Each is known as soon as both sides are there, in whatever order, so that no guess takes a server
trace from the lookup that it belongs to.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from otel_dns import semconv
from otel_dns.join.by_case import ByCase
from otel_dns.join.waiting import Claim, Identity, WaitingLookup, WaitingTrace
from otel_dns.model import ClientQuery, Message, ServerTrace

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

WireKey = tuple[str, int, int, str]
"""Client address and port, message id, type: what client and server both see of a query."""

HopKey = tuple[str, int, str]
"""Server, message id, type: what a query and the messages to its upstream have in common there, as
CoreDNS gives a forwarded query the client's id again before it taps it."""

ID_REACH_NS: Final = 5_000_000_000
"""Beyond this a port and an id that come again are another query's."""
_BY_CONTEXT: Final = frozenset({semconv.METHOD_CONTEXT, semconv.METHOD_EDNS})
_SAME_QUERY_NS: Final = 500_000_000
"""Messages of one port and id further apart are of a query sent again: stubs count in seconds."""


class Ladder:
    """Claims of lookups on server traces."""

    def __init__(self, by_case: ByCase, lookups: Mapping[Identity, WaitingLookup]) -> None:
        """Make no claims yet.

        Args:
            by_case: those by letter case.
            lookups: all that wait, by trace and span id.
        """
        self._by_case = by_case
        self._waiting = lookups
        self._asked: dict[WireKey, list[tuple[WaitingLookup, ClientQuery]]] = {}
        self._seen: dict[WireKey, list[WaitingTrace]] = {}
        self._hops: dict[HopKey, list[WaitingTrace]] = {}
        self._lookups: dict[bytes, list[WaitingLookup]] | None = None
        """By trace id; made when a query first carries one."""
        self._carried: dict[bytes, list[WaitingTrace]] = {}

    @property
    def empty(self) -> bool:
        """Nothing is remembered."""
        return not (
            self._asked
            or self._seen
            or self._hops
            or self._lookups
            or self._carried
            or self._by_case
        )

    # -- messages that belong together ---------------------------------------------------------

    def same_query(self, message: Message) -> WaitingTrace | None:
        """Find the server trace that a message without a trace id is a piece of."""
        at_ns = message.query_time_ns or message.time_ns
        forwarded = message.kind in {"FQ", "FR"}
        exact = _exact_ns(message)
        best, best_ns = None, _SAME_QUERY_NS
        for trace in self._seen.get(wire_key(message), ()):
            other = trace.messages[0]
            if other.source == message.source and other.server != message.server:
                continue  # musl asks all nameservers at once, with one port and id
            if not forwarded and other.kind in {"CQ", "CR"} and other.name != message.name:
                continue
            if exact and any(_exact_ns(one) not in {0, exact} for one in trace.messages):
                continue  # over HTTPS the queries of one connection have one port, and id 0
            apart_ns = abs(at_ns - (other.query_time_ns or other.time_ns))
            if apart_ns < best_ns:
                best, best_ns = trace, apart_ns
        return best or self._same_hop(message)

    def _same_hop(self, message: Message) -> WaitingTrace | None:
        """Find the query that a forwarder's message is for, or the other way round.

        By the port in its ``extra``; without one, if there is only one that it can be.
        """
        if not message.server or message.source != "dnstap":
            return None
        found = [
            trace
            for trace in self._hops.get(_hop_key(message), ())
            if _one_hop(message, trace.messages[0])
            and message.trace_id in {b"", *(one.trace_id for one in trace.messages)}
        ]
        if len(found) > 1:  # the server asked itself, or rewrote one name to the other
            found = [trace for trace in found if trace.messages[0].name == message.name]
        return found[0] if len(found) == 1 else None

    # -- in and out ----------------------------------------------------------------------------

    def add_lookup(self, waiting: WaitingLookup) -> None:
        """Take a lookup in."""
        trace_id = waiting.lookup.span.trace_id
        if self._lookups is not None:
            self._lookups.setdefault(trace_id, []).append(waiting)
        for query in waiting.queries.values():
            self.add_query(waiting, query)
        for trace in self._carried.get(trace_id, ()):
            self._claim_by_context(trace)
        if waiting.lookup.marked:
            self._by_case.add_lookup(waiting)

    def add_query(self, waiting: WaitingLookup, query: ClientQuery) -> None:
        """Take in what a client saw of one query."""
        waiting.queries[query.span_id] = query
        key = _key_of(waiting, query)
        if key is not None:
            self._asked.setdefault(key, []).append((waiting, query))
            for trace in self._seen.get(key, ()):
                self._claim_by_id(trace, key)
        for trace in self._carried.get(waiting.lookup.span.trace_id, ()):
            self._claim_by_context(trace)
        if query.marked:
            self._by_case.add_query(waiting, query)

    def add_message(self, trace: WaitingTrace, message: Message) -> None:
        """Take in a message of a server trace, which has it already."""
        key = wire_key(message)
        seen = self._seen.setdefault(key, [])
        if trace not in seen:
            seen.append(trace)
        if message.server and message.source == "dnstap":
            hops = self._hops.setdefault(_hop_key(message), [])
            if trace not in hops:
                hops.append(trace)
        if message.carried is not None:
            carried = self._carried.setdefault(message.carried[0], [])
            if trace not in carried:
                carried.append(trace)
            self._claim_by_context(trace)
        if key in self._asked:
            self._claim_by_id(trace, key)
        self._by_case.judge(trace)

    def remove_lookup(self, waiting: WaitingLookup) -> None:
        """Let a lookup leave."""
        if self._lookups is not None:
            _drop(self._lookups, waiting.lookup.span.trace_id, waiting)
        self._by_case.remove_lookup(waiting)
        for query in waiting.queries.values():
            key = _key_of(waiting, query)
            if key is not None:
                left = [one for one in self._asked.get(key, ()) if one[0] is not waiting]
                if left:
                    self._asked[key] = left
                else:
                    self._asked.pop(key, None)

    def remove_trace(self, trace: WaitingTrace) -> None:
        """Let a server trace leave."""
        for message in trace.messages:
            _drop(self._seen, wire_key(message), trace)
            _drop(self._hops, _hop_key(message), trace)
            if message.carried is not None:
                _drop(self._carried, message.carried[0], trace)

    # -- rungs ---------------------------------------------------------------------------------

    def _claim_by_context(self, trace: WaitingTrace) -> None:
        """The query carried a trace context: whose?"""
        for trace_id, span_id in _contexts(trace):
            of_trace = self._of_trace(trace_id)
            for waiting in of_trace:
                query = waiting.queries.get(span_id)
                if query is not None or waiting.lookup.span.span_id == span_id:
                    trace.give(Claim(waiting, semconv.METHOD_EDNS, query))
                    return
            if not span_id:
                self._claim_by_trace(trace, of_trace)

    def _of_trace(self, trace_id: bytes) -> Sequence[WaitingLookup]:
        """Return the lookups in a trace."""
        if self._lookups is None:
            self._lookups = {}
            for waiting in self._waiting.values():
                self._lookups.setdefault(waiting.lookup.span.trace_id, []).append(waiting)
        return self._lookups.get(trace_id, ())

    def told_in(self, trace_id: bytes) -> Sequence[WaitingTrace]:
        """Return the server traces whose queries carried a client's trace id."""
        return self._carried.get(trace_id, ())

    @staticmethod
    def _claim_by_trace(trace: WaitingTrace, of_trace: Sequence[WaitingLookup]) -> None:
        """The span id is not known: of the trace's lookups it is the one that asks this now."""
        header = trace.header
        if header is None:
            return
        nearest: list[WaitingLookup] = []
        nearest_ns = _SAME_QUERY_NS
        for waiting in of_trace:
            apart_ns = waiting.apart_ns(header.root.start_ns)
            if apart_ns > nearest_ns or not waiting.may_ask(header):
                continue
            if apart_ns < nearest_ns:
                nearest, nearest_ns = [], apart_ns
            nearest.append(waiting)
        if len(nearest) > 1:
            nearest = [one for one in nearest if _query_from(one, header)] or nearest
        if len(nearest) == 1:
            by_edns = any(message.context is not None for message in trace.messages)
            method = semconv.METHOD_EDNS if by_edns else semconv.METHOD_CONTEXT
            trace.give(Claim(nearest[0], method, _query_from(nearest[0], header)))
        elif nearest and trace.claim is not None and trace.claim.method in _BY_CONTEXT:
            trace.give(None)

    def _claim_by_id(self, trace: WaitingTrace, key: WireKey) -> None:
        if trace.claim is not None and trace.claim.method in _BY_CONTEXT:
            return
        header = trace.header
        if header is None:
            return
        at_ns = header.root.start_ns
        best, best_ns = None, ID_REACH_NS
        for waiting, query in self._asked.get(key, ()):
            apart_ns = abs(query.start_ns - at_ns)
            if query.name in {"", header.name} and apart_ns <= best_ns:
                best, best_ns = Claim(waiting, semconv.METHOD_ID, query), apart_ns
        if best is not None:
            trace.give(best)


def wire_key(message: Message) -> WireKey:
    """Return what client and server both see of a message's query."""
    return message.client, message.client_port, message.dns_id, message.type


def _exact_ns(message: Message) -> int:
    """Return when the query came in, which CoreDNS writes on both of its messages; 0 if unknown."""
    if message.source != "dnstap" or message.kind not in {"CQ", "CR"}:
        return 0
    return message.time_ns if message.kind == "CQ" else message.query_time_ns


def _hop_key(message: Message) -> HopKey:
    return message.server, message.dns_id, message.type


def _one_hop(one: Message, other: Message) -> bool:
    """Whether one was sent to the upstream to answer the other, or both to answer a third."""
    forwarded = [each for each in (one, other) if each.kind in {"FQ", "FR"}]
    if not forwarded:
        return False
    ports = {
        each.asker_port if each.kind in {"FQ", "FR"} else each.client_port for each in (one, other)
    }
    if len(ports - {0}) > 1 or ports == {0}:
        return False
    if len(forwarded) == 1:
        asked = other if forwarded[0] is one else one
        out_ns = forwarded[0].query_time_ns or forwarded[0].time_ns
        return 0 <= out_ns - (asked.query_time_ns or asked.time_ns) < ID_REACH_NS
    apart_ns = (one.query_time_ns or one.time_ns) - (other.query_time_ns or other.time_ns)
    return abs(apart_ns) < ID_REACH_NS


def _key_of(waiting: WaitingLookup, query: ClientQuery) -> WireKey | None:
    client = query.client or waiting.lookup.client
    if query.dns_id is None or not query.client_port or not client:
        return None
    return client, query.client_port, query.dns_id, query.type


def _query_from(waiting: WaitingLookup, header: ServerTrace) -> ClientQuery | None:
    """Find the query that a server saw among those that a client tells of, by its port and time."""
    sent = [
        query
        for query in waiting.queries.values()
        if query.client_port == header.client_port
        and query.name in {"", header.name}
        and query.type == header.type
    ]
    return min(sent, key=lambda query: abs(query.start_ns - header.start_ns), default=None)


def _contexts(trace: WaitingTrace) -> list[tuple[bytes, bytes]]:
    """Return what trace contexts a query carried, those with a span id first."""
    carried = {one.carried for one in trace.messages if one.carried is not None}
    return sorted(carried, key=lambda context: not context[1])


def _drop(table: dict[_Key, list[_Value]], key: _Key, value: _Value) -> None:
    left = [one for one in table.pop(key, ()) if one is not value]
    if left:
        table[key] = left
