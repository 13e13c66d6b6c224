"""What a sender may choose, however long: nothing of it stays once it has been sent on."""

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from otel_dns import semconv
from otel_dns.join import JoinSettings
from otel_dns.model import Origin
from otel_dns.service.configuration.settings import Export
from otel_dns.service.metrics import ResolutionMetrics
from otel_dns.service.sorting import sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import otlp
from tests.support.spans import MS, SECOND, nested, servedns, span

REQUESTS = 60
LONG = 60_000
CLIENT_SCOPE = otlp.encode_scope(semconv.CLIENT_SCOPE)


def requests(long: str) -> Iterator[bytes]:
    """A lookup with its server trace, something of which is long and unlike any other."""

    def said(what: str, usual: str) -> str:
        return f"{number:09}." * (LONG // 10) if what == long else usual

    for number in range(REQUESTS):
        at_ns = number * MS
        client = said(semconv.CLIENT_ADDRESS, "10.0.0.7")
        search = " ".join(f"{number}.{part}." + "a" * 1000 for part in range(20))
        tail = b"".join(
            otlp.string_attribute(key, said(key, usual))
            for key, usual in (
                (semconv.DNS_QUESTION_NAME, "db"),
                (semconv.CLIENT_ADDRESS, "10.0.0.7"),
                (semconv.RESOLVER_KIND, "glibc"),
                (semconv.DNS_QUESTION_TYPE, "A"),
                (semconv.ERROR_TYPE, "timeout"),
                (semconv.RESOLVER_SEARCH, search if long == semconv.RESOLVER_SEARCH else ""),
            )
        )
        pod = otlp.string_attribute("any", said("resource", ""), field=1)
        for key in (semconv.K8S_POD_NAME, semconv.K8S_NODE_NAME, "tenant"):
            pod += otlp.string_attribute(key, said(key, "a"), field=1)
        lookup = span(
            semconv.LOOKUP_SPAN, at_ns, at_ns + 5 * MS, tail=tail, origin=Origin(pod, CLIENT_SCOPE)
        )
        coredns = otlp.string_attribute(semconv.SERVICE_NAME, "coredns", field=1)
        coredns += otlp.string_attribute(semconv.K8S_POD_NAME, said("server", "dns-1"), field=1)
        root = servedns(
            at_ns + MS, at_ns + 2 * MS, client=client, rcode=said(semconv.COREDNS_RCODE, "NOERROR")
        )
        served = [root, *nested(root, (said("plugin", "cache"),))]
        yield otlp.build(
            [(lookup.origin, lookup.raw), *((Origin(coredns, b""), one.raw) for one in served)]
        )


def left_behind(long: str) -> tuple[int, int]:
    """Bytes that came, and those that are held once all that came has left."""
    stream = Stream(
        JoinSettings(infer=True, silent_after_ns=300 * SECOND),
        lambda _request, _spans: None,
        [ResolutionMetrics()],
        Export(what="all", tenant_keys=("tenant",)),
    )
    came = 0
    for number, request in enumerate(requests(long)):
        came += len(request)
        stream.take(sort_otlp(request, frozenset({"coredns"})), number * MS)
    del request
    for second in range(0, 120, 5):
        stream.advance(second * SECOND)
    assert stream.gauges()["waiting_bytes"] == 0
    gc.collect()
    return came, tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(
    "long",
    [
        semconv.DNS_QUESTION_NAME, semconv.CLIENT_ADDRESS, semconv.RESOLVER_KIND,
        semconv.DNS_QUESTION_TYPE, semconv.ERROR_TYPE, semconv.RESOLVER_SEARCH,
        semconv.COREDNS_RCODE, semconv.K8S_POD_NAME, semconv.K8S_NODE_NAME, "tenant", "resource",
        "server", "plugin",
    ],
)  # fmt: skip
def test_what_left_leaves_nothing_behind(long: str) -> None:
    left_behind("nothing")  # what is made once is made now
    tracemalloc.start()
    try:
        came, left = left_behind(long)
    finally:
        tracemalloc.stop()

    assert came > REQUESTS * LONG
    assert left < came / 2
