"""The four dashboards."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from dashboards import queries as q
from dashboards.panels import bars, heat, lines, listing, number, query, segments

_TAG: Final = "otel-dns"
_IN_NAMESPACE: Final = f'{q.NAMESPACE}=~"$namespace"'
_ON_SERVER: Final = f'{q.SERVER}=~"$server"'
_BAD: Final = f'{q.OUTCOME}=~"{q.FAILED}"'
_RED_FROM: Final = {None: "green", 0.001: "orange", 0.01: "red"}

BOARDS: Final[dict[str, Callable[[], dashboard.Dashboard]]] = {}
"""Makers of dashboards by the name of their file."""


def _board(name: str) -> Callable[..., Any]:
    def register(make: Callable[[], dashboard.Dashboard]) -> Callable[[], dashboard.Dashboard]:
        BOARDS[name] = make
        return make

    return register


def _dashboard(
    uid: str, title: str, about: str, *variables: dashboard.QueryVariable
) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(title)
        .uid(f"otel-dns-{uid}")
        .description(about)
        .tags([_TAG])
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("otel-dns")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([_TAG])
            .as_dropdown(True)
            .keep_time(True)
            .include_vars(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for variable in variables:
        made = made.with_variable(variable)
    return made


def _variable(name: str, label: str, metric: str, key: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(models.DataSourceRef(type_val="prometheus", uid="${datasource}"))
        .query(f"label_values({metric}, {key})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _with(made: dashboard.Dashboard, *rows: tuple[str, Sequence[Any]]) -> dashboard.Dashboard:
    ids = count(1)
    for title, panels in rows:
        made = made.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            made = made.with_panel(panel.id(next(ids)))
    return made


@_board("overview")
def overview() -> dashboard.Dashboard:
    """Is DNS well, and where does its time go."""
    lookups = q.rate(q.LOOKUPS, _IN_NAMESPACE)
    bad = q.rate(q.LOOKUPS, f"{_IN_NAMESPACE},{_BAD}")
    failing = f"({q.total(bad)} or vector(0)) / {q.total(lookups)}"
    segment_rate = q.total(q.rate(f"{q.SEGMENT_DURATION}_sum", _IN_NAMESPACE), q.SEGMENT)
    quantiles = [
        query(
            q.quantile(each, q.LOOKUP_DURATION, matchers=_IN_NAMESPACE),
            f"p{each * 100:g}",
            exemplar=each == 0.99,
        )
        for each in (0.5, 0.95, 0.99)
    ]
    sure = q.total(q.rate(q.JOINS, f'{_IN_NAMESPACE},{q.CERTAINTY}="sure"'))
    return _with(
        _dashboard(
            "overview",
            "DNS / Overview",
            "Lookups as the applications saw them, and where their time went.",
            _variable("namespace", "Namespace", q.LOOKUPS, q.NAMESPACE),
        ),
        (
            "Now",
            [
                number("Lookups", "Lookups a second that arrived.", q.total(lookups), unit="reqps"),
                number(
                    "Failed",
                    "Share that ended as timeout, server_failure or error. A name that does not "
                    "exist is an answer, no failure.",
                    failing,
                    unit="percentunit",
                    steps=_RED_FROM,
                ),
                number(
                    "p95",
                    "95 of 100 lookups were faster.",
                    q.quantile(0.95, q.LOOKUP_DURATION, matchers=_IN_NAMESPACE),
                    unit="s",
                    steps={None: "green", 0.1: "orange", 1: "red"},
                ),
                number(
                    "Queries for a lookup",
                    "2 is what a name needs (A and AAAA); 8 is an external name through the usual "
                    "search list.",
                    f"{q.total(q.rate(q.POD_QUERIES, _IN_NAMESPACE))}"
                    f" / {q.total(q.rate(q.POD_LOOKUPS, _IN_NAMESPACE))}",
                    steps={None: "green", 4: "orange", 7: "red"},
                ),
                number(
                    "Retries",
                    "Queries a second that repeated one without an answer.",
                    f"{q.total(q.rate(q.RETRIES, _IN_NAMESPACE))} or vector(0)",
                    unit="reqps",
                ),
                number(
                    "Joined for sure",
                    "Share of lookups whose server traces are known to be theirs (confidence of "
                    "0.99 and more). What is below rests on fewer lookups than there are.",
                    f"({sure} or vector(0)) / {q.total(q.rate(q.JOINS, _IN_NAMESPACE))}",
                    unit="percentunit",
                    steps={None: "red", 0.5: "orange", 0.8: "green"},
                ),
            ],
        ),
        (
            "Where the time goes",
            [
                lines(
                    "How long lookups take",
                    "Points are single lookups: each leads to its trace.",
                    *quantiles,
                ),
                segments(
                    "Mean time of a joined lookup, by segment",
                    "Segments add up to the lookup. waiting is a timeout of the stub; unattributed "
                    "is what no evidence explains.",
                    query(
                        f"{segment_rate} / on() group_left() {_joined()}", f"{{{{{q.SEGMENT}}}}}"
                    ),
                ),
                bars(
                    "What took most of a lookup",
                    "Lookups a second by their bottleneck, over the last hour.",
                    q.total(q.rate(q.LOOKUPS, _IN_NAMESPACE, "1h"), q.BOTTLENECK),
                    f"{{{{{q.BOTTLENECK}}}}}",
                    unit="reqps",
                ),
                lines(
                    "How lookups ended",
                    "not_found is an answer: that the name does not exist.",
                    query(q.total(lookups, q.OUTCOME), f"{{{{{q.OUTCOME}}}}}"),
                    unit="reqps",
                    stacked=True,
                ),
            ],
        ),
        (
            "Servers",
            [
                lines(
                    "Answers of CoreDNS, by rcode",
                    "CoreDNS's own metrics, also of queries that nobody traces.",
                    query(
                        "sum by (rcode) (rate(coredns_dns_responses_total[$__rate_interval]))",
                        "{{rcode}}",
                    ),
                    unit="reqps",
                    stacked=True,
                ),
                lines(
                    "Upstream, p95 of one exchange",
                    "One exchange of a server with its upstream.",
                    query(
                        q.quantile(0.95, q.UPSTREAM_DURATION, q.UPSTREAM), f"{{{{{q.UPSTREAM}}}}}"
                    ),
                ),
            ],
        ),
    )


def _joined() -> str:
    """Joined lookups a second."""
    return q.total(q.rate(q.JOINS, f'{_IN_NAMESPACE},{q.METHOD}!="none"'))


def _traced_share(*by: str) -> str:
    """What part of all queries figures of plugins are of."""
    traced = q.total(q.rate(q.TRACED_QUERIES, _ON_SERVER), *by)
    return f"({traced} / {q.total(q.rate(q.SERVER_QUERIES, _ON_SERVER), *by)})"


@_board("plugins")
def plugins() -> dashboard.Dashboard:
    """CoreDNS from inside: which plugin, which instance."""
    by_plugin = f"{{{{{q.PLUGIN}}}}}"
    return _with(
        _dashboard(
            "plugins",
            "DNS / Plugins and servers",
            "Own time of CoreDNS's plugins: a plugin's span less what it waited for. Where CoreDNS "
            "traces one query in N these are estimates from the traced ones: *Queries with "
            "plugins' times* says from how many.",
            _variable("server", "Server", q.PLUGIN_DURATION + "_count", q.SERVER),
        ),
        (
            "Plugins",
            [
                lines(
                    "Own time of a plugin, p95",
                    "95 of 100 queries spent less in it.",
                    query(
                        q.quantile(0.95, q.PLUGIN_DURATION, q.PLUGIN, matchers=_ON_SERVER),
                        by_plugin,
                        exemplar=True,
                    ),
                ),
                lines(
                    "Mean own time of a query, by plugin",
                    "What a traced query spends on the whole.",
                    query(
                        f"{q.total(q.rate(f'{q.PLUGIN_DURATION}_sum', _ON_SERVER), q.PLUGIN)}"
                        f" / on() group_left() {q.total(q.rate(q.TRACED_QUERIES, _ON_SERVER))}",
                        by_plugin,
                    ),
                    stacked=True,
                ),
                lines(
                    "Queries with plugins' times",
                    "Of all that servers told of. Below 1 CoreDNS traces one query in N, and what "
                    "this page says of plugins is an estimate from that share.",
                    query(_traced_share(q.SERVER), f"{{{{{q.SERVER}}}}}"),
                    unit="percentunit",
                ),
                lines(
                    "Time in plugins, scaled up to all queries (estimate)",
                    "Seconds a second, of all queries: those of traced ones by the share that is "
                    "traced. Exact where all are.",
                    query(
                        f"{q.total(q.rate(f'{q.PLUGIN_DURATION}_sum', _ON_SERVER), q.PLUGIN)}"
                        f" / on() group_left() {_traced_share()}",
                        by_plugin,
                    ),
                    unit="none",
                    stacked=True,
                ),
                heat(
                    "Own time of all plugins",
                    "How the measurements spread.",
                    q.total(q.rate(f"{q.PLUGIN_DURATION}_bucket", _ON_SERVER), "le"),
                ),
                heat(
                    "One exchange with an upstream",
                    "How the measurements spread.",
                    q.total(q.rate(f"{q.UPSTREAM_DURATION}_bucket", _ON_SERVER), "le"),
                ),
            ],
        ),
        (
            "Instances beside each other",
            [
                lines(
                    "Lookups, p95 by the server that was asked",
                    "As the applications saw them: what waits in a server's queue shows here and "
                    "not in its own spans.",
                    query(
                        q.quantile(0.95, q.SERVER_LOOKUP_DURATION, q.SERVER, matchers=_ON_SERVER),
                        f"{{{{{q.SERVER}}}}}",
                        exemplar=True,
                    ),
                ),
                lines(
                    "Own time of a query, by server",
                    "One that stands out is short of CPU, or is asked what the others are not.",
                    query(
                        f"{q.total(q.rate(f'{q.PLUGIN_DURATION}_sum', _ON_SERVER), q.SERVER)}"
                        f" / {q.total(q.rate(q.TRACED_QUERIES, _ON_SERVER), q.SERVER)}",
                        f"{{{{{q.SERVER}}}}}",
                    ),
                ),
                lines(
                    "Queries, by server and rcode",
                    "Queries of which spans or dnstap told.",
                    query(
                        q.total(q.rate(q.SERVER_QUERIES, _ON_SERVER), q.SERVER, q.RCODE),
                        f"{{{{{q.SERVER}}}}} {{{{{q.RCODE}}}}}",
                    ),
                    unit="reqps",
                ),
                lines(
                    "Cache hits",
                    "Share of CoreDNS's own cache (its metrics, all queries).",
                    query(
                        "sum by (instance) (rate(coredns_cache_hits_total[$__rate_interval])) / "
                        "sum by (instance) (rate(coredns_cache_requests_total[$__rate_interval]))",
                        "{{instance}}",
                    ),
                    unit="percentunit",
                ),
                lines(
                    "Queries of CoreDNS, all of them",
                    "Its own metrics, also of queries that nobody traces.",
                    query(
                        "sum by (instance) (rate(coredns_dns_requests_total[$__rate_interval]))",
                        "{{instance}}",
                    ),
                    unit="reqps",
                ),
                lines(
                    "Panics, and upstreams that fail health checks",
                    "Its own metrics. Nothing here is what you want.",
                    query(
                        "sum(increase(coredns_panics_total[$__rate_interval])) or vector(0)",
                        "panics",
                    ),
                    query(
                        "sum(increase(coredns_proxy_healthcheck_failures_total[$__rate_interval]))"
                        " or vector(0)",
                        "failed health checks",
                    ),
                    unit="short",
                ),
                lines(
                    "Processor time",
                    "Cores in use by each CoreDNS (its metrics). One that is throttled reads low: "
                    "compare own times.",
                    query(
                        'rate(process_cpu_seconds_total{job=~".*coredns.*"}[$__rate_interval])',
                        "{{instance}}",
                    ),
                    unit="none",
                ),
            ],
        ),
    )


@_board("pods")
def pods() -> dashboard.Dashboard:
    """Who suffers, who is noisy."""
    by_pod = (q.NAMESPACE, q.POD)
    lookups_1h = q.total(q.rate(q.POD_LOOKUPS, _IN_NAMESPACE, "1h"), *by_pod)
    bad_1h = q.total(q.rate(q.POD_LOOKUPS, f"{_IN_NAMESPACE},{_BAD}", "1h"), *by_pod)
    wasted_1h = q.total(q.rate(q.WASTE_QUERIES, _IN_NAMESPACE, "1h"), *by_pod)
    by_node = q.total(q.rate(q.POD_LOOKUPS, _IN_NAMESPACE), q.NODE)
    bad_by_node = q.total(q.rate(q.POD_LOOKUPS, f"{_IN_NAMESPACE},{_BAD}"), q.NODE)
    queries_1h = q.total(q.rate(q.POD_QUERIES, _IN_NAMESPACE, "1h"), *by_pod)
    return _with(
        _dashboard(
            "pods",
            "DNS / Pods and nodes",
            "Who suffers, and who asks more than it needs.",
            _variable("namespace", "Namespace", q.POD_LOOKUPS, q.NAMESPACE),
        ),
        (
            "Who suffers",
            [
                listing(
                    "Failed lookups, share by Pod",
                    "Over the last hour. All Pods alike: look at the servers. One node only: look "
                    "at the node.",
                    f"(({bad_1h}) or 0 * ({lookups_1h})) / ({lookups_1h})",
                    unit="percentunit",
                ),
                lines(
                    "Failed lookups, share by node",
                    "Nodes beside each other.",
                    query(
                        f"(({bad_by_node}) or 0 * ({by_node})) / ({by_node})",
                        f"{{{{{q.NODE}}}}}",
                    ),
                    unit="percentunit",
                ),
            ],
        ),
        (
            "Nodes beside each other",
            [
                lines(
                    "Lookups, p95 by node",
                    "One node alone: look at it, and at the server that its Pods ask.",
                    query(
                        q.quantile(0.95, q.NODE_LOOKUP_DURATION, q.NODE),
                        f"{{{{{q.NODE}}}}}",
                        exemplar=True,
                    ),
                    width=24,
                ),
            ],
        ),
        (
            "Who is noisy",
            [
                listing(
                    "Queries a second, by Pod",
                    "As the servers saw them, over the last hour.",
                    queries_1h,
                    unit="reqps",
                ),
                listing(
                    "Wasted queries, share by Pod",
                    "Queries for names of the search list that do not exist. A trailing dot or a "
                    "lower ndots saves them.",
                    f"({wasted_1h}) / ({queries_1h})",
                    unit="percentunit",
                ),
                lines(
                    "Time wasted on the search list",
                    "Seconds a second that lookups spent before the name that answered.",
                    query(
                        q.total(q.rate(q.WASTE_TIME, _IN_NAMESPACE), q.NAMESPACE),
                        f"{{{{{q.NAMESPACE}}}}}",
                    ),
                ),
                lines(
                    "Queries of a lookup, by namespace",
                    "2 is what a name needs.",
                    query(
                        f"{q.total(q.rate(q.POD_QUERIES, _IN_NAMESPACE), q.NAMESPACE)} / "
                        f"{q.total(q.rate(q.POD_LOOKUPS, _IN_NAMESPACE), q.NAMESPACE)}",
                        f"{{{{{q.NAMESPACE}}}}}",
                    ),
                    unit="none",
                ),
            ],
        ),
    )


@_board("joins")
def joins() -> dashboard.Dashboard:
    """How much is seen, and how sure the joins are."""
    return _with(
        _dashboard(
            "joins",
            "DNS / Join health",
            "How much is seen and how sure it is: before you believe the other dashboards.",
        ),
        (
            "Joins",
            [
                lines(
                    "Lookups, by certainty",
                    "none: no server trace was found.",
                    query(q.total(q.rate(q.JOINS), q.CERTAINTY), f"{{{{{q.CERTAINTY}}}}}"),
                    unit="reqps",
                    stacked=True,
                ),
                lines(
                    "Lookups, by method",
                    "context, edns, id and case are exact; time is not.",
                    query(q.total(q.rate(q.JOINS), q.METHOD), f"{{{{{q.METHOD}}}}}"),
                    unit="reqps",
                    stacked=True,
                ),
                lines(
                    "Queries that belong to a known lookup",
                    "The others are those of applications without instrumentation, or of lookups "
                    "that were not sampled.",
                    query(
                        q.total(q.rate(q.SERVER_QUERIES), q.JOINED), f"joined {{{{{q.JOINED}}}}}"
                    ),
                    unit="reqps",
                    stacked=True,
                ),
                lines(
                    "Queries told of, of those that CoreDNS counted",
                    "Below 1 under `every N`, or when CoreDNS's reporter loses spans.",
                    query(
                        f"{q.total(q.rate(q.SERVER_QUERIES))} / "
                        "sum(rate(coredns_dns_requests_total[$__rate_interval]))",
                        "share",
                    ),
                    unit="percentunit",
                ),
            ],
        ),
        (
            "The processor",
            [
                lines(
                    "Held",
                    "Lookups and server spans that wait for their partner.",
                    query("otel_dns_waiting_lookups", "lookups"),
                    query("otel_dns_waiting_server_spans", "server spans"),
                    unit="short",
                ),
                lines(
                    "Lost or turned away",
                    "Nothing here is what you want.",
                    *(
                        query(f"{q.total(q.rate(name))} or vector(0)", title)
                        for title, name in q.LOSSES.items()
                    ),
                    query(q.total(q.rate(q.OVERFLOWED)), "measurements without a series"),
                    unit="reqps",
                ),
                lines(
                    "Clock skew",
                    "What is added to a server's times, by server and node.",
                    query(f"{q.CLOCK_SKEW} or vector(0)", f"{{{{{q.SERVER}}}}} {{{{{q.NODE}}}}}"),
                ),
            ],
        ),
    )
