"""Warnings about settings: each instrumentation reads them by itself, and they are said once."""

import logging
from functools import lru_cache

_logger = logging.getLogger(__name__)


@lru_cache(maxsize=64)
def say_once(text: str) -> None:
    """Log a warning about a setting.

    Args:
        text: What is wrong, and what would be right.
    """
    _logger.warning(text)
