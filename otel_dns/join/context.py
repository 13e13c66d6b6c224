"""Rung ``context``: server spans in the client's own trace.

CoreDNS takes the B3 headers of a DoH request, so its ``servedns`` is a child of whatever sent them:
the span of the query, of the lookup, or one that an HTTP instrumentation put between. With the
trace plugin's ``client_server`` it even shares the query's span id.
"""

from collections.abc import Iterator, Mapping

from otel_dns import semconv
from otel_dns.join.recognise import server_trace_of
from otel_dns.join.waiting import WaitingLookup
from otel_dns.model import ClientQuery, ServerTrace, Span
from otel_dns.wire import MalformedError


def servers_of(
    waiting: WaitingLookup, spans: Mapping[bytes, Span]
) -> Iterator[tuple[ServerTrace, ClientQuery | None]]:
    """Cut a lookup's server traces out of the server spans in its trace.

    Args:
        waiting: the lookup.
        spans: all server spans in its trace that have come, by id.

    Yields:
        Whole server traces, each with the client's query if that is known.
    """
    children: dict[bytes, list[Span]] = {}
    for span in spans.values():
        children.setdefault(span.parent_id, []).append(span)
    roots = [span for span in spans.values() if span.name == semconv.SERVEDNS_SPAN]
    for root in sorted(roots, key=lambda span: (span.start_ns, span.span_id)):
        try:
            trace = server_trace_of(root)
        except MalformedError:
            continue
        query = waiting.queries.get(root.parent_id) or waiting.queries.get(root.span_id)
        if query is None and not _asks(waiting, root, trace):
            continue
        yield _whole(trace, children), query


def _asks(waiting: WaitingLookup, root: Span, trace: ServerTrace) -> bool:
    """Whether it is this lookup's: its child, or its question in its time under a span between."""
    lookup = waiting.lookup
    if root.parent_id == lookup.span.span_id:
        return True
    return (
        trace.name in lookup.candidates
        and trace.type in lookup.types
        and not waiting.queries
        and lookup.start_ns <= root.end_ns
        and root.start_ns <= lookup.end_ns
    )


def _whole(trace: ServerTrace, children: Mapping[bytes, list[Span]]) -> ServerTrace:
    found, seen = [trace.root], {trace.root.span_id}
    for span in found:
        for child in children.get(span.span_id, ()):
            if child.span_id not in seen and child.name != semconv.SERVEDNS_SPAN:
                seen.add(child.span_id)
                found.append(child)
    others = sorted(found[1:], key=lambda span: (span.start_ns, span.span_id))
    return ServerTrace(
        trace.root, (trace.root, *others), trace.client, trace.name, trace.type, trace.rcode,
        trace.proto, trace.server,
    )  # fmt: skip
