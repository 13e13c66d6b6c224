"""PromQL over the processor's metrics; names come from semconv, as the scrape has them."""

from typing import Final

from otel_dns import semconv
from otel_dns.service.metrics.prometheus import prometheus_name

LOOKUP_DURATION: Final = prometheus_name(semconv.METRIC_LOOKUP_DURATION, "s")
NODE_LOOKUP_DURATION: Final = prometheus_name(semconv.METRIC_NODE_LOOKUP_DURATION, "s")
SERVER_LOOKUP_DURATION: Final = prometheus_name(semconv.METRIC_SERVER_LOOKUP_DURATION, "s")
LOOKUPS: Final = prometheus_name(semconv.METRIC_LOOKUPS, "{lookup}") + "_total"
POD_LOOKUPS: Final = prometheus_name(semconv.METRIC_POD_LOOKUPS, "{lookup}") + "_total"
POD_QUERIES: Final = prometheus_name(semconv.METRIC_POD_QUERIES, "{query}") + "_total"
WASTE_QUERIES: Final = prometheus_name(semconv.METRIC_WASTE_QUERIES, "{query}") + "_total"
WASTE_TIME: Final = prometheus_name(semconv.METRIC_WASTE_TIME, "s") + "_total"
RETRIES: Final = prometheus_name(semconv.METRIC_RETRIES, "{query}") + "_total"
SEGMENT_DURATION: Final = prometheus_name(semconv.METRIC_SEGMENT_DURATION, "s")
JOINS: Final = prometheus_name(semconv.METRIC_JOINS, "{lookup}") + "_total"
PLUGIN_DURATION: Final = prometheus_name(semconv.METRIC_PLUGIN_DURATION, "s")
UPSTREAM_DURATION: Final = prometheus_name(semconv.METRIC_UPSTREAM_DURATION, "s")
SERVER_QUERIES: Final = prometheus_name(semconv.METRIC_SERVER_QUERIES, "{query}") + "_total"
TRACED_QUERIES: Final = prometheus_name(semconv.METRIC_TRACED_QUERIES, "{query}") + "_total"
CLOCK_SKEW: Final = prometheus_name(semconv.METRIC_CLOCK_SKEW, "s")
OVERFLOWED: Final = prometheus_name(semconv.METRIC_OVERFLOWED, "{measurement}") + "_total"

LOSSES: Final = {
    "spans lost at an output": "otel_dns_spans_lost_total",
    "server spans evicted": "otel_dns_server_spans_evicted_total",
    "lookups settled before their time": "otel_dns_lookups_settled_early_total",
    "requests turned away": "otel_dns_requests_turned_away_total",
    "Zipkin spans dropped": "otel_dns_zipkin_spans_dropped_full_total",
}
"""What the processor lost, sent back, or let go before its time."""

NAMESPACE: Final = semconv.K8S_NAMESPACE_NAME.replace(".", "_")
POD: Final = semconv.K8S_POD_NAME.replace(".", "_")
NODE: Final = semconv.K8S_NODE_NAME.replace(".", "_")
OUTCOME: Final = semconv.LOOKUP_OUTCOME.replace(".", "_")
BOTTLENECK: Final = semconv.BOTTLENECK.replace(".", "_")
SEGMENT: Final = semconv.SEGMENT.replace(".", "_")
PLUGIN: Final = semconv.PLUGIN.replace(".", "_")
SERVER: Final = semconv.SERVER_INSTANCE.replace(".", "_")
UPSTREAM: Final = semconv.SERVER_ADDRESS.replace(".", "_")
RCODE: Final = semconv.DNS_RESPONSE_CODE.replace(".", "_")
METHOD: Final = semconv.JOIN_METHOD.replace(".", "_")
CERTAINTY: Final = semconv.JOIN_CERTAINTY.replace(".", "_")
JOINED: Final = semconv.JOINED.replace(".", "_")

FAILED: Final = "|".join(
    (semconv.OUTCOME_TIMEOUT, semconv.OUTCOME_SERVER_FAILURE, semconv.OUTCOME_ERROR)
)
"""Outcomes that are DNS's fault: that a name does not exist is an answer."""


def rate(metric: str, matchers: str = "", window: str = "$__rate_interval") -> str:
    """A counter's rate, series by series."""
    return f"rate({metric}{{{matchers}}}[{window}])"


def total(inner: str, *by: str) -> str:
    """A sum over all series, or by labels."""
    return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def quantile(of: float, histogram: str, *by: str, matchers: str = "") -> str:
    """A quantile of a histogram's recent measurements."""
    buckets = total(rate(f"{histogram}_bucket", matchers), "le", *by)
    return f"histogram_quantile({of}, {buckets})"
