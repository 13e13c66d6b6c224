"""What a join found, written on the spans themselves: the application's trace grows a branch.

CoreDNS's spans get the application's trace id and ``servedns`` hangs under the lookup; the ids that
it came with stay as string attributes (a span link would lead to a trace that is nowhere). All that
people search for is a single string, on the lookup span and on its ``servedns``: Jaeger matches
tags of one span, by equality.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns import semconv
from otel_dns.join.exchange import is_made
from otel_dns.join.leaving import Late, Outcome, Released
from otel_dns.join.search_keys import name_key, search_keys, server_key
from otel_dns.model import ROUNDING_NS, JoinedTrace, Lookup, Origin, Resolution, Span
from otel_dns.wire.otlp import (
    double_attribute,
    hex_attribute,
    int_attribute,
    move,
    rewrite,
    word_attribute,
)

_SEGMENT_KEYS: Final = {
    segment: f"{semconv.BREAKDOWN_PREFIX}{segment}_ns" for segment in semconv.SEGMENTS
}


def encode(outcome: Outcome, *, servers: bool = True) -> list[tuple[Origin, bytes]]:
    """Encode what leaves the join: each span with the origin to send it under.

    Args:
        outcome: what leaves.
        servers: whether a lookup's server spans are wanted too.
    """
    if isinstance(outcome, Resolution):
        return _resolution(outcome, servers=servers)
    if isinstance(outcome, Released):
        return [(span.origin, span.raw) for span in outcome.spans]
    return [(outcome.span.origin, _late_span(outcome))]


def _resolution(resolution: Resolution, *, servers: bool) -> list[tuple[Origin, bytes]]:
    lookup, traces = resolution.lookup, resolution.join.traces
    if not lookup.recorded:
        return list(_unrecorded(resolution))
    keys = search_keys(resolution)
    lookup_span = _lookup_span(resolution, keys)
    if servers and resolution.join.apart:
        return [(lookup.span.origin, lookup_span + _links(traces)), *_apart(traces)]
    spans = [(lookup.span.origin, lookup_span)]
    if servers and traces:
        keys += name_key(resolution)
        for joined in traces:
            spans += _server_spans(lookup, joined, keys)
    return spans


def _lookup_span(resolution: Resolution, keys: bytes) -> bytes:
    join, breakdown = resolution.join, resolution.breakdown
    parts = [
        keys,
        int_attribute(semconv.QUERIES, sum([not one.hop for one in join.traces])),
    ]
    certainty = join.certainty
    if certainty:
        parts.append(word_attribute(semconv.JOIN_CERTAINTY, certainty))
        parts.append(double_attribute(semconv.JOIN_CONFIDENCE, join.confidence))
    if not join.clocks_known:
        parts.append(word_attribute(semconv.JOIN_CLOCKS, semconv.CLOCKS_UNKNOWN))
    if resolution.unseen:
        parts.append(word_attribute(semconv.JOIN_UNSEEN, resolution.unseen))
    if join.group_size > 1:
        parts.append(int_attribute(semconv.JOIN_GROUP_SIZE, join.group_size))
    if join.traces:
        parts += [
            server_key(join.traces[0].trace),
            _wasted(breakdown.waste_queries, breakdown.waste_ns, breakdown.retries),
            int_attribute(semconv.AFTER_ANSWER, breakdown.after_answer_ns),
        ]
    parts += [
        int_attribute(_SEGMENT_KEYS[segment], nanoseconds)
        for segment, nanoseconds in breakdown.segments.items()
    ]
    parts += map(_plugin_time, breakdown.plugins, breakdown.plugins.values())
    return resolution.lookup.span.raw + b"".join(parts)


@lru_cache(maxsize=1 << 10)
def _wasted(queries: int, nanoseconds: int, retries: int) -> bytes:
    return b"".join((
        int_attribute(semconv.WASTE_QUERIES, queries),
        int_attribute(semconv.WASTE_TIME, nanoseconds),
        int_attribute(semconv.LOOKUP_RETRIES, retries),
    ))  # fmt: skip


@lru_cache(maxsize=1 << 13)
def _plugin_time(plugin: str, nanoseconds: int) -> bytes:
    """Encode what a plugin took; CoreDNS's times are whole microseconds, so they come again."""
    key = f"{semconv.BREAKDOWN_PLUGIN_PREFIX}{plugin}_ns"
    return int_attribute(key, nanoseconds)


def _server_spans(lookup: Lookup, joined: JoinedTrace, keys: bytes) -> list[tuple[Origin, bytes]]:
    spans = []
    trace = joined.trace
    trace_id, above = lookup.span.trace_id, joined.parent or lookup.span.span_id
    last_ns = trace.root.end_ns + ROUNDING_NS
    for span, own_ns in zip(trace.spans, joined.timeline.own_ns, strict=True):
        attributes = int_attribute(semconv.OWN_TIME, own_ns)
        if span is trace.root:
            attributes += hex_attribute(semconv.ORIGINAL_TRACE_ID, span.trace_id)
            attributes += hex_attribute(semconv.ORIGINAL_SPAN_ID, span.span_id)
            attributes += int_attribute(semconv.CANDIDATE_INDEX, joined.candidate)
            if joined.skew_ns:
                attributes += int_attribute(semconv.SKEW, joined.skew_ns)
            attributes += keys + server_key(trace)
            if joined.hop:
                attributes += int_attribute(semconv.HOP, joined.hop)
            parent_id = above
        else:
            parent_id = span.parent_id or above
            if span.end_ns > last_ns:
                since_ns = max(span.start_ns, trace.root.end_ns)
                attributes += int_attribute(semconv.BACKGROUND, span.end_ns - since_ns)
        spans.append((span.origin, rewrite(span, trace_id, parent_id, attributes)))
    return spans


def _links(traces: Sequence[JoinedTrace]) -> bytes:
    """Encode links to the servers that the client asked: they are in traces of their own."""
    roots = [joined.trace.root for joined in traces if not joined.hop]
    links = [ProtoSpan.Link(trace_id=root.trace_id, span_id=root.span_id) for root in roots]
    return ProtoSpan(links=links).SerializeToString()


def _apart(traces: Sequence[JoinedTrace]) -> Iterator[tuple[Origin, bytes]]:
    for joined in traces:
        for span in joined.trace.spans:
            yield span.origin, move(span, -joined.skew_ns).raw if joined.skew_ns else span.raw


def _unrecorded(resolution: Resolution) -> Iterator[tuple[Origin, bytes]]:
    """There is no lookup span to hang anything under: CoreDNS's own spans stay as they came."""
    for joined in resolution.join.traces:
        for span in as_it_came(joined):
            yield span.origin, span.raw


def as_it_came(joined: JoinedTrace) -> list[Span]:
    """Return the spans of a server trace that a server sent, with the times that it gave."""
    spans = [span for span in joined.trace.spans if not is_made(span)]
    return [move(span, -joined.skew_ns) for span in spans] if joined.skew_ns else spans


def _late_span(late: Late) -> bytes:
    return rewrite(late.span, late.trace_id, late.parent_id)
