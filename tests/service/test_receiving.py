"""What goes into a running processor, over real sockets, and what comes out."""

import gc
import socket
import zlib
from pathlib import Path

import grpc
import pytest
from msgspec.structs import replace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from otel_dns import semconv
from otel_dns.join import JoinSettings
from otel_dns.model import Span
from otel_dns.service.configuration import ConfigurationError
from otel_dns.service.configuration.settings import ServeSettings
from otel_dns.service.service import Service
from otel_dns.wire import MalformedError, otlp
from tests.service.support import (
    Backend,
    balanced,
    get,
    gzipped,
    post,
    serving,
    settings_of,
    zipkin_body,
    zipkin_span,
)
from tests.support.otlp import EXPORT, forward
from tests.support.spans import (
    APPLICATION,
    CLIENT,
    COREDNS,
    MS,
    SECOND,
    lookup,
    nested,
    servedns,
    span,
)
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")
PROTOBUF = {"Content-Type": "application/x-protobuf"}
BROKEN = b"\x4a\x05\x0a\x7f..."  # an attribute whose key is cut short


def request(*spans: object) -> bytes:
    return otlp.build((one.origin, one.raw) for one in spans)


def code_of(address: str, raw: bytes) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as raised:
        forward(address, raw)
    return raised.value.code()


def test_a_lookup_and_its_server_trace_leave_as_one_trace() -> None:
    asked, root = lookup(0, 10 * MS), servedns(MS, 2 * MS)
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, request(root, *nested(root, ("log", "cache"))))
        forward(running.otlp, request(asked.span))

        eventually(lambda: len(backend.spans) == 4, "four spans out")

        assert {one.trace_id for one in backend.spans} == {asked.span.trace_id}
        running.counted("lookups_joined", 1)
        running.counted("spans_sent", 4)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_sdks_own_exporter(compression: grpc.Compression) -> None:
    with Backend() as backend, serving(backend.address) as running:
        provider = TracerProvider()
        provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(f"http://{running.otlp}", insecure=True, compression=compression)
            )
        )
        with provider.get_tracer("shop").start_as_current_span("work"):
            tracer = provider.get_tracer(semconv.CLIENT_SCOPE)
            with tracer.start_as_current_span(semconv.LOOKUP_SPAN) as one:
                one.set_attribute(semconv.DNS_QUESTION_NAME, "db")
                one.set_attribute(semconv.CLIENT_ADDRESS, CLIENT)
        provider.shutdown()

        eventually(lambda: backend.names == ["dns.lookup", "work"], "both spans out")

        (found,) = [one for one in backend.spans if one.name == "dns.lookup"]
        tags = {each.key: each.value.string_value for each in found.attributes}
        assert tags[semconv.JOIN_METHOD] == "none"
        assert tags[semconv.CLIENT_ADDRESS] == CLIENT


@pytest.mark.parametrize(
    "malformed",
    [
        b"nonsense",
        b"\x0a\xff",
        otlp.build([(OTHER, span("a", 0, 1).raw + BROKEN)]),
        otlp.build([(APPLICATION, span("a", 0, 1).raw + BROKEN)]),
    ],
)
def test_malformed_is_an_invalid_argument_and_the_next_good_request_works(malformed) -> None:
    good = request(span("good", 0, 1, origin=OTHER))
    with Backend() as backend, serving(backend.address) as running:
        assert code_of(running.otlp, malformed) is grpc.StatusCode.INVALID_ARGUMENT
        forward(running.otlp, good)

        eventually(lambda: backend.requests == [good], "the good request")

        assert running.count("requests_malformed") == 1


def test_a_request_without_any_of_ours_passes_unchanged_to_the_byte() -> None:
    # Empty parents, unknown fields, an order of nobody's: all of this stays.
    raw = request(span("a", 0, 1, origin=OTHER, tail=b"\x22\x00\xf8\x3f\x01")) + b"\xfa\x3f\x01x"
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, raw)

        eventually(lambda: backend.requests == [raw], "the request")


def test_the_other_spans_of_a_mixed_request_pass_at_once_and_unchanged() -> None:
    others = [span("a", 0, 1, origin=OTHER, tail=b"\xf8\x3f\x01"), span("b", 0, 1, origin=OTHER)]
    with Backend() as backend, serving(backend.address, settle_s=3600) as running:
        forward(running.otlp, request(others[0], lookup(0, MS).span, others[1]))

        (out,) = eventually(lambda: backend.requests, "the other spans")

        groups = otlp.cut(out)
        assert [group.origin for group in groups] == [OTHER]
        assert [*groups[0].spans] == [one.raw for one in others]
        running.stop()
        assert backend.names == ["a", "b", "dns.lookup"]


