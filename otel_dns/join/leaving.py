"""What leaves the join, and what is remembered of it: a span that comes late follows the rest."""

import contextlib
from collections import OrderedDict, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from msgspec import Struct

from otel_dns import semconv
from otel_dns.join.recognise import server_trace_of
from otel_dns.model import Resolution, ServerTrace, Span
from otel_dns.wire import MalformedError, otlp

_SERVED: Final = b"served"
"""Beside trace and span id, of a server's span: with ``client_server`` CoreDNS's has both from the
client's."""


@dataclass(frozen=True, slots=True)
class Released:
    """Spans that leave as they came."""

    spans: tuple[Span, ...]
    reason: str
    trace: ServerTrace | None = field(default=None, compare=False)
    """What they are together; None without the root."""


@dataclass(frozen=True, slots=True)
class Late:
    """A span of a server trace that has left already: it follows under the same ids."""

    span: Span
    trace_id: bytes
    parent_id: bytes


Outcome: TypeAlias = Resolution | Released | Late


class Destination(Struct, frozen=True, gc=False):
    """Where a server trace went."""

    trace_id: bytes
    parent_id: bytes
    root_sent: bool
    """A root of its id is out already: made of messages, if CoreDNS's own had not come."""
    skew_ns: int


class Leaving:
    """Outcomes until they are taken, and the memory of what left."""

    def __init__(self, counts: defaultdict[str, int]) -> None:
        self.outcomes: list[Outcome] = []
        self._counts = counts
        self._traces: OrderedDict[Hashable, Destination | None] = OrderedDict()
        self._spans: OrderedDict[tuple[bytes, ...], None] = OrderedDict()

    @property
    def remembered(self) -> tuple[int, int]:
        """How many server traces and how many spans sent on with what was found are remembered."""
        return len(self._traces), len(self._spans)

    def take(self) -> list[Outcome]:
        """Hand over the outcomes so far."""
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    # -- lookups, and server spans in a lookup's own trace ---------------------------------------

    def served(self, span: Span, max_remembered: int) -> None:
        """Remember a server's span that was sent on in its lookup's own trace."""
        self.resolved((span.trace_id, span.span_id, _SERVED), max_remembered)

    def resolved(self, identity: tuple[bytes, ...], max_remembered: int) -> None:
        """Remember a lookup that was sent on: it is not sent a second time."""
        self._spans[identity] = None
        if len(self._spans) > max_remembered:
            self._spans.popitem(last=False)

    def is_resolved(self, identity: tuple[bytes, bytes]) -> bool:
        """Whether this lookup was sent on."""
        return identity in self._spans

    def is_served(self, span: Span) -> bool:
        """Whether this server's span was sent on in its lookup's own trace."""
        return (span.trace_id, span.span_id, _SERVED) in self._spans

    # -- server traces ---------------------------------------------------------------------------

    def left(self, key: Hashable, destination: Destination | None, max_remembered: int) -> None:
        """Remember where a server trace went; nowhere: it was let go as it came."""
        self._traces[key] = destination
        if len(self._traces) > max_remembered:
            self._traces.popitem(last=False)

    def has_left(self, key: Hashable) -> bool:
        """Whether this server trace has left."""
        return key in self._traces

    def follow(self, span: Span) -> None:
        """Send a span after its server trace, which has left."""
        self._counts["server_spans_late"] += 1
        destination = self._traces[span.trace_id]
        if destination is not None and destination.skew_ns:
            span = otlp.move(span, destination.skew_ns)
        if destination is None:
            self.outcomes.append(Released((span,), "late", _alone(span)))
        elif span.parent_id:
            self.outcomes.append(Late(span, destination.trace_id, span.parent_id))
        elif destination.root_sent:
            self._counts["server_spans_superseded"] += 1
        else:
            self.outcomes.append(Late(span, destination.trace_id, destination.parent_id))


def _alone(span: Span) -> ServerTrace | None:
    """Read a span that came alone: a trace if it is a root."""
    if span.name != semconv.SERVEDNS_SPAN or span.parent_id:
        return None
    with contextlib.suppress(MalformedError):
        return server_trace_of(span)
    return None
