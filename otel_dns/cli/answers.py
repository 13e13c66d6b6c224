"""How answers look: on a terminal as tables, piped as lines, with ``--json`` as JSON.

Lines are separated by tabs, under a heading. Names come from DNS and are hostile text: none is
taken for markup, and control characters are shown.
"""

import codecs
import dataclasses
import datetime
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
from rich.console import Console

from otel_dns.cli.tables import Column, cell, field, table


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


def to_json(value: Any, indent: int | None = None) -> str:
    """Write an answer as JSON: in ASCII where standard output has not all characters."""
    utf_8 = codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"
    return json.dumps(jsonable(value), ensure_ascii=not utf_8, indent=indent)


def print_json(value: Any) -> None:
    """Print an answer as JSON."""
    click.echo(to_json(value, indent=2))


def show(
    items: Iterable[Any], columns: Sequence[Column], *, as_json: bool, title: str = ""
) -> None:
    """Print an answer as table, lines or JSON."""
    items = list(items)
    if as_json:
        print_json(items)
        return
    if console().is_terminal:
        console().print(table(items, columns, title, width=console().width))
        return
    click.echo("\t".join(heading for heading, _, _ in columns))
    for item in items:
        click.echo("\t".join(cell(kind, get(item)) for _, kind, get in columns))


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

ASKERS: Final = (
    field("name", "name", "name"), field("namespace", "name", "namespace"),
    field("Pod", "name", "pod"), field("node", "name", "node"),
    field("client", "name", "client"), field("lookups", "count", "lookups"),
    field("failed", "count", "failed"), field("first (UTC)", "when", "first_at"),
    field("last (UTC)", "when", "last_at"),
)  # fmt: skip
"""Who asked for a name."""
