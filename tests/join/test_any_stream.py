"""Whatever comes, in whatever order: properties of the join with every kind of evidence.

A scene is a few lookups and queries that get in each other's way; of each query some evidence is
there: spans, dnstap messages, both, with or without CoreDNS's trace id; of some lookups the client
told its own queries.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from otel_dns.join import Joiner, JoinSettings, Outcome, Released
from otel_dns.join.exchange import is_made
from otel_dns.join.leaving import Late
from otel_dns.model import ClientQuery, Lookup, Message, Resolution, Span
from tests.support.spans import MS, SECOND, exchange, lookup, nested, query, servedns

SETTINGS = JoinSettings(settle_ns=7 * SECOND, trace_wait_ns=60 * SECOND, tolerance_ns=2 * MS)
AGREEING = dataclasses.replace(SETTINGS, follow_clocks=False)
"""How clocks go is learned of what came before, which in a few milliseconds is next to nothing."""
LONG = "accountancies."
"""Letters enough for a mark to be a claim."""
CANDIDATES = [("a.",), ("a.x.", "a."), ("a.", "a."), (LONG,), (f"{LONG}x.", LONG)]


class Told(NamedTuple):
    """A query that the client tells of, and the lookup that it belongs to."""

    lookup: tuple[bytes, bytes]
    query: ClientQuery


Thing = Lookup | Span | Message | Told

BOUNDS = st.builds(
    JoinSettings,
    settle_ns=st.sampled_from([0, SECOND]),
    trace_wait_ns=st.sampled_from([0, 2 * SECOND]),
    max_lookups=st.sampled_from([1, 100]),
    max_server_spans=st.sampled_from([2, 100]),
    infer=st.booleans(),
    silent_after_ns=st.sampled_from([None, 0]),
)
"""Settings under which things leave in every way."""


@st.composite
def scenes(draw: st.DrawFn) -> list[Thing]:
    things: list[Thing] = []
    wire: list[tuple[int, int, str]] = []
    marked: list[str] = [""]
    for _ in range(draw(st.integers(0, 4))):
        start_ns = draw(st.integers(0, 8)) * MS
        end_ns = start_ns + draw(st.integers(0, 20)) * MS
        candidates = draw(st.sampled_from(CANDIDATES))
        made = lookup(
            start_ns, end_ns, name=candidates[-1], candidates=candidates, marked=draw(st.booleans())
        )
        marked.append(made.marked)
        made = replace(made, recorded=draw(st.booleans()) or draw(st.booleans()))
        things.append(made)
        if draw(st.booleans()):
            port, number = draw(st.sampled_from([40_000, 40_001])), len(wire)
            asked = query(start_ns, end_ns, name=candidates[0], port=port, dns_id=number)
            things.append(Told((made.span.trace_id, made.span.span_id), asked))
            wire.append((port, number, candidates[0]))
    for _ in range(draw(st.integers(0, 6))):
        start_ns = draw(st.integers(0, 25)) * MS
        # A port and an id do not come again within a moment, unless the query itself does.
        port, number, name = 40_002, len(things), draw(st.sampled_from(["a.", LONG, f"{LONG}x."]))
        if wire and draw(st.booleans()):
            port, number, name = wire.pop()
        root = servedns(start_ns, start_ns + MS, name=name)
        evidence = draw(st.sampled_from(["spans", "messages", "both", "query only"]))
        if evidence in {"spans", "both"}:
            things += [root, *nested(root, ("log", "cache")[: draw(st.integers(0, 2))])]
        if evidence != "spans":
            at_ns = start_ns + 1000
            trace_id = root.span_id if evidence == "both" or draw(st.booleans()) else b""
            mark = draw(st.sampled_from(marked))
            asked = mark + name[len(mark) :] if name.startswith(mark.lower()) else name
            pair = exchange(
                at_ns, at_ns + MS, name=name, port=port, dns_id=number, trace_id=trace_id,
                asked=asked,
            )  # fmt: skip
            things += pair[: 1 if evidence == "query only" else 2]
    return things


def feed(joiner: Joiner, thing: Thing, now_ns: int) -> None:
    if isinstance(thing, Lookup):
        joiner.add_lookup(thing, now_ns)
    elif isinstance(thing, Message):
        joiner.add_message(thing, now_ns)
    elif isinstance(thing, Told):
        joiner.add_query(thing.lookup, thing.query, now_ns)
    else:
        joiner.add_server_span(thing, now_ns)


def told(outcomes: Iterable[Outcome]) -> dict[bytes, tuple[object, ...]]:
    """What was found of every lookup.

    Not how sure: in a knot, whoever settles later knows what the earlier ones left with.
    """
    return {
        one.lookup.span.span_id: (
            one.join.method,
            [
                (
                    each.trace.root.start_ns, each.trace.name, each.trace.client_port,
                    each.trace.dns_id, each.candidate, each.method, len(each.trace.spans),
                )
                for each in one.join.traces
            ],
            one.outcome,
            dict(one.breakdown.segments),
        )
        for one in outcomes
        if isinstance(one, Resolution)
    }  # fmt: skip


def at_once(things: Iterable[Thing]) -> list[Outcome]:
    joiner = Joiner(AGREEING)
    for thing in things:
        feed(joiner, thing, 0)
    outcomes = joiner.advance(SETTINGS.settle_ns) + joiner.advance(SETTINGS.trace_wait_ns)
    assert_empty(joiner)
    return outcomes


def assert_empty(joiner: Joiner) -> None:
    assert joiner.waiting_lookups == joiner.waiting_server_spans == joiner.waiting_bytes == 0
    assert not len(joiner._held.slots)
    assert joiner._held.ladder.empty


@given(st.data(), scenes())
def test_order_split_and_duplicates_within_the_wait_change_nothing(data, things) -> None:
    again = data.draw(st.lists(st.sampled_from(things), max_size=4)) if things else []
    shuffled = data.draw(st.permutations([*things, *again]))
    joiner = Joiner(AGREEING)
    outcomes: list[Outcome] = []
    now_ns = 0
    for thing in shuffled:
        feed(joiner, thing, now_ns)
        now_ns += data.draw(st.integers(0, 7 * SECOND // (len(shuffled) + 1)))
        outcomes += joiner.advance(now_ns)
    for later_ns in range(now_ns, now_ns + 70 * SECOND, SECOND):
        outcomes += joiner.advance(later_ns)
    assert_empty(joiner)
    assert told(outcomes) == told(at_once(things))


@given(st.data(), scenes())
def test_nothing_that_went_in_is_unaccounted_for(data, things) -> None:
    """At any time: received = left by some counted way + held."""
    settings = dataclasses.replace(
        SETTINGS,
        settle_ns=data.draw(st.sampled_from([0, SECOND])),
        trace_wait_ns=data.draw(st.sampled_from([0, 2 * SECOND])),
        max_lookups=data.draw(st.sampled_from([1, 3, 100])),
        max_server_spans=data.draw(st.sampled_from([2, 5, 100])),
        infer=data.draw(st.booleans()),
    )
    joiner = Joiner(settings)
    received: Counter[str] = Counter()
    spans_in, spans_out = Counter[bytes](), Counter[bytes]()
    again = data.draw(st.lists(st.sampled_from(things), max_size=4)) if things else []
    now_ns = 0
    for thing in data.draw(st.permutations([*things, *again])):
        feed(joiner, thing, now_ns)
        received["all"] += 1
        received["lookups"] += isinstance(thing, Lookup)
        if isinstance(thing, Lookup | Span):
            spans_in[(thing.span if isinstance(thing, Lookup) else thing).span_id] += 1
        assert joiner.waiting_lookups <= settings.max_lookups
        assert joiner.waiting_server_spans <= settings.max_server_spans
        if data.draw(st.booleans()):
            now_ns += data.draw(st.integers(0, 3 * SECOND))
            spans_out += spans_of(joiner.advance(now_ns))
            assert accounted(joiner) == received["all"]
    spans_out += spans_of(joiner.drain())
    assert_empty(joiner)
    assert accounted(joiner) == received["all"]
    # What was sent once came out once; a duplicate may have come too late to be known as one.
    assert all(spans_out[span_id] <= count for span_id, count in spans_in.items())
    superseded = joiner.counts["server_spans_superseded"]
    lost = sum(span_id not in spans_out for span_id in spans_in)
    assert lost <= superseded


def accounted(joiner: Joiner) -> int:
    """Lookups, queries, spans and messages that are held or have left by a counted way."""
    ways = (
        "joined", "inferred", "ambiguous", "unmatched", "no_root", "evicted", "late", "duplicate",
        "surplus",
    )  # fmt: skip
    left = sum(
        joiner.counts[f"{what}_{way}"]
        for what in ("server_spans", "messages", "queries")
        for way in ways
    )
    left += sum(len(one.queries) for one in joiner._held.lookups.values()) + joiner.waiting_queries
    left += joiner.counts["lookups_joined"] + joiner.counts["lookups_unjoined"]
    left += joiner.counts["duplicate"]
    return left + joiner.waiting_lookups + joiner.waiting_server_spans


def spans_of(outcomes: Iterable[Outcome]) -> Counter[bytes]:
    """Ids of the received spans that leave; those that messages made are not among them."""
    found: Counter[bytes] = Counter()
    for one in outcomes:
        if isinstance(one, Resolution):
            found[one.lookup.span.span_id] += not one.lookup.inferred
            found.update(
                span.span_id
                for each in one.join.traces
                # Where there is no lookup span nothing is made of messages.
                for span in each.trace.spans
                if one.lookup.recorded or not is_made(span)
            )
        elif isinstance(one, Released):
            found.update(span.span_id for span in one.spans)
        elif isinstance(one, Late):
            found[one.span.span_id] += 1
    return found


@given(st.data(), scenes())
def test_time_only_moves_forward(data, things) -> None:
    """Nothing leaves before its time, and a clock that was set back lets nothing leave."""
    joiner = Joiner(SETTINGS)
    arrived: dict[bytes, int] = {}
    now_ns = latest_ns = 0
    for thing in data.draw(st.permutations(things)):
        feed(joiner, thing, now_ns)
        if isinstance(thing, Lookup):
            arrived[thing.span.span_id] = now_ns
        now_ns += data.draw(st.integers(0, 5 * SECOND))
        for one in joiner.advance(now_ns):
            if isinstance(one, Resolution):
                assert now_ns >= arrived[one.lookup.span.span_id] + SETTINGS.settle_ns
        latest_ns = max(latest_ns, now_ns)
        assert joiner.advance(data.draw(st.integers(0, latest_ns))) == []


@given(scenes(), st.integers(2_000, 20_000))
def test_bytes_are_bounded_too(things, most) -> None:
    joiner = Joiner(dataclasses.replace(SETTINGS, max_bytes=most))
    for thing in things:
        feed(joiner, thing, 0)
        assert joiner.waiting_bytes <= most
    joiner.drain()
    assert_empty(joiner)