def test_spans_that_a_backend_would_refuse_are_refused_alone() -> None:
    def short(origin) -> object:
        good = span("bad", 0, 1, origin=origin)
        return replace(good, raw=b"\x0a\x0f" + good.raw[2:17] + good.raw[18:])

    bad = [short(OTHER), short(COREDNS), short(APPLICATION)]
    with Backend() as backend, serving(backend.address) as running:
        with grpc.insecure_channel(running.otlp) as channel:
            answer = channel.unary_unary(EXPORT)(request(*bad, lookup(0, MS).span), timeout=60)

        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert partial.rejected_spans == 3
        assert "15" in partial.error_message
        eventually(lambda: backend.names == ["dns.lookup"], "the good span")
        assert running.count("spans_refused") == 3


def with_tail(tail: bytes) -> Span:
    """A span that nobody can read."""
    good = span("bad", 0, 1, origin=OTHER)
    return replace(good, raw=good.raw + tail)


@pytest.mark.parametrize("culprit", [
    with_tail(BROKEN),
    with_tail(otlp.string_attribute("key", "@").replace(b"@", b"\xff")),
    span("bad", 0, 1, origin=OTHER._replace(resource=OTHER.resource.replace(b"s", b"\xff"))),
])  # fmt: skip
def test_a_broken_span_costs_its_neighbours_nothing(culprit: Span) -> None:
    neighbours = [span("a", 0, 1, origin=OTHER), lookup(0, MS).span, servedns(0, MS)]
    with Backend() as backend, serving(backend.address) as running:
        with grpc.insecure_channel(running.otlp) as channel:
            answer = channel.unary_unary(EXPORT)(request(culprit, *neighbours), timeout=60)

        assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
        eventually(lambda: len(backend.names) == len(neighbours), "the good spans")
        assert running.count("spans_refused") == 1
        balanced(running)


def test_a_lookup_that_lacks_what_a_join_needs_passes() -> None:
    raw = span("dns.lookup", 0, 1, origin=APPLICATION)
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, request(raw))

        eventually(lambda: backend.requests, "the span")

        assert backend.requests == [request(raw)]
        assert running.count("lookups_incomplete") == 1


# -- Zipkin ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v2/spans", "/"])
@pytest.mark.parametrize("packed", [False, True])
def test_zipkin_is_taken_with_the_bad_spans_counted(path: str, packed: bool) -> None:
    body = zipkin_body(zipkin_span(1), {"id": "x"}, zipkin_span(2), 5)
    headers: dict[str, str] = {}
    if packed:
        body, headers = gzipped(body)
    with Backend() as backend, serving(backend.address) as running:
        assert post(running.http + path, body, headers) == 202

        eventually(lambda: backend.names == ["servedns"] * 2, "the good spans")

        assert running.count("zipkin_spans_refused") == 2
        assert running.count("zipkin_server_spans") == 2


def test_zipkin_spans_of_others_pass() -> None:
    with Backend() as backend, serving(backend.address, settle_s=3600) as running:
        other = zipkin_span(1, name="cart", localEndpoint={"serviceName": "cart"})
        assert post(running.http + "/api/v2/spans", zipkin_body(other)) == 202

        eventually(lambda: backend.names == ["cart"], "the span")


BOMB = zlib.compress(b"[" + b" " * 100_000_000, 9, wbits=31)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 400),
        (b"", {}, 400),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400),
        (gzipped(b"[]")[0][:-4], {"Content-Encoding": "gzip"}, 400),
        (gzipped(b"[]")[0] * 2, {"Content-Encoding": "gzip"}, 400),
        (BOMB, {"Content-Encoding": "gzip"}, 413),
        (b"[" + b" " * 70_000 + b"]", {}, 413),
        (b"[" + b" " * 60_000 + b"]", {}, 202),
    ],
    ids=["object", "empty", "not gzip", "cut", "twice", "bomb", "large", "just not too large"],
)
def test_what_zipkin_is_not(body: bytes, headers: dict[str, str], status: int) -> None:
    with (
        Backend() as backend,
        serving(backend.address, receivers__http__max_request=65_536) as running,
    ):
        assert post(running.http + "/api/v2/spans", body, headers) == status

        assert post(running.http + "/api/v2/spans", zipkin_body(zipkin_span())) == 202
        eventually(lambda: backend.names == ["servedns"], "the next good request")


# -- pages -------------------------------------------------------------------------------------


