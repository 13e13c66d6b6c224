"""A joined lookup, drawn as text: queries as bars in time, plugins' own times, the breakdown.

Names come from DNS and are hostile text: they are drawn as Text, never as markup, with control
characters made visible.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, JoinedQuery, PluginTime, number, text

_LONGEST_NAME: Final = 48
_LEAST_NAME: Final = 10
_ANY: Final = 1024
"""Longer than any name, written with its escapes."""
_FIXED: Final = 33
"""Columns of a query's line beside its name and its bar."""
_PLUGIN_SHARE: Final = 0.1
"""Plugins with less of their query's time are summed up."""
_AFTER_SHARE: Final = 0.04
"""Less time after the answer than this share of the lookup is not worth a line."""

_MARKS: Final = {
    semconv.SEGMENT_STUB: (":", "bright_black", "stub resolver"),
    semconv.SEGMENT_NETWORK: ("─", "blue", "network"),
    semconv.SEGMENT_STUB_NETWORK: ("·", "bright_black", "stub and network"),
    semconv.SEGMENT_SERVER: ("█", "cyan", "DNS server"),
    semconv.SEGMENT_UPSTREAM: ("▓", "magenta", "upstream"),
    semconv.SEGMENT_WAITING: ("~", "red", "waiting, timeout"),
    semconv.SEGMENT_UNATTRIBUTED: ("?", "yellow", "unattributed"),
}
_WHY: Final = {
    semconv.UNSEEN_NOT_SAMPLED: ": CoreDNS samples, and did not trace its queries",
    semconv.UNSEEN_LOST: ": a server answered, and its spans were lost",
    semconv.UNSEEN_NOT_ARRIVED: ": no query arrived at a server",
    semconv.UNSEEN_NO_QUERY: ": it needed no query",
}
_AFTER: Final = ("░", "bright_black")


def duration(nanoseconds: int) -> str:
    """Write a duration as people read it: ``312 µs``, ``5.31 ms``, ``5.00 s``."""
    # What would be rounded up to a thousand is written in the next unit.
    if nanoseconds < 999_500:
        return f"{nanoseconds / 1000:.0f} µs"
    if nanoseconds < 999_995_000:
        return f"{nanoseconds / 1_000_000:.2f} ms"
    return f"{nanoseconds / 1_000_000_000:.2f} s"


def printable(name: str, longest: int = _LONGEST_NAME) -> str:
    """Make hostile text safe to print: no control characters, and not too long."""
    safe = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in name)
    return safe if len(safe) <= longest else f"{safe[: longest - 1]}…"


