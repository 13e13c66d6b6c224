"""The processor's work on spans, without threads: join, write what was found, batch, send.

The running service feeds it from one thread (:mod:`otel_dns.service.pipeline`); a recording is
replayed through the very same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.join import Joiner, JoinSettings, Outcome
from otel_dns.join.recognise import is_lookup, lookup_of, query_of, unsampled_of
from otel_dns.model import Origin, Span
from otel_dns.service.configuration.settings import Export
from otel_dns.service.export import ExportPolicy
from otel_dns.service.requests import Requests
from otel_dns.service.sorting import Incoming
from otel_dns.wire import MalformedError, otlp

_BATCH_BYTES: Final = 1 << 20  # well below the 4 MiB that gRPC servers take by default
_FRAME_BYTES: Final = 8  # around a span in a request, at most

_EVERYTHING: Final = Export(what="all")

Send = Callable[[bytes, int], None]
"""Takes an encoded OTLP request and its number of spans; waits while the output is full."""


class Observer(Protocol):
    """Sees everything that leaves the join: metrics, history."""

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of what left together; from the pipeline's thread, so it must be fast."""


class Stream:
    """Sorted spans in, OTLP requests out. One thread feeds it; time is an argument."""

    def __init__(
        self,
        settings: JoinSettings,
        send: Send,
        observers: Sequence[Observer] = (),
        export: Export = _EVERYTHING,
        requests: Requests | None = None,
    ) -> None:
        """Make a stream.

        Args:
            settings: of the join.
            send: takes the requests.
            observers: see every outcome, before any is left out.
            export: what is sent on.
            requests: of which what is taken is a part; they are let go of when nothing is held.
        """
        self._requests = requests or Requests()
        self.carried: set[int] = set()
        """Numbers of the requests of which something is in the batch that is sent next."""
        self._passing: list[int] = []
        """Those of which nothing is held but in the batch."""
        self._joiner = Joiner(settings)
        self._export = ExportPolicy(export)
        self._send = send
        self._observers = observers
        self._batch: dict[Origin, list[bytes]] = {}
        self._batch_spans = self._batch_bytes = 0
        self._batch_rest = b""
        self._passed = 0

    def counts(self) -> Counter[str]:
        """What was counted so far; from any thread."""
        counts = Counter(self._joiner.counts.copy())
        counts.update(self._export.counts.copy())
        counts["spans_passed"] = self._passed
        return counts

    def gauges(self) -> dict[str, int]:
        """What is held now; from any thread."""
        messages = self._joiner.waiting_messages
        return {
            "waiting_lookups": self._joiner.waiting_lookups,
            "waiting_server_spans": self._joiner.waiting_server_spans - messages,
            "waiting_messages": messages,
            "waiting_queries": self._joiner.waiting_queries,
            "waiting_bytes": self._joiner.waiting_bytes,
        }

    def change(self, join: JoinSettings, export: Export) -> None:
        """Go on with other settings; of the join's, tolerance and clocks stay as they were."""
        self._joiner.settings = join
        self._export.change(export)

    def take(self, incoming: Incoming, now_ns: int) -> None:
        """Take one request's spans; those that are not ours are sent on."""
        came_with = self._joiner.came_with
        came_with.current = (incoming.request,) if incoming.request else ()
        self._take(incoming, now_ns)
        if incoming.request and not came_with.holds(incoming.request):
            if incoming.request in self.carried:
                self._passing.append(incoming.request)
            else:
                self._requests.let_go(came_with.current)
        came_with.current = ()

    def _take(self, incoming: Incoming, now_ns: int) -> None:
        self._joiner.add_server_spans(incoming.server_spans, now_ns)
        for message in incoming.messages:
            self._joiner.add_message(message, now_ns)
        for span in incoming.lookups:
            if span.name == semconv.QUERY_SPAN:
                self._take_query(span, now_ns)
                continue
            if span.name == semconv.UNSAMPLED_SPAN:
                self._take_unsampled(span, now_ns)
                continue
            try:
                lookup = lookup_of(span)
            except MalformedError:
                lookup = None
            if lookup is None:
                self._joiner.counts["lookups_incomplete"] += 1
                self._pass(span)
            else:
                self._joiner.add_lookup(lookup, now_ns)
        for group in incoming.others:
            self._passed += len(group.spans)
            self._add_group(group)
        if incoming.rest:
            self._add_rest(incoming.rest)
        if incoming.others or incoming.rest:
            self.carried.update(self._joiner.came_with.current)
            self._flush_all()  # what is not ours is not held up

    def _take_query(self, span: Span, now_ns: int) -> None:
        """Take a client's query: part of a lookup, or one that is a lookup itself."""
        try:
            query = query_of(span)
            lookup = lookup_of(span) if query is not None and is_lookup(span) else None
        except MalformedError:
            query = lookup = None
        if lookup is not None and query is not None:
            self._joiner.add_lookup(replace(lookup, queries=(query,)), now_ns)
            return
        if query is not None and span.parent_id:
            self._joiner.add_query((span.trace_id, span.parent_id), query, now_ns)
        self._pass(span)

    def _take_unsampled(self, span: Span, now_ns: int) -> None:
        """Take lookups that their application's sampler left out. The record itself ends here."""
        try:
            lookups = unsampled_of(span)
        except MalformedError:
            self._joiner.counts["lookups_incomplete"] += 1
            self._pass(span)
            return
        self._joiner.counts["unsampled_records"] += 1
        self._joiner.counts["lookups_unsampled"] += len(lookups)
        for lookup in lookups:
            self._joiner.add_lookup(lookup, now_ns)

    def advance(self, now_ns: int) -> None:
        """Let time pass, and send what is due."""
        self._hand_on(self._joiner.advance(now_ns))

    def drain(self) -> None:
        """Join what is held as far as it goes, and send it."""
        self._hand_on(self._joiner.drain())

    def _hand_on(self, outcomes: Sequence[Outcome]) -> None:
        gone, finished = self._joiner.came_with.take_gone()
        self.carried |= gone
        for observer in self._observers:
            observer.observe(outcomes)
        for outcome in outcomes:
            self._add(self._export.encode(outcome))
        self._flush_all()
        self._requests.let_go(finished)

    def _pass(self, span: Span) -> None:
        """Send a client's span on as it came."""
        self._passed += 1
        self.carried.update(self._joiner.came_with.current)
        self._add(((span.origin, span.raw),))

    def _add_group(self, group: otlp.SpanGroup) -> None:
        origin, spans = group
        size = sum(map(len, spans)) + _FRAME_BYTES * len(spans) + _size(origin)
        if self._batch_bytes + size > _BATCH_BYTES:
            self._add([(origin, raw) for raw in spans])
            return
        self._batch.setdefault(origin, []).extend(spans)
        self._batch_spans += len(spans)
        self._batch_bytes += size

    def _add(self, spans: Iterable[tuple[Origin, bytes]]) -> None:
        last: Origin | None = None
        together: list[bytes] | None = None
        for origin, raw in spans:
            size = len(raw) + _FRAME_BYTES
            if origin is not last:
                together = self._batch.get(origin)
                last = origin
            if together is None:
                size += _size(origin)
            if self._batch_bytes + size > _BATCH_BYTES:
                self._flush()  # before: a span that is too large for anyone travels alone
                together = None
            if together is None:
                together = self._batch[origin] = []
            together.append(raw)
            self._batch_spans += 1
            self._batch_bytes += size

    def _flush_all(self) -> None:
        self._flush()
        self.carried.clear()
        self._requests.let_go(self._passing)
        self._passing.clear()

    def _add_rest(self, rest: bytes) -> None:
        """Let a request's own fields travel on; too many of them travel alone."""
        if self._batch_bytes + len(rest) > _BATCH_BYTES:
            self._flush()
        self._batch_rest += rest
        self._batch_bytes += len(rest)

    def _flush(self) -> None:
        if self._batch or self._batch_rest:
            # Of two encoded messages one after the other protobuf makes one.
            request = otlp.build_grouped(self._batch) + self._batch_rest
            self._send(request, self._batch_spans)
            self._batch, self._batch_spans, self._batch_bytes = {}, 0, 0
            self._batch_rest = b""


def _size(origin: Origin) -> int:
    return len(origin.resource) + len(origin.scope)
