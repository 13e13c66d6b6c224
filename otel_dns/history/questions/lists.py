"""Lookups one by one: lists, one with everything, and those beside it."""

from typing import Any, Final

import ibis
import ibis.expr.types as ir

from otel_dns.history.answers import Brief, Kept
from otel_dns.history.questions.asking import EVERYTHING, Asking, bounded, read_segments
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.history.where import Where

_BRIEF: Final = tuple(name for name in Brief.__dataclass_fields__ if name != "segments")
_WHOLE_ID: Final = 32


class Lists(Asking):
    """Questions about lookups one by one."""

    def count(self, where: Where = EVERYTHING) -> int:
        """Count lookups."""
        count: int = self.ask(_count, where)[0]["lookups"]
        return count

    def slowest(
        self, where: Where = EVERYTHING, *, limit: int = 50, offset: int = 0
    ) -> list[Brief]:
        """List lookups, the slowest first; inferred ones, which claim no latency, come last."""
        return self._list(_slowest, where, limit, offset)

    def latest(self, where: Where = EVERYTHING, *, limit: int = 50, offset: int = 0) -> list[Brief]:
        """List lookups, the latest first."""
        return self._list(_latest, where, limit, offset)

    def earliest(
        self, where: Where = EVERYTHING, *, limit: int = 50, offset: int = 0
    ) -> list[Brief]:
        """List lookups, the earliest first."""
        return self._list(_earliest, where, limit, offset)

    def beside(self, one: Brief, where: Where = EVERYTHING) -> tuple[Brief | None, Brief | None]:
        """Give the lookups of the same client before and after one, where there are any.

        Args:
            one: in the middle.
            where: how far before and after, and what a reader may see.
        """
        middle: dict[str, str | int] = {
            "client": one.client, "pod": one.pod, "namespace": one.namespace,
            "at_ns": one.start_ns, "span": one.span_id,
        }  # fmt: skip
        found = [self.ask(question, where, **middle) for question in (_before, _after)]
        before, after = ([_brief(row) for row in rows] for rows in found)
        return before[0] if before else None, after[0] if after else None

    def lookup(
        self, trace_id: str, span_id: str = "", where: Where = EVERYTHING, *, limit: int = 100
    ) -> list[Kept]:
        """Give the lookups of one trace with everything that was kept, in order of start.

        Args:
            trace_id: 32 hex digits, or how they begin.
            span_id: 16 hex digits, for one lookup of the trace; empty: all.
            where: for a period, which makes it fast, and for what a reader may see.
            limit: of the answer.
        """
        wanted = {"of_trace": trace_id.lower()} | ({"of_span": span_id.lower()} if span_id else {})
        whole = len(trace_id) == _WHOLE_ID
        return [Kept.of(row) for row in self.ask(_lookup, where, whole, bounded(limit), **wanted)]

    def _list(self, question: Any, where: Where, limit: int, offset: int) -> list[Brief]:
        rows = self.ask(question, where, bounded(limit), max(offset, 0))
        return [_brief(row) for row in rows]


def _brief(row: dict[str, Any]) -> Brief:
    return Brief(segments=read_segments(row), **row)


def _count(kept: ir.Table) -> ir.Table:
    return kept.aggregate(lookups=kept.count())


def _page(ordered: ir.Table, limit: int, offset: int) -> ir.Table:
    return ordered.limit(limit, offset=offset).select(*_BRIEF, *SEGMENT_COLUMNS.values())


def _slowest(kept: ir.Table, limit: int, offset: int) -> ir.Table:
    order = ("inferred", ibis.desc("duration_ns"), ibis.desc("start_ns"), "span_id")
    return _page(kept.order_by(*order), limit, offset)


def _latest(kept: ir.Table, limit: int, offset: int) -> ir.Table:
    return _page(kept.order_by(ibis.desc("start_ns"), "span_id"), limit, offset)


def _earliest(kept: ir.Table, limit: int, offset: int) -> ir.Table:
    return _page(kept.order_by("start_ns", "span_id"), limit, offset)


def _of_client(kept: ir.Table, client: str, pod: str, namespace: str) -> ir.Table:
    return kept.filter(kept.client == client, kept.pod == pod, kept.namespace == namespace)


def _before(
    kept: ir.Table, *, client: str, pod: str, namespace: str, at_ns: int, span: str
) -> ir.Table:
    kept = _of_client(kept, client, pod, namespace)
    tied = (kept.start_ns == at_ns) & (kept.span_id < span)
    kept = kept.filter((kept.start_ns < at_ns) | tied)
    return _page(kept.order_by(ibis.desc("start_ns"), ibis.desc("span_id")), 1, 0)


def _after(
    kept: ir.Table, *, client: str, pod: str, namespace: str, at_ns: int, span: str
) -> ir.Table:
    kept = _of_client(kept, client, pod, namespace)
    tied = (kept.start_ns == at_ns) & (kept.span_id > span)
    kept = kept.filter((kept.start_ns > at_ns) | tied)
    return _page(kept.order_by("start_ns", "span_id"), 1, 0)


def _lookup(
    kept: ir.Table, whole: bool, limit: int, *, of_trace: str, of_span: str = ""
) -> ir.Table:
    is_it = kept.trace_id == of_trace if whole else kept.trace_id.startswith(of_trace)
    kept = kept.filter(is_it)
    if of_span:
        kept = kept.filter(kept.span_id == of_span)
    return kept.order_by("start_ns").limit(limit)
