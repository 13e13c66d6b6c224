"""What the core costs: CPU microseconds a span, from OTLP bytes in to OTLP bytes out.

No sockets and no threads: sort, join, measure, annotate and build, as the service does them, on
lookups and CoreDNS traces of nine spans shaped like real ones. Beside it, for the ratio, the least
that any program pays that uses protobuf's Python objects: read every span, write it into a new
request.

    python -m bench.core            a table
    python -m bench.core --json     one flat object
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address

import dns.message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.figures import show
from otel_dns import semconv
from otel_dns.join import JoinSettings
from otel_dns.model import Message, Origin
from otel_dns.service.memory import collect_seldom
from otel_dns.service.metrics import ResolutionMetrics
from otel_dns.service.sorting import Incoming, sort_otlp
from otel_dns.service.stream import Stream
from otel_dns.wire import Refusals, dnstap, otlp

SECOND = 1_000_000_000
SPANS_A_TRACE = 9
PLUGINS = ("prometheus", "errors", "log", "dnstap", "loadbalance", "rewrite", "cache", "file")
SCOPE = b"\x0a" + bytes((len(semconv.CLIENT_SCOPE),)) + semconv.CLIENT_SCOPE.encode()
APPLICATION = Origin(otlp.string_attribute("service.name", "shop", field=1), SCOPE)
COREDNS = otlp.origin_of("coredns")
OTHER = otlp.origin_of("checkout")
SERVICES = frozenset({"coredns"})


def traces(count: int, clients: int) -> Iterator[tuple[tuple[Origin, bytes], ...]]:
    """Lookups of one name and one query each, with the nine spans CoreDNS makes of it."""
    start_ns = 1_700_000_000 * SECOND
    for number in range(1, count + 1):
        start_ns += 100_000
        client = f"10.1.{number % clients // 250}.{number % 250}"
        name = f"svc{number % 97}.shop.svc.cluster.local"
        identity = number.to_bytes(8, "big")
        lookup = otlp.encode_span(
            trace_id=b"lookup.." + identity, span_id=identity, parent_id=b"parent..",
            name=semconv.LOOKUP_SPAN, kind=3, start_ns=start_ns, end_ns=start_ns + 900_000,
            tail=b"".join((
                otlp.string_attribute(semconv.DNS_QUESTION_NAME, name + "."),
                otlp.string_attribute(semconv.CLIENT_ADDRESS, client),
                otlp.string_attribute(semconv.LOOKUP_FAMILY, "inet"),
                otlp.string_attribute(semconv.RESOLVER_KIND, "glibc"),
                otlp.string_attribute(semconv.LOOKUP_API, "socket.getaddrinfo"),
                otlp.int_attribute(semconv.RESOLVER_NDOTS, 5),
                otlp.string_attribute(semconv.SERVER_ADDRESS, "10.96.0.10"),
            )),
        )  # fmt: skip
        spans = [(APPLICATION, lookup)]
        trace_id, parent_id = bytes(8) + identity, b""
        for depth, plugin in enumerate((semconv.SERVEDNS_SPAN, *PLUGINS)):
            span_id = identity if not depth else (number << 8 | depth).to_bytes(8, "little")
            tail = b""
            if not depth:
                tail = b"".join((
                    otlp.string_attribute(semconv.COREDNS_NAME, name + "."),
                    otlp.string_attribute(semconv.COREDNS_TYPE, "A"),
                    otlp.string_attribute(semconv.COREDNS_PROTO, "udp"),
                    otlp.string_attribute(semconv.COREDNS_REMOTE, client),
                    otlp.string_attribute(semconv.COREDNS_RCODE, "NOERROR"),
                ))  # fmt: skip
            raw = otlp.encode_span(
                trace_id=trace_id, span_id=span_id, parent_id=parent_id, name=plugin,
                kind=0 if depth else 2, start_ns=start_ns + 200_000 + depth * 20_000,
                end_ns=start_ns + 700_000 - depth * 10_000, tail=tail,
            )  # fmt: skip
            spans.append((COREDNS, raw))
            parent_id = span_id
        yield tuple(spans)


def dnstap_pieces(count: int, a_piece: int = 50) -> list[tuple[bytes, list[bytes]]]:
    """The same lookups, a request of them at a time, each with dnstap's messages of its queries."""
    pieces: list[tuple[bytes, list[bytes]]] = []
    all_of_them = list(traces(count, clients=500))
    for at in range(0, count, a_piece):
        some = [one[0] for one in all_of_them[at : at + a_piece]]
        payloads = [
            payload for number, (_, raw) in enumerate(some, at) for payload in _taps(number, raw)
        ]
        pieces.append((otlp.build(some), payloads))
    return pieces


def _taps(number: int, lookup: bytes) -> Iterator[bytes]:
    """Query and response as CoreDNS's ``dnstap ... full`` tells of them."""
    told = otlp.attributes_of(lookup)
    start_ns = otlp.read_span(lookup, APPLICATION).start_ns + 200_000
    query = dns.message.make_query(str(told[semconv.DNS_QUESTION_NAME]), "A", id=number % 65_536)
    message = {
        "socket_protocol": 1,
        "query_address": ip_address(str(told[semconv.CLIENT_ADDRESS])).packed,
        "query_port": 32_768 + number % 28_000,
        "query_time_sec": start_ns // SECOND,
        "query_time_nsec": start_ns % SECOND,
    }
    answer = message | {
        "response_time_sec": (start_ns + 400_000) // SECOND,
        "response_time_nsec": (start_ns + 400_000) % SECOND,
        "response_message": dns.message.make_response(query).to_wire(),
    }
    for type_, fields in ((5, message | {"query_message": query.to_wire()}), (6, answer)):
        payload: bytes = dnstap._Dnstap(
            identity=b"coredns-0", type=1, message=fields | {"type": type_}
        ).SerializeToString()
        yield payload


