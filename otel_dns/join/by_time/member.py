"""What a knot is made of: lookups, server traces, and what one says of another."""

from collections.abc import Iterable, Iterator
from dataclasses import InitVar, dataclass, field
from typing import Final

from otel_dns.join.ladder import ID_REACH_NS
from otel_dns.join.waiting import WaitingLookup, WaitingTrace
from otel_dns.model import ServerTrace

RETRY_REACH_NS: Final = 40_000_000
_TIMEOUT_NS: Final = 500_000_000
_EARLY_NS: Final = 2_000_000
"""A query sent again may start so much too early: the first took longer to reach the server."""
_SAME_ID_EARLY_NS: Final = 20_000_000
_SAME_ID_LATE_NS: Final = 180_000_000
_KEEPS_ID: Final = frozenset({"glibc", "musl"})
"""Stub resolvers that send a query again under the same message id."""
MAX_ATTEMPTS: Final = 16
"""Server traces that one lookup may have in one slot; glibc's own bound on attempts is 5."""

Place = tuple[int, int]
"""Candidate and index of the type."""


@dataclass(slots=True, eq=False)
class Column:
    """A server trace on the client's clock."""

    trace: WaitingTrace
    header: ServerTrace
    start_ns: int
    answer_ns: int
    again: list["Column"] = field(default_factory=list)
    """The same query sent again, as its id says: whose the first is, these are too."""
    owner: "Member | None" = None
    place: Place = (0, 0)
    port: int = 0
    """The client's; 0 if unknown."""
    found: bool = False
    """Whether its answer ends the search."""

    last_ns: int = field(init=False)
    """When it was sent for the last time."""

    def __post_init__(self) -> None:
        self.port, self.found = self.header.client_port, self.header.rcode == "NOERROR"
        self.last_ns = self.start_ns


@dataclass(slots=True, eq=False)
class Member:
    """A lookup of the knot and what it is given."""

    waiting: WaitingLookup
    edges: dict[Place, Column] = field(default_factory=dict)
    retries: list[tuple[Column, Place]] = field(default_factory=list)
    retry_doubt: float = 0.0
    doubt: float = 0.0
    """Sum of the odds of all that could be instead."""
    confidence: float = 0.0
    """How likely all of it is right."""
    group: "Member | None" = None
    tolerance_ns: InitVar[int] = 0
    """How far the clocks may be apart."""
    start_ns: int = field(init=False)
    end_ns: int = field(init=False)
    from_ns: int = field(init=False)
    """From when on its queries may have been sent, as clocks are apart ..."""
    until_ns: int = field(init=False)
    """... and until when."""

    def __post_init__(self, tolerance_ns: int) -> None:
        self.start_ns, self.end_ns = self.waiting.lookup.start_ns, self.waiting.lookup.end_ns
        self.from_ns, self.until_ns = self.start_ns - tolerance_ns, self.end_ns + tolerance_ns

    @property
    def ports_known(self) -> bool:
        """Whether it is known from which port each of its queries came."""
        return all(column.port for column in self.edges.values())

    def given(self) -> Iterator[tuple[Column, int]]:
        """Go through what time gave it: server traces, each with its candidate."""
        heads = ((column, place) for place, column in self.edges.items())
        for column, (candidate, _) in (*heads, *self.retries):
            yield column, candidate
            for later in column.again:
                yield later, candidate

    def places(self, candidate: int) -> list[Place]:
        """Return the places of one candidate."""
        return [(candidate, kind) for kind in range(len(self.waiting.lookup.types))]

    def root(self) -> "Member":
        """Return who stands for the group of interchangeable lookups."""
        member = self
        while member.group is not None:
            member = member.group
        return member


def give(member: Member, place: Place, column: Column) -> None:
    """Give a lookup a server trace."""
    member.edges[place] = column
    column.owner, column.place = member, place


def take(member: Member, place: Place, column: Column) -> None:
    """Give a lookup a server trace of a query that it sent again."""
    member.retries.append((column, place))
    column.owner, column.place = member, place


def columns_of(traces: Iterable[WaitingTrace]) -> list[Column]:
    """Read server traces, in order of their start by the client's clock."""
    found = []
    for trace in traces:
        header, skew_ns = trace.header, trace.skew_ns
        assert header is not None
        found.append(
            Column(trace, header, header.root.start_ns + skew_ns, header.answer_ns + skew_ns)
        )
    found.sort(key=lambda column: (column.start_ns, str(column.trace.key)))
    return found


