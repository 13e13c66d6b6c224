"""Lookups are joined with the spans of whichever DNS server of the lab the Pod asked."""

from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.lab import Lab, scenarios
from otel_dns.wire.otlp import decode
from tests.support.programs import require


def test_lookups_through_the_node_cache_are_joined(lab: Lab) -> None:
    require("coredns")
    output = lab.capture("joined", zipkin_port=None, dnstap_port=None)
    processor = lab.processor(["--settle", "1.5"], output=output.otlp)
    lab.upstream_dns()
    # The cluster's server sends too: its client is the node, so no lookup of a Pod takes these.
    lab.cluster_dns(zipkin=processor.zipkin_url)
    lab.node_local_dns(zipkin=processor.zipkin_url)
    lab.web_server()
    pod = lab.pod("storefront-7d4b9c", namespace="shop")
    pod.run(
        scenarios.instrumented(scenarios.storefront()),
        env=scenarios.client_env(processor.otlp),
        check=True,
    )

    def joined() -> list[JoinedLookup]:
        requests = [request.SerializeToString() for request in output.trace_requests()]
        return joined_lookups(span for request in requests for span in decode(request))

    output.wait_until(lambda: len(joined()) == scenarios.STOREFRONT_LOOKUPS, "five lookups")
    assert all(lookup.queries for lookup in joined())
    assert {query.server for lookup in joined() for query in lookup.queries} == {"node-cache"}
