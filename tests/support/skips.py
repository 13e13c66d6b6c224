"""Which skips a run allows: ``.ci/allowed-skips`` is the list of the run that decides."""

import re
from pathlib import Path
from typing import Final

HELP: Final = "fail when something is skipped for a reason that matches no line of FILE"
"""What ``--allowed-skips FILE`` does, wherever it is an option."""


class AllowedSkips:
    """One regular expression a line, matched against the reason; without a list all are allowed."""

    def __init__(self, file: Path | None) -> None:
        self._patterns: list[re.Pattern[str]] | None = None
        if file is not None:
            lines = file.read_text(encoding="utf-8").splitlines()
            self._patterns = [re.compile(line) for line in lines if line and line[0] != "#"]

    def allow(self, reason: str) -> bool:
        """Tell whether something may be skipped for this reason."""
        return self._patterns is None or any(one.search(reason) for one in self._patterns)
