"""Compact records of lookups that are not sampled, so that the join knows the competitors.

A server trace does not tell which lookup it answers. So of two lookups of the same name at the same
time, the processor has to know both before it can give either its traces. One span now and then
tells of all that have no span of their own: start, duration, name. The processor takes these spans
out of the stream; they never reach a backend behind it.
"""

import atexit
import json
import os
from collections.abc import Callable
from functools import cache
from itertools import groupby
from threading import Lock, Timer
from typing import Final
from weakref import WeakSet

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer

from otel_dns import semconv
from otel_dns.client.details import Lookup

MAX_RECORDS: Final = 256
"""Lookups in one span."""
_SECONDS: Final = 1.0
"""So long the first one of a span waits for others: the join waits for all that is under way."""


_Ended = tuple[Lookup, int, int, str]
"""What was looked up, start and duration in nanoseconds, ``error.type`` or nothing."""


class UnsampledRecords:
    """Collects lookups that were not sampled, and sends many in one span."""

    def __init__(
        self,
        tracer: Callable[[], Tracer | None],
        send: Callable[[Callable[[], None]], None],
    ) -> None:
        """Start with nothing; a thread lives for as long as lookups wait, a second at most.

        Args:
            tracer: Returns whose spans are sampled, whatever the application's sampler says;
                nothing as long as there is no such tracer.
            send: Calls what makes the spans, and sees to what it raises.
        """
        self._tracer = tracer
        self._send = send
        self._forget()
        _all.add(self)

    def _forget(self) -> None:
        self._lock = Lock()
        self._waiting: list[_Ended] = []
        self._timer: Timer | None = None

    def add(self, lookup: Lookup, started_at: int, elapsed: int, error_type: str | None) -> None:
        """Take a lookup that has ended and has no span that is sent.

        Args:
            lookup: What was looked up.
            started_at: Nanoseconds since the epoch.
            elapsed: Nanoseconds.
            error_type: How it failed, if it did.
        """
        timer: Timer | None = None
        with self._lock:
            waiting = self._waiting
            waiting.append((lookup, started_at, elapsed, error_type or ""))
            full = len(waiting) >= MAX_RECORDS
            if self._timer is None:
                timer = self._timer = Timer(_SECONDS, self.flush)
        if timer is not None:
            # Only now, after the SDK's own, which is then called later and still takes these spans.
            _flush_at_exit()
            timer.daemon = True
            timer.start()
        if full:
            self._hand_over(self._take())

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            self._timer = None
        self._hand_over(self._take())

    def _take(self) -> list[_Ended]:
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def _hand_over(self, ended: list[_Ended]) -> None:
        if ended:
            self._send(lambda: self._make_spans(ended))

    def _make_spans(self, ended: list[_Ended]) -> None:
        tracer = self._tracer()
        if tracer is None:
            return
        ended.sort(key=_key)
        for _, alike in groupby(ended, _key):
            _make_span(tracer, list(alike))


def _key(one: _Ended) -> tuple[int, str, str, str]:
    """What lookups of one span have in common."""
    lookup = one[0]
    return id(lookup.resolver), lookup.api, lookup.family or "", lookup.question_type or ""


def _make_span(tracer: Tracer, ended: list[_Ended]) -> None:
    first = ended[0][0]
    starts_at = min(started_at for _, started_at, _, _ in ended)
    attributes = first.resolver.prepared(first.api, first.family, first.question_type)
    # ASCII throughout, so also what is no text that could be sent.
    attributes[semconv.UNSAMPLED_LOOKUPS] = json.dumps(
        [
            (lookup.name, started_at - starts_at, elapsed, error_type)
            for lookup, started_at, elapsed, error_type in ended
        ],
        separators=(",", ":"),
    )
    # Nobody's child: it belongs to no trace of the application.
    tracer.start_span(
        semconv.UNSAMPLED_SPAN,
        Context(),
        SpanKind.CLIENT,
        attributes,
        start_time=starts_at,
    ).end(max(started_at + elapsed for _, started_at, elapsed, _ in ended))


def _forget_all() -> None:
    # What waited in the parent is the parent's to send, and its timer's thread is not here.
    for one in _all:
        one._forget()


def _flush_all() -> None:
    for one in list(_all):
        one.flush()


@cache
def _flush_at_exit() -> None:
    atexit.register(_flush_all)


_all: WeakSet[UnsampledRecords] = WeakSet()
os.register_at_fork(after_in_child=_forget_all)
