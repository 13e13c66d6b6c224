"""The recording that the lab made of real programs, through the core and the renderer."""

import importlib
import io
import statistics
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

import otel_dns.lab
from otel_dns import semconv
from otel_dns.cli import main
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.cli.waterfall import duration, printable, summary, waterfall
from otel_dns.lab import delimited
from otel_dns.lab.errors import LabError
from otel_dns.service.recordings.replay import replay
from otel_dns.wire.otlp import decode

RECORDING = Path(otel_dns.lab.__file__).parent / "recordings" / "demo"


@pytest.fixture(scope="module")
def lookups() -> list[JoinedLookup]:
    requests = delimited.decode((RECORDING / "client-traces.otlp").read_bytes())
    bodies = (RECORDING / "coredns-zipkin.jsonl").read_bytes().splitlines()
    return joined_lookups(view for sent in replay(requests, bodies) for view in decode(sent))


@pytest.mark.parametrize(
    ("name", "outcome", "queries", "waste"),
    [
        ("web", "ok", 2, 0),
        ("db", "ok", 2, 0),
        ("www.example.org", "ok", 8, 6),
        ("slow.example.", "ok", 1, 0),
        ("paymets", "not_found", 8, 0),
    ],
)
def test_what_each_lookup_cost(lookups, name, outcome, queries, waste) -> None:
    (lookup,) = (each for each in lookups if each.name == name)
    assert lookup.attribute(semconv.LOOKUP_OUTCOME) == outcome
    assert lookup.attribute(semconv.QUERIES) == len(lookup.queries) == queries
    assert lookup.attribute(semconv.WASTE_QUERIES) == waste
    assert lookup.attribute(semconv.JOIN_CERTAINTY) == "sure"


def test_segments_and_own_times_add_up(lookups) -> None:
    for lookup in lookups:
        assert sum(lookup.segments.values()) == lookup.duration_ns
        assert sum(lookup.plugins.values()) == lookup.segments["server"]
        for query in lookup.queries:
            own = sum(plugin.own_ns for plugin in query.plugins)
            assert own == query.end_ns - query.start_ns


def test_next_to_nothing_is_unattributed(lookups) -> None:
    shares = [lookup.segments["unattributed"] / lookup.duration_ns for lookup in lookups]
    assert statistics.median(shares) <= 0.05


def test_the_slow_upstream_is_the_bottleneck(lookups) -> None:
    (lookup,) = (each for each in lookups if each.name == "slow.example.")
    assert lookup.attribute(semconv.BOTTLENECK) == "upstream"
    assert 50_000_000 <= lookup.segments["upstream"] < 52_000_000


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_drawn_within_the_width(lookups, width) -> None:
    for lookup in lookups:
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(waterfall(lookup, console.width))
        drawn = console.export_text()
        assert max(map(len, drawn.splitlines())) <= width
        assert drawn.count("NXDOMAIN") == sum(each.rcode == "NXDOMAIN" for each in lookup.queries)


@pytest.mark.parametrize("width", [60, 72, 80])
def test_candidates_are_told_apart_where_there_is_little_room(lookups, width) -> None:
    (lookup,) = (each for each in lookups if each.name == "www.example.org")
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(waterfall(lookup, console.width), summary(lookups))
    drawn = console.export_text().splitlines()
    names = [line.split()[0] for line in drawn if line.startswith("  www")]
    assert len(names) == len(set(names)) == len({query.name for query in lookup.queries}) == 4
    assert any(line.startswith("www.ex") for line in drawn[-8:])


def test_hostile_names_are_made_visible() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\x0ac\\x202ed"
    assert len(printable("x" * 500)) <= 48


@pytest.mark.parametrize(
    ("nanoseconds", "written"),
    [
        (312_400, "312 µs"),
        (999_499, "999 µs"),
        (999_600, "1.00 ms"),
        (5_310_000, "5.31 ms"),
        (999_994_000, "999.99 ms"),
        (999_999_999, "1.00 s"),
    ],
)
def test_a_duration_is_never_a_thousand_of_its_unit(nanoseconds: int, written: str) -> None:
    assert duration(nanoseconds) == written


def test_demo_replays_where_there_are_no_examples(monkeypatch) -> None:
    def missing() -> list[str]:
        raise LabError("there is no app.py")

    demo = importlib.import_module("otel_dns.cli.demo_run")
    monkeypatch.setattr(demo.scenarios, "storefront", missing)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0
    assert "No lab here (there is no app.py): replaying a recording." in result.output


def test_demo_replays_where_there_are_no_namespaces(monkeypatch) -> None:
    demo = importlib.import_module("otel_dns.cli.demo_run")
    monkeypatch.setattr(demo, "available", lambda: "no namespaces")
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0
    assert "No lab here (no namespaces): replaying a recording." in result.output
    assert "RECORDING of 20" in result.output
    assert "8 queries, 6 of them waste" in result.output
