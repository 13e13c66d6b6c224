"""How a stub resolver spends its time between queries: densities, learned as joins are made.

Four gaps tell lookups of one name apart: from the lookup's start to its first query, from the
answers of one candidate to the queries of the next, between A and AAAA of one candidate, and from
the last answer to the lookup's end. Each begins with what was measured on glibc 2.36 and real
CoreDNS on one busy machine, and follows the data from there. Tails are heavy: one gap in a hundred
is of milliseconds, so nothing is ever ruled out by a window.

Long gaps come together: of the lookups with one gap in the longest twentieth, every third has the
next there too (measured: 0.2 to 0.47), as a busy machine delays all that runs on it. So a lookup is
either calm or in a jam, each with densities of its own, and which of them it was is weighed over
all of its gaps together.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import exp, log
from typing import Final

from otel_dns.model import Lookup, ServerTrace

_UNIT_BITS: Final = 13
"""Finest step: 8 microseconds. From 32 on there are four steps to every doubling."""
_STEPS: Final = 96
_RELEARN: Final = 64
_REMEMBERED: Final = 4_000.0
"""Gaps that weigh in: older ones fade."""
_PRIOR_WEIGHT: Final = 150.0
_TAIL: Final = 0.01
_TAIL_FROM_NS: Final = 500_000
_TAIL_TO_NS: Final = 10_000_000_000
"""One gap in a hundred may be of any length, each doubling as likely as the next."""
_TIMEOUT_TAIL: Final = 0.004
TIMEOUT_STEP_NS: Final = 500_000_000
_TIMEOUT_EARLY_NS: Final = 2_000_000
_TIMEOUT_LATE_NS: Final = 30_000_000
"""A query sent again comes so soon after a multiple of half a second: resolv.conf(5) counts
timeouts in seconds, musl divides them by its attempts."""

_FIRST: Final = ((0.0, -200), (0.01, 30), (0.05, 90), (0.5, 200), (0.95, 450), (0.99, 1_600),
                 (1.0, 10_000))  # fmt: skip
_NEXT: Final = ((0.0, -1_000), (0.01, -200), (0.05, -40), (0.5, 85), (0.95, 250), (0.99, 1_200),
                (1.0, 10_000))  # fmt: skip
_PAIR: Final = ((0.0, -5_000), (0.01, -500), (0.05, -110), (0.5, -17), (0.95, 200), (0.99, 400),
                (1.0, 5_000))  # fmt: skip
_END: Final = ((0.0, -10_000), (0.01, -1_000), (0.05, -200), (0.5, 100), (0.95, 280), (0.99, 900),
               (1.0, 10_000))  # fmt: skip
_JAM: Final = ((0.0, -20_000), (0.05, -1_000), (0.1, -100), (0.25, 100), (0.5, 700), (0.75, 3_000),
               (0.95, 12_000), (1.0, 40_000))  # fmt: skip
"""Any gap in a jam, until more is known."""
_JAMS_PRIOR: Final = 0.05
_FEWEST_JAMS: Final = 0.005
_REMEMBERED_LOOKUPS: Final = 1_000.0
_MAX_EXPONENT: Final = 50.0


class Gap:
    """The densities of one kind of gap, per nanosecond: in calm, in a jam, and of either."""

    def __init__(self, quantiles: Sequence[tuple[float, int]]) -> None:
        self._calm = _Density(_spread(quantiles))
        self._jam = _Density(_spread(_JAM))
        self._logs: list[tuple[float, float, float]] = []
        self._since = 0
        self._relearn()

    def log(self, gap_ns: int) -> float:
        """Return the logarithm of the density at a gap, of either state."""
        return self._logs[_step(gap_ns)][2]

    def log_late(self, gap_ns: int) -> float:
        """Return the same, for a gap that a timeout may have made long."""
        return self.logs_late(gap_ns)[2]

    def logs_late(self, gap_ns: int) -> tuple[float, float, float]:
        """Return the logarithms in calm, in a jam, and of either, as ``log_late`` does."""
        found = self._logs[_step(gap_ns)]
        late_ns = abs(gap_ns)
        if late_ns > TIMEOUT_STEP_NS - _TIMEOUT_EARLY_NS:
            over_ns = (late_ns + _TIMEOUT_EARLY_NS) % TIMEOUT_STEP_NS - _TIMEOUT_EARLY_NS
            if over_ns < _TIMEOUT_LATE_NS:
                calm, jam, either = self._logs[_step(over_ns)]
                return (
                    max(found[0], _LOG_TIMEOUT + calm),
                    max(found[1], _LOG_TIMEOUT + jam),
                    max(found[2], _LOG_TIMEOUT + either),
                )
        return found

    def learn(self, gap_ns: int, jammed: float) -> None:
        """Take note of a gap of a join that is thought right.

        Args:
            gap_ns: the gap.
            jammed: how likely it was one of a jam.
        """
        step = _step(gap_ns)
        self._calm.learn(step, 1 - jammed)
        self._jam.learn(step, jammed)
        self._since += 1
        if self._since >= _RELEARN:
            self._relearn()

    def _relearn(self) -> None:
        self._since = 0
        calm, jam = self._calm, self._jam
        share = (jam.total + _JAMS_PRIOR * _PRIOR_WEIGHT) / (calm.total + jam.total + _PRIOR_WEIGHT)
        self._logs = [
            (log(one), log(other), log((1 - share) * one + share * other))
            for one, other in zip(calm.relearned(), jam.relearned(), strict=True)
        ]


class _Density:
    """A density that begins with what was measured before, and follows the data."""

    def __init__(self, prior: Sequence[float]) -> None:
        self._prior = [_PRIOR_WEIGHT * share for share in prior]
        self._counts = [0.0] * (2 * _STEPS)
        self.total = 0.0

    def learn(self, step: int, weight: float) -> None:
        self._counts[step] += weight
        self.total += weight

    def relearned(self) -> list[float]:
        """Let old gaps fade, and return the density at each step."""
        if self.total > _REMEMBERED:
            fade = _REMEMBERED / 2 / self.total
            self._counts = [count * fade for count in self._counts]
            self.total *= fade
        counts = self._counts
        weight = self.total + _PRIOR_WEIGHT
        return [
            (1 - _TAIL) * ((before + 2 * here + after) / 4 + prior) / weight / width + tail
            for before, here, after, prior, width, tail in zip(
                (counts[0], *counts), counts, (*counts[1:], counts[-1]),
                self._prior, _WIDTHS, _TAILS, strict=False,
            )
        ]  # fmt: skip


class Timing:
    """The four gaps of a stub resolver."""

    def __init__(self) -> None:
        self.first = Gap(_FIRST)
        """From the lookup's start to its first query at the server."""
        self.next = Gap(_NEXT)
        """From the last answer for one candidate to the first query for the next."""
        self.pair = Gap(_PAIR)
        """From the query for the first type to that for another, of one candidate."""
        self.end = Gap(_END)
        """From the last answer to the lookup's end."""
        self._jams = _JAMS_PRIOR
        self._lookups = 1.0
        self.log_calm, self.log_jam = log(1 - _JAMS_PRIOR), log(_JAMS_PRIOR)
        """Logarithms of how likely a lookup is to be calm, and in a jam."""

    def learn(self, lookup: Lookup, given: Iterable[tuple[ServerTrace, int, int]]) -> None:
        """Take note of a lookup's gaps: its server traces, their candidates, and their skew."""
        rounds: dict[int, list[tuple[int, int, str]]] = {}
        for trace, candidate, skew_ns in given:
            times = (trace.root.start_ns + skew_ns, trace.answer_ns + skew_ns, trace.type)
            rounds.setdefault(candidate, []).append(times)
        ready_ns, gap = lookup.start_ns, self.first
        candidate = -1
        gaps: list[tuple[Gap, int]] = []
        for following in sorted(rounds):
            if following != candidate + 1:
                break  # one was not seen
            candidate, traces = following, rounds[following]
            gaps.append((gap, min(traces)[0] - ready_ns))
            if len(traces) == 2 and traces[0][2] != traces[1][2]:
                first, second = sorted(traces, key=lambda times: lookup.types.index(times[2]))
                gaps.append((self.pair, second[0] - first[0]))
            ready_ns, gap = max(times[1] for times in traces), self.next
        else:
            if candidate >= 0:
                gaps.append((self.end, lookup.end_ns - ready_ns))
        jammed = self._jammed(gaps)
        for gap, gap_ns in gaps:
            gap.learn(gap_ns, jammed)
        self._lookups += 1
        self._jams += jammed
        if self._lookups > _REMEMBERED_LOOKUPS:
            self._lookups *= 0.5
            self._jams *= 0.5
        share = min(max(self._jams / self._lookups, _FEWEST_JAMS), 0.5)
        self.log_calm, self.log_jam = log(1 - share), log(share)

    def _jammed(self, gaps: Iterable[tuple[Gap, int]]) -> float:
        """How likely gaps of one lookup are those of a jam."""
        odds = self.log_jam - self.log_calm
        for gap, gap_ns in gaps:
            calm, jam, _ = gap.logs_late(gap_ns)
            odds += jam - calm
        return 1 / (1 + exp(min(-odds, _MAX_EXPONENT)))


