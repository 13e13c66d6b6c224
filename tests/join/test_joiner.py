"""The join as a stream: who gets what, when it leaves, and that nothing is lost."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.join import Joiner, JoinSettings, Outcome, Released
from otel_dns.join.annotate import encode
from otel_dns.join.leaving import Late
from otel_dns.model import Lookup, Resolution, Span
from tests.support.spans import (
    EXTERNAL,
    MS,
    SECOND,
    lookup,
    message,
    nested,
    new_id,
    query,
    servedns,
    span,
)

SETTINGS = JoinSettings(settle_ns=7 * SECOND, trace_wait_ns=60 * SECOND, tolerance_ns=2 * MS)


def feed(joiner: Joiner, things: Iterable[Lookup | Span], now_ns: int = 0) -> None:
    for thing in things:
        if isinstance(thing, Lookup):
            joiner.add_lookup(thing, now_ns)
        else:
            joiner.add_server_span(thing, now_ns)


def settled(things: Iterable[Lookup | Span], settings: JoinSettings = SETTINGS) -> list[Outcome]:
    """All that comes out once all waits are over."""
    joiner = Joiner(settings)
    feed(joiner, things)
    outcomes = joiner.advance(settings.settle_ns) + joiner.advance(settings.trace_wait_ns)
    assert joiner.waiting_lookups == joiner.waiting_server_spans == 0
    assert not len(joiner._held.slots)
    return outcomes


def resolutions(outcomes: Iterable[Outcome]) -> list[Resolution]:
    return [one for one in outcomes if isinstance(one, Resolution)]


def joined(outcomes: Iterable[Outcome]) -> dict[Lookup, tuple[str, list[tuple[bytes, int]]]]:
    """For every lookup its certainty, and its server traces with their candidates."""
    return {
        one.lookup: (
            one.join.certainty,
            [(each.trace.root.trace_id, each.candidate) for each in one.join.traces],
        )
        for one in resolutions(outcomes)
    }


def test_spans_that_start_in_one_microsecond_are_in_one_another() -> None:
    """Whatever their ids: the longer one is around the other."""
    root = servedns(0, 9 * MS)
    ends = (8 * MS, 7 * MS, 6 * MS)
    for ids in permutations((b"11111111", b"22222222", b"33333333")):
        parents = (root.span_id, *ids)
        around = [
            span("x", MS, end, trace_id=root.trace_id, span_id=id_, parent_id=parent)
            for id_, parent, end in zip(ids, parents, ends, strict=False)
        ]
        (one,) = resolutions(settled([lookup(0, 10 * MS), *reversed(around), root]))
        (trace,) = one.join.traces
        assert trace.trace.spans == (root, *around)
        assert trace.timeline.own_ns == (2 * MS, MS, MS, 5 * MS)


def out(outcomes: Iterable[Outcome]) -> list[bytes]:
    """Ids of all spans that leave, as they leave."""
    raws = (raw for outcome in outcomes for _, raw in encode(outcome))
    return sorted(ProtoSpan.FromString(raw).span_id for raw in raws)


def external() -> tuple[Lookup, list[Span]]:
    """A lookup of an external name in a Pod: four candidates, A and AAAA of each."""
    asked = lookup(0, 9 * MS, name="www.example.org", candidates=EXTERNAL, types=("A", "AAAA"))
    roots = [
        servedns(at * MS, at * MS + MS // 2, name=EXTERNAL[at // 2],
                 type_="AAAA" if at % 2 else "A", rcode="NOERROR" if at > 5 else "NXDOMAIN")
        for at in range(8)
    ]  # fmt: skip
    return asked, roots


def test_a_lookup_through_the_search_list_gets_its_eight_queries() -> None:
    asked, roots = external()

    outcomes = settled([asked, *roots])

    (resolution,) = resolutions(outcomes)
    assert outcomes == [resolution]
    assert resolution.join.certainty == "sure"
    assert resolution.join.method == "time"
    assert [one.candidate for one in resolution.join.traces] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert resolution.breakdown.waste_queries == 6
    assert resolution.breakdown.total_ns == 9 * MS


def test_the_joined_spans_hang_under_the_lookup_and_keep_their_first_ids() -> None:
    asked, root = lookup(0, 9 * MS), servedns(MS, 2 * MS)
    plugins = nested(root, ("log", "cache"))

    encoded = [raw for one in settled([asked, root, *plugins]) for _, raw in encode(one)]

    spans = [ProtoSpan.FromString(raw) for raw in encoded]
    assert {span.trace_id for span in spans} == {asked.span.trace_id}
    assert [span.parent_span_id for span in spans] == [
        asked.span.parent_id, asked.span.span_id, root.span_id, plugins[0].span_id,
    ]  # fmt: skip
    tags = [{each.key: each.value for each in span.attributes} for span in spans]
    assert tags[0]["otel_dns.queries"].int_value == 1
    assert tags[0]["otel_dns.join.certainty"].string_value == "sure"
    assert tags[1]["otel_dns.original.trace_id"].string_value == root.trace_id.hex()
    assert tags[1]["otel_dns.original.span_id"].string_value == root.span_id.hex()
    own = sum(each["otel_dns.own_ns"].int_value for each in tags[1:])
    assert own == root.end_ns - root.start_ns


CASES = {
    "started when it did": ((MS, 2 * MS), True),
    "started after the lookup's end, within the tolerance": ((12 * MS, 13 * MS), True),
    "started before the lookup, within the tolerance": ((-2 * MS, MS), True),
    "started too early": ((-2 * MS - 1, MS), False),
    "started too late": ((12 * MS + 1, 13 * MS), False),
}


@pytest.mark.parametrize(("times", "belongs"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("server_first", [False, True])
def test_a_server_trace_belongs_to_the_lookup_that_was_running(times, belongs, server_first):
    asked, root = lookup(0, 10 * MS), servedns(*times)

    outcomes = settled([root, asked] if server_first else [asked, root])

    assert joined(outcomes)[asked][1] == ([(root.trace_id, 0)] if belongs else [])


@pytest.mark.parametrize(
    "other",
    [{"client": "10.0.0.8"}, {"name": "db2."}, {"type_": "AAAA"}],
    ids=["client", "name", "type"],
)
def test_another_clients_name_or_type_is_anothers(other) -> None:
    asked, root = lookup(0, 10 * MS), servedns(MS, 2 * MS, **other)

    outcomes = settled([asked, root])

    assert joined(outcomes)[asked] == ("", [])
    assert outcomes[1:] == [Released((root,), "unmatched")]


def test_two_lookups_of_one_name_in_flight_get_one_each_the_first_the_first() -> None:
    first, second = lookup(0, 10 * MS), lookup(MS, 9 * MS)
    roots = [servedns(MS // 5, 3 * MS), servedns(MS + MS // 5, 5 * MS)]

    found = joined(settled([second, *roots[::-1], first]))

    assert found == {
        first: ("sure", [(roots[0].trace_id, 0)]),
        second: ("sure", [(roots[1].trace_id, 0)]),
    }


def test_lookups_that_start_together_are_a_group_whose_shares_are_known() -> None:
    asked = [lookup(at, MS + at) for at in range(3)]
    roots = [servedns(MS // 5 + at, MS - MS // 5) for at in range(3)]

    found = resolutions(settled([*asked, *roots]))

    assert {one.join.certainty for one in found} == {"group"}
    assert {one.join.group_size for one in found} == {3}
    assert {one.join.confidence for one in found} == {1 / 3}
    given = sorted(each.trace.root.trace_id for one in found for each in one.join.traces)
    assert given == sorted(root.trace_id for root in roots)
    assert all(one.breakdown.segments["server"] >= MS // 2 for one in found)


def test_what_either_of_two_may_have_retried_is_nobodys() -> None:
    first, second = lookup(0, 10 * MS), lookup(MS, 9 * MS)
    roots = [servedns(at * MS, at * MS + 1) for at in (2, 3, 4)]
    joiner = Joiner(SETTINGS)
    feed(joiner, [*roots, first])
    feed(joiner, [second], now_ns=SECOND)

    apart = joiner.advance(7 * SECOND) + joiner.advance(8 * SECOND) + joiner.advance(60 * SECOND)
    together = settled([*roots, first, second])

    assert joined(apart) == joined(together)
    assert out(apart) == out(together)
    assert [one.reason for one in apart if isinstance(one, Released)] == ["unmatched"]


def test_a_retry_is_the_lookups_when_it_alone_was_running() -> None:
    asked = lookup(0, 2010 * MS)
    roots = [servedns(at * MS, at * MS + MS) for at in (1, 1001, 2002)]

    (resolution,) = resolutions(settled([asked, *roots]))

    assert [one.trace.root for one in resolution.join.traces] == roots
    assert resolution.join.certainty == "unsure"
    assert resolution.breakdown.segments["waiting"] > 1900 * MS


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"rcode": "SERVFAIL"}, {}),
        ({}, {"proto": "tcp"}),
    ],
    ids=["server failure", "truncated"],
)
def test_a_second_query_that_the_first_calls_for_is_no_contest(first, second) -> None:
    asked = lookup(0, 10 * MS)
    roots = [servedns(MS, 2 * MS, **first), servedns(3 * MS, 4 * MS, **second)]

    (resolution,) = resolutions(settled([asked, *roots]))

    assert [one.trace.root for one in resolution.join.traces] == roots
    assert resolution.join.certainty == "sure"


def test_one_server_trace_for_two_lookups_is_sure_for_neither() -> None:
    found = joined(settled([lookup(0, 10 * MS), lookup(0, 10 * MS), servedns(MS, 3 * MS)]))

    assert sorted(certainty for certainty, _ in found.values()) == ["", "group"]


@pytest.mark.parametrize(
    ("error_type", "rcode", "took_ms", "outcome"),
    [
        ("", "NOERROR", 10, "ok"),
        ("host_not_found", "NXDOMAIN", 10, "not_found"),
        ("no_data", "NOERROR", 10, "not_found"),
        ("try_again", "SERVFAIL", 10, "server_failure"),
        ("try_again", "REFUSED", 10_000, "server_failure"),
        ("try_again", "NOERROR", 10_000, "timeout"),
        ("try_again", None, 5_000, "timeout"),
        ("try_again", None, 1, "error"),
        ("timeout", None, 5_000, "timeout"),
        ("no_recovery", "FORMERR", 10, "error"),
    ],
)
def test_how_a_lookup_ended(error_type, rcode, took_ms, outcome) -> None:
    asked = lookup(0, took_ms * MS, error_type=error_type)
    roots = [] if rcode is None else [servedns(MS, 2 * MS, rcode=rcode)]

    (resolution,) = resolutions(settled([asked, *roots]))

    assert resolution.outcome == outcome


def test_a_search_list_that_repeats_itself_asks_twice_and_is_no_contest() -> None:
    asked = lookup(0, 10 * MS, candidates=("db.a.", "db.a.", "db."))
    roots = [servedns(MS, 2 * MS, name="db.a.", rcode="NXDOMAIN"),
             servedns(3 * MS, 4 * MS, name="db.a.", rcode="NXDOMAIN"),
             servedns(5 * MS, 6 * MS)]  # fmt: skip

    found = joined(settled([asked, *roots]))

    assert found[asked] == ("sure", [(root.trace_id, at) for at, root in enumerate(roots)])


def test_the_spans_of_a_trace_that_left_follow_it_under_the_same_ids() -> None:
    asked, root = lookup(0, 10 * MS), servedns(MS, 2 * MS)
    child, grandchild = nested(root, ("log", "cache"))
    joiner = Joiner(SETTINGS)
    feed(joiner, [asked, root, child])
    joiner.advance(7 * SECOND)

    feed(joiner, [grandchild], 8 * SECOND)

    assert joiner.advance(8 * SECOND) == [Late(grandchild, asked.span.trace_id, child.span_id)]
    assert joiner.counts["server_spans_late"] == 1


def test_the_spans_of_a_trace_that_nobody_wanted_follow_it_as_they_are() -> None:
    root = servedns(MS, 2 * MS)
    (child,) = nested(root, ("log",))
    joiner = Joiner(SETTINGS)
    feed(joiner, [root])
    assert joiner.advance(60 * SECOND - 1) == []
    assert joiner.advance(60 * SECOND) == [Released((root,), "unmatched")]

    feed(joiner, [child], 61 * SECOND)

    assert joiner.advance(61 * SECOND) == [Released((child,), "late")]


def test_spans_without_their_root_leave_after_the_wait() -> None:
    spans = nested(servedns(0, MS), ("log", "cache"))

    assert settled(spans) == [Released(tuple(spans), "no_root")]


def test_what_is_delivered_twice_counts_once() -> None:
    asked, root = lookup(0, 10 * MS), servedns(MS, 2 * MS)
    joiner = Joiner(SETTINGS)
    feed(joiner, [asked, root, asked, root])
    (resolution,) = joiner.advance(7 * SECOND)
    feed(joiner, [asked], 8 * SECOND)

    assert joiner.advance(30 * SECOND) == []
    assert len(resolution.join.traces) == 1
    assert joiner.counts["duplicate"] == 3


def test_a_lookup_settles_when_its_time_is_up_and_not_before() -> None:
    joiner = Joiner(SETTINGS)
    first, second = lookup(0, MS), lookup(0, MS)
    feed(joiner, [first], 0)
    feed(joiner, [second], SECOND)

    assert joiner.advance(7 * SECOND - 1) == []
    assert [one.lookup for one in resolutions(joiner.advance(7 * SECOND))] == [first]
    assert joiner.advance(6 * SECOND) == []  # a clock that goes back changes nothing
    assert [one.lookup for one in resolutions(joiner.advance(8 * SECOND))] == [second]


def test_draining_joins_what_is_there() -> None:
    asked, root, alone = lookup(0, 10 * MS), servedns(MS, 2 * MS), servedns(MS, 2 * MS, name="x.")
    joiner = Joiner(SETTINGS)
    feed(joiner, [asked, root, alone])

    outcomes = joiner.drain()

    assert joined(outcomes)[asked] == ("sure", [(root.trace_id, 0)])
    assert outcomes[1:] == [Released((alone,), "unmatched")]
    assert joiner.drain() == []


# -- any stream --------------------------------------------------------------------------------

names = st.sampled_from([("a.",), ("a.x.", "a."), ("a.", "a."), ("b.",), ()])


@st.composite
def scenes(draw: st.DrawFn) -> list[Lookup | Span]:
    """Lookups and server traces that get in each other's way."""
    things: list[Lookup | Span] = []
    for _ in range(draw(st.integers(0, 5))):
        start_ns = draw(st.integers(0, 6))
        end_ns = start_ns + draw(st.integers(0, 20))
        things.append(lookup(start_ns * MS, end_ns * MS, candidates=draw(names)))
    for _ in range(draw(st.integers(0, 8))):
        start_ns = draw(st.integers(0, 20)) * MS
        root = servedns(start_ns, start_ns + MS, name=draw(st.sampled_from(["a.", "a.x.", "b."])))
        things += [root, *nested(root, ("log", "cache")[: draw(st.integers(0, 2))])]
    return things


