"""The history's files: which there are, which cannot be read."""

import threading
import time
from pathlib import Path
from typing import Final

import duckdb

from otel_dns.history.files import files_of
from otel_dns.web.asked import Window

_LOOK_S: Final = 2.0
_WINDOWS: Final = 256
"""Stretches of time whose files are remembered for so long."""


class Files:
    """The Parquet files of a history directory; it may come, grow and be compacted meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._listed: dict[Window, tuple[float, list[str]]] = {}
        self._damaged: dict[str, str] = {}
        self._sound: set[str] = set()

    def of(self, window: Window, *, anew: bool = False) -> list[str]:
        """Paths of the files that hold a time, as of a moment ago; ``anew``: as of now."""
        now = time.monotonic()
        with self._lock:
            listed = self._listed.get(window)
            if anew or listed is None or now - listed[0] >= _LOOK_S:
                found = files_of(self._directory, window.from_ns, window.to_ns)
                if len(self._listed) >= _WINDOWS:
                    self._listed.clear()
                listed = self._listed[window] = (now, [str(path) for path in found])
            return [path for path in listed[1] if path not in self._damaged]

    def check(self, paths: list[str]) -> None:
        """Leave out, from now on, those of the files that DuckDB cannot read; each is read once."""
        for path in paths:
            if path in self._sound or not Path(path).exists():
                continue
            try:
                duckdb.execute("SELECT count(hash(t)) FROM read_parquet(?) AS t", [path]).fetchall()
                self._sound.add(path)
            except duckdb.Error as error:
                self._damaged[path] = str(error).splitlines()[0]

    @property
    def problems(self) -> list[str]:
        """What is wrong with files that were left out."""
        return [
            f"{Path(path).name} is left out: {why}" for path, why in sorted(self._damaged.items())
        ]
