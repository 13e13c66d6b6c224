"""Real parts: the SDK with its in-memory ends, real sockets, and a DNS server on loopback."""

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.resolver
import dns.rrset
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_dns import semconv
from otel_dns.client.getaddrinfo import reading
from otel_dns.client.patch import Patch
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import Stub


@dataclass
class Telemetry:
    """What came out of the instrumentation."""

    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    @property
    def options(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def span(self) -> ReadableSpan:
        (span,) = self.spans()
        return span

    def lookups(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == semconv.LOOKUP_SPAN]

    def lookup(self) -> ReadableSpan:
        (span,) = self.lookups()
        return span

    def queries(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.name == semconv.QUERY_SPAN]

    def query(self) -> ReadableSpan:
        (span,) = self.queries()
        return span

    def points(self, metric: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        ]

    def close(self) -> None:
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


ZONE = {
    ("web.shop.example.", "A"): ["10.1.0.1", "10.1.0.2"],
    ("shop.example.", "MX"): ["10 mail.shop.example."],
    ("many.example.", "A"): [f"10.2.0.{n}" for n in range(50)],
}


class DnsServer:
    """Answers from ZONE; ``refused.*`` and ``servfail.*`` by those codes, ``silent.*`` never."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self.port
        resolver.timeout, resolver.lifetime = 30, 60  # of a busy machine
        resolver.domain = dns.name.root
        return resolver

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(4096)
            if not wire:
                return
            answer = self._answer(dns.message.from_wire(wire))
            if answer is not None:
                self._socket.sendto(answer.to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text().lower()
        self.asked.append(name)
        if name.startswith("silent."):
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        kind = dns.rdatatype.to_text(question.rdtype)
        if name.startswith(("refused.", "servfail.")):
            answer.set_rcode(dns.rcode.from_text(name.split(".")[0]))
        elif (name, kind) in ZONE:
            answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *ZONE[name, kind]))
        elif not any(name == known for known, _ in ZONE):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer


def instrumented(original: Callable[..., Any], telemetry: Telemetry, stub: Stub) -> Any:
    """Return a function instrumented as if it were getaddrinfo."""
    module = SimpleNamespace(getaddrinfo=original)
    Patch(module, "getaddrinfo", reading(stub), Recorder(**telemetry.options))
    return module.getaddrinfo
