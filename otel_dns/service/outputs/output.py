"""OTLP over gRPC out: raw bytes, a bounded queue, retries as the protocol says.

Which answers are worth another try is OTLP's own list (specification, "Failures"). Any other is the
request's fault, or that of one span in it: it is split by origin, then in halves, until the culprit
is alone; that is dropped and counted under the status code, and its neighbours lose nothing.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Collection
from typing import Final, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_dns.service import secrets
from otel_dns.service.configuration.settings import Output
from otel_dns.service.counts import Counts
from otel_dns.service.outputs.names_shown import reduction
from otel_dns.service.outputs.troubles import Troubles
from otel_dns.service.requests import Requests
from otel_dns.service.weighted_queue import WeightedQueue
from otel_dns.wire import MalformedError, otlp

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
_ABOUT_SPANS: Final = frozenset(
    {
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # without RetryInfo: too large
    }
)
"""Refusals that a part of the request may have caused; others are about who asks for what."""
_MAX_SPLITS: Final = 200
"""Requests that one refused request may become, in all."""
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_STOP_GRACE_S: Final = 0.5
_TOO_LATE: Final = "it did not take them in time"
_LOOK_S: Final = 0.5
"""After so long without room one looks again: at the deadline, and at what outputs there are."""
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    # gRPC itself would wait up to two minutes before it looks whether an endpoint is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", round(_LONGEST_PAUSE_S * 1000)),
    # An endpoint that vanished without a word is found out.
    ("grpc.keepalive_time_ms", 60_000),
)
_COMPRESSION: Final = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
}

_log = logging.getLogger(__name__)


class _Link(NamedTuple):
    """A way to an endpoint: made of the settings, and of what their files say now."""

    channel: grpc.Channel
    export: Callable[..., bytes]
    metadata: tuple[tuple[str, str], ...]


class OtlpOutput:
    """Sends OTLP trace requests to one endpoint, in order, from a thread of its own."""

    def __init__(self, settings: Output, requests: Requests | None = None) -> None:
        """Make an output.

        Args:
            settings: of it.
            requests: of which what it sends is a part; it holds them meanwhile.

        Raises:
            SecretError: a file of its certificates, or its token's, cannot be read.
        """
        self.settings = settings
        self.label = settings.label
        self._requests = requests or Requests()
        self._queue: WeightedQueue[tuple[bytes, int, Collection[int]]] = WeightedQueue(
            settings.queue
        )
        self._reduce = reduction(settings.names)
        tls = settings.tls
        self._link = secrets.Renewed(
            lambda: _link(settings),
            settings.token_file,
            *((tls.ca, tls.certificate, tls.key) if tls else ()),
        )
        self._thread = threading.Thread(target=self._run, name="otel-dns-output", daemon=True)
        self._deadline: float | None = None
        self._wake = threading.Event()
        self._troubles = Troubles(self.label)
        self._under_way = 0
        self.counts = Counts()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wait_for_room(self, size: int) -> bool:
        """Wait a moment for room for a request; False past the deadline: no more is to come."""
        self._queue.wait_for_room(size, self._time_left_s(_LOOK_S))
        return self._time_left_s(1.0) > 0

    def offer(self, request: bytes, spans: int, parts_of: Collection[int] = ()) -> bool:
        """Queue a request, or return False when the queue is full."""
        self._requests.hold(parts_of)
        item = request, spans, parts_of
        taken = self._queue.put(item, len(request), 0, spans)
        if not taken:
            self._requests.let_go(parts_of)
        return taken

    def leave_out(self, spans: int) -> None:
        """Count spans for which there was no room here, while other outputs took them."""
        self.counts.add(spans_dropped_full=spans)
        self._troubles.lost(spans, "its queue is full")

    def give_up(self, spans: int) -> None:
        """Count spans that found no room here before the deadline."""
        self.counts.add(spans_given_up=spans)
        self._troubles.lost(spans, _TOO_LATE)

    def set_deadline(self, within_s: float) -> None:
        """From now on, give up on what cannot be sent within so many seconds."""
        self._deadline = time.monotonic() + within_s
        self._wake.set()

    def stop(self) -> None:
        """Send what is queued, as far as the deadline lets."""
        self._queue.close()
        if self._thread.ident is not None:
            if self._deadline is not None:
                self._thread.join(self._time_left_s(math.inf) + _STOP_GRACE_S)
                # Ends a call that began before the deadline was known.
                self._link.value.channel.close()
            self._thread.join()
        self._troubles.say_lost()
        self._link.value.channel.close()

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent."""
        return self._queue.weight

    @property
    def queued_spans(self) -> int:
        """Spans that wait to be sent, those that are on their way included."""
        return self._queue.count + self._under_way

    @property
    def down_s(self) -> float:
        """Since how many seconds it does not take anything; 0 while it does."""
        return self._troubles.down_s

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._queue.finished:
            item = self._queue.get(timeout_s=1.0)
            if item is None:
                continue
            request, self._under_way, parts_of = item
            try:
                if self._reduce is not None:
                    request = self._reduce(request)
                self._deliver(request, self._under_way)
            except Exception:  # noqa: BLE001 whatever it is, the next request must go out
                self.counts.add(spans_given_up=self._under_way)
                _log.exception("sending %d spans failed; they are lost", self._under_way)
            self._under_way = 0
            self._requests.let_go(parts_of)

    def _deliver(self, request: bytes, spans: int) -> None:
        """Send a request, in parts where it is refused, until nothing of it is left."""
        left = [(request, spans)]
        splits = 0
        while left:
            request, spans = left.pop()
            refused = self._attempt(request, spans)
            if refused is None:
                continue
            code, why = refused
            if spans > 1 and code in _ABOUT_SPANS and splits < _MAX_SPLITS:
                halves = _halves(request)
                if len(halves) > 1:
                    splits += 1
                    self.counts.add(requests_split=1)
                    left += halves
                    continue
            self._count_out(f"spans_refused_{code.name.lower()}", spans)
            self._troubles.lost(spans, why)

    def _attempt(self, request: bytes, spans: int) -> tuple[grpc.StatusCode, str] | None:
        """Try a request until it is answered; the status with which it was refused for good."""
        give_up = time.monotonic() + self.settings.give_up_after
        pause_s = _FIRST_PAUSE_S
        while (timeout_s := self._time_left_s(self.settings.timeout)) > 0:
            before = self._link.value
            if self._link.renew():
                before.channel.close()
                _log.info("%s: certificates and token read anew", self.label)
            link = self._link.value
            began = time.monotonic()
            try:
                answer = link.export(
                    request,
                    timeout=timeout_s,
                    metadata=link.metadata,
                    compression=_COMPRESSION[self.settings.compression],
                )
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
                retry = code in _RETRYABLE or _asks_for_retry(error)
            else:
                self._troubles.answered()
                rejected = min(max(_rejected(answer), 0), spans)
                self._count_out("spans_sent", spans - rejected)
                self._count_out("spans_refused_partially", rejected)
                self.counts.add(
                    requests_sent=1, send_microseconds=round((time.monotonic() - began) * 1e6)
                )
                return None
            if not retry:
                return code, f"it refused them for good ({code.name}: {_short(details)})"
            self.counts.add(send_failures=1)
            self._troubles.failed(code.name, _short(details))
            if time.monotonic() + pause_s >= give_up:
                break
            jittered_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311
            if self._wake.wait(self._time_left_s(jittered_s)):
                self._wake.clear()
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        self._count_out("spans_given_up", spans)
        self._troubles.lost(spans, _TOO_LATE)
        return None

    def _count_out(self, name: str, spans: int) -> None:
        if spans:
            self._under_way -= spans
            self.counts.add(**{name: spans})

    def _time_left_s(self, at_most_s: float) -> float:
        """How long something may take: ``at_most_s``, or what is left before the deadline."""
        if self._deadline is None:
            return at_most_s
        return min(at_most_s, max(self._deadline - time.monotonic(), 0.0))


