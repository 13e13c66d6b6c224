"""The balance: everything that came in has gone out, is held, or left for a counted reason.

Each gate is one sum of what went in and one of what became of it, by the names of the counts that
make it up, so that a sum that is off shows where to look:

* ``join``: spans received = passed on + left the join in a counted way + held.
* ``messages``: the same of dnstap's messages and log lines.
* ``export``: what left the join, and what was made of messages = handed to the outputs + left out.
* each output by its name: handed = sent + queued + lost for a reason.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Tally: TypeAlias = dict[str, int]
"""Amounts by the name of their count; those of nothing are left out."""

_RECEIVED: Final = (
    "lookup_spans", "server_spans", "other_spans", "zipkin_server_spans", "zipkin_other_spans",
)  # fmt: skip
_HELD: Final = ("waiting_lookups", "waiting_server_spans", "input_queue_spans")
_LOOKUPS_LEFT: Final = ("lookups_joined", "lookups_unjoined")
_WAYS: Final = (
    "joined", "inferred", "ambiguous", "unmatched", "silent", "no_root", "evicted", "late",
)  # fmt: skip
_SERVER_SPANS_LEFT: Final = tuple(f"server_spans_{way}" for way in _WAYS)
_MESSAGES_RECEIVED: Final = ("dnstap_messages", "log_messages")
_MESSAGES_HELD: Final = ("waiting_messages", "input_queue_messages")
_MESSAGES_LEFT: Final = tuple(f"messages_{way}" for way in (*_WAYS, "duplicate", "surplus"))
_MADE: Final = ("server_spans_made", "own_spans")
_LEFT_OUT: Final = ("lookups_left_out_unsampled", "server_spans_superseded")
_LOST: Final = ("spans_given_up", "spans_dropped_full")
_REFUSED: Final = "spans_refused_"
"""How the count of spans begins that an output refused; the status follows."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One balance; off for a moment while something is between two counts."""

    unaccounted: int
    """What is missing; too much, when negative."""
    into: Tally
    out: Tally
    held: Tally


@dataclass(frozen=True, slots=True)
class Ledger:
    """One reading."""

    balanced: bool
    """Whether nothing is missing at any gate."""
    gates: dict[str, Gate]
    not_taken: Tally
    """What was refused or dropped before any gate, and told to its sender where it asks."""

    @property
    def received(self) -> int:
        """Spans taken so far."""
        return sum(self.gates["join"].into.get(name, 0) for name in _RECEIVED)

    @property
    def unaccounted(self) -> dict[str, int]:
        """What is missing, by gate; empty when all is well."""
        return {name: gate.unaccounted for name, gate in self.gates.items() if gate.unaccounted}


def lost(counts: Mapping[str, int]) -> int:
    """Add up the spans that outputs took and did not deliver, for whatever reason."""
    return sum(_lost(counts).values())


def reading(
    counts: Mapping[str, int],
    gauges: Mapping[str, int],
    outputs: Mapping[str, tuple[Mapping[str, int], int, int]],
) -> Ledger:
    """Balance what was counted.

    Args:
        counts: of all parts but the outputs, and ``spans_handed``.
        gauges: what is held now.
        outputs: by name, each one's own counts, the spans handed to it, and those that wait there.
    """
    handed, passed = counts.get("spans_handed", 0), counts.get("spans_passed", 0)
    left_out = _some(counts, _LEFT_OUT) | _beginning(counts, "server_spans_left_out_")
    gates = {
        "join": _gate(
            _some(counts, (*_RECEIVED, "lookups_unsampled")),
            _some(
                counts,
                ("spans_passed", *_LOOKUPS_LEFT, *_SERVER_SPANS_LEFT, "duplicate",
                 "unsampled_records"),
            ),
            _some(gauges, _HELD),
        ),
        "messages": _gate(
            _some(counts, _MESSAGES_RECEIVED),
            _some(counts, _MESSAGES_LEFT),
            _some(gauges, _MESSAGES_HELD),
        ),
        "export": _gate(
            _some(counts, (*_LOOKUPS_LEFT, *_SERVER_SPANS_LEFT, *_MADE)),
            {"spans_handed_of_the_join": handed - passed, **left_out},
            {},
        ),
    }  # fmt: skip
    for name, (own, handed_to_it, queued) in outputs.items():
        gates[name] = _gate(
            {"spans_handed": handed_to_it},
            _some(own, ("spans_sent",)) | _lost(own),
            {"queued": queued},
        )
    balanced = not any(gate.unaccounted for gate in gates.values())
    return Ledger(balanced, gates, _not_taken(counts))


def _gate(into: Tally, out: Tally, held: Tally) -> Gate:
    missing = sum(into.values()) - sum(out.values()) - sum(held.values())
    return Gate(missing, into, out, held)


def _some(counts: Mapping[str, int], names: Iterable[str]) -> Tally:
    return {name: value for name in names if (value := counts.get(name, 0))}


def _beginning(counts: Mapping[str, int], start: str) -> Tally:
    return {name: value for name, value in counts.items() if name.startswith(start) and value}


def _lost(counts: Mapping[str, int]) -> Tally:
    return _some(counts, _LOST) | _beginning(counts, _REFUSED)


def _not_taken(counts: Mapping[str, int]) -> Tally:
    ends = (
        "_malformed", "_turned_away", "_too_large", "_cut_off", "_unauthenticated",
        "_spans_refused", "zipkin_spans_dropped_full", "dnstap_messages_dropped_full",
    )  # fmt: skip
    kept = {
        name: value
        for name, value in counts.items()
        if value and (name.endswith(ends) or name == "spans_refused" or "_unused_" in name)
    }
    return dict(sorted(kept.items()))
