"""The history's directory as its one writer sees it: files appear, are compacted, and go.

No thread and no clock: the time is an argument, so tests decide it. A file appears by rename when
it is whole and on the disk; everything that a crash can leave behind is found at the next start.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from otel_dns.history.cells import Adding, cells_path, forget_cells
from otel_dns.history.files import (
    DAMAGED,
    HOUR_NS,
    KeptFile,
    all_files,
    file_name,
    hour_name,
    hours_of,
    is_whole,
    split,
)
from otel_dns.history.schema import SCHEMA

SMALL_FILES: Final = 30
"""So many fresh files in one hour are made one of, also while the hour is running."""
CLOSED_AFTER_NS: Final = 120_000_000_000
"""So long after its end an hour is taken for over: late lookups have come."""
_ROWS_OF_GROUP: Final = 25_000
_AHEAD_NS: Final = 24 * HOUR_NS
_LOCK: Final = ".lock"
_STATE: Final = ".state"
_TEMPORARY: Final = ".new-"
_SECOND: Final = 1_000_000_000
_PLAIN: Final = ("trace_id", "span_id")
_DELTA: Final = ("start", "start_ns")

_log = logging.getLogger(__name__)


class Store:
    """Owns the directory while it is open: one process at a time."""

    def __init__(
        self, directory: Path, *, retention_ns: int, max_bytes: int, grace_ns: int
    ) -> None:
        """Describe it; nothing is touched yet.

        Args:
            directory: made when it is not there.
            retention_ns: how long after its end an hour is kept.
            max_bytes: of all files; beyond it the oldest hours go.
            grace_ns: how long a file is left after another stands for it, for who reads it.
        """
        self.directory = directory
        self.counts: Counter[str] = Counter()
        self._retention_ns = retention_ns
        self._max_bytes = max_bytes
        self._grace_ns = grace_ns
        self._lock: IO[str] | None = None
        self._number = 1

    def open(self) -> None:
        """Take the directory, and tidy up what an earlier run left.

        Raises:
            OSError: it cannot be written to, or another process writes to it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = (self.directory / _LOCK).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise BlockingIOError("another process keeps its history there") from None
        self._lock = lock
        self._tell_of_last_run()
        for hour in hours_of(self.directory):
            for left in hour[1].glob(f"{_TEMPORARY}*"):
                left.unlink()
            for file in all_files(hour):
                self._number = max(self._number, file.last + 1)
                if not is_whole(file.path):
                    self.set_aside(file.path, "it was cut short")
        self._note(None)

    def close(self, now_ns: int) -> None:
        """Let go of the directory: everything was written."""
        if self._lock is not None:
            self._note(now_ns, ended=True)
            self._lock.close()
            self._lock = None

    def write(self, batch: pa.RecordBatch, now_ns: int) -> None:
        """Keep a batch: a file for each hour in it.

        Lookups whose clocks are off by so much that their hour would be deleted, or is not yet to
        come for a day, go into the hour of ``now_ns``.

        Raises:
            OSError: the disk is full, or the like; hours written before stay.
        """
        table = pa.Table.from_batches([batch]).sort_by("start_ns")
        starts = table["start_ns"]
        oldest = now_ns - self._retention_ns
        believable = pc.and_(pc.greater(starts, oldest), pc.less(starts, now_ns + _AHEAD_NS))
        self.counts["rows_of_other_hours"] += table.num_rows - (pc.sum(believable).as_py() or 0)
        hours = pc.divide(pc.if_else(believable, starts, now_ns), HOUR_NS)
        for hour in pc.unique(hours).to_pylist():
            rows = table.filter(pc.equal(hours, hour))
            directory = self.directory / hour_name(hour * HOUR_NS)
            directory.mkdir(exist_ok=True)
            self._keep(directory / file_name(self._number, self._number), [rows])
            self._number += 1
            self.counts["files_written"] += 1
            self.counts["rows_written"] += rows.num_rows
        self._note(now_ns)

    def tidy(self, now_ns: int) -> None:
        """Compact what is worth it, delete what is replaced or too old or too much.

        Raises:
            OSError: the disk is full, or the like; nothing is lost by it.
        """
        try:
            self._tidy_hours(now_ns)
        finally:  # on a full disk what goes is all that helps
            self._retain(now_ns)

    def _tidy_hours(self, now_ns: int) -> None:
        has_added = False  # one file each time: nobody waits for it, and the newest are asked most
        for hour in reversed(hours_of(self.directory)):
            counting, replaced = split(all_files(hour))
            self._delete_replaced(counting, replaced, now_ns)
            over = now_ns > hour[0] + HOUR_NS + CLOSED_AFTER_NS and all(
                now_ns - file.path.stat().st_mtime_ns > CLOSED_AFTER_NS for file in counting
            )  # else the whole hour would be written anew for each late batch
            fresh = counting if over else [file for file in counting if file.first == file.last]
            if len(fresh) >= (2 if over else SMALL_FILES):
                self._compact(fresh)
            else:
                has_added = has_added or self._add_cells(counting)

    def set_aside(self, path: Path, why: str) -> None:
        """Move a file that cannot be read out of the way, and say so."""
        aside = self.directory / DAMAGED
        aside.mkdir(exist_ok=True)
        to = aside / f"{path.parent.name}-{path.name}"
        path.rename(to)
        forget_cells(path)
        self.counts["files_set_aside"] += 1
        _log.warning("history: %s cannot be read (%s); set aside as %s", path.name, why, to)

    @property
    def size(self) -> int:
        """Bytes of all files that are kept."""
        return sum(_bytes_of(hour) for hour in hours_of(self.directory))

    def _keep(self, path: Path, tables: Iterable[pa.Table]) -> None:
        """Write rows, and their cells, which are there before the rows are."""
        adding = Adding()
        with self._appearing(path) as temporary:
            write_file(temporary, adding.through(tables))
            with self._appearing(cells_path(path)) as beside:
                adding.write(beside)

    def _add_cells(self, files: Iterable[KeptFile]) -> bool:
        """Write cells for the first file that has none, as older ones have not."""
        for file in files:
            beside = cells_path(file.path)
            if beside.exists():
                continue
            adding = Adding()
            try:
                for table in _sorted_groups([file]):
                    adding.add(table)
            except _DamagedError as error:
                self.set_aside(error.path, str(error))
                continue
            forget_cells(file.path)  # an older kind
            with self._appearing(beside) as temporary:
                adding.write(temporary)
            return True
        return False

    # -- compaction ---------------------------------------------------------------------------

    def _compact(self, files: Sequence[KeptFile]) -> None:
        """Make one file of several neighbours; it stands for them from its appearance on."""
        first, last = files[0], files[-1]
        try:
            name = file_name(first.first, last.last)
            self._keep(first.path.with_name(name), _sorted_groups(files))
        except _DamagedError as error:
            # Compaction goes on without it, the next time.
            self.set_aside(error.path, str(error))
            return
        self.counts["files_compacted"] += len(files)

    def _delete_replaced(
        self, counting: Sequence[KeptFile], replaced: Sequence[KeptFile], now_ns: int
    ) -> None:
        for file in replaced:
            by = next(each for each in counting if each.first <= file.first <= each.last)
            if now_ns - by.path.stat().st_mtime_ns >= self._grace_ns:
                file.path.unlink()
                forget_cells(file.path)

    # -- retention ----------------------------------------------------------------------------

    def _retain(self, now_ns: int) -> None:
        hours = hours_of(self.directory)
        sizes = {hour[1]: _bytes_of(hour) for hour in hours}
        total = sum(sizes.values())
        for begins, path in hours:
            too_old = begins + HOUR_NS < now_ns - self._retention_ns
            too_much = total > self._max_bytes and path is not hours[-1][1]
            if not too_old and not too_much:
                continue
            why = "old" if too_old else "much"
            _log.info("history: deleting %s (%d bytes): too %s", path.name, sizes[path], why)
            shutil.rmtree(path)
            total -= sizes[path]
            self.counts["hours_deleted"] += 1

    # -- what survives a crash ----------------------------------------------------------------

    @contextlib.contextmanager
    def _appearing(self, path: Path) -> Iterator[Path]:
        """Give a path to write to; the file appears under its name when all of it is written."""
        temporary = path.with_name(f"{_TEMPORARY}{path.name}")
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        finally:
            temporary.unlink(missing_ok=True)

    def _note(self, now_ns: int | None, *, ended: bool = False) -> None:
        state = {"written_ns": now_ns, "ended": ended, "pid": os.getpid()}
        (self.directory / _STATE).write_text(json.dumps(state))

    def _tell_of_last_run(self) -> None:
        try:
            state: dict[str, Any] = json.loads((self.directory / _STATE).read_text())
        except (OSError, ValueError):
            return
        if state.get("ended") is not False:
            return
        written = state.get("written_ns")
        since = f"after {_time(written)}" if isinstance(written, int) else "of it"
        _log.warning(
            "history: the last run (pid %s) did not end in order: the lookups %s that it had not"
            " written yet are lost", state.get("pid"), since,
        )  # fmt: skip
        self.counts["unclean_ends"] += 1


