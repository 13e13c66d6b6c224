"""The joined whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from otel_dns.model.breakdown import Breakdown
from otel_dns.model.spans import Lookup, ServerTrace, Span


class Slice(NamedTuple):
    """A stretch of a server's time, in nanoseconds since the epoch, and the span that owns it."""

    start_ns: int
    end_ns: int
    span: Span


@dataclass(frozen=True, slots=True)
class JoinedTrace:
    """One server trace, with its place in the lookup."""

    trace: ServerTrace
    candidate: int
    """Index into the lookup's candidates."""
    timeline: Sequence[Slice]
    """The trace's time without gap or overlap, see :func:`otel_dns.join.timeline.timeline`."""


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
