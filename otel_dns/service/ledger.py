"""The balance: everything that came in has gone out, is held, or left for a counted reason.

Counted in spans, at two gates. Between the receivers and the outputs: received = handed to the
outputs + held + left out. At each output: handed = sent + queued + lost for a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_RECEIVED: Final = (
    "lookup_spans", "server_spans", "other_spans", "zipkin_server_spans", "zipkin_other_spans",
)  # fmt: skip
_HELD: Final = ("waiting_lookups", "waiting_server_spans", "input_queue_spans")
_MADE: Final = ("server_spans_made", "lookups_unsampled")
_LEFT_OUT: Final = ("duplicate", "unsampled_records", "lookups_left_out_unsampled")
_LOST: Final = ("spans_given_up", "spans_dropped_full")
_REFUSED: Final = "spans_refused_"
"""How the count of spans begins that an output refused; the status follows."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """One reading; ``unaccounted`` is empty when all is well and nothing is between two gates."""

    received: int
    handed: int
    held: int
    left_out: int
    """Duplicates, records that end here, and what the export policy left out."""
    made: int
    """What was made here of messages and records, and so never received."""
    unaccounted: Mapping[str, int]
    """What is missing (or too much, when negative), by gate: ``join``, or an output's name."""


def lost(counts: Mapping[str, int]) -> int:
    """Add up the spans that outputs took and did not deliver, for whatever reason."""
    return sum(
        value for name, value in counts.items() if name in _LOST or name.startswith(_REFUSED)
    )


def reading(
    counts: Mapping[str, int],
    gauges: Mapping[str, int],
    outputs: Mapping[str, tuple[Mapping[str, int], int]],
) -> Ledger:
    """Balance what was counted.

    Args:
        counts: of all parts but the outputs, and ``spans_handed``.
        gauges: what is held now.
        outputs: by name, each one's own counts and the spans that wait there.
    """
    received = sum(counts.get(name, 0) for name in _RECEIVED)
    handed = counts.get("spans_handed", 0)
    held = sum(gauges.get(name, 0) for name in _HELD)
    left_out = sum(
        value
        for name, value in counts.items()
        if name in _LEFT_OUT or name.startswith("server_spans_left_out_")
    )
    made = sum(counts.get(name, 0) for name in _MADE)
    missing = {"join": received + made - handed - held - left_out}
    for name, (own, queued) in outputs.items():
        missing[name] = handed - own.get("spans_sent", 0) - lost(own) - queued
    unaccounted = {name: value for name, value in missing.items() if value}
    return Ledger(received, handed, held, left_out, made, unaccounted)
