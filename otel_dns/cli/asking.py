"""What the commands that ask the history have in common: options, periods, and how answers look.

On a terminal answers are tables; piped they are tab-separated lines with a heading; with ``--json``
they are JSON. Names come from DNS and are hostile text: none is taken for markup, and control
characters are shown.
"""

import dataclasses
import datetime
import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_dns.cli.directories import default_history
from otel_dns.cli.waterfall import duration, printable
from otel_dns.history.history import History, HistoryError
from otel_dns.history.where import DIMENSIONS, Where
from otel_dns.service.quantities import Duration

Command = TypeVar("Command", bound=Callable[..., Any])

_SECOND: Final = 1_000_000_000


class When(click.ParamType[int | None]):
    """A time: so long ago (``15m``, ``2d``), or a date (``2026-11-25T10:42``, UTC unless told)."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Give nanoseconds since the epoch; None for ``all``."""
        if isinstance(value, int):
            return value
        if value == "all":
            return None
        try:
            return time.time_ns() - Duration.parse(value).ns
        except ValueError:
            pass
        try:
            read = datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is no time: so long ago (15m, 2h, 3d), a date (2026-11-25T10:42), or"
                " all", param, ctx,
            )  # fmt: skip
        if read.tzinfo is None:
            read = read.replace(tzinfo=datetime.UTC)
        return round(read.timestamp()) * _SECOND


class Nanoseconds(click.ParamType[int]):
    """A duration, as nanoseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read ``500ms``, ``2s``."""
        try:
            return Duration.parse(value).ns
        except ValueError as error:
            self.fail(str(error), param, ctx)


def history_option(command: Command) -> Command:
    """Add ``--history``."""
    return click.option(
        "--history", "directory", metavar="DIR", default=default_history,
        type=click.Path(file_okay=False, path_type=Path),
        show_default="where `otel-dns serve` writes it", help="Directory of the history.",
    )(command)  # fmt: skip


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")(command)


def period_options(since: str = "1h") -> Callable[[Command], Command]:
    """Add ``--since`` and ``--until``."""

    def add(command: Command) -> Command:
        command = click.option(
            "--until", "until_ns", metavar="WHEN", type=When(), help="And before then."
        )(command)
        return click.option(
            "--since", "since_ns", metavar="WHEN", type=When(), default=since, show_default=True,
            help="Lookups since then: so long ago (15m, 2h, 3d), a date in UTC"
            " (2026-11-25T10:42), or all.",
        )(command)  # fmt: skip

    return add


_FILTERS: Final = ("namespace", "pod", "node", "service", "name", "outcome", "bottleneck")


def where_options(command: Command) -> Command:
    """Add filters; the command gets them, and the period, as one ``where``."""

    @functools.wraps(command)
    def asked(*args: Any, since_ns: int | None, until_ns: int | None, **options: Any) -> Any:
        filters: dict[str, Any] = {
            key: options.pop(key) or "" for key in (*DIMENSIONS, *_BEYOND) if key in options
        }
        chosen = Where(
            since_ns=since_ns, until_ns=until_ns, failed=options.pop("failed") or None,
            min_ns=options.pop("min_ns"), **filters,
        )  # fmt: skip
        return command(*args, where=chosen, **options)

    wrapped: Any = asked
    wrapped = click.option("--failed", is_flag=True, help="Only those without an answer.")(wrapped)
    wrapped = click.option(
        "--min", "min_ns", metavar="TIME", type=Nanoseconds(), help="Only those that took so long."
    )(wrapped)
    for key in (*_BEYOND, "method", "type"):
        wrapped = click.option(f"--{key}", metavar="TEXT", help=f"Only of this {key}.")(wrapped)
    for key in reversed(_FILTERS):
        text = "Only of this name; * for any characters." if key == "name" else "Only of this one."
        wrapped = click.option(f"--{key}", metavar="TEXT", help=text)(wrapped)
    result: Command = wrapped
    return result


