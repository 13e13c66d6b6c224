"""The commands that ask the history, on files as the processor writes them."""

import datetime
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from otel_dns.cli import main
from otel_dns.cli.news import News
from otel_dns.history.history import History
from otel_dns.history.where import Where
from tests.history.support import forwarded, keep, lookup, resolution, searched
from tests.support.spans import MS, SECOND, T0

HOSTILE = "evil\x1b[31m[bold]\u202e.example.org"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("history")
    failed = resolution(
        lookup(60 * SECOND, 65 * SECOND, error_type="timeout"),
        (forwarded(60 * SECOND, name="www.example.org."), 3),
    )
    hostile = searched(62 * SECOND)
    hostile = replace(hostile, lookup=replace(hostile.lookup, name=HOSTILE))
    keep(made, *(searched(n * SECOND) for n in range(12)), failed, hostile)
    return made


def _run(directory: Path, *arguments: str) -> Result:
    done = CliRunner().invoke(main, [*arguments, "--history", str(directory)])
    assert not isinstance(done.exception, (AssertionError, TypeError, ValueError)), done.exc_info
    return done


def test_slow_is_lines_when_piped(directory: Path) -> None:
    done = _run(directory, "slow", "--since", "all", "-n", "2")
    assert done.exit_code == 0
    heading, first, _ = done.stdout.splitlines()
    assert heading.split("\t")[:4] == ["start (UTC)", "took", "name", "outcome"]
    assert first.split("\t")[1:4] == ["5.00 s", "www.example.org", "timeout"]
    assert len(first.split("\t")[-1]) == 32


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("report", "--format", "html", "-o", "/no/such/place"), 1, "No such file or directory"),
        (("export", "-o", "/no/such/place"), 1, "No such file or directory"),
        (("slow", "--outcome", "servfail"), 2, "'server_failure'"),
        (("slow", "--method", "guess"), 2, "'time'"),
        (("show", "nothing"), 2, "32 hex digits"),
    ],
)
def test_what_cannot_be_done_is_said(
    directory: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = _run(directory, *arguments)
    assert done.exit_code == code
    assert said in done.stderr


def test_a_report_of_a_period_without_lookups_tells_the_whole_period(directory: Path) -> None:
    report = json.loads(_run(directory, "report", "--since", "1h", "--json").stdout)
    ends = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=30)
    assert datetime.datetime.fromisoformat(f"{report['until']}+00:00") > ends


def test_every_answer_has_a_json_form(directory: Path) -> None:
    slow = json.loads(_run(directory, "slow", "--since", "all", "--json").stdout)
    assert slow[0]["duration_ns"] == 5 * SECOND
    shown = json.loads(_run(directory, "show", slow[0]["trace_id"], "--json").stdout)
    assert shown[0]["hops"][0]["spans"][0]["name"] == "servedns"
    (pod,) = json.loads(_run(directory, "top", "--since", "all", "--json").stdout)
    assert (pod["key"], pod["lookups"], pod["latency"]["max_ns"]) == ("cart-1", 14, 5 * SECOND)
    report = json.loads(_run(directory, "report", "--since", "all", "--json").stdout)
    assert report["totals"]["lookups"] == 14
    assert report["advice"][0]["ways"][0]["paste"][0] == "spec:"
    asked = _run(directory, "query", "SELECT count(*) AS n FROM hops", "--since", "all", "--json")
    assert json.loads(asked.stdout) == [{"n": 53}]


def test_show_draws_the_waterfall_of_the_latest(directory: Path) -> None:
    done = _run(directory, "show", "last")
    assert "4 queries" in done.stdout
    assert "connect 192.0.2.53:53 4.00 ms" in done.stdout
    assert "pod cart-1" in done.stdout
    (plugins,) = (line for line in done.stdout.splitlines() if "DNS server, over all" in line)
    assert "connect" not in plugins


