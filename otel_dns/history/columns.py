"""Columns that lookups are filtered, grouped and ordered by; without any engine."""

from typing import Final

DIMENSIONS: Final = (
    "cluster", "namespace", "service", "pod", "node", "container", "client", "name", "type", "api",
    "resolver", "nameserver", "outcome", "error_type", "bottleneck", "latency_class", "method",
    "certainty", "unseen",
)  # fmt: skip
"""What lookups are told apart and grouped by."""

QUANTILES: Final = ("p50_ns", "p95_ns", "p99_ns")
"""Of durations."""

ORDERS: Final = (
    "lookups", "failed", "queries", "waste_queries", "waste_ns", "retries", "total_ns", "first_at",
    "last_at", *QUANTILES, "max_ns",
)  # fmt: skip
"""What groups can be ordered by."""
