"""What can go wrong with a lab, as exceptions; messages name the remedy where one is known."""

from pathlib import Path


class LabError(Exception):
    """Base of everything the lab raises on its own account."""


class LabUnavailable(LabError):  # noqa: N818 - a sentence where it is raised
    """This machine does not give a lab: no Linux, no namespaces, or a needed part is refused.

    The message is one line, fit to be shown as it is.
    """


class LabGone(LabError):  # noqa: N818
    """The lab was stopped, or its keeper died, while something was asked of it."""


class ProgramFailed(LabError):  # noqa: N818
    """A program ended before it was ready, or was not ready in time.

    Attributes:
        name: The process's name in the lab.
        returncode: Its exit code, negative for a signal; ``None`` while it still runs.
        log: Where all its output is.
    """

    def __init__(self, message: str, *, name: str, returncode: int | None, log: Path) -> None:
        super().__init__(message)
        self.name = name
        self.returncode = returncode
        self.log = log