def _link(settings: Output) -> _Link:
    """Make a way to an endpoint.

    Raises:
        SecretError: a file cannot be read.
    """
    options: list[tuple[str, int | str]] = [*_CHANNEL_OPTIONS]
    metadata = [(key.lower(), value) for key, value in settings.headers.items()]
    if settings.token_file:
        metadata.append(("authorization", f"Bearer {secrets.token(settings.token_file)}"))
    if settings.tls is None:
        channel = grpc.insecure_channel(settings.endpoint, options=options)
    else:
        if settings.tls.server_name:
            options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
        credentials = secrets.channel_credentials(settings.tls)
        channel = grpc.secure_channel(settings.endpoint, credentials, options=options)
    return _Link(channel, channel.unary_unary(otlp.EXPORT, None, None), tuple(metadata))


def _halves(request: bytes) -> list[tuple[bytes, int]]:
    """Split a request: its origins among two, or where it has one only, its spans."""
    try:
        groups = otlp.cut(request)
    except MalformedError:
        return []
    if len(groups) > 1:
        middle = len(groups) // 2
        parts = [
            [(group.origin, raw) for group in half for raw in group.spans]
            for half in (groups[:middle], groups[middle:])
        ]
    else:
        spans = [(group.origin, raw) for group in groups for raw in group.spans]
        parts = [spans[: len(spans) // 2], spans[len(spans) // 2 :]]
    return [(otlp.build(part), len(part)) for part in reversed(parts) if part]


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
