"""What the processor measures of resolutions, as Prometheus and OTLP show it."""

import math
import subprocess
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_dns import semconv
from otel_dns.join import Joiner, JoinSettings, break_down
from otel_dns.lab import programs
from otel_dns.model import Lookup, Resolution, Span
from otel_dns.service.metrics import ResolutionMetrics, SeriesCollector
from otel_dns.service.metrics.otlp import MAX_BUCKETS, request_of
from otel_dns.service.metrics.plugin_times import PluginTimes
from otel_dns.service.metrics.series import Counter, Description, Family, Histogram, lead_to
from otel_dns.wire import otlp
from tests.service.support import Backend, get, serving
from tests.support.otlp import forward
from tests.support.programs import require
from tests.support.spans import (
    MS,
    SECOND,
    exchange,
    join,
    lookup,
    nested,
    servedns,
    server_trace,
    span,
)
from tests.support.waiting import eventually


def measured(*things: Lookup | Span, max_series: int = 100) -> ResolutionMetrics:
    """Metrics of what comes out of the join."""
    metrics = ResolutionMetrics(max_series)
    joiner = Joiner(JoinSettings())
    for thing in things:
        if isinstance(thing, Lookup):
            joiner.add_lookup(thing, 0)
        else:
            joiner.add_server_span(thing, 0)
    metrics.observe(joiner.drain())
    return metrics


def test_an_inferred_lookup_is_in_no_other_count_of_lookups() -> None:
    metrics = ResolutionMetrics()
    joiner = Joiner(JoinSettings(infer=True))
    joiner.add_server_span(servedns(0, MS), 0)
    metrics.observe(joiner.drain())

    told = {
        (sample.name, sample.value)
        for family in scraped(metrics).collect()
        for sample in family.samples
        if "lookup" in sample.name or sample.name == "otel_dns_joins_total"
    }
    assert told == {("otel_dns_inferred_lookups_total", 1.0)}
    labels = {"otel_dns_server": "coredns", "dns_response_code": "NOERROR"}
    assert (
        scraped(metrics).get_sample_value(
            "otel_dns_server_queries_total", labels | {"otel_dns_joined": "false"}
        )
        == 1
    )


@pytest.mark.parametrize(
    ("entry", "name", "candidates", "counted"),
    [
        ("www.example.org", "WWW.example.org.", ("www.example.org.",), True),
        ("*.example.org", "www.example.org", ("www.example.org.",), True),
        ("*.example.org", "example.org", ("example.org.",), False),
        ("*.example.org", "badexample.org", ("badexample.org.",), False),
        ("db.shop.svc.cluster.local", "db", ("db.shop.svc.cluster.local.", "db."), True),
        ("db", "other", ("other.",), False),
    ],
)
def test_lookups_of_watched_names_are_counted_by_pod(
    entry: str, name: str, candidates: tuple[str, ...], counted: bool
) -> None:
    metrics = ResolutionMetrics(watch=(entry,))
    joiner = Joiner(JoinSettings())
    joiner.add_lookup(lookup(0, MS, name=name, candidates=candidates), 0)
    metrics.observe(joiner.drain())

    found = {
        (sample.labels["otel_dns_watched"], sample.value)
        for family in scraped(metrics).collect()
        for sample in family.samples
        if sample.name == "otel_dns_watched_lookups_total"
    }
    assert found == ({(entry, 1.0)} if counted else set())


def test_a_clock_that_agrees_again_says_so() -> None:
    metrics = ResolutionMetrics()
    asked = lookup(0, 5 * MS)
    seen = join((server_trace(servedns(MS, 2 * MS)), 0))
    told = []
    for skew_ns in (0, 20 * MS, 0):
        (one,) = seen.traces
        moved = replace(seen, traces=(replace(one, skew_ns=skew_ns),))
        metrics.observe([Resolution(asked, moved, break_down(asked, moved), "ok")])
        families = scraped(metrics).collect()
        told.append([
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "otel_dns_clock_skew_seconds"
        ])  # fmt: skip
    assert told == [[], [0.02], [0.0]]