def sent_again(first: Column, column: Column) -> bool:
    """Whether a query with the id of another is that one again, and not by chance."""
    if len(first.again) >= MAX_ATTEMPTS - 1:
        return False
    last = first.again[-1] if first.again else first
    one, other = last.header, column.header
    after_ns = column.start_ns - last.start_ns
    if after_ns > ID_REACH_NS or one.dns_id is None:
        return False
    if one.client_port and one.client_port == other.client_port:
        return True
    # The second family is asked again when the first has its answer, some time after the timeout.
    early_ns, late_ns = _SAME_ID_EARLY_NS, _SAME_ID_LATE_NS
    return timed_out(after_ns, early_ns, late_ns) or calls_for_another(last, column)


def answered_at(member: Member, candidate: int) -> int | None:
    """When a candidate's last answer was out."""
    return max(
        (edge.answer_ns for (number, _), edge in member.edges.items() if number == candidate),
        default=None,
    )


def ready_at(member: Member, place: Place) -> int | None:
    """When a lookup was ready to ask for a candidate; nothing if that was not seen."""
    return member.start_ns if place[0] == 0 else answered_at(member, place[0] - 1)


def known_until(member: Member, candidate: int) -> int:
    """When something was last seen of a lookup before it asked for a candidate."""
    return max(
        (edge.answer_ns for (number, _), edge in member.edges.items() if number < candidate),
        default=member.start_ns,
    )


def was_found(member: Member, candidate: int) -> bool:
    """Whether a candidate had an answer that ends the search."""
    return any(
        edge.header.rcode == "NOERROR"
        for (number, _), edge in member.edges.items()
        if number == candidate
    )


def alike(one: Member, other: Member) -> bool:
    """Whether two lookups ask the same: then it does not matter for a breakdown whose is whose."""
    mine, yours = one.waiting.lookup, other.waiting.lookup
    return mine.candidates == yours.candidates and mine.types == yours.types


def suits(member: Member, column: Column) -> bool:
    """Whether a lookup ran when a query was sent, and the wire does not contradict it."""
    if column.start_ns < member.from_ns or column.last_ns > member.until_ns:
        return False
    waiting = member.waiting
    told = waiting.lookup.marked or waiting.queries
    return not (told and waiting.excludes(column.trace))


def unite(one: Member, other: Member) -> None:
    """Make one group of the groups of two lookups."""
    first, second = one.root(), other.root()
    if first is not second:
        second.group = first


def asks_again(member: Member, place: Place, other: Column, ready_ns: int | None) -> bool:
    """Whether a query looks like one that a lookup has in a place, sent again, or that one first.

    Args:
        member: the lookup.
        place: where it has a query.
        other: the query of the same question.
        ready_ns: when it was ready to ask; nothing if that was not seen.
    """
    one = member.edges[place]
    first, second = (one, other) if one.start_ns <= other.start_ns else (other, one)
    after_ns = second.start_ns - first.start_ns
    kind = member.waiting.lookup.kind
    if (
        kind == "musl"
        and first.header.server != second.header.server
        and after_ns <= RETRY_REACH_NS
    ):
        return True  # it asks all nameservers at once
    if kind in _KEEPS_ID and None not in (first.header.dns_id, second.header.dns_id):
        return False  # one that kept its id is with the first already
    if _went_on(member, place, other):
        return False
    if calls_for_another(first, second) or timed_out(after_ns):
        return True
    if (
        ready_ns is not None
        and first.start_ns > ready_ns - _EARLY_NS
        and timed_out(second.start_ns - ready_ns)
    ):
        return True  # the first was late
    return any(
        number == place[0] and kind != place[1] and _next_after(retry, second)
        for retry, (number, kind) in member.retries
    )


def _went_on(member: Member, place: Place, other: Column) -> bool:
    """Whether a lookup had gone on to the next candidate before a query: it was done with this."""
    return any(
        number > place[0] and column.start_ns < other.start_ns - _EARLY_NS
        for (number, _), column in member.edges.items()
    )


def _next_after(retry: Column, column: Column) -> bool:
    """Whether a query came with one of the other type that was sent again, or after its answer."""
    return (
        abs(column.start_ns - retry.start_ns) < _EARLY_NS
        or -_EARLY_NS < column.start_ns - retry.answer_ns < RETRY_REACH_NS
    )


def calls_for_another(first: Column, second: Column) -> bool:
    """Whether an answer makes a stub ask again at once."""
    if first.header.rcode in {"SERVFAIL", "REFUSED", "NOTIMP"}:
        return second.start_ns >= first.answer_ns - 1_000_000
    return first.header.proto == "udp" and second.header.proto == "tcp"


def timed_out(
    after_ns: int, early_ns: int = _EARLY_NS, late_ns: int = RETRY_REACH_NS - _EARLY_NS
) -> bool:
    """Whether a query came so long after another that a timeout lay between them."""
    return after_ns >= _TIMEOUT_NS - early_ns and (
        (after_ns + early_ns) % _TIMEOUT_NS < early_ns + late_ns
    )
