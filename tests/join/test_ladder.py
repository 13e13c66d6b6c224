"""The exact rungs, and server traces that messages alone make."""

from collections.abc import Iterable, Sequence
from itertools import permutations

import pytest
from msgspec.structs import replace
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.join import Joiner, JoinSettings, Outcome
from otel_dns.join.annotate import encode
from otel_dns.model import Lookup, Message, Resolution, Span
from tests.support.spans import (
    MS,
    SECOND,
    T0,
    exchange,
    lookup,
    message,
    nested,
    new_id,
    query,
    servedns,
)

Thing = Lookup | Span | Message


def feed(joiner: Joiner, things: Iterable[Thing], now_ns: int = 0) -> None:
    for thing in things:
        if isinstance(thing, Lookup):
            joiner.add_lookup(thing, now_ns)
        elif isinstance(thing, Span):
            joiner.add_server_span(thing, now_ns)
        else:
            joiner.add_message(thing, now_ns)


def settled(things: Iterable[Thing]) -> list[Outcome]:
    joiner = Joiner(JoinSettings())
    feed(joiner, things)
    outcomes = joiner.advance(7 * SECOND) + joiner.advance(60 * SECOND)
    assert joiner.waiting_lookups == joiner.waiting_server_spans == joiner.waiting_bytes == 0
    assert joiner._held.ladder.empty
    assert not len(joiner._held.slots)
    return outcomes


def resolved(things: Iterable[Thing]) -> dict[Lookup, Resolution]:
    return {
        one.lookup: one for one in settled(things) if isinstance(one, Resolution)
    }  # lookups compare by what they say, and no two say the same


def tags(raw: bytes) -> dict[str, object]:
    values = {each.key: each.value for each in ProtoSpan.FromString(raw).attributes}
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}


def test_messages_alone_make_a_server_trace_with_its_upstream() -> None:
    asked = lookup(0, 30 * MS)
    start, end = exchange(MS, 25 * MS)
    out = message("FQ", 2 * MS, peer="192.0.2.53:53")
    back = message("FR", 24 * MS, query_time_ns=2 * MS, peer="192.0.2.53:53", rcode="NOERROR")

    (resolution,) = resolved([asked, back, end, out, start]).values()

    (joined,) = resolution.join.traces
    assert joined.trace.source == "dnstap"
    assert (joined.trace.server, joined.trace.client_port, joined.trace.dns_id) == (
        "coredns-1", 40_000, 7,
    )  # fmt: skip
    assert [(span.name, span.start_ns - T0, span.end_ns - T0) for span in joined.trace.spans] == [
        ("servedns", MS, 25 * MS), ("connect", 2 * MS, 24 * MS),
    ]  # fmt: skip
    assert resolution.breakdown.segments["upstream"] == 22 * MS
    assert resolution.breakdown.segments["server"] == 2 * MS
    root = tags([raw for _, raw in encode(resolution)][1])
    assert root["otel_dns.evidence"] == "dnstap"
    assert root["client.port"] == 40_000


def test_a_query_sent_again_makes_a_server_trace_of_its_own() -> None:
    asked = lookup(0, 1010 * MS)
    first = message("CQ", MS)
    again = exchange(1002 * MS, 1003 * MS)

    (resolution,) = resolved([asked, *again, first]).values()

    assert [one.trace.start_ns - T0 for one in resolution.join.traces] == [MS, 1002 * MS]


def test_one_query_to_two_servers_at_once_makes_two() -> None:
    asked = lookup(0, 10 * MS, kind="musl")
    one, other = exchange(MS, 2 * MS), exchange(MS, 3 * MS, server="coredns-2")

    outcomes = settled([asked, *one, *other])

    (resolution,) = [each for each in outcomes if isinstance(each, Resolution)]
    assert {one.trace.server for one in resolution.join.traces} == {"coredns-1", "coredns-2"}


