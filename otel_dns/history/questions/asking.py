"""How a question reaches an engine, and the expressions that questions have in common."""

from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Any, Final

import ibis.expr.types as ir
import pyarrow as pa

from otel_dns.history.answers import Latency
from otel_dns.history.columns import QUANTILES
from otel_dns.history.questions.entries import entries, read_bins
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.history.where import Where

EVERYTHING: Final = Where()
MAX_ROWS: Final = 10_000
"""Of any answer."""

Question = Callable[..., ir.Table]
"""Makes an expression of the resolutions that are asked about, of what is fixed and of what is
bound, see :meth:`Asking.ask`."""

_QUANTILES: Final = [0.5, 0.95, 0.99]


class Asking:
    """Asks questions of one table of resolutions, whatever engine it lives in."""

    def __init__(self, lookups: ir.Table) -> None:
        """Ask of this table, which has the columns of :mod:`otel_dns.history.schema`."""
        self._lookups = lookups

    def ask(
        self, question: Question, where: Where = EVERYTHING, *fixed: Hashable, **bound: str | int
    ) -> list[dict[str, Any]]:
        """Let the engine answer: rows as dicts.

        Args:
            question: gives the answer as an expression.
            where: of which resolutions; the question gets those.
            fixed: more that the question gets: what has few values, such as a step of time.
            bound: more that the question gets, and only compares with: what is different each
                time, such as a moment or a name. An engine may write the question once for all.
        """
        return plain(question(where.apply(self._lookups), *fixed, **bound).to_pyarrow())

    def ask_entries(
        self,
        question: Question,
        kind: str,
        where: Where = EVERYTHING,
        step_ns: int | None = None,
        *fixed: Hashable,
        **bound: str | int,
    ) -> list[dict[str, Any]]:
        """Let the engine answer from entries, or from whatever sums of them it has.

        Args:
            question: gives the answer as an expression of entries.
            kind: of entries, see :mod:`otel_dns.history.questions.entries`.
            where: of which resolutions.
            step_ns: what the question divides time by, and gets, bound; None: it does not.
            fixed: more that the question gets, see :meth:`ask`.
            bound: more that the question gets, see :meth:`ask`.
        """
        steps = {} if step_ns is None else {"step_ns": step_ns}
        return self.ask(of_rows, where, question, kind, *fixed, **steps, **bound)


def of_rows(
    kept: ir.Table, question: Question, kind: str, *fixed: Hashable, **bound: str | int
) -> ir.Table:
    """Make the entries of resolutions, and give a question about them."""
    return question(entries(kept, kind), *fixed, **bound)


def plain(answer: pa.Table) -> list[dict[str, Any]]:
    """Give an answer as dicts; whole sums as int, which engines give as decimals too."""
    return [
        {name: int(value) if isinstance(value, Decimal) else value for name, value in row.items()}
        for row in answer.to_pylist()
    ]


def given(**texts: str) -> dict[str, str]:
    """Leave out what is empty."""
    return {name: text for name, text in texts.items() if text}


def bounded(limit: int) -> int:
    """Keep the number of rows within what any answer may have."""
    return max(0, min(limit, MAX_ROWS))


def step_of(start_ns: ir.IntegerColumn, step_ns: int) -> ir.IntegerColumn:
    """Give where the step begins that a time is in."""
    # Not by division: a float has no room for nanoseconds since the epoch.
    return start_ns - start_ns % step_ns


def quantiles_of(spent: ir.NumericColumn, where: ir.BooleanValue | None = None) -> ir.Value:
    """Give p50, p95 and p99 as one array; call it ``quantiles``, for :func:`read_quantiles`."""
    return spent.quantile(_QUANTILES, where=where)


def read_quantiles(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row with what :func:`quantiles_of` gave as columns, in whole nanoseconds."""
    values = row.pop("quantiles") or (None, None, None)
    for name, value in zip(QUANTILES, values, strict=True):
        row[name] = None if value is None else round(value)
    return row


def latency(lookups: ir.Table) -> dict[str, Any]:
    """Give how long lookups took; an inferred one claims no latency of the client."""
    client = ~lookups.inferred
    return {
        "quantiles": quantiles_of(lookups.duration_ns, client),
        "max_ns": lookups.duration_ns.max(where=client),
    }


def read_latency(row: dict[str, Any]) -> Latency:
    """Read what :func:`latency` gave, and take it out of the row."""
    read_quantiles(row)
    return Latency(**{name: row.pop(name) for name in (*QUANTILES, "max_ns")})


def bin_latency(row: dict[str, Any]) -> Latency:
    """Read what :func:`otel_dns.history.questions.entries.summed` gave of lookups, and take it."""
    read_bins(row)
    return Latency(**{name: row.pop(name) for name in (*QUANTILES, "max_ns")})


def segments(lookups: ir.Table, where: ir.BooleanValue) -> dict[str, Any]:
    """Add up the time of some lookups by segment."""
    return {column: lookups[column].sum(where=where) for column in SEGMENT_COLUMNS.values()}


def read_segments(row: dict[str, Any]) -> dict[str, int]:
    """Read the columns of segments, and take them out of the row."""
    return {segment: row.pop(column) or 0 for segment, column in SEGMENT_COLUMNS.items()}
