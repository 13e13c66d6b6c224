"""How figures are written in sentences that are made here; the page has its own for its tables."""

import math
from typing import Final

_UNITS: Final = (
    ("µs", 1e3, 999.5e3), ("ms", 1e6, 999.5e6), ("s", 1e9, 999.5e9), ("min", 60e9, 7200e9),
    ("h", 3600e9, 172_800e9), ("d", 86_400e9, math.inf),
)  # fmt: skip


def duration(ns: float | None) -> str:
    """Write a duration as people read it: ``312 µs``, ``5.31 ms``, ``2.50 s``, ``4.00 min``."""
    if ns is None:
        return "-"
    unit, size = next((unit, size) for unit, size, most in _UNITS if abs(ns) < most)
    return f"{three_digits(ns / size)} {unit}" if ns else "0"


def three_digits(value: float) -> str:
    """Write a figure with the three digits that matter."""
    return f"{value:.{0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2}f}"


def share(part: float) -> str:
    """Write a share as percent; never 0 or 100 for what is not quite."""
    if 0 < part < 0.0005:
        return "<0.1 %"
    if 0.9995 < part < 1:
        return ">99.9 %"
    return f"{part * 100:.{0 if part in {0, 1} or 0.1 <= part < 0.99 else 1}f} %"


def rate(value: float) -> str:
    """Write so many a second: ``0.012``, ``16.5``, ``1,240``."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.3g}"


def plural(count: int, one: str, many: str = "") -> str:
    """Write ``1 query``, ``12,400 queries``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
