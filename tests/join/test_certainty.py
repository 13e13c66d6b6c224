"""How sure the join is: what is called sure, and what must not be."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from otel_dns.join import Joiner, JoinSettings, Outcome
from otel_dns.join.by_time.confidence import confidence
from otel_dns.join.by_time.knot import Knot
from otel_dns.join.by_time.member import Member, asks_again, give
from otel_dns.join.by_time.rebuild import Rebuild
from otel_dns.join.by_time.swap import exchanges
from otel_dns.join.by_time.timing import Timing
from otel_dns.join.clocks.skew import NodeClocks
from otel_dns.join.waiting import Slots, WaitingLookup, WaitingTrace
from otel_dns.model import Lookup, Message, Resolution, Span
from tests.support.spans import MS, SECOND, T0, exchange, lookup, servedns

Thing = Lookup | Span | Message


def settled(things: Iterable[Thing]) -> list[Outcome]:
    joiner = Joiner(JoinSettings())
    for thing in things:
        if isinstance(thing, Lookup):
            joiner.add_lookup(thing, 0)
        elif isinstance(thing, Span):
            joiner.add_server_span(thing, 0)
        else:
            joiner.add_message(thing, 0)
    return joiner.advance(7 * SECOND) + joiner.advance(60 * SECOND)


def resolved(things: Iterable[Thing]) -> dict[Lookup, Resolution]:
    return {one.lookup: one for one in settled(things) if isinstance(one, Resolution)}


def starts(resolution: Resolution) -> list[int]:
    """When the queries given to a lookup came to the server, in milliseconds."""
    return [(one.trace.start_ns - T0) // MS for one in resolution.join.traces]


def test_a_query_sent_again_is_known_by_its_id_whoever_else_was_running() -> None:
    first, second = lookup(0, 1100 * MS), lookup(500 * MS, 1600 * MS)
    queries = [
        *exchange(MS, 2 * MS, port=1, dns_id=1),
        *exchange(501 * MS, 502 * MS, port=2, dns_id=2),
        *exchange(1002 * MS, 1003 * MS, port=1, dns_id=1),
        *exchange(1502 * MS, 1503 * MS, port=3, dns_id=2),
    ]

    found = resolved([first, second, *queries])

    assert starts(found[first]) == [1, 1002]
    assert starts(found[second]) == [501, 1502]


def test_lookups_are_found_anew_as_long_as_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, way = 0, Rebuild._step

    def counted(rebuild: Rebuild, *args: Any) -> Any:
        nonlocal steps
        steps += 1
        return way(rebuild, *args)

    monkeypatch.setattr(Rebuild, "_step", counted)
    spent = []
    for limit in (1_000_000, 2_000):
        monkeypatch.setattr("otel_dns.join.by_time.rebuild._STEPS", limit)
        things: list[Thing] = []
        for number in range(30):  # the same name, again after its timeout
            at = number * 67 % 2000 * MS
            things.append(lookup(at, at + (5020 + number) * MS))
            starts_ns = at + (5 + number % 7) * MS, at + (5010 + number % 5) * MS
            things += [servedns(start, start + MS) for start in starts_ns[number % 3 :]]
        steps = 0
        assert len(resolved(things)) == 30
        spent.append(steps)
    assert spent[0] > 10_000
    assert 0 < spent[1] < 6_000


def test_either_of_two_that_may_have_asked_again_is_unsure() -> None:
    asked = [lookup(0, 1100 * MS), lookup(MS // 2, 1100 * MS)]
    roots = [servedns(at * MS // 10, at * MS // 10 + MS // 20) for at in (2, 7, 10_007)]

    found = resolved([*asked, *roots])

    assert [len(found[one].join.traces) for one in asked] == [1, 1]
    assert {one.join.certainty for one in found.values()} == {"unsure"}


def test_who_asked_again_is_known_by_when_its_timeout_was_over() -> None:
    asked = [lookup(0, 1100 * MS), lookup(20 * MS, 1120 * MS)]
    roots = [servedns(at * MS, at * MS + MS // 10) for at in (0, 20, 1021)]

    found = resolved([*asked, *roots])

    assert [starts(found[one]) for one in asked] == [[0], [20, 1021]]


NAMES = ("a.x.", "a.")
NXDOMAIN = "NXDOMAIN"


def first_of(start_ms: float, end_ms: float = 0, **about: str) -> Span:
    start_ns = round(start_ms * MS)
    return servedns(start_ns, round(end_ms * MS) or start_ns + MS // 10, **about)


@pytest.mark.parametrize(
    ("roots", "given"),
    [
        pytest.param([0.2, 1.2], [0, 1], id="nothing is missing"),
        pytest.param([0.2, 1001.3], [0, 1001], id="the second was sent again"),
        pytest.param([1000.2, 1001.2], [1000, 1001], id="the first was"),
    ],
)
def test_what_a_lookup_lacks_is_looked_for_where_it_was_due(roots, given) -> None:
    # A second lookup of the last name makes a knot of it, and is done by itself.
    end_ms = roots[1] + 0.3
    asked = lookup(0, round(end_ms * MS), candidates=NAMES)
    other = lookup(round((end_ms - 0.2) * MS), round((end_ms + 100) * MS), candidates=("a.",))
    spans = [
        first_of(roots[0], name="a.x.", rcode=NXDOMAIN), first_of(roots[1], name="a."),
        first_of(end_ms, end_ms + 99.9, name="a."),
    ]  # fmt: skip

    found = resolved([asked, other, *spans])

    assert starts(found[asked]) == given
    assert found[asked].join.certainty == "sure"


def test_a_query_that_a_rival_has_leaves_who_lacks_it_unsure_too() -> None:
    # Both asked for a.x.; one query for a. is there, and fits both.
    asked = [lookup(at, 3 * MS, candidates=NAMES) for at in (0, 300_000)]
    roots = [
        first_of(0.2, name="a.x.", rcode=NXDOMAIN), first_of(0.5, name="a.x.", rcode=NXDOMAIN),
        first_of(0.75, 2.9, name="a."),
    ]  # fmt: skip

    found = resolved([*asked, *roots])

    assert sorted(len(starts(found[one])) for one in asked) == [1, 2]
    assert all(one.join.certainty != "sure" for one in found.values())


def test_the_other_family_is_asked_again_after_the_answer_for_the_first() -> None:
    # A is lost; a second later the stub asks for A, and then for AAAA again, though it had that.
    types = ("A", "AAAA")
    asked, other = lookup(20 * MS, 1110 * MS, types=types), lookup(0, 60 * MS, types=types)
    roots = [
        first_of(20.3, 40, type_="AAAA"), first_of(1020.2, 1060),
        first_of(1060.1, 1109.9, type_="AAAA"),
        first_of(0.2, 59.8), first_of(0.3, 59.9, type_="AAAA"),
    ]  # fmt: skip

    found = resolved([asked, other, *roots])

    assert starts(found[asked]) == [20, 1020, 1060]
    assert starts(found[other]) == [0, 0]


@pytest.mark.parametrize(
    ("first_ms", "next_ms", "odd"),
    [
        pytest.param(0.2, 0.4, False, id="each right after the other"),
        pytest.param(0.2, 1000.4, False, id="a timeout before the second"),
        pytest.param(1000.2, 1000.4, False, id="a timeout before the first"),
        pytest.param(0.2, 450, True, id="the second at no time it was due"),
        pytest.param(450, 450.2, True, id="the first at no time it was due"),
    ],
)
def test_a_gap_that_nothing_explains_is_odd(first_ms: float, next_ms: float, odd: bool) -> None:
    asked = lookup(0, 1090 * MS, candidates=NAMES)
    roots = [first_of(first_ms, name=NAMES[0], rcode=NXDOMAIN),
             first_of(next_ms, 1089.9, name=NAMES[1])]  # fmt: skip
    knot = knot_of([asked], roots)
    (member,) = knot.members

    assert given_ms(member) == [first_ms, next_ms]
    assert (knot._likelihood.oddity(member) > 100) == odd
    assert (member.confidence < 0.99) == odd


def test_rings_of_queries_sent_again_are_undone() -> None:
    # Each lost its first query, and its second is near another's start: in turn, three of them.
    asked = [lookup(at * MS, (at + 1040) * MS) for at in (0, 980, 1960)]
    roots = [first_of(at + 1000.2, at + 1039.9) for at in (0, 980, 1960)]
    knot = knot_of(asked, roots)
    columns = sorted(knot._columns_of(knot.members[0], (0, 0)), key=lambda one: one.start_ns)
    for member in knot.members:
        member.edges, member.retries = {}, []
    give(knot.members[1], (0, 0), columns[0])
    give(knot.members[2], (0, 0), columns[1])
    columns[2].owner = None

    assert Rebuild(knot._likelihood, knot._columns_of, knot._stranger).all(knot.members)

    assert [given_ms(member) for member in knot.members] == [[1000.2], [1980.2], [2960.2]]


@pytest.mark.parametrize(
    ("many", "ports", "certainty"),
    [
        pytest.param(3, False, "sure", id="too few for a crowd"),
        pytest.param(4, False, "unsure", id="a crowd"),
        pytest.param(4, True, "sure", id="a crowd whose ports are known"),
    ],
)
def test_in_a_crowd_only_ports_make_sure(many: int, ports: bool, certainty: str) -> None:
    # Each has a query right after its start, and ends right after its answer.
    asked = [lookup(at * MS // 4, at * MS // 4 + 10 * MS) for at in range(many)]
    seen: list[Thing] = []
    for at in range(many):
        begin_ns, end_ns = at * MS // 4 + 3 * MS // 20, at * MS // 4 + 99 * MS // 10
        if ports:
            seen += exchange(begin_ns, end_ns, port=1 + at, dns_id=1 + at)
        else:
            seen.append(servedns(begin_ns, end_ns))

    found = resolved([*asked, *seen])

    assert [len(starts(found[one])) for one in asked] == [1] * many
    assert {one.join.certainty for one in found.values()} == {certainty}


def test_a_gap_that_a_timeout_made_long_is_as_sharp_as_one_without() -> None:
    gap = Timing().next

    usual, jittered = gap.log_late(SECOND + 100_000), gap.log_late(SECOND + 2 * MS)

    assert usual - jittered == pytest.approx(gap.log(100_000) - gap.log(2 * MS))
    assert usual > gap.log_late(SECOND - 100 * MS) + 5
    assert gap.log_late(100_000) == gap.log(100_000)


@pytest.mark.parametrize("apart_ms", [100, 1000])
def test_one_id_alone_does_not_make_a_query_another_sent_again(apart_ms: int) -> None:
    first, second = lookup(0, 10 * MS), lookup(apart_ms * MS, (apart_ms + 10) * MS)
    between = lookup(5 * MS, (apart_ms + 5) * MS)  # which makes a knot of the two
    queries = [
        *exchange(MS, 2 * MS, port=1, dns_id=1),
        *exchange(6 * MS, (apart_ms + 4) * MS, port=3, dns_id=3),
        *exchange((apart_ms + 1) * MS, (apart_ms + 2) * MS, port=2, dns_id=1),
    ]

    found = resolved([first, second, between, *queries])

    assert (starts(found[first]), starts(found[second])) == ([1], [apart_ms + 1])


@pytest.mark.parametrize(("early_ms", "certainty"), [(0.3, "sure"), (70, "unsure")])
def test_one_is_not_sure_of_candidates_in_the_wrong_order(early_ms: float, certainty: str) -> None:
    asked = lookup(0, 100 * MS, candidates=("a.x.", "b.x.", "c.x.", "c."))
    roots = [
        first_of(0.2, name="a.x.", rcode=NXDOMAIN),
        first_of(early_ms, name="b.x.", rcode=NXDOMAIN),
        first_of(0.9, 99.9, name="c."),
    ]

    found = resolved([asked, *roots])

    assert found[asked].join.certainty == certainty


def test_one_whose_rival_left_before_it_knows_of_it() -> None:
    # Found together when the first was due; the second leaves as was found, then something comes.
    asked = [lookup(at * MS // 10, 6 * MS) for at in (0, 25, 26)]
    joiner, settle_ns = Joiner(JoinSettings()), JoinSettings().settle_ns
    for number, one in enumerate(asked):
        joiner.add_lookup(one, number * SECOND)
    for root in (first_of(0.2, 5.9), first_of(2.7, 5.9), first_of(2.75, 5.9)):
        joiner.add_server_span(root, 2 * SECOND)
    outcomes = joiner.advance(settle_ns) + joiner.advance(settle_ns + SECOND)
    joiner.add_server_span(first_of(20_000), settle_ns + SECOND)
    outcomes += joiner.advance(settle_ns + 2 * SECOND)

    sizes = [one.join.group_size for one in outcomes if isinstance(one, Resolution)]
    assert sizes == [1, 2, 2]


# -- within a knot -----------------------------------------------------------------------------


def knot_of(lookups: Iterable[Lookup], roots: Iterable[Span], strangers_hz: float = 0.001) -> Knot:
    """Solve a knot by itself."""
    slots = Slots()
    waiting = [WaitingLookup(one, 0, NodeClocks({})) for one in lookups]
    for each in waiting:
        slots.add_lookup(each)
    for root in roots:
        trace = WaitingTrace(root.trace_id, 0)
        trace.add_root(root)
        slots.add_trace(trace)
    knot = Knot(waiting, Timing(), seen=0.98, tolerance_ns=2 * MS)
    order = dict.fromkeys(slot for one in waiting for slot in slots.of(one))
    knot.solve({slot: (list(slot.traces), strangers_hz) for slot in order})
    return knot


def given_ms(member: Member) -> list[float]:
    return sorted((column.start_ns - T0) / MS for column, _ in member.given())


def test_who_cannot_reach_a_server_trace_is_no_rival_for_it() -> None:
    knot = knot_of([lookup(0, 0), lookup(MS, MS)], [first_of(2.9)])

    early, late = knot.members
    assert (given_ms(early), given_ms(late)) == ([], [2.9])
    assert early.root() is not late.root()


def test_what_is_lacking_is_looked_for_when_it_was_due_and_a_timeout_later() -> None:
    asked = lookup(0, 1100 * MS, candidates=NAMES, types=("A", "AAAA"))
    spares = {at: first_of(at, name="a.") for at in (0.4, 500, 1001)}
    knot = knot_of([asked], [first_of(0.2, name="a.x.", rcode=NXDOMAIN), *spares.values()])
    (member,) = knot.members
    member.edges = {(0, 0): member.edges[0, 0]}

    holes = dict(knot._holes(member))

    assert holes.keys() == {(0, 1), (1, 0), (1, 1)}
    assert [round((column.start_ns - T0) / MS, 1) for column in holes[1, 0]] == [0.4, 500, 1001]


def test_by_way_of_a_rival_in_doubt_others_come_into_reach() -> None:
    asked = [lookup(at, 10 * MS) for at in (0, MS // 5)]
    roots = [first_of(0.2, 9.9), first_of(0.4, 9.9)]

    apart = knot_of(asked, roots).members[0]
    beside = knot_of([*asked, lookup(MS // 5, 10 * MS)], [*roots, first_of(0.41, 9.9)]).members[0]

    assert beside.doubt > 3 * apart.doubt > 0  # two rivals, and both ways round


def test_of_a_lookup_with_a_timeout_any_stretch_may_be_anothers() -> None:
    asked = [
        lookup(at, 1100 * MS, candidates=("a.x.", "b.x.", "c."), types=("A", "AAAA"))
        for at in (0, MS)
    ]
    knot = knot_of(asked, [first_of(at, name="a.x.", type_="A") for at in (0.2, 1.2)])
    one, other = knot.members
    (column,) = one.edges.values()
    for member in knot.members:
        member.edges = {
            (candidate, kind): replace(column) for candidate in range(3) for kind in range(2)
        }

    moved = {
        frozenset(place for place, column in mine.items() if column is not one.edges[place])
        for mine, _ in exchanges(one, other)
    }

    assert frozenset({(1, 1), (2, 0)}) in moved  # the end of one candidate and the next's start
    assert len(moved) == 6 * 7 // 2


@pytest.mark.parametrize(
    ("after_ms", "again"), [(1000.5, True), (998.5, True), (1100, False), (2001, True), (3, False)]
)
@pytest.mark.parametrize("first_given", [True, False])
def test_a_timeout_later_or_earlier_is_the_same_query(after_ms, again, first_given) -> None:
    asked = lookup(0, 3000 * MS)
    (member,) = knot_of([asked], [first_of(0.2)]).members
    (first,) = member.edges.values()
    second = replace(first, start_ns=first.start_ns + round(after_ms * MS))

    one, other = (first, second) if first_given else (second, first)

    member.edges = {(0, 0): one}
    assert asks_again(member, (0, 0), other, None) == again


@pytest.mark.parametrize(("next_ms", "again"), [(1, False), (1001, True)])
def test_who_has_gone_on_to_the_next_name_does_not_ask_again(next_ms: int, again: bool) -> None:
    asked = lookup(0, 3000 * MS, candidates=NAMES)
    (member,) = knot_of([asked], [first_of(0.2, name=NAMES[0])]).members
    (first,) = member.edges.values()
    following = replace(first, start_ns=first.start_ns + next_ms * MS)
    member.edges = {(0, 0): first, (1, 0): following}

    sent_later = replace(first, start_ns=first.start_ns + 1000 * MS)

    assert asks_again(member, (0, 0), sent_later, None) == again


@pytest.mark.parametrize(
    ("doubt", "known", "expected"),
    [
        pytest.param(0.01, {}, 0.99, id="little doubt is what it seems"),
        pytest.param(0.1, {}, 0.821, id="more is taken for more still"),
        pytest.param(0.1, {"seen": 0.1}, 0.97, id="not where little is there"),
        pytest.param(0.1, {"calm": 0.5}, 0.898, id="half as much where all is jammed"),
        pytest.param(0.01, {"crowd": 3, "ports_known": True}, 0.973, id="a crowd, with ports"),
        pytest.param(0.01, {"crowd": 3}, 0.813, id="a crowd"),
        pytest.param(0.01, {"crowd": 15}, 0.465, id="a larger one"),
    ],
)
def test_what_doubt_is_worth(doubt: float, known: dict[str, Any], expected: float) -> None:
    otherwise = {"crowd": 0, "ports_known": False, "seen": 1.0, "calm": 1.0}

    assert confidence(0.0, **(otherwise | known)) == 1
    assert confidence(doubt, **(otherwise | known)) == pytest.approx(expected, abs=0.001)
