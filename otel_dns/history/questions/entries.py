"""Entries: what figures are sums of, one for each lookup, query or exchange.

:mod:`otel_dns.history.cells` keeps the same added up beside each file. Whoever sums entries may be
given those cells instead, and need not know.
"""

from collections.abc import Iterable
from typing import Any, Final

import ibis
import ibis.expr.types as ir

from otel_dns import semconv
from otel_dns.history.cells import BINS_PER_DECADE, ENDS, KEYS, LOOKUP_SUMS, SUMS
from otel_dns.history.columns import QUANTILES
from otel_dns.history.kinds import (
    CLIENT_KINDS,
    EXACT_METHODS,
    FAILURES,
    OUTSIDE_COLUMNS,
    REPEATED_NS,
)
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.history.where import failed_of, is_joined

LOOKUP: Final = "lookup"
ASKER, CLIENT = CLIENT_KINDS
_PERCENTS: Final = (50, 95, 99)
_KEPT_OF_LOOKUPS: Final = (
    "queries", "waste_queries", "waste_ns", "retries", *SEGMENT_COLUMNS.values(),
)  # fmt: skip


def entries(kept: ir.Table, kind: str) -> ir.Table:
    """Give the entries of one kind: columns as cells have them, one row each.

    Args:
        kept: lookups.
        kind: one of :data:`otel_dns.history.kinds.KINDS`, :data:`LOOKUP`, :data:`ASKER` or
            :data:`CLIENT`.
    """
    return _ENTRIES[kind](kept)


def _bin_of(ns: ir.IntegerColumn) -> ir.IntegerColumn:
    """Give the class of a duration."""
    return (ibis.greatest(ns, 1).cast("float64").log10() * BINS_PER_DECADE).floor().cast("int32")


def waited_of(lookups: ir.Table) -> ir.BooleanValue:
    """Tell the lookups that waited for a timeout."""
    repeated = (lookups.retries > 0) & (lookups.duration_ns >= REPEATED_NS)
    return (lookups.waiting_ns > 0) | (lookups.outcome == semconv.OUTCOME_TIMEOUT) | repeated


def _unnested(kept: ir.Table, column: str, *wanted: str) -> ir.Table:
    """Give the structs of a list as rows, with when and whose lookup."""
    # Not Table.unnest: a join of the list with its own elements, which DuckDB may really do.
    item = kept.select("start_ns", "client", item=kept[column].unnest())
    return item.select("start_ns", "client", **{field: item.item[field] for field in wanted})


# -- percentiles ----------------------------------------------------------------------------------


def summed(
    cells: ir.Table, *keys: str, weight: ir.IntegerValue | None = None, **sums: ir.Value
) -> ir.Table:
    """Sum up cells by keys, with their percentiles for :func:`read_bins`.

    Args:
        cells: entries or cells.
        keys: columns.
        weight: how many of a cell count for the percentiles; None: all.
        sums: sums, minima or maxima of cells by name; those called ``..._at`` or ``max_ns`` are
            extremes, see :data:`otel_dns.history.cells.ENDS`.
    """
    weight = cells.number if weight is None else weight
    by_bin = cells.group_by(*keys, "bin").aggregate(weight=weight.sum(), **sums)
    cumulative = ibis.window(
        group_by=list(keys) or None, order_by="bin", preceding=None, following=0
    )
    ranked = by_bin.mutate(
        rank=by_bin.weight.sum().over(cumulative),
        whole=by_bin.weight.sum().over(ibis.window(group_by=list(keys) or None)),
    )
    counts = ranked.weight > 0
    again = {
        name: getattr(ranked[name], ENDS.get(name, "sum"))() for name in sums
    } | {
        name: ranked.bin.min(where=counts & (ranked.rank * 100 >= ranked.whole * percent))
        for name, percent in zip(QUANTILES, _PERCENTS, strict=True)
    }  # fmt: skip
    return ranked.group_by(*keys).aggregate(**again) if keys else ranked.aggregate(**again)


def read_bins(row: dict[str, Any]) -> dict[str, Any]:
    """Put durations for the classes that :func:`summed` gave: the middle of each."""
    for name in QUANTILES:
        if row[name] is not None:
            row[name] = round(10 ** ((row[name] + 0.5) / BINS_PER_DECADE))
    return row


# -- of each kind ---------------------------------------------------------------------------------


