"""A recording through the same core as the running service."""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from otel_dns.join import JoinSettings
from otel_dns.service.settings import Receivers
from otel_dns.service.sorting import sort_otlp, sort_spans
from otel_dns.service.stream import Stream
from otel_dns.wire import zipkin


def replay(
    otlp_requests: Iterable[bytes],
    zipkin_bodies: Iterable[bytes],
    *,
    settings: JoinSettings | None = None,
    coredns_services: AbstractSet[str] = Receivers().coredns_services,
) -> list[bytes]:
    """Join what was recorded, all of it as if it had come at one moment.

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
    sent: list[bytes] = []
    stream = Stream(settings or JoinSettings(), lambda request, _spans: sent.append(request))
    for body in zipkin_bodies:
        stream.take(sort_spans(*zipkin.decode(body), coredns_services), now_ns=0)
    for request in otlp_requests:
        stream.take(sort_otlp(request, coredns_services), now_ns=0)
    stream.drain()
    return sent