def test_spans_and_messages_of_one_query_are_one_server_trace() -> None:
    asked = lookup(0, 10 * MS, candidates=("Db.".lower(),))
    root = servedns(MS, 6 * MS, name="rewritten.")
    plugins = nested(root, ("log", "cache"))
    pair = exchange(MS + 100, 3 * MS, trace_id=root.trace_id[8:], asked="dB.")
    for order in permutations([asked, [root, *plugins], list(pair)]):
        things = [each for part in order for each in (part if isinstance(part, list) else [part])]

        (resolution,) = resolved(things).values()

        (joined,) = resolution.join.traces
        assert joined.trace.spans == (root, *plugins)
        assert joined.trace.asked == "dB."
        assert joined.trace.answer_ns == T0 + 3 * MS


def test_what_port_and_id_tell_beats_time() -> None:
    # By time alone each would get the other's.
    first = lookup(0, 10 * MS, queries=[query(0, 9 * MS, port=1)], kind="dnspython")
    second = lookup(MS, 10 * MS, queries=[query(MS, 9 * MS, port=2)], kind="dnspython")
    pairs = [exchange(2 * MS, 3 * MS, port=2), exchange(4 * MS, 5 * MS, port=1)]

    found = resolved([first, *pairs[0], *pairs[1], second])

    for asked, port in ((first, 1), (second, 2)):
        join = found[asked].join
        assert [one.trace.client_port for one in join.traces] == [port]
        assert (join.method, join.confidence, join.certainty) == ("id", 1.0, "sure")
        assert join.traces[0].parent == asked.queries[0].span_id


