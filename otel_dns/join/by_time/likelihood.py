"""How likely it is that a lookup caused the server traces that it is given: log densities.

What is known of the stub resolver's gaps (:mod:`otel_dns.join.by_time.timing`), of how often a
query's server trace is there at all, and of ports.
"""

from math import exp, log, log1p
from typing import Final

from otel_dns.join.by_time.member import Column, Member, Place, known_until
from otel_dns.join.by_time.timing import Timing

NEVER: Final = -1_000.0
UNEXPECTED: Final = log(0.02)
"""A query for a candidate after one that had an answer."""
_OTHER_PORT: Final = log(0.02)
_ONE_BY_ONE: Final = -3.0
"""A second type that is asked for only after the answer for the first."""
_UNSEEN_NS: Final = 50_000_000
UNKNOWN: Final = log(1 / _UNSEEN_NS)
"""Density of a moment whose forerunner was not seen: somewhere in 50 ms."""
_SHORT_NS: Final = 1_000_000
_MAX_EXPONENT: Final = 50.0


class Likelihood:
    """Of server traces, given a lookup."""

    def __init__(self, timing: Timing, seen: float) -> None:
        """Remember what is known.

        Args:
            timing: how the stub spends its time.
            seen: how likely the server trace of a query is to be there.
        """
        self.timing = timing
        self.seen, self.missed = log(seen), log(1 - seen)

    def fit(self, member: Member, place: Place, column: Column, ready_ns: int | None) -> float:
        """How well a server trace fits a place, by what the lookup has so far.

        Args:
            member: the lookup.
            place: which of its queries.
            column: the server trace.
            ready_ns: when it was ready to send it; nothing if that was not seen.
        """
        if member.waiting.excludes(column.trace):
            return NEVER
        candidate, kind = place
        timing = self.timing
        other = next(
            (
                edge
                for (number, one), edge in member.edges.items()
                if number == candidate and one != kind
            ),
            None,
        )
        if other is not None:
            gap_ns = column.start_ns - other.start_ns
            fit = timing.pair.log_late(gap_ns if kind else -gap_ns)
            fit = max(fit, timing.next.log(column.start_ns - other.answer_ns) + _ONE_BY_ONE)
            if column.port and other.port:
                fit += _OTHER_PORT if column.port != other.port else -_OTHER_PORT
        elif ready_ns is None:
            fit = self._unready(column.start_ns - known_until(member, candidate))
        else:
            gap = timing.first if candidate == 0 else timing.next
            fit = gap.log_late(column.start_ns - ready_ns)
        return fit

    def of(self, member: Member, edges: dict[Place, Column]) -> float:
        """Return the log-likelihood of a lookup having just these server traces."""
        timing, lookup = self.timing, member.waiting.lookup
        kinds, candidates = len(lookup.types), len(lookup.candidates)
        seen, missed, place_of = self.seen, self.missed, edges.get
        score, calm, jam = 0.0, timing.log_calm, timing.log_jam
        ready_ns: int | None = member.start_ns
        known_ns = member.start_ns
        last = max(edges)[0] if edges else -1
        found = False
        gap = timing.first
        for candidate in range(candidates):
            one = place_of((candidate, 0))
            other = place_of((candidate, 1)) if kinds > 1 else None
            if one is None:
                one, other = other, None
            if one is None:
                if candidate > last and found:
                    break
                score += missed * kinds
                ready_ns = None
                if candidate > last:
                    break
                gap = timing.next
                continue
            if found:
                score += UNEXPECTED
            start_ns = one.start_ns
            if other is not None and other.start_ns < start_ns:
                start_ns = other.start_ns
            if ready_ns is None:
                score += self._unready(start_ns - known_ns)
            else:
                in_calm, in_jam, _ = gap.logs_late(start_ns - ready_ns)
                calm += in_calm
                jam += in_jam
            ready_ns, found = one.answer_ns, one.found
            if other is None:
                score += seen + missed * (kinds - 1)
            else:
                score += seen * 2 + missed * (kinds - 2)
                in_calm, in_jam, _ = timing.pair.logs_late(other.start_ns - one.start_ns)
                one_by_one = (
                    timing.next.log(
                        max(one.start_ns, other.start_ns) - min(ready_ns, other.answer_ns)
                    )
                    + _ONE_BY_ONE
                )
                calm += max(in_calm, one_by_one)
                jam += max(in_jam, one_by_one)
                if one.port and other.port and one.port != other.port:
                    score += _OTHER_PORT
                ready_ns = max(ready_ns, other.answer_ns)
                found = found or other.found
            known_ns = ready_ns
            gap = timing.next
        if ready_ns is not None and last >= 0 and (found or last == candidates - 1):
            in_calm, in_jam, _ = timing.end.logs_late(member.end_ns - ready_ns)
            calm += in_calm
            jam += in_jam
        else:
            score += UNKNOWN
        apart = jam - calm
        return score + (calm + log1p(exp(apart)) if apart < 0 else jam + log1p(exp(-apart)))

    def oddity(self, member: Member) -> float:
        """How much likelier than its gaps it is that its queries are other lookups'.

        Anything may be between two queries then, so any length of a gap is as likely as another.

        Returns:
            Odds, but for how often that is at all.
        """
        timing = self.timing
        rounds: dict[int, tuple[int, int]] = {}
        for column, candidate in member.given():
            start_ns, answer_ns = rounds.get(candidate, (column.start_ns, column.answer_ns))
            rounds[candidate] = min(start_ns, column.start_ns), max(answer_ns, column.answer_ns)
        usual = -log(max(member.end_ns - member.start_ns, _SHORT_NS))
        ready_ns, gap, expected, odds = member.start_ns, timing.first, 0, 0.0
        for candidate in sorted(rounds):
            start_ns, answer_ns = rounds[candidate]
            if candidate == expected:
                odds += exp(min(usual - gap.log_late(start_ns - ready_ns), _MAX_EXPONENT))
            expected, ready_ns, gap = candidate + 1, answer_ns, timing.next
        return odds + exp(min(usual - timing.end.log_late(member.end_ns - ready_ns), _MAX_EXPONENT))

    def _unready(self, gap_ns: int) -> float:
        """Return the log density of a query so long after the last that was seen before it."""
        if 0 <= gap_ns <= _UNSEEN_NS:
            return UNKNOWN
        return min(self.timing.next.log_late(gap_ns), UNKNOWN)
