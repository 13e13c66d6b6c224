"""``otel-dns show``: one lookup's waterfall, from the history."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from otel_dns.cli.asking import asks, history_option, json_option, open_history

if TYPE_CHECKING:
    from otel_dns.history.answers import Kept
    from otel_dns.history.history import History

_HEX = frozenset("0123456789abcdef")


@click.command()
@click.argument("trace")
@click.option("--span", default="", metavar="SPAN", help="Only the lookup of this span id.")
@history_option
@json_option
@asks
def show(trace: str, span: str, place: Path | str, *, as_json: bool) -> None:
    """Draw the lookups of a trace: queries as bars, plugins' own times, the breakdown, evidence.

    TRACE is a trace id (32 hex digits, or the first 8 and more), or `last`: the latest lookup.

    \b
      otel-dns show last
      otel-dns show 4bf92f3577b34da6a3ce929d0e0e4736
    """
    from otel_dns.cli.answers import console, print_json
    from otel_dns.cli.joined import kept_lookup
    from otel_dns.cli.waterfall import legend, printable, waterfall

    with open_history(place) as history:
        kept = _find(history, trace, span)
    if as_json:
        print_json([{**one.row, "hops": one.hops, "plugins": one.plugins} for one in kept])
        return
    out = console()
    for one in kept:
        out.print(waterfall(kept_lookup(one), out.width))
        for line in one.row["evidence"] or ():
            out.print(f"  evidence: {printable(line, 400)}", style="bright_black")
        where = "  ".join(
            f"{key} {printable(one.row[key])}"
            for key in ("namespace", "pod", "node", "client", "trace_id")
            if one.row[key]
        )
        out.print(f"  {where}", style="bright_black")
        out.print()
    out.print(legend())


def _find(history: "History", trace: str, span: str) -> "list[Kept]":
    if trace == "last":
        latest = history.latest(limit=1)
        if not latest:
            raise click.ClickException("the history holds no lookup yet")
        trace, span = latest[0].trace_id, latest[0].span_id
    if not set(trace.lower()) <= _HEX or not 8 <= len(trace) <= 32:
        raise click.UsageError(
            f"{trace!r} is no trace id (32 hex digits, or the first 8 and more), nor `last`"
        )
    kept = history.lookup(trace, span)
    if not kept:
        raise click.ClickException(f"the history holds no lookup of trace {trace} (any more)")
    return kept
