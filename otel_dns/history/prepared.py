"""Questions as DuckDB's SQL, written once for all that differ only in the values compared with.

To make SQL of an expression takes longer than to answer it from an hour of lookups. So a question
is made with values that nobody else has, and each is a parameter wherever it comes up in the SQL.
"""

import dataclasses
import re
import secrets
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import ibis

from otel_dns.history import cells
from otel_dns.history.questions.asking import Question
from otel_dns.history.schema import SCHEMA
from otel_dns.history.where import Where

_KEPT: Final = 512
_TOKEN: Final = f"q{secrets.token_hex(8)}"
_LOOKUPS: Final = ibis.table(ibis.Schema.from_pyarrow(SCHEMA), name=_TOKEN)
_CELLS: Final = ibis.table(ibis.Schema.from_pyarrow(cells.SCHEMA.remove(0)), name=_TOKEN)
_PARAMETER: Final = re.compile(r"\$([a-z_]+)")

Values = Mapping[str, str | int]


class Prepared(NamedTuple):
    """A question in SQL."""

    sql: str
    """Ends behind ``FROM`` wherever the table goes, see :meth:`of`."""
    parameters: frozenset[str]

    def of(self, source: str) -> str:
        """Give the SQL over this table, by name or as a table function."""
        return self.sql.replace(f'"{_TOKEN}"', source)


def prepare(
    question: Question,
    where: Where,
    fixed: tuple[Hashable, ...],
    bound: Values,
    *,
    of_cells: bool = False,
) -> tuple[Prepared, dict[str, str | int]]:
    """Give a question in SQL, and the values of its parameters.

    Args:
        question: makes an expression of a table of resolutions.
        where: which resolutions it gets.
        fixed: further arguments, part of the SQL.
        bound: further arguments by name, parameters.
        of_cells: it is asked of a table of cells rather than of resolutions.
    """
    values = {**where.parameters(), **bound}
    kinds = tuple((name, isinstance(value, str)) for name, value in bound.items())
    made = _prepare(question, _shape(where), fixed, kinds, of_cells)
    return made, {name: values[name] for name in made.parameters}


@lru_cache(_KEPT)
def _prepare(
    question: Question,
    where: Where,
    fixed: tuple[Hashable, ...],
    bound: tuple[tuple[str, bool], ...],
    of_cells: bool,
) -> Prepared:
    bound_values = {name: _stand_in(name, text=is_text) for name, is_text in bound}
    expression = question(where.apply(_CELLS if of_cells else _LOOKUPS), *fixed, **bound_values)
    sql = str(ibis.to_sql(expression, dialect="duckdb"))
    for name, value in {**where.parameters(), **bound_values}.items():
        sql = sql.replace(f"'{value}'" if isinstance(value, str) else str(value), f"${name}")
    return Prepared(sql, frozenset(_PARAMETER.findall(sql)))


def _shape(where: Where) -> Where:
    """Put stand-ins for all values that are only compared with."""
    stand_ins: dict[str, str | int] = {}
    for name, value in where.parameters().items():
        stand_ins[name] = _stand_in(name, text=isinstance(value, str))
    if "*" in where.name:
        stand_ins["name"] = f"*{stand_ins['name']}"
    return dataclasses.replace(where, **stand_ins)  # type: ignore[arg-type]


_numbers: Final[dict[str, int]] = {}


def _stand_in(name: str, *, text: bool) -> str | int:
    """Give a value that nobody else has, always the same for one name."""
    if text:
        return f"{_TOKEN}{name}"
    return _numbers.setdefault(name, (1 << 61) + secrets.randbits(60))


__all__ = ["Prepared", "prepare"]
