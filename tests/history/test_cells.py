"""Cells beside the files answer as the files' own rows do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from otel_dns import semconv
from otel_dns.history import cells
from otel_dns.history.cells import cells_path, width_within, widths_of
from otel_dns.history.files import HOUR_NS, files_of
from otel_dns.history.history import History
from otel_dns.history.kinds import KINDS, REPEATED_NS
from otel_dns.history.schema import SCHEMA
from otel_dns.history.store import Store
from otel_dns.history.where import Where
from tests.support.spans import SECOND
from tests.web import rows

END = 490_019 * HOUR_NS + HOUR_NS // 2
PERIOD = Where(since_ns=END - HOUR_NS, until_ns=END)
PERIODS = {
    "whole hours": Where(),
    "five minutes": PERIOD,
    "ten seconds": Where(since_ns=END - HOUR_NS + 70 * SECOND, until_ns=END - 130 * SECOND),
    "cut anywhere": Where(since_ns=END - HOUR_NS + 70 * SECOND + 1, until_ns=END),
}
NOW = END - HOUR_NS // 4
MINUTE = 60 * SECOND
SLOW = "192.0.2.54:53"

QUESTIONS: dict[str, Callable[[History, Where], Any]] = {
    "extent": lambda ask, where: ask.extent(where),
    "totals": lambda ask, where: ask.totals(where),
    "over time": lambda ask, where: ask.over_time(5 * MINUTE, where),
    "strains": lambda ask, where: ask.strains(MINUTE, NOW, where),
    "reach": lambda ask, where: ask.reach(where),
    "plugin sums": lambda ask, where: ask.plugin_sums(where),
    "servers": lambda ask, where: ask.servers(where),
    "plugins": lambda ask, where: ask.plugins(where),
    "upstreams": lambda ask, where: ask.upstreams(where),
    **{
        f"{kind} over time": lambda ask, where, kind=kind: ask.subjects_over_time(
            kind, MINUTE, NOW, where
        )
        for kind in KINDS
    },
    "subjects": lambda ask, where: [ask.subjects(kind, where) for kind in KINDS],
    "one": lambda ask, where: ask.subject_over_time("upstream", SLOW, MINUTE, where),
    "heat map": lambda ask, where: ask.subject_bins("upstream", SLOW, where, step_ns=MINUTE),
}


def _store(directory: Path) -> Store:
    store = Store(directory, retention_ns=1 << 62, max_bytes=1 << 40, grace_ns=0)
    store.open()
    return store


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same lookups twice, as the store keeps them and without cells; some are inferred.

    Some were asked again, and took just as long as tells that they waited, or a little less; all
    of what a node asks is inferred, and never waited.
    """
    made = list(rows.made(END - HOUR_NS, 1500, 5))
    for number, row in enumerate(made):
        row["inferred"] = number % 7 == 0 or row["node"] == "node-c"
        if row["exchanges"]:
            row["plugins"].append({**row["plugins"][0], "plugin": semconv.CONNECT_SPAN})
        if number % 11 == 0:
            row |= {"retries": 1, "duration_ns": REPEATED_NS - number % 2, "waiting_ns": 0}
        row["outcome"] = ("not_found", "server_failure")[number % 2] if number % 5 == 0 else "ok"
        if row["node"] == "node-c":
            row |= {"retries": 0, "waiting_ns": 0, "outcome": "ok"}
    directory, bare = (tmp_path_factory.mktemp(name) for name in ("kept", "bare"))
    for place in (directory, bare):
        store = _store(place)
        for begin in range(0, len(made), 500):
            table = pa.Table.from_pylist(made[begin : begin + 500], SCHEMA)
            store.write(table.combine_chunks().to_batches()[0], END)
        store.tidy(END + 2 * HOUR_NS)
        store.close(END)
    for path in files_of(bare):
        cells_path(path).unlink()
    return directory, bare


@pytest.mark.parametrize("name", QUESTIONS)
def test_cells_answer_as_rows_do(kept: tuple[Path, Path], name: str) -> None:
    answers = []
    for directory in kept:
        with History(directory) as history:
            answers.append(
                {period: QUESTIONS[name](history, where) for period, where in PERIODS.items()}
            )
    assert all(answers[0].values())
    assert answers[0] == answers[1]


