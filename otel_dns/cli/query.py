"""``otel-dns query``: SQL on the history."""

import sys
from pathlib import Path
from typing import Any

import click

from otel_dns.cli.asking import (
    asks,
    history_option,
    json_option,
    open_history,
    period_options,
)
from otel_dns.history.where import Where


@click.command()
@click.argument("sql", required=False)
@period_options("1d")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1_000_000), default=1000, show_default=True,
    help="So many rows at most.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1, 256), default=2, show_default=True,
    help="That DuckDB may use.",
)  # fmt: skip
@click.option("--memory", default="1GB", show_default=True, help="That DuckDB may take.")
@history_option
@json_option
@asks
def query(
    sql: str | None, since_ns: int | None, until_ns: int | None, limit: int, threads: int,
    memory: str, place: Path | str, *, as_json: bool,
) -> None:  # fmt: skip
    """Ask the history in SQL (DuckDB's); from standard input without SQL.

    Tables: lookups (a row each, columns in docs/history.md), and their parts: hops, plugins,
    exchanges. Nothing else can be read, and nothing written.

    \b
      otel-dns query "SELECT name, count(*) AS n FROM lookups GROUP BY name ORDER BY n DESC"
      otel-dns query "SELECT server, quantile_cont(own_ns, 0.99) FROM plugins
                      WHERE plugin = 'cache' GROUP BY server"
      otel-dns query "DESCRIBE lookups"
    """
    from otel_dns.cli.answers import print_json, show

    text = sql if sql is not None else sys.stdin.read()
    if not text.strip():
        raise click.UsageError("no SQL: give some, or write it to standard input")
    with open_history(place, threads=threads, memory=memory) as history:
        answer = history.sql(text, Where(since_ns=since_ns, until_ns=until_ns), limit)
    rows = answer.to_pylist()
    if as_json:
        print_json(rows)
        return

    def column(name: str) -> tuple[str, str, Any]:
        return name, "name", lambda row: row[name]

    show(rows, [column(name) for name in answer.column_names], as_json=False)
    if len(rows) == limit:
        click.echo(f"(the first {limit} rows; more with --limit)", err=True)
