"""How long the join waits, how much it holds, and what it may do."""

from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000_000
"""In nanoseconds."""


@dataclass(frozen=True, slots=True)
class JoinSettings:
    """How long and how much the join holds."""

    settle_ns: int = 7 * SECOND
    """A lookup waits so long for its server traces: OpenTelemetry's batch processor sends every
    5 s, CoreDNS's reporter every 1 s, and a second for the way."""
    trace_wait_ns: int = 60 * SECOND
    """A server trace waits so long for its lookup, whose span comes only when it has ended."""
    tolerance_ns: int = 2_000_000
    """How far apart the times of two clocks that agree may be."""
    follow_clocks: bool = True
    """Whether clocks may differ by more, and are followed; else they are taken to agree."""
    leave_groups: bool = False
    """Whether the server traces of interchangeable lookups stay in traces of their own."""
    infer: bool = False
    """Whether lookups are made of server traces that no known lookup claims."""
    silent_after_ns: int | None = None
    """A client is silent that has sent no lookup for so long: its server traces wait for the settle
    time only. None: all wait as long."""
    relays: tuple[str, ...] = ()
    """Addresses and networks of servers that ask others: they are never silent."""
    max_lookups: int = 100_000
    max_server_spans: int = 500_000
    """Of server spans and messages together."""
    max_bytes: int = 1 << 30
    """Of everything held, about."""
    max_remembered: int = 200_000
    """Server traces that left, remembered so that their late spans follow them; and lookups that
    left, so that one delivered again is not sent again with other content."""
