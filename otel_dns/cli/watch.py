"""``otel-dns watch``: who asked for names on a list."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from otel_dns.cli.asking import (
    asks,
    history_option,
    json_option,
    open_history,
    period_options,
    show,
)
from otel_dns.cli.tables import field
from otel_dns.history.answers import Asker
from otel_dns.history.history import History
from otel_dns.history.questions import MAX_ROWS
from otel_dns.history.where import Where

ASKED: Final = 3
"""Exit code when somebody asked."""
_LATE_NS: Final = 120_000_000_000
"""So long after it began a lookup is in the history at the latest: it ends, and the join and the
history's writer wait."""

_COLUMNS: Final = (
    field("name", "name", "name"), field("namespace", "name", "namespace"),
    field("Pod", "name", "pod"), field("node", "name", "node"),
    field("client", "name", "client"), field("lookups", "count", "lookups"),
    field("failed", "count", "failed"), field("first (UTC)", "when", "first_at"),
    field("last (UTC)", "when", "last_at"),
)  # fmt: skip


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
    wanted = [*names, *(_listed(file) if file else ())]
    if not wanted:
        raise click.UsageError("no names: give some, or --list FILE")
    where = Where(since_ns=since_ns, until_ns=until_ns)
    with open_history(place) as history:
        if every is None:
            askers = history.askers(wanted, where)
            show(askers, _COLUMNS, as_json=as_json)
            sys.exit(ASKED if askers else 0)
        news = News(history, wanted, where)
        while True:
            before = time.monotonic()
            askers = news.askers(time.time_ns())
            if askers:
                show(askers, _COLUMNS, as_json=as_json)
                sys.stdout.flush()
            time.sleep(max(every - (time.monotonic() - before), 0))


class News:
    """Tells of everybody who asked, once.

    Lookups are written in the order in which they ended, and late: one that began before others
    that have been told of may be there after them. So the last minutes are asked for again, and
    what is more than was told of is news.
    """

    def __init__(self, history: History, names: Sequence[str], where: Where) -> None:
        """Tell of nobody yet.

        Args:
            history: that is asked.
            names: see :meth:`History.askers`.
            where: of which lookups.
        """
        self._history = history
        self._names = names
        self._stretches = [_Stretch(where)]
        self._last_ns = where.until_ns

    def askers(self, now_ns: int) -> list[Asker]:
        """Give those who asked since the last time; of whom had asked before, how often since."""
        found: dict[_Who, Asker] = {}
        for stretch in self._stretches:
            for asker in self._history.askers(self._names, stretch.where, limit=MAX_ROWS):
                who = _who(asker)
                before, stretch.told[who] = stretch.told.get(who), asker
                new = asker if before is None else _less(asker, before)
                if new.lookups > 0:
                    found[who] = _together(found[who], new) if who in found else new
        self._go_on(now_ns)
        return sorted(found.values(), key=lambda asker: (-asker.lookups, _who(asker)))

    def _go_on(self, now_ns: int) -> None:
        """Ask no more for what is too long ago for more of it to come."""
        self._stretches = [
            one
            for one in self._stretches
            if one.where.until_ns in {None, self._last_ns} or one.where.until_ns > now_ns - _LATE_NS
        ]
        newest = self._stretches[-1]
        latest_ns = max((asker.last_at for asker in newest.told.values()), default=None)
        if latest_ns is not None and (newest.where.since_ns or 0) < now_ns - _LATE_NS:
            newest.where = dataclasses.replace(newest.where, until_ns=latest_ns + 1)
            since = dataclasses.replace(
                newest.where, since_ns=latest_ns + 1, until_ns=self._last_ns
            )
            self._stretches.append(_Stretch(since))


@dataclasses.dataclass(slots=True)
class _Stretch:
    """A stretch of time, and who was told of."""

    where: Where
    told: "dict[_Who, Asker]" = dataclasses.field(default_factory=dict)


_Who = tuple[str, ...]


def _who(asker: Asker) -> _Who:
    return asker.name, asker.cluster, asker.namespace, asker.pod, asker.node, asker.client


def _less(asker: Asker, before: Asker) -> Asker:
    return dataclasses.replace(
        asker, lookups=asker.lookups - before.lookups, failed=asker.failed - before.failed
    )


def _together(one: Asker, other: Asker) -> Asker:
    return dataclasses.replace(
        one,
        lookups=one.lookups + other.lookups,
        failed=one.failed + other.failed,
        first_at=min(one.first_at, other.first_at),
        last_at=max(one.last_at, other.last_at),
    )


def _listed(file: Path) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in lines if line]
