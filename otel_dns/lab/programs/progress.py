"""Shows on a stream that something long is going on."""

import dataclasses
import shutil
import time
from typing import TextIO

_QUIET_SECONDS = 10.0
"""How often a stream that is no terminal gets a line."""


@dataclasses.dataclass(slots=True)
class Progress:
    """Whole lines that stay, and one line at the bottom that is redrawn."""

    stream: TextIO
    _started: float = dataclasses.field(default_factory=time.monotonic)
    _written: float = dataclasses.field(default_factory=time.monotonic)
    _drawn: bool = False

    def restart(self) -> None:
        """Counts the elapsed time from now on."""
        self._started = self._written = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def say(self, line: str) -> None:
        """Writes a line that stays."""
        self.wipe()
        self._write(f"{line}\n")

    def update(self, text: str) -> None:
        """Tells where things stand; call it often, it writes no more than is of use."""
        line = f"  {self.elapsed:4.0f} s  {text}"
        if self.stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._drawn = True
            self._write(f"\r\033[K{line[:width]}")
        elif time.monotonic() - self._written >= _QUIET_SECONDS:
            self._write(f"{line}\n")

    def wipe(self) -> None:
        """Takes the redrawn line away, if there is one."""
        if self._drawn:
            self._drawn = False
            self.stream.write("\r\033[K")
            self.stream.flush()

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()
        self._written = time.monotonic()
