"""The history as it lies in a directory, asked through DuckDB within this process."""

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from otel_dns.history.answers import Brief
from otel_dns.history.cells import cells_path, width_within, widths_of
from otel_dns.history.files import files_of, hour_of, hours_of, is_whole
from otel_dns.history.prepared import prepare
from otel_dns.history.questions import EVERYTHING, Questions
from otel_dns.history.questions.asking import Question
from otel_dns.history.questions.entries import entries
from otel_dns.history.schema import SCHEMA
from otel_dns.history.where import Where

THREADS: Final = 2
MEMORY: Final = "1GB"
_SPILL: Final = "4GB"
_ATTEMPTS: Final = 3
_NOTHING: Final = "nothing"
_FILES: Final = "files"
_CELLS: Final = "cells"
_READ: Final = (
    f"(FROM {_NOTHING} UNION ALL BY NAME FROM "
    "read_parquet({}, union_by_name = true, hive_partitioning = false))"
)
"""With the empty table: a column that all of the files lack, because they are older, is null."""
_READ_CELLS: Final = "SELECT * EXCLUDE (width_s) FROM read_parquet($cells_{0}) WHERE width_s = {0}"
_BACK_H: Final = (1, 6, 36)
"""So many hours are looked into for the latest lookups before all are."""
_LISTINGS: Final = 256
"""Periods whose files are remembered."""

_OF_THE_QUERY: Final = (
    duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException,
    duckdb.PermissionException, duckdb.SyntaxException,
)  # fmt: skip
"""Errors that no file is to blame for, and none is read through."""

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)

VIEWS: Final = {
    "plugins": "SELECT start, trace_id, span_id, namespace, pod, node, of.* "
    "FROM (SELECT *, unnest(plugins) AS of FROM lookups)",
    "exchanges": "SELECT start, trace_id, span_id, namespace, pod, node, of.* "
    "FROM (SELECT *, unnest(exchanges) AS of FROM lookups)",
    "hops": "SELECT start, trace_id, span_id, namespace, pod, node, of.* "
    "FROM (SELECT * EXCLUDE (name, type, queries), unnest(hops) AS of FROM lookups)",
}
"""Beside ``lookups``, for whoever asks in SQL."""


class HistoryError(Exception):
    """The history cannot be read, or not asked so."""


class BusyError(HistoryError):
    """Too many questions, or one that takes too long or too much."""


