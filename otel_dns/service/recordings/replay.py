"""A recording through the same core as the running service."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from otel_dns.join import JoinSettings, Outcome
from otel_dns.model import Resolution
from otel_dns.service.configuration.settings import Receivers
from otel_dns.service.sorting import Incoming, sort_otlp, sort_spans
from otel_dns.service.stream import Stream
from otel_dns.wire import zipkin


class Replayed(NamedTuple):
    """What the processor would have sent, and counted."""

    sent: list[bytes]
    """Requests that it would have sent on."""
    inferred: list[Resolution]
    """Lookups that no client told of; they are on no span."""
    counts: Counter[str]


def replay_all(evidence: Iterable[Incoming], settings: JoinSettings | None = None) -> Replayed:
    """Join evidence of any kind and order, all of it as if it had come at one moment.

    Args:
        evidence: sorted, as :mod:`otel_dns.service.recordings.reading` reads it.
        settings: of the join.
    """
    sent: list[bytes] = []
    inferred = _Inferred()
    stream = Stream(
        settings or JoinSettings(), lambda request, _spans: sent.append(request), [inferred]
    )
    for incoming in evidence:
        stream.take(incoming, now_ns=0)
    stream.drain()
    return Replayed(sent, inferred.found, stream.counts())


class _Inferred:
    """Keeps the inferred lookups."""

    def __init__(self) -> None:
        self.found: list[Resolution] = []

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        self.found += [
            one for one in outcomes if isinstance(one, Resolution) and one.lookup.inferred
        ]


def replay(
    otlp_requests: Iterable[bytes],
    zipkin_bodies: Iterable[bytes],
    *,
    settings: JoinSettings | None = None,
    coredns_services: AbstractSet[str] = Receivers().coredns_services,
) -> list[bytes]:
    """Join what was recorded of spans.

    Args:
        otlp_requests: ``ExportTraceServiceRequest`` messages, as they came.
        zipkin_bodies: bodies of Zipkin v2 POSTs, as they came.
        settings: of the join.
        coredns_services: ``service.name`` of CoreDNS's spans.

    Returns:
        The requests that the processor would have sent on.

    Raises:
        MalformedError: a request or a body is broken; the message says how.
    """

    def evidence() -> Iterator[Incoming]:
        for body in zipkin_bodies:
            yield sort_spans(*zipkin.decode(body), coredns_services)
        for request in otlp_requests:
            yield sort_otlp(request, coredns_services)

    return replay_all(evidence(), settings).sent
