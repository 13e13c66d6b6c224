"""Why a lookup has no server trace, or none with CoreDNS's own spans."""

from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns import semconv
from otel_dns.join import Joiner, JoinSettings
from otel_dns.join.recognise import lookup_of
from otel_dns.join.unseen import Unseen
from otel_dns.model import Join, Lookup, Message, Resolution, Span
from otel_dns.wire import otlp
from tests.support.spans import (
    APPLICATION,
    MS,
    SECOND,
    exchange,
    join,
    lookup,
    query,
    servedns,
    server_trace,
    span,
)

NOTHING = Join((), semconv.METHOD_NONE, 0.0)
QUICK = {"start_ns": 0, "end_ns": MS // 10}
PLAIN = {"start_ns": 0, "end_ns": 5 * MS}
TIMED_OUT = {"start_ns": 0, "end_ns": 10 * SECOND, "error_type": "try_again"}


def about(lookup_: Lookup, **changes: object) -> Lookup:
    return replace(lookup_, **changes)  # type: ignore[arg-type]


ALONE = {
    "a name of /etc/hosts": (about(lookup(**PLAIN), besides=("files",)), 1, "no_query"),
    "the resolver's own cache": (about(lookup(**PLAIN), besides=("cache",)), 1, "no_query"),
    "an address": (lookup(**PLAIN, name="192.0.2.1"), 1, "no_query"),
    "an address with a zone": (lookup(**PLAIN, name="fe80::1%eth0"), 1, "no_query"),
    "the name of an address": (lookup(**PLAIN, name="192.0.2.1", types=("PTR",)), 1, "lost"),
    "a name that cannot be asked": (lookup(**PLAIN, candidates=()), 1, "no_query"),
    "faster than any server": (lookup(**QUICK), 1, "no_query"),
    "faster than any server, with its query": (lookup(**QUICK, queries=[query(0, 9)]), 1, "lost"),
    "failed faster than any server": (lookup(**QUICK, error_type="try_again"), 1, "unknown"),
    "a daemon may have known it": (about(lookup(**PLAIN), besides=("nscd",)), 1, "no_query"),
    "a daemon, where CoreDNS samples": (
        about(lookup(**PLAIN), besides=("nscd",)), 0.1, "not_sampled",
    ),
    "answered": (lookup(**PLAIN), 1, "lost"),
    "answered that it does not exist": (lookup(**PLAIN, error_type="host_not_found"), 1, "lost"),
    "refused somewhere": (lookup(**PLAIN, error_type="try_again"), 1, "unknown"),
    "timed out": (lookup(**TIMED_OUT), 1, "not_arrived"),
    "every 2": (lookup(**PLAIN), 0.5, "not_sampled"),
    "timed out, where CoreDNS samples": (lookup(**TIMED_OUT), 0.1, "not_sampled"),
    "at an address of which nothing is seen": (lookup(**PLAIN, client="10.9.9.9"), 1, "unknown"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "seen", "reason"), ALONE.values(), ids=ALONE)
def test_a_lookup_without_server_traces(asked: Lookup, seen: float, reason: str) -> None:
    unseen = Unseen()
    known = lookup(0, 5 * MS)
    assert not unseen.reason(
        known, join((server_trace(servedns(MS, 2 * MS)), 0)), 1, spans_lost=False
    )

    assert unseen.reason(asked, NOTHING, seen, spans_lost=False) == reason


def test_a_timeout_says_nothing_where_answered_lookups_are_missing_too() -> None:
    unseen = Unseen()
    unseen.reason(
        lookup(0, 5 * MS), join((server_trace(servedns(MS, 2 * MS)), 0)), 1, spans_lost=False
    )
    for _ in range(3):
        assert unseen.reason(lookup(**PLAIN), NOTHING, 1, spans_lost=False) == "lost"

    assert unseen.reason(lookup(**TIMED_OUT), NOTHING, 1, spans_lost=False) == "unknown"


@pytest.mark.parametrize(
    ("asked", "segment"),
    [(lookup(**QUICK), "stub_network"), (lookup(**PLAIN), "unattributed")],
    ids=["no query was needed", "nobody knows"],
)
def test_the_reason_explains_the_time(asked: Lookup, segment: str) -> None:
    (found,) = resolved([asked])

    assert found.breakdown.bottleneck == segment
    assert found.breakdown.segments[segment] == found.breakdown.total_ns > 0


def resolved(things: Iterable[Lookup | Span | Message]) -> list[Resolution]:
    joiner = Joiner(JoinSettings())
    for thing in things:
        if isinstance(thing, Lookup):
            joiner.add_lookup(thing, 0)
        elif isinstance(thing, Message):
            joiner.add_message(thing, 0)
        else:
            joiner.add_server_span(thing, 0)
    found = [one for one in joiner.drain() if isinstance(one, Resolution)]
    told = sum(joiner.counts[f"lookups_{reason}"] for reason in semconv.UNSEEN)
    assert told == sum(bool(one.unseen) for one in found)
    return found


TRACE_ID = bytes(range(1, 9))
SEEN = {
    "its spans": ([servedns(MS, 2 * MS)], ""),
    "messages of a server that does not trace": ([*exchange(MS, 2 * MS)], "not_traced"),
    "messages with the id of a trace whose spans are not here": (
        [*exchange(MS, 2 * MS, trace_id=TRACE_ID)], "lost",
    ),
    "messages without an id, of a server that gives ids": (
        [*exchange(MS, 2 * MS), *exchange(20 * MS, 21 * MS, trace_id=TRACE_ID, client="10.9.9.9")],
        "not_sampled",
    ),
    "its spans, after a query that never came": (
        [servedns(2 * SECOND + MS, 2 * SECOND + 2 * MS)], "not_arrived",
    ),
    "messages, after a query that never came": (
        [*exchange(2 * SECOND + MS, 2 * SECOND + 2 * MS)], "not_arrived",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("evidence", "reason"), SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("lookup_first", [True, False])
def test_a_lookup_of_which_servers_tell(evidence, reason, lookup_first) -> None:
    late = evidence[0].start_ns if isinstance(evidence[0], Span) else evidence[0].time_ns
    asked = lookup(0, 3 * SECOND if late - lookup(0, 0).start_ns > SECOND else 5 * MS)
    things = [asked, *evidence] if lookup_first else [*evidence, asked]

    assert [one.unseen for one in resolved(things) if one.lookup is asked] == [reason]


def test_what_a_client_says_of_other_sources_is_read() -> None:
    sources = ArrayValue(values=[AnyValue(string_value=one) for one in ("files", "nscd")])
    tail = otlp.string_attribute(semconv.DNS_QUESTION_NAME, "db")
    tail += otlp.string_attribute(semconv.CLIENT_ADDRESS, "10.0.0.7")
    tail += ProtoSpan(
        attributes=[
            KeyValue(key=semconv.LOOKUP_BESIDES_DNS, value=AnyValue(array_value=sources)),
            KeyValue(key=semconv.LOOKUP_CACHED, value=AnyValue(bool_value=True)),
        ]
    ).SerializeToString()
    read = lookup_of(span(semconv.LOOKUP_SPAN, 0, MS, tail=tail, origin=APPLICATION))
    assert read is not None
    assert read.besides == ("cache", "files", "nscd")
