"""One joined tree, found through Jaeger's own search."""

import statistics
import sys
from typing import Any

from tests.e2e.conftest import Chain
from tests.e2e.conftest import tags_of as tags
from tests.support.waiting import eventually


def parent(span: dict[str, Any]) -> str | None:
    return next((ref["spanID"] for ref in span["references"]), None)


def test_one_tree_from_the_application_to_the_plugins(chain: Chain) -> None:
    chain.run_storefront("tree")
    (trace,) = chain.found(
        "tree",
        dns__question__name="www.example.org",
        otel_dns__join__method="time",
        otel_dns__lookup__outcome="ok",
        k8s__pod__name="storefront-7d4b9c",
        k8s__node__name="node-a",
    )
    spans = {span["spanID"]: span for span in trace["spans"]}
    services = {key: process["serviceName"] for key, process in trace["processes"].items()}
    (lookup,) = (span for span in spans.values() if span["operationName"] == "dns.lookup")
    caller = spans[parent(lookup)]
    assert caller["operationName"] == "GET"
    roots = [span for span in spans.values() if span["operationName"] == "servedns"]
    assert len(roots) == 8
    shares = [
        tags(span)["otel_dns.breakdown.unattributed_ns"] / (span["duration"] * 1000)
        for other in chain.found("tree", otel_dns__join__method="time")
        for span in other["spans"]
        if span["operationName"] == "dns.lookup"
    ]
    assert statistics.median(shares) <= 0.05
    assert {parent(root) for root in roots} == {lookup["spanID"]}
    assert {services[root["processID"]] for root in roots} == {"coredns"}
    # A machine that is busy makes gaps that are not a stub's; how sure is measured elsewhere.
    assert tags(lookup)["otel_dns.join.certainty"] in {"sure", "unsure"}
    assert tags(lookup)["otel_dns.queries"] == 8
    assert tags(lookup)["otel_dns.search.waste_queries"] == 6
    for root in roots:
        chain_of_plugins = [root]
        while child := next(
            (span for span in spans.values() if parent(span) == chain_of_plugins[-1]["spanID"]),
            None,
        ):
            chain_of_plugins.append(child)
        names = [span["operationName"] for span in chain_of_plugins]
        assert names[:3] == ["servedns", "prometheus", "errors"]
        outside = tags(root)["coredns.io/name"] == "www.example.org."
        assert (names[-1] == "connect") == outside
        own = sum(tags(span)["otel_dns.own_ns"] for span in chain_of_plugins)
        assert own == root["duration"] * 1000
        original = tags(root)["otel_dns.original.trace_id"]
        assert original != trace["traceID"]
        assert original.endswith(tags(root)["otel_dns.original.span_id"])


def test_what_servers_side_people_have_leads_to_the_trace(default_chain: Chain) -> None:
    """The trace id in CoreDNS's log line finds the joined trace."""
    logged_before = len(default_chain.coredns.log.read_text())
    default_chain.run_storefront("logged")
    default_chain.found("logged", dns__question__name="db", otel_dns__join__method="time")
    line = next(
        line
        for line in default_chain.coredns.log.read_text()[logged_before:].splitlines()
        if "db.shop.svc.cluster.local." in line
    )
    logged = next(
        word.strip('"') for word in line.split() if len(word.strip('"')) == 16 and word.isalnum()
    )
    (trace,) = default_chain.found("coredns", otel_dns__original__span_id=logged)
    assert "dns.lookup" in {span["operationName"] for span in trace["spans"]}


def test_short_in_cluster_name_takes_two_queries(default_chain: Chain) -> None:
    default_chain.run_storefront("short")
    (trace,) = default_chain.found("short", dns__question__name="db")
    (lookup,) = (span for span in trace["spans"] if span["operationName"] == "dns.lookup")
    assert tags(lookup)["otel_dns.queries"] == 2
    assert tags(lookup)["otel_dns.search.waste_queries"] == 0


LOOKUPS = """
import socket
for number in range(5):
    for zone in ("slow.cluster.local.", "slow.example."):
        socket.getaddrinfo(f"host{number}.{zone}", 80, socket.AF_INET, socket.SOCK_STREAM)
"""


def test_a_delay_shows_up_in_its_plugin_and_in_the_upstream(default_chain: Chain) -> None:
    """50 ms put into one plugin, or into the upstream, are found there and nowhere else."""

    default_chain.run([sys.executable, "-c", LOOKUPS], "delays")

    def joined() -> list[tuple[int, dict[str, Any]]]:
        return [
            (span["duration"], tags(span))
            for trace in default_chain.found("delays", otel_dns__join__method="time")
            for span in trace["spans"]
            if span["operationName"] == "dns.lookup"
        ]

    found = eventually(lambda: all_ if len(all_ := joined()) == 10 else None, "all ten")
    for zone, bottleneck, segment in (
        ("slow.cluster.local.", "plugin:erratic", "plugin.erratic"),
        ("slow.example.", "upstream", "upstream"),
    ):
        lookups = [one for one in found if one[1]["dns.question.name"].endswith(f".{zone}")]
        assert len(lookups) == 5
        # Most of them, and the quietest of five: what the machine adds to a sleep is not ours.
        named = [attributes["otel_dns.bottleneck"] for _, attributes in lookups]
        assert named.count(bottleneck) >= 3
        assert default_chain.search("delays", {"otel_dns.bottleneck": bottleneck})
        took = [attributes[f"otel_dns.breakdown.{segment}_ns"] for _, attributes in lookups]
        assert 50_000_000 <= min(took) < 100_000_000
        for microseconds, attributes in lookups:
            segments = [
                value
                for name, value in attributes.items()
                if name.startswith("otel_dns.breakdown.") and ".plugin." not in name
            ]
            assert sum(segments) // 1000 == microseconds
            assert attributes["otel_dns.breakdown.unattributed_ns"] == 0


def test_lookups_that_are_not_sampled_are_known_and_not_shown(default_chain: Chain) -> None:
    told, joined = (
        default_chain.counted("lookups_unsampled"), default_chain.counted("lookups_joined")
    )  # fmt: skip
    default_chain.run(
        [sys.executable, "-c", LOOKUPS],
        "unsampled",
        OTEL_TRACES_SAMPLER="always_off",
        OTEL_DNS_CLIENT_UNSAMPLED_RECORDS="true",
    )
    eventually(lambda: default_chain.counted("lookups_unsampled") == told + 10, "all ten")
    eventually(lambda: default_chain.counted("lookups_joined") >= joined + 10, "all are joined")
    # What a sampled lookup brings to Jaeger comes later than anything of these could.
    default_chain.run_storefront("after")
    default_chain.found("after", dns__question__name="db")
    assert not default_chain.search("unsampled", {})
