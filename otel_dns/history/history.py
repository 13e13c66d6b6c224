"""The history as it lies in a directory, asked through DuckDB within this process."""

import contextlib
import logging
import secrets
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from otel_dns.history.files import files_of, is_whole
from otel_dns.history.questions import EVERYTHING, Questions, plain
from otel_dns.history.schema import SCHEMA
from otel_dns.history.where import Where

THREADS: Final = 2
MEMORY: Final = "1GB"
_SPILL: Final = "4GB"
_ATTEMPTS: Final = 3
_NOTHING: Final = "nothing"

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


class History(Questions):
    """Asks the questions of the files in a directory; a period's files only, where one is given.

    One question at a time: another thread's waits. Files that turn out damaged are left out, and
    the log names them (whoever writes the history sets them aside, see ``damaged``).
    """

    def __init__(
        self, directory: Path | str, *, threads: int = THREADS, memory: str = MEMORY
    ) -> None:
        """Open a history; the directory need not be there yet.

        Args:
            directory: where the service writes it.
            threads: of DuckDB, at most.
            memory: that DuckDB may take, such as ``1GB``; more goes to a temporary directory.

        Raises:
            HistoryError: a limit that DuckDB does not understand.
        """
        self.directory = Path(directory)
        self.damaged: set[Path] = set()
        self._lock = threading.RLock()
        self._spill = tempfile.TemporaryDirectory(prefix="otel-dns-history-")
        self._limits: dict[str, Any] = {
            "threads": threads,
            "memory_limit": memory,
            "temp_directory": self._spill.name,
            "max_temp_directory_size": _SPILL,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        try:
            self._connection = duckdb.connect(config=self._limits)
        except duckdb.Error as error:
            self._spill.cleanup()
            raise HistoryError(str(error)) from None
        self._connection.register(_NOTHING, SCHEMA.empty_table())
        # Stands for the files in expressions. Nobody can guess it: text replaces it.
        self._name = f"lookups_{secrets.token_hex(8)}"
        self._table = ibis.table(ibis.Schema.from_pyarrow(SCHEMA), name=self._name)
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
                self._spill.cleanup()

    def files(self, where: Where = EVERYTHING) -> list[Path]:
        """List the files that hold a question's period."""
        return [
            path
            for path in files_of(self.directory, where.since_ns, where.until_ns)
            if path not in self.damaged
        ]

    def lookups(self, where: Where = EVERYTHING) -> ir.Table:
        """Give the resolutions that a question is about, as an expression."""
        return where.apply(self._table)

    def answer(self, expression: ir.Table, where: Where = EVERYTHING) -> list[dict[str, Any]]:
        """Let DuckDB answer from the files of the period: rows as dicts.

        Raises:
            HistoryError: it cannot; the message is DuckDB's.
        """
        query = str(ibis.to_sql(expression, dialect="duckdb"))
        with self._lock:
            answered = self._try(
                lambda source: self._connection.sql(
                    query.replace(f'"{self._name}"', source)
                ).to_arrow_table(),
                where,
            )
        return plain(answered)

    def batches(self, where: Where = EVERYTHING) -> pa.RecordBatchReader:
        """Give whole rows, in order of time, a batch after the other; nothing else meanwhile.

        Raises:
            HistoryError: it cannot; the message is DuckDB's.
        """
        query = str(ibis.to_sql(self.lookups(where).order_by("start_ns"), dialect="duckdb"))
        files = self.files(where)
        source = _read(files) if files else _NOTHING
        with self._lock:
            try:
                return self._connection.sql(
                    query.replace(f'"{self._name}"', source)
                ).to_arrow_reader(1000)
            except duckdb.Error as error:
                raise HistoryError(str(error)) from None

    def _try(self, ask: Callable[[str], pa.Table], where: Where) -> pa.Table:
        """Ask of the files as they are; again without what turns out damaged, or is gone."""
        for attempt in range(_ATTEMPTS):
            files = self.files(where)
            try:
                return ask(_read(files) if files else _NOTHING)
            except duckdb.OutOfMemoryException as error:
                raise HistoryError(f"{error} (give it more memory, or ask for less time)") from None
            except duckdb.Error as error:
                gone = [path for path in files if not path.exists()]
                bad = [path for path in files if path not in gone and not _is_readable(path)]
                for path in bad:
                    _log.warning("history: %s is damaged, and left out", path)
                self.damaged.update(bad)
                if not (gone or bad) or attempt + 1 == _ATTEMPTS:
                    raise HistoryError(str(error)) from None
        raise AssertionError("the last attempt returns or raises")

    def sql(self, query: str, where: Where = EVERYTHING, limit: int = 1000) -> pa.Table:
        """Answer SQL over ``lookups`` (a row a resolution) and the views :data:`VIEWS`.

        The query reads these files and nothing else: no other file, no network, no settings.

        Raises:
            HistoryError: DuckDB's message on what is wrong with the query.
        """

        def ask(source: str) -> pa.Table:
            with contextlib.closing(duckdb.connect(config=self._limits)) as connection:
                connection.register(_NOTHING, SCHEMA.empty_table())
                connection.execute(f"SET allowed_directories = [{_quoted(str(self.directory))}]")
                connection.execute("SET enable_external_access = false")
                connection.execute("SET lock_configuration = true")
                connection.execute(f"CREATE VIEW lookups AS FROM {source}")
                for name, definition in VIEWS.items():
                    connection.execute(f"CREATE VIEW {name} AS {definition}")
                return _first(connection.sql(query), limit)

        with self._lock:
            return self._try(ask, where)


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


def _read(files: Sequence[Path]) -> str:
    listed = ", ".join(_quoted(str(path)) for path in files)
    # With the empty table: a column that all of the files lack, because they are older, is null.
    return (
        f"(FROM {_NOTHING} UNION ALL BY NAME FROM "
        f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false))"
    )


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _is_readable(path: Path) -> bool:
    """Read a file through, checksums included."""
    try:
        if not is_whole(path):
            return False
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for _ in file.iter_batches(1024):
                pass
    except (OSError, pa.ArrowException):
        return False
    return True