def test_what_port_and_id_tell_is_reserved_until_its_lookup_settles() -> None:
    """Another lookup, due before, does not get it by time."""
    owner = lookup(0, SECOND, queries=[query(100 * MS, 101 * MS)])
    other = lookup(100 * MS - MS // 5, 101 * MS)
    joiner = Joiner(JoinSettings())
    feed(joiner, exchange(100 * MS, 101 * MS))
    feed(joiner, [other])
    feed(joiner, [owner], 5 * SECOND)

    outcomes = joiner.advance(7 * SECOND) + joiner.advance(12 * SECOND)

    methods = {one.lookup: one.join.method for one in outcomes if isinstance(one, Resolution)}
    assert methods == {other: "none", owner: "id"}


def test_a_lookup_that_knows_its_queries_takes_no_other() -> None:
    asked = lookup(0, 10 * MS, queries=[query(0, 9 * MS, port=1)], kind="dnspython")

    found = resolved([asked, *exchange(2 * MS, 3 * MS, port=2)])

    assert found[asked].join.method == "none"


def test_queries_may_come_before_their_lookup_or_after_the_server() -> None:
    seen = query(0, 9 * MS, port=1)
    asked = lookup(0, 10 * MS, kind="dnspython")
    identity = (asked.span.trace_id, asked.span.span_id)
    pair = exchange(2 * MS, 3 * MS, port=1)
    for order in permutations(["lookup", "query", "server"]):
        joiner = Joiner(JoinSettings())
        for what in order:
            if what == "lookup":
                joiner.add_lookup(asked, 0)
            elif what == "query":
                joiner.add_query(identity, seen, 0)
            else:
                feed(joiner, pair)

        (resolution,) = joiner.drain()

        assert isinstance(resolution, Resolution)
        assert resolution.join.method == "id"
        assert resolution.lookup.queries == (seen,)


@pytest.mark.parametrize("with_span_id", [True, False])
@pytest.mark.parametrize("lookup_first", [True, False])
def test_a_trace_context_in_the_query_tells_whose_it_is(with_span_id, lookup_first) -> None:
    seen = query(0, 9 * MS, port=0, dns_id=None)
    asked = lookup(0, 10 * MS, queries=[seen], kind="dnspython")
    rival = lookup(0, 10 * MS, kind="dnspython")
    context = (asked.span.trace_id, seen.span_id if with_span_id else b"")
    pair = exchange(2 * MS, 3 * MS, context=context)

    found = resolved([asked, rival, *pair] if lookup_first else [*pair, rival, asked])

    assert found[asked].join.method == "edns"
    assert found[asked].join.traces[0].parent == (seen.span_id if with_span_id else b"")
    assert found[rival].join.method == "none"


def test_a_query_of_another_trace_is_nobodys_by_time() -> None:
    asked = lookup(0, 10 * MS)
    pair = exchange(2 * MS, 3 * MS, context=(new_id(16), new_id()))

    assert resolved([asked, *pair])[asked].join.method == "none"


@pytest.mark.parametrize("above", ["query", "lookup", "between"])
def test_server_spans_in_the_clients_own_trace(above) -> None:
    trace_id = b"\x01" * 8 + new_id()
    seen = query(0, 9 * MS, dns_id=None)
    asked = lookup(
        0, 10 * MS, kind="dnspython", trace_id=trace_id,
        queries=[seen] if above == "query" else [],
    )  # fmt: skip
    parents = {"query": seen.span_id, "lookup": asked.span.span_id, "between": new_id()}
    root = servedns(MS, 2 * MS, trace_id=trace_id, parent_id=parents[above])
    plugins = nested(root, ("log", "cache"))
    foreign = servedns(MS, 2 * MS, trace_id=trace_id, parent_id=new_id(), name="other.")

    outcomes = settled([*plugins, root, foreign, asked])

    (resolution,) = [each for each in outcomes if isinstance(each, Resolution)]
    assert resolution.join.method == "context"
    assert [one.trace.spans for one in resolution.join.traces] == [(root, *plugins)]
    raws: Sequence[bytes] = [raw for each in outcomes for _, raw in encode(each)]
    spans = [ProtoSpan.FromString(raw) for raw in raws]
    assert spans[1].parent_span_id == parents["query" if above == "query" else "lookup"] or (
        above == "between"
    )
    assert spans[-1].span_id == foreign.span_id


def test_a_root_that_comes_after_its_messages_were_sent_is_not_sent_again() -> None:
    asked, root = lookup(0, 10 * MS), servedns(MS, 2 * MS)
    (child,) = nested(root, ("log",))
    joiner = Joiner(JoinSettings())
    feed(joiner, [asked, *exchange(MS, 2 * MS, trace_id=root.trace_id[8:])])
    outcomes = joiner.advance(7 * SECOND)
    feed(joiner, [root, child], 8 * SECOND)
    outcomes += joiner.advance(8 * SECOND)

    sent = [ProtoSpan.FromString(raw).span_id for one in outcomes for _, raw in encode(one)]

    assert sent == [asked.span.span_id, root.span_id, child.span_id]
    assert joiner.counts["server_spans_superseded"] == 1


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize("extra", [True, False])
def test_a_forwarders_messages_find_the_query_they_are_for(
    order: tuple[int, ...], extra: bool
) -> None:
    """As CoreDNS has them of a query not traced: from the server's own address and port."""
    own = {"client": "10.244.0.2", "port": 53_105, "peer": "192.0.2.53:53"}
    out = message("FQ", 2 * MS, **own)
    back = message("FR", 24 * MS, query_time_ns=2 * MS, rcode="NOERROR", **own)
    if extra:
        out, back = replace(out, asker_port=40_000), replace(back, asker_port=40_000)
    messages = [*exchange(MS, 25 * MS), out, back]
    # Another client's query with the same id at the same time, from another port.
    others = exchange(MS, 3 * MS, client="10.0.0.8", port=50_000) if extra else ()

    (resolution,) = resolved(
        [lookup(0, 30 * MS), *others, *(messages[number] for number in order)]
    ).values()

    (joined,) = resolution.join.traces
    assert [(span.name, span.start_ns - T0, span.end_ns - T0) for span in joined.trace.spans] == [
        ("servedns", MS, 25 * MS), ("connect", 2 * MS, 24 * MS),
    ]  # fmt: skip
