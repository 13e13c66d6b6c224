"""The directory of the history: what appears, what is made one, what goes, what a crash leaves."""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from otel_dns.history import store as store_module
from otel_dns.history.cells import cells_path
from otel_dns.history.files import HOUR_NS, all_files, files_of, hours_of
from otel_dns.history.history import History
from otel_dns.history.rows import batch_of
from otel_dns.history.schema import SCHEMA
from otel_dns.history.store import CLOSED_AFTER_NS, SMALL_FILES, Store
from otel_dns.history.writer import HistoryWriter, KeepSettings
from tests.history.support import searched
from tests.support.spans import SECOND, T0
from tests.support.waiting import eventually

DAY = 24 * HOUR_NS


@pytest.fixture
def opened() -> Iterator[Callable[..., Store]]:
    """Opens stores, and lets go of them at the end."""
    stores = []

    def make(directory: Path, **changes: int) -> Store:
        limits = {"retention_ns": 7 * DAY, "max_bytes": 1 << 30, "grace_ns": 60 * SECOND}
        stores.append(Store(directory, **{**limits, **changes}))
        stores[-1].open()
        return stores[-1]

    yield make
    for store in stores:
        store.close(T0)


def _lookups(directory: Path) -> int:
    with History(directory, threads=1) as history:
        return history.totals().lookups


def _all(directory: Path) -> int:
    return sum(len(all_files(hour)) for hour in hours_of(directory))


def test_a_batch_is_a_file_for_each_hour(tmp_path: Path, opened: Callable[..., Store]) -> None:
    store = opened(tmp_path)
    store.write(batch_of([searched(HOUR_NS), searched(0), searched(5 * SECOND)]), T0)
    files = files_of(tmp_path)
    assert [pq.read_metadata(path).num_rows for path in files] == [2, 1]
    assert pq.read_schema(files[0]).equals(SCHEMA, check_metadata=True)
    assert not list(tmp_path.rglob(".new-*"))
    (first, _), *_ = hours_of(tmp_path)
    assert first <= T0 < first + HOUR_NS


@pytest.mark.parametrize("start_ns", [-T0, 400 * DAY, -8 * DAY])
def test_a_clock_that_is_off_makes_no_hour_of_its_own(
    tmp_path: Path, opened: Callable[..., Store], start_ns: int
) -> None:
    store = opened(tmp_path)
    store.write(batch_of([searched(start_ns)]), T0)
    ((hour_ns, _),) = hours_of(tmp_path)
    assert hour_ns <= T0 < hour_ns + HOUR_NS
    assert store.counts["rows_of_other_hours"] == 1


def test_compaction_loses_nothing_and_counts_nothing_twice(
    tmp_path: Path, opened: Callable[..., Store]
) -> None:
    store = opened(tmp_path, retention_ns=100 * 365 * DAY)
    for number in range(SMALL_FILES):
        store.write(batch_of([searched(number * SECOND)]), T0)
    before = files_of(tmp_path)
    store.tidy(T0)
    assert len(files_of(tmp_path)) == 1
    assert _all(tmp_path) == SMALL_FILES + 1, "left for who reads them"
    assert _lookups(tmp_path) == SMALL_FILES
    assert all(path.exists() for path in before)
    store.write(batch_of([searched(99 * SECOND)]), T0)
    store.tidy(int(files_of(tmp_path)[0].stat().st_mtime_ns + 61 * SECOND))
    assert _all(tmp_path) == 2
    assert _lookups(tmp_path) == SMALL_FILES + 1


def test_an_hour_that_is_over_becomes_one_file(
    tmp_path: Path, opened: Callable[..., Store]
) -> None:
    store = opened(tmp_path, grace_ns=0, retention_ns=100 * 365 * DAY)
    store.write(batch_of([searched(0)]), T0)
    store.write(batch_of([searched(SECOND)]), T0)
    store.tidy(T0)
    assert len(files_of(tmp_path)) == 2
    later = files_of(tmp_path)[1].stat().st_mtime_ns + HOUR_NS + 2 * CLOSED_AFTER_NS
    store.tidy(later)
    store.tidy(later)
    assert _all(tmp_path) == 1
    assert _lookups(tmp_path) == 2


