"""The questions asked of the history, written once.

Each is an Ibis expression over the table of resolutions (:mod:`otel_dns.history.schema`), so the
same question runs on DuckDB within this process and on Spark over many clusters' files, and gives
the same answer. The page, the command line and the reports ask these and no others.
:class:`Questions` asks them of whatever engine its table lives in.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from otel_dns.history.kinds import KINDS
from otel_dns.history.questions.asking import EVERYTHING, MAX_ROWS, Asking, plain
from otel_dns.history.questions.course import Course
from otel_dns.history.questions.lists import Lists
from otel_dns.history.questions.spent import PER_DECADE, Spent
from otel_dns.history.questions.who import Who


class Questions(Course, Lists, Spent, Who):
    """Asks the questions of one table of resolutions."""


@cache
def questions() -> Mapping[str, Callable[..., Any]]:
    """Give the questions by name: the methods of :class:`Questions`."""
    return {
        name: method
        for name, method in inspect.getmembers(Questions, inspect.isfunction)
        if not (name.startswith("_") or name in vars(Asking))
    }


__all__ = [
    "EVERYTHING", "KINDS", "MAX_ROWS", "PER_DECADE", "Questions", "plain", "questions",
]  # fmt: skip
