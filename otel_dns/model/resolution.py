"""The joined whole."""

from dataclasses import dataclass

from otel_dns.model.breakdown import Breakdown
from otel_dns.model.spans import Lookup, ServerTrace


@dataclass(frozen=True, slots=True)
class JoinedTrace:
    """One server trace, with its place in the lookup."""

    trace: ServerTrace
    candidate: int
    """Index into the lookup's candidates."""


@dataclass(frozen=True, slots=True)
class Join:
    """The statement that these server traces belong to that lookup."""

    traces: tuple[JoinedTrace, ...]
    """In order of start."""
    method: str
    """``semconv.METHOD_...``."""
    certainty: str
    """``semconv.CERTAINTY_...``; empty when nothing was joined."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A lookup with all that was found of it."""

    lookup: Lookup
    join: Join
    breakdown: Breakdown
