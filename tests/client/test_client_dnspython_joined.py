"""dnspython's queries and a real CoreDNS's evidence, joined."""

import socket
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Thread
from time import sleep, time_ns
from typing import NamedTuple

import dns.message
import dns.nameserver
import dns.query
import dns.resolver
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import otel_dns.client
from otel_dns import semconv
from otel_dns.join import JoinSettings, Outcome, Released
from otel_dns.lab.way import SO_TIMESTAMPNS, received
from otel_dns.model import Resolution
from otel_dns.service.sorting import sort_otlp, sort_spans
from otel_dns.service.stream import Stream
from otel_dns.wire import otlp, zipkin
from tests.client.coredns import CoreDns, coredns
from tests.client.support import Telemetry
from tests.client.test_client_dnspython_queries import HERE, ask, resolver
from tests.support.waiting import eventually


class Delayed(NamedTuple):
    """What a datagram's way really took, nanoseconds: a sleep is longer on a busy machine."""

    out_ns: int
    back_ns: int


class Distance(NamedTuple):
    port: int
    made: list[Delayed]
    """For each query, in order."""


@contextmanager
def distant(port: int, one_way_s: float) -> Iterator[Distance]:
    """A network in between: datagrams to this port reach another one late, and so do answers."""
    datagrams = socket.SOCK_DGRAM
    made: list[Delayed] = []
    with socket.socket(type=datagrams) as near, socket.socket(type=datagrams) as far:
        near.bind((HERE, 0))
        far.connect((HERE, port))
        for endpoint in (near, far):
            endpoint.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

        def carry() -> None:
            while True:
                query, came_ns, client = received(near)
                if not query:
                    return
                sleep(one_way_s)
                out_ns = time_ns() - came_ns
                far.send(query)
                answer, came_ns, _ = received(far)
                sleep(one_way_s)
                made.append(Delayed(out_ns, time_ns() - came_ns))
                near.sendto(answer, client)

        carrying = Thread(target=carry)
        carrying.start()
        address = near.getsockname()
        try:
            yield Distance(address[1], made)
        finally:
            with socket.socket(type=datagrams) as last:
                last.sendto(b"", address)
            carrying.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreDns]:
    with coredns(tmp_path_factory.mktemp("coredns")) as running:
        yield running


class Joined:
    """What the processor makes of all that was recorded."""

    def __init__(self, telemetry: Telemetry, server: CoreDns) -> None:
        self.resolutions: list[Resolution] = []
        self.released: list[Released] = []
        self.sent: list[otlp.SpanView] = []
        stream = Stream(JoinSettings(), self._send, observers=[self])
        request = encode_spans(telemetry.spans()).SerializeToString()
        incoming = sort_otlp(request, {"coredns"})
        stream.take(incoming._replace(messages=[*server.messages("CQ"), *server.messages("CR")]), 0)
        for body in server.bodies():
            spans, refused = zipkin.decode(body)
            stream.take(sort_spans(spans, refused, {"coredns"}), 0)
        stream.drain()

    def _send(self, request: bytes, _: int) -> None:
        self.sent += otlp.decode(request)

    def observe(self, outcomes: Sequence[Outcome]) -> None:
        self.resolutions += [one for one in outcomes if isinstance(one, Resolution)]
        self.released += [one for one in outcomes if isinstance(one, Released)]


@pytest.mark.parametrize(("marks", "method"), [("", "id"), ("case", "id"), ("edns", "edns")])
def test_each_query_has_its_server_trace(
    telemetry: Telemetry, server: CoreDns, marks: str, method: str
) -> None:
    otel_dns.client.instrument(**telemetry.options, marks=marks)
    name = f"web-{marks}.shop.example."
    asking = resolver(server)
    for _ in range(2):
        with pytest.raises(dns.resolver.NXDOMAIN):
            asking.resolve(name)
    ask(server, "udp", dns.message.make_query(name, "A"))
    eventually(lambda: len(server.messages("CR", name=name)) == 3, "dnstap of the answers")
    joined = Joined(telemetry, server)
    assert len(joined.resolutions) == 3
    for resolution in joined.resolutions:
        assert (resolution.join.method, resolution.join.certainty) == (method, "sure")
        (trace,) = resolution.join.traces
        (query,) = resolution.lookup.queries
        assert trace.query == query
        assert (trace.trace.client_port, trace.trace.dns_id) == (query.client_port, query.dns_id)
    sent = [one.name for one in joined.sent]
    assert sent.count(semconv.QUERY_SPAN) == 3
    assert sent.count(semconv.LOOKUP_SPAN) == 2


