"""A view of a recording as events, in the order in which a processor would get them.

Applications export every 5 s (OpenTelemetry's batch processor), CoreDNS's reporter sends after 100
spans or 1 s, dnstap is flushed every second; each with a phase of its own.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from bench.join.conditions import View
from bench.join.recording import POD, Asked, Recording, Traced
from otel_dns import semconv
from otel_dns.join.recognise import lookup_of
from otel_dns.lab import addresses
from otel_dns.model import ClientQuery, Lookup, Message, Origin, Span
from otel_dns.wire import otlp, zipkin

SECOND: Final = 1_000_000_000
_MARKS_OF_QUERIES: Final = frozenset({"edns", "context"})
"""Only clients that see their own queries can put these on them."""
_CLIENT_EVERY_NS: Final = 5 * SECOND
_SERVER_EVERY_NS: Final = SECOND
_BATCH: Final = 100
_WAY_NS: Final = 20_000_000
_WIRE_NS: Final = 50_000
_APPLICATION: Final = Origin(
    otlp.string_attribute(semconv.SERVICE_NAME, "shop", field=1),
    b"\x0a" + bytes((len(semconv.CLIENT_SCOPE),)) + semconv.CLIENT_SCOPE.encode(),
)
_ERRORS: Final = {"-2": semconv.ERROR_HOST_NOT_FOUND, "-3": semconv.ERROR_TRY_AGAIN}


class Event(NamedTuple):
    """Something that arrives."""

    at_ns: int
    kind: Literal["lookup", "query", "span", "message"]
    item: Any


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a recording arrives."""

    events: tuple[Event, ...]
    """In order of arrival."""
    traces: frozenset[str]
    """Server traces that can be joined at all: their root span or their messages arrive."""
    scored: tuple[Asked, ...]
    """Lookups with a span of their own."""
    known: tuple[Asked, ...]
    """Lookups that the join is told of."""
    shift: "Clock"


@dataclass(frozen=True, slots=True)
class Clock:
    """How the server's clock differs."""

    view: View
    first_ns: int
    last_ns: int

    def ahead_ns(self, at_ns: int) -> int:
        """Nanoseconds that the server's clock is ahead at a time."""
        ahead = self.view.skew_ms * 1e6 + (at_ns - self.first_ns) * self.view.drift_ppm / 1e6
        if at_ns > (self.first_ns + self.last_ns) // 2:
            ahead += self.view.step_ms * 1e6
        return int(ahead)


def see(recording: Recording, view: View) -> Seen:
    """Apply a view."""
    rng = random.Random(f"{recording.condition} {recording.seed} {view}")
    first_ns = min(one.start_ns for one in recording.asked)
    clock = Clock(view, first_ns, max(one.end_ns for one in recording.asked))
    events: list[Event] = []
    scored, known = [], []
    sampled: dict[int, Lookup] = {}
    of_lookup: dict[int | None, list[Traced]] = defaultdict(list)
    for trace in recording.traces.values():
        if trace.wire is not None and trace.hop == 0:
            of_lookup[trace.owner].append(trace)
    client_phase = rng.randrange(_CLIENT_EVERY_NS)
    for one in recording.asked:
        kept = view.sampled == 1 or rng.random() < view.sampled
        if not kept and not view.told:
            continue
        lookup = lookup_from(one, marked=kept and view.mark == "case")
        known.append(one)
        if kept:
            scored.append(one)
            sampled[one.number] = lookup
        else:
            lookup = replace(lookup, recorded=False)
        at_ns = _next(one.end_ns, _CLIENT_EVERY_NS, client_phase) + _WAY_NS
        events.append(Event(at_ns, "lookup", lookup))
        if view.ids or (kept and view.mark in _MARKS_OF_QUERIES):
            identity = lookup.span.trace_id, lookup.span.span_id
            queries = (_query(traced) for traced in of_lookup[one.number])
            if not view.ids:
                queries = (replace(query, client_port=0, dns_id=None) for query in queries)
            events += (Event(at_ns, "query", (identity, query)) for query in queries)
    in_order = sorted(recording.traces.values(), key=lambda one: one.start_ns)
    traced = {one.trace_id for one in in_order[:: view.every]}
    arrived: set[str] = set()
    for at_ns, batch in _batches(recording, traced, rng.randrange(_SERVER_EVERY_NS)):
        if view.lost and rng.random() < view.lost:
            continue
        arrived |= {one["traceId"] for one in batch if one["name"] == semconv.SERVEDNS_SPAN}
        posted = batch
        if view.mark == "context":
            posted = [_taken_over(span, recording, sampled) for span in batch]
        events += (Event(at_ns, "span", span) for span in _decoded(posted, clock))
    if view.dnstap:
        phase = rng.randrange(_SERVER_EVERY_NS)
        for message in recording.messages:
            at_ns = _next(message.time_ns, _SERVER_EVERY_NS, phase) + _WAY_NS
            told = _shifted(message, clock)
            if message.trace_id.hex() not in traced:
                told = replace(told, trace_id=b"")
            told = _marked(told, message, recording, sampled, view.mark)
            events.append(Event(at_ns, "message", told))
        arrived |= {one.trace_id for one in in_order if one.wire is not None}
    events.sort(key=lambda event: event.at_ns)
    return Seen(tuple(events), frozenset(arrived), tuple(scored), tuple(known), clock)


