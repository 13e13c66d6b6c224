"""Findings, of figures that say one thing each."""

import pytest

from otel_dns.web.figures import duration, rate, share
from otel_dns.web.findings import find
from otel_dns.web.situation import Course, Seen, Situation, Stats

MS = 1_000_000
LOOKUPS = Seen("lookups", Stats(1000, 0, 20_000 * MS))
NOTHING = Seen("", Stats())
FAILING = Seen(
    "192.0.2.54:53",
    Stats(200, 7, 900 * MS, MS, 2 * MS, 2000 * MS),
    Stats(200, 1),
    Course([10, 20, 30], [60, 60, 80], [2 * MS] * 3, [0, 3, 4]),
)
PEER = Seen("192.0.2.53:53", Stats(100, 0, 100 * MS, MS, 2 * MS, 4 * MS), Stats(100))


def situation(*upstreams: Seen, timeouts: Seen = NOTHING) -> Situation:
    return Situation(
        lookups=LOOKUPS, timeouts=timeouts, failures=NOTHING, upstreams=upstreams, servers=(),
        outside=(), plugins=(), queries=1000, waste_queries=0, waste_ns=0, worst_waste=(),
    )  # fmt: skip


def test_an_upstream_that_leaves_exchanges_unanswered_is_named() -> None:
    waited = Seen("timeouts", Stats(7, 0, 0), course=Course([10], [7], [None], [7]))
    timeouts, upstream = find(situation(FAILING, PEER, timeouts=waited))
    assert timeouts.kind == "timeouts"
    assert "Upstream 192.0.2.54:53 failed 7 exchanges" in timeouts.detail
    assert upstream.kind == "failing_upstream"
    assert upstream.since_s == 20
    assert "3.5 % of its exchanges" in upstream.detail
    assert "(its peers: 0 %)" in upstream.detail
    assert upstream.filters == {"upstream": "192.0.2.54:53"}
    assert ("before", "1") in upstream.evidence


def test_one_in_a_thousand_is_none() -> None:
    rare = Seen("192.0.2.54:53", Stats(7000, 7, 900 * MS, MS, 2 * MS, 4 * MS))
    assert find(situation(rare, PEER)) == []


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0"), (7e-6, "7.00 µs"), (0.0999, "99.9 ms"), (900, "900 s"), (1800, "30.0 min"),
        (7200, "2.00 h"), (172_800, "2.00 d"), (280_000, "3.24 d"),
    ],
)  # fmt: skip
def test_durations_are_in_the_unit_that_people_use(seconds: float, written: str) -> None:
    assert duration(seconds * 1e9) == written


def test_rates_have_no_exponents() -> None:
    assert [rate(one) for one in (0.0123, 16.52, 99.97, 1240)] == ["0.0123", "16.5", "100", "1,240"]


def test_shares_are_as_the_page_writes_them() -> None:
    shares = (0, 0.0001, 0.0007, 0.25, 0.996, 0.9992, 0.9997, 1)
    assert [share(one) for one in shares] == [
        "0 %", "<0.1 %", "0.1 %", "25 %", "99.6 %", "99.9 %", ">99.9 %", "100 %",
    ]  # fmt: skip
