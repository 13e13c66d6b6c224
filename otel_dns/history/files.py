"""Where the files of the history lie, and which of them count.

A directory an hour (of when lookups started, UTC), in it files named by the numbers of the batches
that they hold: ``2026-11-25T04/000000000017-000000000017.parquet``. Compaction makes one file of
several, ``000000000001-000000000060.parquet``, which from its appearance on stands for the others;
they are deleted after a grace time, for whoever still reads them. So the directory is listed only
here: :func:`files_of` leaves out what a larger file stands for.
"""

import datetime
import re
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

HOUR_NS: Final = 3_600_000_000_000
DAMAGED: Final = "damaged"
"""The directory of files set aside."""

_HOUR: Final = "%Y-%m-%dT%H"
_NAME: Final = re.compile(r"(\d{12})-(\d{12})\.parquet", re.ASCII)
_HOUR_NAME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d", re.ASCII)
_MAGIC: Final = b"PAR1"


class KeptFile(NamedTuple):
    """One file of the history."""

    path: Path
    hour_ns: int
    """When its hour begins, since the epoch."""
    first: int
    last: int
    """Numbers of the batches that it holds."""


def hour_name(start_ns: int) -> str:
    """Name the hour that a time is in."""
    return datetime.datetime.fromtimestamp(start_ns // HOUR_NS * 3600, datetime.UTC).strftime(_HOUR)


def file_name(first: int, last: int) -> str:
    """Name a file by its batches."""
    return f"{first:012d}-{last:012d}.parquet"


def hours_of(directory: Path) -> list[tuple[int, Path]]:
    """List the directories of hours, with when each begins, in order."""
    hours = []
    for path in directory.iterdir() if directory.is_dir() else ():
        if not _HOUR_NAME.fullmatch(path.name):
            continue
        try:
            hours.append((hour_of(path.name), path))
        except ValueError:
            continue
    return sorted(hours)


def hour_of(name: str) -> int:
    """Tell when the hour of a directory begins, nanoseconds since the epoch.

    Raises:
        ValueError: it is no hour's name.
    """
    begins = datetime.datetime.strptime(name, _HOUR).replace(tzinfo=datetime.UTC)
    return int(begins.timestamp()) * 1_000_000_000


def all_files(hour: tuple[int, Path]) -> list[KeptFile]:
    """List all files of an hour, those that others stand for as well."""
    hour_ns, directory = hour
    try:
        paths = list(directory.iterdir())
    except FileNotFoundError:  # retained no longer, this moment
        return []
    files = [
        KeptFile(path, hour_ns, int(match[1]), int(match[2]))
        for path in paths
        if (match := _NAME.fullmatch(path.name))
    ]
    return sorted(files, key=lambda file: (file.first, -file.last))


def split(files: Iterable[KeptFile]) -> tuple[list[KeptFile], list[KeptFile]]:
    """Tell the files of one hour that count from those that another stands for."""
    counting: list[KeptFile] = []
    replaced: list[KeptFile] = []
    for file in files:  # larger ranges first
        within = counting and file.last <= counting[-1].last
        (replaced if within else counting).append(file)
    return counting, replaced


def files_of(
    directory: Path, since_ns: int | None = None, until_ns: int | None = None
) -> list[Path]:
    """List the files that hold the lookups of a period, in order of time.

    Args:
        directory: of the history; one that is not there holds nothing.
        since_ns: nanoseconds since the epoch; None: from the beginning.
        until_ns: exclusive; None: to the end.
    """
    return [
        file.path
        for hour in hours_of(directory)
        if (since_ns is None or hour[0] + HOUR_NS > since_ns)
        and (until_ns is None or hour[0] < until_ns)
        for file in split(all_files(hour))[0]
    ]


def is_whole(path: Path) -> bool:
    """Look whether a Parquet file has both its ends: one that was cut short has not.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < 12:
            return False
        file.seek(0)
        head = file.read(4)
        file.seek(size - 8)
        footer, tail = struct.unpack("<I4s", file.read(8))
    return bool(head == tail == _MAGIC and footer <= size - 12)
