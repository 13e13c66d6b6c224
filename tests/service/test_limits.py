"""Limits of connections: what exceeds them is cut off and counted, and all others are served."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from otel_dns.service.receivers import turns
from otel_dns.service.receivers.otlp_receiver import HEALTH
from otel_dns.wire import otlp
from tests.service.support import Backend, Running, get, post, serving
from tests.support.otlp import EXPORT, forward
from tests.support.spans import span
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")
ONE = span("a", 0, 1, origin=OTHER)
REQUEST = otlp.build([(ONE.origin, ONE.raw)])
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))


def connect(address: str, source: str = "") -> socket.socket:
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address.removeprefix("unix:"))
        return connection
    host, _, port = address.removeprefix("http://").rpartition(":")
    from_ = (source, 0) if source else None
    return socket.create_connection((host, int(port)), timeout=30, source_address=from_)


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed, after whatever it had to say."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def serves(running: Running, backend: Backend) -> None:
    """Others are served, over gRPC and HTTP."""
    before = len(backend.spans)
    forward(running.otlp, REQUEST)
    headers = {"Content-Type": "application/x-protobuf"}
    assert post(f"{running.http}/v1/traces", REQUEST, headers) == 200
    eventually(lambda: len(backend.spans) == before + 2, "both ways")


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


@pytest.mark.parametrize("which", ["connections", "connections_of_a_peer"])
def test_connections_that_are_too_many(backend: Backend, which: str) -> None:
    limits = {f"receivers__limits__{which}": 3}
    with serving(backend.address, receivers__dnstap__listen=["127.0.0.1:0"], **limits) as running:
        service = running.service
        for address, count in (
            (running.otlp, "otlp_connections_turned_away"),
            (running.http, "http_connections_turned_away"),
            (service._dnstap.addresses[0], "dnstap_senders_turned_away"),
        ):
            opened = [connect(address) for _ in range(7)]
            eventually(lambda: running.count(count) == 4, f"four of seven away: {count}")  # noqa: B023
            for one in opened:
                one.close()
        eventually(
            lambda: not any(service.gauges()[f"{one}_connections"] for one in ("otlp", "http")),
            "nobody connected",
        )
        serves(running, backend)


def test_connections_to_unix_sockets_that_are_too_many(backend: Backend, tmp_path: Path) -> None:
    otlp_socket, dnstap_socket = f"unix:{tmp_path}/otlp", f"unix:{tmp_path}/dnstap"
    listen = {
        "receivers__otlp__listen": otlp_socket,
        "receivers__dnstap__listen": [dnstap_socket],
    }
    with serving(
        backend.address, receivers__limits__connections_of_a_peer=3, **listen
    ) as running:  # fmt: skip
        for address, count in (
            (otlp_socket, "otlp_connections_turned_away"),
            (dnstap_socket, "dnstap_senders_turned_away"),
        ):
            opened = [connect(address) for _ in range(7)]
            eventually(lambda: running.count(count) == 4, f"four of seven away: {count}")  # noqa: B023
            for one in opened:
                one.close()
        eventually(lambda: not running.service.gauges()["otlp_connections"], "nobody connected")
        serves(running, backend)


def test_requests_over_grpc_that_never_come_hold_up_nobody_for_long(backend: Backend) -> None:
    with serving(backend.address, receivers__limits__read="2s") as running:
        held = threading.Event()

        def never() -> Iterator[bytes]:
            held.wait(60)
            yield from ()

        with grpc.insecure_channel(running.otlp) as channel:
            calls = [channel.stream_unary(EXPORT).future(never()) for _ in range(12)]
            # More than there are threads: those that tell of health have none to wait for.
            assert channel.unary_unary(HEALTH)(b"", timeout=30) == b"\x08\x01"
            codes = {call.exception(60).code() for call in calls}
            held.set()
        assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert running.count("requests_too_slow") == 12
        forward(running.otlp, REQUEST)
        eventually(lambda: backend.names == ["a"], "others are served")


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST /v1/traces HTTP/1.1\r\nHost: a\r\n", b""),
        (b"POST /api/v2/spans HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n[", b"HTTP/1.1 408 "),
    ],
    ids=["nothing", "half the headers", "half the body"],
)  # fmt: skip
def test_requests_over_http_that_never_come(backend: Backend, sent: bytes, answer: bytes) -> None:
    with (
        serving(backend.address, receivers__limits__read="2s") as running,
        connect(running.http) as slow,
    ):
        slow.sendall(sent)
        began = slow.recv(len(answer)) if answer else b""
        assert began == answer
        assert ended(slow)
        assert running.count("http_requests_too_slow") == 1


def test_who_sends_slowly_gives_way_to_others(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_SLOW_S", 0.1)
    with (
        serving(backend.address, receivers__limits__read="90s") as running,
        contextlib.ExitStack() as stack,
    ):
        reading = running.service._http._turns._reading
        sent = []
        for source in ("127.0.0.2", "127.0.0.3"):
            for _ in range(6):
                slow = stack.enter_context(connect(running.http, source))
                slow.sendall(
                    b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
                    b"Content-Type: application/x-protobuf\r\n\r\n%b" % (len(REQUEST), REQUEST[:-1])
                )
                sent.append(slow)
        eventually(lambda: len(reading) == 12, "all turns are taken")
        headers = {"Content-Type": "application/x-protobuf"}
        assert post(f"{running.http}/v1/traces", REQUEST, headers) == 200
        assert len(reading) == 11
        assert running.count("requests_turned_away") == 1
        for slow in sent:
            with contextlib.suppress(OSError):  # the one that gave way may be closed
                slow.sendall(REQUEST[-1:])
        answers = sorted(slow.recv(100)[9:12] for slow in sent)
        assert answers == [b"200"] * 11 + [b"503"]
        eventually(lambda: len(backend.spans) == 12, "the others, whenever they end")


def test_a_body_that_trickles_is_too_slow_however_many_bytes_come(backend: Backend) -> None:
    with (
        serving(backend.address, receivers__limits__read="2s") as running,
        connect(running.http) as slow,
    ):
        slow.sendall(b"POST /v1/traces HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
                     b"Content-Type: application/x-protobuf\r\n\r\n")  # fmt: skip

        def trickled() -> bool:
            if not running.count("http_requests_too_slow"):
                slow.sendall(b"\0")
                return False
            return True

        eventually(trickled, "it is cut off")
        assert ended(slow)


def test_headers_that_are_too_large(backend: Backend) -> None:
    with serving(backend.address, receivers__limits__headers="4KiB") as running:
        with connect(running.http) as large:
            large.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 5000)
            assert large.recv(13) == b"HTTP/1.1 400 "
        assert running.count("http_requests_malformed") == 1
        with (
            grpc.insecure_channel(running.otlp) as channel,
            pytest.raises(grpc.RpcError) as refused,
        ):
            channel.unary_unary(EXPORT)(REQUEST, metadata=[("x", "x" * 5000)], timeout=30)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        serves(running, backend)


def test_idle_connections_are_closed(backend: Backend) -> None:
    with serving(backend.address, receivers__limits__idle="1s") as running:
        with connect(running.http) as idle, connect(running.otlp) as other:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            other.sendall(PREFACE)
            assert ended(idle)
            assert ended(other)
        serves(running, backend)


def test_a_sender_is_told_how_many_requests_it_may_have_under_way(backend: Backend) -> None:
    with (
        serving(backend.address, receivers__limits__streams=5) as running,
        connect(running.otlp) as sender,
    ):
        sender.sendall(PREFACE)
        head = sender.recv(9, socket.MSG_WAITALL)
        size, kind = int.from_bytes(head[:3]), head[3]
        assert kind == 4
        told = dict(struct.iter_unpack(">HI", sender.recv(size, socket.MSG_WAITALL)))
        assert told[3] == 5


def test_what_is_no_http_is_counted_and_not_logged(backend: Backend, caplog) -> None:
    with serving(backend.address) as running:
        for _ in range(20):
            with connect(running.http) as odd:
                odd.sendall(b"\x16\x03\x01\x02\0\r\n\r\n")
                assert ended(odd)
        assert running.count("http_requests_malformed") == 20
        assert get(f"{running.http}/healthz")[0] == 200
    assert not caplog.records
