"""From a cache on the node to the cluster's DNS and on, in one trace."""

import random
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns import semconv
from otel_dns.join import Joiner, JoinSettings
from otel_dns.join.annotate import encode
from otel_dns.join.hops import Hops
from otel_dns.model import Message, Resolution, Span
from otel_dns.wire import otlp
from tests.support.spans import MS, SECOND, exchange, lookup, message, new_id, query, servedns, span

NODE = "10.0.0.1"
CLUSTER = "10.0.1.1"


def connect(above: Span, start_ns: int, end_ns: int, peer: str) -> Span:
    return span(
        semconv.CONNECT_SPAN, start_ns, end_ns, trace_id=above.trace_id,
        parent_id=above.span_id, tail=otlp.string_attribute(semconv.PEER_ADDRESS, peer),
    )  # fmt: skip


def chain(at: int) -> tuple[Span, ...]:
    """Three servers, one behind the other."""
    first = servedns(at + MS, at + 20 * MS)
    one = connect(first, at + 2 * MS, at + 19 * MS, "10.96.0.10:53")
    second = servedns(at + 3 * MS, at + 18 * MS, client=NODE, proto="tcp")
    other = connect(second, at + 4 * MS, at + 17 * MS, "192.0.2.53:53")
    third = servedns(at + 5 * MS, at + 16 * MS, client=CLUSTER)
    return first, one, second, other, third


def resolve(joiner: Joiner, at: int, *things: Span) -> Resolution:
    joiner.add_lookup(lookup(at, at + 21 * MS), at)
    for one in things:
        joiner.add_server_span(one, at)
    outcomes = joiner.advance(at + 7 * SECOND)
    (resolution,) = [one for one in outcomes if isinstance(one, Resolution)]
    return resolution


def test_each_hop_hangs_under_the_connect_that_caused_it() -> None:
    first, one, second, other, third = chain(0)

    resolution = resolve(Joiner(JoinSettings()), 0, third, other, first, second, one)

    joined = resolution.join.traces
    assert [(each.trace.root, each.hop, each.parent) for each in joined] == [
        (first, 0, b""), (second, 1, one.span_id), (third, 2, other.span_id),
    ]  # fmt: skip
    sent = [ProtoSpan.FromString(raw) for _, raw in encode(resolution)]
    parents = {each.span_id: each.parent_span_id for each in sent}
    assert parents[third.span_id] == other.span_id
    assert parents[second.span_id] == one.span_id
    assert {each.trace_id for each in sent} == {resolution.lookup.span.trace_id}
    segments = resolution.breakdown.segments
    assert segments["upstream"] == 4 * MS  # the ways between the servers
    assert segments["server"] == 15 * MS
    assert resolution.breakdown.total_ns == 21 * MS


def test_a_hop_is_sure_once_its_address_is_known_and_chance_is_not_taken_for_it() -> None:
    joiner = Joiner(JoinSettings())
    found = [resolve(joiner, at * SECOND, *chain(at * SECOND)[:3]) for at in range(10)]
    assert found[0].join.certainty == "unsure"
    assert found[-1].join.certainty == "sure"
    first, one, second, _, _ = chain(20 * SECOND)
    stranger = servedns(20 * SECOND + 3 * MS, 20 * SECOND + 4 * MS, client="10.0.0.99")

    resolution = resolve(joiner, 20 * SECOND, first, one, second, stranger)

    assert [each.trace.root for each in resolution.join.traces] == [first, second]
    assert resolution.join.certainty == "sure"


def test_a_crowd_of_one_question_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    fits = Hops._fits

    def counted(hops: Hops, *args: Any) -> bool:
        nonlocal looks
        looks += 1
        return fits(hops, *args)

    monkeypatch.setattr(Hops, "_fits", counted)
    joiner, crowd = Joiner(JoinSettings()), 150
    for number in range(crowd):  # all of them wait for an upstream that does not answer
        one = servedns(3 * MS + number, SECOND, client=f"10.0.9.{number}")
        for each in (one, connect(one, 4 * MS + number, SECOND - MS, "192.0.2.53:53")):
            joiner.add_server_span(each, 0)
    first = servedns(MS, 2 * SECOND - MS)
    waits = connect(first, 2 * MS, 2 * SECOND - 2 * MS, "192.0.2.53:53")
    joiner.add_lookup(lookup(0, 2 * SECOND), 0)
    joiner.add_server_span(first, 0)
    joiner.add_server_span(waits, 0)
    outcomes = joiner.advance(9 * SECOND)
    assert [one.join.certainty for one in outcomes if isinstance(one, Resolution)] == ["unsure"]
    assert looks < 10 * crowd


