"""Pods, nodes and namespaces: who suffers, who is noisy."""

from typing import Final, Literal

from otel_dns.history.answers import PodFigures
from otel_dns.history.history import History
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.shapes import PodRow, Pods, Sufferer

By = Literal["pod", "node", "namespace"]
PodOrder = Literal["suffering", "noisy", "waste"]

_ORDERS: Final = {"suffering": "suffering", "noisy": "queries", "waste": "waste_queries"}
_SUFFERERS: Final = 6


def pods(history: History, asked: Asked, by: By, order: PodOrder) -> Pods:
    """Figures by Pod, node or namespace, the most remarkable first."""
    figures = history.pods(asked.where, by=by, order=_ORDERS[order])
    return Pods(rows=[_row(one, asked) for one in figures])


def _row(one: PodFigures, asked: Asked) -> PodRow:
    segments = dict(one.segments)
    return PodRow(
        namespace=one.namespace,
        pod=one.pod,
        node=one.node,
        lookups=one.lookups,
        failed=one.failed,
        p50_ns=one.latency.p50_ns,
        p95_ns=one.latency.p95_ns,
        p99_ns=one.latency.p99_ns,
        segments=segments,
        bottleneck=max(segments, key=lambda name: segments[name]) if any(segments.values()) else "",
        queries=one.queries,
        waste_queries=one.waste_queries,
        query_rate=one.queries / max(asked.window.seconds, 1),
    )


def sufferers(history: History, asked: Asked) -> list[Sufferer]:
    """Pods whose lookups failed or made somebody wait, and since when."""
    step_ns = asked.window.step_s * SECOND
    return [
        Sufferer(
            namespace=one.namespace,
            pod=one.pod,
            node=one.node,
            lookups=one.lookups,
            failed=one.failed,
            p95_ns=one.latency.p95_ns,
            bottleneck=one.suffers_of or "",
            since_us=None
            if one.suffers_since is None
            else one.suffers_since // step_ns * step_ns // 1000,
        )
        for one in history.pods(asked.where, limit=_SUFFERERS)
        if one.suffered
    ]
