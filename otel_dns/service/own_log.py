"""The processor's own log, on standard error: text for people, JSON for collectors of logs.

All that this process has to say takes this way: exceptions that nobody caught and warnings too, and
what its child, the page, says.
"""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

import msgspec

from otel_dns.service.configuration.settings import Log

_TEXT: Final = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
_LEVELS: Final = logging.getLevelNamesMapping()

_log = logging.getLogger("otel_dns")


class _Json(logging.Formatter):
    """One JSON object a line; a traceback is a field of its line, not lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        return json.dumps(line, ensure_ascii=False)


class _Line(msgspec.Struct):
    """What :class:`_Json` writes."""

    level: str
    logger: str
    message: str
    exception: str | None = None


def set_up(settings: Log) -> None:
    """Send all log records of this process to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _TEXT)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def pass_on(line: bytes) -> None:
    """Log what a child wrote: its JSON as if it were of this process, all else as errors."""
    try:
        said = msgspec.json.decode(line, type=_Line)
        level = _LEVELS[said.level.upper()]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        if text := line.decode("utf-8", "replace").strip():
            _log.error("%s", text)
        return
    log = logging.getLogger(said.logger)
    if log.isEnabledFor(level):
        record = log.makeRecord(said.logger, level, "", 0, said.message, (), None)
        record.exc_text = said.exception
        log.handle(record)


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _log.critical("this was not expected", exc_info=(kind, error, traceback))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        _uncaught(found.exc_type, found.exc_value, found.exc_traceback)