def _lookups(kept: ir.Table) -> ir.Table:
    joined = is_joined(kept)
    exact = kept.method.isin(EXACT_METHODS) & ~kept.inferred
    return _filled(
        kept,
        LOOKUP,
        inferred=kept.inferred,
        joined=joined,
        ns=kept.duration_ns,
        total_ns=kept.duration_ns,
        max_ns=kept.duration_ns,
        first_at=kept.start_ns,
        last_at=kept.start_ns,
        failed=failed_of(kept),
        not_found=kept.outcome == semconv.OUTCOME_NOT_FOUND,
        timeouts=kept.outcome == semconv.OUTCOME_TIMEOUT,
        server_failures=kept.outcome == semconv.OUTCOME_SERVER_FAILURE,
        waited=waited_of(kept),
        sure=(kept.certainty == semconv.CERTAINTY_SURE) & joined,
        grouped=(kept.certainty == semconv.CERTAINTY_GROUP) & joined,
        unsure=(kept.certainty == semconv.CERTAINTY_UNSURE) & joined,
        exact=exact,
        exact_queries=exact.ifelse(kept.queries, 0),
        **{name: kept[name].fill_null(0) for name in _KEPT_OF_LOOKUPS},
    )


def _askers(kept: ir.Table) -> ir.Table:
    return _filled(
        kept, ASKER, name=kept.pod, client=kept.client, inferred=kept.inferred,
        waited=waited_of(kept),
    )  # fmt: skip


def _clients(kept: ir.Table) -> ir.Table:
    hops = _unnested(kept, "hops", "server")
    return _filled(hops, CLIENT, name=hops.server, client=hops.client)


def _queries(kept: ir.Table) -> ir.Table:
    spent = _unnested(kept, "hops", "server", "duration_ns", "rcode", "source")
    ends = {"first_at": spent.start_ns, "last_at": spent.start_ns}
    return _at_server(spent, "server", spent.duration_ns, **ends)


def _own(kept: ir.Table) -> ir.Table:
    spent = _unnested(kept, "hops", "server", "duration_ns", "upstream_ns", "rcode", "source")
    return _at_server(spent, "own", ibis.greatest(spent.duration_ns - spent.upstream_ns, 0))


def _at_server(spent: ir.Table, kind: str, ns: ir.IntegerColumn, **ends: ir.Value) -> ir.Table:
    return _subject(
        spent, kind, ns, name=spent.server, failed=spent.rcode.isin(FAILURES),
        traced=spent.source == semconv.SOURCE_TRACE, **ends,
    )  # fmt: skip


def _outside(kept: ir.Table) -> ir.Table:
    kept = kept.filter(kept.hops.length() > 0, ~kept.inferred)
    columns = [kept[column].fill_null(0) for column in OUTSIDE_COLUMNS]
    ns = _by_query(sum(columns[1:], columns[0]), kept)
    return _subject(kept, "outside", ns, name=kept.hops[0].server)


def _plugins(kept: ir.Table) -> ir.Table:
    spent = _unnested(kept, "plugins", "plugin", "server", "own_ns", "queries")
    spent = spent.filter(spent.plugin != semconv.CONNECT_SPAN)
    return _subject(
        spent, "plugin", _by_query(spent.own_ns, spent), name=spent.plugin, server=spent.server,
        number=spent.queries, total_ns=spent.own_ns,
    )  # fmt: skip


def _exchanges(kept: ir.Table) -> ir.Table:
    spent = _unnested(kept, "exchanges", "upstream", "server", "duration_ns", "rcode")
    return _subject(
        spent, "upstream", spent.duration_ns, name=spent.upstream, server=spent.server,
        failed=spent.rcode.isin(FAILURES),
    )  # fmt: skip


_ENTRIES: Final = {
    LOOKUP: _lookups, ASKER: _askers, CLIENT: _clients, "server": _queries, "own": _own,
    "outside": _outside, "plugin": _plugins, "upstream": _exchanges,
}  # fmt: skip


def _by_query(spent_ns: ir.IntegerColumn, of: ir.Table) -> ir.IntegerColumn:
    """Give time for each of so many queries."""
    return spent_ns // ibis.greatest(of.queries, 1)


def _subject(of: ir.Table, kind: str, ns: ir.IntegerColumn, **given: Any) -> ir.Table:
    return _filled(of, kind, **{"ns": ns, "total_ns": ns, "max_ns": ns, **given})


def _filled(of: ir.Table, kind: str, **given: Any) -> ir.Table:
    """Columns as cells have them; what a kind has none of is zero, empty or false."""
    ns = given.pop("ns", None)
    values: dict[str, Any] = {
        "kind": kind, "name": "", "server": "", "client": "", "inferred": False, "joined": False,
        "bin": 0 if ns is None else _bin_of(ns), "number": 1, **given,
    }  # fmt: skip
    columns = {}
    for name, type_ in _columns():
        value = values.get(name, 0)
        is_value = isinstance(value, ir.Value)
        columns[name] = value.cast(type_) if is_value else ibis.literal(value, type_)
    return of.select("start_ns", **columns)


def _columns() -> Iterable[tuple[str, str]]:
    keys = ((name, str(type_)) for name, type_ in KEYS.items() if name != "start_ns")
    return (*keys, *((name, "int64") for name in (*SUMS, *LOOKUP_SUMS, *ENDS)))
