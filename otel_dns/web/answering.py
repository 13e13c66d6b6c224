"""Questions to the history: bounded in threads, memory, time and number."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import duckdb

from otel_dns.history.schema import SCHEMA
from otel_dns.web.asked import Asked
from otel_dns.web.files import Files
from otel_dns.web.settings import PageSettings

T = TypeVar("T")

_AT_ONCE: Final = 2
"""Questions that run side by side; more wait, and are turned away after the time of one."""
_KEPT: Final = 512
"""Answers that are kept."""


class BusyError(Exception):
    """Too many questions, or one that takes too long or too much."""


class Answering:
    """Runs SQL over the history's files for those who look at the page. Thread-safe."""

    def __init__(self, settings: PageSettings) -> None:
        self._settings = settings
        self.files = Files(settings.history)
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": settings.threads,
                "memory_limit": f"{settings.memory_bytes}B",
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
            },
        )
        # An empty table of the right columns, for a history that has no file yet.
        self._connection.execute(f"CREATE TABLE nothing ({_columns()})")
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Future[Any]]] = OrderedDict()

    def once(self, key: Hashable, make: Callable[[], T], keep_s: float = 0) -> T:
        """Give the answer made for this key a moment ago, or being made by another; else make it.

        Args:
            key: what is asked, and by whom.
            make: answers.
            keep_s: how long the answer is good, where that is longer than usual.

        Raises:
            BusyError: see :meth:`rows`.
        """
        now = time.monotonic()
        with self._lock:
            known = self._answers.get(key)
            mine = known is None or now - known[0] >= max(keep_s, self._settings.cache_s)
            future: Future[Any] = Future() if mine or known is None else known[1]
            if mine:
                self._answers[key] = (now, future)
                self._answers.move_to_end(key)
                while len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._answers.pop(key, None)
                future.set_exception(error)
                raise
        answer: T = future.result()
        return answer

    def rows(self, sql: str, asked: Asked, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Ask the lookups that ``asked`` allows: SQL's table ``lookups`` holds no others.

        Raises:
            BusyError: too many questions are waiting, or this one took too long or too much.
        """
        condition, bound = asked.condition()
        for anew in (False, True):
            files = self.files.of(asked.window, anew=anew)
            source = (
                # A column that all of the files lack, because they are older, is null.
                "(FROM nothing UNION ALL BY NAME FROM "
                "read_parquet(?, union_by_name => true, hive_partitioning => false))"
                if files
                else "nothing"
            )
            whole = f"""
                WITH lookups AS (
                    SELECT *, CASE WHEN method = 'none' THEN 'none' ELSE certainty END AS sureness
                    FROM {source} WHERE {condition}
                ) {sql}
            """
            try:
                return self._run(whole, [*([files] if files else []), *bound, *parameters])
            except duckdb.Error:
                # A file that compaction has just removed, or one that is damaged.
                if anew:
                    raise
                self.files.check(files)
        raise AssertionError("not reached")

    def _run(self, sql: str, parameters: list[Any]) -> list[dict[str, Any]]:
        if not self._slots.acquire(timeout=self._settings.question_s):
            raise BusyError("too many questions at once; try again")
        try:
            cursor = self._connection.cursor()
            timer = threading.Timer(self._settings.question_s, cursor.interrupt)
            timer.start()
            try:
                cursor.execute(sql, parameters)
                names = [column[0] for column in cursor.description or ()]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
            except duckdb.InterruptException:
                raise BusyError(
                    f"this took over {self._settings.question_s:.0f} s; choose a shorter time"
                ) from None
            except duckdb.OutOfMemoryException:
                raise BusyError(
                    "this needs more memory than the page may use; choose a shorter time, or give"
                    " it more (--memory)"
                ) from None
            finally:
                timer.cancel()
                cursor.close()
        finally:
            self._slots.release()


def _columns() -> str:
    empty = duckdb.from_arrow(SCHEMA.empty_table())
    return ", ".join(
        f'"{name}" {kind}' for name, kind in zip(empty.columns, empty.types, strict=True)
    )