def _shortened(names: list[str], longest: int) -> list[str]:
    """Cut names where they tell least: those of a search list differ behind what they share."""
    labels = zip(*(name.split(".") for name in names), strict=False)
    shared = sum(len(same[0]) + 1 for same in takewhile(lambda each: len(set(each)) == 1, labels))

    def cut(name: str) -> str:
        if len(name) <= longest:
            return name
        end = name[shared:] or name[-(longest // 2) :]
        room = longest - longest // 4 - 1
        if len(end) > room:
            end = f"{end[: room - 1]}…"
        return f"{name[: longest - len(end) - 1]}…{end}"

    return [cut(name) for name in names]


def meaning(segment: str) -> str:
    """Say what a segment is, in a few words."""
    known = _MARKS.get(segment)
    return known[2] if known else segment.replace("_", " ")


def legend() -> Text:
    """Explain the marks."""
    line = Text()
    for mark, style, meaning in _MARKS.values():
        line.append(mark, style).append(f" {meaning}  ")
    return line.append(_AFTER[0], _AFTER[1]).append(" after the answer")


def waterfall(lookup: JoinedLookup, width: int) -> RenderableType:
    """Draw one lookup, so many columns wide (80 and more look well)."""
    parts: list[RenderableType] = [_title(lookup)]
    if lookup.queries:
        parts += [Padding(line, (0, 0, 0, 2)) for line in _queries(lookup, width)]
    else:
        why = _WHY.get(text(lookup.attribute(semconv.JOIN_UNSEEN)), "")
        parts.append(Text(f"  no server trace was found for this lookup{why}", "yellow"))
    parts += [Padding(line, (0, 0, 0, 2)) for line in _breakdown(lookup, width)]
    return Group(*parts)


def summary(lookups: list[JoinedLookup]) -> Table:
    """Draw a table of lookups, one a line."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    # These two give way where there is little room.
    table.add_column("lookup", overflow="ellipsis", min_width=_LEAST_NAME)
    gives_way = "most of it"
    for column, justify in (
        ("outcome", "left"), ("took", "right"), ("queries", "right"),
        ("waste", "right"), (gives_way, "left"), ("joined", "left"),
    ):  # fmt: skip
        table.add_column(column, justify=justify, no_wrap=column != gives_way)  # type: ignore[arg-type]
    for lookup in lookups:
        certainty = text(lookup.attribute(semconv.JOIN_CERTAINTY))
        table.add_row(
            Text(printable(lookup.name, 32)),
            _outcome(lookup),
            "" if lookup.inferred else duration(lookup.duration_ns),
            text(lookup.attribute(semconv.QUERIES)),
            text(lookup.attribute(semconv.WASTE_QUERIES)),
            _bottleneck(lookup),
            f"{text(lookup.attribute(semconv.JOIN_METHOD))} {certainty}".strip(),
        )
    return table


def _title(lookup: JoinedLookup) -> Text:
    title = Text()
    if lookup.caller is not None:
        service = text(lookup.caller.resource.get(semconv.SERVICE_NAME))
        title.append(f"{printable(service)}: {printable(lookup.caller.name)}", "bright_black")
        url = lookup.caller.attributes.get("http.url") or lookup.caller.attributes.get("url.full")
        title.append(f" {printable(text(url))}\n" if url else "\n", "bright_black")
    title.append(printable(lookup.name), "bold").append("  ").append(_outcome(lookup))
    title.append(f"  {duration(lookup.duration_ns)}", "bold")
    if lookup.inferred:
        facts = [
            f"at the servers; inferred: {text(lookup.attribute(semconv.CLIENT_ADDRESS))} asked"
        ]
    else:
        facts = [text(lookup.attribute(semconv.LOOKUP_API))]
    if queries := number(lookup.attribute(semconv.QUERIES)):
        waste = number(lookup.attribute(semconv.WASTE_QUERIES))
        facts.append(f"{queries} {'query' if queries == 1 else 'queries'}")
        if waste:
            facts.append(f"{waste} of them waste")
        if not lookup.inferred:
            facts.append(f"joined by {text(lookup.attribute(semconv.JOIN_METHOD))}")
            facts.append(text(lookup.attribute(semconv.JOIN_CERTAINTY)))
    return title.append("  " + ", ".join(facts), "bright_black")


def _outcome(lookup: JoinedLookup) -> Text:
    outcome = text(lookup.attribute(semconv.LOOKUP_OUTCOME))
    return Text(outcome.replace("_", " "), "green" if outcome == "ok" else "red")


def _bottleneck(lookup: JoinedLookup) -> str:
    bottleneck = text(lookup.attribute(semconv.BOTTLENECK))
    known = _MARKS.get(bottleneck)
    return known[2] if known else bottleneck.replace("plugin:", "plugin ")


def _queries(lookup: JoinedLookup, width: int) -> Iterator[Text]:
    first = lookup.span.start_ns
    last = max([lookup.span.end_ns, *(query.end_ns for query in lookup.queries)])
    longest = min(_LONGEST_NAME, max(width - _FIXED - 16, 16))
    names = _shortened([printable(query.name, _ANY) for query in lookup.queries], longest)
    column = max(map(len, names))
    columns = min(max(width - column - _FIXED, 8), 60)
    scale = f"0{duration(last - first):>{columns - 1}}"
    yield Text(f"{'query':{column}}  type  answer          took  {scale}", "bright_black")
    previous = ""
    for query, name in zip(lookup.queries, names, strict=True):
        line = Text(f"{'' if query.name == previous else name:{column}}  {query.type:5} ")
        answer = query.rcode or "no answer"
        line.append(f"{answer:9}", "green" if answer == "NOERROR" else "yellow")
        line.append(f" {duration(query.end_ns - query.start_ns):>10}  ")
        yield line.append(_bar(query, first, last, lookup.span.end_ns, columns))
        yield _plugins(query)
        previous = query.name


def _plugins(query: JoinedQuery) -> Text:
    line = Text("  ")
    rest_ns = 0
    for plugin in query.plugins:
        if plugin.own_ns < (query.end_ns - query.start_ns) * _PLUGIN_SHARE and not plugin.peer:
            rest_ns += plugin.own_ns
            continue
        if len(line) > 2:
            line.append(" > ", "bright_black")
        style = "magenta" if plugin.name == semconv.CONNECT_SPAN else "cyan"
        line.append(printable(plugin.name, 20), style)
        if plugin.peer:
            line.append(f" {printable(plugin.peer)}", "bright_black")
        if plugin.own_ns or not plugin.background_ns:
            line.append(f" {duration(plugin.own_ns)}")
        if plugin.background_ns:
            line.append(f" {duration(plugin.background_ns)} in the background", "bright_black")
    return line.append(f", the others {duration(rest_ns)}", "bright_black") if rest_ns else line


def _bar(query: JoinedQuery, first: int, last: int, answered: int, columns: int) -> Text:
    """Draw a query as a bar on the lookup's scale of time."""
    span_ns = max(last - first, 1)
    exchanges = [plugin for plugin in query.plugins if plugin.name == semconv.CONNECT_SPAN]
    begin = min((query.start_ns - first) * columns // span_ns, columns - 1)
    end = max(-(-(query.end_ns - first) * columns // span_ns), begin + 1)
    bar = Text(" " * max(begin, 0))
    for column in range(max(begin, 0), min(end, columns)):
        middle = first + (2 * column + 1) * span_ns // (2 * columns)
        if middle > answered:
            bar.append(*_AFTER)
        else:
            mark, style, _ = _MARKS[_segment_at(exchanges, middle)]
            bar.append(mark, style)
    return bar


def _segment_at(exchanges: list[PluginTime], at: int) -> str:
    if any(exchange.start_ns <= at < exchange.end_ns for exchange in exchanges):
        return semconv.SEGMENT_UPSTREAM
    return semconv.SEGMENT_SERVER


def _breakdown(lookup: JoinedLookup, width: int) -> Iterator[Text]:
    total = max(sum(lookup.segments.values()), 1)
    bar = Text()
    for segment, (mark, style, _) in _MARKS.items():
        share = lookup.segments[segment] / total
        bar.append(mark * max(round(share * min(width - 4, 80)), share > 0), style)
    yield bar
    line = Text()
    for segment, (_, style, meaning) in _MARKS.items():
        spent = lookup.segments[segment]
        if spent:
            line.append(" + " if line else "")
            line.append(meaning, style).append(f" {duration(spent)}")
            line.append(f" {spent / total:.0%}", "bright_black")
    yield line.append(f" = {duration(sum(lookup.segments.values()))}", "bold")
    if lookup.plugins:
        plugins = sorted(lookup.plugins.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{printable(name, 20)} {duration(spent)}" for name, spent in plugins)
        yield Text(f"DNS server, {lookup.plugins_are}: ", "cyan").append(shown, "default")
    after = number(lookup.attribute(semconv.AFTER_ANSWER))
    if after > total * _AFTER_SHARE:
        yield Text(
            f"after the answer, outside the lookup: {duration(after)} of the server's spans",
            "bright_black",
        )


__all__ = ["duration", "legend", "meaning", "printable", "summary", "waterfall"]
