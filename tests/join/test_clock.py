"""One clock: searched, followed, lost, bounded."""

import random
from collections.abc import Callable

import pytest

from otel_dns.join.clocks.clock import Clock
from otel_dns.join.clocks.search import FIRST_GAP_NS, MAX_RATE, REACH_NS, Sight, search
from tests.support.spans import MS, SECOND

EVERY_NS = 50 * MS


def sights(
    count: int,
    offset_of: Callable[[int], float],
    *,
    others: int = 3,
    seen: float = 0.95,
    regular: bool = False,
    late_ns: Callable[[int], int] = lambda number: 0,
) -> list[Sight]:
    """Lookups with the true difference, if the server told of it, among those to others' traces."""
    rng = random.Random(7)
    found = []
    for number in range(count):
        at_ns = number * EVERY_NS + (0 if regular else rng.randrange(EVERY_NS))
        some = [rng.randrange(-REACH_NS, REACH_NS) for _ in range(others)]
        if regular:
            some = [round(offset_of(at_ns)) - FIRST_GAP_NS + k * EVERY_NS for k in range(-9, 10)]
        elif rng.random() < seen:
            gap_ns = FIRST_GAP_NS + rng.randrange(-80_000, 200_000) + late_ns(number)
            some.append(round(offset_of(at_ns)) - gap_ns)
        found.append(Sight(at_ns, some))
    return found


@pytest.mark.parametrize("offset_ns", [-400 * MS, -20 * MS, 7 * MS, 20 * MS, 400 * MS])
@pytest.mark.parametrize(("others", "seen"), [(0, 1.0), (3, 0.95), (30, 0.95), (1, 0.3)])
def test_an_offset_is_found_among_others_traces(offset_ns, others, seen) -> None:
    found = search(sights(64, lambda _: offset_ns, others=others, seen=seen))

    assert found is not None
    assert abs(found.offset_ns - offset_ns) < MS // 4
    assert abs(found.rate) * SECOND < MS


@pytest.mark.parametrize("rate", [MAX_RATE, -MAX_RATE, MAX_RATE / 2])
def test_a_drift_is_found(rate) -> None:
    found = search(sights(64, lambda at_ns: 20 * MS + rate * at_ns))

    assert found is not None
    assert found.rate == pytest.approx(rate, abs=130e-6)
    assert abs(found.offset_ns - (20 * MS + rate * found.at_ns)) < MS // 2


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("one lookup on time", sights(1, lambda _: 0, others=0, seen=1)),
        ("clocks that agree", sights(64, lambda _: 0)),
        ("nearly", sights(64, lambda _: MS // 2)),
        ("regular lookups", sights(64, lambda _: 0, regular=True)),
        ("a jam at the start", sights(64, lambda _: 0, late_ns=lambda n: 9 * MS * (n < 30))),
    ],
)
def test_clocks_that_agree_are_found_to(case, told) -> None:
    found = search(told)

    assert found is not None
    assert found.offset_ns == 0, case


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("nothing", []),
        ("strangers only", sights(64, lambda _: 0, seen=0)),
        ("too few", sights(4, lambda _: 20 * MS, others=0, seen=1)),
        ("regular lookups, all far", sights(64, lambda _: 20 * MS, regular=True)),
        ("late for less than a second", sights(16, lambda _: -20 * MS, others=0, seen=1)),
        (
            "two clocks under one name",
            sights(64, lambda at_ns: (20 + at_ns // EVERY_NS % 2 * 30) * MS),
        ),
    ],
)
def test_what_cannot_be_known_is_refused(case, told) -> None:
    assert search(told) is None, case


def follow(clock: Clock, told: list[Sight]) -> None:
    for start_ns, differences in told:
        nearest = min(differences, key=lambda one: abs(clock.late_ns(start_ns, one)))
        if clock.known and abs(clock.late_ns(start_ns, nearest)) < MS:
            clock.matched(start_ns, nearest, chance=False)
        else:
            clock.missed(start_ns, differences, chance=False)
    clock.search()


def test_one_jam_is_no_clock_however_long_others_are_heard_of() -> None:
    """A hundred threads begin at once and are late by 8 ms; what follows is not told of."""
    late = sights(12, lambda _: 0, late_ns=lambda _: 8 * MS)
    quiet = sights(60, lambda _: 0, seen=0.0)[12:]

    assert search([*late, *quiet]) is None
    # The same again, seconds later, is one.
    again = [Sight(one.start_ns + 3 * SECOND, one.differences) for one in late]
    found = search([*late, *quiet, *again])
    assert found is not None
    assert found.offset_ns == pytest.approx(-8 * MS, abs=MS)


def test_a_jump_is_known_from_when_it_was_and_in_doubt_just_there() -> None:
    clock = Clock()

    def offset(at_ns: int) -> int:
        return 3 * MS if at_ns < 10 * SECOND else -40 * MS

    follow(clock, sights(400, offset))

    for at_ns in (5 * SECOND, 15 * SECOND):
        there, known = clock.at(at_ns - offset(at_ns))
        assert known
        assert abs(there - offset(at_ns)) < MS // 2
    assert clock.in_doubt(9 * SECOND, 11 * SECOND, explained=True)
    assert not clock.in_doubt(8 * SECOND, 9 * SECOND, explained=False)
    assert not clock.in_doubt(11 * SECOND, 12 * SECOND, explained=False)


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    rng = random.Random(3)

    follow(clock, sights(5_000, lambda _: rng.randrange(-REACH_NS, REACH_NS), others=100))
    follow(clock, sights(5_000, lambda at_ns: at_ns // SECOND % 2 * 30 * MS))

    assert len(clock.pieces) <= 64
    assert len(clock._pending) <= 64
    assert all(len(one.differences) <= 64 for one in clock._pending)
