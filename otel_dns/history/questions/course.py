"""How it goes: a period summed up, and step by step."""

from typing import Final

import ibis
import ibis.expr.types as ir

from otel_dns import semconv
from otel_dns.history.answers import Extent, Point, Strain, Totals
from otel_dns.history.questions.asking import (
    EVERYTHING,
    MAX_ROWS,
    Asking,
    is_joined,
    latency,
    read_latency,
    read_segments,
    segments,
    step_of,
)
from otel_dns.history.where import Where, failed_of

_EXACT: Final = tuple(
    method for method in semconv.METHODS if method not in {semconv.METHOD_TIME, semconv.METHOD_NONE}
)
_CERTAINTIES: Final = (
    semconv.CERTAINTY_SURE, semconv.CERTAINTY_GROUP, semconv.CERTAINTY_UNSURE,
)  # fmt: skip
REPEATED_NS: Final = 900_000_000
"""A lookup of so long with a repeated query waited for a timeout, whatever its breakdown says:
where the server itself waits for its upstream meanwhile, the time is there."""


class Course(Asking):
    """Questions about periods."""

    def extent(self, where: Where = EVERYTHING) -> Extent:
        """Tell when the first and the last lookup began, and how many there are."""
        (row,) = self.ask(_extent, where)
        return Extent(**row)

    def totals(self, where: Where = EVERYTHING) -> Totals:
        """Sum up a period."""
        (row,) = self.ask(_totals, where)
        return Totals(
            first_at=row.pop("first_at"),
            last_at=row.pop("last_at"),
            latency=read_latency(row),
            segments=read_segments(row),
            **{name: count or 0 for name, count in row.items()},
        )

    def over_time(self, step_ns: int, where: Where = EVERYTHING) -> list[Point]:
        """Give rate, failures, quantiles and segments step by step; empty steps are left out.

        Args:
            step_ns: how long a step is; steps begin at multiples of it since the epoch.
            where: of which lookups.
        """
        return [
            Point(
                latency=read_latency(row),
                segments=read_segments(row),
                certainties={name: row.pop(f"is_{name}") for name in _CERTAINTIES},
                **row,
            )
            for row in self.ask(_over_time, where, step_ns)
        ]

    def strains(self, step_ns: int, since_ns: int, where: Where = EVERYTHING) -> list[Strain]:
        """Tell what went wrong step by step, in a period and in the time before it.

        Args:
            step_ns: how long a step is.
            since_ns: when the period begins; a step that it cuts in two is given as two.
            where: both together.
        """
        return [Strain(**row) for row in self.ask(_strains, where, step_ns, begins_ns=since_ns)]


def _extent(kept: ir.Table) -> ir.Table:
    return kept.aggregate(
        lookups=kept.count(), first_at=kept.start_ns.min(), last_at=kept.start_ns.max()
    )


def _totals(kept: ir.Table) -> ir.Table:
    client = ~kept.inferred
    joined = is_joined(kept) & client
    exact = kept.method.isin(_EXACT) & client
    return kept.aggregate(
        lookups=kept.count(),
        inferred=kept.inferred.sum(),
        failed=failed_of(kept).sum(),
        not_found=(kept.outcome == semconv.OUTCOME_NOT_FOUND).sum(),
        joined=joined.sum(),
        sure=((kept.certainty == semconv.CERTAINTY_SURE) & client).sum(),
        exact=exact.sum(),
        exact_queries=kept.queries.sum(where=exact),
        client_queries=kept.queries.sum(where=client),
        queries=kept.queries.sum(),
        waste_queries=kept.waste_queries.sum(),
        waste_ns=kept.waste_ns.sum(),
        retries=kept.retries.sum(),
        pods=kept.pod.nunique(where=kept.pod != ""),
        clients=kept.client.nunique(),
        clients_told=kept.client.nunique(where=client),
        clients_waited=kept.client.nunique(where=waited_of(kept)),
        joined_ns=kept.duration_ns.sum(where=joined),
        unexplained_ns=kept.unattributed_ns.sum(where=joined),
        first_at=kept.start_ns.min(),
        last_at=kept.start_ns.max(),
        **latency(kept),
        **segments(kept, client),
    )


def _over_time(kept: ir.Table, step_ns: int) -> ir.Table:
    joined = is_joined(kept)
    return (
        kept.group_by(at=step_of(kept.start_ns, step_ns))
        .aggregate(
            lookups=kept.count(),
            failed=failed_of(kept).sum(),
            joined=joined.sum(),
            **{
                f"is_{name}": ((kept.certainty == name) & joined).sum() for name in _CERTAINTIES
            },
            **latency(kept),
            **segments(kept, joined),
        )
        .order_by("at")
        .limit(MAX_ROWS)
    )  # fmt: skip


def _strains(kept: ir.Table, step_ns: int, begins_ns: int) -> ir.Table:
    waited = waited_of(kept)
    return (
        kept.group_by(is_before=kept.start_ns < begins_ns, at=step_of(kept.start_ns, step_ns))
        .aggregate(
            lookups=kept.count(),
            failed=failed_of(kept).sum(),
            total_ns=kept.duration_ns.sum(),
            waited=waited.sum(),
            waiting_ns=kept.waiting_ns.sum(),
            timeouts=(kept.outcome == semconv.OUTCOME_TIMEOUT).sum(),
            server_failures=(kept.outcome == semconv.OUTCOME_SERVER_FAILURE).sum(),
            waste_ns=kept.waste_ns.sum(),
        )
        .order_by("at", ibis.desc("is_before"))
        .limit(MAX_ROWS)
    )


def waited_of(lookups: ir.Table) -> ir.BooleanValue:
    """Tell the lookups that waited for a timeout."""
    repeated = (lookups.retries > 0) & (lookups.duration_ns >= REPEATED_NS)
    return (lookups.waiting_ns > 0) | (lookups.outcome == semconv.OUTCOME_TIMEOUT) | repeated