@pytest.mark.parametrize("port", ["https", "https_shared"])
def test_over_https_the_servers_spans_are_in_the_clients_trace(
    telemetry: Telemetry, server: CoreDns, port: str
) -> None:
    """CoreDNS took the B3 headers; dnstap tells of the same queries, and makes no second ones."""
    otel_dns.client.instrument(**telemetry.options, marks="b3")
    name, number = f"doh-{port}.shop.example.", getattr(server, port)
    verify = str(server.authority)
    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers = [
        dns.nameserver.DoHNameserver(f"https://{HERE}:{number}/dns-query", verify=verify)
    ]
    for _ in range(2):
        with pytest.raises(dns.resolver.NXDOMAIN):
            asking.resolve(name)
    import httpx2

    context = ssl.create_default_context(cafile=verify)

    # The queries of one session have one port, and over HTTPS all have the id 0.
    with httpx2.Client(verify=context, http2=True) as session:
        for _ in range(3):
            query = dns.message.make_query(name, "A")
            dns.query.https(query, HERE, port=number, session=session)

    def served() -> bool:
        traces = {one["traceId"] for one in server.spans() if one["name"] == "servedns"}
        return traces >= {f"{one.context.trace_id:032x}" for one in telemetry.spans()}

    eventually(lambda: len(server.messages("CR", name=name)) == 5, "dnstap of the answers")
    eventually(served, "CoreDNS's spans in the client's traces")
    joined = Joined(telemetry, server)
    assert len(joined.resolutions) == 5
    for resolution in joined.resolutions:
        assert (resolution.join.method, resolution.join.certainty) == ("context", "sure")
        (trace,) = resolution.join.traces
        (query,) = resolution.lookup.queries
        assert trace.query == query
        assert trace.parent == query.span_id
        assert len(trace.trace.spans) > 1
        # Of a session of the application's own the client does not know the port.
        assert query.client_port in {0, trace.trace.client_port}
        assert trace.trace.sent_ns
        of_trace = [one for one in joined.sent if one.trace_id == resolution.lookup.span.trace_id]
        ids = {one.span_id for one in of_trace}
        assert len(ids) == len(of_trace)
        assert {one.parent_id for one in of_trace} - {b""} <= ids


MS = 1_000_000


def test_known_delays_are_found_where_they_were_put(telemetry: Telemetry, server: CoreDns) -> None:
    otel_dns.client.instrument(**telemetry.options, marks="edns")
    asking = resolver(server)
    # Each far beyond what a busy machine adds to the others.
    with distant(server.plain, 0.2) as distance:
        asking.port = distance.port
        asking.resolve("network.slow.example.")
    asking.port = server.plain
    asking.resolve("server.slow.example.")
    # Once all servers have failed, dnspython pauses before it asks again: 0.1 s, 0.2 s, 0.4 s.
    asking.retry_servfail, asking.lifetime = True, 1.0
    with pytest.raises(dns.resolver.LifetimeTimeout):
        asking.resolve("stub.servfail.example.")

    names = [f"{name}.example." for name in ("network.slow", "server.slow", "stub.servfail")]
    asked = Counter(
        (one.attributes or {})[semconv.DNS_QUESTION_NAME] for one in telemetry.queries()
    )
    eventually(
        lambda: all(len(server.messages("CR", name=name)) == asked[name] for name in names),
        "dnstap of the answers",
    )
    found = {one.lookup.name: one for one in Joined(telemetry, server).resolutions}
    across, slow, pausing = (found[name].breakdown for name in names)
    assert across.segments["network"] >= 400 * MS
    assert across.segments["server"] >= 100 * MS
    assert across.bottleneck == "network"
    assert slow.segments["server"] >= 100 * MS
    assert max(slow.segments, key=slow.segments.__getitem__) == "server"
    assert pausing.segments["stub"] >= 100 * MS
    assert pausing.bottleneck == "stub"
    for breakdown in (across, slow, pausing):
        assert not breakdown.segments["stub_network"]


def test_delays_of_the_network_are_found_within_two_milliseconds(
    telemetry: Telemetry, server: CoreDns
) -> None:
    """Compared with what each datagram's way really took.

    Of the quietest of many: what a busy machine adds between the wire and a program is nobody's.
    """
    otel_dns.client.instrument(**telemetry.options, marks="edns")
    asking = resolver(server)
    names = [f"way-{number}.shop.example." for number in range(16)]
    with distant(server.plain, 0.03) as distance:
        asking.port = distance.port
        for name in names:
            with pytest.raises(dns.resolver.NXDOMAIN):
                asking.resolve(name)
    for name in names:
        eventually(lambda name=name: server.messages("CR", name=name), f"dnstap of {name}")
    found = {one.lookup.name: one for one in Joined(telemetry, server).resolutions}
    off = []
    for name, delayed in zip(names, distance.made, strict=True):
        (trace,) = found[name].join.traces
        segments = found[name].breakdown.segments
        assert sum(segments.values()) == found[name].lookup.end_ns - found[name].lookup.start_ns
        assert trace.query is not None
        out_ns = trace.trace.start_ns - trace.query.start_ns
        back_ns = trace.query.end_ns - trace.trace.answer_ns
        off.append(
            (
                abs(segments["network"] - delayed.out_ns - delayed.back_ns),
                abs(out_ns - delayed.out_ns),
                abs(back_ns - delayed.back_ns),
            )
        )
    assert min(map(max, off)) < 2 * MS, sorted(off)
