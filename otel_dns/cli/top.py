"""``otel-dns top``: who looks up most, as it goes."""

import dataclasses
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Group as Stack
from rich.live import Live
from rich.text import Text

from otel_dns.cli.asking import (
    asks,
    console,
    history_option,
    json_option,
    open_history,
    show,
    where_options,
)
from otel_dns.cli.asking import period_options as _period
from otel_dns.cli.tables import field, table, when
from otel_dns.cli.waterfall import duration
from otel_dns.history.history import History
from otel_dns.history.questions import ORDERS
from otel_dns.history.where import DIMENSIONS, Where

_COLUMNS: Final = (
    field("key", "name", "key"), field("lookups", "count", "lookups"),
    field("failed", "count", "failed"),
    ("p50", "duration", lambda item: item.latency.p50_ns),
    ("p95", "duration", lambda item: item.latency.p95_ns),
    ("p99", "duration", lambda item: item.latency.p99_ns),
    field("queries", "count", "queries"), field("waste", "count", "waste_queries"),
    field("retries", "count", "retries"),
)  # fmt: skip


@click.command()
@click.option(
    "--by", type=click.Choice(DIMENSIONS), default="pod", show_default=True, help="What a row is."
)
@click.option(
    "--order", type=click.Choice(ORDERS), default="lookups", show_default=True,
    help="The most of this first.",
)  # fmt: skip
@click.option(
    "--every", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, metavar="SECONDS",
    help="Show it anew so often.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Show it once; so it is when piped, and with --json.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True,
    help="So many rows at most.",
)  # fmt: skip
@_period("5m")
@where_options
@history_option
@json_option
@asks
def top(
    where: Where, by: str, order: str, every: float, limit: int, place: Path | str, *,
    once: bool, as_json: bool,
) -> None:  # fmt: skip
    """Show who looks up most, fails most or waits longest, and keep showing it.

    The history is written every ten seconds or so: that late is what is shown.

    \b
      otel-dns top --by name --order failed
      otel-dns top --by node --order p95_ns --since 15m
    """
    # What began so long ago goes along with the time.
    window_ns = time.time_ns() - where.since_ns if where.since_ns is not None else None
    with open_history(place) as history:
        if once or as_json or not console().is_terminal:
            groups = history.by(by, where, order=order, limit=limit)
            heading = (by, *_COLUMNS[0][1:])
            show(groups, (heading, *_COLUMNS[1:]), as_json=as_json)
            return
        with Live(console=console(), screen=True, auto_refresh=False) as live:
            try:
                while True:
                    live.update(
                        _page(history, _latest(where, window_ns), by, order, limit), refresh=True
                    )
                    time.sleep(every)
            except KeyboardInterrupt:
                return


def _latest(where: Where, window_ns: int | None) -> Where:
    if window_ns is None or where.until_ns is not None:
        return where
    return dataclasses.replace(where, since_ns=time.time_ns() - window_ns)


def _page(history: History, where: Where, by: str, order: str, limit: int) -> Any:
    totals = history.totals(where)
    since = "everything" if where.since_ns is None else f"since {when(where.since_ns)}"
    line = Text(f"{when(time.time_ns())} UTC, {since}: ", "bold")
    line.append(f"{totals.lookups} lookups, {totals.failed} failed, ")
    line.append(
        f"p95 {duration(totals.latency.p95_ns) if totals.latency.p95_ns is not None else '-'}"
    )
    groups = history.by(by, where, order=order, limit=limit)
    heading = (by, *_COLUMNS[0][1:])
    return Stack(line, Text(""), table(groups, (heading, *_COLUMNS[1:]), width=console().width))
