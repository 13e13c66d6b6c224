"""The questions, asked of files through DuckDB."""

import statistics
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.history.files import HOUR_NS
from otel_dns.history.history import BusyError, History, HistoryError
from otel_dns.history.where import Where
from otel_dns.model import Resolution
from tests.history.support import POD, forwarded, keep, lookup, origin, resolution, searched
from tests.support.spans import MS, SECOND, T0

MINUTE = 60 * SECOND


def _in_pod(made: Resolution, pod: str, name: str = "") -> Resolution:
    span = replace(made.lookup.span, origin=origin(**{**POD, "k8s__pod__name": pod}))
    changed = replace(made.lookup, span=span, name=name or made.lookup.name)
    return replace(made, lookup=changed)


def _plain(start_ns: int, took_ns: int, **changes: object) -> Resolution:
    trace = forwarded(start_ns, wait_ns=took_ns // 2, name="www.example.org.")
    return resolution(lookup(start_ns, start_ns + took_ns, **changes), (trace, 3))


KEPT = (
    [searched(n * SECOND) for n in range(10)]
    + [_in_pod(_plain(MINUTE + n * SECOND, (n + 1) * 10 * MS), "cart-2") for n in range(5)]
    + [
        _in_pod(_plain(HOUR_NS + n * SECOND, 5 * SECOND, error_type="timeout"), "cart-3", "db.shop")
        for n in range(3)
    ]
)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    directory = tmp_path_factory.mktemp("history")
    keep(directory, *KEPT[:15])
    keep(directory, *KEPT[15:], number=2)
    with History(directory, threads=1) as opened:
        yield opened


def test_totals(history: History) -> None:
    totals = history.totals()
    assert (totals.lookups, totals.failed, totals.joined) == (18, 3, 18)
    assert history.reach().pods == 3
    assert (totals.queries, totals.waste_queries) == (48, 30)
    assert totals.first_at == T0
    assert sum(totals.segments.values()) == sum(
        one.lookup.end_ns - one.lookup.start_ns for one in KEPT
    )
    assert totals.latency.max_ns == 5 * SECOND


def test_totals_of_nothing(tmp_path: Path) -> None:
    with History(tmp_path / "none") as nothing:
        assert nothing.totals().lookups == 0
        assert nothing.totals().latency.p50_ns is None
        assert nothing.slowest() == nothing.over_time(SECOND) == nothing.lookup("00") == []


def test_files_from_before_the_newest_columns(tmp_path: Path) -> None:
    path = keep(tmp_path, searched())
    newer = ["stub_ns", "network_ns"]
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(newer), path)

    with History(tmp_path) as history:
        assert history.totals().segments["stub"] == 0
        (row,) = history.sql("SELECT stub_ns, waste_queries FROM lookups").to_pylist()

    assert row == {"stub_ns": None, "waste_queries": 3}


def test_a_period_reads_its_own_files_only(history: History) -> None:
    assert len(history.files()) == 2
    later = Where(since_ns=T0 + HOUR_NS)
    assert len(history.files(later)) == 1
    assert history.totals(later).lookups == 3
    assert history.totals(Where(until_ns=T0 + HOUR_NS)).lookups == 15


def test_steps_of_time_begin_at_their_multiples(history: History) -> None:
    points = history.over_time(MINUTE)
    assert [point.at for point in points] == sorted({point.at for point in points})
    assert all(point.at % MINUTE == 0 for point in points)
    assert sum(point.lookups for point in points) == 18
    assert sum(point.failed for point in points) == 3


def test_groups_tell_who_suffers(history: History) -> None:
    by_pod = {group.key: group for group in history.by("pod", order="p95_ns")}
    assert list(by_pod) == ["cart-3", "cart-2", "cart-1"]
    assert by_pod["cart-3"].failed == 3
    took = [(n + 1) * 10 * MS for n in range(5)]
    assert by_pod["cart-2"].latency.p50_ns == statistics.median(took)
    with pytest.raises(ValueError, match="dimension 'hops'"):
        history.by("hops")


