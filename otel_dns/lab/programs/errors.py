"""What can go wrong between wanting a program and having it."""

from otel_dns.lab.errors import LabError


class ProgramMissing(LabError):  # noqa: N818  (a sentence where it is raised)
    """The program is not on this machine, or not where an override says.

    The message has the command that gets it.
    """


class BuildFailed(LabError):  # noqa: N818
    """Getting the program did not work; the message has the log's place and what to do."""
