"""The bound on the names that a metric carries, and what it shows of each."""

import itertools
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from otel_dns import semconv
from otel_dns.client.say_once import say_once

NAMES: Final = "name"
"""The metric carries names as they were asked for."""
DOMAINS: Final = "domain"
"""The metric carries registered domains."""
NO_NAMES: Final = "none"
"""The metric carries no names."""

Reduce = Callable[[str], str | None]

_MAX_TEXT: Final = 1024
"""No name is longer, escapes included; and no answer or message needs to be."""


class NamesBound:
    """Lets the first so many distinct names through, and one value for all others."""

    def __init__(self, limit: int, reduce: Reduce | None = None) -> None:
        """Start with no name known.

        Args:
            limit: How many names may pass.
            reduce: Makes of a name what is shown of it; see `reduction`.
        """
        self._reduce = reduce
        self._limit = max(limit, 0)
        self._known: set[str] = set()
        # next() on it is atomic: the bound holds without a lock, which a fork could leave locked.
        self._slots = itertools.count()

    def bounded(self, name: str) -> str | None:
        """Return what is shown of a name; all names beyond the bound share one value.

        Args:
            name: A looked-up name.
        """
        if self._reduce is not None:
            reduced = self._reduce(name)
            if reduced is None:
                return None
            name = reduced
        if name in self._known:
            return name
        name = sendable(name)
        if name in self._known:
            return name
        if len(self._known) < self._limit and next(self._slots) < self._limit:
            self._known.add(name)
            return name
        return semconv.OTHER_NAMES


def reduction(show: str) -> Reduce | None:
    """Return what makes of a name what the metric shows of it; nothing where that is the name.

    Args:
        show: `NAMES`, `DOMAINS` or `NO_NAMES`. Without the Public Suffix List (package
            publicsuffixlist) domains cannot be told, and no names are shown.

    Raises:
        ValueError: It is none of these.
    """
    if show == NAMES:
        return None
    if show == DOMAINS:
        try:
            from publicsuffixlist import PublicSuffixList  # noqa: PLC0415 - for those who ask
        except ImportError:
            say_once(
                "The metric shows no names: domains need the package publicsuffixlist, "
                "see otel-dns[domains]."
            )
        else:
            return _registered_domain(PublicSuffixList().privatesuffix)
    elif show != NO_NAMES:
        raise ValueError(f"{show!r} is none of {NAMES!r}, {DOMAINS!r} and {NO_NAMES!r}")
    return _nothing


def _nothing(_: str) -> None:
    return None


def _registered_domain(find: Callable[[str], str | None]) -> Reduce:
    @lru_cache(maxsize=1024)
    def domain(name: str) -> str:
        bare = name.rstrip(".").lower()
        return find(bare) or bare

    return domain


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
