"""Answers as tables, as wide as the terminal: figures whole, names and ids as room is left."""

import datetime
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from otel_dns.cli.waterfall import duration, printable

Column = tuple[str, str, Callable[[Any], Any]]
"""Heading, how its values are written (see :func:`cell`), and how to get one from an item."""

_SECOND: Final = 1_000_000_000
_LONGEST: Final = {"id": 16, "name": 36}
_GIVE_WAY: Final = frozenset({"id", "name"})
_COMFORT: Final = 14
_LEAST: Final = 8
"""Columns of a terminal that a name has while others are left out, and at least."""
_SPARE: Final = (
    "node", "joined", "retries", "waste", "client", "queries", "outcome", "asked by", "first (UTC)",
    "Pod",
)  # fmt: skip
"""Headings that are left out where there is no room, the first first; then those at the end."""
_KEPT: Final = 2
"""Columns that are always there: the first tells what a row is of."""
_GAP: Final = 2


def field(heading: str, kind: str, name: str) -> Column:
    """Describe a column that shows a field of an item."""
    return heading, kind, lambda item: getattr(item, name)


def table(items: Iterable[Any], columns: Sequence[Column], title: str = "", *, width: int) -> Table:
    """Draw an answer as a table of so many columns of the terminal at most."""
    values = [[get(item) for _, _, get in columns] for item in items]
    cells = [
        [_short(kind, cell(kind, value)) for (_, kind, _), value in zip(columns, row, strict=True)]
        for row in values
    ]
    widths = [
        max(len(heading), *(len(row[at]) for row in cells), 1)
        for at, (heading, _, _) in enumerate(columns)
    ]
    if sum(widths) + _GAP * len(widths) > width:
        _leave_out_the_day(columns, cells, widths)
    shown = _fit(columns, widths, width)
    drawn = Table(box=None, padding=(0, _GAP, 0, 0), header_style="bold", title=title or None,
                  title_justify="left")  # fmt: skip
    for at in shown:
        heading, kind, _ = columns[at]
        right = kind in {"duration", "count", "share"}
        overflow: Any = "crop" if kind == "id" else "ellipsis"
        drawn.add_column(heading, justify="right" if right else "left", no_wrap=True,
                         overflow=overflow, width=widths[at])  # fmt: skip
    for row, written in zip(values, cells, strict=True):
        drawn.add_row(*(Text(written[at], _style(row[at])) for at in shown))
    return drawn


def _fit(columns: Sequence[Column], widths: list[int], width: int) -> list[int]:
    """Choose columns, and make names narrower, until they fit; places of those that are shown."""
    shown = list(range(len(columns)))

    def least(at: int, of: int) -> int:
        kind = columns[at][1]
        return min(widths[at], _LEAST if kind == "id" else of) if kind in _GIVE_WAY else widths[at]

    def needed(of: int) -> int:
        return sum(least(at, of) + _GAP for at in shown)

    for heading in _SPARE:
        if needed(_COMFORT) <= width:
            break
        shown = [at for at in shown if columns[at][0] != heading or not at]
    while needed(_LEAST) > width and len(shown) > _KEPT:
        shown.pop()
    too_wide = sum(widths[at] + _GAP for at in shown) - width
    for at in shown:  # an id's beginning is as good
        if columns[at][1] == "id" and too_wide > 0:
            less = min(too_wide, widths[at] - least(at, _LEAST))
            widths[at] -= less
            too_wide -= less
    while sum(widths[at] + _GAP for at in shown) > width:
        widest = max(shown, key=lambda at: widths[at] - least(at, _LEAST))
        if widths[widest] == least(widest, _LEAST):
            break
        widths[widest] -= 1
    return shown


def _leave_out_the_day(
    columns: Sequence[Column], cells: list[list[str]], widths: list[int]
) -> None:
    """Show times without their date where all are of one day."""
    times = [at for at, (_, kind, _) in enumerate(columns) if kind == "when"]
    days = {row[at].partition(" ")[0] for row in cells for at in times}
    if len(days) != 1:
        return
    for at in times:
        for row in cells:
            row[at] = row[at].partition(" ")[2]
        widths[at] = max(len(columns[at][0]), *(len(row[at]) for row in cells))


def _short(kind: str, written: str) -> str:
    """A table has little room: `show` takes the beginning of an id as well."""
    longest = _LONGEST.get(kind, 200)
    if len(written) <= longest:
        return written
    return written[:longest] if kind == "id" else f"{written[: longest - 1]}…"


def when(at_ns: int | None) -> str:
    """Write a time, to the millisecond, UTC."""
    if at_ns is None:
        return "-"
    at = datetime.datetime.fromtimestamp(at_ns // _SECOND, datetime.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ns % _SECOND // 1_000_000:03d}"


def cell(kind: str, value: Any) -> str:
    """Write one value: a ``duration``, ``when``, ``count``, ``share``, ``id`` or ``name``."""
    if value is None:
        return "-"
    if kind == "duration":
        return duration(value)
    if kind == "when":
        return when(value)
    if kind == "count":
        return str(value)
    if kind == "share":
        return f"{value:.1%}"
    return printable(str(value), 200) or "-"


def _style(value: Any) -> str:
    if value in {"timeout", "server_failure", "error"}:
        return "red"
    return "green" if value == "ok" else ""
