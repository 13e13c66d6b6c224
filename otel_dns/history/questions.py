"""The questions asked of the history, written once.

Each is an Ibis expression over the table of resolutions (:mod:`otel_dns.history.schema`), so the
same question runs on DuckDB within this process and on Spark over many clusters' files, and gives
the same answer. :class:`Questions` asks them of whatever engine its table lives in.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from otel_dns import semconv
from otel_dns.history.answers import (
    Asker,
    Brief,
    Cell,
    Group,
    Kept,
    Latency,
    PluginPoint,
    PluginTime,
    Point,
    ServerTime,
    Totals,
    UpstreamTime,
    Waste,
)
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.history.where import DIMENSIONS, Where, failed_of

EVERYTHING: Final = Where()

MAX_ROWS: Final = 10_000
"""Of any answer."""

HEAT_BOUNDS: Final = tuple(
    round(10**exponent * step) for exponent in range(4, 10) for step in (1, 1.8, 3.2, 5.6)
)
"""Lower bounds of a heat map's classes, nanoseconds: four a decade, 10 us to 5.6 s; what is below
the first counts as 0."""

_BRIEF: Final = tuple(Brief.__dataclass_fields__)
_FAILURES: Final = ("SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "")
_EXACT: Final = tuple(
    method for method in semconv.METHODS if method not in {semconv.METHOD_TIME, semconv.METHOD_NONE}
)
_QUANTILES: Final = {"p50_ns": 0.5, "p95_ns": 0.95, "p99_ns": 0.99}
_SECOND: Final = 1_000_000_000


class Questions:
    """Asks the questions of one table of resolutions."""

    def __init__(self, lookups: ir.Table) -> None:
        """Ask of this table, whatever engine it lives in."""
        self._lookups = lookups

    def lookups(self, where: Where = EVERYTHING) -> ir.Table:
        """Give the resolutions that a question is about, as an expression."""
        return where.apply(self._lookups)

    def answer(self, expression: ir.Table, where: Where = EVERYTHING) -> list[dict[str, Any]]:  # noqa: ARG002
        """Let the engine answer: rows as dicts.

        Args:
            expression: made of :meth:`lookups`.
            where: what that was given: an engine may read the files of its period only.
        """
        return plain(expression.to_pyarrow())

    # -- how it goes --------------------------------------------------------------------------

    def totals(self, where: Where = EVERYTHING) -> Totals:
        """Sum up a period."""
        kept = self.lookups(where)
        client = ~kept.inferred
        row = self.answer(
            kept.aggregate(
                lookups=client.sum(),
                inferred=kept.inferred.sum(),
                failed=(failed_of(kept) & client).sum(),
                not_found=((kept.outcome == semconv.OUTCOME_NOT_FOUND) & client).sum(),
                joined=((kept.method != semconv.METHOD_NONE) & client).sum(),
                sure=((kept.certainty == semconv.CERTAINTY_SURE) & client).sum(),
                exact=(kept.method.isin(_EXACT) & client).sum(),
                queries=kept.queries.sum(where=client),
                waste_queries=kept.waste_queries.sum(where=client),
                waste_ns=kept.waste_ns.sum(where=client),
                retries=kept.retries.sum(where=client),
                pods=kept.pod.nunique(where=client & (kept.pod != "")),
                first_at=kept.start_ns.min(),
                last_at=kept.start_ns.max(),
                **_latency(kept),
                **_segments(kept),
            ),
            where,
        )[0]
        counts = {name: row[name] or 0 for name in _COUNTS_OF_TOTALS}
        return Totals(
            **counts,
            first_at=row["first_at"],
            last_at=row["last_at"],
            latency=_latency_of(row),
            segments=_segments_of(row),
        )

    def over_time(self, step_ns: int, where: Where = EVERYTHING) -> list[Point]:
        """Give rate, failures, quantiles and segments step by step; empty steps are left out.

        Args:
            step_ns: how long a step is; steps begin at multiples of it since the epoch.
            where: of which lookups.
        """
        kept = self.lookups(where).filter(lambda table: ~table.inferred)
        answer = (
            kept.group_by(at=_step(kept.start_ns, step_ns))
            .aggregate(
                lookups=kept.count(),
                failed=failed_of(kept).sum(),
                not_found=(kept.outcome == semconv.OUTCOME_NOT_FOUND).sum(),
                queries=kept.queries.sum(),
                waste_queries=kept.waste_queries.sum(),
                **_latency(kept),
                **_segments(kept),
            )
            .order_by("at")
        )
        return [
            Point(
                **{name: row[name] for name in _COUNTS_OF_POINT},
                latency=_latency_of(row),
                segments=_segments_of(row),
            )
            for row in self.answer(answer, where)
        ]

    def by(
        self,
        dimension: str,
        where: Where = EVERYTHING,
        *,
        order: str = "lookups",
        limit: int = 100,
    ) -> list[Group]:
        """Group lookups by one dimension, the largest first.

        Args:
            dimension: one of :data:`otel_dns.history.where.DIMENSIONS`.
            where: of which lookups.
            order: what the largest is by: a column of :class:`Group`, or ``p95_ns`` and the like.
            limit: of the answer.

        Raises:
            ValueError: no such dimension or order.
        """
        if dimension not in DIMENSIONS:
            raise ValueError(f"no dimension {dimension!r}; there are {', '.join(DIMENSIONS)}")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        kept = self.lookups(where).filter(lambda table: ~table.inferred)
        answer = (
            kept.group_by(key=kept[dimension])
            .aggregate(
                lookups=kept.count(),
                failed=failed_of(kept).sum(),
                queries=kept.queries.sum(),
                waste_queries=kept.waste_queries.sum(),
                waste_ns=kept.waste_ns.sum(),
                retries=kept.retries.sum(),
                total_ns=kept.duration_ns.sum(),
                first_at=kept.start_ns.min(),
                last_at=kept.start_ns.max(),
                **_latency(kept),
            )
            .order_by(ibis.desc(order), "key")
            .limit(_bounded(limit))
        )
        return [
            Group(**{name: row[name] for name in _COUNTS_OF_GROUP}, latency=_latency_of(row))
            for row in self.answer(answer, where)
        ]

    def heat(self, step_ns: int, where: Where = EVERYTHING) -> list[Cell]:
        """Count lookups by step of time and class of duration."""
        kept = self.lookups(where).filter(lambda table: ~table.inferred)
        return self._heat(
            kept.select(at=_step(kept.start_ns, step_ns), spent=kept.duration_ns), where
        )

    # -- servers, plugins, upstreams ----------------------------------------------------------

    def plugins(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[PluginTime]:
        """Own time by plugin and server, the one that took most in sum first.

        ``connect`` is the wait for upstreams. With ``where.plugin`` or ``where.server`` only those.
        """
        spent = self._plugin_times(where)
        answer = (
            spent.group_by("plugin", "server")
            .aggregate(
                lookups=spent.count(),
                queries=spent.queries.sum(),
                total_ns=spent.own_ns.sum(),
                max_ns=_whole(spent.by_query.max()),
                **_quantiles(spent.by_query),
            )
            .order_by(ibis.desc("total_ns"), "plugin", "server")
            .limit(_bounded(limit))
        )
        return [PluginTime(**row) for row in self.answer(answer, where)]

    def plugins_over_time(self, step_ns: int, where: Where = EVERYTHING) -> list[PluginPoint]:
        """Own time by plugin and server, step by step."""
        spent = self._plugin_times(where)
        answer = (
            spent.group_by(spent.plugin, spent.server, at=_step(spent.start_ns, step_ns))
            .aggregate(queries=spent.queries.sum(), **_quantiles(spent.by_query))
            .order_by("at", "plugin", "server")
            .limit(MAX_ROWS)
        )
        return [PluginPoint(**row) for row in self.answer(answer, where)]

    def plugin_heat(self, step_ns: int, where: Where = EVERYTHING) -> list[Cell]:
        """Count lookups by step of time and class of a plugin's own time."""
        spent = self._plugin_times(where)
        return self._heat(
            spent.select(at=_step(spent.start_ns, step_ns), spent=spent.by_query), where
        )

    def servers(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[ServerTime]:
        """Queries by server instance: how many, how many failed, how long they took there."""
        kept = self.lookups(where)
        hops = kept.select(kept.start_ns, kept.client, of=kept.hops.unnest())
        hops = hops.select(
            hops.start_ns, hops.client,
            **{name: hops.of[name] for name in ("server", "rcode", "duration_ns")},
        )  # fmt: skip
        if where.server:
            hops = hops.filter(hops.server == where.server)
        answer = (
            hops.group_by("server")
            .aggregate(
                queries=hops.count(),
                failed=hops.rcode.isin(_FAILURES).sum(),
                clients=hops.client.nunique(),
                first_at=hops.start_ns.min(),
                last_at=hops.start_ns.max(),
                max_ns=hops.duration_ns.max(),
                **_quantiles(hops.duration_ns),
            )
            .order_by(ibis.desc("queries"), "server")
            .limit(_bounded(limit))
        )
        return [ServerTime(**row) for row in self.answer(answer, where)]

    def upstreams(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[UpstreamTime]:
        """Exchanges by upstream and the server that asked it, the slowest at p95 first."""
        spent = self._exchanges(where)
        answer = (
            spent.group_by("upstream", "server")
            .aggregate(
                exchanges=spent.count(),
                failed=spent.rcode.isin(_FAILURES).sum(),
                max_ns=spent.duration_ns.max(),
                **_quantiles(spent.duration_ns),
            )
            .order_by(ibis.desc("p95_ns"), "upstream", "server")
            .limit(_bounded(limit))
        )
        return [UpstreamTime(**row) for row in self.answer(answer, where)]

    # -- lookups ------------------------------------------------------------------------------

    def slowest(
        self, where: Where = EVERYTHING, *, limit: int = 50, offset: int = 0
    ) -> list[Brief]:
        """List lookups, the slowest first; inferred ones have no duration and are left out."""
        kept = self.lookups(where).filter(lambda table: ~table.inferred)
        order = (ibis.desc("duration_ns"), ibis.desc("start_ns"), "span_id")
        return self._list(kept.order_by(*order), where, limit, offset)

    def latest(self, where: Where = EVERYTHING, *, limit: int = 50, offset: int = 0) -> list[Brief]:
        """List lookups, the latest first."""
        kept = self.lookups(where)
        return self._list(kept.order_by(ibis.desc("start_ns"), "span_id"), where, limit, offset)

    def lookup(
        self, trace_id: str, span_id: str = "", where: Where = EVERYTHING, *, limit: int = 100
    ) -> list[Kept]:
        """Give the lookups of one trace with everything that was kept, in order of start.

        Args:
            trace_id: 32 hex digits, or how they begin.
            span_id: 16 hex digits, for one lookup of the trace; empty: all.
            where: for a period, which makes it fast, and for what a reader may see.
            limit: of the answer.
        """
        kept = self.lookups(where)
        trace_id = trace_id.lower()
        whole = len(trace_id) == 32
        kept = kept.filter(
            kept.trace_id == trace_id if whole else kept.trace_id.startswith(trace_id)
        )
        if span_id:
            kept = kept.filter(kept.span_id == span_id.lower())
        return [
            Kept.of(row)
            for row in self.answer(kept.order_by("start_ns").limit(_bounded(limit)), where)
        ]

    def neighbours(
        self, start_ns: int, duration_ns: int, where: Where = EVERYTHING, *,
        margin_ns: int = _SECOND, limit: int = 50,
    ) -> list[Brief]:  # fmt: skip
        """List the lookups that ran at the same time as one, or within a margin, by start."""
        kept = self.lookups(where)
        first, last = start_ns - margin_ns, start_ns + duration_ns + margin_ns
        near = kept.filter(
            kept.start_ns <= last,
            kept.start_ns + kept.duration_ns >= first,
            kept.start_ns >= first - 60 * _SECOND,  # lets the engine leave files and row groups out
        )
        nearest = near.mutate(away=(near.start_ns - start_ns).abs())
        return sorted(
            self._list(nearest.order_by("away", "span_id"), where, limit, 0),
            key=lambda brief: brief.start_ns,
        )

    # -- who ----------------------------------------------------------------------------------

    def waste(self, where: Where = EVERYTHING, *, limit: int = 50) -> list[Waste]:
        """Tell what the search list costs, by Pod, the most wasteful first."""
        kept = self.lookups(where).filter(lambda table: ~table.inferred)
        wasteful = kept.waste_queries > 0
        dots = kept.name.length() - kept.name.replace(".", "").length()
        hit = (
            (kept.outcome == semconv.OUTCOME_OK)
            & (dots > 0)
            & ~kept.name.endswith(".")
            & ~kept.answered.isin(("", kept.name.lower() + "."))
        )
        kept = kept.mutate(
            dots=dots.cast("int64"), hit=hit, wasted_name=wasteful.ifelse(kept.name, ibis.null(str))
        )
        answer = (
            kept.group_by("namespace", "pod", "node", "resolver", "ndots")
            .aggregate(
                lookups=kept.count(),
                wasteful=(kept.waste_queries > 0).sum(),
                queries=kept.queries.sum(),
                waste_queries=kept.waste_queries.sum(),
                waste_ns=kept.waste_ns.sum(),
                max_dots=kept.dots.max(where=kept.waste_queries > 0),
                min_dots=kept.dots.min(where=kept.waste_queries > 0),
                search_hits=kept.hit.sum(),
                min_hit_dots=kept.dots.min(where=kept.hit),
                names=kept.wasted_name.collect(distinct=True),
            )
            .filter(lambda table: table.waste_queries > 0)
            .order_by(ibis.desc("waste_queries"), "namespace", "pod")
            .limit(_bounded(limit))
        )
        return [
            Waste(**{**row, "names": tuple(sorted(row["names"])[:10])})
            for row in self.answer(answer, where)
        ]

    def askers(
        self, names: Sequence[str], where: Where = EVERYTHING, *, limit: int = 1000
    ) -> list[Asker]:
        """Tell who asked for any of these names, a trailing dot and letter case aside.

        Args:
            names: as applications ask for them, or as candidates; ``*.`` in front takes in all
                names below.
            where: of which lookups.
            limit: of the answer.
        """
        kept = self.lookups(where)
        wanted = [name.lower().rstrip(".") for name in names]
        below = [name.removeprefix("*") for name in wanted if name.startswith("*.")]
        asked = kept.mutate(asked=kept.name.lower().re_replace("[.]$", ""))
        matches: ir.BooleanValue = asked.asked.isin([name for name in wanted if name[:2] != "*."])
        matches |= _any_of(asked.candidates, [f"{name}." for name in wanted])
        for suffix in below:
            matches |= asked.asked.endswith(suffix)
        asked = asked.filter(matches)
        answer = (
            asked.group_by("asked", "cluster", "namespace", "pod", "node", "client")
            .aggregate(
                lookups=asked.count(),
                failed=failed_of(asked).sum(),
                first_at=asked.start_ns.min(),
                last_at=asked.start_ns.max(),
            )
            .rename(name="asked")
            .order_by(ibis.desc("lookups"), "name", "cluster", "namespace", "pod", "client")
            .limit(_bounded(limit))
        )
        return [Asker(**row) for row in self.answer(answer, where)]

    # -- shared -------------------------------------------------------------------------------

    def _plugin_times(self, where: Where) -> ir.Table:
        kept = self.lookups(where)
        spent = kept.select(kept.start_ns, of=kept.plugins.unnest())
        spent = spent.select(
            spent.start_ns,
            **{name: spent.of[name] for name in ("plugin", "server", "own_ns", "queries")},
        )
        if where.plugin:
            spent = spent.filter(spent.plugin == where.plugin)
        if where.server:
            spent = spent.filter(spent.server == where.server)
        return spent.mutate(by_query=spent.own_ns / spent.queries)

    def _exchanges(self, where: Where) -> ir.Table:
        kept = self.lookups(where)
        spent = kept.select(kept.start_ns, of=kept.exchanges.unnest())
        spent = spent.select(
            spent.start_ns,
            **{name: spent.of[name] for name in ("upstream", "server", "duration_ns", "rcode")},
        )
        if where.upstream:
            spent = spent.filter(spent.upstream == where.upstream)
        if where.server:
            spent = spent.filter(spent.server == where.server)
        return spent

    def _heat(self, spent: ir.Table, where: Where) -> list[Cell]:
        classes = ibis.cases(
            *((spent.spent >= bound, bound) for bound in reversed(HEAT_BOUNDS)), else_=0
        )
        answer = (
            spent.group_by(spent.at, from_ns=classes.cast("int64"))
            .aggregate(count=spent.count())
            .order_by("at", "from_ns")
            .limit(MAX_ROWS)
        )
        return [Cell(**row) for row in self.answer(answer, where)]

    def _list(self, lookups: ir.Table, where: Where, limit: int, offset: int) -> list[Brief]:
        chosen = lookups.limit(_bounded(limit), offset=max(offset, 0)).select(*_BRIEF)
        return [Brief(**row) for row in self.answer(chosen, where)]


_COUNTS_OF_TOTALS: Final = (
    "lookups", "inferred", "failed", "not_found", "joined", "sure", "exact", "queries",
    "waste_queries", "waste_ns", "retries", "pods",
)  # fmt: skip
_COUNTS_OF_POINT: Final = ("at", "lookups", "failed", "not_found", "queries", "waste_queries")
_COUNTS_OF_GROUP: Final = tuple(name for name in Group.__dataclass_fields__ if name != "latency")
ORDERS: Final = (*_COUNTS_OF_GROUP[1:], *_QUANTILES, "max_ns")
"""What groups can be ordered by."""


def plain(answer: pa.Table) -> list[dict[str, Any]]:
    """Give an answer as dicts; whole sums as int, which engines give as decimals too."""
    return [
        {name: int(value) if isinstance(value, Decimal) else value for name, value in row.items()}
        for row in answer.to_pylist()
    ]


def _bounded(limit: int) -> int:
    return max(0, min(limit, MAX_ROWS))


def _step(start_ns: ir.IntegerColumn, step_ns: int) -> ir.IntegerColumn:
    # Not by division: a float has no room for nanoseconds since the epoch.
    return start_ns - start_ns % step_ns


def _whole(nanoseconds: ir.NumericScalar) -> ir.IntegerScalar:
    return nanoseconds.round().cast("int64")


def _quantiles(of: ir.NumericColumn, where: ir.BooleanValue | None = None) -> dict[str, Any]:
    return {name: _whole(of.quantile(at, where=where)) for name, at in _QUANTILES.items()}


def _latency(lookups: ir.Table) -> dict[str, Any]:
    client = ~lookups.inferred
    return {
        **_quantiles(lookups.duration_ns, client),
        "max_ns": lookups.duration_ns.max(where=client),
    }


def _latency_of(row: dict[str, Any]) -> Latency:
    return Latency(**{name: row[name] for name in (*_QUANTILES, "max_ns")})


def _segments(lookups: ir.Table) -> dict[str, Any]:
    client = ~lookups.inferred
    return {column: lookups[column].sum(where=client) for column in SEGMENT_COLUMNS.values()}


def _segments_of(row: dict[str, Any]) -> dict[str, int]:
    return {segment: row[column] or 0 for segment, column in SEGMENT_COLUMNS.items()}


def _any_of(texts: ir.ArrayValue, wanted: Iterable[str]) -> ir.BooleanValue:
    found: ir.BooleanValue = ibis.literal(value=False)
    for text in wanted:
        found |= texts.contains(text)
    return found


__all__ = ["EVERYTHING", "HEAT_BOUNDS", "MAX_ROWS", "ORDERS", "Questions", "plain"]
