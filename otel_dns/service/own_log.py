"""The processor's own log, on standard error: text for people, JSON for collectors of logs."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

from otel_dns.service.settings import Log

_TEXT: Final = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


class _Json(logging.Formatter):
    """One JSON object a line; a traceback is a field of its line, not lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up(settings: Log) -> None:
    """Send all log records of this process to standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if settings.format == "json" else _TEXT)
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
