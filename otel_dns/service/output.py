"""OTLP over gRPC out: raw bytes, a bounded queue, retries as the protocol says.

Which answers are worth another try is OTLP's own list (specification, "Failures"); everything else
is the batch's fault, and it is dropped and counted under the status code.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_dns.service.counts import Counts
from otel_dns.service.settings import Output
from otel_dns.service.weighted_queue import WeightedQueue

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_CALL_TIMEOUT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_REMIND_AFTER_S: Final = 30.0
_STOP_GRACE_S: Final = 0.5
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    # gRPC itself would wait up to two minutes before it looks whether an endpoint is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", round(_LONGEST_PAUSE_S * 1000)),
)

_log = logging.getLogger(__name__)


class OtlpOutput:
    """Sends OTLP trace requests to one endpoint, in order, from a thread of its own."""

    def __init__(self, settings: Output) -> None:
        self.label = settings.label
        self._give_up_after_s = settings.give_up_after
        self._queue: WeightedQueue[tuple[bytes, int]] = WeightedQueue(settings.queue)
        self._channel = grpc.insecure_channel(settings.endpoint, options=_CHANNEL_OPTIONS)
        self._export: Callable[..., bytes] = self._channel.unary_unary(EXPORT, None, None)
        self._thread = threading.Thread(target=self._run, name="otel-dns-output", daemon=True)
        self._deadline: float | None = None
        self._wake = threading.Event()
        self._down_since: float | None = None
        self._reminded = 0.0
        self._lost_spans = 0
        self._lost_why = ""
        self._lost_said = -math.inf
        self.counts = Counts()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def send(self, request: bytes, spans: int) -> None:
        """Queue a request, waiting while the queue is full."""
        while not self._queue.put((request, spans), len(request), self._time_left_s(0.5)):
            if self._time_left_s(1.0) <= 0:
                self.counts.add(spans_given_up=spans)
                return

    def offer(self, request: bytes, spans: int) -> bool:
        """Queue a request, or return False when the queue is full."""
        return self._queue.put((request, spans), len(request), timeout_s=0)

    def set_deadline(self, within_s: float) -> None:
        """From now on, give up on what cannot be sent within so many seconds."""
        self._deadline = time.monotonic() + within_s
        self._wake.set()

    def stop(self) -> None:
        """Send what is queued, as far as the deadline lets."""
        self._queue.close()
        if self._deadline is not None:
            self._thread.join(self._time_left_s(math.inf) + _STOP_GRACE_S)
            self._channel.close()  # ends a call that began before the deadline was known
        self._thread.join()
        self._say_lost()
        self._channel.close()

    def leave_out(self, spans: int) -> None:
        """Count spans for which there was no room here, while other outputs took them."""
        self.counts.add(spans_dropped_full=spans)
        self._lost(spans, "its queue is full")

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self._queue.weight

    def _run(self) -> None:
        while not self._queue.finished:
            item = self._queue.get(timeout_s=1.0)
            if item is None:
                continue
            try:
                self._deliver(*item)
            except Exception:  # noqa: BLE001 whatever it is, the next request must go out
                self.counts.add(spans_given_up=item[1])
                _log.exception("sending %d spans failed; they are lost", item[1])

    def _deliver(self, request: bytes, spans: int) -> None:
        give_up = time.monotonic() + self._give_up_after_s
        pause_s = _FIRST_PAUSE_S
        while (timeout_s := self._time_left_s(_CALL_TIMEOUT_S)) > 0:
            try:
                answer = self._export(request, timeout=timeout_s)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                retry = code in _RETRYABLE or _asks_for_retry(error)
            else:
                self._answered()
                rejected = min(max(_rejected(answer), 0), spans)
                self.counts.add(spans_sent=spans - rejected, spans_refused_partially=rejected)
                return
            if not retry:
                self.counts.add(**{f"spans_refused_{code.name.lower()}": spans})
                self._lost(spans, f"it refused them for good ({code.name}: {_short(details)})")
                return
            self._failed(code.name, details)
            if time.monotonic() + pause_s >= give_up:
                break
            jittered_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311
            if self._wake.wait(self._time_left_s(jittered_s)):
                self._wake.clear()
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self.counts.add(spans_given_up=spans)
        self._lost(spans, "it did not take them in time")

    def _lost(self, spans: int, why: str) -> None:
        """Say that spans are lost: at once, then summed up every half minute."""
        self._lost_spans += spans
        self._lost_why = why
        if time.monotonic() >= self._lost_said + _REMIND_AFTER_S:
            self._say_lost()

    def _say_lost(self) -> None:
        if self._lost_spans:
            _log.error("%s: %d spans are lost: %s", self.label, self._lost_spans, self._lost_why)
            self._lost_spans, self._lost_said = 0, time.monotonic()

    def _time_left_s(self, at_most_s: float) -> float:
        """How long something may take: ``at_most_s``, or what is left before the deadline."""
        if self._deadline is None:
            return at_most_s
        return min(at_most_s, max(self._deadline - time.monotonic(), 0.0))

    def _failed(self, code: str, details: str | None) -> None:
        """Say that the output is down: once, then every half minute."""
        self.counts.add(send_failures=1)
        now = time.monotonic()
        if self._down_since is None:
            self._down_since = now
        elif now - self._reminded < _REMIND_AFTER_S:
            return
        self._reminded = now
        _log.warning(
            "%s does not take spans (%s: %s); they wait and are tried again",
            self.label, code, _short(details),
        )  # fmt: skip

    def _answered(self) -> None:
        if self._down_since is not None:
            _log.info(
                "%s takes spans again after %.1f s",
                self.label, time.monotonic() - self._down_since,
            )  # fmt: skip
            self._down_since = None


def _short(details: str | None) -> str:
    return (details or "").split("\n")[0][:200]


def _asks_for_retry(error: grpc.RpcError) -> bool:
    """Tell whether the endpoint is too busy for the moment, and not the request too large."""
    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
        return False
    details = (
        item.value
        for item in error.trailing_metadata() or ()
        if item.key == "grpc-status-details-bin"
    )
    return any(isinstance(each, bytes) and b"google.rpc.RetryInfo" in each for each in details)


def _rejected(answer: bytes) -> int:
    """Return how many spans the endpoint would not take, though it took the request."""
    if not answer:
        return 0
    try:
        return ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans
    except DecodeError:
        return 0
