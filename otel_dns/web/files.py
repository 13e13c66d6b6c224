"""The history's files: which there are, which cannot be read."""

import threading
import time
from pathlib import Path
from typing import Final

import duckdb

from otel_dns.history.files import files_of

_LOOK_S: Final = 2.0


class Files:
    """The Parquet files of a history directory; it may come, grow and be compacted meanwhile."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._looked = 0.0
        self._files: list[str] = []
        self._damaged: dict[str, str] = {}
        self._sound: set[str] = set()

    def now(self, *, anew: bool = False) -> list[str]:
        """Paths of the files, as of a moment ago; ``anew``: as of now."""
        with self._lock:
            if anew or time.monotonic() - self._looked >= _LOOK_S or not self._looked:
                self._files = [str(path) for path in files_of(self._directory)]
                self._looked = time.monotonic()
            return [path for path in self._files if path not in self._damaged]

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