def _step(gap_ns: int) -> int:
    """Return the place of a gap in a table: negative gaps go down from the middle."""
    units = (gap_ns if gap_ns >= 0 else ~gap_ns) >> _UNIT_BITS
    if units >= 8:
        doublings = units.bit_length() - 3
        units = (doublings << 2) + (units >> doublings)
        if units >= _STEPS:
            units = _STEPS - 1
    return _STEPS + units if gap_ns >= 0 else _STEPS - 1 - units


def _edge(step: int) -> int:
    """Return where a step begins, seen from zero, in nanoseconds."""
    if step < 8:
        return step << _UNIT_BITS
    doublings = (step >> 2) - 1
    return (step - (doublings << 2)) << doublings << _UNIT_BITS


def _width(at: int) -> int:
    step = at - _STEPS if at >= _STEPS else _STEPS - 1 - at
    return _edge(step + 1) - _edge(step)


def _tail(at: int) -> float:
    """Return the density of gaps that nothing explains."""
    step = at - _STEPS if at >= _STEPS else _STEPS - 1 - at
    gap_ns = max((_edge(step) + _edge(step + 1)) / 2, _TAIL_FROM_NS)
    return _TAIL / log(_TAIL_TO_NS / _TAIL_FROM_NS) / gap_ns


def _spread(quantiles: Sequence[tuple[float, int]]) -> list[float]:
    """Spread probability evenly between quantiles (in microseconds) over the steps of a table."""
    shares = [0.0] * (2 * _STEPS)
    pieces = 200
    for (low, low_us), (high, high_us) in pairwise(quantiles):
        for piece in range(pieces):
            gap_us = low_us + (high_us - low_us) * (piece + 0.5) / pieces
            shares[_step(round(gap_us * 1000))] += (high - low) / pieces
    return shares


_LOG_TIMEOUT: Final = log(_TIMEOUT_TAIL)
_WIDTHS: Final = [_width(at) for at in range(2 * _STEPS)]
_TAILS: Final = [_tail(at) for at in range(2 * _STEPS)]
