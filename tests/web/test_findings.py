"""Findings, of figures that say one thing each."""

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
    assert "of its peers' 0 %" in upstream.detail
    assert upstream.filters == {"upstream": "192.0.2.54:53"}
    assert ("before", "1") in upstream.evidence


def test_one_in_a_thousand_is_none() -> None:
    rare = Seen("192.0.2.54:53", Stats(7000, 7, 900 * MS, MS, 2 * MS, 4 * MS))
    assert find(situation(rare, PEER)) == []