def test_plugins_and_upstreams(history: History) -> None:
    plugins = {entry.plugin: entry for entry in history.plugins()}
    assert plugins["cache"].queries == 48
    assert semconv.CONNECT_SPAN not in plugins
    only = history.plugins(Where(plugin="cache"))
    assert [entry.plugin for entry in only] == ["cache"]
    (upstream,) = history.upstreams()
    assert (upstream.upstream, upstream.exchanges) == ("192.0.2.53:53", 48)
    assert upstream.max_ns == 2500 * MS
    assert (upstream.server, upstream.failed) == ("coredns", 0)
    (server,) = history.servers()
    assert (server.server, server.queries, server.failed) == ("coredns", 48, 0)
    assert (server.clients, server.first_at) == (1, T0)
    (whole,), (own,), (outside,) = map(history.subjects, ("server", "own", "outside"))
    assert whole.name == own.name == outside.name == "coredns"
    assert whole.total_ns == own.total_ns + history.subjects("upstream")[0].total_ns
    assert (own.total_ns, outside.queries) == (48 * MS, 18)
    bins = history.subject_bins("plugin", "cache", step_ns=MINUTE)
    assert sum(cell.count for cell in bins) == 48
    points = history.subject_over_time("plugin", "cache", MINUTE)
    assert sum(point.queries for point in points) == 48


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Where(pod="cart-2"), 5),
        (Where(name="www.*.org"), 15),
        (Where(name="*"), 18),
        (Where(name="db.shop"), 3),
        (Where(name="d*.s%"), 0),
        (Where(name="o'; DROP TABLE x; --"), 0),
        (Where(failed=True), 3),
        (Where(failed=False, wasteful=False), 5),
        (Where(wasteful=True), 10),
        (Where(upstream="192.0.2.53:53", server="coredns", plugin="cache"), 18),
        (Where(upstream="192.0.2.54:53"), 0),
        (Where(min_ns=SECOND), 3),
        (Where(max_ns=20 * MS), 2),
        (Where(namespaces=frozenset({"shop"})), 18),
        (Where(namespaces=frozenset()), 0),
        (Where(latency_class="over_1s", outcome="timeout"), 3),
        (Where(inferred=True), 0),
    ],
)
def test_where(history: History, where: Where, expected: int) -> None:
    assert history.totals(where).lookups == expected


def test_lists(history: History) -> None:
    slowest = history.slowest(limit=4)
    assert [brief.duration_ns for brief in slowest] == [5 * SECOND] * 3 + [50 * MS]
    assert history.slowest(limit=1, offset=3) == slowest[3:]
    assert history.latest(limit=1)[0].start_ns == T0 + HOUR_NS + 2 * SECOND
    starts = [brief.start_ns for brief in history.latest(limit=20)]
    assert starts == sorted((one.lookup.start_ns for one in KEPT), reverse=True)
    assert [brief.start_ns for brief in history.latest(limit=2, offset=2)] == starts[2:4]


def test_one_lookup_with_everything(history: History) -> None:
    wanted = KEPT[3].lookup
    (kept,) = history.lookup(wanted.span.trace_id.hex(), wanted.span.span_id.hex())
    assert kept.row["start_ns"] == wanted.start_ns
    assert [hop.rcode for hop in kept.hops] == ["NXDOMAIN"] * 3 + ["NOERROR"]
    assert all(hop.spans[0].name == semconv.SERVEDNS_SPAN for hop in kept.hops)
    assert sum(kept.segments.values()) == 26 * MS
    (brief,) = history.latest(Where(since_ns=wanted.start_ns, until_ns=wanted.start_ns + 1))
    beside = history.beside(brief)
    assert [one and one.start_ns - T0 for one in beside] == [2 * SECOND, 4 * SECOND]


def test_waste_and_who_asked(history: History) -> None:
    (habit,) = [habit for habit in history.habits() if habit.waste_queries]
    assert (habit.ndots, habit.dots, habit.as_it_is) == (5, 2, True)
    assert (habit.lookups, habit.waste_queries) == (15, 30)
    assert [one.name for one in history.wasted_names()] == ["www.example.org"]
    askers = history.askers(["WWW.example.org."])
    assert [(asker.pod, asker.lookups) for asker in askers][:2] == [("cart-1", 10), ("cart-2", 5)]
    assert [asker.name for asker in history.askers(["*.shop"])] == ["db.shop"]


def test_sql_reads_the_history_and_nothing_else(history: History, tmp_path: Path) -> None:
    assert history.sql("SELECT count(*) AS n FROM lookups").to_pylist() == [{"n": 18}]
    assert history.sql("SELECT count(*) AS n FROM hops").to_pylist() == [{"n": 48}]
    assert history.sql("FROM lookups", limit=7).num_rows == 7
    outside = tmp_path / "out.csv"
    outside.write_text("a\n1\n")
    for query in (
        f"COPY lookups TO '{tmp_path / 'copy.csv'}'",
        f"FROM read_csv('{outside}')",
        "SET threads = 64",
        "INSTALL httpfs",
        "nonsense",
    ):
        with pytest.raises(HistoryError):
            history.sql(query)
    assert not (tmp_path / "copy.csv").exists()


def test_sql_that_would_never_end_is_ended(tmp_path: Path) -> None:
    endless = "SELECT sum(a.range * b.range) FROM range(1_000_000_000) a, range(1_000_000_000) b"
    with History(tmp_path, threads=1, question_s=0.1) as opened, pytest.raises(BusyError):
        opened.sql(endless)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_left_out_and_named(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    keep(tmp_path, *KEPT[:5])
    path = keep(tmp_path, *KEPT[5:15], number=2)
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        del raw[len(raw) // 2 :]
    else:
        raw[200 : len(raw) // 2] = bytes(len(raw) // 2 - 200)
    path.write_bytes(raw)
    with History(tmp_path) as opened:
        assert opened.totals().lookups == 5
        assert set(opened.damaged) == {path}
    assert path.name in caplog.text
