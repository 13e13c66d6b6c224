"""Servers, plugins and upstreams: how long each takes, over time, beside another."""

import math
from collections.abc import Sequence
from typing import Any, Final

from otel_dns import semconv
from otel_dns.history.schema import SEGMENT_COLUMNS
from otel_dns.web.answering import Answering
from otel_dns.web.asked import SECOND, Asked
from otel_dns.web.overview import PERCENTILES_SQL, percentiles
from otel_dns.web.shapes import Comparison, Latency, Servers, Side, Subject
from otel_dns.web.situation import Course, Seen, Stats

FAILURES_SQL: Final = "('SERVFAIL', 'REFUSED', 'FORMERR', 'NOTIMP')"
_CONNECT: Final = semconv.CONNECT_SPAN

_OUTSIDE: Final = " + ".join(
    SEGMENT_COLUMNS[segment]
    for segment in semconv.SEGMENTS
    if segment not in {semconv.SEGMENT_SERVER, semconv.SEGMENT_UPSTREAM, semconv.SEGMENT_WAITING}
)

# Each kind as rows of (name, began, ns, failed): one for each query, or for each exchange.
SOURCES: Final = {
    "server": f"""
        SELECT h.server AS name, began, h.duration_ns AS ns, h.rcode IN {FAILURES_SQL} AS failed
        FROM (SELECT start_ns AS began, unnest(hops) AS h FROM lookups)""",
    "own": """
        SELECT h.server AS name, began, greatest(h.duration_ns - h.upstream_ns, 0) AS ns,
            false AS failed
        FROM (SELECT start_ns AS began, unnest(hops) AS h FROM lookups)""",
    "outside": f"""
        SELECT hops[1].server AS name, start_ns AS began,
            ({_OUTSIDE}) // greatest(queries, 1) AS ns, false AS failed
        FROM lookups WHERE len(hops) > 0 AND NOT inferred""",
    "plugin": f"""
        SELECT p.plugin AS name, began, p.own_ns // greatest(p.queries, 1) AS ns, false AS failed
        FROM (SELECT start_ns AS began, unnest(plugins) AS p FROM lookups)
        WHERE p.plugin <> '{_CONNECT}'""",
    "upstream": f"""
        SELECT e.upstream AS name, began, e.duration_ns AS ns,
            e.rcode IN {FAILURES_SQL} AS failed
        FROM (SELECT start_ns AS began, unnest(exchanges) AS e FROM lookups)""",
}
"""``own``: a server's time without its upstream's. ``outside``: a lookup's time for each query that
is neither at a server nor at its upstream, nor a timeout, by the server that was asked first."""
KINDS: Final = ("server", "plugin", "upstream")
_LABELS: Final = {semconv.SERVEDNS_SPAN: "servedns (around the plugins)"}
_PER_DECADE: Final = 4
_DECADES: Final = (3, 10)
"""Rows of a heat map: from 1 µs to 10 s."""
_SUBJECTS: Final = 50


def servers(answering: Answering, asked: Asked) -> Servers:
    """All servers, plugins and upstreams, the slowest first."""
    return Servers(
        servers=_subjects(answering, asked, "server"),
        plugins=_subjects(answering, asked, "plugin"),
        traced=traced_share(answering, asked),
        upstreams=_subjects(answering, asked, "upstream"),
    )


def traced_share(answering: Answering, asked: Asked) -> float:
    """What part of all queries came with CoreDNS's own spans, and so with plugins' times."""
    (row,) = answering.rows(
        f"""
        SELECT count(*) AS queries, count(*) FILTER (source = '{semconv.SOURCE_TRACE}') AS traced
        FROM (SELECT unnest(hops).source AS source FROM lookups)
        """,
        asked,
    )
    return float(row["traced"] / row["queries"]) if row["queries"] else 0.0


