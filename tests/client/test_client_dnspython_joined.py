"""dnspython's queries and a real CoreDNS's evidence, joined."""

from collections.abc import Iterator

import dns.message
import dns.resolver
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

import otel_dns.client
from otel_dns import semconv
from otel_dns.join import JoinSettings, Outcome
from otel_dns.model import Resolution
from otel_dns.service.sorting import sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import otlp
from tests.client.coredns import CoreDns, coredns
from tests.client.support import Telemetry
from tests.client.test_client_dnspython_queries import ask, resolver
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreDns]:
    with coredns(tmp_path_factory.mktemp("coredns")) as running:
        yield running


class Joined:
    """What the processor makes of all that was recorded."""

    def __init__(self, telemetry: Telemetry, server: CoreDns) -> None:
        self.resolutions: list[Resolution] = []
        self.sent: list[otlp.SpanView] = []
        stream = Stream(JoinSettings(), self._send, observers=[self])
        request = encode_spans(telemetry.spans()).SerializeToString()
        incoming = sort_otlp(request, {"coredns"})
        stream.take(incoming._replace(messages=[*server.messages("CQ"), *server.messages("CR")]), 0)
        stream.drain()

    def _send(self, request: bytes, _: int) -> None:
        self.sent += otlp.decode(request)

    def observe(self, outcome: Outcome) -> None:
        if isinstance(outcome, Resolution):
            self.resolutions.append(outcome)


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
