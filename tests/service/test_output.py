"""A backend that is away, dies, refuses or hangs; and a processor that ends nevertheless."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_dns.service.receivers import http_receiver
from otel_dns.wire import otlp
from tests.service.support import (
    Backend,
    balanced,
    get,
    post,
    refuses,
    serving,
    takes,
    zipkin_body,
    zipkin_span,
)
from tests.support.otlp import forward
from tests.support.processes import answers, free_addresses
from tests.support.spans import MS, lookup, servedns, span
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")
NOBODY = "127.0.0.1:1"


def request(*names: str) -> bytes:
    """A request of spans that are not ours."""
    return otlp.build((OTHER, span(name, 0, 1).raw) for name in names)


@contextmanager
def hanging(backend: Backend) -> Iterator[None]:
    """Within, the backend answers nothing."""
    over = threading.Event()

    def hang(_request: bytes, context: grpc.ServicerContext) -> bytes:
        over.wait(250)
        return b""

    backend.behave = hang
    try:
        yield
    finally:
        backend.behave = takes
        over.set()


def test_an_output_that_comes_up_later_gets_everything() -> None:
    (address,) = free_addresses(1)
    with serving(address) as running:
        forward(running.otlp, request("early"))
        forward(running.otlp, otlp.build([(OTHER, span("a", 0, 1).raw)]))
        eventually(lambda: running.count("send_failures") > 1, "failures")
        gauges = running.service.gauges
        eventually(lambda: gauges()["output_down_seconds"] > 0, "it is seen to be down")
        with Backend(int(address.rpartition(":")[2])) as backend:
            eventually(lambda: backend.names == ["a", "early"], "both spans")
            eventually(lambda: running.count("spans_sent") == 2, "both counted")
            eventually(lambda: not gauges()["output_down_seconds"], "it is back")


def test_an_output_that_dies_in_the_middle_gets_the_rest_when_it_is_back() -> None:
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, request("before"))
        eventually(lambda: backend.names == ["before"], "the first span")
        port = backend.port
        backend.__exit__()
        forward(running.otlp, request("after"))
        eventually(lambda: running.count("send_failures"), "a failure")
        with Backend(port) as back:
            eventually(lambda: back.names == ["after"], "the second span")


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # bare: the request is too large, and stays so
    ],
)
def test_what_is_refused_for_good_is_dropped_counted_and_holds_up_nothing(code) -> None:
    with Backend(behave=refuses(code, b"bad")) as backend, serving(backend.address) as running:
        forward(running.otlp, request("bad", "bad too"))
        forward(running.otlp, request("good"))

        eventually(lambda: backend.names == ["good"], "the good span")

        running.counted(f"spans_refused_{code.name.lower()}", 2)
        assert "otel_dns_spans_lost_total 2.0" in get(f"{running.http}/metrics")[1]
        assert running.count("send_failures") == 0


def busy(code: grpc.StatusCode, times: int, details: bytes = b""):
    """The behaviour of a backend that is too busy so many times."""
    left = [times]

    def behave(_request: bytes, context: grpc.ServicerContext) -> bytes:
        if left[0]:
            left[0] -= 1
            if details:
                context.set_trailing_metadata((("grpc-status-details-bin", details),))
            context.abort(code, "later")
        return b""

    return behave


RETRY_INFO = Any(type_url="type.googleapis.com/google.rpc.RetryInfo").SerializeToString()
RETRY_INFO = b"\x08\x08\x1a%c%b" % (len(RETRY_INFO), RETRY_INFO)  # google.rpc.Status with it


@pytest.mark.parametrize(
    ("code", "details"),
    [(grpc.StatusCode.UNAVAILABLE, b""), (grpc.StatusCode.RESOURCE_EXHAUSTED, RETRY_INFO)],
)
def test_an_output_that_is_busy_is_asked_again(code, details) -> None:
    with Backend(behave=busy(code, 2, details)) as backend, serving(backend.address) as running:
        forward(running.otlp, request("a"))

        eventually(lambda: backend.names == ["a"], "the span")

        assert running.count("send_failures") == 2


def test_what_an_output_rejects_of_a_request_is_counted() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    behave = lambda raw, context: answer.SerializeToString()  # noqa: E731
    with Backend(behave=behave) as backend, serving(backend.address) as running:
        forward(running.otlp, request("a", "b", "c"))

        eventually(lambda: running.count("spans_refused_partially") == 2, "the count")

        running.counted("spans_sent", 1)


def fill(address: str, raw: bytes) -> int:
    """Send until the processor turns a request away; how many it took."""
    return next(taken for taken in range(50) if turned_away(address, raw))


def turned_away(address: str, raw: bytes) -> bool:
    try:
        forward(address, raw)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return True
    return False


def test_a_full_queue_turns_away_and_takes_again_when_there_is_room() -> None:
    raw = request("a" * 5000)
    with Backend() as backend, serving(backend.address, outputs__0__queue=20_000) as running:
        with hanging(backend):
            taken = fill(running.otlp, raw)
            assert taken >= 3
            assert running.count("requests_turned_away") == 1
        eventually(lambda: len(backend.spans) == taken, "what was taken")
        forward(running.otlp, raw)
        eventually(lambda: len(backend.spans) == taken + 1, "the next one")


def test_a_full_pipeline_turns_away_and_takes_again_when_there_is_room() -> None:
    asked = lookup(0, MS).span
    raw = otlp.build([(asked.origin, asked.raw), (OTHER, span("a", 0, 1).raw)])
    with (
        Backend() as backend,
        serving(backend.address, outputs__0__queue=1, receivers__max_waiting=1) as running,
    ):
        with hanging(backend):
            taken = fill(running.otlp, raw)
            assert running.count("requests_turned_away") == 1
        eventually(lambda: backend.names.count("a") == taken, "what was taken")
        forward(running.otlp, raw)
        eventually(lambda: backend.names.count("a") == taken + 1, "the next one")
        running.counted("duplicate", taken)


def test_while_all_is_full_a_zipkin_sender_is_held_and_never_refused(monkeypatch) -> None:
    asked = lookup(0, MS).span
    raw = otlp.build([(asked.origin, asked.raw), (OTHER, span("a", 0, 1).raw)])
    queues = {"outputs__0__queue": 1, "receivers__max_waiting": 1}
    with (
        ThreadPoolExecutor(1) as pool,
        Backend() as backend,
        serving(backend.address, **queues) as running,
    ):
        url = f"{running.http}/api/v2/spans"
        with hanging(backend):
            fill(running.otlp, raw)
            monkeypatch.setattr(http_receiver, "_HOLD_S", 0.2)
            assert post(url, zipkin_body(zipkin_span(1), zipkin_span(2))) == 202
            assert running.count("zipkin_spans_dropped_full") == 2
            monkeypatch.setattr(http_receiver, "_HOLD_S", 250)
            held = pool.submit(post, url, zipkin_body(zipkin_span(3)), timeout=300)
            eventually(lambda: running.service.gauges()["http_connections"], "it has come")
        assert held.result(300) == 202
        assert running.count("zipkin_spans_dropped_full") == 2
        running.counted("zipkin_server_spans", 1)
        running.counted("server_spans_unmatched", 1)
        eventually(lambda: not running.service.gauges()["requests_open"], "nothing held")
        balanced(running)


@pytest.mark.parametrize("output", ["dead", "hanging"])
def test_the_end_comes_in_time_whatever_the_output_does(output: str) -> None:
    with Backend() as backend, hanging(backend):
        address = backend.address if output == "hanging" else NOBODY
        with serving(address, settle_s=3600, outputs__0__queue=1000, shutdown=1.0) as running:
            forward(running.otlp, request("a"))
            for _ in range(20):
                asked = lookup(0, MS).span
                large = asked.raw + otlp.string_attribute("x", "x" * 500_000)
                forward(running.otlp, otlp.build([(asked.origin, large)]))
            ended = threading.Thread(target=running.stop)
            ended.start()
            ended.join(120)

            assert not ended.is_alive()
            counts = running.service.counts()
            assert counts["spans_given_up"] == 21
            assert counts["spans_sent"] == 0


def test_what_is_held_at_the_end_is_joined_and_sent() -> None:
    asked, root = lookup(0, 10 * MS).span, servedns(MS, 2 * MS)
    with Backend() as backend:
        with serving(backend.address, settle_s=3600) as running:
            forward(running.otlp, otlp.build([(asked.origin, asked.raw), (root.origin, root.raw)]))
        assert {one.trace_id for one in backend.spans} == {asked.trace_id}
        assert len(backend.spans) == 2


# -- the real program --------------------------------------------------------------------------


@contextmanager
def program(log: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """`otel-dns serve` as a process of its own."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_dns", "serve", "--no-history", *arguments],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_with_what_it_held_sent(tmp_path: Path, number: int) -> None:
    otlp_address, http_address = free_addresses(2)
    log = tmp_path / "serve.log"
    with (
        Backend() as backend,
        program(log, "--otlp-listen", otlp_address, "--http-listen", http_address,
                "--output", backend.address, "--settle", "3600", "--server-trace-wait", "3600",
                "--export", "all",
        ) as process,
    ):  # fmt: skip
        eventually(lambda: answers(f"http://{http_address}/readyz"), "ready")
        asked = lookup(0, 10 * MS).span
        forward(otlp_address, otlp.build([(asked.origin, asked.raw)]))
        assert post(f"http://{http_address}/api/v2/spans", zipkin_body(zipkin_span())) == 202

        process.send_signal(number)

        assert process.wait(120) == 0, log.read_text()
        assert backend.names == ["dns.lookup", "servedns"]
        assert "lookups_joined 1" in log.read_text()
        assert "Traceback" not in log.read_text()


