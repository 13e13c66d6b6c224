"""Lists of lookups, and by what they can be narrowed down."""

import dataclasses
from typing import Any, Final, Literal

from otel_dns.history.answers import Brief
from otel_dns.history.history import History
from otel_dns.web import labels
from otel_dns.web.asked import Asked
from otel_dns.web.shapes import Facet, Facets, FacetValue, LookupRow, Lookups

Order = Literal["slowest", "newest", "oldest"]

_ORDERS: Final = {
    "slowest": History.slowest, "newest": History.latest, "oldest": History.earliest,
}  # fmt: skip
_FACETS: Final = {
    "outcome": "Outcome", "bottleneck": "Most of it", "namespace": "Namespace", "pod": "Pod",
    "node": "Node", "service": "Service", "name": "Name", "method": "Joined by",
    "certainty": "How sure",
}  # fmt: skip


def row_fields(brief: Brief) -> dict[str, Any]:
    """The fields of a :class:`LookupRow`."""
    fields = {field.name: getattr(brief, field.name) for field in dataclasses.fields(brief)}
    del fields["error_type"]
    return {**fields, "start_us": fields.pop("start_ns") // 1000}


def lookups(history: History, asked: Asked, order: Order, limit: int, offset: int) -> Lookups:
    """One page of the lookups that were asked for."""
    rows = _ORDERS[order](history, asked.where, limit=limit, offset=offset)
    total = offset + len(rows)
    if len(rows) == limit or (offset and not rows):
        total = history.count(asked.where)
    return Lookups(
        total=total, offset=offset, lookups=[LookupRow(**row_fields(row)) for row in rows]
    )


def facets(history: History, asked: Asked) -> Facets:
    """The most frequent values of each filter, for the lookups that were asked for."""
    values = history.values(tuple(_FACETS), asked.where)
    filters = asked.filters
    chosen = {name: getattr(filters, name) for name in _FACETS} | {"name": filters.name_part}
    return Facets(
        facets=[
            Facet(
                name=name,
                label=label,
                values=[
                    FacetValue(
                        value=one.value,
                        label=labels.of(one.value)
                        if name in {"outcome", "bottleneck"}
                        else one.value,
                        count=one.lookups,
                        chosen=chosen[name] == one.value,
                    )
                    for one in values[name]
                ],
            )
            for name, label in _FACETS.items()
        ]
    )
