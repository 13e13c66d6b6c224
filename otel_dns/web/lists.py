"""Lists of lookups, and by what they can be narrowed down."""

from typing import Any, Final, Literal

from otel_dns.web import labels
from otel_dns.web.answering import Answering
from otel_dns.web.asked import Asked
from otel_dns.web.shapes import Facet, Facets, FacetValue, LookupRow, Lookups

Order = Literal["slowest", "newest", "oldest"]

_ORDERS: Final = {
    "slowest": "duration_ns DESC, start_ns DESC",
    "newest": "start_ns DESC",
    "oldest": "start_ns",
}
ROW_SQL: Final = ", ".join(
    (
        "trace_id", "span_id", "start_ns", "duration_ns", "name", "type", "outcome", "bottleneck",
        "namespace", "pod", "node", "service", "client", "method", "certainty", "queries",
        "waste_queries", "retries", "inferred", *(f'"{name}_ns"' for name, _ in labels.SEGMENTS),
    )
)  # fmt: skip
_FACETS: Final = (
    ("outcome", "Outcome"), ("bottleneck", "Most of it"), ("namespace", "Namespace"),
    ("pod", "Pod"), ("node", "Node"), ("service", "Service"), ("name", "Name"),
    ("method", "Joined by"), ("certainty", "How sure"),
)  # fmt: skip
_FACET_VALUES: Final = 6
_SEGMENT_COLUMNS: Final = frozenset(f"{name}_ns" for name, _ in labels.SEGMENTS)


def row_fields(row: dict[str, Any]) -> dict[str, Any]:
    """The fields of a :class:`LookupRow` from a row of ``ROW_SQL``."""
    fields = {key: value for key, value in row.items() if key not in _SEGMENT_COLUMNS}
    fields["start_us"] = fields.pop("start_ns") // 1000
    fields["segments"] = {name: row[f"{name}_ns"] or 0 for name, _ in labels.SEGMENTS}
    return fields


def lookups(answering: Answering, asked: Asked, order: Order, limit: int, offset: int) -> Lookups:
    """One page of the lookups that were asked for."""
    rows = answering.rows(
        f"SELECT {ROW_SQL} FROM lookups ORDER BY {_ORDERS[order]} LIMIT ? OFFSET ?",
        asked,
        [limit, offset],
    )
    total = offset + len(rows)
    if len(rows) == limit or (offset and not rows):
        (counted,) = answering.rows("SELECT count(*) AS n FROM lookups", asked)
        total = counted["n"]
    return Lookups(
        total=total, offset=offset, lookups=[LookupRow(**row_fields(row)) for row in rows]
    )


def facets(answering: Answering, asked: Asked) -> Facets:
    """The most frequent values of each filter, for the lookups that were asked for."""
    chosen = dict(asked.filters)
    rows = answering.rows(
        " UNION ALL ".join(
            f"(SELECT '{name}' AS facet, \"{name}\" AS value, count(*) AS n FROM lookups"
            f" WHERE \"{name}\" <> '' GROUP BY value ORDER BY n DESC, value LIMIT {_FACET_VALUES})"
            for name, _ in _FACETS
        ),
        asked,
    )
    return Facets(
        facets=[
            Facet(
                name=name,
                label=label,
                values=[
                    FacetValue(
                        value=row["value"],
                        label=labels.of(row["value"])
                        if name in {"outcome", "bottleneck"}
                        else row["value"],
                        count=row["n"],
                        chosen=chosen.get(name) == row["value"],
                    )
                    for row in sorted(
                        (row for row in rows if row["facet"] == name), key=lambda row: -row["n"]
                    )
                ],
            )
            for name, label in _FACETS
        ]
    )