class History(Questions):
    """Asks the questions of the files in a directory; a period's files only, where one is given.

    Thread-safe: so many questions run at once, others wait. Files that turn out damaged are left
    out, and the log names them (whoever writes the history sets them aside, see ``damaged``).
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        threads: int = THREADS,
        memory: str = MEMORY,
        at_once: int = 1,
        question_s: float | None = None,
        look_s: float = 0,
    ) -> None:
        """Open a history; the directory need not be there yet.

        Args:
            directory: where the service writes it.
            threads: of DuckDB, at most.
            memory: that DuckDB may take, such as ``1GB``; more goes to a temporary directory, where
                there is one.
            at_once: questions that run side by side.
            question_s: seconds that one may take, and wait before that; None: no limit.
            look_s: seconds for which the list of files is good.

        Raises:
            HistoryError: a limit that DuckDB does not understand.
        """
        super().__init__(ibis.table(ibis.Schema.from_pyarrow(SCHEMA), name="lookups"))
        self.directory = Path(directory)
        self.damaged: dict[Path, str] = {}
        self._slots = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._question_s = question_s
        self._look_s = look_s
        self._listings: dict[tuple[int | None, int | None], tuple[float, list[Path]]] = {}
        self._spill = _spill_directory()
        self._limits: dict[str, Any] = {
            "threads": threads,
            "memory_limit": memory,
            "temp_directory": self._spill.name if self._spill else "",
            "max_temp_directory_size": _SPILL,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        try:
            self._connection = duckdb.connect(config=self._limits)
        except duckdb.Error as error:
            self._clean_up()
            raise HistoryError(str(error)) from None
        self._connection.execute("SET parquet_metadata_cache = true")
        # A table: what is registered is known to one cursor only.
        self._connection.from_arrow(SCHEMA.empty_table()).create(_NOTHING)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of memory and temporary files."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()
                self._clean_up()

    def _clean_up(self) -> None:
        if self._spill is not None:
            self._spill.cleanup()

    def files(self, where: Where = EVERYTHING, *, anew: bool = False) -> list[Path]:
        """List the files that hold a question's period; ``anew``: as of now, not a moment ago."""
        period, now = (where.since_ns, where.until_ns), time.monotonic()
        with self._lock:
            listing = self._listings.get(period)
            if anew or listing is None or now - listing[0] >= self._look_s:
                if len(self._listings) >= _LISTINGS:
                    self._listings.clear()
                listing = self._listings[period] = (now, files_of(self.directory, *period))
            return [path for path in listing[1] if path not in self.damaged]

    def latest(self, where: Where = EVERYTHING, *, limit: int = 50, offset: int = 0) -> list[Brief]:
        """List lookups, the latest first: of the last hours, if there are enough."""
        hours = [
            begins for begins, _ in hours_of(self.directory)
            if where.until_ns is None or begins < where.until_ns
        ]  # fmt: skip
        for begins in (hours[-back] for back in _BACK_H if back < len(hours)):
            if where.since_ns is None or begins > where.since_ns:
                last = replace(where, since_ns=begins)
                found = super().latest(last, limit=limit, offset=offset)
                if len(found) == limit:
                    return found
        return super().latest(where, limit=limit, offset=offset)

    def ask(
        self, question: Question, where: Where = EVERYTHING, *fixed: Hashable, **bound: str | int
    ) -> list[dict[str, Any]]:
        """Let DuckDB answer from the files of the period: rows as dicts.

        Raises:
            BusyError: too many questions are waiting, or this one took too long or too much.
            HistoryError: it cannot; the message is DuckDB's.
        """
        prepared, values = prepare(question, where, fixed, bound)

        def answer(cursor: duckdb.DuckDBPyConnection, files: list[str]) -> list[dict[str, Any]]:
            source = _READ.format(f"${_FILES}") if files else _NOTHING
            given = {_FILES: files} if files else {}
            # Not by way of Arrow: DuckDB would plan the question twice.
            cursor.execute(prepared.of(source), {**values, **given})
            return _dicts(cursor)

        with self._slot():
            return self._try(answer, where)

    def ask_entries(
        self,
        question: Question,
        kind: str,
        where: Where = EVERYTHING,
        step_ns: int | None = None,
        *fixed: Hashable,
        **bound: str | int,
    ) -> list[dict[str, Any]]:
        """Let DuckDB answer from the cells beside the files, and from the rows of files without.

        Each file is asked for the widest of its cells that reach no further than the period does;
        where the period begins or ends within all of them, for its rows.

        Raises:
            BusyError: too many questions are waiting, or this one took too long or too much.
            HistoryError: it cannot; the message is DuckDB's.
        """
        widths = widths_of(kind, where, step_ns)
        if not widths:
            return super().ask_entries(question, kind, where, step_ns, *fixed, **bound)
        steps = {} if step_ns is None else {"step_ns": step_ns}
        prepared, values = prepare(
            _of_cells, where, (question, kind, *fixed), {**steps, **bound}, of_cells=True
        )
        rows, _ = prepare(entries, where, (kind,), {})
        moments = [value for value in bound.values() if isinstance(value, int)]
        cuts = (where.since_ns, where.until_ns, *moments)

        def answer(cursor: duckdb.DuckDBPyConnection, files: list[str]) -> list[dict[str, Any]]:
            given: dict[str, list[str]] = {}
            for file in files:
                path = Path(file)
                width_s = width_within(hour_of(path.parent.name), widths, *cuts)
                cells = cells_path(path)
                if width_s is not None and self._is_there(cells):
                    given.setdefault(f"{_CELLS}_{width_s}", []).append(str(cells))
                else:
                    given.setdefault(_FILES, []).append(file)
            sources = [
                _READ_CELLS.format(width_s) for width_s in widths if f"{_CELLS}_{width_s}" in given
            ]
            if _FILES in given or not sources:
                sources.append(rows.of(_READ.format(f"${_FILES}") if _FILES in given else _NOTHING))
            source = f"({' UNION ALL BY NAME '.join(f'({each})' for each in sources)})"
            cursor.execute(prepared.of(source), {**values, **given})
            return _dicts(cursor)

        with self._slot():
            return self._try(answer, where)

    def batches(self, where: Where = EVERYTHING) -> pa.RecordBatchReader:
        """Give whole rows, in order of time, a batch after the other.

        Raises:
            HistoryError: it cannot; the message is DuckDB's.
        """
        prepared, values = prepare(_in_order, where, (), {})

        def answer(cursor: duckdb.DuckDBPyConnection, files: list[str]) -> pa.RecordBatchReader:
            source = _READ.format(f"${_FILES}") if files else _NOTHING
            given = {_FILES: files} if files else {}
            return cursor.sql(prepared.of(source), params={**values, **given}).to_arrow_reader(1000)

        with self._slot():
            return self._try(answer, where, close=False)

    def _is_there(self, cells: Path) -> bool:
        return cells not in self.damaged and cells.is_file()

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._question_s):
            raise BusyError("too many questions at once; try again")
        try:
            yield
        finally:
            self._slots.release()

    def _try(
        self,
        ask: Callable[[duckdb.DuckDBPyConnection, list[str]], Answer],
        where: Where,
        *,
        close: bool = True,
    ) -> Answer:
        """Ask of the files as they are; again without what turns out damaged, or is gone."""
        for attempt in range(_ATTEMPTS):
            files = self.files(where, anew=bool(attempt))
            cursor = self._connection.cursor()
            try:
                with _interrupted(cursor, self._question_s):
                    return ask(cursor, [str(path) for path in files])
            except duckdb.InterruptException:
                raise BusyError(
                    f"this took over {self._question_s:.0f} s; choose a shorter time"
                ) from None
            except duckdb.OutOfMemoryException:
                raise BusyError(
                    f"this needs more memory than the {self._limits['memory_limit']} that it may"
                    " use; choose a shorter time, or give it more (--memory)"
                ) from None
            except _OF_THE_QUERY as error:
                raise HistoryError(str(error)) from None
            except duckdb.Error as error:
                gone = [path for path in files if not path.exists()]
                beside = [cells for path in files if self._is_there(cells := cells_path(path))]
                bad = {path: why for path in (*files, *beside) if (why := _what_is_wrong(path))}
                bad = {path: why for path, why in bad.items() if path not in gone}
                for path, why in bad.items():
                    _log.warning("history: %s is damaged, and left out: %s", path, why)
                self.damaged.update(bad)
                if not (gone or bad) or attempt + 1 == _ATTEMPTS:
                    raise HistoryError(str(error)) from None
            finally:
                if close:
                    cursor.close()
        raise AssertionError("the last attempt returns or raises")

    def sql(self, query: str, where: Where = EVERYTHING, limit: int = 1000) -> pa.Table:
        """Answer SQL over ``lookups`` (a row a resolution) and the views :data:`VIEWS`.

        The query reads these files and nothing else: no other file, no network, no settings.

        Raises:
            HistoryError: DuckDB's message on what is wrong with the query.
        """

        def ask(_: duckdb.DuckDBPyConnection, files: list[str]) -> pa.Table:
            with (
                contextlib.closing(duckdb.connect(config=self._limits)) as connection,
                _interrupted(connection, self._question_s),
            ):
                source = _READ.format(f"[{', '.join(map(_quoted, files))}]") if files else _NOTHING
                connection.from_arrow(SCHEMA.empty_table()).create(_NOTHING)
                connection.execute(f"SET allowed_directories = [{_quoted(str(self.directory))}]")
                connection.execute("SET enable_external_access = false")
                connection.execute("SET lock_configuration = true")
                connection.execute(f"CREATE VIEW lookups AS FROM {source}")
                for name, definition in VIEWS.items():
                    connection.execute(f"CREATE VIEW {name} AS {definition}")
                return _first(connection.sql(query), limit)

        with self._slot():
            return self._try(ask, where)