@given(st.data(), scenes())
def test_order_and_split_within_the_wait_change_no_join(data: st.DataObject, things) -> None:
    # How clocks go is learned of what came before; so here, where next to nothing did, they agree.
    agreeing = replace(SETTINGS, follow_clocks=False)
    duplicates = data.draw(st.lists(st.sampled_from(things), max_size=4)) if things else []
    shuffled: Sequence[Lookup | Span] = data.draw(st.permutations([*things, *duplicates]))
    joiner = Joiner(agreeing)
    outcomes = []
    now_ns = 0
    for thing in shuffled:
        feed(joiner, [thing], now_ns)
        now_ns += data.draw(st.integers(0, 7 * SECOND // (len(shuffled) + 1)))
        outcomes += joiner.advance(now_ns)
    for later_ns in range(now_ns, now_ns + 70 * SECOND, SECOND):
        outcomes += joiner.advance(later_ns)

    assert joined(outcomes) == joined(settled(things, agreeing))
    assert out(outcomes) == out(settled(things, agreeing))
    assert joiner.counts["duplicate"] == len(duplicates)


def test_a_neighbour_out_of_reach_changes_nothing_whenever_it_comes() -> None:
    late, early = lookup(MS, MS, candidates=("a.",)), lookup(0, 0, candidates=("a.",))
    root = servedns(3 * MS, 4 * MS, name="a.")
    joiner = Joiner(SETTINGS)
    feed(joiner, [late, root])
    feed(joiner, [early], now_ns=1)
    outcomes = joiner.advance(SETTINGS.settle_ns) + joiner.advance(SETTINGS.settle_ns + 1)
    assert joined(outcomes) == joined(settled([late, early, root]))
    assert joined(outcomes)[late] == ("sure", [(root.trace_id, 0)])


@given(st.data(), scenes(), st.integers(1, 4), st.integers(1, 6))
def test_bounds_hold_and_all_that_went_in_comes_out_once(data, things, lookups, spans) -> None:
    settings = JoinSettings(
        settle_ns=7 * SECOND, trace_wait_ns=10 * SECOND, tolerance_ns=2 * MS,
        max_lookups=lookups, max_server_spans=spans, max_remembered=1000,
    )  # fmt: skip
    joiner = Joiner(settings)
    outcomes = []
    now_ns = 0
    for thing in data.draw(st.permutations(things)):
        feed(joiner, [thing], now_ns)
        assert joiner.waiting_lookups <= lookups
        assert joiner.waiting_server_spans <= spans
        if data.draw(st.booleans()):
            now_ns += data.draw(st.integers(0, 12 * SECOND))
            outcomes += joiner.advance(now_ns)
    outcomes += joiner.drain()

    expected = [thing.span if isinstance(thing, Lookup) else thing for thing in things]
    assert out(outcomes) == sorted(span.span_id for span in expected)
    assert not len(joiner._held.slots)
    counts = joiner.counts
    assert counts["lookups_joined"] + counts["lookups_unjoined"] == len(resolutions(outcomes))
    left = ("joined", "unmatched", "no_root", "evicted", "late")
    assert sum(counts[f"server_spans_{reason}"] for reason in left) == len(things) - len(
        resolutions(outcomes)
    )


def test_what_is_remembered_is_bounded() -> None:
    joiner = Joiner(JoinSettings(max_remembered=3, settle_ns=0, trace_wait_ns=0))

    for _ in range(10):
        feed(joiner, [lookup(0, MS), servedns(0, MS, name="x.")])
        joiner.advance(1)

    assert joiner._held.leaving.remembered == (3, 3)


def test_ten_thousand_in_one_slot_are_each_given_their_own() -> None:
    # Would run into the suite's timeout if the time grew as the square of the number.
    asked = [lookup(at, 20_000 + at) for at in range(10_000)]
    roots = [servedns(10_000 + at, 20_000 + at) for at in range(10_000)]

    found = joined(settled([*asked, *roots]))

    assert [found[one] for one in asked] == [("unsure", [(root.trace_id, 0)]) for root in roots]


def test_overflow_with_all_in_one_slot_settles_the_oldest() -> None:
    settings = JoinSettings(max_lookups=2_000, settle_ns=7 * SECOND)
    joiner = Joiner(settings)

    feed(joiner, (lookup(at, 2 * SECOND) for at in range(10_000)))

    assert joiner.waiting_lookups <= 2_000
    assert joiner.counts["lookups_settled_early"] == 10_000 - joiner.waiting_lookups
    times = [one.lookup.start_ns for one in resolutions(joiner.drain())]
    assert sorted(times) == [lookup(at, at).start_ns for at in range(10_000)]


def test_queries_whose_lookup_never_comes_are_bounded_and_counted() -> None:
    joiner = Joiner(replace(SETTINGS, max_lookups=3))
    came = lookup(0, MS)
    seen = [query(0, MS) for _ in range(5)]
    identity = (came.span.trace_id, came.span.span_id)
    joiner.add_query(identity, seen[0], 0)
    joiner.add_query(identity, seen[0], 0)
    joiner.add_lookup(came, 0)
    for one in seen[1:]:
        joiner.add_query((new_id(16), new_id()), one, SECOND)
    assert joiner.waiting_queries == 3

    joiner.advance(61 * SECOND)
    joiner.add_query(identity, seen[1], 62 * SECOND)
    joiner.add_query((new_id(16), new_id()), seen[2], 62 * SECOND)
    joiner.drain()

    assert joiner.waiting_queries == 0
    told = {name: number for name, number in joiner.counts.items() if name.startswith("queries")}
    assert told == {
        "queries_duplicate": 1, "queries_evicted": 1, "queries_joined": 1, "queries_unmatched": 4,
        "queries_late": 1,
    }  # fmt: skip


def test_one_lookup_keeps_so_many_queries_and_one_server_trace_so_many_messages() -> None:
    joiner = Joiner(SETTINGS)
    asked = lookup(0, MS)
    for held in (False, True):
        if held:
            joiner.add_lookup(asked, 0)
        for _ in range(65):
            joiner.add_query((asked.span.trace_id, asked.span.span_id), query(0, MS), 0)
    for number in range(300):
        joiner.add_message(message("FQ", number, peer="10.0.0.1:53", trace_id=bytes(8)), 0)

    assert joiner.counts["queries_surplus"] == 1 + 65
    assert joiner.counts["messages_surplus"] == 300 - joiner.waiting_server_spans > 0


def test_groups_can_stay_in_traces_of_their_own_with_links() -> None:
    asked = [lookup(0, 10 * MS), lookup(0, 10 * MS)]
    roots = [servedns(MS, 2 * MS), servedns(MS, 2 * MS)]
    plugins = [span for root in roots for span in nested(root, ("log",))]
    joiner = Joiner(replace(SETTINGS, leave_groups=True))
    feed(joiner, [*asked, *roots, *plugins])

    found = resolutions(outcomes := joiner.advance(SETTINGS.settle_ns))

    assert {(one.join.certainty, one.join.group_size, one.join.apart) for one in found} == {
        ("group", 2, True)
    }
    assert [one.breakdown.segments["server"] for one in found] == [MS, MS]
    spans = [ProtoSpan.FromString(raw) for one in outcomes for _, raw in encode(one)]
    links = {(link.trace_id, link.span_id) for span in spans for link in span.links}
    assert links == {(root.trace_id, root.span_id) for root in roots}
    raws = {raw for one in outcomes for _, raw in encode(one)}
    assert raws >= {span.raw for span in (*roots, *plugins)}
    late = nested(roots[0], ("cache",))[0]
    feed(joiner, [late], SETTINGS.settle_ns)
    assert joiner.advance(SETTINGS.settle_ns) == [Released((late,), "late")]


def test_without_server_spans_there_is_nothing_to_link_to() -> None:
    joiner = Joiner(replace(SETTINGS, leave_groups=True))
    feed(joiner, [lookup(0, 9 * MS), lookup(0, 9 * MS), servedns(MS, MS), servedns(MS, MS)])

    raws = [raw for one in joiner.drain() for _, raw in encode(one, servers=False)]

    assert [len(ProtoSpan.FromString(raw).links) for raw in raws] == [0, 0]


def test_lookups_that_can_be_told_apart_are_joined_nevertheless() -> None:
    asked, root = lookup(0, 9 * MS), servedns(MS, 2 * MS)
    joiner = Joiner(replace(SETTINGS, leave_groups=True))
    feed(joiner, [asked, root])

    (found,) = resolutions(joiner.drain())

    assert (found.join.certainty, found.join.apart) == ("sure", False)
