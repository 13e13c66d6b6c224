"""Clocks that differ: found, followed, corrected, or refused."""

import random
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.join import Joiner, JoinSettings
from otel_dns.join.annotate import encode
from otel_dns.join.clocks.skew import NodeClocks
from otel_dns.join.waiting import WaitingLookup
from otel_dns.model import Resolution
from tests.support.spans import MS, SECOND, T0, exchange, lookup, query, servedns

Ahead = list[int]


def stream(ahead: Ahead, apart_ns: int = 50 * MS) -> Iterator[tuple[Resolution, int, int]]:
    """Lookups and the skew they were joined with; the server's clock is ahead by so much each."""
    joiner = Joiner(JoinSettings())
    roots = {}
    resolutions = []
    spread = random.Random(5)
    at = 0
    for number, ahead_ns in enumerate(ahead):
        at += spread.randrange(5 * MS, 2 * apart_ns)
        asked, started = lookup(at, at + 2 * MS), at + MS // 5 + number % 7 * 10_000
        roots[asked] = servedns(started + ahead_ns, started + MS + ahead_ns)
        joiner.add_lookup(asked, at)
        joiner.add_server_span(roots[asked], at)
        resolutions += [one for one in joiner.advance(at) if isinstance(one, Resolution)]
    resolutions += [one for one in joiner.drain() if isinstance(one, Resolution)]
    for resolution, ahead_ns in zip(resolutions, ahead, strict=True):
        joined = resolution.join.traces
        right = bool(joined) and joined[0].trace.root.span_id == roots[resolution.lookup].span_id
        yield resolution, joined[0].skew_ns + ahead_ns if right else 10**18, ahead_ns


@pytest.mark.parametrize("ahead_ns", [-20 * MS, 20 * MS, 200 * MS, -200 * MS])
def test_a_constant_skew_is_found_before_the_first_lookup_leaves(ahead_ns) -> None:
    for resolution, left_ns, _ in stream([ahead_ns] * 300):
        assert abs(left_ns) < MS // 5
        assert resolution.breakdown.segments["server"] == MS
        (sent,) = [
            one
            for _, raw in encode(resolution)
            if (one := ProtoSpan.FromString(raw)).name == "servedns"
        ]
        assert resolution.lookup.start_ns <= sent.start_time_unix_nano
        assert sent.end_time_unix_nano <= resolution.lookup.end_ns


def test_clocks_that_agree_are_left_alone() -> None:
    assert all(one.join.traces[0].skew_ns == 0 for one, _, _ in stream([MS // 10] * 100))


def test_a_drifting_clock_is_followed() -> None:
    found = list(stream([20 * MS + number * 25_000 for number in range(600)]))  # 500 ppm

    assert sum(abs(left) < 2 * MS for _, left, _ in found) >= 590


def test_after_a_step_no_wrong_server_trace_is_joined_for_sure() -> None:
    found = list(stream([2 * MS] * 300 + [40 * MS] * 300))

    assert all(abs(left) < 2 * MS for _, left, _ in found[-100:])
    wrong = [one for one, left, _ in found if left > SECOND and one.join.certainty == "sure"]
    assert not wrong


def test_exact_pairs_bound_the_clocks_as_ntp_does() -> None:
    joiner = Joiner(JoinSettings())
    resolutions = []
    for number in range(6):
        at = number * 10 * MS
        seen = query(at, at + 2 * MS, port=1000 + number)
        joiner.add_lookup(lookup(at, at + 3 * MS, queries=[seen], kind="dnspython"), at)
        for message in exchange(at + 81 * MS // 2, at + 83 * MS // 2, port=1000 + number):
            joiner.add_message(message, at)
        resolutions += [one for one in joiner.drain() if isinstance(one, Resolution)]

    last = resolutions[-1].join.traces[0]

    assert last.skew_ns == -40 * MS
    assert last.trace.sent_ns - T0 == 50 * MS + 3 * MS // 2


def test_before_a_clock_is_known_nothing_is_sure_and_the_span_says_so() -> None:
    joiner = Joiner(JoinSettings())
    joiner.add_lookup(lookup(0, 20 * MS), 0)
    joiner.add_server_span(servedns(8 * MS, 9 * MS), 0)  # late, or of a clock that is ahead?

    (found,) = (one for one in joiner.drain() if isinstance(one, Resolution))

    assert found.join.traces
    assert found.join.certainty == "unsure"
    assert joiner.counts["lookups_clocks_unknown"] == 1
    span = ProtoSpan.FromString(next(iter(encode(found)))[1])
    words = {each.key: each.value.string_value for each in span.attributes}
    assert words["otel_dns.join.clocks"] == "unknown"


def test_a_clock_that_jumped_leaves_lookups_unsure_until_it_is_found() -> None:
    found = list(stream([0] * 200 + [-30 * MS] * 5))

    assert not any(one.join.certainty == "sure" for one, _, _ in found[200:])


@pytest.mark.parametrize(
    ("told", "doubted"),
    [
        pytest.param([(0, 500)], False, id="all fit"),
        pytest.param([(1, 40)], False, id="one of few does not"),
        pytest.param([(20, 400)], True, id="many do not"),
        pytest.param([(2, 30)] * 10, True, id="again and again some do not"),
        pytest.param([(20, 400), (0, 200), (0, 200)], False, id="then all fit again"),
        pytest.param([(0, 0)], False, id="nothing was there"),
    ],
)
def test_clocks_by_which_much_does_not_fit_are_in_doubt(told, doubted) -> None:
    at = WaitingLookup(lookup(0, 2 * MS), 0, clocks := NodeClocks({}))
    for at_ns in range(3):
        clocks.bound("", T0 + at_ns, -MS, MS)
    for misfits, given in told:
        clocks.judge(misfits, given)

    assert clocks.doubts(at, []) == doubted
