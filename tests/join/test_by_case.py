"""Rung ``case``: what the letter case of a query's name tells."""

from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from otel_dns import marks, semconv
from otel_dns.join import Joiner, JoinSettings
from otel_dns.join.by_case import MIN_LETTERS
from otel_dns.join.recognise import lookup_of, query_of
from otel_dns.model import Lookup, Message, Resolution, Span
from otel_dns.wire import otlp
from tests.join.test_ladder import feed, resolved
from tests.support.spans import CLIENT, MS, SECOND, exchange, lookup, new_id, query, servedns, span

US = 1_000
NAME = "customer-payments-gateway"
FULL = f"{NAME}.shop.svc.cluster.local."
"""Twenty-three letters, which are never the same by chance; and a candidate of it."""


def asking(start_ns: int, end_ns: int, name: str = NAME, full: str = FULL) -> Lookup:
    return lookup(
        start_ns,
        end_ns,
        name=name,
        candidates=tuple(dict.fromkeys((full, f"{name}."))),
        marked=True,
    )


def seen(of: Lookup, start_ns: int, *, full: str = FULL) -> tuple[Message, Message]:
    """A query of a lookup's, as dnstap has it."""
    asked = of.marked + full[len(of.marked) :]
    return exchange(start_ns, start_ns + MS, name=full, asked=asked, port=start_ns // 1000 % 60_000)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_the_letters_tell_beats_time(order: tuple[int, ...]) -> None:
    # By time alone each would get the other's.
    first, second = asking(0, 10 * MS), asking(MS, 10 * MS)
    parts: list[Iterable[Lookup | Span | Message]] = [
        [first], [second], seen(second, 2 * MS), seen(first, 5 * MS)
    ]  # fmt: skip

    found = resolved(thing for number in order for thing in parts[number])

    for one in (first, second):
        join = found[one].join
        assert [each.trace.asked for each in join.traces] == [one.marked + FULL[len(NAME) :]]
        assert (join.method, join.certainty) == (semconv.METHOD_CASE, semconv.CERTAINTY_SURE)
        assert join.traces[0].candidate == 0


def test_a_clock_that_is_off_does_not_matter() -> None:
    asked, other = asking(0, 10 * MS), asking(400 * MS, 410 * MS)

    found = resolved([asked, other, *seen(asked, 402 * MS)])

    assert found[asked].join.method == semconv.METHOD_CASE
    assert found[other].join.method == semconv.METHOD_NONE


def test_a_few_letters_are_evidence_within_time() -> None:
    first = asking(0, 10 * MS, "db", "db.")
    second = asking(MS, 10 * MS, "db", "db.")
    while second.marked == first.marked:
        second = asking(MS, 10 * MS, "db", "db.")

    found = resolved([first, second, *seen(second, 1200 * US, full="db."),
                      *seen(first, 1300 * US, full="db.")])  # fmt: skip

    for one in (first, second):
        join = found[one].join
        assert [each.trace.asked for each in join.traces] == [one.marked + "."]
        assert join.method == semconv.METHOD_TIME
        assert join.group_size == 1


@pytest.mark.parametrize("order", [1, -1])
def test_of_those_marked_alike_the_nearest_in_time_has_it(order: int) -> None:
    first = asking(0, 10 * MS)
    second = replace(asking(3 * SECOND, 3 * SECOND + 10 * MS), marked=first.marked)

    found = resolved([*[first, second][::order], *seen(second, 3 * SECOND + MS)])

    assert found[second].join.method == semconv.METHOD_CASE
    assert found[first].join.method == semconv.METHOD_NONE


def test_a_neighbours_query_is_not_a_marked_lookups() -> None:
    asked = asking(0, 10 * MS)

    assert resolved([asked, *exchange(MS, 2 * MS, name=FULL)])[asked].join.method == "none"


def test_without_dnstap_it_is_by_time() -> None:
    asked = asking(0, 10 * MS)

    found = resolved([asked, servedns(MS, 2 * MS, name=FULL)])

    assert found[asked].join.method == semconv.METHOD_TIME


def test_a_log_line_does_not_show_the_case() -> None:
    asked = asking(0, 10 * MS)
    lines = [replace(one, source="log", asked="") for one in exchange(MS, 2 * MS, name=FULL)]

    assert resolved([asked, *lines])[asked].join.method == semconv.METHOD_TIME


def alike() -> tuple[Lookup, Lookup]:
    """Two lookups whose marks are the same by chance."""
    by_mark: dict[str, Lookup] = {}
    while True:
        made = asking(0, 10 * MS)
        other = by_mark.setdefault(made.marked, made)
        if other is not made:
            return other, made


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_marks_that_are_the_same_by_chance_tell_nothing(order: tuple[int, ...]) -> None:
    one, other = alike()
    parts = [[one], [other], seen(one, 2 * MS), seen(other, 5 * MS)]

    found = resolved(thing for number in order for thing in parts[number])

    assert [found[each].join.method for each in (one, other)] == ["time", "time"]
    assert [found[each].join.group_size for each in (one, other)] == [2, 2]


def test_how_sure_it_is_depends_on_how_many_could_pass_for_it() -> None:
    name = "abcdefghij"
    assert marks.letters(name) == MIN_LETTERS
    crowd = [asking(0, 10 * MS, name, name + ".") for _ in range(16)]

    found = resolved([*crowd, *seen(crowd[0], MS, full=name + ".")])

    join = found[crowd[0]].join
    assert (join.method, join.certainty) == (semconv.METHOD_CASE, semconv.CERTAINTY_UNSURE)
    assert join.confidence == pytest.approx(1 - 16 / 1024)


def test_port_and_id_tell_more() -> None:
    one, other = asking(0, 10 * MS), asking(0, 10 * MS)
    joiner = Joiner(JoinSettings())
    feed(joiner, [one, other, *seen(one, MS)])
    # As if by chance it were also the other's mark.
    (told, _) = seen(one, MS)
    identity = (other.span.trace_id, other.span.span_id)
    sent = query(0, 9 * MS, name=FULL, port=told.client_port)
    joiner.add_query(identity, sent, 0)

    methods = {
        each.lookup.span: each.join.method
        for each in joiner.drain()
        if isinstance(each, Resolution)
    }

    assert methods == {one.span: semconv.METHOD_NONE, other.span: semconv.METHOD_ID}


def test_a_query_with_a_mark_of_its_own() -> None:
    trace_id = new_id(16)
    sent = query(0, 9 * MS, name=FULL, port=0, dns_id=None)
    sent = replace(sent, marked=marks.cased(FULL[:-1], trace_id, sent.span_id))
    asked = lookup(0, 10 * MS, name=NAME, candidates=(FULL,), trace_id=trace_id, kind="dnspython")
    told = replace(asked, queries=(sent,))
    rival = lookup(0, 10 * MS, name=NAME, candidates=(FULL,))

    found = resolved([rival, *exchange(MS, 2 * MS, name=FULL, asked=sent.marked + "."), told])

    assert found[told].join.method == semconv.METHOD_CASE
    assert found[told].join.traces[0].parent == sent.span_id
    assert found[rival].join.method == semconv.METHOD_NONE


@given(st.text(max_size=300))
def test_what_a_span_says_of_its_mark_is_read_whatever_the_name(name: str) -> None:
    tail = (
        otlp.string_attribute(semconv.DNS_QUESTION_NAME, name)
        + otlp.string_attribute(semconv.DNS_QUESTION_TYPE, "A")
        + otlp.string_attribute(semconv.CLIENT_ADDRESS, CLIENT)
        + otlp.string_attribute(semconv.LOOKUP_MARKED, semconv.MARK_CASE)
    )
    made = span(semconv.LOOKUP_SPAN, 0, MS, tail=tail)

    read = lookup_of(made)
    asked = query_of(made)

    assert read is not None
    assert read.marked == marks.cased(name.removesuffix("."), made.trace_id, made.span_id)
    assert asked is None or not asked.marked
