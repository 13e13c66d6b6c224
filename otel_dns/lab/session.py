"""What every handle on a lab shares: the way to its keeper, its directory, how progress is told."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
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
        for suffix in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
            path = logs / f"{name}{suffix}.log"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                continue
            return path
        raise AssertionError