def test_two_that_fit_are_not_called_sure() -> None:
    joiner = Joiner(JoinSettings())
    for at in range(10):
        resolve(joiner, at * SECOND, *chain(at * SECOND)[:3])
    first, one, second, _, _ = chain(20 * SECOND)
    twin = servedns(20 * SECOND + 5 * MS, 20 * SECOND + 6 * MS, client=NODE)

    resolution = resolve(joiner, 20 * SECOND, first, one, second, twin)

    assert [each.trace.root for each in resolution.join.traces] == [first, second]
    assert resolution.join.certainty == "unsure"


def test_of_three_servers_in_a_row_the_first_does_not_ask_the_last() -> None:
    """The last one's time is within the first one's exchange as well."""
    joiner = Joiner(JoinSettings())
    found = [resolve(joiner, at * SECOND, *chain(at * SECOND)) for at in range(20)]
    assert [one.hop for one in found[-1].join.traces] == [0, 1, 2]
    assert found[-1].join.certainty == "sure"


def apart(at: int, second_ns: int, third_ns: int, spent_ns: int) -> tuple[Span, ...]:
    """Three servers in a row; the second's clock is ahead of the first's, the third's too."""
    first = servedns(at + MS, at + 6 * MS + spent_ns, origin=FIRST)
    one = connect(first, at + 2 * MS, at + 5 * MS + spent_ns, "10.96.0.10:53")
    begun = at + 5 * MS // 2
    second = servedns(
        begun + second_ns, begun + 2 * MS + spent_ns + second_ns, client=NODE, origin=SECOND_SERVER
    )
    sent = begun + second_ns + MS // 2
    other = connect(second, sent, sent + MS + spent_ns, "192.0.2.53:53")
    begun += 3 * MS // 4
    third = servedns(
        begun + third_ns, begun + MS // 2 + spent_ns + third_ns, client=CLUSTER, origin=THIRD
    )
    return first, one, second, other, third


FIRST, SECOND_SERVER, THIRD = map(otlp.origin_of, ("node-cache", "coredns", "upstream"))


def shape(resolution: Resolution) -> tuple[list[int], int, int]:
    """Hops, time upstream (the ways between the servers), time in servers."""
    segments = resolution.breakdown.segments
    hops = [one.hop for one in resolution.join.traces]
    return hops, segments["upstream"], segments["server"]


