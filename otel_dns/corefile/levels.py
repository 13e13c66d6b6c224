"""Evidence levels: what each costs CoreDNS, and what it lets otel-dns know and join."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Level:
    """One level of evidence, 0 to 4."""

    number: int
    name: str
    cost: str
    """Of CoreDNS, beside one that tells nothing; docs/coredns.md has the measurement."""
    known: str
    """What is known of a query."""


LEVELS: Final = (
    Level(
        0,
        "nothing",
        "nothing",
        "the client's side of a lookup, and the server's metrics; no query, no server time",
    ),
    Level(
        1,
        "log",
        "up to a fifth more CPU a query, and a line of 120 bytes",
        "each query with port and id when its answer is out: server time, seconds late",
    ),
    Level(
        2,
        "dnstap",
        "a fifth to two fifths more CPU a query, 360 bytes to the receiver, however that is",
        "each query exactly: server time, upstream time, retries, letter case, trace context",
    ),
    Level(
        3,
        "dnstap and sampled traces",
        "twice the CPU a query at one in a hundred, a little more where the receiver refuses",
        "level 2, and plugin times of the sampled queries: estimates for the others",
    ),
    Level(
        4,
        "every query traced",
        "four to six times the CPU a query at full load, and 1,700 bytes to the receivers",
        "the plugin times of every query",
    ),
)

RUNGS: Final = {
    "context": "the trace context that CoreDNS takes from DNS over HTTPS (B3 headers)",
    "edns": "the trace context that a query carries (EDNS option 65500)",
    "id": "client address, port and id: of clients that know them (dnspython)",
    "case": "the letter case of the name that the client gave it",
    "time": "client address, names and time; lookups alike at one moment stay a group",
}
"""Ways of joining, the most exact first; all but ``time`` are exact."""
