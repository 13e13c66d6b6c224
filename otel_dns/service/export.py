"""What of all that leaves the join is sent on: one setting, and a rule for what nobody claimed.

An external name is about 75 spans in the user's request trace, so a lookup that was fast and good
goes alone by default, with its breakdown as attributes; of a slow or failed one every hop goes too.
Metrics and history have seen all of it before.
"""

import zlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from typing import Final

from otel_dns import semconv
from otel_dns.join import Late, Outcome, Released
from otel_dns.join.annotate import as_it_came, encode
from otel_dns.model import Origin, Resolution, Span
from otel_dns.service.configuration.settings import Export
from otel_dns.service.tenants import Tenants
from otel_dns.wire import otlp

_NS: Final = 1_000_000_000
_FAILED_OUTCOMES: Final = frozenset(
    {semconv.OUTCOME_TIMEOUT, semconv.OUTCOME_SERVER_FAILURE, semconv.OUTCOME_ERROR}
)
_FAILED_RCODES: Final = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH"})
_MAX_REMEMBERED: Final = 100_000
_UNMATCHED_BY_DEFAULT: Final = {
    "lookups": "none",
    "notable": "notable",
    "joined": "none",
    "all": "all",
}
_INTERNAL: Final = 1
_SERVER: Final = 2
"""OTLP's SpanKind."""


class ExportPolicy:
    """Encodes outcomes, and leaves out what is not wanted; every span left out is counted."""

    def __init__(self, settings: Export) -> None:
        self.change(settings)
        self._shown: OrderedDict[bytes, None] = OrderedDict()
        """Application traces with server spans in them, and server traces kept: what comes late
        goes where the rest went."""
        self.counts: defaultdict[str, int] = defaultdict(int)

    def change(self, settings: Export) -> None:
        """Leave out by other settings from now on."""
        self._what = settings.what
        self._slow_ns = round(settings.slow * _NS)
        self._unmatched = settings.unmatched.keep or _UNMATCHED_BY_DEFAULT[settings.what]
        self._one_in = settings.unmatched.one_in
        self._internal = settings.server_span_kind == "internal"
        self._tenants = Tenants(settings.tenant_keys)

    def encode(self, outcome: Outcome) -> Iterable[tuple[Origin, bytes]]:
        """Encode what is wanted of an outcome: each span with the origin to send it under."""
        if isinstance(outcome, Resolution):
            return self._resolution(outcome)
        if isinstance(outcome, Released):
            return self._released(outcome)
        if self._what in {"joined", "all"} or outcome.trace_id in self._shown:
            return self._encode_all(outcome)
        return self._leave_out("late", 1)

    def _resolution(self, resolution: Resolution) -> Iterable[tuple[Origin, bytes]]:
        traces = resolution.join.traces
        if not resolution.lookup.recorded:
            # The application's sampler left it out: its server traces stay their own.
            self.counts["lookups_left_out_unsampled"] += not resolution.lookup.inferred
            return self._unrecorded(resolution)
        if not traces:
            return encode(resolution)
        if self._what == "lookups" or (self._what == "notable" and not self._notable(resolution)):
            self.counts["server_spans_left_out_joined"] += sum(
                len(joined.trace.spans) for joined in traces
            )
            return encode(resolution, servers=False)
        if resolution.join.apart:
            for joined in traces:
                self._remember(joined.trace.root.trace_id)
        elif self._what == "notable":
            self._remember(resolution.lookup.span.trace_id)
        return self._encode_all(resolution)

    def _notable(self, resolution: Resolution) -> bool:
        span = resolution.lookup.span
        return (
            span.end_ns - span.start_ns >= self._slow_ns or resolution.outcome in _FAILED_OUTCOMES
        )

    def _unrecorded(self, resolution: Resolution) -> Iterable[tuple[Origin, bytes]]:
        for joined in resolution.join.traces:
            trace = joined.trace
            spans = as_it_came(joined)
            self.counts["server_spans_left_out_made"] += len(trace.spans) - len(spans)
            if not spans:
                continue
            if self._wants(trace.root, trace.rcode):
                self._remember(trace.root.trace_id)
                yield from ((span.origin, self._kind(span.raw)) for span in spans)
            else:
                self.counts["server_spans_left_out_unrecorded"] += len(spans)

    def _released(self, released: Released) -> Iterable[tuple[Origin, bytes]]:
        spans = released.spans
        trace_id = spans[0].trace_id
        if self._unmatched != "all" and trace_id not in self._shown:
            trace = released.trace
            root, rcode = (trace.root, trace.rcode) if trace else (spans[0], "")
            if not self._wants(root, rcode):
                return self._leave_out(released.reason, len(spans))
            self._remember(trace_id)
        return self._encode_all(released)

    def _wants(self, root: Span, rcode: str) -> bool:
        """Whether a server trace that is nobody's is kept."""
        if self._unmatched == "one_in":
            # By the trace's id, so that what comes late is treated as the rest was.
            return zlib.crc32(root.trace_id) % self._one_in == 0
        if self._unmatched == "notable":
            return root.end_ns - root.start_ns >= self._slow_ns or rcode in _FAILED_RCODES
        return self._unmatched == "all"

    def _encode_all(self, outcome: Resolution | Released | Late) -> Iterable[tuple[Origin, bytes]]:
        spans = encode(outcome)
        if self._internal:
            spans = [(origin, self._kind(raw)) for origin, raw in spans]
        if isinstance(outcome, Released) or not self._tenants.keys:
            return spans
        return self._of_tenant(outcome, spans)

    def _of_tenant(
        self, outcome: Resolution | Late, spans: list[tuple[Origin, bytes]]
    ) -> Iterable[tuple[Origin, bytes]]:
        """Write the lookup's tenant on the resource of its server spans."""
        if isinstance(outcome, Late):
            resource = self._tenants.of(outcome.trace_id)
        else:
            resource = outcome.lookup.span.origin.resource
            self._tenants.remember(outcome.lookup.span.trace_id, resource)
            yield spans.pop(0)  # the lookup's own
        for origin, raw in spans:
            yield self._tenants.mark(origin, resource), raw

    def _kind(self, raw: bytes) -> bytes:
        return otlp.with_kind(raw, _INTERNAL, _SERVER) if self._internal else raw

    def _leave_out(self, reason: str, spans: int) -> Iterable[tuple[Origin, bytes]]:
        self.counts[f"server_spans_left_out_{reason}"] += spans
        return ()

    def _remember(self, trace_id: bytes) -> None:
        self._shown[trace_id] = None
        if len(self._shown) > _MAX_REMEMBERED:
            self._shown.popitem(last=False)
