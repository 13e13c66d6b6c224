"""What telemetry sources send is written down unchanged; and the default Corefiles send it."""

import json
import re
import sys

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from otel_dns.lab import Lab, delimited
from otel_dns.wire import frame_streams
from otel_dns.wire.frame_streams import Control, ControlType
from tests.support.programs import require

SERVICE = "/opentelemetry.proto.collector.{0}.v1.{1}Service/Export"


def request(count: int) -> bytes:
    spans = [Span(name=f"{number:0120}") for number in range(count)]
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])]
    ).SerializeToString()


def test_otlp_is_kept_to_the_byte(lab: Lab) -> None:
    capture = lab.capture(zipkin_port=None, dnstap_port=None)
    _, port = lab.publish(4317)
    assert (capture.zipkin_url, capture.dnstap) == ("", "")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        traces = channel.unary_unary(SERVICE.format("trace", "Trace"))
        metrics = channel.unary_unary(SERVICE.format("metrics", "Metrics"))
        for raw in (request(2), b"", request(50_000)):
            # The last is larger than the 4 MiB that gRPC takes unless told otherwise.
            assert traces(raw, timeout=60, compression=grpc.Compression.Gzip) == b""
        metrics(ExportMetricsServiceRequest().SerializeToString(), timeout=60)
    messages = delimited.decode(capture.traces.read_bytes())
    assert messages == [request(2), b"", request(50_000)]
    assert len(capture.wait_for_spans(50_002)) == 50_002
    assert len(capture.metric_requests()) == 1


def test_zipkin_and_dnstap_from_coredns(any_lab: Lab) -> None:
    capture = any_lab.capture()
    any_lab.upstream_dns()
    cluster = any_lab.cluster_dns(dnstap=capture.dnstap)
    pod = any_lab.pod("shop-1", namespace="shop")
    pod.run(["getent", "ahosts", "www.example.org"], check=True)

    roots = 8
    capture.wait_until(
        lambda: sum(span["name"] == "servedns" for span in capture.zipkin_spans()) == roots,
        "eight servedns spans",
    )
    spans = capture.zipkin_spans()
    assert {span["localEndpoint"]["serviceName"] for span in spans} == {"coredns"}
    names = {span["name"] for span in spans}
    assert {"servedns", "cache", "file", "forward", "connect"} <= names
    assert {span["tags"]["coredns.io/remote"] for span in spans if span["name"] == "servedns"} == {
        pod.address
    }

    # A query and an answer for each, and for two of them the same to the upstream and back.
    messages = capture.wait_for_dnstap(2 * 8 + 2 * 2)
    traces = {span["traceId"] for span in spans}
    extra = [re.search(rb"([0-9a-f]{16}) (\d+) (\d+)", message) for message in messages]
    assert {match[1].decode() for match in extra if match} == traces

    # The log line tells the same trace id.
    logged = re.findall(r"s ([0-9a-f]{16})$", cluster.log.read_text(), re.MULTILINE)
    assert set(logged) == traces

    capture.process.stop()
    frames = frame_streams.decode(capture.dnstap_file.read_bytes())
    assert frames[0] == Control(ControlType.START, (frame_streams.DNSTAP_CONTENT_TYPE,))
    assert frames[-1] == Control(ControlType.STOP)
    assert len(frames) == len(messages) + 2


def test_any_zipkin_body_is_one_line(lab: Lab) -> None:
    capture = lab.capture(otlp_port=None, dnstap_port=None)
    body = json.dumps([{"name": "a\nb"}, {"name": "c"}], indent=1).encode()
    for _ in range(2):
        assert lab.http_request("POST", capture.zipkin_url, body=body)[0] == 202
    assert len(capture.zipkin.read_bytes().splitlines()) == 2
    assert [span["name"] for span in capture.zipkin_spans()] == ["a\nb", "c"] * 2


def test_rubbish_does_not_end_it(lab: Lab) -> None:
    capture = lab.capture()
    with lab.connect("10.244.0.1", 6000) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(10) == b""
    assert "dnstap from" in capture.process.output()
    with lab.connect("10.244.0.1", 6000) as connection:
        connection.sendall(frame_streams.encode_control(Control(ControlType.READY)))
        assert connection.recv(100) == frame_streams.encode_control(
            Control(ControlType.ACCEPT, (frame_streams.DNSTAP_CONTENT_TYPE,))
        )


def test_taken_port_is_told(lab: Lab) -> None:
    lab.capture("one")
    with pytest.raises(Exception, match=r"(?s)two ended with exit code 1 .*10.244.0.1:4317"):
        lab.capture("two")


def test_delays_are_where_they_were_put(lab: Lab) -> None:
    require("coredns")
    capture = lab.capture()
    lab.upstream_dns(delay="50ms")
    lab.cluster_dns(delays={"slow.cluster.local": "50ms"})
    pod = lab.pod("shop-1", namespace="shop")
    ask = "import socket, sys\nfor n in sys.argv[1:]: socket.getaddrinfo(n, 80, socket.AF_INET)"
    inside = [f"n{number}.slow.cluster.local." for number in range(5)]
    outside = [f"n{number}.slow.example." for number in range(5)]
    pod.run([sys.executable, "-c", ask, *inside, *outside], check=True)
    capture.wait_until(
        lambda: sum(span["name"] == "servedns" for span in capture.zipkin_spans()) == 10,
        "ten servedns spans",
    )
    for plugin in ("erratic", "connect"):
        taken = [span["duration"] for span in capture.zipkin_spans() if span["name"] == plugin]
        assert len(taken) == 5
        # The quietest of five, and less than twice: what the machine adds to a sleep is not ours.
        assert 50_000 <= min(taken) < 100_000


@given(st.lists(st.binary(max_size=400)), st.integers(0, 10))
@example([b"x" * 127, b"x" * 128, b"x" * 20_000], 1)
def test_delimited_messages_come_back(messages: list[bytes], cut: int) -> None:
    raw = b"".join(delimited.encode(each) for each in messages)
    assert delimited.decode(raw) == messages
    if cut and messages and len(delimited.encode(messages[-1])) > cut:
        assert delimited.decode(raw[:-cut]) == messages[:-1]
