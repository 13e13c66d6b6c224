"""Messages without CoreDNS's trace id, tied to the spans of the same query.

A stock `log` line, or dnstap without ``extra``, tells of a query that CoreDNS's own spans tell of
too, and does not say so: taken for two, a query would look sent again. The two have client, name,
type and RCODE in common, start together (a log line's time is late by its writing) and last equally
long but for what the server does around the plugin that told: to some microseconds.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from otel_dns.join.held import Held
from otel_dns.join.unseen import Unseen
from otel_dns.join.waiting import Slot, WaitingLookup, WaitingTrace
from otel_dns.model import ServerTrace

_EARLY_NS: Final = 2_000_000
_LATE_NS: Final = {"dnstap": 5_000_000, "log": 250_000_000}
"""So much later than the span a message says that the query started: a log is written late."""
_ROUNDING_NS: Final = 2_000
_AROUND_NS: Final = 5_000_000
"""So much longer than a message says a span lasts, at most: the answer's way out is in it."""
_CLEARLY: Final = 4
_ALIKE_NS: Final = 20_000


class Ties:
    """Ties what waits, where there have ever been both messages without trace ids and spans."""

    def __init__(self, held: Held, unseen: Unseen) -> None:
        self._held = held
        self._unseen = unseen
        self.messages_came = False
        """Messages that do not say of which trace they are."""
        self.spans_came = False

    @property
    def wanted(self) -> bool:
        """Whether there can be anything to tie."""
        return self.messages_came and self.spans_came

    def tie(self, slot: Slot) -> None:
        """Put a slot's messages to the spans of their query, or leave them out."""
        if len(slot.traces) < 2:
            return
        untied = [one for one in slot.traces if self._is_untied(one)]
        bare = [one for one in slot.traces if is_bare(one)]
        if not untied or not bare:
            return
        for told, trace in list(ties(untied, bare)):
            if trace is None:
                self._held.release(told, "ambiguous")
            else:
                self._merge(told, trace)

    def tie_to_claimed(self, waiting: WaitingLookup) -> None:
        """Put the messages that are a lookup's for sure to the spans of their query."""
        for told in [one for one in waiting.claimed if self._is_untied(one)]:
            header = told.header
            slot = header and self._held.slots.get((header.client, header.name, header.type))
            if slot:
                for _, trace in list(ties([told], [one for one in slot.traces if is_bare(one)])):
                    if trace is not None:
                        self._merge(told, trace)

    def _merge(self, told: WaitingTrace, trace: WaitingTrace) -> None:
        self._held.counts["messages_tied"] += len(told.messages)
        self._held.merge(told, trace)

    def _is_untied(self, trace: WaitingTrace) -> bool:
        # A server that gives ids leaves them out where it did not trace: there are no spans then.
        return is_untied(trace) and not self._unseen.is_traced(trace.messages[0].server)


def is_untied(trace: WaitingTrace) -> bool:
    """Whether it is made of messages that do not say of which of CoreDNS's traces they are."""
    return bool(trace.messages) and not trace.rooted and not isinstance(trace.key, bytes)


def is_bare(trace: WaitingTrace) -> bool:
    """Whether it has CoreDNS's spans and no messages."""
    return trace.rooted and not trace.messages


def ties(
    untied: Sequence[WaitingTrace], bare: Sequence[WaitingTrace]
) -> Iterator[tuple[WaitingTrace, WaitingTrace | None]]:
    """Tie messages to spans, all of one client, name and type.

    Args:
        untied: made of messages only.
        bare: made of spans only.

    Yields:
        Messages, each with the spans of the same query; or with nothing, where they are of a query
        that the spans tell of, and it is not clear of which.
    """
    pairs = sorted(
        (score, number, place)
        for number, told in enumerate(untied)
        for place, trace in enumerate(bare)
        if (score := _apart(told, trace)) is not None
    )
    done: set[int] = set()
    taken: set[int] = set()
    clear: set[tuple[str, int]] = set()
    for score, number, place in pairs:
        if number in done or place in taken:
            continue
        rivals = any(
            (other == number) != (spans == place)
            and ("told", other) not in clear
            and ("spans", spans) not in clear
            and close < _CLEARLY * score + _ALIKE_NS
            for close, other, spans in pairs
        )
        done.add(number)
        taken.add(place)
        if not rivals:
            clear |= {("told", number), ("spans", place)}
        yield untied[number], None if rivals else bare[place]


def _apart(told: WaitingTrace, trace: WaitingTrace) -> int | None:
    """How little two look alike, in nanoseconds; None where they cannot be one query."""
    message, span = told.header, trace.header
    if message is None or span is None or message.proto != span.proto:
        return None
    if message.rcode and message.rcode != span.rcode:
        return None
    late_ns = message.start_ns - span.start_ns
    if not -_EARLY_NS <= late_ns <= _LATE_NS.get(message.source, 0):
        return None
    if not message.rcode:
        return abs(late_ns)  # the query alone
    spent_ns = message.root.end_ns - message.start_ns
    longer_ns = _own_duration(trace, span, message.source) - spent_ns
    if not -_ROUNDING_NS <= longer_ns <= _AROUND_NS:
        return None
    return abs(longer_ns)


def _own_duration(trace: WaitingTrace, root: ServerTrace, plugin: str) -> int:
    """How long the plugin that told ran, where its span is there; else the whole server.

    A server that asks itself has the plugin's span twice: the longer is of the client's query.
    """
    ran = [span.end_ns - span.start_ns for span in trace.spans.values() if span.name == plugin]
    return max(ran, default=root.root.end_ns - root.root.start_ns)