def lookup_from(asked: Asked, *, marked: bool = False) -> Lookup:
    """Make of a call the lookup that otel-dns's client would have told."""
    tail = b"".join((
        otlp.string_attribute(semconv.DNS_QUESTION_NAME, asked.name),
        otlp.string_attribute(semconv.CLIENT_ADDRESS, POD),
        otlp.string_attribute(semconv.LOOKUP_FAMILY, "any"),
        otlp.string_attribute(semconv.RESOLVER_KIND, "glibc"),
        otlp.string_attribute(semconv.ERROR_TYPE, _ERRORS.get(asked.error, asked.error)),
    ))  # fmt: skip
    if marked:
        tail += otlp.string_attribute(semconv.LOOKUP_MARKED, semconv.MARK_CASE)
    span = lookup_span(asked, tail)
    found = lookup_of(span)
    assert found is not None
    # The search list is an array, for which the codec has no encoder: it reads them only.
    return replace(found, candidates=asked.candidates)


def lookup_span(asked: Asked, tail: bytes) -> Span:
    """Make a lookup's span."""
    identity = (asked.number + 1).to_bytes(8, "big")
    raw = otlp.encode_span(
        trace_id=b"lookup.." + identity, span_id=identity, parent_id=b"parent..",
        name=semconv.LOOKUP_SPAN, kind=3, start_ns=asked.start_ns, end_ns=asked.end_ns, tail=tail,
    )  # fmt: skip
    return otlp.read_span(raw, _APPLICATION)


def _query(traced: Traced) -> ClientQuery:
    """Make of a server trace's query what the client that sent it would have told."""
    assert traced.wire is not None
    port, dns_id, name, type_ = traced.wire
    start_ns = traced.start_ns - _WIRE_NS
    end_ns = start_ns + int(traced.root["duration"]) * 1000
    return ClientQuery(
        _query_id(traced),
        start_ns,
        end_ns,
        name,
        type_,
        addresses.CLUSTER_DNS,
        53,
        port,
        dns_id,
        "udp",
    )


def _query_id(traced: Traced) -> bytes:
    """Make the id of a query's span: not the server's, whose root has that of its trace."""
    return bytes(0xFF - octet for octet in bytes.fromhex(traced.trace_id))


def _marked(
    told: Message, message: Message, recording: Recording, sampled: Mapping[int, Lookup], mark: str
) -> Message:
    """Put into a message what its query would have carried."""
    traced = recording.traces.get(message.trace_id.hex())
    lookup = sampled.get(traced.owner) if traced and traced.owner is not None else None
    if not mark or lookup is None or traced is None or traced.hop:
        return told
    if mark == "case":
        return replace(told, asked=lookup.marked + told.asked[len(lookup.marked) :])
    if mark == "edns" and told.kind == "CQ":
        return replace(told, context=(lookup.span.trace_id, _query_id(traced)))
    if mark == "context" and told.trace_id:
        return replace(told, trace_id=lookup.span.trace_id)
    return told


def _taken_over(
    span: dict[str, Any], recording: Recording, sampled: Mapping[int, Lookup]
) -> dict[str, Any]:
    """Put a server's span where it is when CoreDNS has taken the client's context over."""
    traced = recording.traces[span["traceId"]]
    lookup = sampled.get(traced.owner) if traced.owner is not None else None
    if lookup is None or traced.hop or traced.wire is None:
        return span
    moved = span | {"traceId": lookup.span.trace_id.hex()}
    if span["name"] == semconv.SERVEDNS_SPAN:
        moved["parentId"] = _query_id(traced).hex()
    return moved


def number_of(lookup: Lookup) -> int:
    """Return which call a lookup is of."""
    return int.from_bytes(lookup.span.span_id, "big") - 1


def _batches(
    recording: Recording, traced: set[str], phase: int
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Cut spans into posts as CoreDNS's reporter does: at 100, or when its second is over."""
    spans = [one for one in recording.spans if one["traceId"] in traced]
    spans.sort(key=_end_us)
    batch: list[dict[str, Any]] = []
    tick_ns = 0
    for span in spans:
        end_ns = _end_us(span) * 1000
        if batch and end_ns > tick_ns:
            yield tick_ns + _WAY_NS, batch
            batch = []
        if not batch:
            tick_ns = _next(end_ns, _SERVER_EVERY_NS, phase)
        batch.append(span)
        if len(batch) == _BATCH:
            yield end_ns + _WAY_NS, batch
            batch = []
    if batch:
        yield tick_ns + _WAY_NS, batch


def _decoded(batch: list[dict[str, Any]], clock: Clock) -> list[Span]:
    shifted = [
        {**span, "timestamp": span["timestamp"] + clock.ahead_ns(span["timestamp"] * 1000) // 1000}
        for span in batch
    ]
    spans, _ = zipkin.decode(msgspec.json.encode(shifted))
    return spans


def _shifted(message: Message, clock: Clock) -> Message:
    ahead_ns = clock.ahead_ns(message.query_time_ns or message.time_ns)
    if not ahead_ns:
        return message
    return replace(
        message,
        time_ns=message.time_ns + ahead_ns,
        query_time_ns=message.query_time_ns + ahead_ns if message.query_time_ns else 0,
    )


def _next(at_ns: int, every_ns: int, phase: int) -> int:
    return at_ns + (phase - at_ns) % every_ns


def _end_us(span: dict[str, Any]) -> int:
    return int(span["timestamp"]) + int(span.get("duration", 0))
