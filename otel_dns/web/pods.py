"""Pods, nodes and namespaces: who suffers, who is noisy."""

from typing import Any, Final, Literal

from otel_dns.web import labels
from otel_dns.web.answering import Answering
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.overview import FAILED_SQL, LATENCY_SQL, SEGMENTS_SQL, percentiles
from otel_dns.web.shapes import PodRow, Pods, Sufferer

By = Literal["pod", "node", "namespace"]
PodOrder = Literal["suffering", "noisy", "waste"]

_KEYS: Final = {"pod": "namespace, pod, node", "node": "node", "namespace": "namespace"}
_ORDERS: Final = {
    # What failed weighs as much as two seconds, about what its user waits in vain.
    "suffering": "sum(duration_ns) FILTER (duration_ns > 100000000) + 2e9 * failed DESC NULLS LAST,"
    " q[2] DESC",
    "noisy": "queries DESC",
    "waste": "waste_queries DESC",
}
_ROWS: Final = 200


def pods(answering: Answering, asked: Asked, by: By, order: PodOrder) -> Pods:
    """Figures by Pod, node or namespace, the most remarkable first."""
    rows = answering.rows(
        f"""
        SELECT {_KEYS[by]}, count(*) AS lookups, count(*) FILTER ({FAILED_SQL}) AS failed,
            {LATENCY_SQL} AS q, {SEGMENTS_SQL},
            mode(bottleneck) AS bottleneck,
            coalesce(sum(queries), 0)::BIGINT AS queries,
            coalesce(sum(waste_queries), 0)::BIGINT AS waste_queries
        FROM lookups GROUP BY {_KEYS[by]} ORDER BY {_ORDERS[order]} LIMIT {_ROWS}
        """,
        asked,
    )
    return Pods(rows=[_row(row, asked) for row in rows])


def _row(row: dict[str, Any], asked: Asked) -> PodRow:
    p50, p95, p99 = percentiles(row["q"])
    segments = {name: int(row[f"{name}_ns"] or 0) for name, _ in labels.SEGMENTS}
    return PodRow(
        namespace=row.get("namespace", ""),
        pod=row.get("pod", ""),
        node=row.get("node", ""),
        lookups=row["lookups"],
        failed=row["failed"],
        p50_ns=p50,
        p95_ns=p95,
        p99_ns=p99,
        segments=segments,
        bottleneck=max(segments, key=lambda name: segments[name]) if any(segments.values()) else "",
        queries=row["queries"],
        waste_queries=row["waste_queries"],
        query_rate=row["queries"] / max(asked.window.seconds, 1),
    )


SUFFERS_NS: Final = 100_000_000
"""A lookup over this makes somebody wait."""
_SUFFERERS: Final = 6


def sufferers(answering: Answering, asked: Asked) -> list[Sufferer]:
    """Pods whose lookups failed or made somebody wait, and since when."""
    suffering = f"({FAILED_SQL} OR duration_ns >= {SUFFERS_NS} AND NOT inferred)"
    rows = answering.rows(
        f"""
        SELECT namespace, pod, node, count(*) AS lookups, count(*) FILTER ({FAILED_SQL}) AS failed,
            approx_quantile(duration_ns, 0.95) AS p95, count(*) FILTER ({suffering}) AS suffered,
            min(start_ns) FILTER ({suffering}) AS since,
            mode(bottleneck) FILTER ({suffering}) AS bottleneck
        FROM lookups GROUP BY namespace, pod, node HAVING suffered >= 1
        ORDER BY sum(duration_ns) FILTER ({suffering}) + 2e9 * failed DESC, pod
        LIMIT {_SUFFERERS}
        """,
        asked,
    )
    step_ns = asked.window.step_s * SECOND
    return [
        Sufferer(
            namespace=row["namespace"],
            pod=row["pod"],
            node=row["node"],
            lookups=row["lookups"],
            failed=row["failed"],
            p95_ns=round(row["p95"]),
            bottleneck=row["bottleneck"],
            since_us=row["since"] // step_ns * step_ns // 1000,
        )
        for row in rows
    ]
