"""What a server asks itself, told apart from what its clients ask.

Some of CoreDNS's plugins send a query through the whole chain once more, to answer another: for the
target of a CNAME outside of the zone (file, kubernetes for an ExternalName), for the A records that
dns64 makes AAAA records of. dnstap and the log tell of the inner query too: under the client's
address, port and id, without a trace id. No client sent it: it came in after the query that has
these, and was answered before.
"""

from collections.abc import Iterator
from typing import Final

from otel_dns.join.waiting import WaitingTrace
from otel_dns.model import Message

_Asker = tuple[str, str, str, int, int]
"""Server, ``dnstap`` or ``log``, client address and port, id."""

_OWN_ID: Final = frozenset({"udp", "tcp", "tls"})
"""Elsewhere queries of one connection have one port, and mostly the id 0."""
_LATE_NS: Final = {"dnstap": 0, "log": 5_000_000}
"""A log line's time is when it was written."""
_MAX_ALIKE: Final = 16


class Reentries:
    """Server traces made of messages, by who asked."""

    def __init__(self) -> None:
        self._asked: dict[_Asker, list[WaitingTrace]] = {}

    def add(
        self, trace: WaitingTrace, message: Message
    ) -> Iterator[tuple[WaitingTrace, WaitingTrace]]:
        """Take in a message of a server trace, which has it already.

        Yields:
            What turns out to be inner queries, each with the query that it answered.
        """
        key = _asker(message)
        if key is None:
            return
        alike = self._asked.setdefault(key, [])
        if trace not in alike:
            alike.append(trace)
            del alike[:-_MAX_ALIKE]
        if len(alike) == 1:
            return
        for other in list(alike):
            if _within(other, trace, message.source):
                yield other, trace
            elif _within(trace, other, message.source):
                yield trace, other
                return

    def remove(self, trace: WaitingTrace) -> None:
        """Let a server trace leave."""
        for message in trace.messages:
            key = _asker(message)
            alike = self._asked.get(key) if key is not None else None
            if key is not None and alike is not None and trace in alike:
                alike.remove(trace)
                if not alike:
                    del self._asked[key]


def _asker(message: Message) -> _Asker | None:
    if message.kind not in {"CQ", "CR"} or message.proto not in _OWN_ID:
        return None
    return (
        message.server, message.source, message.client, message.client_port, message.dns_id,
    )  # fmt: skip


def _within(inner: WaitingTrace, outer: WaitingTrace, source: str) -> bool:
    """Whether a query was asked and answered while another, for something else, was."""
    if inner is outer or inner.rooted or isinstance(inner.key, bytes):
        return False
    one, other = inner.messages[0], outer.messages[0]
    if (one.name, one.type) == (other.name, other.type):
        return False
    asked, answered = _bounds(inner, source), _bounds(outer, source)
    if asked is None or answered is None:
        return False
    late_ns = _LATE_NS.get(source, 0)
    return (
        answered[0] - late_ns <= asked[0]
        and asked[1] <= answered[1] + late_ns
        and asked[1] - asked[0] < answered[1] - answered[0]
    )


def _bounds(trace: WaitingTrace, source: str) -> tuple[int, int] | None:
    """When a query came in and its answer went out; nothing until both are known."""
    starts, ends = [], []
    for message in trace.messages:
        if message.source == source and message.kind in {"CQ", "CR"}:
            starts.append(message.query_time_ns or message.time_ns)
            if message.kind == "CR":
                ends.append(message.time_ns)
    return (min(starts), max(ends)) if starts and ends else None