def test_old_hours_go_and_then_the_oldest_of_too_much(
    tmp_path: Path, opened: Callable[..., Store]
) -> None:
    store = opened(tmp_path, retention_ns=2 * HOUR_NS)
    for hour in range(3):
        store.write(batch_of([searched(hour * HOUR_NS)]), T0 + hour * HOUR_NS)
    store.tidy(T0 + 3 * HOUR_NS + HOUR_NS // 2)
    assert len(hours_of(tmp_path)) == 2
    tight = Store(tmp_path, retention_ns=9 * DAY, max_bytes=store.size - 1, grace_ns=0)
    tight.tidy(T0 + 3 * HOUR_NS)
    assert len(hours_of(tmp_path)) == 1


def test_old_hours_go_also_where_nothing_can_be_written(
    tmp_path: Path, opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path, retention_ns=2 * HOUR_NS)
    for hour in range(3):
        store.write(batch_of([searched(hour * HOUR_NS)]), T0 + hour * HOUR_NS)
    for path in files_of(tmp_path):
        cells_path(path).unlink()
    monkeypatch.setattr(store_module, "Adding", _full)
    with pytest.raises(OSError, match="No space left"):
        store.tidy(T0 + 3 * HOUR_NS + HOUR_NS // 2)
    assert len(hours_of(tmp_path)) == 2


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_one_writer_at_a_time(tmp_path: Path, opened: Callable[..., Store]) -> None:
    opened(tmp_path)
    with pytest.raises(BlockingIOError, match="another process"):
        Store(tmp_path, retention_ns=DAY, max_bytes=1, grace_ns=0).open()


def test_a_crash_is_told_and_its_leftovers_are_taken_away(
    tmp_path: Path, opened: Callable[..., Store], caplog: pytest.LogCaptureFixture
) -> None:
    crashed = opened(tmp_path)
    crashed.write(batch_of([searched(0)]), T0)
    crashed.write(batch_of([searched(SECOND)]), T0)
    assert crashed._lock is not None
    crashed._lock.close()  # as the kernel does for a process that is gone
    cut = files_of(tmp_path)[1]
    cut.write_bytes(cut.read_bytes()[:500])
    cut.with_name(f".new-{cut.name}").write_bytes(b"PAR1")
    store = opened(tmp_path)
    assert "did not end in order" in caplog.text
    assert cut.name in caplog.text
    assert "damaged" in caplog.text
    assert len(files_of(tmp_path)) == _lookups(tmp_path) == 1
    assert not list(tmp_path.rglob(".new-*"))
    caplog.clear()
    store.close(T0)
    opened(tmp_path)
    assert not caplog.text, "what ended in order is not complained of"


def test_compaction_sets_a_damaged_file_aside(tmp_path: Path, opened: Callable[..., Store]) -> None:
    store = opened(tmp_path)
    for number in range(SMALL_FILES + 1):
        store.write(batch_of([searched(number * SECOND)]), T0)
    path = files_of(tmp_path)[3]
    raw = bytearray(path.read_bytes())
    raw[300 : len(raw) // 2] = bytes(len(raw) // 2 - 300)
    path.write_bytes(raw)
    store.tidy(T0)
    store.tidy(T0)
    assert len(files_of(tmp_path)) == 1
    assert _lookups(tmp_path) == SMALL_FILES
    assert [file.name for file in (tmp_path / "damaged").iterdir()] == [
        f"{path.parent.name}-{path.name}"
    ]


# -- the thread around it ---------------------------------------------------------------------


def test_what_is_observed_is_kept(tmp_path: Path) -> None:
    writer = HistoryWriter(KeepSettings(tmp_path / "new" / "history", flush_s=0))
    assert writer.start()
    for number in range(5):
        writer.observe([searched(number * SECOND)])
    writer.observe(["neither a resolution nor a mistake"])
    eventually(lambda: writer.counts()["rows_written"] == 5, "rows on the disk")
    writer.observe([searched(9 * SECOND)])
    writer.stop()
    assert _lookups(tmp_path / "new" / "history") == 6
    assert writer.gauges() == {"rows_waiting": 0}


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    writer = HistoryWriter(KeepSettings(tmp_path, max_waiting=2))
    assert writer.start()
    made = [searched(number * SECOND) for number in range(50)]
    writer.observe(made)
    writer.stop()
    counts = writer.counts()
    assert counts["rows_dropped"] > 0
    assert counts["rows_dropped"] + counts["rows_written"] == 50


def test_a_directory_that_cannot_be_written_to_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    writer = HistoryWriter(KeepSettings(tmp_path / "file" / "history"))
    assert not writer.start()
    assert "going on without" in caplog.text
    writer.observe([searched()])
    writer.stop()


def test_a_full_disk_loses_rows_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "write", _full)
    writer = HistoryWriter(KeepSettings(tmp_path))
    assert writer.start()
    writer.observe([searched()])
    with caplog.at_level(logging.WARNING):
        writer.stop()
    assert writer.counts()["rows_lost"] == 1
    assert "No space left on device" in caplog.text
