"""Bytes to model and back: each module a pure codec."""

from typing import NamedTuple


class MalformedError(ValueError):
    """These bytes are not what their sender says they are; the message says where."""


class Unused(NamedTuple):
    """Evidence that is well-formed and tells nothing of a query at a server."""

    reason: str
    """``stub_query``, ``error_line`` and the like: good for a counter."""


class Refusals:
    """How many spans of a request were refused, and why the first: no more is kept of them."""

    __slots__ = ("count", "first")

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, why: str) -> None:
        """Count one."""
        if not self.count:
            self.first = why
        self.count += 1

    def __len__(self) -> int:
        return self.count
