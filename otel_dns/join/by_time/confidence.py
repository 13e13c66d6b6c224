"""How sure a join by time is: odds that a lookup is wrong, of what its exchanges add up to.

The odds of single exchanges are added up as if they had nothing to do with one another, and not
all of them are weighed. What comes of that was measured (``otel-dns bench join``, seeds 1 to 7). It
depends on three things: how many lookups of the same started together, whether the machine was so
busy that every gap is wide, and how much of what servers saw is there.
"""

import math
from typing import Final

_LITTLE_DOUBT: Final = 0.01
"""Up to here the odds are what they seem, or better."""
_STEEP: Final = 2.3
"""How much faster they grow beyond, where all is there and the machine is calm."""
_CROWD_POWER: Final = 2 / 3
_RIVAL: Final = 1.65
_RIVAL_WITH_PORTS: Final = 0.2
"""What each rival in a crowd adds; a port tells which queries of A and AAAA are of one lookup."""


def confidence(doubt: float, *, crowd: int, ports_known: bool, seen: float, calm: float) -> float:
    """Return how likely it is that all of a lookup's server traces are its own.

    Args:
        doubt: sum of the odds of all that could be instead.
        crowd: how many lookups of the same started with it, so that order says nothing; 0 if few.
        ports_known: it is known from which port each of its queries came.
        seen: how likely the server trace of a query is to be there.
        calm: how likely a lookup is not to be in a jam.
    """
    if crowd:
        rival = _RIVAL_WITH_PORTS if ports_known else _RIVAL
        odds = crowd * rival * math.pow(doubt, _CROWD_POWER)
    else:
        odds = min(doubt, _LITTLE_DOUBT)
        odds += _STEEP * seen * calm * max(doubt - _LITTLE_DOUBT, 0.0)
    return 1 / (1 + odds)
