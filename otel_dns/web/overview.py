"""How a time went, column by column."""

from typing import Any

from otel_dns.web import labels
from otel_dns.web.answering import Answering
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.shapes import Course, Totals

FAILED_SQL = "outcome IN ({})".format(", ".join(f"'{outcome}'" for outcome in labels.FAILED))
JOINED_SQL = "method <> 'none'"
PERCENTILES_SQL = "approx_quantile({}, [0.5, 0.95, 0.99])"
LATENCY_SQL = PERCENTILES_SQL.format("duration_ns") + " FILTER (NOT inferred)"
"""An inferred lookup claims no latency of the client."""
SEGMENTS_SQL = ", ".join(f'sum("{name}_ns") AS "{name}_ns"' for name, _ in labels.SEGMENTS)

_SURENESS_SQL = ", ".join(
    f"count(*) FILTER (sureness = '{name}') AS \"is_{name}\"" for name, _ in labels.CERTAINTIES
)
_JOINED_SEGMENTS_SQL = ", ".join(
    f'sum("{name}_ns") FILTER ({JOINED_SQL}) AS "{name}_ns"' for name, _ in labels.SEGMENTS
)


def percentiles(values: list[Any] | None) -> tuple[int | None, int | None, int | None]:
    """p50, p95 and p99 of what ``PERCENTILES_SQL`` gives; None where there was nothing."""
    if not values or values[0] is None:
        return None, None, None
    p50, p95, p99 = (round(value) for value in values)
    return p50, p95, p99


def course(answering: Answering, asked: Asked) -> Course:
    """Rate, failures, percentiles, where the time went and how sure the joins are, over time."""
    step_ns = asked.window.step_s * SECOND
    certainties = [name for name, _ in labels.CERTAINTIES]
    rows = answering.rows(
        f"""
        SELECT start_ns // {step_ns} AS col, count(*) AS lookups,
            count(*) FILTER ({FAILED_SQL}) AS failed,
            count(*) FILTER ({JOINED_SQL}) AS joined,
            {LATENCY_SQL} AS q,
            {_SURENESS_SQL}, {_JOINED_SEGMENTS_SQL}
        FROM lookups GROUP BY col
        """,
        asked,
    )
    by_column = {row["col"] * asked.window.step_s: row for row in rows}
    times = asked.window.times
    columns = [by_column.get(time) for time in times]
    quantiles = [percentiles(row["q"]) if row else (None, None, None) for row in columns]
    return Course(
        times=times,
        step_s=asked.window.step_s,
        lookups=[row["lookups"] if row else 0 for row in columns],
        failed=[row["failed"] if row else 0 for row in columns],
        p50_ns=[each[0] for each in quantiles],
        p95_ns=[each[1] for each in quantiles],
        p99_ns=[each[2] for each in quantiles],
        segments={
            name: [
                round((row[f"{name}_ns"] or 0) / row["joined"]) if row and row["joined"] else None
                for row in columns
            ]
            for name, _ in labels.SEGMENTS
        },
        joins={
            name: [row[f"is_{name}"] / row["lookups"] if row else None for row in columns]
            for name in certainties
        },
    )


def totals(answering: Answering, asked: Asked) -> Totals:
    """All lookups of the time, added up."""
    (row,) = answering.rows(
        f"""
        SELECT count(*) AS lookups, count(*) FILTER ({FAILED_SQL}) AS failed,
            count(*) FILTER ({JOINED_SQL}) AS joined,
            count(*) FILTER (certainty = 'sure') AS sure,
            {LATENCY_SQL} AS q,
            coalesce(sum(queries), 0)::BIGINT AS queries,
            coalesce(sum(waste_queries), 0)::BIGINT AS waste_queries
        FROM lookups
        """,
        asked,
    )
    p50, p95, p99 = percentiles(row["q"])
    return Totals(
        lookups=row["lookups"],
        rate=row["lookups"] / max(asked.window.seconds, 1),
        failed=row["failed"],
        p50_ns=p50,
        p95_ns=p95,
        p99_ns=p99,
        joined=row["joined"],
        sure=row["sure"],
        queries=row["queries"],
        waste_queries=row["waste_queries"],
    )
