"""How the demo sums up: which lookup was slow and why, what was wasted, and where to see it."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, number, text
from otel_dns.cli.waterfall import duration, meaning, printable

_HEADING: Final = 9


def short_report(lookups: Sequence[JoinedLookup]) -> RenderableType:
    """Sum up lookups in a few lines."""
    return Group(Text("In short", "bold"), *_lines(lookups))


def slowest(lookups: Sequence[JoinedLookup]) -> JoinedLookup:
    """Find the lookup that took the longest; there is one."""
    return max(lookups, key=lambda lookup: lookup.duration_ns)


def _lines(lookups: Sequence[JoinedLookup]) -> Iterator[Text]:
    if not lookups:
        yield _line("", "no lookup was joined")
        return
    slow = slowest(lookups)
    yield _line("slowest", f"{printable(slow.name)}  {duration(slow.duration_ns)}: {_why(slow)}")
    yield _line("", f"Jaeger: service {_service(slow)}, tags {_tags(slow)}", "bright_black")
    wasteful = max(lookups, key=lambda lookup: number(lookup.attribute(semconv.WASTE_QUERIES)))
    wasted = number(wasteful.attribute(semconv.WASTE_QUERIES))
    if wasted:
        queries = number(wasteful.attribute(semconv.QUERIES))
        yield _line(
            "waste",
            f"{printable(wasteful.name)}: {wasted} of {queries} queries are for names of its search"
            f" list; with a dot at its end it needs {queries - wasted}",
        )
    failed = [one for one in lookups if text(one.attribute(semconv.LOOKUP_OUTCOME)) != "ok"]
    for one in failed[:3]:
        outcome = text(one.attribute(semconv.LOOKUP_OUTCOME)).replace("_", " ")
        yield _line("failed", f"{printable(one.name)}: {outcome}", "red")
    sure = sum(text(one.attribute(semconv.JOIN_CERTAINTY)) == "sure" for one in lookups)
    yield _line("joined", f"{sure} of {len(lookups)} lookups for sure")


def _why(lookup: JoinedLookup) -> str:
    """Say what took most of it, and where."""
    bottleneck = text(lookup.attribute(semconv.BOTTLENECK))
    plugin = bottleneck.removeprefix("plugin:") if bottleneck.startswith("plugin:") else ""
    spent = lookup.plugins.get(plugin, 0) if plugin else lookup.segments.get(bottleneck, 0)
    part = f"{spent / max(lookup.duration_ns, 1):.0%} of it is "
    if plugin:
        return f"{part}plugin {printable(plugin, 20)}, {duration(spent)}"
    peers = set[str]()
    if bottleneck == semconv.SEGMENT_UPSTREAM:
        peers = {one.peer for query in lookup.queries for one in query.plugins if one.peer}
    of = f" {', '.join(printable(peer) for peer in sorted(peers))}" if peers else ""
    return f"{part}{meaning(bottleneck)}{of}, {duration(spent)}"


def _service(lookup: JoinedLookup) -> str:
    return printable(text(lookup.span.resource.get(semconv.SERVICE_NAME)))


def _tags(lookup: JoinedLookup) -> str:
    keys = (semconv.DNS_QUESTION_NAME, semconv.BOTTLENECK)
    return " ".join(f"{key}={printable(text(lookup.attribute(key)))}" for key in keys)


def _line(heading: str, said: str, style: str = "") -> Text:
    return Text(f"  {heading:{_HEADING}}", "bold").append(said, style or "default")
