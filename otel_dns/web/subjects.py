"""Servers, plugins and upstreams: how long each takes, over time, beside another."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from otel_dns import semconv
from otel_dns.history import answers
from otel_dns.history.history import History
from otel_dns.history.questions import PER_DECADE
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.shapes import Comparison, Latency, Servers, Side, Subject
from otel_dns.web.situation import Course, Seen, Stats

KINDS: Final = ("server", "plugin", "upstream")
_LABELS: Final = {semconv.SERVEDNS_SPAN: "servedns (around the plugins)"}
_DECADES: Final = (3, 10)
"""Rows of a heat map: from 1 µs to 10 s."""


def servers(history: History, asked: Asked) -> Servers:
    """All servers, plugins and upstreams, the slowest first."""
    shown = {kind: history.subjects(kind, asked.where) for kind in KINDS}
    rows = {kind: [_subject(kind, one) for one in found] for kind, found in shown.items()}
    return Servers(
        servers=rows["server"],
        plugins=rows["plugin"],
        traced=_share(shown["server"]),
        upstreams=rows["upstream"],
    )


def _share(servers: Sequence[answers.Subject]) -> float:
    """What part of all queries came with CoreDNS's own spans, and so with plugins' times."""
    queries = sum(one.queries for one in servers)
    return sum(one.traced for one in servers) / queries if queries else 0.0


def _subject(kind: str, one: answers.Subject) -> Subject:
    return Subject(
        subject=f"{kind}:{one.name}",
        label=_LABELS.get(one.name, one.name) or "(not told)",
        queries=one.queries,
        failed=None if kind == "plugin" else one.failed,
        p50_ns=one.p50_ns,
        p95_ns=one.p95_ns,
        p99_ns=one.p99_ns,
    )


# -- for findings ---------------------------------------------------------------------------------


def seen(history: History, asked: Asked, kind: str, *, before: bool = True) -> list[Seen]:
    """Each subject of a kind in this time, in the time before (if wanted), and its course."""
    where = (asked.both() if before else asked).where
    points = history.subjects_over_time(
        kind, asked.window.step_s * SECOND, asked.window.from_ns, where
    )
    by_name: dict[str, list[answers.SubjectPoint]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    return [
        Seen(
            name=name,
            now=_stats(of, is_before=False),
            before=_stats(of, is_before=True),
            course=_course([point for point in of if point.at is not None]),
        )
        for name, of in sorted(by_name.items())
    ]


def _stats(points: Iterable[answers.SubjectPoint], *, is_before: bool) -> Stats:
    for one in points:
        if one.at is None and one.is_before is is_before:
            return Stats(
                count=one.queries, failed=one.failed, total_ns=one.total_ns, p50_ns=one.p50_ns,
                p95_ns=one.p95_ns, p99_ns=one.p99_ns, traced=one.traced,
            )  # fmt: skip
    return Stats()


def _course(points: Sequence[answers.SubjectPoint]) -> Course:
    return Course(
        times=[(point.at or 0) // SECOND for point in points],
        counts=[point.queries for point in points],
        p95_ns=[point.p95_ns for point in points],
        failed=[point.failed for point in points],
    )


# -- over time ------------------------------------------------------------------------------------


def latency(history: History, asked: Asked, subject: str) -> Latency:
    """How long a subject took, as a heat map and as percentiles."""
    kind, name = split(subject)
    step_ns = asked.window.step_s * SECOND
    cells = history.subject_bins(kind, name, asked.where, step_ns=step_ns)
    points = {
        point.at: point for point in history.subject_over_time(kind, name, step_ns, asked.where)
    }
    low, high = _used(cell.bin for cell in cells)
    times = asked.window.times
    place = {time * SECOND: number for number, time in enumerate(times)}
    counts = [[0] * (high - low) for _ in times]
    for cell in cells:
        if (column := place.get(cell.at)) is not None:
            counts[column][cell.bin - low] += cell.count
    columns = [points.get(time * SECOND) for time in times]
    return Latency(
        times=times,
        step_s=asked.window.step_s,
        edges_ns=_edges(low, high),
        counts=counts,
        p50_ns=[point.p50_ns if point else None for point in columns],
        p95_ns=[point.p95_ns if point else None for point in columns],
        p99_ns=[point.p99_ns if point else None for point in columns],
    )


def comparison(history: History, asked: Asked, subject: str, versus: str) -> Comparison:
    """Compare a subject with another one, or with itself in the time before (``before``)."""
    kind, name = split(subject)
    other_kind, other_name = (kind, name) if versus == "before" else split(versus)
    other_asked = asked.before() if versus == "before" else asked
    first = history.subject_bins(kind, name, asked.where)
    second = history.subject_bins(other_kind, other_name, other_asked.where)
    low, high = _used(cell.bin for cell in (*first, *second))
    here, there = ("this time", "the time before") if versus == "before" else (name, other_name)

    def side(label: str, of: Asked, kind: str, name: str, cells: list[answers.Bin]) -> Side:
        found = history.subjects(kind, of.where, name=name, limit=1)
        figures = found[0] if found else answers.Subject(name, 0, 0, 0, 0, None, None, None)
        counts = {cell.bin: cell.count for cell in cells}
        total = max(sum(counts.values()), 1)
        return Side(
            label=label,
            queries=figures.queries,
            failed=None if kind == "plugin" else figures.failed,
            p50_ns=figures.p50_ns,
            p95_ns=figures.p95_ns,
            p99_ns=figures.p99_ns,
            share=[counts.get(bin_, 0) / total for bin_ in range(low, high)],
        )

    return Comparison(
        edges_ns=_edges(low, high),
        a=side(here, asked, kind, name, first),
        b=side(there, other_asked, other_kind, other_name, second),
    )


def split(subject: str) -> tuple[str, str]:
    """Split ``plugin:cache`` into its kind and name.

    Raises:
        ValueError: it is no such thing.
    """
    kind, colon, name = subject.partition(":")
    if not colon or kind not in KINDS:
        raise ValueError(f"{subject!r} is none of server:NAME, plugin:NAME and upstream:ADDRESS")
    return kind, name


def _used(bins: Any) -> tuple[int, int]:
    """The rows to show: those in use, one above and one below, and at least three decades."""
    used = list(bins) or [4 * PER_DECADE]
    low = max(min(used) - 1, _DECADES[0] * PER_DECADE)
    high = max(max(used) + 2, low + 3 * PER_DECADE)
    return low, high


def _edges(low: int, high: int) -> list[int]:
    return [round(math.pow(10, bin_ / PER_DECADE)) for bin_ in range(low, high)]
