"""Who asks: groups of lookups, Pods that suffer, what the search list costs, a name's askers."""

from collections.abc import Iterable, Sequence
from typing import Final

import ibis
import ibis.expr.types as ir

from otel_dns import semconv
from otel_dns.history.answers import (
    Asker,
    Group,
    Habit,
    PodFigures,
    Value,
    WastedName,
    Waster,
)
from otel_dns.history.columns import DIMENSIONS, ORDERS, QUANTILES
from otel_dns.history.questions.asking import (
    EVERYTHING,
    Asking,
    bounded,
    latency,
    read_latency,
    read_segments,
    segments,
)
from otel_dns.history.where import Where, failed_of

POD_KEYS: Final = {
    "pod": ("namespace", "pod", "node"),
    "node": ("node",),
    "namespace": ("namespace",),
}
POD_ORDERS: Final = ("suffering", "queries", "waste_queries")

_SUFFERS_NS: Final = 100_000_000
"""A lookup over this makes somebody wait."""
_FAILED_WEIGHS_NS: Final = 2_000_000_000
"""What failed weighs as much as this, about what its user waits in vain."""


class Who(Asking):
    """Questions about those who ask."""

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
            order: what the largest is by: one of :data:`ORDERS`.
            limit: of the answer.

        Raises:
            ValueError: no such dimension or order.
        """
        if dimension not in DIMENSIONS:
            raise ValueError(f"no dimension {dimension!r}; there are {', '.join(DIMENSIONS)}")
        if order not in ORDERS:
            raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
        rows = self.ask(_by, where, dimension, order, bounded(limit))
        return [Group(latency=read_latency(row), **row) for row in rows]

    def values(
        self, dimensions: Sequence[str], where: Where = EVERYTHING, *, limit: int = 6
    ) -> dict[str, list[Value]]:
        """Give the most frequent values of some dimensions; empty ones are left out."""
        found: dict[str, list[Value]] = {dimension: [] for dimension in dimensions}
        for row in self.ask(_values, where, tuple(dimensions), bounded(limit)):
            found[row["dimension"]].append(Value(row["value"], row["lookups"]))
        return found

    def pods(
        self,
        where: Where = EVERYTHING,
        *,
        by: str = "pod",
        order: str = "suffering",
        limit: int = 200,
    ) -> list[PodFigures]:
        """Give figures by Pod, node or namespace, the most remarkable first.

        Args:
            where: of which lookups.
            by: one of :data:`POD_KEYS`.
            order: one of :data:`POD_ORDERS`.
            limit: of the answer.
        """
        nothing = dict.fromkeys(POD_KEYS["pod"], "")
        return [
            PodFigures(
                latency=read_latency(row), segments=read_segments(row), **{**nothing, **row}
            )
            for row in self.ask(_pods, where, by, order, bounded(limit))
        ]  # fmt: skip

    def wasters(self, where: Where = EVERYTHING, *, limit: int = 3) -> list[Waster]:
        """Name the Pods that spend most queries on the search list."""
        return [Waster(**row) for row in self.ask(_wasters, where, bounded(limit))]

    def habits(self, where: Where = EVERYTHING) -> list[Habit]:
        """Tell by workload and dots in the name what the search list cost, and what it was for."""
        return [Habit(**row) for row in self.ask(_habits, where)]

    def wasted_names(self, where: Where = EVERYTHING, *, limit: int = 5) -> list[WastedName]:
        """Name what each workload looks up in vain along its search list, the most wasted first."""
        return [WastedName(**row) for row in self.ask(_wasted_names, where, limit)]

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
        wanted = tuple(sorted({name.lower().rstrip(".") for name in names}))
        return [Asker(**row) for row in self.ask(_askers, where, wanted, bounded(limit))]


def _by(kept: ir.Table, dimension: str, order: str, limit: int) -> ir.Table:
    answer = kept.group_by(key=kept[dimension]).aggregate(
        lookups=kept.count(),
        failed=failed_of(kept).sum(),
        queries=kept.queries.sum(),
        waste_queries=kept.waste_queries.sum(),
        waste_ns=kept.waste_ns.sum(),
        retries=kept.retries.sum(),
        total_ns=kept.duration_ns.sum(),
        first_at=kept.start_ns.min(),
        last_at=kept.start_ns.max(),
        **latency(kept),
    )
    largest = answer.quantiles[QUANTILES.index(order)] if order in QUANTILES else answer[order]
    return answer.order_by(largest.desc(nulls_first=False), "key").limit(limit)


def _values(kept: ir.Table, dimensions: tuple[str, ...], limit: int) -> ir.Table:
    kept = kept.select(*dimensions)  # what is shared is kept in memory

    def most(dimension: str) -> ir.Table:
        having = kept.select(value=kept[dimension]).filter(lambda table: table.value != "")
        return (
            having.group_by("value")
            .aggregate(lookups=having.count())
            .order_by(ibis.desc("lookups"), "value")
            .limit(limit)
            .mutate(dimension=ibis.literal(dimension))
        )

    order = ("dimension", ibis.desc("lookups"), "value")
    return ibis.union(*map(most, dimensions)).order_by(*order)


def _pods(kept: ir.Table, by: str, order: str, limit: int) -> ir.Table:
    failed = failed_of(kept)
    suffered = failed | ((kept.duration_ns >= _SUFFERS_NS) & ~kept.inferred)
    answer = kept.group_by(*POD_KEYS[by]).aggregate(
        lookups=kept.count(),
        failed=failed.sum(),
        queries=kept.queries.sum(),
        waste_queries=kept.waste_queries.sum(),
        suffered=suffered.sum(),
        suffering_ns=kept.duration_ns.sum(where=suffered).fill_null(0)
        + failed.sum() * _FAILED_WEIGHS_NS,
        suffers_since=kept.start_ns.min(where=suffered),
        suffers_of=kept.bottleneck.argmax(kept.duration_ns, where=suffered),
        **latency(kept),
        **segments(kept, ~kept.inferred),
    )
    largest = "suffering_ns" if order == "suffering" else order
    slow = answer.quantiles[1].desc(nulls_first=False)
    return answer.order_by(ibis.desc(largest), slow, *POD_KEYS[by]).limit(limit)


def _wasters(kept: ir.Table, limit: int) -> ir.Table:
    kept = kept.filter(kept.waste_queries > 0)
    pods = kept.group_by("namespace", "pod").aggregate(waste_queries=kept.waste_queries.sum())
    return pods.order_by(ibis.desc("waste_queries"), "namespace", "pod").limit(limit)


def _answered(kept: ir.Table) -> ir.Table:
    """Lookups that tell whether the search list helped."""
    bare = kept.name.lower().re_replace("[.]$", "")
    kept = kept.filter(
        kept.outcome == semconv.OUTCOME_OK, kept.answered != "", kept.ndots > 1, ~kept.inferred
    )
    return kept.mutate(
        workload=kept.service.nullif("").coalesce(kept.pod),
        dots=(bare.length() - bare.replace(".", "").length()).cast("int64"),
        as_it_is=kept.answered == bare + ".",
        is_dotted=kept.name.endswith("."),
    )


def _habits(kept: ir.Table) -> ir.Table:
    kept = _answered(kept)
    return (
        kept.group_by("namespace", "workload", "ndots", "dots", "as_it_is")
        .aggregate(
            pod=kept.pod.max(),
            lookups=kept.count(),
            queries=kept.queries.sum(),
            waste_queries=kept.waste_queries.sum(),
            waste_ns=kept.waste_ns.sum(),
        )
        .order_by("namespace", "workload", "ndots", "dots", "as_it_is")
    )


def _wasted_names(kept: ir.Table, limit: int) -> ir.Table:
    kept = _answered(kept)
    kept = kept.filter(kept.as_it_is, ~kept.is_dotted, kept.waste_queries > 0)
    names = kept.group_by("namespace", "workload", "name").aggregate(
        waste_queries=kept.waste_queries.sum()
    )
    order = (ibis.desc("waste_queries"), "name")
    ranked = names.mutate(
        rank=ibis.row_number().over(group_by=("namespace", "workload"), order_by=order)
    )
    return ranked.filter(ranked.rank < limit).drop("rank").order_by(*order)


def _askers(kept: ir.Table, wanted: tuple[str, ...], limit: int) -> ir.Table:
    asked = kept.mutate(asked=kept.name.lower().re_replace("[.]$", ""))
    matches: ir.BooleanValue = asked.asked.isin([name for name in wanted if name[:2] != "*."])
    matches |= _any_of(asked.candidates, [f"{name}." for name in wanted])
    for suffix in (name.removeprefix("*") for name in wanted if name.startswith("*.")):
        matches |= asked.asked.endswith(suffix)
    asked = asked.filter(matches)
    return (
        asked.group_by("asked", "cluster", "namespace", "pod", "node", "client")
        .aggregate(
            lookups=asked.count(),
            failed=failed_of(asked).sum(),
            first_at=asked.start_ns.min(),
            last_at=asked.start_ns.max(),
        )
        .rename(name="asked")
        .order_by(ibis.desc("lookups"), "name", "cluster", "namespace", "pod", "client")
        .limit(limit)
    )


def _any_of(texts: ir.ArrayValue, wanted: Iterable[str]) -> ir.BooleanValue:
    found: ir.BooleanValue = ibis.literal(value=False)
    for text in wanted:
        found |= texts.contains(text)
    return found
