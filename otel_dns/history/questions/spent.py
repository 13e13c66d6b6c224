"""Where time is spent: servers, plugins and upstreams."""

from typing import Any, Final

import ibis
import ibis.expr.types as ir

from otel_dns.history.answers import (
    Bin,
    PluginSum,
    PluginTime,
    ServerTime,
    Subject,
    SubjectPoint,
    UpstreamTime,
)
from otel_dns.history.cells import BINS_PER_DECADE, ENDS
from otel_dns.history.kinds import KINDS
from otel_dns.history.questions.asking import (
    EVERYTHING,
    MAX_ROWS,
    Asking,
    bounded,
    given,
    step_of,
)
from otel_dns.history.questions.entries import CLIENT, read_bins, summed
from otel_dns.history.where import Where

PER_DECADE: Final = 4
_LOWEST_BIN: Final = 3 * PER_DECADE
_HIGHEST_BIN: Final = 10 * PER_DECADE - 1
"""1 us to 10 s; what is beyond counts with the outermost."""


class Spent(Asking):
    """Questions about servers, plugins and upstreams."""

    def plugins(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[PluginTime]:
        """Own time by plugin and server, the one that took most in sum first.

        With ``where.plugin`` or ``where.server`` only those. ``connect``, the wait for upstreams,
        is no plugin: :meth:`upstreams`.
        """
        only = given(name=where.plugin, server=where.server)
        return [
            PluginTime(
                plugin=row.pop("name"), queries=row.pop("number"), total_ns=row.pop("total_ns"),
                **_without(row, "failed", "first_at", "last_at"),
            )
            for row in self._by_server("plugin", where, "total_ns", limit, **only)
        ]  # fmt: skip

    def servers(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[ServerTime]:
        """Queries by server instance: how many, how many failed, how long they took there."""
        only = given(name=where.server)
        rows = self._by_server("server", where, "number", limit, **only)
        clients = {
            row["name"]: row["clients"]
            for row in self.ask_entries(_clients, CLIENT, where, None, **only)
        }
        return [
            ServerTime(
                server=row["name"], queries=row["number"], clients=clients.get(row["name"], 0),
                **_without(row, "name", "server", "number", "total_ns"),
            )
            for row in rows
        ]  # fmt: skip

    def upstreams(self, where: Where = EVERYTHING, *, limit: int = 200) -> list[UpstreamTime]:
        """Exchanges by upstream and the server that asked it, the slowest at p95 first."""
        only = given(name=where.upstream, server=where.server)
        return [
            UpstreamTime(
                upstream=row["name"], exchanges=row["number"],
                **_without(row, "name", "number", "total_ns", "first_at", "last_at"),
            )
            for row in self._by_server("upstream", where, "p95_ns", limit, **only)
        ]  # fmt: skip

    def _by_server(
        self, kind: str, where: Where, order: str, limit: int, **only: str
    ) -> list[dict[str, Any]]:
        rows = self.ask_entries(_by_server, kind, where, None, order, bounded(limit), **only)
        return [read_bins(row) for row in rows]

    def plugin_sums(self, where: Where = EVERYTHING) -> list[PluginSum]:
        """Own time by plugin and server, summed up; ``connect``, no plugin, is left out."""
        return [
            PluginSum(
                plugin=row["name"],
                server=row["server"],
                queries=row["queries"],
                own_ns=row["total_ns"],
            )
            for row in self.ask_entries(_sums, "plugin", where)
        ]

    # -- subjects: any of these, by name alone ------------------------------------------------

    def subjects(
        self, kind: str, where: Where = EVERYTHING, *, name: str = "", limit: int = 50
    ) -> list[Subject]:
        """Give how long each subject of a kind took, the slowest at p95 first.

        Args:
            kind: one of :data:`KINDS`.
            where: of which lookups.
            name: only this one.
            limit: of the answer.
        """
        rows = self.ask_entries(
            _subjects, _known(kind), where, None, bounded(limit), **given(subject=name)
        )
        return [Subject(**read_bins(row)) for row in rows]

    def subjects_over_time(
        self, kind: str, step_ns: int, since_ns: int, where: Where = EVERYTHING
    ) -> list[SubjectPoint]:
        """Give each subject of a kind in a period, in the time before it, and step by step.

        Args:
            kind: one of :data:`KINDS`.
            step_ns: how long a step is.
            since_ns: when the period begins: its steps are given, those before are not.
            where: both together.
        """
        rows = self.ask_entries(
            _subjects_over_time, _known(kind), where, step_ns, begins_ns=since_ns
        )
        return [SubjectPoint(**read_bins(row)) for row in rows]

    def subject_over_time(
        self, kind: str, name: str, step_ns: int, where: Where = EVERYTHING
    ) -> list[SubjectPoint]:
        """Give one subject step by step; empty steps are left out."""
        rows = self.ask_entries(_subject_over_time, _known(kind), where, step_ns, subject=name)
        return [SubjectPoint(**read_bins(row)) for row in rows]

    def subject_bins(
        self, kind: str, name: str, where: Where = EVERYTHING, *, step_ns: int = 0
    ) -> list[Bin]:
        """Count a subject's queries by step of time and class of duration, for a heat map.

        Args:
            kind: one of :data:`KINDS`.
            name: the subject's.
            where: of which lookups.
            step_ns: how long a step is; 0: all of the period is one.
        """
        rows = self.ask_entries(_subject_bins, _known(kind), where, step_ns or None, subject=name)
        return [Bin(**row) for row in rows]


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {', '.join(KINDS)}")
    return kind


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


# -- by what and where ----------------------------------------------------------------------------


def _only(cells: ir.Table, **wanted: str) -> ir.Table:
    for name, value in wanted.items():
        cells = cells.filter(cells[name] == value)
    return cells


def _by_server(cells: ir.Table, order: str, limit: int, **only: str) -> ir.Table:
    cells = _only(cells, **only)
    sums = {name: cells[name].sum() for name in ("number", "failed", "total_ns")}
    ends = {name: getattr(cells[name], how)() for name, how in ENDS.items()}
    answer = summed(cells, "name", "server", **sums, **ends)
    return answer.order_by(ibis.desc(order), "name", "server").limit(limit)


def _clients(cells: ir.Table, **only: str) -> ir.Table:
    cells = _only(cells, **only)
    return cells.group_by("name").aggregate(clients=cells.client.nunique()).order_by("name")


# -- subjects -------------------------------------------------------------------------------------


def _figures(cells: ir.Table) -> dict[str, ir.Value]:
    return {
        "queries": cells.number.sum(),
        **{name: cells[name].sum() for name in ("failed", "traced", "total_ns")},
    }


def _subjects(cells: ir.Table, limit: int, subject: str = "") -> ir.Table:
    if subject:
        cells = cells.filter(cells.name == subject)
    answer = summed(cells, "name", **_figures(cells))
    return answer.order_by(ibis.desc("p95_ns"), "name").limit(limit)


def _subjects_over_time(cells: ir.Table, *, step_ns: int, begins_ns: int) -> ir.Table:
    cells = cells.filter(cells.name != "")
    cells = cells.mutate(is_before=cells.start_ns < begins_ns, at=step_of(cells.start_ns, step_ns))
    now = cells.filter(~cells.is_before)
    steps = summed(now, "name", "is_before", "at", **_figures(now))
    periods = summed(cells, "name", "is_before", **_figures(cells))
    periods = periods.mutate(at=ibis.null("int64")).select(*steps.columns)
    order = ("name", ibis.asc("at", nulls_first=True), "is_before")
    return steps.union(periods).order_by(*order).limit(MAX_ROWS)


def _subject_over_time(cells: ir.Table, *, step_ns: int, subject: str) -> ir.Table:
    cells = cells.filter(cells.name == subject)
    cells = cells.mutate(at=step_of(cells.start_ns, step_ns))
    answer = summed(cells, "name", "at", **_figures(cells))
    return answer.mutate(is_before=ibis.literal(value=False)).order_by("at").limit(MAX_ROWS)


def _subject_bins(cells: ir.Table, *, subject: str, step_ns: int = 0) -> ir.Table:
    cells = cells.filter(cells.name == subject)
    at = step_of(cells.start_ns, step_ns) if step_ns else ibis.literal(0, "int64")
    coarse = (cells.bin // (BINS_PER_DECADE // PER_DECADE)).cast("int32")
    cells = cells.mutate(at=at, row=coarse.clip(_LOWEST_BIN, _HIGHEST_BIN))
    return (
        cells.group_by("at", bin=cells.row)
        .aggregate(count=cells.number.sum())
        .order_by("at", "bin")
        .limit(MAX_ROWS)
    )


def _sums(cells: ir.Table) -> ir.Table:
    answer = cells.group_by("name", "server").aggregate(**_figures(cells))
    return answer.order_by("name", "server").limit(MAX_ROWS)
