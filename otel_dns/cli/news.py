"""Who asked for names on a list, told once, while lookups go on being written."""

import dataclasses
from collections.abc import Sequence
from typing import Final

from otel_dns.history.answers import Asker
from otel_dns.history.history import History
from otel_dns.history.questions import MAX_ROWS
from otel_dns.history.where import Where

_LATE_NS: Final = 120_000_000_000
"""So long after it began a lookup is in the history at the latest: it ends, and the join and the
history's writer wait."""


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