def _subjects(answering: Answering, asked: Asked, kind: str) -> list[Subject]:
    rows = answering.rows(
        f"""
        SELECT name, count(*) AS queries, count(*) FILTER (failed) AS failed,
            {PERCENTILES_SQL.format("ns")} AS q
        FROM ({SOURCES[kind]}) GROUP BY name ORDER BY q[2] DESC, name LIMIT {_SUBJECTS}
        """,
        asked,
    )
    return [_subject(kind, row) for row in rows]


def _subject(kind: str, row: dict[str, Any]) -> Subject:
    p50, p95, p99 = percentiles(row["q"])
    return Subject(
        subject=f"{kind}:{row['name']}",
        label=_LABELS.get(row["name"], row["name"]) or "(not told)",
        queries=row["queries"],
        failed=None if kind == "plugin" else row["failed"],
        p50_ns=p50,
        p95_ns=p95,
        p99_ns=p99,
    )


# -- for findings ---------------------------------------------------------------------------------


def seen(answering: Answering, asked: Asked, kind: str) -> list[Seen]:
    """Each subject of a kind in this time, in the time before, and its course."""
    step_ns = asked.window.step_s * SECOND
    both = Asked(
        type(asked.window)(asked.before().window.from_ns, asked.window.to_ns),
        asked.scope,
        asked.filters,
    )
    # One scan for both: what follows is the same rows grouped in two ways.
    rows = answering.rows(
        f"""
        SELECT name, is_now, col, count(*) AS queries, count(*) FILTER (failed) AS failed,
            sum(ns)::BIGINT AS total, {PERCENTILES_SQL.format("ns")} AS q
        FROM (SELECT name, ns, failed, began >= {asked.window.from_ns} AS is_now,
                began // {step_ns} AS col FROM ({SOURCES[kind]}) WHERE name <> '')
        GROUP BY GROUPING SETS ((name, is_now), (name, col)) ORDER BY name, col
        """,
        both,
    )
    figures = [row for row in rows if row["is_now"] is not None]
    first = asked.window.from_ns // step_ns
    columns = [row for row in rows if row["is_now"] is None and row["col"] >= first]
    return [
        Seen(
            name=name,
            now=_stats(figures, name, now=True),
            before=_stats(figures, name, now=False),
            course=_course([row for row in columns if row["name"] == name], asked.window.step_s),
        )
        for name in sorted({row["name"] for row in figures})
    ]


def plugin_times(answering: Answering, asked: Asked) -> list[dict[str, Any]]:
    """Own time of every plugin at every server: its queries, and their time together."""
    return answering.rows(
        f"""
        SELECT p.server, p.plugin, sum(p.queries)::BIGINT AS queries,
            sum(p.own_ns)::BIGINT AS own_ns
        FROM (SELECT unnest(plugins) AS p FROM lookups)
        WHERE p.plugin <> '{_CONNECT}' AND p.server <> '' GROUP BY ALL
        """,
        asked,
    )


def _stats(rows: Sequence[dict[str, Any]], name: str, *, now: bool) -> Stats:
    for row in rows:
        if row["name"] == name and row["is_now"] is now:
            return Stats(row["queries"], row["failed"], row["total"], *percentiles(row["q"]))
    return Stats()


def _course(rows: Sequence[dict[str, Any]], step_s: int) -> Course:
    return Course(
        times=[row["col"] * step_s for row in rows],
        counts=[row["queries"] for row in rows],
        p95_ns=[percentiles(row["q"])[1] for row in rows],
        failed=[row["failed"] for row in rows],
    )


# -- over time ------------------------------------------------------------------------------------


