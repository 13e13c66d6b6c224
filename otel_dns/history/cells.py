"""Sums over a short time, kept beside each file, so that long times need not be read row by row.

A cell is so many lookups, queries or exchanges of one subject that began within one span of time
and took equally long: counts and sums that can be added up with any other cell's. A file of the
history has its cells in a file beside it, for three widths of time. What it holds are the entries
that :mod:`otel_dns.history.questions.entries` defines, added up; a file without it is asked for
these instead. Percentiles come from how many are in each class of durations, and are within
:data:`ERROR` of an entry's own duration.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from otel_dns import semconv
from otel_dns.history.files import HOUR_NS
from otel_dns.history.kinds import (
    CLIENT_KINDS,
    EXACT_METHODS,
    FAILURES,
    OUTSIDE_COLUMNS,
    REPEATED_NS,
)
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.history.where import Where

SECOND: Final = 1_000_000_000
WIDTHS_S: Final = (10, 300, HOUR_NS // SECOND)
"""The spans of time, finest first; each a multiple of the one before."""
BINS_PER_DECADE: Final = 48
ERROR: Final = math.pow(10, 0.5 / BINS_PER_DECADE) - 1
"""How far a percentile may be from the duration it stands for: 2.4 %."""
_SUFFIX: Final = ".cells2"
"""Counts up when a cell means something else: older ones are then no longer looked for."""

KEYS: Final = {
    "start_ns": pa.int64(),
    "kind": pa.string(),
    "name": pa.string(),
    "server": pa.string(),
    "client": pa.string(),
    "inferred": pa.bool_(),
    "joined": pa.bool_(),
    "bin": pa.int32(),
}
"""What all entries of a cell have in common; ``start_ns`` is where its span of time begins."""
SUMS: Final = ("number", "failed", "traced", "total_ns")
"""Of each kind: how many, how many of them failed, have CoreDNS's own spans, their time."""
LOOKUP_SUMS: Final = (
    "not_found", "timeouts", "server_failures", "waited", "sure", "grouped", "unsure", "exact",
    "exact_queries", "queries", "waste_queries", "waste_ns", "retries", *SEGMENT_COLUMNS.values(),
)  # fmt: skip
"""Of lookups alone."""
ENDS: Final = {"first_at": "min", "last_at": "max", "max_ns": "max"}
"""Not sums. Of subjects only servers tell when."""

SCHEMA: Final = pa.schema(
    [
        pa.field("width_s", pa.int64(), nullable=False),
        *(pa.field(name, type_, nullable=False) for name, type_ in KEYS.items()),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in (*SUMS, *LOOKUP_SUMS, *ENDS)
        ),
    ]
)  # fmt: skip


_ALL_DIFFERENT: Final = [
    name for name in SCHEMA.names if name.endswith(("_ns", "_at")) and name not in KEYS
]
"""A dictionary of them would be as large as they are."""
_NONE: Final = {pa.string(): "", pa.bool_(): False}
"""What a kind of entries has that has nothing there; of numbers 0."""
_OF_SUBJECTS: Final = {**dict.fromkeys(SUMS, "sum"), **ENDS}
_OF_LOOKUPS: Final = {**dict.fromkeys((*SUMS, *LOOKUP_SUMS), "sum"), **ENDS}
_OF_CLIENTS: Final = dict.fromkeys(("number", "waited"), "sum")
"""How columns of entries are added up."""


def cells_path(path: Path) -> Path:
    """Name the file of cells that belongs to a file of lookups."""
    return path.with_suffix(_SUFFIX)


def forget_cells(path: Path) -> None:
    """Delete what was kept beside a file of lookups, older kinds of cells as well."""
    for beside in path.parent.glob(f"{path.stem}.cells*"):
        beside.unlink(missing_ok=True)


def widths_of(kind: str, where: Where, step_ns: int | None) -> Sequence[int]:
    """Give the widths of cells, in seconds, that answer a question; none: only rows do.

    Args:
        kind: of entries.
        where: no more than a period, or cells do not tell.
        step_ns: what the question divides time by, if it does: no cell reaches across.
    """
    if where != Where(since_ns=where.since_ns, until_ns=where.until_ns):
        return ()
    widths = WIDTHS_S[-1:] if kind in CLIENT_KINDS else WIDTHS_S
    return [width for width in widths if step_ns is None or not step_ns % (width * SECOND)]


def width_within(hour_ns: int, widths: Sequence[int], *cuts_ns: int | None) -> int | None:
    """Give the widest of some cells that no moment cuts in two, in one hour; None: each is cut.

    Args:
        hour_ns: when the hour begins, since the epoch.
        widths: in seconds, finest first.
        cuts_ns: where what is asked about begins or ends.
    """
    within = [cut for cut in cuts_ns if cut is not None and hour_ns < cut < hour_ns + HOUR_NS]
    for width in reversed(widths):
        if not any(cut % (width * SECOND) for cut in within):
            return width
    return None