def scraped(metrics: ResolutionMetrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(SeriesCollector(metrics.families))
    return registry


def connect(root: Span, start_ns: int, end_ns: int) -> Span:
    return span(
        semconv.CONNECT_SPAN,
        start_ns,
        end_ns,
        trace_id=root.trace_id,
        parent_id=root.span_id,
        tail=_peer("192.0.2.53:53"),
    )


def _peer(address: str) -> bytes:
    return otlp.string_attribute(semconv.PEER_ADDRESS, address)


def test_a_joined_lookup_is_measured_whole() -> None:
    root = servedns(2 * MS, 8 * MS)
    registry = scraped(measured(lookup(0, 10 * MS), root, connect(root, 2 * MS, 7 * MS)))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    none = {"k8s_namespace_name": ""}
    assert value("otel_dns_lookup_duration_seconds_sum", **none, otel_dns_lookup_outcome="ok") == (
        pytest.approx(0.010)
    )
    assert value(
        "otel_dns_lookups_total",
        **none, otel_dns_lookup_outcome="ok", otel_dns_bottleneck="upstream",
    ) == 1  # fmt: skip
    segments = [
        value("otel_dns_segment_duration_seconds_sum", **none, otel_dns_segment=segment) or 0
        for segment in semconv.SEGMENTS
    ]
    assert sum(segments) == pytest.approx(0.010)
    assert value(
        "otel_dns_plugin_duration_seconds_sum",
        otel_dns_plugin="servedns", otel_dns_server="coredns", dns_response_code="NOERROR",
    ) == pytest.approx(0.001)  # fmt: skip
    assert value(
        "otel_dns_upstream_duration_seconds_sum",
        server_address="192.0.2.53:53", otel_dns_server="coredns",
    ) == pytest.approx(0.005)  # fmt: skip


def test_what_messages_alone_tell_is_no_plugin_s_time() -> None:
    """One query in two is traced: figures of plugins are of that one, and say of how many."""
    metrics, joiner = ResolutionMetrics(), Joiner(JoinSettings())
    joiner.add_lookup(lookup(0, 10 * MS, types=("A", "AAAA")), 0)
    joiner.add_server_span(servedns(2 * MS, 8 * MS), 0)
    for told in exchange(2 * MS, 8 * MS, type_="AAAA", server="coredns"):
        joiner.add_message(told, 0)
    metrics.observe(joiner.drain())
    registry = scraped(metrics)
    server = {"otel_dns_server": "coredns"}
    answered = server | {"dns_response_code": "NOERROR"}
    assert {
        name: registry.get_sample_value(f"otel_dns_{name}", labels)
        for name, labels in {
            "server_queries_total": answered | {"otel_dns_joined": "true"},
            "server_traced_queries_total": server,
            "plugin_duration_seconds_count": answered | {"otel_dns_plugin": "servedns"},
        }.items()
    } == {
        "server_queries_total": 2,
        "server_traced_queries_total": 1,
        "plugin_duration_seconds_count": 1,
    }


def test_a_server_trace_without_a_lookup_counts_as_not_joined() -> None:
    root = servedns(0, MS, rcode="NXDOMAIN")
    registry = scraped(measured(root, *nested(root, ("cache",))))
    labels = {"otel_dns_server": "coredns", "dns_response_code": "NXDOMAIN"}

    count = registry.get_sample_value(
        "otel_dns_server_queries_total", {**labels, "otel_dns_joined": "false"}
    )

    assert count == 1
    assert registry.get_sample_value(
        "otel_dns_plugin_duration_seconds_count", {**labels, "otel_dns_plugin": "cache"}
    )


def test_hostile_names_end_up_in_one_series() -> None:
    roots = []
    for number in range(50):
        root = servedns(0, MS)
        roots += [root, *nested(root, (f"plugin-{number}",))]
    registry = scraped(measured(*roots, max_series=10))
    name = "otel_dns_plugin_duration_seconds_count"
    counted = {
        sample.labels["otel_dns_plugin"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }

    assert len(counted) == 11
    assert sum(counted.values()) == 100
    overflowed = registry.get_sample_value(
        "otel_dns_metrics_overflowed_total", {"otel_dns_metric": "otel_dns.plugin.duration"}
    )
    assert counted[semconv.OTHER_NAMES] == overflowed == 41


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    require("promtool")
    asked, root = lookup(0, 10 * MS), servedns(2 * MS, 8 * MS)
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, otlp.build((one.origin, one.raw) for one in (asked.span, root)))
        eventually(lambda: running.count("requests_sent"), "what was joined")
        _, metrics = get(running.http + "/metrics")
    checked = subprocess.run(
        [programs.find("promtool"), "check", "metrics"],
        input=metrics, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert "otel_dns_send_seconds_total" in metrics


def test_a_scraper_that_knows_openmetrics_gets_exemplars_that_lead_to_the_trace() -> None:
    asked, root = lookup(0, 10 * MS), servedns(2 * MS, 8 * MS)
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, otlp.build((one.origin, one.raw) for one in (asked.span, root)))
        request = urllib.request.Request(
            f"{running.http}/metrics", headers={"Accept": "application/openmetrics-text"}
        )

        def shown() -> list[dict[str, str]]:
            with urllib.request.urlopen(request, timeout=60) as answer:
                page = answer.read().decode()
            return [
                sample.exemplar.labels
                for family in text_string_to_metric_families(page)
                for sample in family.samples
                if sample.name == "otel_dns_lookup_duration_seconds_bucket" and sample.exemplar
            ]

        exemplars = eventually(shown, "an exemplar")
    assert exemplars == [
        {"trace_id": asked.span.trace_id.hex(), "span_id": asked.span.span_id.hex()}
    ]


@given(st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=50))
def test_every_measurement_is_in_the_exponential_bucket_that_otlp_says(values) -> None:
    """OpenTelemetry's data model: bucket i holds (base**i, base**(i+1)]."""
    family: Family[Histogram] = Family(Description("x", "s", "", ()), Histogram, 1)
    for value in values:
        family.at().record(value)
    request = ExportMetricsServiceRequest.FromString(request_of([family], 1, 2, ()))
    (point,) = (
        request.resource_metrics[0].scope_metrics[0].metrics[0].exponential_histogram.data_points
    )
    base = 2.0 ** (2.0**-point.scale)
    counts = point.positive.bucket_counts

    assert point.count == len(values) == point.zero_count + sum(counts)
    assert point.zero_count == values.count(0)
    assert len(counts) <= MAX_BUCKETS
    for value in filter(None, values):
        index = math.ceil(math.log(value) / math.log(base)) - 1 - point.positive.offset
        # Give or take one: the bounds are not exact in floating point.
        near = range(max(index - 1, 0), min(index + 2, len(counts)))
        assert any(counts[each] for each in near)