def test_health_and_metrics() -> None:
    with Backend() as backend, serving(backend.address) as running:
        post(running.http + "/api/v2/spans", zipkin_body(zipkin_span()))
        eventually(lambda: backend.spans, "the span")

        assert get(running.http + "/healthz") == (200, "ok\n")
        assert get(running.http + "/readyz") == (200, "ok\n")
        assert get(running.http + "/nowhere")[0] == 404
        status, metrics = get(running.http + "/metrics")
        assert status == 200
        assert "otel_dns_zipkin_server_spans_total 1.0" in metrics
        assert "otel_dns_waiting_server_spans 0.0" in metrics


# -- listening ---------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["receivers__otlp__listen", "receivers__http__listen"])
def test_an_address_in_use_is_said_and_leaves_nothing_running(setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service = Service(settings_of("127.0.0.1:1", **{setting: address}))
        with pytest.raises(OSError, match=address):
            service.start()
    assert not service._pipeline.alive
    assert not any(output._thread.is_alive() for output in service._outputs._outputs)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1", "127.0.0.1:x"])
def test_an_address_that_is_none_is_said(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"receivers.http.listen.*HOST:PORT is wanted"):
        settings_of("127.0.0.1:1", receivers__http__listen=address)


def test_two_processors_at_once_know_nothing_of_each_other() -> None:
    with (
        Backend() as first_out,
        Backend() as second_out,
        serving(first_out.address) as first,
        serving(second_out.address) as second,
    ):
        forward(first.otlp, request(lookup(0, MS).span))
        forward(second.otlp, request(servedns(0, MS)))

        eventually(lambda: first_out.names == ["dns.lookup"], "the lookup")
        eventually(lambda: second_out.names == ["servedns"], "the server span")


def test_batches_stay_small_enough_for_any_backend() -> None:
    origins = [
        otlp.origin_of(f"shop-{at}")._replace(
            resource=otlp.string_attribute("x", f"{at}" * 20_000, field=1),
            scope=APPLICATION.scope,
        )
        for at in range(100)
    ]
    giant = lookup(0, MS).span
    giant = replace(giant, raw=giant.raw + otlp.string_attribute("giant", "x" * 5_000_000))
    with Backend() as backend, serving(backend.address, settle_s=0.5) as running:
        forward(
            running.otlp, request(*(replace(lookup(0, MS).span, origin=one) for one in origins))
        )
        forward(running.otlp, request(giant))

        eventually(lambda: len(backend.spans) == 101, "all spans out")

        sizes = sorted(map(len, backend.requests))
        assert sizes[-1] > 5_000_000
        assert sizes[-2] < 1_200_000
        assert len(ExportTraceServiceRequest.FromString(
            max(backend.requests, key=len)).resource_spans) == 1  # fmt: skip


def test_defaults_are_those_of_the_join() -> None:
    # But for what it makes itself of what nobody claims, and how long it waits where nobody ever
    # did: a service wants that, a library may not.
    settings = ServeSettings().join.settings()
    assert settings == JoinSettings(infer=True, silent_after_ns=300 * SECOND)


def test_a_unix_socket_is_taken_from_nobody_but_the_dead(tmp_path: Path) -> None:
    path = tmp_path / "otlp"
    raw = request(span("a", 0, 1, origin=OTHER))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Backend() as backend:
        listen = {"receivers__otlp__listen": f"unix:{path}"}
        with serving(backend.address, **listen) as running:
            second = Service(settings_of(backend.address, **listen))
            with pytest.raises(OSError, match="Address already in use"):
                second.start()
            forward(running.otlp, raw)
            eventually(lambda: backend.names == ["a"], "the first is still there")
        path.write_text("precious")
        with pytest.raises(OSError, match=r"cannot listen on unix:.* in use"):
            Service(settings_of(backend.address, **listen)).start()
    assert path.read_text() == "precious"


def test_a_request_that_is_refused_is_let_go_of_at_once() -> None:
    """Looked for as garbage it would stay for long: collections are seldom (`collect_seldom`)."""

    def kept() -> int:
        return sum(isinstance(one, MalformedError) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = kept()
        with Backend() as backend, serving(backend.address) as running:
            for raw in (b"nonsense", b"\xff" * 400_000):  # in the loop, and in a thread
                assert code_of(running.otlp, raw) is grpc.StatusCode.INVALID_ARGUMENT
                assert post(running.http + "/v1/traces", raw, PROTOBUF) == 400
            eventually(lambda: kept() <= before, "nothing of them")
    finally:
        gc.enable()
