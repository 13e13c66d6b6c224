"""Inferred lookups: what servers alone tell of a lookup that no client told of.

Most Pods of a cluster are not instrumented. What their queries leave behind at the servers still
follows the rules of a stub resolver, and so tells which of them were one lookup:

* A and AAAA of one name, next to each other, are one round;
* the same port and id again is a query sent again; so is the same question right after a failure,
  or over TCP right after UDP;
* after a name that does not exist comes the same name with less of the search list behind it.

From that follow outcome, waste, retries and the servers' time. How long the client waited before
its first query and after its last answer nobody saw: an inferred lookup claims no latency.

Nothing is guessed further than that: where a search list continues with an unrelated domain, or is
tried after the name itself, the rest is a lookup of its own.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from otel_dns import semconv
from otel_dns.join.waiting import Slots, WaitingTrace
from otel_dns.model import Lookup, Origin, ServerTrace, Span
from otel_dns.wire import otlp

MAX_TRACES: Final = 64
"""Server traces of one inferred lookup."""
_MAX_LABELS: Final = 16
"""Of a name through whose search list is looked; longer ones are lookups of their own."""
_PAIR_NS: Final = 100_000_000
"""So close are A and AAAA of one name, also where the second waits for the first's answer; and TCP
after a truncated answer."""
_STEP_NS: Final = 1_000_000_000
"""So soon after the last answer a stub asks on: it has nothing to wait for."""
_AGAIN_NS: Final = 30_000_000_000
"""resolv.conf(5)'s largest timeout: beyond it the same port and id are another query's."""
_FAILURES: Final = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP"})
_OTHER_FAMILY: Final = {"A": "AAAA", "AAAA": "A"}


class Inferred(NamedTuple):
    """Server traces that were one lookup."""

    names: tuple[str, ...]
    """Full names, in the order in which the resolver tried them."""
    traces: list[tuple[WaitingTrace, int]]
    """Each with its candidate: the place of its name."""

    def lookup(self) -> Lookup:
        """Make the lookup: from the first query's arrival to the last answer."""
        headers = [_header(trace) for trace, _ in self.traces]
        first = min(headers, key=lambda one: (one.root.start_ns, one.root.span_id))
        root = first.root
        span = Span(
            root.trace_id, root.span_id, b"", semconv.LOOKUP_SPAN, root.start_ns,
            max(one.answer_ns for one in headers), b"", _origin_of(_pod_of(self.traces)),
        )  # fmt: skip
        return Lookup(
            span=span,
            client=first.client,
            candidates=self.names,
            types=tuple(sorted({one.type for one in headers})),
            name=_asked_for(self.names),
            recorded=False,
            inferred=True,
        )

    def outcome(self) -> str:
        """Name how it ended, as far as the last name's answers tell: ``semconv.OUTCOME_...``."""
        last = len(self.names) - 1
        rcodes = {_header(trace).rcode for trace, number in self.traces if number == last}
        if "NOERROR" in rcodes:
            return semconv.OUTCOME_OK
        if "NXDOMAIN" in rcodes:
            return semconv.OUTCOME_NOT_FOUND
        return semconv.OUTCOME_SERVER_FAILURE if rcodes - {""} else semconv.OUTCOME_TIMEOUT


def gather(seed: WaitingTrace, slots: Slots) -> Inferred:
    """Gather the server traces of the lookup that a server trace is the first of.

    Args:
        seed: a server trace that no lookup claims; those that started before it are gone.
        slots: where the others wait. Nothing is taken that a known lookup may want.
    """
    found = _Gathering(slots, _header(seed).client)
    first, head = seed, ""
    while True:
        answered, not_found, last_ns = found.round(first)
        if answered or not not_found or len(found.traces) >= MAX_TRACES:
            break
        step = found.next_name(head, _header(first), last_ns)
        if step is None:
            break
        first, head = step
    return Inferred(tuple(found.names), found.traces)


