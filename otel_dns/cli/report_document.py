"""The document that ``otel-dns report`` makes of a period."""

import io
import time
from collections.abc import Iterator
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from otel_dns import semconv
from otel_dns.cli.answers import LOOKUPS, to_json
from otel_dns.cli.joined import kept_lookup
from otel_dns.cli.tables import field, table, when
from otel_dns.cli.waterfall import duration, legend, meaning, printable, waterfall
from otel_dns.history.history import History
from otel_dns.history.where import Where
from otel_dns.web.access import EVERYTHING
from otel_dns.web.advice import advice
from otel_dns.web.asked import Asked, Window
from otel_dns.web.live import Live
from otel_dns.web.state import state

_WIDTH: Final = 120
_STYLES: Final = {"bad": "bold red", "warn": "yellow", "note": "cyan"}
_VERDICTS: Final = {"healthy": "bold green", "unknown": "bold yellow"}

_GROUPS: Final = (
    field("lookups", "count", "lookups"), field("failed", "count", "failed"),
    ("p50", "duration", lambda item: item.latency.p50_ns),
    ("p95", "duration", lambda item: item.latency.p95_ns),
    ("p99", "duration", lambda item: item.latency.p99_ns),
    field("queries", "count", "queries"), field("waste", "count", "waste_queries"),
)  # fmt: skip
_TIMES: Final = (
    ("p50", "duration", lambda item: item.p50_ns), ("p95", "duration", lambda item: item.p95_ns),
    ("p99", "duration", lambda item: item.p99_ns),
)  # fmt: skip


class Report:
    """One period's report: the page's own judgement, and the tables behind it."""

    def __init__(self, history: History, since_ns: int | None, until_ns: int | None) -> None:
        reach = history.extent(Where(since_ns=since_ns, until_ns=until_ns))
        now = time.time_ns()
        self._history = history
        self._since = since_ns if since_ns is not None else reach.first_at or now
        self._until = (
            until_ns if until_ns is not None else max(reach.last_at or now, self._since) + 1
        )
        window = Window(self._since, self._until).rounded()
        self._since, self._until = window.from_ns, window.to_ns
        self._where = Where(since_ns=self._since, until_ns=self._until)
        self._totals = history.totals(self._where)
        asked = Asked(window, EVERYTHING)
        self._state = state(history, asked, Live(""))
        self._advised = advice(history, asked)

    def data(self) -> dict[str, Any]:
        """Everything, for programs."""
        history, where = self._history, self._where
        return {
            "since": when(self._since), "until": when(self._until),
            "state": self._state.model_dump(), "totals": self._totals,
            "advice": [one.model_dump() for one in self._advised.advice],
            "pods": history.by("pod", where, limit=20), "nodes": history.by("node", where),
            "names": history.by("name", where, limit=20), "servers": history.servers(where),
            "upstreams": history.upstreams(where), "plugins": history.plugins(where),
            "slowest": history.slowest(where, limit=20),
        }  # fmt: skip

    def written(self, kind: str) -> str:
        """Everything as one text: ``text``, ``html`` or ``json``."""
        if kind == "json":
            return to_json(self.data(), indent=2)
        recorded = Console(
            record=kind == "html", file=io.StringIO(), width=_WIDTH, highlight=False, markup=False,
            emoji=False, force_terminal=False, color_system="truecolor" if kind == "html" else None,
        )  # fmt: skip
        recorded.print(self.drawn(_WIDTH))
        if kind == "html":
            return recorded.export_html(inline_styles=True)
        written = recorded.file
        assert isinstance(written, io.StringIO)
        return written.getvalue()

    def drawn(self, width: int) -> RenderableType:
        """Everything for people, so many columns wide."""
        return Group(*self._parts(width))

    def _parts(self, width: int) -> Iterator[RenderableType]:
        found = self._state
        yield Text(f"DNS from {when(self._since)} to {when(self._until)} UTC", "bold")
        verdict = Text(found.sentence, _VERDICTS.get(found.verdict, "bold red"))
        yield verdict.append(f"  {found.reason}", "default")
        for seen in found.coverage:
            yield Text(f"  {seen.label}: {seen.value}", "" if seen.enough else "yellow")
        for one in found.findings:
            yield Text("")
            since = "" if one.since_us is None else f", since {when(one.since_us * 1000)} UTC"
            yield Text(printable(one.title, 300), _STYLES[one.severity]).append(since, "bold")
            yield Padding(Text(printable(one.detail, 1000)), (0, 0, 0, 2))
            evidence = ", ".join(f"{each.label} {each.value}" for each in one.evidence)
            if evidence:
                said = Text(f"evidence: {printable(evidence, 1000)}", "bright_black")
                yield Padding(said, (0, 0, 0, 2))
            if one.advice:
                yield Padding(Text(printable(one.advice, 1000), "bright_black"), (0, 0, 0, 2))
        yield from self._segments(width)
        yield from self._tables(width)
        yield from self._advice()
        slowest = self._history.slowest(self._where, limit=10)
        if slowest:
            yield Text("")
            yield table(slowest, LOOKUPS[:7] + LOOKUPS[10:], "The slowest lookups", width=width)
            first = slowest[0]
            for kept in self._history.lookup(first.trace_id, first.span_id, self._where, limit=1):
                yield Text("")
                yield waterfall(kept_lookup(kept), width)
                yield legend()

    def _segments(self, width: int) -> Iterator[RenderableType]:
        total = sum(self._totals.segments.values())
        if not total:
            return
        yield Text("")
        yield Text("Where the time of all lookups went", "italic")
        for segment in semconv.SEGMENTS:
            spent = self._totals.segments[segment]
            if spent:
                bar = "█" * round(min(40, max(width - 40, 8)) * spent / total)
                yield Text(
                    f"  {meaning(segment):18} {duration(spent):>10} {spent / total:6.1%} {bar}"
                )

    def _tables(self, width: int) -> Iterator[RenderableType]:
        history, where = self._history, self._where
        for by, title in (("pod", "Pods"), ("node", "Nodes"), ("name", "Names")):
            groups = [group for group in history.by(by, where, limit=10) if group.key]
            if groups:
                yield Text("")
                yield table(groups, (field(by, "name", "key"), *_GROUPS), title, width=width)
        servers = history.servers(where, limit=20)
        if servers:
            columns = (
                field("server", "name", "server"), field("queries", "count", "queries"),
                field("failed", "count", "failed"), *_TIMES,
            )  # fmt: skip
            yield Text("")
            yield table(servers, columns, "DNS servers", width=width)
        upstreams = history.upstreams(where, limit=20)
        if upstreams:
            of_upstreams = (
                field("upstream", "name", "upstream"), field("asked by", "name", "server"),
                field("exchanges", "count", "exchanges"), field("failed", "count", "failed"),
                *_TIMES,
            )  # fmt: skip
            yield Text("")
            yield table(upstreams, of_upstreams, "Upstreams", width=width)

    def _advice(self) -> Iterator[RenderableType]:
        for one in self._advised.advice:
            yield Text("")
            yield Text(printable(one.title, 300), "bold cyan")
            yield Padding(Text(printable(one.text, 1000)), (0, 0, 0, 2))
            for way in one.ways:
                if way.paste:
                    yield Padding(Text(way.text), (0, 0, 0, 2))
                    yield from (Text(f"    {printable(line, 300)}", "cyan") for line in way.paste)