def _bytes_of(hour: tuple[int, Path]) -> int:
    size = 0
    for file in all_files(hour):
        size += file.path.stat().st_size
        with contextlib.suppress(FileNotFoundError):
            size += cells_path(file.path).stat().st_size
    return size


class _DamagedError(Exception):
    def __init__(self, path: Path, why: str) -> None:
        super().__init__(why)
        self.path = path


def _sorted_groups(files: Sequence[KeptFile]) -> Iterator[pa.Table]:
    """Read files one after the other; give their rows in order of start, within a group."""
    held: list[pa.Table] = []
    for file in files:
        try:
            with pq.ParquetFile(file.path, page_checksum_verification=True) as source:
                for group in range(source.num_row_groups):
                    held.append(source.read_row_group(group, use_threads=False))
                    if sum(table.num_rows for table in held) >= _ROWS_OF_GROUP:
                        yield _whole(held)
                        held = []
        except (OSError, pa.ArrowException) as error:
            raise _DamagedError(file.path, " ".join(str(error).split())) from None
    if held:
        yield _whole(held)


def _whole(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables together in order of start, with the columns that older ones lack."""
    table = pa.concat_tables(tables, promote_options="default")
    for field in SCHEMA:
        if field.name not in table.column_names:
            nothing = [_nothing(field.type)] * table.num_rows
            table = table.append_column(field.name, pa.array(nothing, field.type))
    return table.select(SCHEMA.names).cast(SCHEMA).sort_by("start_ns")


def _nothing(type_: pa.DataType) -> list[None] | str | bool | int:
    """What stands for a value that is not known."""
    if pa.types.is_list(type_):
        return []
    if pa.types.is_string(type_):
        return ""
    return False if pa.types.is_boolean(type_) else 0


def write_file(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write rows in the history's encodings, a row group a table."""
    with pq.ParquetWriter(
        path, SCHEMA, compression="zstd", compression_level=3, write_page_checksum=True,
        use_dictionary=_DICTIONARY, column_encoding=_ENCODINGS,
        bloom_filter_options={"trace_id": {"ndv": _ROWS_OF_GROUP, "fpp": 0.01}},
    ) as writer:  # fmt: skip
        for table in tables:
            writer.write_table(table, row_group_size=max(table.num_rows, 1))


def _leaves(field: pa.Field, path: str) -> Iterator[tuple[str, pa.DataType]]:
    if pa.types.is_list(field.type):
        yield from _leaves(field.type.value_field, f"{path}.list.element")
    elif pa.types.is_struct(field.type):
        for child in field.type:
            yield from _leaves(child, f"{path}.{child.name}")
    else:
        yield path, field.type


def _time(at_ns: int) -> str:
    return f"{hour_name(at_ns)}:{at_ns // (60 * _SECOND) % 60:02d} UTC"


_LEAVES: Final = {path: type_ for field in SCHEMA for path, type_ in _leaves(field, field.name)}
_ENCODINGS: Final = {
    path: "PLAIN" if path in _PLAIN or path.endswith(".trace") else "DELTA_BINARY_PACKED"
    for path, type_ in _LEAVES.items()
    if path in {*_PLAIN, *_DELTA} or path.endswith((".trace", "_ns"))
}
"""Ids are all different and times nearly so: a dictionary of them would be as large as they are."""
_DICTIONARY: Final = [path for path in _LEAVES if path not in _ENCODINGS]