class _Gathering:
    """One lookup's server traces, as they are found."""

    def __init__(self, slots: Slots, client: str) -> None:
        self._slots = slots
        self._client = client
        self._taken: set[WaitingTrace] = set()
        self.names: list[str] = []
        self.traces: list[tuple[WaitingTrace, int]] = []

    def round(self, first: WaitingTrace) -> tuple[bool, bool, int]:
        """Gather all queries for the name of a server trace.

        Returns:
            Whether one was answered, whether one was answered that the name does not exist, and
            when the last answer was out.
        """
        header = _header(first)
        self.names.append(header.name)
        members = self._with_retries(first)
        other = self._other_family(header)
        if other is not None:
            members += self._with_retries(other)
        headers = [_header(trace) for trace in members]
        rcodes = {one.rcode for one in headers}
        return "NOERROR" in rcodes, "NXDOMAIN" in rcodes, max(one.answer_ns for one in headers)

    def next_name(
        self, head: str, header: ServerTrace, last_ns: int
    ) -> tuple[WaitingTrace, str] | None:
        """Find what was asked after a name that does not exist, and what all names begin with."""
        best: tuple[int, WaitingTrace, str] | None = None
        for name, beginning in _shortened(header.name, head):
            for type_ in _families(header.type):
                for trace in self._free(name, type_, header.start_ns, last_ns + _STEP_NS):
                    if best is None or trace.start_ns < best[0]:
                        best = trace.start_ns, trace, beginning
                    break
        return best[1:] if best else None

    def _with_retries(self, trace: WaitingTrace) -> list[WaitingTrace]:
        members = []
        following: WaitingTrace | None = trace
        while following is not None and len(self.traces) < MAX_TRACES:
            self._taken.add(following)
            self.traces.append((following, len(self.names) - 1))
            members.append(following)
            following = self._again(_header(following))
        return members

    def _again(self, header: ServerTrace) -> WaitingTrace | None:
        """Find the same query sent again."""
        for trace in self._free(
            header.name, header.type, header.start_ns, header.start_ns + _AGAIN_NS
        ):
            other = _header(trace)
            sent_as = header.client_port, header.dns_id
            if header.client_port and sent_as == (other.client_port, other.dns_id):
                return trace
            if other.start_ns > header.answer_ns + _PAIR_NS:
                continue
            if header.rcode in _FAILURES or (header.proto, other.proto) == ("udp", "tcp"):
                return trace
        return None

    def _other_family(self, header: ServerTrace) -> WaitingTrace | None:
        type_ = _OTHER_FAMILY.get(header.type)
        if type_ is None:
            return None
        near = list(
            self._free(
                header.name, type_, header.start_ns - _PAIR_NS,
                max(header.start_ns, header.answer_ns) + _PAIR_NS,
            )
        )  # fmt: skip

        def far(trace: WaitingTrace) -> tuple[bool, int]:
            other = _header(trace)
            ports = header.client_port, other.client_port
            return 0 not in ports and ports[0] != ports[1], abs(other.start_ns - header.start_ns)

        return min(near, key=far, default=None)

    def _free(self, name: str, type_: str, start_ns: int, end_ns: int) -> Iterator[WaitingTrace]:
        slot = self._slots.get((self._client, name, type_))
        if slot is None or slot.lookups:
            return
        for trace in slot.traces_between(start_ns, end_ns):
            if trace not in self._taken and trace.claim is None and not trace.disputed:
                yield trace


def _shortened(name: str, head: str) -> Iterator[tuple[str, str]]:
    """Give a name with less of the search list behind it, and what then comes before the list.

    Args:
        name: that was asked for.
        head: what comes before the search list; empty while that is not known: then it may be any
            number of labels.
    """
    labels = name.rstrip(".").split(".")
    if len(labels) > _MAX_LABELS:
        return
    heads: Sequence[int] = (head.count(".") + 1,) if head else range(1, len(labels))
    seen = set()
    for number in heads:
        beginning = ".".join(labels[:number])
        for dropped in range(number + 1, len(labels) + 1):
            shorter = ".".join((*labels[:number], *labels[dropped:])) + "."
            if shorter not in seen:
                seen.add(shorter)
                yield shorter, beginning


def _families(type_: str) -> tuple[str, ...]:
    other = _OTHER_FAMILY.get(type_)
    return (type_, other) if other else (type_,)


def _asked_for(names: Sequence[str]) -> str:
    """Say what the application asked for: what the names have in common, where that is told."""
    if len(names) == 1:
        return names[0].rstrip(".")
    first, last = names[0].split("."), names[-1].rstrip(".").split(".")
    number = 0
    while number < len(last) and first[number] == last[number]:
        number += 1
    return ".".join(last[:number])


def _pod_of(traces: Sequence[tuple[WaitingTrace, int]]) -> str:
    return next((one.pod for trace, _ in traces for one in trace.messages if one.pod), "")


@lru_cache(maxsize=4096)
def _origin_of(pod: str) -> Origin:
    """Make the origin of an inferred lookup: its Pod, where CoreDNS knows it."""
    namespace, _, name = pod.partition("/")
    if not name:
        return Origin(b"", b"")
    resource = otlp.string_attribute(semconv.K8S_NAMESPACE_NAME, namespace, field=1)
    return Origin(resource + otlp.string_attribute(semconv.K8S_POD_NAME, name, field=1), b"")


def _header(trace: WaitingTrace) -> ServerTrace:
    header = trace.header
    assert header is not None
    return header
