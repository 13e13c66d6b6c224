"""The bound on the names that a metric carries."""

import itertools
from typing import Final

from otel_dns import semconv

_MAX_TEXT: Final = 1024
"""No name is longer, escapes included; and no answer or message needs to be."""


class NamesBound:
    """Lets the first so many distinct names through, and one value for all others."""

    def __init__(self, limit: int) -> None:
        """Start with no name known.

        Args:
            limit: How many names may pass.
        """
        self._limit = max(limit, 0)
        self._known: set[str] = set()
        # next() on it is atomic: the bound holds without a lock, which a fork could leave locked.
        self._slots = itertools.count()

    def bounded(self, name: str) -> str:
        """Return the name, or the value that stands for all names beyond the bound.

        Args:
            name: A looked-up name.
        """
        if name in self._known:
            return name
        name = sendable(name)
        if name in self._known:
            return name
        if len(self._known) < self._limit and next(self._slots) < self._limit:
            self._known.add(name)
            return name
        return semconv.OTHER_NAMES


def sendable(text: str) -> str:
    """Return text that any exporter can send: bounded, and without half surrogate pairs.

    Args:
        text: Any text.
    """
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT]
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
