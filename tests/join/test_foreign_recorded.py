"""Lookups of Go, Node.js and Java, as their OpenTelemetry told them: recorded of real programs."""

from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.join import JoinSettings
from otel_dns.service.recordings import Reading, read
from otel_dns.service.recordings.replay import Replayed, replay_all
from otel_dns.wire.otlp import decode

RECORDING: Final = Path(__file__).parents[1] / "recordings" / "others-lookups"
GO, NODE, NETTY, JVM = "shop-go", "shop-node", "shop-java-netty", "shop-java-jdk"
SEARCH: Final = ("shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.")


@pytest.fixture(scope="module")
def replayed() -> Replayed:
    return replay_all(read([RECORDING], Reading({"coredns"})), JoinSettings(infer=True))


@pytest.fixture(scope="module")
def lookups(replayed) -> list[JoinedLookup]:
    return joined_lookups(view for each in replayed.sent for view in decode(each))


def of(lookups: list[JoinedLookup], service: str, name: str = "") -> list[JoinedLookup]:
    mine = [each for each in lookups if each.span.resource[semconv.SERVICE_NAME] == service]
    return [each for each in mine if not name or each.name == name]


@pytest.mark.parametrize(
    ("service", "api"),
    [(GO, "net/http"), (NODE, "node:dns.lookup"), (NETTY, "netty"), (JVM, "netty")],
)
def test_each_is_recognised_and_adds_up(lookups, service, api) -> None:
    mine = of(lookups, service)
    asked = ["web", "www.example.org", "paymets", "slow.example.", "web.shop.svc.cluster.local"]
    # Node.js looked up two more under no request; the one that failed tells its name.
    more = ["paymets"] if service == NODE else []
    assert [each.name for each in mine] == [*asked, "web", *more]
    for lookup in mine:
        assert lookup.attribute(semconv.LOOKUP_API) == api
        outcome = "not_found" if lookup.name == "paymets" else "ok"
        assert lookup.attribute(semconv.LOOKUP_OUTCOME) == outcome
        assert sum(lookup.segments.values()) == lookup.duration_ns
        assert sum(lookup.plugins.values()) == lookup.segments["server"]


@pytest.mark.parametrize(
    ("service", "types"),
    # netty's own resolver does not ask for AAAA where no interface has IPv6.
    [(GO, "A AAAA"), (NODE, "A AAAA"), (NETTY, "A"), (JVM, "A AAAA")],
)
def test_the_search_list_is_the_namespaces(lookups, service, types) -> None:
    for name in ("www.example.org", "paymets"):
        for lookup in of(lookups, service, name):
            tried = Counter(query.name for query in lookup.queries)
            each = len(types.split())
            assert tried == dict.fromkeys([*(f"{name}.{end}" for end in SEARCH), f"{name}."], each)
            assert " ".join(sorted({query.type for query in lookup.queries})) == types
            assert lookup.attribute(semconv.JOIN_METHOD) == semconv.METHOD_TIME
            assert lookup.attribute(semconv.JOIN_CERTAINTY) == "sure"
            wasted = 0 if name == "paymets" else 3 * each
            assert lookup.attribute(semconv.WASTE_QUERIES) == wasted


@pytest.mark.parametrize("service", [GO, NETTY, JVM])
def test_the_slow_upstream_is_the_bottleneck(lookups, service) -> None:
    (lookup,) = of(lookups, service, "slow.example.")
    assert lookup.attribute(semconv.BOTTLENECK) == "upstream"
    assert 50_000_000 <= lookup.segments["upstream"] < 60_000_000


@pytest.mark.parametrize("service", [NETTY, JVM])
def test_what_the_jvm_keeps_needed_no_query(lookups, service) -> None:
    _, again = of(lookups, service, "web")
    assert not again.queries
    assert again.attribute(semconv.JOIN_UNSEEN) == semconv.UNSEEN_NO_QUERY


def test_of_types_never_asked_for_the_time_is_not_explained(lookups) -> None:
    """That netty asks for A alone is not told: an AAAA may have been lost."""
    (lookup,) = of(lookups, NETTY, "slow.example.")
    assert [query.type for query in lookup.queries] == ["A"]
    assert lookup.segments["unattributed"] > 0


def test_what_tells_no_name_is_inferred_from_the_server(replayed) -> None:
    """``dns.lookup`` that went well, under no request: the server alone tells of it."""
    (resolution,) = replayed.inferred
    assert (resolution.lookup.name, resolution.lookup.client) == (
        "web.shop.svc.cluster.local", "10.244.0.5",
    )  # fmt: skip
    assert len(resolution.join.traces) == 2
