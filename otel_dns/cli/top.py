"""``otel-dns top``: who looks up most, as it goes."""

from pathlib import Path

import click

from otel_dns.cli.asking import (
    asks,
    history_option,
    json_option,
    open_history,
    where_options,
)
from otel_dns.cli.asking import period_options as _period
from otel_dns.history.columns import DIMENSIONS, ORDERS
from otel_dns.history.where import Where


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
    from otel_dns.cli.answers import console, show
    from otel_dns.cli.top_screen import columns, keep_showing

    with open_history(place) as history:
        if once or as_json or not console().is_terminal:
            groups = history.by(by, where, order=order, limit=limit)
            show(groups, columns(by), as_json=as_json)
        else:
            keep_showing(history, where, by=by, order=order, limit=limit, every_s=every)
