"""Segments that add up to the lookup, and lie where the time was spent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from otel_dns.join import break_down
from otel_dns.join.timeline import add_up, timeline
from otel_dns.model import ClientQuery, Join, JoinedTrace, Lookup, ServerTrace
from tests.support.spans import MS, T0, join, lookup, nested, query, servedns, server_trace, span

BOTH = ("A", "AAAA")


def trace(
    start_ms: float, end_ms: float, *plugins: tuple[str, float, float], type_: str = "A"
) -> ServerTrace:
    """A server trace in milliseconds, with plugins side by side under the root."""
    root = servedns(round(start_ms * MS), round(end_ms * MS), type_=type_)
    return server_trace(
        root,
        [
            span(name, round(start * MS), round(end * MS),
                 trace_id=root.trace_id, parent_id=root.span_id)
            for name, start, end in plugins
        ],
    )  # fmt: skip


def took(
    start_ms: float,
    end_ms: float,
    *candidates: str,
    error_type: str = "",
    types: tuple[str, ...] = ("A",),
    kind: str = "glibc",
) -> Lookup:
    return lookup(
        round(start_ms * MS), round(end_ms * MS),
        candidates=candidates or ("db.",), types=types, error_type=error_type, kind=kind,
    )  # fmt: skip


CASES = {
    "nothing joined": (took(0, 5), join(), {"unattributed": 5}, 0, "unattributed"),
    "one query, a gap on either side": (
        took(0, 10), join((trace(1, 4), 0)),
        {"stub_network": 7, "server": 3}, 0, "stub_network",
    ),
    "50 ms in one plugin": (
        took(0, 52), join((trace(1, 51.5, ("erratic", 1.2, 51.2)), 0)),
        {"stub_network": 1.5, "server": 50.5, "plugin:erratic": 50}, 0, "plugin:erratic",
    ),
    "upstream": (
        took(0, 40), join((trace(1, 39, ("forward", 2, 38), ("connect", 3, 37)), 0)),
        {"stub_network": 2, "server": 38, "plugin:forward": 36}, 0, "plugin:forward",
    ),
    "musl goes on with the first nameserver's answer": (
        took(0, 5, kind="musl"), join((trace(1, 30, ("erratic", 1, 29)), 0), (trace(1.5, 3), 0)),
        {"stub_network": 3.5, "server": 1.5}, 25, "stub_network",
    ),
    "the server goes on after the answer": (
        took(0, 0.9), join((trace(0.2, 4), 0)),
        {"stub_network": 0.2, "server": 0.7}, 3.1, "plugin:servedns",
    ),
    "A and AAAA side by side: the last to end is waited for": (
        took(0, 10, types=BOTH), join((trace(1, 4), 0), (trace(1.5, 9, type_="AAAA"), 0)),
        {"stub_network": 2 - 0.5 + 0.5, "server": 8}, 0, "plugin:servedns",
    ),
    "A after AAAA": (
        took(0, 10, types=BOTH), join((trace(1, 4), 0), (trace(5, 9, type_="AAAA"), 0)),
        {"stub_network": 3, "server": 7}, 0, "plugin:servedns",
    ),
    "candidates one after another": (
        took(0, 10, "db.a.", "db."), join((trace(1, 4), 0), (trace(5, 9), 1)),
        {"stub_network": 3, "server": 7}, 0, "plugin:servedns",
    ),
    "the first outlasts its answer until the second starts": (
        took(0, 10, "db.a.", "db."), join((trace(1, 6), 0), (trace(5, 9), 1)),
        {"stub_network": 2, "server": 8}, 1, "plugin:servedns",
    ),
    "a gap over a timeout": (
        took(0, 1010), join((trace(1, 2), 0), (trace(1003, 1004), 0)),
        {"stub_network": 7, "waiting": 1001, "server": 2}, 0, "waiting",
    ),
    "the first query was lost": (
        took(0, 1004), join((trace(1001, 1003), 0)),
        {"stub_network": 1, "waiting": 1001, "server": 2}, 0, "waiting",
    ),
    "one family's server trace was not seen: its time hides in the gap": (
        took(0, 52, types=BOTH), join((trace(1, 2, type_="AAAA"), 0)),
        {"stub_network": 1, "server": 1, "unattributed": 50}, 0, "unattributed",
    ),
    "one family was not seen in the first round": (
        took(0, 60, "db.a.", "db.", types=BOTH),
        join((trace(1, 2, type_="AAAA"), 0), (trace(52, 53), 1), (trace(52, 54, type_="AAAA"), 1)),
        {"stub_network": 7, "server": 3, "unattributed": 50}, 0, "unattributed",
    ),
    "one family was lost on the way: the stub waits": (
        took(0, 5004, types=BOTH),
        join((trace(1, 2, type_="AAAA"), 0), (trace(5002, 5003), 0)),
        {"stub_network": 2, "server": 2, "waiting": 5000}, 0, "waiting",
    ),
    "a stub that asks for A only": (
        took(0, 10, "db.a.", "db.", types=BOTH), join((trace(1, 4), 0), (trace(5, 9), 1)),
        {"stub_network": 3, "server": 7}, 0, "plugin:servedns",
    ),
    "after a timeout the rest of the search list is left out": (
        took(0, 5003, "a.", "b.", "c."), join((trace(1, 2), 0), (trace(5001, 5002), 2)),
        {"stub_network": 2, "waiting": 4999, "server": 2}, 0, "waiting",
    ),
    "a lookup that ends in a timeout": (
        took(0, 5002, "a.", "b.", "c.", error_type="try_again"), join((trace(1, 2), 0)),
        {"stub_network": 1, "waiting": 5000, "server": 1}, 0, "waiting",
    ),
    "dnspython stops at a name without the record": (
        took(0, 4, "a.", "b.", error_type="no_data", kind="dnspython"), join((trace(1, 2), 0)),
        {"stub_network": 3, "server": 1}, 0, "stub_network",
    ),
    "a candidate in the middle was not seen": (
        took(0, 10, "a.", "b.", "c."), join((trace(1, 2), 0), (trace(7, 9), 2)),
        {"stub_network": 2, "server": 3, "unattributed": 5}, 0, "unattributed",
    ),
    "the first candidate was not seen": (
        took(0, 10, "a.", "b."), join((trace(7, 9), 1)),
        {"stub_network": 1, "server": 2, "unattributed": 7}, 0, "unattributed",
    ),
    "a failed lookup whose last candidate was not seen": (
        took(0, 10, "a.", "b.", error_type="host_not_found"), join((trace(1, 2), 0)),
        {"stub_network": 1, "server": 1, "unattributed": 8}, 0, "unattributed",
    ),
    "a failed lookup, all seen": (
        took(0, 3.8, "a.", "b.", error_type="host_not_found"),
        join((trace(1, 2), 0), (trace(2.5, 3.5), 1)),
        {"stub_network": 1.8, "server": 2}, 0, "plugin:servedns",
    ),
    "a server trace that starts before the lookup": (
        took(0, 3.8), join((trace(-1, 2), 0)),
        {"stub_network": 1.8, "server": 2}, 0, "plugin:servedns",
    ),
    "a server trace wholly outside": (
        took(0, 4), join((trace(4.5, 5.5), 0)), {"stub_network": 4}, 1, "stub_network",
    ),
    "a lookup of no time": (took(3, 3), join((trace(2, 4), 0)), {}, 1, "stub_network"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "joined", "segments", "after_ms", "bottleneck"), CASES.values(),
                         ids=CASES)  # fmt: skip
def test_where_the_time_went(asked, joined, segments, after_ms, bottleneck) -> None:
    breakdown = break_down(asked, joined)

    found = breakdown.segments | {f"plugin:{one}": ns for one, ns in breakdown.plugins.items()}
    found.pop("plugin:servedns", None)
    assert {name: ns / MS for name, ns in found.items() if ns} == pytest.approx(segments)
    assert breakdown.after_answer_ns / MS == pytest.approx(after_ms)
    if any(breakdown.segments.values()):
        assert breakdown.bottleneck == bottleneck


def test_time_in_a_connect_span_is_the_upstreams() -> None:
    root = servedns(1 * MS, 40 * MS)
    chain = nested(root, ("cache", "forward", "connect"), step_ns=MS)

    breakdown = break_down(took(0, 41), join((server_trace(root, chain), 0)))

    assert breakdown.segments["upstream"] == 36 * MS
    assert breakdown.plugins == {"servedns": MS, "cache": MS, "forward": MS}
    assert breakdown.bottleneck == "upstream"


def test_waste_is_what_was_asked_before_the_candidate_that_answered() -> None:
    traces = [(trace(at, at + 0.5), at // 2) for at in range(8)]
    names = ("a.", "b.", "c.", "d.")

    assert break_down(took(0, 9, *names), join(*traces)).waste_queries == 6
    assert break_down(took(0, 9, *names, error_type="x"), join(*traces)).waste_queries == 0
    assert break_down(took(0, 9, *names), join()).waste_queries == 0


def test_waste_lasts_until_the_candidate_that_answered_is_asked() -> None:
    traces = [(server_trace(servedns(at * MS, at * MS + 1)), at // 2) for at in range(8)]
    names = ("a.", "b.", "c.", "d.")
    assert break_down(took(0, 9, *names), join(*traces)).waste_ns == 6 * MS
    assert break_down(took(0, 9, *names), join(traces[0])).waste_ns == 0


def test_a_query_that_comes_again_is_a_retry() -> None:
    def asked(at: int, type_: str = "A", proto: str = "udp") -> tuple[ServerTrace, int]:
        root = servedns(at * MS, at * MS + 1, type_=type_, proto=proto)
        return replace(server_trace(root), proto=proto), 0

    def retries(*traces: tuple[ServerTrace, int]) -> int:
        return break_down(took(0, 9, "a."), join(*traces)).retries

    assert retries(asked(1), asked(2, "AAAA")) == 0
    assert retries(asked(1), asked(3), asked(5)) == 2
    assert retries(asked(1), asked(3, proto="tcp")) == 0


@pytest.mark.parametrize(
    ("plugins", "late", "cache"),
    [
        (("cache", "forward"), (), "miss"),
        (("log", "cache"), (), "hit"),
        (("log", "file"), (), ""),
        (("cache",), ("forward",), "hit"),  # prefetch
    ],
)
def test_what_the_cache_did(plugins: tuple[str, ...], late: tuple[str, ...], cache: str) -> None:
    root = servedns(0, MS)
    spans = nested(root, plugins)
    spans += [
        span(name, 2 * MS, 3 * MS, trace_id=root.trace_id, parent_id=spans[-1].span_id)
        for name in late
    ]
    trace = server_trace(root, spans)
    assert JoinedTrace(trace, 0, timeline(trace)).cache == cache


def sent(start_ms: float, end_ms: float) -> ClientQuery:
    return query(round(start_ms * MS), round(end_ms * MS))


def of(asked: ClientQuery | None, served: ServerTrace, answer_ms: float = 0) -> JoinedTrace:
    """A server trace joined to a query, whose answer was out at a time that dnstap tells."""
    served = replace(served, sent_ns=T0 + round(answer_ms * MS) if answer_ms else 0)
    return JoinedTrace(served, 0, timeline(served), "id", query=asked)


ONE, OTHER = sent(1, 9), sent(2, 7)
LOST, AGAIN = sent(0, 5000), sent(5100, 5104)
TOLD = {
    "the wire tells when the answer was out": (
        10, [ONE], [of(ONE, trace(3, 8), 6)], {"stub": 2, "network": 5, "server": 3}, 2,
    ),
    "spans alone": (
        10, [ONE], [of(ONE, trace(3, 8))], {"stub": 2, "network": 3, "server": 5}, 0,
    ),
    "a span that outlives the client's query": (
        12, [ONE], [of(ONE, trace(3, 11))], {"stub": 4, "network": 2, "server": 6}, 2,
    ),
    "a query that no server tells of": (
        12, [ONE, sent(10, 11)], [of(ONE, trace(3, 8), 8)],
        {"stub": 3, "network": 3, "server": 5, "unattributed": 1}, 0,
    ),
    "a timeout, and a pause before the next try": (
        5105, [LOST, AGAIN], [of(AGAIN, trace(5101, 5103), 5103)],
        {"stub": 101, "network": 2, "server": 2, "waiting": 5000}, 0,
    ),
    "an answer that was lost": (
        5105, [LOST, AGAIN], [of(LOST, trace(1, 2), 2), of(AGAIN, trace(5101, 5103), 5103)],
        {"stub": 101, "network": 1 + 2, "server": 3, "waiting": 4998}, 0,
    ),
    "side by side": (
        10, [ONE, OTHER], [of(ONE, trace(3, 5), 5), of(OTHER, trace(4, 6), 6)],
        {"stub": 2, "network": 2 + 3, "server": 3}, 0,
    ),
    "no server tells of any": (10, [ONE], [], {"stub": 2, "unattributed": 8}, 0),
    "joined by time: which query it was is not known": (
        10, [ONE], [of(None, trace(3, 8), 6)], {"stub_network": 7, "server": 3}, 2,
    ),
    "dnstap without the client's queries": (
        10, [], [of(None, trace(3, 8), 6)], {"stub_network": 7, "server": 3}, 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("end_ms", "queries", "traces", "segments", "after"), TOLD.values(), ids=TOLD
)
def test_stub_and_network_are_apart_where_the_client_tells_of_its_queries(
    end_ms: int,
    queries: list[ClientQuery],
    traces: list[JoinedTrace],
    segments: dict[str, float],
    after: float,
) -> None:
    asked = lookup(0, end_ms * MS, queries=queries, kind="dnspython")

    breakdown = break_down(asked, Join(tuple(traces), "id", 1.0))

    spent = {segment: ns / MS for segment, ns in breakdown.segments.items() if ns}
    assert spent == pytest.approx(segments)
    assert breakdown.after_answer_ns / MS == pytest.approx(after)


times = st.integers(-20, 60)


@st.composite
def any_joins(draw: st.DrawFn) -> Join:
    """Server traces of any shape whatever, in any candidate's place."""
    joined = []
    for _ in range(draw(st.integers(0, 6))):
        root = servedns(draw(times), draw(times))
        known = [root]
        for _ in range(draw(st.integers(0, 4))):
            parent = draw(st.sampled_from(known))
            name = draw(st.sampled_from(["cache", "forward", "connect"]))
            known.append(
                span(name, draw(times), draw(times),
                     trace_id=root.trace_id, parent_id=parent.span_id)
            )  # fmt: skip
        trace = server_trace(root, known[1:])
        trace = replace(trace, sent_ns=draw(st.just(0) | times.map(T0.__add__)))
        asked = draw(st.none() | st.builds(query, times, times))
        joined.append(JoinedTrace(trace, draw(st.integers(0, 4)), timeline(trace), query=asked))
    return Join(tuple(joined), "time", 1.0)