def test_counters_and_their_attributes_over_otlp() -> None:
    family: Family[Counter] = Family(
        Description("otel_dns.retries", "{query}", "", ("k8s.pod.name",)), Counter, 5
    )
    family.at("web-1").add(3)
    request = ExportMetricsServiceRequest.FromString(request_of([family], 1, SECOND, ()))
    (metric,) = request.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.sum.data_points

    assert metric.sum.is_monotonic
    assert point.as_double == 3
    assert {each.key: each.value.string_value for each in point.attributes} == {
        "k8s.pod.name": "web-1"
    }


def test_plugin_times_are_measured_together_as_they_are_one_by_one() -> None:
    durations: Family[Histogram] = Family(Description("d", "s", "", ("p", "s", "r")), Histogram, 2)
    times = PluginTimes(durations)
    lead = lead_to(lookup(0, MS).span)
    for own_ns in ((1_000, 2_000), (1_000, 3_000), (9_000, 2_000)):
        times.add("one", "NOERROR", ("servedns", "cache"), own_ns, lead)
    times.add("two", "NOERROR", ("servedns", "connect"), (5_000, 4_000), None)
    assert not durations.series()
    times.measure()
    times.measure()

    expected = {name: Histogram() for name in ("servedns", "cache", "two")}
    for name, own_ns in [("servedns", 1_000), ("servedns", 1_000), ("servedns", 9_000),
                         ("cache", 2_000), ("cache", 3_000), ("cache", 2_000)]:  # fmt: skip
        expected[name].record(own_ns / 1e9)
    expected["two"].record(5_000 / 1e9)
    found = dict(durations.series())
    overflowed = found.pop((semconv.OTHER_NAMES,) * 3)
    assert durations.overflowed == 1
    for point, one_by_one in [
        (found["servedns", "one", "NOERROR"], expected["servedns"]),
        (found["cache", "one", "NOERROR"], expected["cache"]),
        (overflowed, expected["two"]),
    ]:
        assert point.buckets == one_by_one.buckets
        assert point.exponential == one_by_one.exponential
        assert point.sum == pytest.approx(one_by_one.sum)
    exemplars = found["cache", "one", "NOERROR"].exemplars.values()
    assert [one.lead for one in exemplars] == [lead]
    assert not overflowed.exemplars