@pytest.mark.parametrize("command", [["slow"], ["report"], ["top", "--by", "name"]])
def test_hostile_names_are_shown_and_change_nothing(directory: Path, command: list[str]) -> None:
    done = _run(directory, *command, "--since", "all")
    assert "evil\\x1b[31m[bold]" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


def test_a_report_is_a_document(directory: Path, tmp_path: Path) -> None:
    text = _run(directory, "report", "--since", "all").stdout
    for part in ("Where the time of all lookups went", "Upstreams", "ndots", "The slowest lookups"):
        assert part in text
    file = tmp_path / "report.html"
    done = _run(directory, "report", "--since", "all", "--format", "html", "-o", str(file))
    assert done.exit_code == 0
    assert "<html>" in file.read_text()
    assert "[bold]" in file.read_text()


def test_watch_tells_who_asked(directory: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("# a comment\nWWW.example.org.\n")
    done = _run(directory, "watch", "--list", str(names), "--since", "all", "--json")
    assert done.exit_code == 3, "somebody asked"
    (asker, *_) = json.loads(done.stdout)
    assert (asker["pod"], asker["node"]) == ("cart-1", "node-a")
    assert _run(directory, "watch", "nobody.example", "--since", "all").exit_code == 0


def test_watching_on_tells_of_lookups_that_come_after_later_ones(tmp_path: Path) -> None:
    def told(at_ns: int) -> list[tuple[str, int]]:
        return [(asker.pod, asker.lookups) for asker in news.askers(T0 + at_ns)]

    with History(tmp_path, threads=1) as history:
        news = News(history, ["www.example.org"], Where())
        assert told(0) == []
        keep(tmp_path, searched(10 * SECOND), searched(11 * SECOND))
        assert told(20 * SECOND) == [("cart-1", 2)]
        assert told(25 * SECOND) == []
        keep(tmp_path, searched(9 * SECOND), number=2)
        assert told(30 * SECOND) == [("cart-1", 1)]
        for at in range(60, 600, 60):  # and is not asked for what is over
            keep(tmp_path, searched(at * SECOND), number=at)
            assert told((at + 10) * SECOND) == [("cart-1", 1)]
        keep(tmp_path, searched(539 * SECOND), searched(541 * SECOND), number=1000)
        assert told(600 * SECOND) == [("cart-1", 2)]
        assert len(news._stretches) <= 4


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_export_has_every_lookup(directory: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "out"
    done = _run(directory, "export", "--since", "all", "--format", kind, "-o", str(file))
    assert done.exit_code == 0, done.output
    if kind == "parquet":
        assert pq.read_metadata(file).num_rows == 14
    else:
        assert len(file.read_text().splitlines()) == 14 + (kind == "csv")
    if kind == "jsonl":
        first = json.loads(file.read_text().splitlines()[0])
        assert first["duration_ns"] == 26 * MS


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "zz"], "is no trace id"),
        (["show", "0123456789abcdef"], "no lookup of trace"),
        (["slow", "--since", "yesterday"], "is no time"),
        (["slow", "--since", "1h", "--until", "2h"], "--until is before --since"),
        (["report", "--since", "1h", "--until", "2h"], "--until is before --since"),
        (["query", "  "], "no SQL"),
        (["query", "SELECT nonsense"], "nonsense"),
        (["query", "COPY lookups TO '/tmp/x'"], "Permission"),
        (["watch"], "no names"),
        (["export", "--format", "parquet"], "-o FILE"),
    ],
)
def test_errors_say_what_to_do(directory: Path, arguments: list[str], says: str) -> None:
    done = _run(directory, *arguments)
    assert done.exit_code
    assert says in done.output


def test_a_history_that_is_not_there(tmp_path: Path) -> None:
    done = _run(tmp_path / "none", "slow")
    assert done.exit_code == 1
    assert "--history DIR" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert "_OTEL_DNS_COMPLETE" in done.output
