"""What is said of an output in trouble: at once, then every half minute, and again at the end."""

import logging
import math
import time
from typing import Final

_REMIND_AFTER_S: Final = 30.0

_log = logging.getLogger(__name__)


class Troubles:
    """Of one output: since when it is down, and what it lost."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._down_since: float | None = None
        self._reminded = 0.0
        self._lost_spans = 0
        self._lost_why = ""
        self._lost_said = -math.inf

    @property
    def down_s(self) -> float:
        """Since how many seconds it does not take anything; 0 while it does."""
        since = self._down_since
        return 0.0 if since is None else time.monotonic() - since

    def failed(self, code: str, details: str) -> None:
        """Note that it did not take a request, which is tried again."""
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        elif now - self._reminded < _REMIND_AFTER_S:
            return
        self._reminded = now
        _log.warning(
            "%s does not take spans (%s: %s); they wait and are tried again",
            self._label, code, details,
        )  # fmt: skip

    def answered(self) -> None:
        """Note that it took a request."""
        if self._down_since is not None:
            _log.info(
                "%s takes spans again after %.1f s",
                self._label, time.monotonic() - self._down_since,
            )  # fmt: skip
            self._down_since = None

    def lost(self, spans: int, why: str) -> None:
        """Note that spans are lost."""
        self._lost_spans += spans
        self._lost_why = why
        if time.monotonic() >= self._lost_said + _REMIND_AFTER_S:
            self.say_lost()

    def say_lost(self) -> None:
        """Say what was lost and not said yet."""
        if self._lost_spans:
            _log.error("%s: %d spans are lost: %s", self._label, self._lost_spans, self._lost_why)
            self._lost_spans, self._lost_said = 0, time.monotonic()
