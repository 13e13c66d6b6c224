"""A server trace that belongs to a lookup: brought to its clock, with what the server asked itself.

Whatever decided that it belongs, from here on it is the same: the trace is completed, moved to the
client's clock, laid out in time, and leaves with the lookup; so do the server traces of the hops
behind it.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join import context, exchange
from otel_dns.join.clocks.skew import bounds_of, moved
from otel_dns.join.held import OWN_TRACE, Held
from otel_dns.join.hops import MAX_HOPS, Hops, spliced
from otel_dns.join.leaving import Destination
from otel_dns.join.silence import Silence
from otel_dns.join.timeline import add_up, timeline
from otel_dns.join.waiting import WaitingLookup, WaitingTrace
from otel_dns.model import ClientQuery, JoinedTrace, Message, ServerTrace, Slice

_JOINED: Final = "server_spans_joined", "messages_joined"
_INFERRED: Final = "server_spans_inferred", "messages_inferred"


class Assembler:
    """Gives lookups their server traces, which leave the tables with it."""

    def __init__(self, held: Held, silence: Silence) -> None:
        self._held = held
        self._silence = silence
        self._hops = Hops(
            held.slots,
            held.settings.tolerance_ns,
            held.traces.values(),
            follow_clocks=held.settings.follow_clocks,
        )
        self.now_ns = 0
        """The time, when it last passed."""

    def join(
        self,
        owner: WaitingLookup,
        waiting: WaitingTrace,
        candidate: int,
        method: str,
        query: ClientQuery | None,
    ) -> None:
        """Give a lookup a server trace.

        Args:
            owner: the lookup.
            waiting: the server trace.
            candidate: which of the lookup's candidates was asked for.
            method: ``semconv.METHOD_...``: what decided it.
            query: the client's own sight of this query.
        """
        owner.spans_lost = owner.spans_lost or waiting.spans_lost
        trace, skew_ns = _corrected(owner, waiting.complete(), query)
        if trace.client != owner.lookup.client:  # it came by way of somebody else
            self._silence.spoke(trace.client, self.now_ns)
        self._held.counts["server_spans_made"] += len(trace.spans) - len(waiting.spans)
        parent = query.span_id if query else b""
        self._send_along(owner, waiting, parent or owner.lookup.span.span_id, skew_ns)
        joined = JoinedTrace(
            trace, candidate, timeline(trace), method, parent, skew_ns=skew_ns, query=query
        )
        owner.traces.append(self._with_hops(owner, joined, waiting.messages))

    def join_own_trace(self, owner: WaitingLookup) -> None:
        """Give a lookup what servers wrote into its own trace, of which something is held."""
        held, trace_id = self._held, owner.lookup.span.trace_id
        if trace_id[:8] == OWN_TRACE:
            return
        shared = held.traces[trace_id]
        for served in context.servers_of(owner, shared.spans):
            trace, query, spans = served
            told = self._told_of(served)
            if told is not None:
                trace = exchange.completed(trace, told.messages)
            trace, skew_ns = _corrected(owner, trace, query)
            if told is not None:
                self._send_along(owner, told, trace.root.parent_id, skew_ns)
            candidate = owner.candidate_of(trace.name)
            joined = JoinedTrace(
                trace, candidate, timeline(trace), semconv.METHOD_CONTEXT, trace.root.parent_id,
                skew_ns=skew_ns, query=query,
            )  # fmt: skip
            owner.traces.append(joined)
            held.counts["server_spans_made"] += len(trace.spans) - len(spans)
            held.counts["server_spans_joined"] += len(spans)
            held.take_spans(shared, spans)
        held.leave_rest(shared)

    def _told_of(self, served: context.Served) -> WaitingTrace | None:
        """Find the messages of a query whose spans are in the client's trace: nobody else's."""
        root, trace = served.spans[0], served.trace
        told = self._held.ladder.told_in(root.trace_id)
        slot = self._held.slots.get((trace.client, trace.name, trace.type))
        return context.nearest(served, [*told, *(slot.traces if slot else ())])

    def _with_hops(
        self, owner: WaitingLookup, joined: JoinedTrace, messages: Sequence[Message]
    ) -> JoinedTrace:
        """Join what the server's own queries caused; return the server's trace with its time."""
        if joined.hop >= MAX_HOPS or semconv.CONNECT_SPAN not in joined.timeline.names:
            return joined
        line: Sequence[Slice] | None = None
        for connect, waiting, skew_ns, confidence, known in self._hops.below(
            joined.trace, joined.skew_ns, messages, owner.behind
        ):
            carried = waiting in owner.behind
            trace = moved(waiting.complete(), skew_ns)
            self._held.counts["server_spans_made"] += len(trace.spans) - len(waiting.spans)
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
                self._silence.spoke(trace.client, self.now_ns)
            above = joined.timeline.slices if line is None else line
            line = spliced(above, connect, below.timeline.slices)
        if line is None:
            return joined
        return replace(joined, timeline=add_up(joined.trace.spans, line))

    def _send_along(
        self, owner: WaitingLookup, waiting: WaitingTrace, parent: bytes, skew_ns: int
    ) -> None:
        """Let a server trace leave with a lookup."""
        owner.behind.pop(waiting, None)
        lookup, counts = owner.lookup, self._held.counts
        spans, messages = _INFERRED if lookup.inferred else _JOINED
        counts[spans] += len(waiting.spans)
        counts[messages] += len(waiting.messages)
        destination = None
        if lookup.recorded and not owner.apart:  # else there is no trace to go with
            destination = Destination(lookup.span.trace_id, parent, not waiting.rooted, skew_ns)
        self._held.remove_trace(waiting, destination)


def _corrected(
    owner: WaitingLookup, trace: ServerTrace, query: ClientQuery | None
) -> tuple[ServerTrace, int]:
    """Bring a server trace to a lookup's clock; an exact pair tells of the clocks first."""
    clocks = owner.clocks
    if query is not None:
        clocks.bound(trace.server, query.start_ns, *bounds_of(trace, query))
    skew_ns = clocks.offset_ns(trace.server, trace.start_ns) if clocks.version else 0
    return moved(trace, skew_ns), skew_ns
