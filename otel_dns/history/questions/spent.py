"""Where time is spent: servers, plugins and upstreams."""

from typing import Final

import ibis
import ibis.expr.types as ir

from otel_dns import semconv
from otel_dns.history.answers import (
    Bin,
    PluginTime,
    ServerTime,
    Subject,
    SubjectPoint,
    UpstreamTime,
)
from otel_dns.history.questions.asking import (
    EVERYTHING,
    FAILURES,
    MAX_ROWS,
    Asking,
    bounded,
    failed_queries,
    given,
    quantiles_of,
    read_quantiles,
    step_of,
)
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.history.where import Where

KINDS: Final = ("server", "own", "outside", "plugin", "upstream")
"""What can be asked about as a subject: a server's time of a query, ``own`` without its upstream's;
a lookup's time for each query that is neither at a server nor at its upstream, nor a timeout, by
the server that was asked first; a plugin's own time of a query; an exchange with an upstream."""
PER_DECADE: Final = 4
_ONE: Final = ibis.literal(1)
_NEVER: Final = ibis.literal(value=False)
_ELSEWHERE: Final = (semconv.SEGMENT_SERVER, semconv.SEGMENT_UPSTREAM, semconv.SEGMENT_WAITING)
_OUTSIDE: Final = [
    SEGMENT_COLUMNS[segment] for segment in semconv.SEGMENTS if segment not in _ELSEWHERE
]
_LOWEST_BIN: Final = 3 * PER_DECADE
_HIGHEST_BIN: Final = 10 * PER_DECADE - 1
"""1 us to 10 s; what is beyond counts with the outermost."""


