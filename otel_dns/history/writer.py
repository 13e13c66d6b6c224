"""Keeps every resolution: takes them from the pipeline, writes them from a thread of its own."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from otel_dns.history.rows import Columns
from otel_dns.history.store import Store
from otel_dns.model import Resolution

_TICK_S: Final = 0.5
_TIDY_S: Final = 30.0
_COMPLAIN_S: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeepSettings:
    """Where and how much is kept."""

    directory: Path
    retention_s: float = 14 * 86_400.0
    max_bytes: int = 10 << 30
    flush_s: float = 10.0
    """Rows are written at the latest so long after they came: what a crash may lose."""
    rows_of_file: int = 20_000
    """Rows are written at once when there are so many."""
    max_waiting: int = 20_000
    """Resolutions taken and not yet made rows of; more are left out, and counted."""
    grace_s: float = 60.0
    """So long are files left after compaction, for those who read them."""


class HistoryWriter:
    """An observer of the pipeline. Where it cannot write it says so, and all else goes on."""

    def __init__(self, settings: KeepSettings) -> None:
        self._settings = settings
        self._store = Store(
            settings.directory,
            retention_ns=round(settings.retention_s * 1e9),
            max_bytes=settings.max_bytes,
            grace_ns=round(settings.grace_s * 1e9),
        )
        self._waiting: deque[Resolution] = deque()
        self._dropped = 0
        self._counts: Counter[str] = Counter()
        self._columns = Columns()
        self._oldest = 0.0
        self._complained = float("-inf")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Take the directory and start the thread; False, and a message, when it cannot be had."""
        try:
            self._store.open()
        except OSError as error:
            _log.warning(
                "history: lookups cannot be kept in %s (%s); going on without",
                self._settings.directory, error.strerror or error,
            )  # fmt: skip
            return False
        self._thread = threading.Thread(target=self._run, name="otel-dns-history", daemon=True)
        self._thread.start()
        return True

    def observe(self, outcomes: Iterable[object]) -> None:
        """Take note of outcomes of the join; never waits."""
        if self._thread is None:
            return
        for outcome in outcomes:
            if not isinstance(outcome, Resolution):
                continue
            if len(self._waiting) >= self._settings.max_waiting:
                self._dropped += 1
            else:
                self._waiting.append(outcome)

    def stop(self) -> None:
        """Write what was taken, and let go of the directory."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def counts(self) -> Counter[str]:
        """What was counted so far, by name; from any thread."""
        counted = self._counts + self._store.counts
        counted["rows_dropped"] += self._dropped
        return counted

    def gauges(self) -> dict[str, int]:
        """What is held now; from any thread."""
        return {"rows_waiting": len(self._waiting) + len(self._columns)}

    def _run(self) -> None:
        try:
            self._keep()
        except Exception:  # noqa: BLE001 whatever it is: the pipeline goes on without
            _log.exception("history: failed; nothing more is kept")
            self._counts["failed"] += 1

    def _keep(self) -> None:
        tidied = 0.0
        while not self._stopping.wait(_TICK_S):
            self._take()
            now = time.monotonic()
            if len(self._columns) and now - self._oldest >= self._settings.flush_s:
                self._write()
            if now - tidied >= _TIDY_S:
                self._tidy()
                tidied = now
        self._take()
        self._write()
        try:
            self._store.close(time.time_ns())
        except OSError as error:
            self._complain("ended", error)

    def _take(self) -> None:
        """Make rows of what is waiting; full batches are written at once."""
        for _ in range(len(self._waiting)):
            if not len(self._columns):
                self._oldest = time.monotonic()
            try:
                self._columns.add(self._waiting.popleft())
            except Exception:  # noqa: BLE001 one resolution must not cost the others
                _log.exception("history: a resolution that no row can be made of")
                self._counts["rows_failed"] += 1
            if len(self._columns) >= self._settings.rows_of_file:
                self._write()

    def _write(self) -> None:
        if not len(self._columns):
            return
        columns, self._columns = self._columns, Columns()
        try:
            self._store.write(columns.batch(), time.time_ns())
        except (OSError, pa.ArrowException) as error:
            self._counts["rows_lost"] += len(columns)
            self._complain(f"written; {len(columns)} lookups are lost", error)

    def _tidy(self) -> None:
        try:
            self._store.tidy(time.time_ns())
        except (OSError, pa.ArrowException) as error:
            self._complain("tidied", error)

    def _complain(self, what: str, error: Exception) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAIN_S:
            self._complained = now
            _log.warning(
                "history: %s cannot be %s (%s)", self._settings.directory, what,
                getattr(error, "strerror", None) or error,
            )  # fmt: skip
