"""Who is let in and how: TLS, tokens, OTLP over HTTP, health, limits, memory."""

import gzip
import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from google.protobuf import json_format
from msgspec.structs import replace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from otel_dns.service import configuration, memory
from otel_dns.service.memory import MemoryGuard, limited
from otel_dns.service.receivers.otlp_receiver import HEALTH
from otel_dns.wire import MalformedError, otlp, otlp_json
from tests.service.support import (
    Backend,
    balanced,
    get,
    gzipped,
    post,
    serving,
    zipkin_body,
    zipkin_span,
)
from tests.service.test_limits import connect
from tests.support.otlp import EXPORT, forward
from tests.support.spans import MS, Span, lookup, span
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")
PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


def request(*spans: Span) -> bytes:
    return otlp.build((one.origin, one.raw) for one in spans)


def as_json(raw: bytes) -> bytes:
    """OTLP's JSON, made by protobuf with the ids written in hexadecimal."""
    message = ExportTraceServiceRequest.FromString(raw)
    data = json_format.MessageToDict(message)
    for resource, out in zip(message.resource_spans, data["resourceSpans"], strict=True):
        for scope, out_scope in zip(resource.scope_spans, out["scopeSpans"], strict=True):
            for one, out_one in zip(scope.spans, out_scope["spans"], strict=True):
                out_one["traceId"] = one.trace_id.hex()
                out_one["spanId"] = one.span_id.hex()
                if one.parent_span_id:
                    out_one["parentSpanId"] = one.parent_span_id.hex()
                out_one["aFieldOfTomorrow"] = 1
    return json.dumps(data).encode()


# -- OTLP over HTTP ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["protobuf", "json"])
@pytest.mark.parametrize("packed", [False, True])
def test_otlp_over_http(kind: str, packed: bool) -> None:
    raw = request(span("a", 0, 1, origin=OTHER), lookup(0, MS).span)
    body, headers = (raw, PROTOBUF) if kind == "protobuf" else (as_json(raw), JSON)
    if packed:
        body, encoding = gzipped(body)
        headers = headers | encoding
    with Backend() as backend, serving(backend.address) as running:
        assert post(running.http + "/v1/traces", body, headers) == 200
        eventually(lambda: backend.names == ["a", "dns.lookup"], "both spans")
        (found,) = [one for one in backend.spans if one.name == "dns.lookup"]
        assert found.trace_id == ExportTraceServiceRequest.FromString(raw).resource_spans[
            1].scope_spans[0].spans[0].trace_id  # fmt: skip
        balanced(running)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"nonsense", PROTOBUF, 400),
        (b"nonsense", JSON, 400),
        (b'{"resourceSpans": 5}', JSON, 400),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}', JSON, 400),
        (b"", {"Content-Type": "text/plain"}, 415),
        (b"", PROTOBUF | {"Content-Encoding": "br"}, 415),
        (b"x" * 70_000, PROTOBUF, 413),
        (gzip.compress(b"\0" * 50_000_000), PROTOBUF | {"Content-Encoding": "gzip"}, 413),
        (b"", PROTOBUF, 200),
        (b"{}", JSON, 200),
    ],
)
def test_what_otlp_over_http_is_not(body: bytes, headers: dict[str, str], status: int) -> None:
    with Backend() as backend, serving(
        backend.address, receivers__http__max_request=65_536
    ) as running:  # fmt: skip
        assert post(running.http + "/v1/traces", body, headers) == status
        counted = running.service.ledger().not_taken
        assert counted == {413: {"requests_too_large": 1}, 200: {}}.get(
            status, {"requests_malformed": 1}
        )


@pytest.mark.parametrize(
    ("path", "beginning", "more", "end", "count"),
    [
        ("/v1/traces", '{"resourceSpans":[{}', ",{}", "]}", "requests_too_large"),
        ("/v1/logs", '{"resourceLogs":[{}', ",{}", "]}", "log_requests_too_large"),
        ("/v1/traces", '{"x":[1', ',""', "]}", "requests_too_large"),
        ("/api/v2/spans", '[{"traceId":"1","id":"1","annotations":[{}', ",{}", "]}]",
         "zipkin_requests_too_large"),
        ("/api/v2/spans", "[1", ",1", "]", "zipkin_requests_too_large"),
    ],
)  # fmt: skip
def test_json_that_would_take_much_memory_is_not_looked_at(
    path: str, beginning: str, more: str, end: str, count: str
) -> None:
    with Backend() as backend, serving(
        backend.address, receivers__max_waiting="2MiB"
    ) as running:  # fmt: skip
        few, many = (beginning + times * more + end for times in (100, 100_000))
        assert post(running.http + path, few.encode(), JSON) in {200, 202}
        assert post(running.http + path, many.encode(), JSON) == 413
        assert running.service.ledger().not_taken.get(count) == 1