class Spent(Asking):
    """Questions about servers, plugins and upstreams."""

    def plugins(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[PluginTime]:
        """Own time by plugin and server, the one that took most in sum first.

        ``connect`` is the wait for upstreams. With ``where.plugin`` or ``where.server`` only those.
        """
        of = given(of_plugin=where.plugin, of_server=where.server)
        rows = self.ask(_plugins, where, bounded(limit), **of)
        return [PluginTime(**read_quantiles(row)) for row in rows]

    def servers(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[ServerTime]:
        """Queries by server instance: how many, how many failed, how long they took there."""
        rows = self.ask(_servers, where, bounded(limit), **given(of_server=where.server))
        return [ServerTime(**read_quantiles(row)) for row in rows]

    def upstreams(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[UpstreamTime]:
        """Exchanges by upstream and the server that asked it, the slowest at p95 first."""
        of = given(of_upstream=where.upstream, of_server=where.server)
        rows = self.ask(_upstreams, where, bounded(limit), **of)
        return [UpstreamTime(**read_quantiles(row)) for row in rows]

    # -- subjects: any of these, by name alone ------------------------------------------------

    def subjects(
        self, kind: str, where: Where = EVERYTHING, *, name: str = "", limit: int = 50
    ) -> list[Subject]:
        """Give how long each subject of a kind took, the slowest at p95 first.

        Args:
            kind: one of :data:`KINDS`.
            where: of which lookups.
            name: only this one.
            limit: of the answer.
        """
        rows = self.ask(_subjects, where, _known(kind), bounded(limit), **given(subject=name))
        return [Subject(**read_quantiles(row)) for row in rows]

    def subjects_over_time(
        self, kind: str, step_ns: int, since_ns: int, where: Where = EVERYTHING
    ) -> list[SubjectPoint]:
        """Give each subject of a kind in a period, in the time before it, and step by step.

        Args:
            kind: one of :data:`KINDS`.
            step_ns: how long a step is.
            since_ns: when the period begins: its steps are given, those before are not.
            where: both together.
        """
        rows = self.ask(_subjects_over_time, where, _known(kind), step_ns, begins_ns=since_ns)
        return [SubjectPoint(**read_quantiles(row)) for row in rows]

    def subject_over_time(
        self, kind: str, name: str, step_ns: int, where: Where = EVERYTHING
    ) -> list[SubjectPoint]:
        """Give one subject step by step; empty steps are left out."""
        rows = self.ask(_subject_over_time, where, _known(kind), step_ns, subject=name)
        return [SubjectPoint(**read_quantiles(row)) for row in rows]

    def subject_bins(
        self, kind: str, name: str, where: Where = EVERYTHING, *, step_ns: int = 0
    ) -> list[Bin]:
        """Count a subject's queries by step of time and class of duration, for a heat map.

        Args:
            kind: one of :data:`KINDS`.
            name: the subject's.
            where: of which lookups.
            step_ns: how long a step is; 0: all of the period is one.
        """
        rows = self.ask(_subject_bins, where, _known(kind), step_ns, subject=name)
        return [Bin(**row) for row in rows]


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
    return kind


def _unnested(kept: ir.Table, column: str, *fields: str) -> ir.Table:
    spent = kept.select(kept.start_ns, kept.client, of=kept[column].unnest())
    return spent.select(
        spent.start_ns, spent.client, **{field: spent.of[field] for field in fields}
    )


def _only(spent: ir.Table, **wanted: str) -> ir.Table:
    for name, value in wanted.items():
        spent = spent.filter(spent[name.removeprefix("of_")] == value)
    return spent


def _plugins(kept: ir.Table, limit: int, **only: str) -> ir.Table:
    spent = _only(_unnested(kept, "plugins", "plugin", "server", "own_ns", "queries"), **only)
    spent = spent.mutate(by_query=_by_query(spent.own_ns, spent))
    return (
        spent.group_by("plugin", "server")
        .aggregate(
            lookups=spent.count(),
            queries=spent.queries.sum(),
            total_ns=spent.own_ns.sum(),
            max_ns=spent.by_query.max(),
            quantiles=quantiles_of(spent.by_query),
        )
        .order_by(ibis.desc("total_ns"), "plugin", "server")
        .limit(limit)
    )


def _servers(kept: ir.Table, limit: int, **only: str) -> ir.Table:
    hops = _only(_unnested(kept, "hops", "server", "rcode", "duration_ns"), **only)
    return (
        hops.group_by("server")
        .aggregate(
            queries=hops.count(),
            failed=failed_queries(hops.rcode),
            clients=hops.client.nunique(),
            first_at=hops.start_ns.min(),
            last_at=hops.start_ns.max(),
            max_ns=hops.duration_ns.max(),
            quantiles=quantiles_of(hops.duration_ns),
        )
        .order_by(ibis.desc("queries"), "server")
        .limit(limit)
    )


def _upstreams(kept: ir.Table, limit: int, **only: str) -> ir.Table:
    spent = _only(
        _unnested(kept, "exchanges", "upstream", "server", "duration_ns", "rcode"), **only
    )
    answer = spent.group_by("upstream", "server").aggregate(
        exchanges=spent.count(),
        failed=failed_queries(spent.rcode),
        max_ns=spent.duration_ns.max(),
        quantiles=quantiles_of(spent.duration_ns),
    )
    return answer.order_by(ibis.desc(answer.quantiles[1]), "upstream", "server").limit(limit)


def _by_query(spent_ns: ir.IntegerColumn, of: ir.Table) -> ir.IntegerColumn:
    return spent_ns // ibis.greatest(of.queries, 1)


def _rows(kept: ir.Table, kind: str) -> ir.Table:
    """Give ``name``, ``start_ns``, ``ns``, ``is_failed``, ``queries`` of each query or exchange.

    A plugin's are one row a lookup, with the time of a query and how many there were.
    """
    no_figures = {"is_failed": _NEVER, "is_traced": _NEVER}
    if kind == "plugin":
        spent = _unnested(kept, "plugins", "plugin", "own_ns", "queries")
        spent = spent.filter(spent.plugin != semconv.CONNECT_SPAN)
        return spent.select(
            "start_ns",
            "queries",
            name=spent.plugin,
            ns=_by_query(spent.own_ns, spent),
            **no_figures,
        )
    if kind == "outside":
        spent = kept.filter(kept.hops.length() > 0, ~kept.inferred)
        outside_ns = sum((spent[column] for column in _OUTSIDE[1:]), spent[_OUTSIDE[0]])
        return spent.select(
            "start_ns", name=spent.hops[0].server, ns=_by_query(outside_ns, spent), queries=_ONE,
            **no_figures,
        )  # fmt: skip
    if kind == "upstream":
        spent = _unnested(kept, "exchanges", "upstream", "duration_ns", "rcode")
        name, ns, is_traced = spent.upstream, spent.duration_ns, _NEVER
    else:
        spent = _unnested(kept, "hops", "server", "duration_ns", "upstream_ns", "rcode", "source")
        own_ns = ibis.greatest(spent.duration_ns - spent.upstream_ns, 0)
        name, ns = spent.server, own_ns if kind == "own" else spent.duration_ns
        is_traced = spent.source == semconv.SOURCE_TRACE
    return spent.select(
        "start_ns", name=name, ns=ns, is_failed=spent.rcode.isin(FAILURES), is_traced=is_traced,
        queries=_ONE,
    )  # fmt: skip


def _figures(spent: ir.Table) -> dict[str, ir.Value]:
    return {
        "queries": spent.queries.sum(),
        "failed": spent.is_failed.sum(),
        "traced": spent.is_traced.sum(),
        "total_ns": spent.ns.sum(),
        "quantiles": quantiles_of(spent.ns),
    }


def _subjects(kept: ir.Table, kind: str, limit: int, subject: str = "") -> ir.Table:
    spent = _rows(kept, kind)
    if subject:
        spent = spent.filter(spent.name == subject)
    answer = spent.group_by("name").aggregate(**_figures(spent))
    return answer.order_by(ibis.desc(answer.quantiles[1]), "name").limit(limit)


def _subjects_over_time(kept: ir.Table, kind: str, step_ns: int, begins_ns: int) -> ir.Table:
    spent = _rows(kept, kind)
    is_before = spent.start_ns < begins_ns
    step = step_of(spent.start_ns, step_ns)
    spent = spent.filter(spent.name != "").mutate(
        is_before=is_before, at=is_before.ifelse(ibis.null("int64"), step)
    )
    # What both are made of must be the same, to the letter: it is then read once.
    steps = spent.group_by("name", "is_before", "at").aggregate(**_figures(spent))
    periods = spent.group_by("name", "is_before").aggregate(**_figures(spent))
    now = periods.filter(~periods.is_before).mutate(at=ibis.null("int64"))
    order = ("name", ibis.asc("at", nulls_first=True), "is_before")
    return steps.union(now.select(*steps.columns)).order_by(*order).limit(MAX_ROWS)


def _subject_over_time(kept: ir.Table, kind: str, step_ns: int, subject: str) -> ir.Table:
    spent = _rows(kept, kind)
    spent = spent.filter(spent.name == subject)
    return (
        spent.group_by(spent.name, at=step_of(spent.start_ns, step_ns))
        .aggregate(**_figures(spent))
        .mutate(is_before=_NEVER)
        .order_by("at")
        .limit(MAX_ROWS)
    )


def _subject_bins(kept: ir.Table, kind: str, step_ns: int, subject: str) -> ir.Table:
    spent = _rows(kept, kind)
    spent = spent.filter(spent.name == subject)
    bin_ = (ibis.greatest(spent.ns, 1).log10() * PER_DECADE).floor().cast("int32")
    at = step_of(spent.start_ns, step_ns) if step_ns else ibis.literal(0, "int64")
    spent = spent.select(at=at, bin=bin_.clip(_LOWEST_BIN, _HIGHEST_BIN))
    return (
        spent.group_by("at", "bin")
        .aggregate(count=spent.count())
        .order_by("at", "bin")
        .limit(MAX_ROWS)
    )