class Adding:
    """Adds up the lookups of one file."""

    def __init__(self) -> None:
        self._lookups: list[pa.Table] = []
        self._subjects: list[pa.Table] = []
        self._clients: list[pa.Table] = []

    def through(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Add up tables of lookups on their way to somewhere else."""
        for table in tables:
            self.add(table)
            yield table

    def add(self, table: pa.Table) -> None:
        """Add up lookups, a table with the columns of :mod:`otel_dns.history.schema`."""
        table = table.combine_chunks()
        self._lookups.append(_added(_lookups(table), WIDTHS_S[0], _OF_LOOKUPS))
        for entries in _subjects(table):
            self._subjects.append(_added(entries, WIDTHS_S[0], _OF_SUBJECTS))
        for entries in _clients(table):
            self._clients.append(_added(entries, WIDTHS_S[-1], _OF_CLIENTS))

    def write(self, path: Path) -> None:
        """Write the cells."""
        with pq.ParquetWriter(
            path, SCHEMA, compression="zstd", write_page_checksum=True,
            use_dictionary=[name for name in SCHEMA.names if name not in _ALL_DIFFERENT],
            column_encoding=dict.fromkeys(_ALL_DIFFERENT, "BYTE_STREAM_SPLIT"),
        ) as writer:  # fmt: skip
            # Row groups of their own: who asks for subjects need not read the columns of lookups.
            for of, sums, widths in (
                (self._lookups, _OF_LOOKUPS, WIDTHS_S),
                (self._subjects, _OF_SUBJECTS, WIDTHS_S),
                (self._clients, _OF_CLIENTS, WIDTHS_S[-1:]),
            ):
                cells = pa.concat_tables(of) if of else _filled(pa.array([], pa.int64()), {}, sums)
                for width_s in widths:
                    cells = _added(cells, width_s, sums)
                    table = _complete(cells, width_s)
                    writer.write_table(table, row_group_size=max(table.num_rows, 1))


def _added(entries: pa.Table, width_s: int, sums: Mapping[str, str]) -> pa.Table:
    width_ns = pa.scalar(width_s * SECOND, pa.int64())
    begin = pc.multiply(pc.divide(entries["start_ns"], width_ns), width_ns)
    entries = entries.set_column(0, "start_ns", begin)
    cells = entries.group_by(list(KEYS), use_threads=False).aggregate(list(sums.items()))
    cells = cells.rename_columns([*KEYS, *sums])
    by = ("kind", "name", "server", "client", "start_ns", "bin")
    order = [(name, "ascending") for name in by]
    return cells.sort_by(order)


def _complete(cells: pa.Table, width_s: int) -> pa.Table:
    columns = []
    for field in SCHEMA:
        if field.name in cells.column_names:
            columns.append(cells[field.name].cast(field.type))
        else:
            value = width_s if field.name == "width_s" else 0
            columns.append(pa.repeat(pa.scalar(value, field.type), cells.num_rows))
    return pa.table(columns, schema=SCHEMA)


def _subjects(table: pa.Table) -> Iterator[pa.Table]:
    hops = _Unnested(table, "hops")
    of_trace = pc.equal(hops["source"], semconv.SOURCE_TRACE)
    is_failed = pc.is_in(hops["rcode"], pa.array(FAILURES))
    own_ns = pc.max_element_wise(pc.subtract(hops["duration_ns"], hops["upstream_ns"]), 0)
    of_server = {"name": hops["server"], "failed": is_failed, "traced": of_trace}
    at = hops.of("start_ns")
    yield hops.entries("server", ns=hops["duration_ns"], first_at=at, last_at=at, **of_server)
    yield hops.entries("own", ns=own_ns, **of_server)
    yield _outside(table)
    plugins = _Unnested(table, "plugins")
    by_query_ns = pc.divide(plugins["own_ns"], pc.max_element_wise(plugins["queries"], 1))
    entries = plugins.entries(
        "plugin", name=plugins["plugin"], server=plugins["server"], ns=by_query_ns,
        number=plugins["queries"], total_ns=plugins["own_ns"],
    )  # fmt: skip
    yield entries.filter(pc.not_equal(plugins["plugin"], semconv.CONNECT_SPAN))
    exchanges = _Unnested(table, "exchanges")
    yield exchanges.entries(
        "upstream", name=exchanges["upstream"], server=exchanges["server"],
        ns=exchanges["duration_ns"], failed=pc.is_in(exchanges["rcode"], pa.array(FAILURES)),
    )  # fmt: skip


def _clients(table: pa.Table) -> Iterator[pa.Table]:
    asker = {
        "kind": "asker", "name": table["pod"], "client": table["client"],
        "inferred": table["inferred"], "waited": _waited(table),
    }  # fmt: skip
    yield _filled(table["start_ns"], asker, _OF_CLIENTS)
    hops = _Unnested(table, "hops")
    of = {"kind": "client", "name": hops["server"], "client": hops.of("client")}
    yield _filled(hops.of("start_ns"), of, _OF_CLIENTS)


class _Unnested:
    """A column of lists of structs as flat columns."""

    def __init__(self, table: pa.Table, column: str) -> None:
        lists = table[column].combine_chunks()
        self._table = table
        self._flat = pc.list_flatten(lists)
        self._parents = pc.list_parent_indices(lists)

    def __getitem__(self, field: str) -> pa.Array:
        return pc.struct_field(self._flat, field)

    def of(self, column: str) -> pa.Array:
        """What each one's lookup has there."""
        return self._table[column].take(self._parents)

    def entries(self, kind: str, **columns: Any) -> pa.Table:
        return _subject(self.of("start_ns"), kind, **columns)


def _subject(start_ns: pa.Array, kind: str, *, ns: pa.Array, **columns: Any) -> pa.Table:
    columns = {"kind": kind, "ns": ns, "total_ns": ns, "max_ns": ns, **columns}
    return _filled(start_ns, columns, _OF_SUBJECTS)


def _outside(table: pa.Table) -> pa.Table:
    told = pc.and_(pc.greater(pc.list_value_length(table["hops"]), 0), pc.invert(table["inferred"]))
    table = table.filter(told).combine_chunks()
    ns = table[OUTSIDE_COLUMNS[0]]
    for column in OUTSIDE_COLUMNS[1:]:
        ns = pc.add(ns, table[column])
    ns = pc.divide(ns, pc.max_element_wise(table["queries"], 1))
    server = pc.struct_field(pc.list_element(table["hops"], 0), "server")
    return _subject(table["start_ns"], "outside", name=server, ns=ns)


def _lookups(table: pa.Table) -> pa.Table:
    joined = pc.not_equal(table["method"], semconv.METHOD_NONE)
    exact = pc.and_(
        pc.is_in(table["method"], pa.array(EXACT_METHODS)), pc.invert(table["inferred"])
    )
    outcome, duration_ns = table["outcome"], table["duration_ns"]
    answered = pa.array((semconv.OUTCOME_OK, semconv.OUTCOME_NOT_FOUND))

    def certain(certainty: str) -> pa.Array:
        return pc.and_(pc.equal(table["certainty"], certainty), joined)

    return _filled(
        table["start_ns"],
        {
            "kind": "lookup", "inferred": table["inferred"], "joined": joined,
            "ns": duration_ns, "total_ns": duration_ns, "max_ns": duration_ns,
            "first_at": table["start_ns"], "last_at": table["start_ns"],
            "failed": pc.invert(pc.is_in(outcome, answered)),
            "not_found": pc.equal(outcome, semconv.OUTCOME_NOT_FOUND),
            "timeouts": pc.equal(outcome, semconv.OUTCOME_TIMEOUT),
            "server_failures": pc.equal(outcome, semconv.OUTCOME_SERVER_FAILURE),
            "waited": _waited(table), "sure": certain(semconv.CERTAINTY_SURE),
            "grouped": certain(semconv.CERTAINTY_GROUP),
            "unsure": certain(semconv.CERTAINTY_UNSURE),
            "exact": exact, "exact_queries": pc.if_else(exact, table["queries"], 0),
            **{
                name: table[name]
                for name in (
                    "queries", "waste_queries", "waste_ns", "retries", *SEGMENT_COLUMNS.values()
                )
            },
        },
        _OF_LOOKUPS,
    )  # fmt: skip


def _waited(table: pa.Table) -> pa.Array:
    is_long = pc.greater_equal(table["duration_ns"], REPEATED_NS)
    repeated = pc.and_(pc.greater(table["retries"], 0), is_long)
    timeout = pc.equal(table["outcome"], semconv.OUTCOME_TIMEOUT)
    return pc.or_(pc.or_(pc.greater(table["waiting_ns"], 0), timeout), repeated)


def _filled(start_ns: pa.Array, given: Mapping[str, Any], sums: Iterable[str]) -> pa.Table:
    """Entries as a table; what a kind has none of is zero, empty or false; ``number`` is one."""
    given = {"number": 1, **given}
    ns = given.pop("ns", None)
    if ns is not None:
        log = pc.log10(pc.cast(pc.max_element_wise(ns, 1), pa.float64()))
        given["bin"] = pc.floor(pc.multiply(log, float(BINS_PER_DECADE)))
    columns = {"start_ns": start_ns}
    for name in (*KEYS, *sums):
        type_ = SCHEMA.field(name).type
        value = given.get(name, _NONE.get(type_, 0))
        if isinstance(value, (pa.Array, pa.ChunkedArray)):
            columns.setdefault(name, value.cast(type_))
        else:
            columns.setdefault(name, pa.repeat(pa.scalar(value, type_), len(start_ns)))
    return pa.table(columns)


__all__ = [
    "BINS_PER_DECADE", "ERROR", "SCHEMA", "WIDTHS_S", "Adding", "cells_path", "forget_cells",
    "width_within", "widths_of",
]  # fmt: skip