_BEYOND: Final = ("plugin", "server", "upstream")


def asks(command: Command) -> Command:
    """Let a command fail with a message, rather than a traceback, where the history cannot tell."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except HistoryError as error:
            raise click.ClickException(str(error)) from None
        except BrokenPipeError:  # `| head` has seen enough
            sys.stderr.close()
            sys.exit(0)

    result: Command = guarded  # type: ignore[assignment]
    return result


def open_history(directory: Path, **limits: Any) -> History:
    """Open a history that must be there.

    Raises:
        click.ClickException: it is not; the message says what to do.
    """
    if not directory.is_dir():
        raise click.ClickException(
            f"no history in {directory}: `otel-dns serve` writes one; another place: --history DIR"
        )
    return History(directory, **limits)


# -- how answers look -------------------------------------------------------------------------


def console() -> Console:
    """Give the console that answers go to."""
    made = Console(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = max(made.width, 120)
    return made


def jsonable(value: Any) -> Any:
    """Turn answers into what JSON has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: jsonable(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def print_json(value: Any) -> None:
    """Print an answer as JSON."""
    click.echo(json.dumps(jsonable(value), ensure_ascii=False, indent=2))


Column = tuple[str, str, Callable[[Any], Any]]
"""Heading, how its values are written (see ``_WRITE``), and how to get one from an item."""


def show(
    items: Iterable[Any], columns: Sequence[Column], *, as_json: bool, title: str = ""
) -> None:
    """Print an answer as table, lines or JSON."""
    items = list(items)
    if as_json:
        print_json(items)
        return
    if console().is_terminal:
        console().print(table(items, columns, title))
        return
    click.echo("\t".join(heading for heading, _, _ in columns))
    for item in items:
        click.echo("\t".join(_cell(kind, get(item)) for _, kind, get in columns))


def table(items: Iterable[Any], columns: Sequence[Column], title: str = "") -> Table:
    """Draw an answer as a table."""
    drawn = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", title=title or None,
                  title_justify="left")  # fmt: skip
    for heading, kind, _ in columns:
        right = kind in {"duration", "count", "share"}
        drawn.add_column(heading, justify="right" if right else "left", no_wrap=True,
                         overflow="ellipsis")  # fmt: skip
    for item in items:
        drawn.add_row(
            *(
                Text(_short(kind, _cell(kind, get(item))), _style(get(item)))
                for _, kind, get in columns
            )
        )
    return drawn


def _short(kind: str, cell: str) -> str:
    """A table has little room: `show` takes the beginning of an id as well."""
    longest = {"id": 16, "name": 36}.get(kind, 200)
    return cell if len(cell) <= longest else cell[:16] if kind == "id" else f"{cell[:35]}…"


def when(at_ns: int | None) -> str:
    """Write a time, to the millisecond, UTC."""
    if at_ns is None:
        return "-"
    at = datetime.datetime.fromtimestamp(at_ns // _SECOND, datetime.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ns % _SECOND // 1_000_000:03d}"


def _cell(kind: str, value: Any) -> str:
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


def field(heading: str, kind: str, name: str) -> Column:
    """Describe a column that shows a field of an item."""
    return heading, kind, lambda item: getattr(item, name)


LOOKUPS: Final = (
    field("start (UTC)", "when", "start_ns"), field("took", "duration", "duration_ns"),
    field("name", "name", "name"), field("outcome", "name", "outcome"),
    ("most of it", "name", lambda item: item.bottleneck.replace("plugin:", "plugin ")),
    field("queries", "count", "queries"), field("waste", "count", "waste_queries"),
    ("Pod", "name", lambda item: f"{item.namespace}/{item.pod}" if item.pod else item.client),
    field("node", "name", "node"),
    ("joined", "name", lambda item: f"{item.method} {item.certainty}".strip()),
    field("trace", "id", "trace_id"),
)  # fmt: skip
"""A list of lookups."""