@given(
    start=times,
    end=times,
    joined=any_joins(),
    error_type=st.sampled_from(["", "host_not_found"]),
    names=st.integers(1, 5),
    queries=st.lists(st.builds(query, times, times), max_size=2),
)
def test_segments_always_add_up_to_the_lookup(
    *, start, end, joined, error_type, names, queries
) -> None:
    queries += [one.query for one in joined.traces if one.query]
    asked = lookup(
        start, end, candidates=[f"{at}." for at in range(names)], error_type=error_type,
        queries=queries,
    )  # fmt: skip

    breakdown = break_down(asked, joined)

    assert breakdown.total_ns == max(end - start, 0)
    assert all(ns >= 0 for ns in breakdown.segments.values())
    assert sum(breakdown.plugins.values()) == breakdown.segments["server"]
    durations = (one.trace.root.end_ns - one.trace.root.start_ns for one in joined.traces)
    assert 0 <= breakdown.after_answer_ns <= sum(max(ns, 0) for ns in durations)
    assert asked.start_ns == T0 + start


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6),
    st.integers(1, 40),
    st.booleans(),
)
def test_spans_that_call_one_another_are_added_up_as_slices_are(steps, took_ms, twice) -> None:
    """Whatever of their time is after the answer, and whichever start together."""
    root = servedns(0, 30 * MS)
    spans, start_ns, end_ns = [root], 0, 30 * MS
    for number, (after, before) in enumerate(steps):
        start_ns, end_ns = start_ns + after * MS, end_ns - before * MS
        name = "cache" if twice and number % 2 else f"plugin{number}"
        parent = spans[-1].span_id
        spans.append(span(name, start_ns, end_ns, trace_id=root.trace_id, parent_id=parent))
    trace, asked = server_trace(root, spans[1:]), lookup(0, took_ms * MS)
    line = timeline(trace)

    found = [
        break_down(asked, Join((JoinedTrace(trace, 0, one),), "time", 1.0))
        for one in (line, add_up(trace.spans, line.slices))
    ]

    assert line.line is None
    assert found[0] == found[1]
    assert list(found[0].plugins) == list(found[1].plugins)
