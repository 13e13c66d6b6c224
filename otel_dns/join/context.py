"""Rung ``context``: server spans in the client's own trace.

CoreDNS takes the B3 headers of a DoH request, so its ``servedns`` is a child of whatever sent them:
the span of the query, of the lookup, or one that an HTTP instrumentation put between. With the
trace plugin's ``client_server`` it even shares that one's span id, which OpenTelemetry does not
know: such a root gets an id of its own, below the one it shared.
"""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join.recognise import server_trace_of
from otel_dns.join.waiting import WaitingLookup, WaitingTrace
from otel_dns.model import ClientQuery, ServerTrace, Span
from otel_dns.wire import MalformedError, otlp

_ROUNDING_NS: Final = 1_000
"""CoreDNS's spans are in whole microseconds, its messages are not."""


class Served(NamedTuple):
    """One query's server spans."""

    trace: ServerTrace
    query: ClientQuery | None
    """The client's own sight of it, where that is known."""
    spans: tuple[Span, ...]
    """As they came, the root first."""


def servers_of(waiting: WaitingLookup, spans: Mapping[bytes, Span]) -> Iterator[Served]:
    """Cut a lookup's server traces out of the server spans in its trace.

    Args:
        waiting: the lookup.
        spans: all server spans in its trace that have come, by id.

    Yields:
        Whole server traces.
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
        whole = _whole(root, children)
        shares = query.span_id if query is not None else waiting.lookup.span.span_id
        own = _unshared(whole) if root.span_id == shares else whole
        yield Served(replace(trace, root=own[0], spans=own), query, whole)


def nearest(served: Served, told: Iterable[WaitingTrace]) -> WaitingTrace | None:
    """Find the messages of a query among those of its trace, or of its question.

    Args:
        served: the query's spans.
        told: what messages tell of.
    """
    root, trace = served.spans[0], served.trace
    best, best_ns = None, 1 + root.end_ns - root.start_ns
    for one in told:
        header = one.header
        if one.rooted or header is None:
            continue
        if (header.client, header.type) != (trace.client, trace.type):
            continue
        after_ns = header.start_ns - root.start_ns
        if -_ROUNDING_NS <= after_ns < best_ns:
            best, best_ns = one, after_ns
    return best


def _asks(waiting: WaitingLookup, root: Span, trace: ServerTrace) -> bool:
    """Whether it is this lookup's: its child, or its question in its time under a span between."""
    lookup = waiting.lookup
    if lookup.span.span_id in {root.parent_id, root.span_id}:
        return True
    return (
        waiting.may_ask(trace)
        and not waiting.queries
        and lookup.start_ns <= root.end_ns
        and root.start_ns <= lookup.end_ns
    )


def _whole(root: Span, children: Mapping[bytes, list[Span]]) -> tuple[Span, ...]:
    found, seen = [root], {root.span_id}
    for span in found:
        for child in children.get(span.span_id, ()):
            if child.span_id not in seen and child.name != semconv.SERVEDNS_SPAN:
                seen.add(child.span_id)
                found.append(child)
    others = sorted(found[1:], key=lambda span: (span.start_ns, span.span_id))
    return (root, *others)


def _unshared(spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """Give a root that has its client's span id one of its own, below that."""
    root, *others = spans
    shared = root.span_id
    span_id = blake2b(shared, digest_size=8, person=b"otel-dns served").digest()
    raw = otlp.with_span_id(root.raw, span_id)
    return (
        replace(root, span_id=span_id, parent_id=shared, raw=raw),
        *(replace(one, parent_id=span_id) if one.parent_id == shared else one for one in others),
    )
