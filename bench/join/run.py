"""Run the benchmark: which captures, which views, how many at once."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from bench.join import play, record
from bench.join.conditions import CONDITIONS, VIEWS
from bench.join.play import Cell

EVERYWHERE: Final = ("spans", "dnstap", "ids")
"""Views of every condition."""
ALL_VIEWS_OF: Final = ("many-32", "zipf-16")
"""Conditions of which every view is played."""


def views_of(condition: str, wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """Return which views of a condition are played."""
    if wanted:
        return tuple(wanted)
    if CONDITIONS[condition].node_local:
        return EVERYWHERE[:1]  # what a node's cache is asked, dnstap does not show
    return tuple(VIEWS) if condition in ALL_VIEWS_OF else EVERYWHERE


def captures(
    directory: Path,
    conditions: Iterable[str],
    seeds: Sequence[int],
    *,
    progress: Callable[[str], None],
    anew: bool = False,
) -> list[Path]:
    """Find captures, and record those that are missing in the lab.

    Raises:
        LabError: a program is missing or failed.
    """
    found = []
    for condition in conditions:
        for seed in seeds:
            path = None if anew else record.captured(directory, condition, seed)
            if path is None:
                progress(f"recording {condition}, seed {seed}")
                path = record.record(directory, condition, seed)
            found.append(path)
    return found


def run(
    paths: Sequence[Path],
    *,
    views: Sequence[str] = (),
    jobs: int = 0,
    progress: Callable[[str], None],
) -> list[Cell]:
    """Play captures.

    Args:
        paths: directories of captures.
        views: which; empty: the usual ones of every condition, all of ``ALL_VIEWS_OF``.
        jobs: processes; 0: one a core.
        progress: told of each capture.
    """
    cells: list[Cell] = []
    with ProcessPoolExecutor(jobs or os.cpu_count()) as pool:
        tasks = {
            path: pool.submit(play.run, path, views_of(path.name.rpartition(".")[0], views))
            for path in paths
        }
        for number, (path, task) in enumerate(tasks.items(), 1):
            progress(f"playing {path.name}, {number} of {len(tasks)}")
            cells += task.result()
    return cells
