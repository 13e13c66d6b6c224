"""The finding of a server that gets to its queries late.

The figures are of the lab: two CoreDNS under the same load, the second in a cgroup with 5 % of a
processor (122 of 131 periods throttled). On the real chain it is seen in test_investigations.py.
"""

import pytest

from otel_dns.history.answers import PluginSum
from otel_dns.web.situation import Course, Seen, Stats
from otel_dns.web.starved import starved_servers

US = 1_000
MS = 1_000_000
GOOD, BAD = "10.244.0.2", "10.244.0.3"
QUERIES = {GOOD: 1010, BAD: 564}
OUTSIDE = [
    Seen(GOOD, Stats(1010, 0, 0, 218 * US, 1009 * US, 4 * MS)),
    Seen(
        BAD, Stats(564, 0, 0, 345 * US, 37_626 * US, 70 * MS),
        course=Course([10, 20, 30], [9, 9, 9], [1 * MS, 30 * MS, 38 * MS], [0, 0, 0]),
    ),
]  # fmt: skip
MEAN_US = {
    "servedns": (10.9, 51.8), "prometheus": (33.5, 292.7), "errors": (5.1, 206.7),
    "log": (26.5, 447.8), "loadbalance": (7.9, 36.6), "cache": (129.3, 3340.7),
    "file": (57.4, 156.8),
}  # fmt: skip
PLUGINS = [
    PluginSum(server, plugin, queries, round(mean * US) * queries)
    for plugin, means in MEAN_US.items()
    for (server, queries), mean in zip(QUERIES.items(), means, strict=True)
]


def well(server: str) -> list[PluginSum]:
    """One server's plugins as they are, the other's as its neighbour's."""
    return [one for each in PLUGINS if each.server == GOOD
            for one in (each, PluginSum(server, each.plugin, 564, each.own_ns // 2))]  # fmt: skip


def test_throttled_by_the_kernel() -> None:
    (found,) = starved_servers(OUTSIDE, PLUGINS)
    assert found.filters == {"server": BAD}
    assert found.since_s == 20
    assert "lacks processor time" in found.detail
    assert ("plugins grown", "6 of 7") in found.evidence
    assert ("p95", "37.6 ms") in found.evidence


def test_a_full_queue_alone_says_that_its_work_is_well() -> None:
    (found,) = starved_servers(OUTSIDE, well(BAD))
    assert "the time passes before it begins" in found.detail
    assert ("plugins grown", "0 of 7") in found.evidence


def test_its_plugins_alone_are_enough() -> None:
    """Where applications have no spans, nobody tells of the way there."""
    (found,) = starved_servers([], PLUGINS)
    assert found.filters == {"server": BAD}


def test_before_is_the_measure_of_who_has_no_neighbour() -> None:
    alone = Seen(BAD, OUTSIDE[1].now, before=OUTSIDE[0].now)
    assert [one.filters["server"] for one in starved_servers([alone], [])] == [BAD]


@pytest.mark.parametrize(
    ("outside", "plugins"),
    [
        pytest.param([OUTSIDE[0], Seen(BAD, OUTSIDE[0].now)], well(BAD), id="both are well"),
        pytest.param([Seen(GOOD, OUTSIDE[1].now), OUTSIDE[1]], well(BAD), id="all suffer alike"),
        pytest.param([OUTSIDE[1]], PLUGINS[1::2], id="nothing to compare with"),
        pytest.param(
            [OUTSIDE[0], Seen(BAD, Stats(5, 0, 0, 9 * MS, 40 * MS, 40 * MS))], [], id="too few"
        ),
        pytest.param(
            [OUTSIDE[0], Seen(BAD, Stats(99, 0, 0, 1 * MS, 4 * MS, 5 * MS))], [],
            id="another zone's network",
        ),
        pytest.param(
            [OUTSIDE[0], Seen(BAD, OUTSIDE[0].now)],
            [*well(BAD)[:-1], PluginSum(BAD, "file", 564, 564 * 50 * MS)],
            id="one slow plugin",
        ),
    ],
)  # fmt: skip
def test_none(outside: list[Seen], plugins: list[PluginSum]) -> None:
    assert list(starved_servers(outside, plugins)) == []
