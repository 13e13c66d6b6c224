"""How sure the join is: what is called sure, and what must not be."""

from collections.abc import Iterable

from otel_dns.join import Joiner, JoinSettings, Outcome
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


def test_one_id_alone_does_not_make_a_query_another_sent_again() -> None:
    first, second = lookup(0, 10 * MS), lookup(100 * MS, 110 * MS)
    queries = [
        *exchange(MS, 2 * MS, port=1, dns_id=1),
        *exchange(101 * MS, 102 * MS, port=2, dns_id=1),
    ]

    found = resolved([first, second, *queries])

    assert (starts(found[first]), starts(found[second])) == ([1], [101])


def test_either_of_two_that_may_have_asked_again_is_unsure() -> None:
    asked = [lookup(0, 1100 * MS), lookup(20 * MS, 1120 * MS)]
    roots = [servedns(at * MS, at * MS + MS // 10) for at in (0, 20, 1021)]

    found = resolved([*asked, *roots])

    assert [starts(found[one]) for one in asked] == [[0], [20]]
    assert {one.join.certainty for one in found.values()} == {"unsure"}


def test_who_cannot_reach_a_server_trace_is_in_no_group_for_it() -> None:
    early, late = lookup(0, 0), lookup(MS, MS)
    other = lookup(3 * MS, 10 * MS)
    roots = [servedns(3 * MS, 4 * MS), servedns(3 * MS + MS // 5, 4 * MS)]

    with_it, without = resolved([early, late, other, *roots]), resolved([late, other, *roots])

    for one in (late, other):
        assert with_it[one].join.group_size == without[one].join.group_size
