"""One lookup with all that is known of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from otel_dns import semconv
from otel_dns.history.answers import Brief, HopTime, SpanTime
from otel_dns.history.history import History
from otel_dns.history.where import Where
from otel_dns.web import labels
from otel_dns.web.access import Scope
from otel_dns.web.asked import SECOND
from otel_dns.web.lists import row_fields
from otel_dns.web.shapes import (
    Candidate,
    Evidence,
    Labelled,
    LookupWhole,
    Neighbour,
    QuerySeen,
    SpanRow,
)

_NEAR_NS = 600 * SECOND


def whole(
    history: History, scope: Scope, trace_id: str, span_id: str, jaeger_url: str
) -> LookupWhole | None:
    """One lookup by its ids; None when there is none that the asker may see."""
    mine = Where(namespaces=scope.namespaces)
    found = history.lookup(trace_id, span_id, mine, limit=1)
    if not found:
        return None
    (kept,) = found
    row, brief = kept.row, kept.brief
    near = replace(mine, since_ns=brief.start_ns - _NEAR_NS, until_ns=brief.start_ns + _NEAR_NS)
    earlier, later = history.beside(brief, near)
    return LookupWhole(
        **row_fields(brief),
        **{name: row[name] for name in _AS_KEPT},
        plugins={
            name: own_ns for name, own_ns in kept.plugins.items() if name != semconv.CONNECT_SPAN
        },
        candidates=_candidates(row, kept.hops),
        queries_seen=[_query(kept.hops[number]) for number in _in_order(kept.hops)],
        facts=_facts(row),
        evidence=_evidence(row, kept.hops),
        earlier=_neighbour(earlier),
        later=_neighbour(later),
        jaeger_url=f"{jaeger_url}/trace/{quote(trace_id, safe='')}" if jaeger_url else None,
    )


_AS_KEPT: Final = ("confidence", "group_size", "waste_ns", "after_answer_ns", "api")


def _neighbour(one: Brief | None) -> Neighbour | None:
    if one is None:
        return None
    return Neighbour(trace_id=one.trace_id, span_id=one.span_id, name=one.name)


def _in_order(hops: Sequence[HopTime]) -> Iterable[int]:
    """Place of each hop, and behind it those that it asked."""
    asked_by: dict[int, list[int]] = defaultdict(list)
    for number, hop in enumerate(hops):
        parent = hop.parent if 0 <= hop.parent < len(hops) and hop.parent != number else -1
        asked_by[parent].append(number)
    ahead = sorted(asked_by[-1], key=lambda number: hops[number].start_ns, reverse=True)
    seen: set[int] = set()
    while ahead:
        number = ahead.pop()
        if number in seen:
            continue
        seen.add(number)
        yield number
        ahead += sorted(asked_by[number], key=lambda other: -hops[other].start_ns)


def _query(hop: HopTime) -> QuerySeen:
    spans = hop.spans
    # A server's own span is the row of the query itself; what lies below it are the plugins.
    own = [_own_slices(spans, number) for number in range(len(spans))]
    return QuerySeen(
        name=hop.name,
        type=hop.type,
        rcode=hop.rcode,
        server=hop.server,
        proto=hop.proto,
        hop=hop.hop,
        candidate=hop.candidate,
        cache=hop.cache,
        method=hop.method,
        source=hop.source,
        skew_ns=hop.skew_ns,
        at_ns=hop.start_ns,
        duration_ns=hop.duration_ns,
        own_ns=spans[0].own_ns if spans else hop.duration_ns,
        own=own[0] if own else [],
        spans=[
            SpanRow(
                name=span.name,
                peer=span.peer,
                segment=semconv.SEGMENT_UPSTREAM if span.peer else semconv.SEGMENT_SERVER,
                depth=max(_depth(spans, number) - 1, 0),
                at_ns=span.start_ns,
                duration_ns=span.duration_ns,
                own_ns=span.own_ns,
                own=own[number],
            )
            for number, span in enumerate(spans)
            if span.parent >= 0
        ],
    )


def _depth(spans: Sequence[SpanTime], number: int) -> int:
    depth = 0
    while spans[number].parent >= 0 and depth < len(spans):
        number = min(spans[number].parent, len(spans) - 1)
        depth += 1
    return depth


def _own_slices(spans: Sequence[SpanTime], number: int) -> list[tuple[int, int]]:
    """The stretches of a span in which none of its children runs, as ``(start, length)``."""
    span = spans[number]
    children = sorted(
        (each.start_ns, each.start_ns + each.duration_ns)
        for place, each in enumerate(spans)
        if each.parent == number and place != number
    )
    at, end = span.start_ns, span.start_ns + span.duration_ns
    slices = []
    for start, stop in children:
        if start > at:
            slices.append((at, min(start, end) - at))
        at = max(at, stop)
        if at >= end:
            break
    if end > at:
        slices.append((at, end - at))
    return [(start, length) for start, length in slices if length > 0]


def _candidates(row: Mapping[str, Any], hops: Sequence[HopTime]) -> list[Candidate]:
    asked: dict[int, list[HopTime]] = defaultdict(list)
    for hop in hops:
        if not hop.hop:
            asked[hop.candidate].append(hop)
    last = max(asked, default=-1)
    shown = []
    for number, name in enumerate(row["candidates"] or []):
        queries = asked.get(number, [])
        answers = sorted({f"{hop.type} {hop.rcode or 'no answer'}" for hop in queries})
        shown.append(
            Candidate(
                name=name,
                result=", ".join(answers) or "not asked, as far as is seen",
                queries=len(queries),
                at_ns=min((hop.start_ns for hop in queries), default=None),
                waste=bool(queries) and number < last,
            )
        )
    return shown


def _facts(row: Mapping[str, Any]) -> list[Labelled]:
    facts = (
        ("called", row["api"]),
        ("rules of", row["resolver"]),
        ("client address", row["client"]),
        ("nameserver", row["nameserver"]),
        ("search list", " ".join(row["search"] or [])),
        ("ndots", str(row["ndots"]) if row["ndots"] >= 0 else ""),
        ("families", row["family"]),
        ("error", row["error_type"]),
        ("container", row["container"]),
        ("inferred", "yes: made of server evidence alone" if row["inferred"] else ""),
        ("not seen", labels.UNSEEN.get(row["unseen"] or "", "")),
        ("left out", f"{row['left_out']} spans beyond the limits" if row["left_out"] else ""),
        ("trace", row["trace_id"]),
        ("span", row["span_id"]),
    )
    return [Labelled(label=label, value=value) for label, value in facts if value]


def _evidence(row: Mapping[str, Any], hops: Sequence[HopTime]) -> list[Evidence]:
    found = []
    if row["evidence"]:
        found.append(Evidence(label="dnstap messages and log lines", lines=row["evidence"]))
    traces = [
        f"{hop.trace}  {hop.server}  {hop.name} {hop.type}"
        f" {hop.rcode or 'no answer'}"
        f"  by {hop.method}" + (f"  skew {hop.skew_ns} ns" if hop.skew_ns else "")
        for hop in hops
        if hop.source == semconv.SOURCE_TRACE
    ]
    if traces:
        found.append(Evidence(label="server traces, by CoreDNS's own id", lines=traces))
    return found