@pytest.mark.parametrize("third_ns", [0, -7 * MS, 150 * MS])
@pytest.mark.parametrize("second_ns", [0, 5 * MS, -20 * MS, 200 * MS, -200 * MS])
def test_clocks_of_servers_that_differ_change_nothing(second_ns, third_ns) -> None:
    spread = random.Random(second_ns + third_ns)
    plain, joiner = Joiner(JoinSettings()), Joiner(JoinSettings())
    at = 0
    for _ in range(20):
        at += spread.randrange(SECOND // 20, SECOND)
        spent_ns = spread.randrange(0, 30 * MS)
        for where, ahead in ((plain, (0, 0)), (joiner, (second_ns, third_ns))):
            where.add_lookup(lookup(at, at + 7 * MS + spent_ns), 0)
            things = list(apart(at, *ahead, spent_ns))
            spread.shuffle(things)
            for thing in things:
                where.add_server_span(thing, 0)
    expected, found = (
        [one for one in each.drain() if isinstance(one, Resolution)] for each in (plain, joiner)
    )
    assert len(found) == 20
    for one, other in zip(expected, found, strict=True):
        assert shape(one)[0] == [0, 1, 2]
        assert shape(one) == shape(other)
        skews = [each.skew_ns for each in other.join.traces]
        assert skews[0] == 0
        for skew_ns, ahead_ns in zip(skews[1:], (second_ns, third_ns), strict=True):
            assert abs(skew_ns + ahead_ns) < MS


def test_clocks_of_servers_are_found_in_a_stream_and_followed() -> None:
    """From the first lookups' exchanges, and again after a step; between them hops are missed."""
    joiner = Joiner(JoinSettings())
    found: list[Resolution] = []
    at = 0
    spread = random.Random(3)
    for number in range(120):
        at += spread.randrange(SECOND, 3 * SECOND)
        ahead_ns = 30 * MS + number * MS // 10 if number < 60 else -80 * MS
        joiner.add_lookup(lookup(at, at + 9 * MS), at)
        for thing in apart(at, ahead_ns, ahead_ns, 2 * MS):
            joiner.add_server_span(thing, at)
        found += [one for one in joiner.advance(at) if isinstance(one, Resolution)]
    found += [one for one in joiner.drain() if isinstance(one, Resolution)]
    missed = [number for number, one in enumerate(found) if len(one.join.traces) < 3]
    assert len(missed) <= 16
    assert not [number for number in missed if 8 <= number < 60 or number >= 68]


def test_strangers_make_no_clock() -> None:
    """Others ask the second server the same, at any time; the first server's own are not there."""
    joiner = Joiner(JoinSettings())
    spread = random.Random(7)
    for number in range(60):
        at = number * SECOND
        first, one, *_ = apart(at, 0, 0, 20 * MS)
        joiner.add_lookup(lookup(at, at + 28 * MS), 0)
        joiner.add_server_span(first, 0)
        joiner.add_server_span(one, 0)
        for _ in range(spread.randrange(8)):
            asked = at + spread.randrange(-SECOND // 2, SECOND // 2)
            for client in ("10.0.0.50", "10.0.0.51"):
                root = servedns(asked, asked + MS, client=client, origin=SECOND_SERVER)
                joiner.add_server_span(root, 0)
    found = [one for one in joiner.drain() if isinstance(one, Resolution)]
    assert all(not each.skew_ns for one in found for each in one.join.traces)
    wrong = [one for one in found if len(one.join.traces) > 1]
    assert len(wrong) <= 12
    assert not [one for one in wrong if one.join.certainty == "sure"]


def test_where_all_clocks_are_one_nothing_is_moved() -> None:
    joiner = Joiner(JoinSettings(follow_clocks=False))
    for number in range(12):
        at = number * SECOND
        joiner.add_lookup(lookup(at, at + 9 * MS), 0)
        for thing in apart(at, 30 * MS, 30 * MS, 2 * MS):
            joiner.add_server_span(thing, 0)
    found = [one for one in joiner.drain() if isinstance(one, Resolution)]
    # What is behind is not found: its time is the upstream's.
    assert all([each.hop for each in one.join.traces] == [0] for one in found)
    assert all(one.breakdown.segments["upstream"] == 5 * MS for one in found)


@pytest.mark.parametrize("ahead_ns", [0, 200 * MS])
def test_the_context_that_a_query_carries_is_passed_on(ahead_ns) -> None:
    """dnstap of the second server shows it; the stock cache before it has no dnstap."""

    def joined(*above: Span) -> Resolution:
        joiner = Joiner(JoinSettings())
        asked = query(0, 21 * MS)
        trace_id = new_id(16)
        asking = lookup(0, 21 * MS, queries=[asked], kind="dnspython", trace_id=trace_id)
        joiner.add_lookup(asking, 0)
        times = 3 * MS + ahead_ns, 18 * MS + ahead_ns
        about = {"client": NODE, "port": 50_000, "dns_id": 9, "context": (trace_id, asked.span_id)}
        for told in exchange(*times, **about):
            joiner.add_message(told, 0)
        for one in above:
            joiner.add_server_span(one, 0)
        (resolution,) = [one for one in joiner.drain() if isinstance(one, Resolution)]
        return resolution

    first, one, *_ = chain(0)
    whole = joined(first, one)
    assert [(each.hop, each.method, each.parent) for each in whole.join.traces] == [
        (0, "time", b""), (1, "edns", one.span_id),
    ]  # fmt: skip
    assert whole.breakdown.segments["upstream"] == (2 * MS if not ahead_ns else 17 * MS)
    assert [(each.hop, each.method) for each in joined().join.traces] == [(0, "edns")]


def test_a_hop_is_found_under_the_name_that_it_was_asked() -> None:
    """Only the first server's messages to it tell."""
    first, one, _, _, _ = chain(0)
    second = servedns(3 * MS, 18 * MS, client=NODE, proto="tcp", name="other.")

    def joined(*told: Message) -> list[Span]:
        joiner = Joiner(JoinSettings())
        for each in told:
            joiner.add_message(each, 0)
        return [each.trace.root for each in resolve(joiner, 0, first, one, second).join.traces]

    about = {"trace_id": first.trace_id[8:], "port": 40_000, "dns_id": 7}
    asked = exchange(MS, 20 * MS, **about)
    forwarded = message("FQ", 2 * MS, name="other.", **about)
    assert joined(*asked) == [first]
    assert joined(*asked, forwarded) == [first, second]


def test_contexts_seen_under_another_address_are_no_sign_of_loss() -> None:
    """An address that is translated on the way: the lookups' queries are all there."""
    joiner = Joiner(JoinSettings())
    for number in range(400):
        at = number * SECOND
        trace_id, asked = new_id(16), query(at, at + 21 * MS, port=number + 1)
        joiner.add_lookup(
            lookup(at, at + 21 * MS, queries=[asked], kind="dnspython", trace_id=trace_id), at
        )
        about = {"client": NODE, "port": 50_000, "context": (trace_id, asked.span_id)}
        for told in exchange(at + 3 * MS, at + 18 * MS, **about):
            joiner.add_message(told, at)
        joiner.advance(at)
    at = 500 * SECOND
    joiner.add_lookup(lookup(at, at + 21 * MS, client="10.0.0.8"), at)
    joiner.add_server_span(servedns(at + MS, at + 2 * MS, client="10.0.0.8"), at)
    *_, last = [one for one in joiner.drain() if isinstance(one, Resolution)]
    assert [one.method for one in last.join.traces] == ["time"]
    assert last.join.certainty == "sure"
