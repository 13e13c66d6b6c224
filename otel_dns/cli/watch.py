"""``otel-dns watch``: who asked for names on a list."""

import sys
import time
from pathlib import Path
from typing import Final

import click

from otel_dns.cli.asking import (
    asks,
    history_option,
    json_option,
    open_history,
    period_options,
)
from otel_dns.history.where import Where

ASKED: Final = 3
"""Exit code when somebody asked."""


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--list", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Names from this file, one a line; # begins a comment.",
)  # fmt: skip
@click.option(
    "--every", type=click.FloatRange(1, 86_400), metavar="SECONDS",
    help="Go on, and show those who asked since the last time.",
)  # fmt: skip
@period_options()
@history_option
@json_option
@asks
def watch(
    names: tuple[str, ...], file: Path | None, every: float | None, since_ns: int | None,
    until_ns: int | None, place: Path | str, *, as_json: bool,
) -> None:  # fmt: skip
    """Tell who asked for these names: Pod, node, how often, since when.

    NAMES as applications ask for them; `*.example.org` for all names below one. Ends with code 3
    when somebody asked, so that a job can raise an alert.

    \b
      otel-dns watch bad.example.org '*.miner.example' --since 1d
      otel-dns watch --list names.txt --every 60
    """
    from otel_dns.cli.answers import ASKERS, show
    from otel_dns.cli.news import News

    wanted = [*names, *(_listed(file) if file else ())]
    if not wanted:
        raise click.UsageError("no names: give some, or --list FILE")
    where = Where(since_ns=since_ns, until_ns=until_ns)
    with open_history(place) as history:
        if every is None:
            askers = history.askers(wanted, where)
            show(askers, ASKERS, as_json=as_json)
            sys.exit(ASKED if askers else 0)
        news = News(history, wanted, where)
        while True:
            before = time.monotonic()
            askers = news.askers(time.time_ns())
            if askers:
                show(askers, ASKERS, as_json=as_json)
                sys.stdout.flush()
            time.sleep(max(every - (time.monotonic() - before), 0))


def _listed(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in lines if line]
