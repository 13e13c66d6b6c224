"""What is measured of resolutions, and of server traces that no lookup claimed."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from otel_dns import semconv
from otel_dns.join import Outcome, Released, timeline
from otel_dns.model import Resolution, ServerTrace, Timeline
from otel_dns.service.metrics.plugin_times import PluginTimes
from otel_dns.service.metrics.series import (
    Counter,
    Description,
    Family,
    Gauge,
    Histogram,
    Lead,
    lead_to,
)
from otel_dns.service.metrics.watch import WatchList
from otel_dns.wire import otlp

MAX_SERIES: Final = 2_000
"""Of one metric, unless told otherwise."""

_NAMESPACE: Final = semconv.K8S_NAMESPACE_NAME
_SECOND: Final = 1e9
_MAX_REMEMBERED: Final = 4096
"""Bytes of a resource that is read only once."""


class ResolutionMetrics:
    """Measures everything that leaves the join. The pipeline's thread calls :meth:`observe`."""

    def __init__(self, max_series: int = MAX_SERIES, watch: Iterable[str] = ()) -> None:
        """Make all metrics, without series.

        Args:
            max_series: how many series each may have; others count under one overflow series.
            watch: names whose lookups are counted on their own, see `WatchList`.
        """
        self._watch = WatchList(watch) if watch else None
        self._max_series = max_series
        self._families: list[Family[Any]] = []
        pod = (_NAMESPACE, semconv.K8S_POD_NAME, semconv.K8S_NODE_NAME)
        self._durations = self._family(
            Histogram, semconv.METRIC_LOOKUP_DURATION, "s",
            "How long lookups took, as the applications saw them.",
            _NAMESPACE, semconv.LOOKUP_OUTCOME,
        )  # fmt: skip
        self._node_durations = self._family(
            Histogram, semconv.METRIC_NODE_LOOKUP_DURATION, "s",
            "How long lookups took, by the node that their Pod runs on.", semconv.K8S_NODE_NAME,
        )  # fmt: skip
        self._server_durations = self._family(
            Histogram, semconv.METRIC_SERVER_LOOKUP_DURATION, "s",
            "How long joined lookups took, by the server that was asked; what waited in its queue "
            "shows here and not in its spans.",
            semconv.SERVER_INSTANCE,
        )  # fmt: skip
        self._lookups = self._family(
            Counter, semconv.METRIC_LOOKUPS, "{lookup}",
            "Lookups that arrived, by how they ended and what took most of their time.",
            _NAMESPACE, semconv.LOOKUP_OUTCOME, semconv.BOTTLENECK,
        )  # fmt: skip
        self._pod_lookups = self._family(
            Counter, semconv.METRIC_POD_LOOKUPS, "{lookup}",
            "Lookups that arrived, by Pod.", *pod, semconv.LOOKUP_OUTCOME,
        )  # fmt: skip
        self._watched = self._family(
            Counter, semconv.METRIC_WATCHED_LOOKUPS, "{lookup}",
            "Lookups of names on the watch list, by its entry and by Pod; inferred ones too.",
            semconv.WATCHED, *pod,
        )  # fmt: skip
        self._pod_queries = self._family(
            Counter, semconv.METRIC_POD_QUERIES, "{query}",
            "Queries that servers saw of a Pod's lookups.", *pod,
        )  # fmt: skip
        self._waste_queries = self._family(
            Counter, semconv.METRIC_WASTE_QUERIES, "{query}",
            "Queries spent on candidates of the search list before the one that answered.", *pod,
        )  # fmt: skip
        self._waste_time = self._family(
            Counter, semconv.METRIC_WASTE_TIME, "s",
            "Time until the first query for the candidate that answered.", *pod,
        )  # fmt: skip
        self._retries = self._family(
            Counter, semconv.METRIC_RETRIES, "{query}",
            "Queries that repeated one without an answer, or without one of use.", *pod,
        )  # fmt: skip
        self._segments = self._family(
            Histogram, semconv.METRIC_SEGMENT_DURATION, "s",
            "Where the time of joined lookups went; a lookup's segments add up to its duration.",
            _NAMESPACE, semconv.SEGMENT,
        )  # fmt: skip
        self._joins = self._family(
            Counter, semconv.METRIC_JOINS, "{lookup}",
            "Lookups by how they were joined and how sure that is.",
            _NAMESPACE, semconv.JOIN_METHOD, semconv.JOIN_CERTAINTY,
        )  # fmt: skip
        self._inferred = self._family(
            Counter, semconv.METRIC_INFERRED_LOOKUPS, "{lookup}",
            "Lookups that nobody told of, made of what servers told alone; in no other count of "
            "lookups.",
            _NAMESPACE, semconv.LOOKUP_OUTCOME,
        )  # fmt: skip
        self._plugins = self._family(
            Histogram, semconv.METRIC_PLUGIN_DURATION, "s",
            "Own time of a server's plugin in one query. An estimate where CoreDNS traces one "
            "query in N: shares and quantiles hold, counts are of the traced ones.",
            semconv.PLUGIN, semconv.SERVER_INSTANCE, semconv.DNS_RESPONSE_CODE,
        )  # fmt: skip
        self._plugin_times = PluginTimes(self._plugins)
        self._upstreams = self._family(
            Histogram, semconv.METRIC_UPSTREAM_DURATION, "s",
            "One exchange of a server with its upstream; an estimate where one query in N is "
            "traced.",
            semconv.SERVER_ADDRESS, semconv.SERVER_INSTANCE,
        )  # fmt: skip
        self._queries = self._family(
            Counter, semconv.METRIC_SERVER_QUERIES, "{query}",
            "Queries of which a server told, by whether they belong to a known lookup.",
            semconv.SERVER_INSTANCE, semconv.DNS_RESPONSE_CODE, semconv.JOINED,
        )  # fmt: skip
        self._traced = self._family(
            Counter, semconv.METRIC_TRACED_QUERIES, "{query}",
            "Queries of which a server's spans told: those that figures of plugins are of. Fewer "
            "than otel_dns_server_queries_total where CoreDNS traces one query in N: then those "
            "figures are estimates.",
            semconv.SERVER_INSTANCE,
        )  # fmt: skip
        self._skew = self._family(
            Gauge, semconv.METRIC_CLOCK_SKEW, "s",
            "What is added to a server's times to bring them to the clock of a client's node.",
            semconv.SERVER_INSTANCE, semconv.K8S_NODE_NAME,
        )  # fmt: skip

    def _family(
        self, point: type[Any], name: str, unit: str, text: str, *attributes: str
    ) -> Family[Any]:
        family = Family(Description(name, unit, text, attributes), point, self._max_series)
        self._families.append(family)
        return family

    def families(self) -> Iterable[Family[Any]]:
        """Every metric, and one that tells what came under overflow series."""
        self._plugin_times.measure()
        overflow: Family[Counter] = Family(
            Description(
                semconv.METRIC_OVERFLOWED, "{measurement}",
                "Measurements under a metric's overflow series, for want of room.",
                (semconv.METRIC,),
            ),
            Counter, len(self._families),
        )  # fmt: skip
        for family in self._families:
            overflow.at(family.description.name).add(family.overflowed)
        return [*self._families, overflow]

    def observe(self, outcomes: Iterable[Outcome]) -> None:
        """Measure outcomes: what one series gets of them it gets at once."""
        for outcome in outcomes:
            if isinstance(outcome, Resolution):
                self._resolved(outcome)
            elif isinstance(outcome, Released) and outcome.trace is not None:
                self._trace(outcome.trace, timeline(outcome.trace), None, joined="false")
        for family in self._families:
            family.settle()

    def _resolved(self, resolution: Resolution) -> None:
        lookup, join, breakdown = resolution.lookup, resolution.join, resolution.breakdown
        span, outcome = lookup.span, resolution.outcome
        pod = _pod_of(span.origin.resource)
        namespace, _, node = pod
        watched = self._watch.entry_of(lookup) if self._watch is not None else None
        if watched is not None:
            self._watched.gathered[watched, *pod].append(1)
        # What has no span in a backend leads nowhere.
        lead = lead_to(span) if lookup.recorded and not lookup.inferred else None
        if lookup.inferred:
            self._inferred.gathered[namespace, outcome].append(1)
        else:
            certainty = join.certainty or semconv.METHOD_NONE
            self._joins.gathered[namespace, join.method, certainty].append(1)
            took = (span.end_ns - span.start_ns) / _SECOND, lead
            self._durations.gathered[namespace, outcome].append(took)
            self._node_durations.gathered[(node,)].append(took)
            for server in {_server(each.trace): None for each in join.traces if not each.hop}:
                self._server_durations.gathered[(server,)].append(took)
            self._lookups.gathered[namespace, outcome, breakdown.bottleneck].append(1)
            self._pod_lookups.gathered[*pod, outcome].append(1)
        if not join.traces:
            return
        self._pod_queries.gathered[pod].append(sum([not joined.hop for joined in join.traces]))
        if breakdown.waste_queries:
            self._waste_queries.gathered[pod].append(breakdown.waste_queries)
            self._waste_time.gathered[pod].append(breakdown.waste_ns / _SECOND)
        if breakdown.retries:
            self._retries.gathered[pod].append(breakdown.retries)
        if not lookup.inferred:
            segments = self._segments.gathered
            for segment, nanoseconds in breakdown.segments.items():
                if nanoseconds:
                    segments[namespace, segment].append((nanoseconds / _SECOND, lead))
        known = "false" if lookup.inferred else "true"
        for joined in join.traces:
            self._trace(joined.trace, joined.timeline, lead, joined=known)
            # Clocks that agree make no series; one that agrees again says so.
            place = _server(joined.trace), node
            if joined.skew_ns or place in self._skew:
                self._skew.gathered[place].append(joined.skew_ns / _SECOND)

    def _trace(self, trace: ServerTrace, own: Timeline, lead: Lead | None, joined: str) -> None:
        server, rcode = _server(trace), trace.rcode
        self._queries.gathered[server, rcode, joined].append(1)
        if trace.source == semconv.SOURCE_TRACE:
            # What messages tell of a server is not one plugin's time.
            self._traced.gathered[(server,)].append(1)
            self._plugin_times.add(server, rcode, own.names, own.own_ns, lead)
        if semconv.CONNECT_SPAN not in own.names:
            return
        for span in trace.spans:
            if span.name == semconv.CONNECT_SPAN:
                peer = otlp.attributes_of(span.raw).get(semconv.PEER_ADDRESS)
                seconds = (span.end_ns - span.start_ns) / _SECOND
                place = peer if isinstance(peer, str) else "", server
                self._upstreams.gathered[place].append((seconds, lead))


def _server(trace: ServerTrace) -> str:
    return trace.server or otlp.server_instance(trace.root.origin.resource)


def _pod_of(resource: bytes) -> tuple[str, str, str]:
    """Tell namespace, Pod and node."""
    return _remembered_pod(resource) if len(resource) <= _MAX_REMEMBERED else _told_pod(resource)


def _told_pod(resource: bytes) -> tuple[str, str, str]:
    told = otlp.resource_attributes(resource)
    return (
        _text(told, _NAMESPACE), _text(told, semconv.K8S_POD_NAME),
        _text(told, semconv.K8S_NODE_NAME),
    )  # fmt: skip


_remembered_pod: Final = lru_cache(maxsize=4096)(_told_pod)


def _text(resource: Mapping[str, otlp.AttributeValue], key: str) -> str:
    value = resource.get(key)
    return value if isinstance(value, str) else ""
