"""Queries sent again: given to the lookups that have the first, where it is clear to whom.

A query that keeps its message id goes with the first (:func:`put_behind`). Of the others, those
that no lookup has a place for, it is weighed who was due to ask again then (:func:`give`).
"""

from collections.abc import Sequence
from math import exp
from typing import Final

from otel_dns.join.by_time.member import (
    MAX_ATTEMPTS,
    RETRY_REACH_NS,
    Column,
    Member,
    Place,
    asks_again,
    ready_at,
    sent_again,
    suits,
    take,
)
from otel_dns.join.by_time.timing import TIMEOUT_STEP_NS, Timing

_DOUBT: Final = 0.0045
"""Odds that a query sent again was another lookup's, where no other is likely to have asked.

Measured (seeds 1 to 3, 2% loss): of lookups with one such query and nothing else in doubt 1 of 193
was wrong, with two 1 of 36, with three 2 of 6: two leave a join sure, three do not."""
_DISPUTE_ODDS: Final = 0.5
_DISPUTE_DOUBT: Final = 1.0
"""Odds that a query is this lookup's, when several may have sent it again: it is nobody's then."""
_SPARE_DOUBT: Final = 1.0
"""Odds that a second query is a stranger's when the first did not call for it."""
_EARLY_NS: Final = 20_000_000

Rows = Sequence[tuple[Member, Place]]
"""The lookups that may have a query in a slot."""


def put_behind(columns: Sequence[Column], rows: Rows) -> list[Column]:
    """Put queries that one stub sent again behind the first: they keep the message id.

    One of the lookups has to have run all the while: an id comes again by chance, too.

    Returns:
        What is left: queries sent for the first time, as far as ids tell.
    """
    by_id: dict[int, Column] = {}
    heads = []
    for column in columns:
        dns_id = column.header.dns_id
        first = by_id.get(dns_id) if dns_id is not None else None
        if (
            first is not None
            and sent_again(first, column)
            and any(suits(member, first) and suits(member, column) for member, _ in rows)
        ):
            first.again.append(column)
            first.last_ns = column.start_ns
            if first.again[0].start_ns - first.start_ns > RETRY_REACH_NS:
                first.answer_ns = max(first.answer_ns, column.answer_ns)
            continue
        heads.append(column)
        if dns_id is not None:
            by_id[dns_id] = column
    return heads


def give(columns: Sequence[Column], rows: Rows, timing: Timing) -> None:
    """Give what is left over in a slot to the lookups that asked again, the likeliest first.

    What a lookup has already as sent again it keeps, unless another is as likely to have sent it.
    """
    asked_again: list[tuple[Column, list[tuple[float, int]], list[tuple[Member, Place]]]] = []
    for column in columns:
        owner = column.owner
        if owner is not None and owner.edges.get(column.place) is column:
            continue
        running = [
            (member, place)
            for member, place in rows
            if place in member.edges and suits(member, column)
        ]
        fits = [
            (-_fit(timing, member, place, column), at)
            for at, (member, place) in enumerate(running)
            if member is owner or asks_again(member, place, column, ready_at(member, place))
        ]
        if fits:
            asked_again.append((column, sorted(fits), running))
        elif len(running) == 1 and not column.trace.disputed:
            _take(*running[0], column, _SPARE_DOUBT)
        elif running:
            column.trace.disputed = True
    asked_again.sort(key=lambda found: found[1][0])
    for column, fits, running in asked_again:
        best, at = fits[0]
        odds = [exp(best - fit) for fit, _ in fits]
        doubt = sum(odds) - 1
        if column.trace.disputed or doubt > _DISPUTE_ODDS:
            column.trace.disputed = True
            _leave(column)
            odds = [_DISPUTE_DOUBT] * len(fits)
        else:
            odds[0] = doubt + _DOUBT if len(running) > 1 else 0.0
            _leave(column)
            _take(*running[at], column)
        for (_, rival), doubt in zip(fits, odds, strict=True):
            running[rival][0].retry_doubt += doubt


def _fit(timing: Timing, member: Member, place: Place, column: Column) -> float:
    """How well a query sent again fits between what a lookup has: a log density."""
    edge = member.edges[place]
    first_ns = min(edge.start_ns, column.start_ns)
    again_ns = max(edge.start_ns, column.start_ns)
    over_ns = (again_ns - first_ns + _EARLY_NS) % TIMEOUT_STEP_NS - _EARLY_NS
    fit = timing.first.log(over_ns)
    before_ns, after_ns = member.start_ns, member.end_ns
    others = [*member.edges.values(), *(one for one, _ in member.retries if one is not column)]
    for other in others:
        if other.start_ns > column.start_ns:
            after_ns = min(after_ns, other.start_ns)
        else:
            before_ns = max(before_ns, other.answer_ns)
    fit = max(fit, timing.next.log(column.start_ns - before_ns))
    # It has to be waited for: what comes next comes after its answer, not after the last one.
    waited = timing.next.log(after_ns - column.answer_ns)
    return fit + waited - timing.next.log_late(after_ns - before_ns)


def _take(member: Member, place: Place, column: Column, doubt: float = 0.0) -> None:
    if len(member.retries) < MAX_ATTEMPTS:
        take(member, place, column)
        member.retry_doubt += doubt


def _leave(column: Column) -> None:
    """Take a query sent again from whoever has it."""
    if column.owner is not None:
        column.owner.retries = [one for one in column.owner.retries if one[0] is not column]
        column.owner = None
