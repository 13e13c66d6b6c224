"""What is done with an OTLP request, whichever way it came: gRPC or HTTP, protobuf or JSON."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, NoReturn

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_dns import semconv
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.counts import Counts
from otel_dns.service.log_sorting import MESSAGE_BYTES, sort_logs
from otel_dns.service.own_traces import OwnTrace
from otel_dns.service.sorting import Incoming, sort_otlp
from otel_dns.wire import MalformedError

_MAX_WHOLE_BYTES: Final = 3 << 20
_READ_BYTES: Final = 350
"""What a span of ours takes beside its bytes, once it is read."""

_LARGE: Final = 1 << 18
_NOTHING: Final = nullcontext()

PassOn = Callable[[bytes, int], bool]
"""Hands a whole request and its number of spans to the outputs, unchanged; False: no room."""
Offer = Callable[[Incoming, int, float], bool]
"""Hands spans and messages, with their size, to the pipeline; False: no room in so many seconds."""


class BusyError(Exception):
    """There is no room now: the sender is to come again."""


def _never(_wait_s: float) -> bool:
    return False


def _untraced(_size: int) -> OwnTrace | None:
    return None


class OtlpIntake:
    """Takes trace and log requests, from several threads."""

    def __init__(
        self,
        settings: ServeSettings,
        offer: Offer,
        pass_on: PassOn,
        full: Callable[[float], bool] = _never,
        begin: Callable[[int], OwnTrace | None] = _untraced,
    ) -> None:
        """Make an intake.

        Args:
            settings: whose spans are CoreDNS's.
            offer: hands sorted spans to the pipeline.
            pass_on: hands a whole request to the outputs, unchanged.
            full: whether there is no room for a request that can wait so many seconds; asked before
                it is looked at.
            begin: begins the processor's own trace of a request of so many bytes.
        """
        self._services = settings.receivers.coredns_services
        self._offer = offer
        self._pass_on = pass_on
        self._full = full
        self._begin = begin
        self._large = threading.Lock()
        self.counts = Counts()

    @property
    def crowded(self) -> bool:
        """Whether a request may have to wait for room."""
        return self._full(0)

    def look_for_room(self, wait_s: float, counted: str) -> None:
        """Look whether a request is worth reading that can wait so long.

        Args:
            wait_s: seconds.
            counted: the count of requests that are turned away.

        Raises:
            BusyError: there is no room.
        """
        if self._full(wait_s):
            self.turn_away(counted)

    def traces(self, request: bytes, wait_s: float) -> bytes:
        """Take a trace request.

        Returns:
            The answer: empty, or a partial success where spans were refused for themselves.

        Raises:
            MalformedError: the request is broken.
            BusyError: there is no room.
        """
        if self._full(wait_s):
            self.turn_away("requests_turned_away")
        trace = self._begin(len(request))
        try:
            with self._alone(request):
                incoming = sort_otlp(request, self._services)
        except MalformedError:
            self.counts.add(requests_malformed=1)
            raise
        if trace is not None:
            trace.step(semconv.REQUEST_SORT_SPAN)
        spans, passed = incoming.other_spans, 0
        if (
            incoming.lookups
            or incoming.server_spans
            or incoming.refused
            # Whoever comes next may take no more than gRPC's usual 4 MiB: the pipeline cuts it up.
            or len(request) > _MAX_WHOLE_BYTES
        ):
            ours = len(incoming.lookups) + len(incoming.server_spans)
            size = len(request) + ours * _READ_BYTES
            taken = self._offer(incoming._replace(trace=trace), size, wait_s)
        else:
            taken = not spans or self._pass_on(request, spans)
            passed = spans
            if trace is not None and taken:
                trace.step(semconv.REQUEST_ROOM_SPAN)
                trace.end(spans)
        if not taken:
            self.turn_away("requests_turned_away")
        self.counts.add(
            requests=1,
            lookup_spans=len(incoming.lookups),
            server_spans=len(incoming.server_spans),
            other_spans=spans,
            spans_passed=passed,
            spans_refused=incoming.refused.count,
        )
        if not incoming.refused:
            return b""
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = incoming.refused.count
        answer.partial_success.error_message = incoming.refused.first
        return answer.SerializeToString()

    def logs(self, request: bytes, wait_s: float) -> bytes:
        """Take a log request: of CoreDNS's lines messages are made, the rest is counted.

        Raises:
            MalformedError: the request is broken.
            BusyError: there is no room.
        """
        if self._full(wait_s):
            self.turn_away("log_requests_turned_away")
        try:
            with self._alone(request):
                incoming, counted = sort_logs(request)
        except MalformedError:
            self.counts.add(log_requests_malformed=1)
            raise
        weight = len(incoming.messages) * MESSAGE_BYTES
        if incoming.messages and not self._offer(incoming, weight, wait_s):
            self.turn_away("log_requests_turned_away")
        self.counts.add(log_requests=1, **counted)
        return b""

    def _alone(self, request: bytes) -> AbstractContextManager[object]:
        """Let large requests be read one at a time: until then they take many times their size."""
        return self._large if len(request) > _LARGE else _NOTHING

    def turn_away(self, counted: str) -> NoReturn:
        """Turn a request away.

        Args:
            counted: the count of such requests.

        Raises:
            BusyError: always.
        """
        self.counts.add(**{counted: 1})
        raise BusyError("otel-dns is full; try again later")
