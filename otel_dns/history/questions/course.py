"""How it goes: a period summed up, and step by step."""

from typing import Final

import ibis
import ibis.expr.types as ir

from otel_dns import semconv
from otel_dns.history.answers import Extent, Point, Reach, Strain, Totals
from otel_dns.history.questions.asking import (
    EVERYTHING,
    MAX_ROWS,
    Asking,
    bin_latency,
    read_segments,
    segments,
    step_of,
)
from otel_dns.history.questions.entries import ASKER, LOOKUP, summed
from otel_dns.history.where import Where

_CERTAINTIES: Final = {
    semconv.CERTAINTY_SURE: "sure",
    semconv.CERTAINTY_GROUP: "grouped",
    semconv.CERTAINTY_UNSURE: "unsure",
}
"""The column that counts each."""


class Course(Asking):
    """Questions about periods."""

    def extent(self, where: Where = EVERYTHING) -> Extent:
        """Tell when the first and the last lookup began, and how many there are."""
        (row,) = self.ask_entries(_extent, LOOKUP, where)
        return Extent(**row)

    def totals(self, where: Where = EVERYTHING) -> Totals:
        """Sum up a period."""
        (row,) = self.ask_entries(_totals, LOOKUP, where)
        return Totals(
            first_at=row.pop("first_at"),
            last_at=row.pop("last_at"),
            latency=bin_latency(row),
            segments=read_segments(row),
            **{name: count or 0 for name, count in row.items()},
        )

    def reach(self, where: Where = EVERYTHING) -> Reach:
        """Count those who ask."""
        (row,) = self.ask_entries(_reach, ASKER, where)
        return Reach(**row)

    def over_time(self, step_ns: int, where: Where = EVERYTHING) -> list[Point]:
        """Give rate, failures, quantiles and segments step by step; empty steps are left out.

        Args:
            step_ns: how long a step is; steps begin at multiples of it since the epoch.
            where: of which lookups.
        """
        return [
            Point(
                latency=bin_latency(row),
                segments=read_segments(row),
                certainties={name: row.pop(f"is_{name}") for name in _CERTAINTIES},
                **row,
            )
            for row in self.ask_entries(_over_time, LOOKUP, where, step_ns)
        ]

    def strains(self, step_ns: int, since_ns: int, where: Where = EVERYTHING) -> list[Strain]:
        """Tell what went wrong step by step, in a period and in the time before it.

        Args:
            step_ns: how long a step is.
            since_ns: when the period begins; a step that it cuts in two is given as two.
            where: both together.
        """
        rows = self.ask_entries(_strains, LOOKUP, where, step_ns, begins_ns=since_ns)
        return [Strain(**row) for row in rows]


def _extent(cells: ir.Table) -> ir.Table:
    return cells.aggregate(
        lookups=cells.number.sum().fill_null(0),
        first_at=cells.first_at.min(),
        last_at=cells.last_at.max(),
    )


def _totals(cells: ir.Table) -> ir.Table:
    client, joined = ~cells.inferred, cells.joined & ~cells.inferred
    return summed(
        cells,
        weight=client.ifelse(cells.number, 0),
        lookups=cells.number.sum(),
        inferred=cells.number.sum(where=cells.inferred),
        failed=cells.failed.sum(),
        not_found=cells.not_found.sum(),
        joined=cells.number.sum(where=joined),
        sure=cells.sure.sum(where=client),
        exact=cells.exact.sum(),
        exact_queries=cells.exact_queries.sum(),
        client_queries=cells.queries.sum(where=client),
        queries=cells.queries.sum(),
        waste_queries=cells.waste_queries.sum(),
        waste_ns=cells.waste_ns.sum(),
        retries=cells.retries.sum(),
        joined_ns=cells.total_ns.sum(where=joined),
        unexplained_ns=cells.unattributed_ns.sum(where=joined),
        first_at=cells.first_at.min(),
        last_at=cells.last_at.max(),
        max_ns=cells.max_ns.max(where=client),
        **segments(cells, client),
    )


def _reach(cells: ir.Table) -> ir.Table:
    return cells.aggregate(
        pods=cells.name.nunique(where=cells.name != ""),
        clients=cells.client.nunique(),
        clients_told=cells.client.nunique(where=~cells.inferred),
        clients_waited=cells.client.nunique(where=cells.waited > 0),
    )


def _over_time(cells: ir.Table, *, step_ns: int) -> ir.Table:
    client = ~cells.inferred
    cells = cells.mutate(at=step_of(cells.start_ns, step_ns))
    answer = summed(
        cells,
        "at",
        weight=client.ifelse(cells.number, 0),
        lookups=cells.number.sum(),
        failed=cells.failed.sum(),
        joined=cells.number.sum(where=cells.joined),
        **{f"is_{name}": cells[column].sum() for name, column in _CERTAINTIES.items()},
        max_ns=cells.max_ns.max(where=client),
        **segments(cells, cells.joined),
    )
    return answer.order_by("at").limit(MAX_ROWS)


def _strains(cells: ir.Table, *, step_ns: int, begins_ns: int) -> ir.Table:
    return (
        cells.group_by(is_before=cells.start_ns < begins_ns, at=step_of(cells.start_ns, step_ns))
        .aggregate(
            lookups=cells.number.sum(),
            waiting_ns=cells.waiting_ns.sum(),
            **{
                name: cells[name].sum()
                for name in (
                    "failed", "total_ns", "waited", "timeouts", "server_failures", "waste_ns"
                )
            },
        )
        .order_by("at", ibis.desc("is_before"))
        .limit(MAX_ROWS)
    )  # fmt: skip