def _spill_directory() -> tempfile.TemporaryDirectory[str] | None:
    """Make a directory for what does not fit into memory; None where all is read-only."""
    try:
        return tempfile.TemporaryDirectory(prefix="otel-dns-history-")
    except OSError:
        return None


def _dicts(cursor: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _of_cells(
    cells: ir.Table, question: Question, kind: str, *fixed: Hashable, **bound: Any
) -> ir.Table:
    return question(cells.filter(cells.kind == kind), *fixed, **bound)


def _first(answer: duckdb.DuckDBPyRelation | None, limit: int) -> pa.Table:
    """Take so many rows of an answer, and no more into memory."""
    if answer is None:  # a statement that answers nothing
        return pa.table({})
    reader = answer.to_arrow_reader(1000)
    batches, rows = [], 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows >= limit:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, limit)


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _what_is_wrong(path: Path) -> str:
    """Read a file through, checksums included; empty: nothing is wrong with it."""
    try:
        if not is_whole(path):
            return "it has no beginning or no end"
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for _ in file.iter_batches(1024):
                pass
    except (OSError, pa.ArrowException) as error:
        return str(error).splitlines()[0]
    return ""


def _in_order(kept: ir.Table) -> ir.Table:
    return kept.order_by("start_ns")


@contextlib.contextmanager
def _interrupted(cursor: duckdb.DuckDBPyConnection, after_s: float | None) -> Iterator[None]:
    """Interrupt what runs within after so long."""
    if after_s is None:
        yield
        return
    timer = threading.Timer(after_s, cursor.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
