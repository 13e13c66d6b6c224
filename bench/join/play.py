"""Play a view to the public Joiner, as a stream in simulated time, and to the baselines."""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.join.baselines import BASELINES, Candidate
from bench.join.conditions import VIEWS
from bench.join.recording import Asked, Recording, Traced, load
from bench.join.score import Score, Verdict
from bench.join.views import SECOND, Seen, number_of, see
from otel_dns import semconv
from otel_dns.join import Joiner
from otel_dns.model import JoinedTrace, Resolution

_TICK_NS: Final = SECOND // 10
_EXACT: Final = frozenset(semconv.METHODS) - {semconv.METHOD_TIME, semconv.METHOD_NONE}


@dataclass(slots=True)
class Cell:
    """All methods on one view of one recording."""

    condition: str
    seed: int
    view: str
    in_flight: float
    scores: dict[str, Score] = field(default_factory=dict)
    """By method; ``join`` is ours."""
    microseconds: float = 0
    """CPU time of the join for one lookup."""
    counts: Mapping[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    """The first sure joins that are wrong, in words."""


def run(directory: Path, views: tuple[str, ...]) -> list[Cell]:
    """Play several views of one capture."""
    recording = load(directory)
    return [run_view(recording, view) for view in views]


def run_view(recording: Recording, name: str) -> Cell:
    """Play one view of a recording."""
    seen = see(recording, VIEWS[name])
    cell = Cell(recording.condition, recording.seed, name, recording.in_flight)
    true = _truth(recording, seen)
    started = time.process_time()
    resolutions, cell.counts = play(seen)
    cell.microseconds = (time.process_time() - started) * 1e6 / max(len(seen.known), 1)
    key_of = _Keys(recording, seen)
    uncertain = {one.trace_id for one in recording.traces.values() if not one.certain}
    score = cell.scores["join"] = Score()
    verdicts: dict[int, Verdict] = {}
    for one in seen.scored:
        resolution = resolutions.get(one.number)
        verdict = Verdict(frozenset(), true[one.number])
        if resolution is not None:
            join = resolution.join
            verdict = Verdict(
                frozenset(key_of(joined) for joined in join.traces) - uncertain,
                true[one.number], join.confidence, join.certainty, join.group_size,
                join.method in _EXACT,
            )  # fmt: skip
        score.add(verdict)
        verdicts[one.number] = verdict
    cell.failures += _in_words(recording, verdicts)
    _run_baselines(recording, seen, true, cell)
    return cell


def play(seen: Seen) -> tuple[dict[int, Resolution], Mapping[str, int]]:
    """Feed a Joiner, and take what comes out; its last waits are let pass."""
    joiner = Joiner()
    resolutions = {}
    now_ns = seen.events[0].at_ns if seen.events else 0
    outcomes = []
    for event in seen.events:
        while now_ns + _TICK_NS < event.at_ns:
            now_ns += _TICK_NS
            outcomes += joiner.advance(now_ns)
        if event.kind == "lookup":
            joiner.add_lookup(event.item, event.at_ns)
        elif event.kind == "query":
            joiner.add_query(*event.item, event.at_ns)
        elif event.kind == "span":
            joiner.add_server_span(event.item, event.at_ns)
        else:
            joiner.add_message(event.item, event.at_ns)
    end_ns = now_ns + joiner.settings.settle_ns + SECOND
    while now_ns < end_ns:
        now_ns += _TICK_NS
        outcomes += joiner.advance(now_ns)
    outcomes += joiner.drain()
    for outcome in outcomes:
        if isinstance(outcome, Resolution) and not outcome.lookup.inferred:
            resolutions[number_of(outcome.lookup)] = outcome
    return resolutions, dict(joiner.counts)


class _Keys:
    """Which captured trace a joined one is: by CoreDNS's id, else by port, id and question."""

    def __init__(self, recording: Recording, seen: Seen) -> None:
        self._seen = seen
        self._traces = recording.traces
        self._by_wire: dict[tuple[int, int, str, str], list[Traced]] = defaultdict(list)
        for one in recording.traces.values():
            if one.wire is not None:
                self._by_wire[one.wire].append(one)

    def __call__(self, joined: JoinedTrace) -> str:
        trace = joined.trace
        # A root's span id is the trace id that CoreDNS gave, in whoever's trace it is now.
        trace_id = trace.root.span_id.hex()
        if trace_id in self._traces:
            return trace_id
        wire = (trace.client_port, trace.dns_id or 0, trace.name, trace.type)
        start_ns = trace.root.start_ns - joined.skew_ns
        nearest = min(
            self._by_wire.get(wire, ()),
            key=lambda one: abs(one.start_ns + self._seen.shift.ahead_ns(one.start_ns) - start_ns),
            default=None,
        )
        return nearest.trace_id if nearest is not None else f"unknown {trace_id}"


def _truth(recording: Recording, seen: Seen) -> dict[int, frozenset[str]]:
    owned: dict[int, set[str]] = defaultdict(set)
    for one in recording.traces.values():
        if one.owner is not None and one.certain and one.trace_id in seen.traces:
            owned[one.owner].add(one.trace_id)
    return {one.number: frozenset(owned[one.number]) for one in recording.asked}


def _run_baselines(
    recording: Recording, seen: Seen, true: Mapping[int, frozenset[str]], cell: Cell
) -> None:
    slots: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for one in recording.traces.values():
        if one.trace_id in seen.traces and one.hop == 0:
            at_ns = one.start_ns + seen.shift.ahead_ns(one.start_ns)
            slots[one.slot].append(Candidate(one.trace_id, at_ns))
    for traces in slots.values():
        traces.sort(key=lambda one: one.start_ns)
    behind = {one.trace_id for one in recording.traces.values() if one.hop}
    for method, baseline in BASELINES.items():
        joined = baseline(seen.known, slots)
        score = cell.scores[method] = Score()
        for asked in seen.scored:
            own = true[asked.number] - behind
            score.add(Verdict(frozenset(joined.get(asked.number, ())), own))


def _in_words(recording: Recording, verdicts: Mapping[int, Verdict]) -> list[str]:
    """Describe the sure joins that are wrong."""
    given = {trace_id: number for number, one in verdicts.items() for trace_id in one.joined}

    def tell(trace_id: str, asked: Asked) -> str:
        trace = recording.traces.get(trace_id)
        if trace is None:
            return trace_id
        name, type_ = trace.slot
        after_us = (trace.start_ns - asked.start_ns) / 1000
        return (
            f"{trace_id} {name} {type_} at +{after_us:.0f} us, lookup {trace.owner}'s, "
            f"given to {given.get(trace_id)}"
        )

    lines = []
    for number, verdict in verdicts.items():
        if verdict.certainty != semconv.CERTAINTY_SURE or verdict.right:
            continue
        asked = recording.asked[number]
        foreign = "; ".join(tell(one, asked) for one in sorted(verdict.joined - verdict.true))
        missing = "; ".join(tell(one, asked) for one in sorted(verdict.true - verdict.joined))
        took_us = (asked.end_ns - asked.start_ns) / 1000
        lines.append(
            f"lookup {number} {asked.name} took {took_us:.0f} us, confidence "
            f"{verdict.confidence:.4f}: foreign [{foreign}], missing [{missing}]"
        )
    return lines
