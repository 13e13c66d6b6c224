"""A query of which spans and messages tell, and the messages do not say of which trace they are."""

from collections.abc import Iterable

import pytest

from otel_dns.join import Joiner, JoinSettings
from otel_dns.model import Lookup, Message, Resolution, Span
from tests.support.spans import MS, SECOND, exchange, lookup, message, nested, query, servedns

ROOT = {"start_ns": MS, "end_ns": 2 * MS}


def line(start_ns: int, took_ns: int, *, late_ns: int = MS // 2, **about: object) -> Message:
    """A line of the log: its time is when it was written."""
    written_ns = start_ns + took_ns + late_ns
    return message(
        "CR", written_ns, query_time_ns=written_ns - took_ns, rcode=about.pop("rcode", "NOERROR"),
        source="log", **about,
    )  # fmt: skip


def joined(things: Iterable[Lookup | Span | Message]) -> tuple[list[Resolution], Joiner]:
    joiner = Joiner(JoinSettings(infer=True))
    for thing in things:
        if isinstance(thing, Lookup):
            joiner.add_lookup(thing, 0)
        elif isinstance(thing, Message):
            joiner.add_message(thing, 0)
        else:
            joiner.add_server_span(thing, 0)
    return [one for one in joiner.drain() if isinstance(one, Resolution)], joiner


def traced() -> list[Span]:
    root = servedns(**ROOT)
    return [root, *nested(root, ("prometheus", "log", "cache"))]


TOLD = {
    "a line of the log": (line(MS + 20_000, MS - 40_000),),
    "a line written late": (line(MS + 20_000, MS - 40_000, late_ns=100 * MS),),
    "dnstap without extra": exchange(MS + 30_000, 2 * MS - 30_000),
    "dnstap's query alone": exchange(MS + 30_000, 2 * MS)[:1],
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
@pytest.mark.parametrize("spans_first", [True, False])
@pytest.mark.parametrize("known", [True, False], ids=["a known lookup's", "an inferred one's"])
def test_it_is_one_query(told, spans_first, known) -> None:
    things = [*traced(), *told] if spans_first else [*told, *traced()]
    (found,), joiner = joined([lookup(0, 5 * MS), *things] if known else things)

    (trace,) = [one.trace for one in found.join.traces]
    assert (trace.source, trace.client_port, trace.dns_id) == ("trace", 40_000, 7)
    assert len(trace.spans) == 4
    assert found.breakdown.retries == 0
    assert joiner.counts["messages_tied"] == len(told)


OTHERS = {
    "too late": line(MS, MS - 40_000, late_ns=300 * MS),
    "before it": line(MS, MS - 40_000, late_ns=-5 * MS),
    "longer than the server": line(MS, 2 * MS),
    "much shorter": line(MS, MS // 100, rcode="NXDOMAIN"),
    "another answer": line(MS, MS - 40_000, rcode="SERVFAIL"),
    "another type": line(MS, MS - 40_000, type_="AAAA"),
}


@pytest.mark.parametrize("told", OTHERS.values(), ids=OTHERS)
def test_it_is_another_query(told: Message) -> None:
    _, joiner = joined([*traced(), told])

    assert not joiner.counts["messages_tied"]


def test_a_server_that_gives_ids_leaves_them_out_where_it_did_not_trace() -> None:
    other = exchange(SECOND, SECOND + MS, trace_id=bytes(range(8)), name="other.")
    _, joiner = joined([*traced(), *other, *exchange(MS + 30_000, 2 * MS - 30_000)])

    assert not joiner.counts["messages_tied"]


def test_two_like_queries_are_told_apart_by_how_long_they_took() -> None:
    roots = [servedns(MS, 2 * MS), servedns(MS, 4 * MS)]
    told = [line(MS, 3 * MS - 30_000, port=1), line(MS, MS - 30_000, port=2)]
    found, _ = joined([*roots, *told])

    traces = [one.join.traces[0].trace for one in found]
    ports = {trace.root.span_id: trace.client_port for trace in traces}
    assert ports == {roots[0].span_id: 2, roots[1].span_id: 1}


def test_where_it_is_not_clear_whose_they_are_the_messages_are_left_out_and_counted() -> None:
    roots = [servedns(MS, 2 * MS), servedns(MS + 1000, 2 * MS + 1000)]
    told = [line(MS, MS - 30_000, port=1), line(MS, MS - 30_000, port=2)]
    asked = [lookup(0, 5 * MS), lookup(0, 5 * MS)]
    found, joiner = joined([*asked, *roots, *told])

    assert [len(one.join.traces) for one in found] == [1, 1]
    assert joiner.counts["messages_ambiguous"] == 2
    assert not joiner.counts["messages_tied"]


def test_what_a_client_knows_by_its_port_gets_the_spans_too() -> None:
    sent = query(MS - 50_000, 3 * MS)
    asked = lookup(0, 5 * MS, queries=[sent])
    (found,), _ = joined([asked, *traced(), line(MS + 20_000, MS - 40_000)])

    (one,) = found.join.traces
    assert (one.method, one.trace.source, len(one.trace.spans)) == ("id", "trace", 4)
    assert one.query == sent
