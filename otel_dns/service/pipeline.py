"""The thread that feeds the stream, and the bounded queue in front of it."""

import logging
import threading
import time
from typing import Final

from otel_dns import semconv
from otel_dns.service.requests import Requests
from otel_dns.service.sorting import Incoming
from otel_dns.service.stream import Stream
from otel_dns.service.weighted_queue import WeightedQueue

_TICK_S: Final = 0.1

_log = logging.getLogger(__name__)


class Pipeline:
    """Owns the stream while it runs; receivers reach it through :meth:`offer`."""

    def __init__(self, stream: Stream, max_input_bytes: int, requests: Requests) -> None:
        self._stream = stream
        self._requests = requests
        self._queue: WeightedQueue[Incoming] = WeightedQueue(max_input_bytes)
        self._thread = threading.Thread(target=self._run, name="otel-dns-pipeline", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, incoming: Incoming, size: int, timeout_s: float) -> bool:
        """Hand spans to the pipeline; False when it was full for so long."""
        number = self._requests.begin()
        incoming = incoming._replace(request=number)
        taken = self._queue.put(incoming, size, timeout_s, _spans(incoming))
        if not taken:
            self._requests.let_go((number,))
        return taken

    def stop(self) -> None:
        """Take what is queued, join what is held as far as it goes, hand everything on."""
        self._queue.close()
        self._thread.join()

    @property
    def full(self) -> bool:
        """Whether there is hardly any room."""
        return self._queue.full

    @property
    def alive(self) -> bool:
        """Whether the thread runs: without it nothing is joined."""
        return self._thread.is_alive()

    def gauges(self) -> dict[str, int]:
        """What is held now."""
        return {
            **self._stream.gauges(),
            "input_queue_bytes": self._queue.weight,
            "input_queue_spans": self._queue.count,
            "input_queue_messages": self._queue.total(lambda incoming: len(incoming.messages)),
        }

    def _run(self) -> None:
        try:
            self._feed()
        except Exception:  # noqa: BLE001 whatever it is
            # A mistake of ours. The tables cannot be trusted any more: whoever runs the service
            # sees that this thread is gone, and ends it.
            _log.exception("the pipeline failed; nothing more is joined")

    def _take(self, incoming: Incoming) -> None:
        trace = incoming.trace
        if trace is not None:
            trace.step(semconv.REQUEST_QUEUE_SPAN)
        self._stream.take(incoming, time.monotonic_ns())
        if trace is not None:
            trace.step(semconv.REQUEST_TAKE_SPAN)
            trace.end(_spans(incoming))

    def _feed(self) -> None:
        next_tick = time.monotonic()
        while not self._queue.finished:
            incoming = self._queue.get(max(next_tick - time.monotonic(), 0))
            if incoming is not None:
                self._take(incoming)
            if time.monotonic() >= next_tick:
                self._stream.advance(time.monotonic_ns())
                next_tick = time.monotonic() + _TICK_S
        self._stream.drain()


def _spans(incoming: Incoming) -> int:
    return len(incoming.lookups) + len(incoming.server_spans) + incoming.other_spans