def test_refused_spans_are_a_partial_success_over_http_too() -> None:
    good = span("good", 0, 1, origin=OTHER)
    bad = replace(good, raw=b"\x0a\x0f" + good.raw[2:17] + good.raw[18:])
    raw = request(bad, lookup(0, MS).span)
    with Backend() as backend, serving(backend.address) as running:
        for headers, decode in (
            (PROTOBUF, ExportTraceServiceResponse.FromString),
            (JSON, lambda text: json_format.Parse(text, ExportTraceServiceResponse())),
        ):
            body = raw if headers is PROTOBUF else as_json(raw)
            asked = urllib.request.Request(running.http + "/v1/traces", body, headers)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                assert answer.headers["content-type"] == headers["Content-Type"]
                assert decode(answer.read()).partial_success.rejected_spans == 1
        balanced(running)


def test_a_deep_nest_of_json_is_refused() -> None:
    with pytest.raises(MalformedError):
        otlp_json.traces(b'{"resourceSpans":' + b"[" * 900 + b"]" * 900 + b"}")


# -- TLS and tokens ----------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key")
    (tmp_path / "cert").write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(tmp_path / "ca")
    client = authority.issue_cert("client")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client")
    return {name: str(tmp_path / name) for name in ("key", "cert", "ca", "client")}


def test_tls_on_both_listeners_lets_known_clients_in(files: dict[str, str]) -> None:
    tls = {"certificate": files["cert"], "key": files["key"], "client_ca": files["ca"]}
    options = {"receivers__otlp__tls": tls, "receivers__http__tls": tls}
    raw = request(span("a", 0, 1, origin=OTHER))
    client = Path(files["client"]).read_bytes()
    with Backend() as backend, serving(backend.address, **options) as running:
        port = running.otlp.rpartition(":")[2]
        for known in (client, None):
            credentials = grpc.ssl_channel_credentials(Path(files["ca"]).read_bytes(), known, known)
            with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
                export = channel.unary_unary(EXPORT)
                if known:
                    export(raw, timeout=60)
                else:
                    with pytest.raises(grpc.RpcError):
                        export(raw, timeout=60)
        context = ssl.create_default_context(cafile=files["ca"])
        url = running.http.replace("http://127.0.0.1", "https://localhost") + "/healthz"
        with pytest.raises(OSError):  # noqa: PT011 - ssl's or the connection's, as the race goes
            urllib.request.urlopen(url, context=context, timeout=60)
        context.load_cert_chain(files["client"])
        with urllib.request.urlopen(url, context=context, timeout=60) as answer:
            assert answer.status == 200
        eventually(lambda: backend.names == ["a"], "one span only")