def latency(answering: Answering, asked: Asked, subject: str) -> Latency:
    """How long a subject took, as a heat map and as percentiles."""
    kind, name = split(subject)
    step_ns = asked.window.step_s * SECOND
    rows = answering.rows(
        f"""
        SELECT began // {step_ns} AS col, {_BIN} AS bin, count(*) AS n FROM ({SOURCES[kind]})
        WHERE name = ? GROUP BY ALL
        """,
        asked,
        [name],
    )
    quantiles = {
        row["col"] * asked.window.step_s: percentiles(row["q"])
        for row in answering.rows(
            f"""
            SELECT began // {step_ns} AS col, {PERCENTILES_SQL.format("ns")} AS q
            FROM ({SOURCES[kind]}) WHERE name = ? GROUP BY ALL
            """,
            asked,
            [name],
        )
    }
    low, high = _used(row["bin"] for row in rows)
    times = asked.window.times
    place = {time: number for number, time in enumerate(times)}
    counts = [[0] * (high - low) for _ in times]
    for row in rows:
        column = place.get(row["col"] * asked.window.step_s)
        if column is not None:
            counts[column][row["bin"] - low] += row["n"]
    nothing = (None, None, None)
    return Latency(
        times=times,
        step_s=asked.window.step_s,
        edges_ns=_edges(low, high),
        counts=counts,
        p50_ns=[quantiles.get(time, nothing)[0] for time in times],
        p95_ns=[quantiles.get(time, nothing)[1] for time in times],
        p99_ns=[quantiles.get(time, nothing)[2] for time in times],
    )


def comparison(answering: Answering, asked: Asked, subject: str, versus: str) -> Comparison:
    """Compare a subject with another one, or with itself in the time before (``before``)."""
    kind, name = split(subject)
    other_kind, other_name = (kind, name) if versus == "before" else split(versus)
    other_asked = asked.before() if versus == "before" else asked
    first = _distribution(answering, asked, kind, name)
    second = _distribution(answering, other_asked, other_kind, other_name)
    low, high = _used([*first[1], *second[1]])
    here, there = ("this time", "the time before") if versus == "before" else (name, other_name)
    return Comparison(
        edges_ns=_edges(low, high),
        a=_side(here, first, low, high),
        b=_side(there, second, low, high),
    )


_Distribution = tuple[dict[str, Any], dict[int, int]]


def _distribution(answering: Answering, asked: Asked, kind: str, name: str) -> _Distribution:
    (figures,) = answering.rows(
        f"""
        SELECT count(*) AS queries, count(*) FILTER (failed) AS failed,
            {PERCENTILES_SQL.format("ns")} AS q FROM ({SOURCES[kind]}) WHERE name = ?
        """,
        asked,
        [name],
    )
    bins = answering.rows(
        f"SELECT {_BIN} AS bin, count(*) AS n FROM ({SOURCES[kind]}) WHERE name = ? GROUP BY bin",
        asked,
        [name],
    )
    return {**figures, "kind": kind}, {row["bin"]: row["n"] for row in bins}


def _side(label: str, of: _Distribution, low: int, high: int) -> Side:
    figures, bins = of
    p50, p95, p99 = percentiles(figures["q"])
    return Side(
        label=label,
        queries=figures["queries"],
        failed=None if figures["kind"] == "plugin" else figures["failed"],
        p50_ns=p50,
        p95_ns=p95,
        p99_ns=p99,
        share=[bins.get(bin_, 0) / max(figures["queries"], 1) for bin_ in range(low, high)],
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


_BIN: Final = (
    f"least(greatest(floor({_PER_DECADE} * log10(greatest(ns, 1)))::INT,"
    f" {_DECADES[0] * _PER_DECADE}), {_DECADES[1] * _PER_DECADE - 1})"
)


def _used(bins: Any) -> tuple[int, int]:
    """The rows to show: those in use, one above and one below, and at least three decades."""
    used = list(bins) or [4 * _PER_DECADE]
    low = max(min(used) - 1, _DECADES[0] * _PER_DECADE)
    high = max(max(used) + 2, low + 3 * _PER_DECADE)
    return low, high


def _edges(low: int, high: int) -> list[int]:
    return [round(math.pow(10, bin_ / _PER_DECADE)) for bin_ in range(low, high)]