def requests(count: int, *, lookups: bool, a_request: int = 50) -> list[bytes]:
    """OTLP requests of so many traces, with their lookups or without."""
    batches: list[list[tuple[Origin, bytes]]] = [[]]
    for number, spans in enumerate(traces(count, clients=500)):
        if number and number % a_request == 0:
            batches.append([])
        batches[-1] += spans if lookups else spans[1:]
    return [otlp.build(batch) for batch in batches]


class Core:
    """The pipeline without its thread: one request in, what is due out."""

    def __init__(self) -> None:
        self.spans = 0
        self._now_ns = 0
        settings = JoinSettings(settle_ns=SECOND, trace_wait_ns=2 * SECOND)
        self._stream = Stream(settings, self._sent, [ResolutionMetrics()])

    def _sent(self, request: bytes, spans: int) -> None:
        del request
        self.spans += spans

    def run(self, requests: list[bytes]) -> None:
        """Take requests, a tenth of a second apart, and let all waits pass."""
        for request in requests:
            self._stream.take(sort_otlp(request, SERVICES), self._now_ns)
            self._now_ns += SECOND // 10
            self._stream.advance(self._now_ns)
        self._stream.drain()

    def run_dnstap(self, pieces: list[tuple[bytes, list[bytes]]]) -> None:
        """Take lookups and dnstap's messages in turn, as :meth:`run` does."""
        for request, payloads in pieces:
            self._stream.take(sort_otlp(request, SERVICES), self._now_ns)
            decoded = [dnstap.decode(payload) for payload in payloads]
            messages = [one for one in decoded if isinstance(one, Message)]
            self._stream.take(Incoming([], [], [], Refusals(), messages), self._now_ns)
            self._now_ns += SECOND // 10
            self._stream.advance(self._now_ns)
        self._stream.drain()

    def count(self, name: str) -> int:
        """What the stream has counted."""
        return self._stream.counts()[name]


def objects(requests: list[bytes]) -> None:
    """Read every span as protobuf's object, look at what a join needs, write a new request."""
    for request in requests:
        out = ExportTraceServiceRequest()
        for resource_spans in ExportTraceServiceRequest.FromString(request).resource_spans:
            copy = out.resource_spans.add()
            copy.resource.CopyFrom(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                scope_copy = copy.scope_spans.add()
                scope_copy.scope.CopyFrom(scope_spans.scope)
                for span in scope_spans.spans:
                    assert span.start_time_unix_nano <= span.end_time_unix_nano
                    new = scope_copy.spans.add()
                    new.CopyFrom(span)
                    new.trace_id = span.trace_id
                    new.parent_span_id = span.parent_span_id or span.span_id
                    attribute = new.attributes.add()
                    attribute.key = semconv.OWN_TIME
                    attribute.value.int_value = span.end_time_unix_nano - span.start_time_unix_nano
        out.SerializeToString()


def microseconds(spans: int, work: Callable[[], None]) -> float:
    """CPU time of this process for one span."""
    start = time.process_time()
    work()
    return (time.process_time() - start) / spans * 1e6


def measure(count: int, runs: int) -> dict[str, float | int | str]:
    """Medians of several runs, the ways taking turns."""
    collect_seldom()
    joined, unjoined = requests(count, lookups=True), requests(count, lookups=False)
    joined_spans, unjoined_spans = count * (SPANS_A_TRACE + 1), count * SPANS_A_TRACE
    everything = [(OTHER, raw) for spans in traces(count, 500) for _, raw in spans]
    passing = [otlp.build(everything[at : at + 500]) for at in range(0, len(everything), 500)]
    tapped = dnstap_pieces(count)
    found: dict[str, list[float]] = {
        "joined": [], "unjoined": [], "passing": [], "dnstap": [], "objects": []
    }  # fmt: skip
    for _ in range(runs):
        core = Core()
        found["joined"].append(microseconds(joined_spans, lambda core=core: core.run(joined)))
        assert core.spans == joined_spans
        core = Core()
        found["unjoined"].append(microseconds(unjoined_spans, lambda core=core: core.run(unjoined)))
        assert core.spans == unjoined_spans
        core = Core()
        found["passing"].append(microseconds(joined_spans, lambda core=core: core.run(passing)))
        assert core.spans == joined_spans
        core = Core()
        found["dnstap"].append(microseconds(2 * count, lambda core=core: core.run_dnstap(tapped)))
        assert core.count("messages_joined") == 2 * count
        found["objects"].append(microseconds(joined_spans, lambda: objects(joined)))
    middle = {name: statistics.median(values) for name, values in found.items()}
    return {
        "core_joined_us_per_span": round(middle["joined"], 3),
        "core_unjoined_us_per_span": round(middle["unjoined"], 3),
        "core_passing_us_per_span": round(middle["passing"], 3),
        "core_dnstap_us_per_message": round(middle["dnstap"], 3),
        "protobuf_objects_us_per_span": round(middle["objects"], 3),
        "joined_share_of_objects": round(middle["joined"] / middle["objects"], 3),
        "core_joined_us_spread": round(max(found["joined"]) - min(found["joined"]), 3),
        "traces": count,
        "spans_a_trace": SPANS_A_TRACE,
        "runs": runs,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--traces", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    figures = measure(arguments.traces, arguments.runs)
    show(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
