"""What every handle on a lab shares: the way to its keeper, its directory, how progress is told."""

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from otel_dns.lab.control import Control

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Session:
    """One running lab, as its users see it.

    Attributes:
        name: The lab's name.
        control: The way to its keeper.
        directory: Logs and configuration.
        progress: Told a short line when something that takes time begins.
    """

    name: str
    control: Control
    directory: Path
    progress: Progress
    _logs: dict[str, int] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """Write a configuration file, in place of an older one of the name."""
        path = self.directory / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def new_log(self, name: str) -> Path:
        """An unused file name for the log of a process of this name; the file is made."""
        logs = self.directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(self._logs.get(name, 0) + 1):
            path = logs / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
            # Another process that uses the same lab may have taken it.
            with contextlib.suppress(FileExistsError):
                path.touch(exist_ok=False)
                self._logs[name] = number
                return path
        raise AssertionError
