"""The heaviest chain of pairs, compared with the one that trying all of them finds."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_dns.join.by_time.chain import Chain

COLUMNS = 6
Pairs = dict[int, int]
"""Gains of a row's pairs, by column."""


def heaviest(rows: list[Pairs], column: int = 0) -> int:
    """The most that rows in order and columns from this one on can gain."""
    if not rows:
        return 0
    first, *later = rows
    taking = (gain + heaviest(later, at + 1) for at, gain in first.items() if at >= column)
    return max([heaviest(later, column), *taking])


@given(
    st.lists(
        st.dictionaries(st.integers(0, COLUMNS - 1), st.integers(1, 9), min_size=1), max_size=6
    )
)
def test_it_gains_the_most_and_goes_up(rows: list[Pairs]) -> None:
    chain = Chain(COLUMNS)
    for number, row in enumerate(rows):
        name: Any = number
        chain.add([(float(gain), at) for at, gain in row.items()], name)

    found: list[tuple[int, Any]] = list(chain.pairs())[::-1]

    assert sum(rows[number][at] for at, number in found) == heaviest(rows)
    for before, after in pairwise(found):
        assert before[0] < after[0]
        assert before[1] < after[1]
