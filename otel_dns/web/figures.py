"""How figures are written in sentences that are made here; the page has its own for its tables."""


def duration(ns: float | None) -> str:
    """Write a duration as people read it: ``312 µs``, ``5.31 ms``, ``2.50 s``, ``4 min``."""
    if ns is None:
        return "-"
    for unit, size in (("µs", 1e3), ("ms", 1e6), ("s", 1e9)):
        if abs(ns) < 999.5 * size:
            return f"{three_digits(ns / size)} {unit}" if ns else "0"
    return f"{three_digits(ns / 60e9)} min"


def three_digits(value: float) -> str:
    """Write a figure with the three digits that matter."""
    return f"{value:.{0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2}f}"


def share(part: float) -> str:
    """Write a share as percent; never 0 or 100 for what is not quite."""
    if 0 < part < 0.0005:
        return "<0.1 %"
    if 0.9995 < part < 1:
        return ">99.9 %"
    return f"{part * 100:.{0 if part in {0, 1} or part >= 0.1 else 1}f} %"


def plural(count: int, one: str, many: str = "") -> str:
    """Write ``1 query``, ``12,400 queries``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