def test_each_file_is_asked_for_its_cells_or_its_rows(kept: tuple[Path, Path]) -> None:
    directory, _ = kept
    files = files_of(directory)
    assert len(files) > 1
    with History(directory) as history:
        whole = history.totals()
        moved = cells_path(files[0]).rename(directory / "moved")
        try:
            assert history.totals() == whole
        finally:
            moved.rename(cells_path(files[0]))


def test_damaged_cells_are_left_out_and_named(tmp_path: Path, kept: tuple[Path, Path]) -> None:
    (path, *_) = files_of(kept[0])
    copied = tmp_path / path.parent.name / path.name
    copied.parent.mkdir()
    copied.write_bytes(path.read_bytes())
    raw = bytearray(cells_path(path).read_bytes())
    raw[100 : len(raw) // 2] = bytes(len(raw) // 2 - 100)
    cells_path(copied).write_bytes(raw)
    with History(tmp_path) as history:
        assert history.totals().lookups == pq.read_metadata(path).num_rows
        assert set(history.damaged) == {cells_path(copied)}


def test_older_files_get_their_cells_in_time(tmp_path: Path, kept: tuple[Path, Path]) -> None:
    (path, *_) = files_of(kept[0])
    old = tmp_path / path.parent.name / path.name
    old.parent.mkdir()
    newer = ["stub_ns", "network_ns", "evidence"]
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(newer), old)
    store = _store(tmp_path)
    store.tidy(END + 3 * HOUR_NS)
    store.close(0)
    assert pq.read_table(cells_path(old)).equals(pq.read_table(cells_path(path)))


def test_percentiles_are_within_the_error_that_is_stated(kept: tuple[Path, Path]) -> None:
    assert cells.ERROR < 0.025
    with History(kept[0]) as history:
        for pod in history.by("pod", replace(PERIOD, inferred=False)):
            told = history.totals(replace(PERIOD, pod=pod.key)).latency
            for name in ("p50_ns", "p95_ns"):
                query = (
                    f"SELECT quantile_disc(duration_ns, {int(name[1:3]) / 100}) AS exact"
                    f" FROM lookups WHERE NOT inferred AND pod = '{pod.key}'"
                )
                (row,) = history.sql(query, PERIOD).to_pylist()
                assert getattr(told, name) == pytest.approx(row["exact"], rel=cells.ERROR * 1.01)


@pytest.mark.parametrize(
    ("kind", "where", "step_s", "expected"),
    [
        ("lookup", Where(), None, [10, 300, 3600]),
        ("server", PERIOD, 7200, [10, 300, 3600]),
        ("server", PERIOD, 600, [10, 300]),
        ("lookup", PERIOD, 60, [10]),
        ("lookup", PERIOD, 15, []),
        ("client", PERIOD, None, [3600]),
        ("lookup", Where(pod="cart-1"), None, []),
        ("lookup", Where(namespaces=frozenset({"shop"})), None, []),
        ("lookup", Where(failed=False), None, []),
    ],
)
def test_cells_answer_for_everybody_and_whole_steps_only(
    kind: str, where: Where, step_s: int | None, expected: list[int]
) -> None:
    step_ns = None if step_s is None else step_s * SECOND
    assert list(widths_of(kind, where, step_ns)) == expected


@pytest.mark.parametrize(
    ("cuts_s", "expected"),
    [
        ((None, None), 3600),
        ((-1, 3600), 3600),
        ((0, 3601), 3600),
        ((600, None), 300),
        ((600, 1210), 10),
        ((600, 601), None),
    ],
)
def test_no_cell_reaches_beyond_what_is_asked_about(
    cuts_s: tuple[int | None, ...], expected: int | None
) -> None:
    hour_ns = END // HOUR_NS * HOUR_NS
    cuts = [None if cut is None else hour_ns + cut * SECOND for cut in cuts_s]
    assert width_within(hour_ns, (10, 300, 3600), *cuts) == expected
    assert width_within(hour_ns, (3600,), *cuts) == (3600 if expected == 3600 else None)