def test_a_token_is_asked_for_on_both_listeners(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    token = str(tmp_path / "token")
    options = {"receivers__otlp__token_file": token, "receivers__http__token_file": token}
    raw = request(span("a", 0, 1, origin=OTHER))
    with Backend() as backend, serving(backend.address, **options) as running:
        with grpc.insecure_channel(running.otlp) as channel:
            export = channel.unary_unary(EXPORT)
            for shown in ("", "Bearer wrong", "s3cret", "Bearer "):
                with pytest.raises(grpc.RpcError) as raised:
                    export(raw, timeout=60, metadata=(("authorization", shown),))
                assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
            export(raw, timeout=60, metadata=(("authorization", "bearer s3cret"),))
        zipkin = zipkin_body(zipkin_span())
        assert post(running.http + "/api/v2/spans", zipkin) == 401
        assert post(running.http + "/v1/traces", raw, PROTOBUF) == 401
        assert get(running.http + "/metrics")[0] == 401
        assert get(running.http + "/healthz")[0] == 200
        right = {"Authorization": "Bearer s3cret"}
        assert post(running.http + "/api/v2/spans", zipkin, right) == 202
        (tmp_path / "token").write_text("other")
        changed = {"Authorization": "Bearer other"}
        eventually(
            lambda: post(running.http + "/api/v2/spans", b"[]", changed) == 202, "the new token"
        )
        eventually(lambda: backend.names == ["a", "servedns"], "what was let in")
        balanced(running)


# -- health, limits, memory --------------------------------------------------------------------


def test_grpc_health() -> None:
    with (
        Backend() as backend,
        serving(backend.address) as running,
        grpc.insecure_channel(running.otlp) as channel,
    ):
        assert channel.unary_unary(HEALTH)(b"", timeout=60) == b"\x08\x01"


def test_a_gzip_bomb_over_grpc_is_refused() -> None:
    big = request(span("x" * 3_000_000, 0, 1, origin=OTHER))
    with (
        Backend() as backend,
        serving(backend.address, receivers__otlp__max_request="1MiB") as running,
    ):
        with grpc.insecure_channel(running.otlp, compression=grpc.Compression.Gzip) as channel:
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(EXPORT)(big, timeout=60)
            assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        running.counted("requests_cut_off", 1)
        forward(running.otlp, request(span("a", 0, 1, origin=OTHER)))
        eventually(lambda: backend.names == ["a"], "the next one")


def refusal(address: str, raw: bytes) -> grpc.RpcError | None:
    try:
        forward(address, raw)
    except grpc.RpcError as error:
        return error
    return None


def test_near_the_memory_limit_senders_are_told_to_come_again() -> None:
    # The process alone is over this limit; while nothing is held, refusing more is of no use.
    raw = request(lookup(0, MS).span)
    with Backend() as backend, serving(
        backend.address, memory_limit="20MiB", settle_s=3.0
    ) as running:  # fmt: skip
        forward(running.otlp, raw)
        eventually(lambda: running.service.gauges()["waiting_lookups"], "a held lookup")
        error = eventually(lambda: refusal(running.otlp, raw), "a refusal")
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert b"google.rpc.RetryInfo" in dict(error.trailing_metadata())["grpc-status-details-bin"]
        assert post(running.http + "/v1/traces", raw, PROTOBUF) == 503
        eventually(lambda: not running.service.gauges()["waiting_lookups"], "the lookup out")
        eventually(lambda: post(running.http + "/v1/traces", raw, PROTOBUF) == 200, "room again")
        balanced(running)


@pytest.mark.parametrize(
    ("path", "body", "answers", "count"),
    [("/v1/traces", b"{}", [b"200", b"503", b"503"], "requests_turned_away"),
     ("/api/v2/spans", b"[]", [b"202", b"202", b"202"], "zipkin_requests_cut_off")],
)  # fmt: skip
def test_what_is_not_whole_yet_cannot_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch, path: str, body: bytes, answers: list[bytes], count: str
) -> None:
    used = [0]
    monkeypatch.setattr(memory, "resident", lambda: used[0])
    begun = (
        f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\n\r\n"
    ).encode() + body[:1]
    with Backend() as backend, serving(backend.address, memory_limit="1GiB") as running:
        opened = [connect(running.http) for _ in range(3)]
        for one in opened:
            one.sendall(begun)
        eventually(lambda: len(running.service._http._turns._reading) == 3, "three are read")
        used[0] = 1 << 30
        running.counted(count, 2)
        used[0] = 0
        answered = []
        for one in opened:
            one.sendall(body[1:])
            answered.append(one.recv(12)[-3:])
            one.close()
        assert sorted(answered) == answers


def test_what_is_not_whole_yet_cannot_fill_the_memory_over_grpc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = [0]
    monkeypatch.setattr(memory, "resident", lambda: used[0])
    go_on = threading.Event()

    def requests() -> Iterator[bytes]:
        go_on.wait(60)
        yield b""

    with (
        Backend() as backend,
        serving(backend.address, memory_limit="1GiB") as running,
        grpc.insecure_channel(running.otlp) as channel,
    ):
        calls = [channel.stream_unary(EXPORT).future(requests()) for _ in range(3)]
        eventually(lambda: len(running.service._otlp._turns._reading) == 3, "three are read")
        used[0] = 1 << 30
        running.counted("requests_turned_away", 2)
        used[0] = 0
        go_on.set()
        errors = [error for call in calls if (error := call.exception(60)) is not None]
        assert [error.code() for error in errors] == [grpc.StatusCode.UNAVAILABLE] * 2
        assert all(b"RetryInfo" in error.trailing_metadata()[0].value for error in errors)


def test_everything_held_fits_the_limit_together(caplog: pytest.LogCaptureFixture) -> None:
    itself = 60 << 20
    settings = limited(configuration.load(options=[("memory_limit", "256MiB")]), itself)
    assert not caplog.messages
    held = (
        settings.join.max_bytes
        + settings.receivers.max_waiting
        + sum(output.queue for output in settings.outputs)
    )
    assert itself + held <= 0.75 * (256 << 20)
    limited(configuration.load(options=[("memory_limit", "100MiB")]), itself)
    (said,) = caplog.messages
    assert "give it 123 MiB at least" in said
    limited(configuration.load(options=[("memory_limit", "123MiB")]), itself)
    assert caplog.messages == [said]
    assert MemoryGuard(None, lambda: False).full() is False
    assert MemoryGuard(1, lambda: False).full() is True
    assert MemoryGuard(1, lambda: True).full() is False
