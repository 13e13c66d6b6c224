"""Cells as tables for people, and as one flat object for programs."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from bench.join.baselines import BASELINES
from bench.join.conditions import CONDITIONS, VIEWS
from bench.join.play import Cell
from bench.join.score import Score, share, spread, total, wilson_low

Group = tuple[str, str]
"""Condition and view."""
_CALIBRATION_JOINS: Final = 2_500
"""A decile with fewer says too little."""


def by_group(cells: Iterable[Cell]) -> dict[Group, list[Cell]]:
    """Put the seeds of a condition and view together, in the order of the tables."""
    groups: dict[Group, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.condition, cell.view].append(cell)
    conditions, views = list(CONDITIONS), list(VIEWS)
    return dict(
        sorted(
            groups.items(), key=lambda one: (views.index(one[0][1]), conditions.index(one[0][0]))
        )
    )


def flat(cells: Sequence[Cell]) -> dict[str, float]:
    """Every figure under one key: ``condition/view/method/figure``."""
    figures: dict[str, float] = {}
    for (condition, view), group in by_group(cells).items():
        base = f"{condition}/{view}"
        figures[f"{base}/seeds"] = len(group)
        figures[f"{base}/in_flight"] = round(statistics.mean(one.in_flight for one in group), 2)
        figures[f"{base}/us_per_lookup"] = round(statistics.mean(c.microseconds for c in group), 1)
        for method in ("join", *BASELINES):
            each = [cell.scores[method] for cell in group]
            figures.update(
                (f"{base}/{method}/{name}", value) for name, value in _figures(total(each)).items()
            )
            figures[f"{base}/{method}/right_spread"] = _rounded(
                spread([one.right_share for one in each])
            )
    for number, decile in enumerate(_pooled(cells).deciles):
        joins, confidence, right = decile
        figures[f"calibration/{number}/joins"] = int(joins)
        figures[f"calibration/{number}/confidence"] = _rounded(share(confidence, joins))
        figures[f"calibration/{number}/right"] = _rounded(share(right, joins))
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _figures(score: Score) -> dict[str, float | int]:
    return {
        "lookups": score.lookups,
        "query_precision": _rounded(score.precision),
        "query_recall": _rounded(score.recall),
        "lookup_precision": _rounded(share(score.joined_right, score.joined)),
        "lookup_recall": _rounded(score.right_share),
        "lookup_recall_low95": _rounded(wilson_low(score.right, score.lookups)),
        "exact_share": _rounded(share(score.exact, score.lookups)),
        "sure_share": _rounded(score.sure_share),
        "sure_right": _rounded(score.sure_right_share),
        "sure_right_low95": _rounded(wilson_low(score.sure_right, score.sure)),
        "sure_clean": _rounded(share(score.sure_clean, score.sure)),
        "group_share": _rounded(share(score.grouped, score.lookups)),
        "group_right": _rounded(share(score.grouped_right, score.grouped)),
        "group_confidence": _rounded(share(score.grouped_expected, score.grouped)),
    }


def markdown(cells: Sequence[Cell]) -> str:
    """Tables as docs/join-accuracy.md has them."""
    groups = by_group(cells)
    lines = [
        _row(
            "what is seen",
            "condition",
            "in flight",
            "lookups",
            "query precision / recall",
            "lookups right (spread)",
            "sure",
            "of these right (at least)",
            "in groups",
            "first match",
            "tightest",
            "FIFO",
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (condition, view), group in groups.items():
        ours = [cell.scores["join"] for cell in group]
        score = total(ours)
        others = (total(cell.scores[method] for cell in group) for method in BASELINES)
        low = wilson_low(score.sure_right, score.sure)
        lines.append(
            _row(
                view,
                condition,
                f"{statistics.mean(one.in_flight for one in group):.1f}",
                str(score.lookups),
                f"{_text(score.precision)} / {_text(score.recall)}",
                f"{_text(score.right_share)} ({_text(spread([one.right_share for one in ours]))})",
                _text(score.sure_share, 3),
                f"{_text(score.sure_right_share)} ({_text(low)})",
                _text(share(score.grouped, score.lookups), 3),
                *(_text(other.right_share) for other in others),
            )
        )
    lines += ["", *_calibration(cells)]
    return "\n".join(lines)


def _calibration(cells: Sequence[Cell]) -> list[str]:
    lines = [
        "| confidence | joins | mean confidence | right | off by |",
        "|---|---|---|---|---|",
    ]
    for number, (joins, confidence, right) in enumerate(_pooled(cells).deciles):
        if not joins:
            continue
        off = share(right, joins) - share(confidence, joins)
        enough = "" if joins >= _CALIBRATION_JOINS else " (few)"
        lines.append(
            f"| {number / 10:.1f} to {(number + 1) / 10:.1f} | {joins:.0f}{enough} "
            f"| {_text(share(confidence, joins))} | {_text(share(right, joins))} | {off:+.4f} |"
        )
    lines += [
        "",
        "| lookups in a group of | lookups | confidence | server traces their own | all of them |",
        "|---|---|---|---|---|",
    ]
    for size, (lookups, right, traces, own) in enumerate(_pooled(cells).groups, 1):
        if lookups:
            more = size == len(_pooled(cells).groups)
            lines.append(
                f"| {size}{' and more' if more else ''} | {lookups} "
                f"| {'at most ' if more else ''}{_text(1 / size)} "
                f"| {_text(share(own, traces))} | {_text(share(right, lookups))} |"
            )
    return lines


def _pooled(cells: Sequence[Cell]) -> Score:
    """Add up what calibration is read off: all but skewed clocks, which have rows of their own."""
    return total(cell.scores["join"] for cell in cells if not VIEWS[cell.view].skew_ms)


def failures(cells: Sequence[Cell], most: int) -> list[str]:
    """Tell of the first sure joins that are wrong, a few of each cell."""
    return [
        f"{cell.condition}.{cell.seed} {cell.view}: {words}"
        for cell in cells
        for words in cell.failures[:most]
    ]


def _row(*columns: str) -> str:
    return f"| {' | '.join(columns)} |"


def _rounded(value: float) -> float:
    return round(value, 5)


def _text(value: float, digits: int = 4) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
