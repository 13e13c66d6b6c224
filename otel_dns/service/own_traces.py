"""The processor's own traces: of one request in so many, where the time went in here.

They go out with all else, so they need no exporter of their own and cannot go round: nothing that
is sent is traced, only what comes in.
"""

import os
import time
from collections.abc import Callable
from itertools import count
from typing import Final

from otel_dns import __version__, semconv
from otel_dns.model import Origin
from otel_dns.service.counts import Counts
from otel_dns.wire import otlp

_SERVER: Final = 2
_ORIGIN: Final = Origin(
    otlp.string_attribute(semconv.SERVICE_NAME, "otel-dns", field=1)
    + otlp.string_attribute(semconv.SERVICE_VERSION, __version__, field=1),
    otlp.encode_scope(semconv.PROCESSOR_SCOPE),
)

Send = Callable[[bytes, int], bool]
"""Takes an encoded request and its number of spans; False where there is no room."""


class OwnTraces:
    """Decides which requests are traced, and sends their traces."""

    def __init__(self, one_in: int | None, send: Send) -> None:
        """Make one.

        Args:
            one_in: one request of so many is traced, the first among them; None: none is.
            send: takes the traces.
        """
        self._one_in = one_in
        self._send = send
        self._numbers = count()
        self.counts = Counts()

    def begin(self, size: int) -> "OwnTrace | None":
        """Begin a request's trace; None for most."""
        if self._one_in is None or next(self._numbers) % self._one_in:
            return None
        return OwnTrace(size, self._ended)

    def _ended(self, request: bytes, spans: int) -> None:
        if self._send(request, spans):
            self.counts.add(own_spans=spans)


class OwnTrace:
    """One request's: steps that follow one another. Handed from thread to thread, never shared."""

    def __init__(self, size: int, ended: Callable[[bytes, int], None]) -> None:
        self._size = size
        self._ended = ended
        self._trace_id, self._root_id = os.urandom(16), os.urandom(8)
        self._began_ns = self._at_ns = time.time_ns()
        self._spans: list[bytes] = []

    def step(self, name: str) -> None:
        """End a step, which began where the one before it ended."""
        now_ns = time.time_ns()
        self._add(os.urandom(8), self._root_id, name, 0, self._at_ns, now_ns)
        self._at_ns = now_ns

    def end(self, spans: int) -> None:
        """End the request, of which so many spans were taken, and send what was seen."""
        told = otlp.int_attribute(semconv.REQUEST_SIZE, self._size)
        told += otlp.int_attribute(semconv.REQUEST_SPANS, spans)
        self._add(
            self._root_id, b"", semconv.REQUEST_SPAN, _SERVER, self._began_ns, self._at_ns, told
        )
        self._ended(otlp.build((_ORIGIN, raw) for raw in self._spans), len(self._spans))

    def _add(  # noqa: PLR0917 - fields of a span
        self,
        span_id: bytes,
        parent_id: bytes,
        name: str,
        kind: int,
        start_ns: int,
        end_ns: int,
        tail: bytes = b"",
    ) -> None:
        self._spans.append(
            otlp.encode_span(
                trace_id=self._trace_id, span_id=span_id, parent_id=parent_id, name=name,
                kind=kind, start_ns=start_ns, end_ns=end_ns, tail=tail,
            )
        )  # fmt: skip
