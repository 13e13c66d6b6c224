"""Answers that several who look at the page get: made once, and good for a moment."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from fastapi import HTTPException

from otel_dns.history.history import BusyError, History
from otel_dns.web.settings import MIB, PageSettings

T = TypeVar("T")

_AT_ONCE: Final = 2
"""Questions that run side by side; more wait, and are turned away after the time of one."""
_LOOK_S: Final = 2.0
_KEPT: Final = 512
"""Answers that are kept."""


def open_history(settings: PageSettings) -> History:
    """Open the history for those who look at the page: bounded in threads, memory and time."""
    return History(
        settings.history,
        threads=settings.threads,
        memory=f"{settings.memory_bytes // MIB}MiB",
        at_once=_AT_ONCE,
        question_s=settings.question_s,
        look_s=_LOOK_S,
    )


def turned_away(error: BusyError) -> HTTPException:
    """Say that too much is asked at once: it may be asked again soon."""
    return HTTPException(503, str(error), {"Retry-After": "5"})


class Answers:
    """Remembers what was answered a moment ago. Thread-safe."""

    def __init__(self, keep_s: float) -> None:
        """Keep each answer for so many seconds."""
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, Future[Any]]] = OrderedDict()

    def once(self, key: Hashable, make: Callable[[], T], keep_s: float = 0) -> T:
        """Give the answer made for this key a moment ago, or being made by another; else make it.

        Args:
            key: what is asked, and by whom.
            make: answers.
            keep_s: how long the answer is good, where that is longer than usual.
        """
        now = time.monotonic()
        with self._lock:
            known = self._answers.get(key)
            mine = known is None or now - known[0] >= max(keep_s, self._keep_s)
            future: Future[Any] = Future() if mine or known is None else known[1]
            if mine:
                self._answers[key] = (now, future)
                self._answers.move_to_end(key)
                while len(self._answers) > _KEPT:
                    self._answers.popitem(last=False)
        if mine:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._answers.pop(key, None)
                future.set_exception(error)
                raise
        answer: T = future.result()
        return answer