def test_a_signal_ends_the_program_even_with_a_dead_output(tmp_path: Path) -> None:
    otlp_address, http_address = free_addresses(2)
    log = tmp_path / "serve.log"
    with program(log, "--otlp-listen", otlp_address, "--http-listen", http_address,
                 "--output", NOBODY, "--settle", "3600",
                 OTEL_DNS__SHUTDOWN="2s") as process:  # fmt: skip
        eventually(lambda: answers(f"http://{http_address}/readyz"), "ready")
        asked = lookup(0, 10 * MS).span
        forward(otlp_address, otlp.build([(asked.origin, asked.raw)]))

        process.terminate()

        assert process.wait(120) == 0, log.read_text()
        assert "spans_given_up 1" in log.read_text()
        assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("option", ["--otlp-listen", "--http-listen"])
def test_an_address_in_use_ends_the_program_with_a_clear_message(tmp_path, option: str) -> None:
    with Backend() as backend, serving(backend.address) as other:
        free = dict(zip(["--otlp-listen", "--http-listen"], free_addresses(2), strict=True))
        taken = {"--otlp-listen": other.otlp, "--http-listen": other.http.removeprefix("http://")}
        arguments = {**free, option: taken[option]}
        log = tmp_path / "serve.log"
        with program(log, *(part for pair in arguments.items() for part in pair)) as process:
            assert process.wait(120) == 1
        assert f"cannot listen on {taken[option]}" in log.read_text()
        assert "Traceback" not in log.read_text()
