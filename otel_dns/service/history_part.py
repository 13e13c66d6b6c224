"""The history as a part of the service."""

import importlib.util
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from otel_dns.join import Outcome
from otel_dns.service.configuration.settings import History
from otel_dns.service.counts import Counts

if TYPE_CHECKING:
    from otel_dns.history.writer import HistoryWriter

_log = logging.getLogger(__name__)


class HistoryPart:
    """Keeps every resolution, where that can be done; the service goes on without, where not."""

    def __init__(self, settings: History, directory: Path) -> None:
        self._writer: "HistoryWriter | None" = None  # noqa: UP037 imported below
        if importlib.util.find_spec("pyarrow") is None:
            _log.warning("no history: it wants more packages (pip install 'otel-dns[history]')")
            return
        from otel_dns.history.writer import HistoryWriter, KeepSettings  # noqa: PLC0415 optional

        self._writer = HistoryWriter(
            KeepSettings(
                directory,
                retention_s=settings.retention,
                max_bytes=settings.max_size,
                flush_s=settings.flush,
            )
        )

    @property
    def counts(self) -> Counts:
        """What was counted so far."""
        counts = Counts()
        if self._writer is not None:
            for name, value in self._writer.counts().items():
                counts.add(**{f"history_{name}": value})
        return counts

    def gauges(self) -> dict[str, int]:
        """What is held now."""
        if self._writer is None:
            return {}
        return {f"history_{name}": value for name, value in self._writer.gauges().items()}

    def start(self) -> None:
        """Start the thread that writes; says so where it cannot."""
        if self._writer is not None:
            self._writer.start()

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of outcomes."""
        if self._writer is not None:
            self._writer.observe(outcomes)

    def stop(self) -> None:
        """Write what was taken."""
        if self._writer is not None:
            self._writer.stop()
