"""What ``otel-dns top`` shows on a terminal, and keeps showing."""

import dataclasses
import time
from typing import Any, Final

from rich.console import Group as Stack
from rich.live import Live
from rich.text import Text

from otel_dns.cli.answers import console
from otel_dns.cli.tables import Column, field, table, when
from otel_dns.cli.waterfall import duration
from otel_dns.history.history import History
from otel_dns.history.where import Where

_COLUMNS: Final = (
    field("lookups", "count", "lookups"),
    field("failed", "count", "failed"),
    ("p50", "duration", lambda item: item.latency.p50_ns),
    ("p95", "duration", lambda item: item.latency.p95_ns),
    ("p99", "duration", lambda item: item.latency.p99_ns),
    field("queries", "count", "queries"), field("waste", "count", "waste_queries"),
    field("retries", "count", "retries"),
)  # fmt: skip


def columns(by: str) -> tuple[Column, ...]:
    """Give the columns of groups by a dimension."""
    return field(by, "name", "key"), *_COLUMNS


def keep_showing(
    history: History, where: Where, *, by: str, order: str, limit: int, every_s: float
) -> None:
    """Show groups on the whole terminal, and anew every so many seconds, until Ctrl-C."""
    # What began so long ago goes along with the time.
    window_ns = time.time_ns() - where.since_ns if where.since_ns is not None else None
    with Live(console=console(), screen=True, auto_refresh=False) as live:
        try:
            while True:
                shown = _page(history, _latest(where, window_ns), by, order, limit)
                live.update(shown, refresh=True)
                time.sleep(every_s)
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
    return Stack(line, Text(""), table(groups, columns(by), width=console().width))
