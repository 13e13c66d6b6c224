"""``otel-dns slow``: the slowest lookups of a period."""

from pathlib import Path

import click

from otel_dns.cli.asking import (
    asks,
    history_option,
    json_option,
    open_history,
    period_options,
    where_options,
)
from otel_dns.history.where import Where


@click.command()
@period_options()
@where_options
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True,
    help="So many rows at most.",
)  # fmt: skip
@history_option
@json_option
@asks
def slow(where: Where, limit: int, place: Path | str, *, as_json: bool) -> None:
    """List the slowest lookups of a period.

    \b
      otel-dns slow                                the last hour's
      otel-dns slow --since 1d --namespace shop    a namespace's, of a day
      otel-dns slow --failed --name '*.example.org'
    """
    from otel_dns.cli.answers import LOOKUPS, show

    with open_history(place) as history:
        show(history.slowest(where, limit=limit), LOOKUPS, as_json=as_json)
