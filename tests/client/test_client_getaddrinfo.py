import asyncio
import inspect
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

import otel_dns
import otel_dns.client
from otel_dns import semconv
from otel_dns.client.details import Resolver
from otel_dns.client.getaddrinfo import GetaddrinfoInstrumentor, is_numeric, reading
from otel_dns.client.stub import SourceAddresses, Stub
from otel_dns.resolv_conf import Reader
from tests.client.support import Telemetry, instrumented

BARE = socket.getaddrinfo
MISSING = "no such host"
"""No name of a host, so the C library refuses it without asking anybody, or waiting for it."""


def test_a_lookup_makes_one_span(recorded: Telemetry) -> None:
    socket.getaddrinfo("localhost", 80, family=socket.AF_INET)

    span = recorded.span()
    assert span.name == semconv.LOOKUP_SPAN
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == semconv.CLIENT_SCOPE
    assert span.instrumentation_scope.version == otel_dns.__version__
    attributes = dict(span.attributes or {})
    resolver = Stub().current()
    # /etc/hosts has it, and so may others on this machine.
    assert "files" in attributes.pop(semconv.LOOKUP_BESIDES_DNS)
    assert attributes == {
        **resolver.attributes,
        semconv.DNS_QUESTION_NAME: "localhost",
        semconv.DNS_ANSWERS: ("127.0.0.1",),
        semconv.LOOKUP_API: "socket.getaddrinfo",
        semconv.LOOKUP_FAMILY: "inet",
    }
    assert not span.events


def test_a_failed_lookup(recorded: Telemetry) -> None:
    with pytest.raises(socket.gaierror) as raised:
        socket.getaddrinfo(MISSING, 80)

    span = recorded.span()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == str(raised.value)
    assert span.attributes is not None
    assert span.attributes[semconv.ERROR_TYPE] == "host_not_found"
    assert semconv.DNS_ANSWERS not in span.attributes
    assert not span.events, "the caller's own instrumentation records the exception"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EAI_NONAME", "host_not_found"),
        ("EAI_NODATA", "no_data"),
        ("EAI_AGAIN", "try_again"),
        ("EAI_FAIL", "no_recovery"),
        ("EAI_FAMILY", "address_family_not_supported"),
        ("EAI_SERVICE", "socket.gaierror"),
    ],
)
def test_error_types(name: str, expected: str) -> None:
    error = socket.gaierror(getattr(socket, name), "text")
    assert reading(Stub()).failed(error).error_type == expected
    assert reading(Stub()).failed(UnicodeError()).error_type == "UnicodeError"


def test_metric(recorded: Telemetry) -> None:
    socket.getaddrinfo("localhost", 80)
    socket.getaddrinfo("localhost", 80)
    with pytest.raises(socket.gaierror) as raised:
        socket.getaddrinfo(MISSING, 80)
    error_type = reading(Stub()).failed(raised.value).error_type

    points = recorded.points(semconv.DNS_LOOKUP_DURATION)
    assert {frozenset(point.attributes.items()): point.count for point in points} == {
        frozenset({(semconv.DNS_QUESTION_NAME, "localhost")}): 2,
        frozenset({(semconv.DNS_QUESTION_NAME, MISSING), (semconv.ERROR_TYPE, error_type)}): 1,
    }
    assert tuple(points[0].explicit_bounds) == semconv.DNS_LOOKUP_DURATION_BUCKETS
    # The same clock for both: span and metric tell one story.
    spans = recorded.spans()
    total = sum((span.end_time or 0) - (span.start_time or 0) for span in spans)
    assert sum(point.sum for point in points) == pytest.approx(total / 1e9)
    assert points[0].exemplars[0].span_id in {span.context.span_id for span in spans}


def test_create_connection_is_seen(recorded: Telemetry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not recorded.spans()
        socket.create_connection(("localhost", port)).close()
    assert (recorded.span().attributes or {})[semconv.DNS_QUESTION_NAME] == "localhost"


def test_what_resolves_below_python_is_not_seen(recorded: Telemetry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(("localhost", server.getsockname()[1]))
    assert not recorded.spans()


def test_a_function_imported_before_is_not_seen(recorded: Telemetry) -> None:
    assert BARE("localhost", 80)
    assert not recorded.spans()


def test_asyncio_is_seen(recorded: Telemetry) -> None:
    async def look_up() -> object:
        return await asyncio.get_running_loop().getaddrinfo("localhost", 80)

    assert asyncio.run(look_up()) == BARE("localhost", 80)
    assert (recorded.span().attributes or {})[semconv.DNS_QUESTION_NAME] == "localhost"


def test_span_is_the_callers_child(recorded: Telemetry) -> None:
    tracer = recorded.tracer_provider.get_tracer("app")
    with tracer.start_as_current_span("work") as work:
        socket.getaddrinfo("localhost", 80)
    lookup = recorded.spans()[0]
    assert lookup.parent is not None
    assert lookup.parent.span_id == work.get_span_context().span_id


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "fe80::1%1", "127.1", "0x7f000001", b"127.0.0.1", "0", None],
)
def test_no_span_where_nothing_is_looked_up(recorded: Telemetry, host: Any) -> None:
    assert socket.getaddrinfo(host, 80) == BARE(host, 80)
    assert not recorded.spans()
    assert not recorded.points(semconv.DNS_LOOKUP_DURATION)


def test_no_span_for_numeric_only_and_other_families(recorded: Telemetry) -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("localhost", 80, flags=socket.AI_NUMERICHOST)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("localhost", 80, family=socket.AF_UNIX)
    assert not recorded.spans()


@pytest.mark.parametrize(
    ("host", "numeric"),
    [
        ("10.0.0.1", True),
        ("1.2.3", True),
        ("::", True),
        ("::ffff:10.0.0.1", True),
        ("fe80::1%eth0", True),
        ("1.2.3.4 x", False),
        ("1.2.3.4.5", False),
        ("3com.com", False),
        ("1.example", False),
        ("a:b", False),
        ("\u0661.1.1.1", False),
        ("1\0", False),
        ("", False),
        ("web", False),
        (17, False),
    ],
)
def test_is_numeric(host: object, numeric: bool) -> None:
    assert is_numeric(host) is numeric


@pytest.mark.parametrize(
    ("host", "name"),
    [(b"localhost", "localhost"), ("LocalHost", "LocalHost"), (b"\xff.invalid", "\\xff.invalid")],
)
def test_name_as_asked(recorded: Telemetry, host: str | bytes, name: str) -> None:
    assert _result(socket.getaddrinfo, host, 80)[0] == _result(BARE, host, 80)[0]
    assert (recorded.span().attributes or {})[semconv.DNS_QUESTION_NAME] == name


def test_what_no_exporter_could_send_is_made_sendable(recorded: Telemetry) -> None:
    with pytest.raises(UnicodeError):
        socket.getaddrinfo("\ud800." + "x" * 5000, 80)
    name = (recorded.span().attributes or {})[semconv.DNS_QUESTION_NAME]
    assert isinstance(name, str)
    assert name.startswith("\\ud800.x")
    assert len(name.encode()) < 2000


def test_answers_are_bounded() -> None:
    result = [(2, 1, 6, "", (f"10.0.{n // 256}.{n % 256}", 80)) for n in range(300)]
    telemetry = Telemetry()
    stub = Stub()
    look_up = instrumented(lambda *_: result, telemetry, stub)
    assert look_up("many.example", 80) is result
    answers = (telemetry.span().attributes or {})[semconv.DNS_ANSWERS]
    assert answers == tuple(f"10.0.0.{n}" for n in range(32))
    telemetry.close()


# -- as if it were not there ------------------------------------------------------------------

CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("localhost", 80), {}),
    (("localhost", "http"), {"type": socket.SOCK_STREAM}),
    ((b"localhost", None), {"family": socket.AF_INET}),
    ((), {"host": "localhost", "port": 80, "proto": socket.IPPROTO_TCP}),
    (("127.0.0.1", 80, socket.AF_INET6), {}),
    (("localhost", "no-such-service"), {}),
    ((MISSING, 80), {}),
    (("a..b", 80), {}),
    (("\ud800", 80), {}),
    (("x" * 70, 80), {}),
    (("", 80), {}),
    (("local\0host", 80), {}),
    ((17, 80), {}),
    (("localhost", 1.5), {}),
    (("localhost", 80, "inet"), {}),
    (("localhost", 80, [1]), {}),
    (("localhost",), {}),
    ((), {}),
    (("localhost", 80), {"socktype": 1}),
]


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_same_values_and_exceptions(
    recorded: Telemetry, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    bare, bare_error = _result(BARE, *args, **kwargs)
    ours, our_error = _result(socket.getaddrinfo, *args, **kwargs)
    assert ours == bare
    assert type(our_error) is type(bare_error)
    if bare_error is not None and our_error is not None:
        assert our_error.args == bare_error.args
        assert repr(our_error.__context__) == repr(bare_error.__context__)
        assert repr(our_error.__cause__) == repr(bare_error.__cause__)
        ours_last = traceback.extract_tb(our_error.__traceback__)[-1]
        bare_last = traceback.extract_tb(bare_error.__traceback__)[-1]
        if __file__ != bare_last.filename:
            assert (ours_last.filename, ours_last.lineno) == (
                bare_last.filename,
                bare_last.lineno,
            )
        else:
            # Called with the wrong number of arguments: Python blames the line of the call.
            assert isinstance(bare_error, TypeError)
    assert not recorded.points(semconv.CLIENT_FAILURES)


def _result(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, BaseException | None]:
    try:
        return function(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return None, error


def test_looks_the_same(recorded: Telemetry) -> None:
    assert socket.getaddrinfo is not BARE
    assert inspect.signature(socket.getaddrinfo) == inspect.signature(BARE)
    assert socket.getaddrinfo.__doc__ == BARE.__doc__
    assert socket.getaddrinfo.__name__ == BARE.__name__
    assert socket.getaddrinfo.__module__ == BARE.__module__
    assert pickle.loads(pickle.dumps(socket.getaddrinfo)) is socket.getaddrinfo


def test_uninstrument_restores(recorded: Telemetry) -> None:
    kept = socket.getaddrinfo
    otel_dns.client.uninstrument()
    assert socket.getaddrinfo is BARE
    kept("localhost", 80)
    assert not recorded.spans()
    otel_dns.client.uninstrument()
    otel_dns.client.instrument(**recorded.options)
    otel_dns.client.instrument(**recorded.options)
    socket.getaddrinfo("localhost", 80)
    assert recorded.span()


def test_uninstrument_under_another_wrapper(
    recorded: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = socket.getaddrinfo
    calls: list[str] = []

    def on_top(host: str, port: int) -> Any:
        calls.append(host)
        return ours(host, port)

    monkeypatch.setattr(socket, "getaddrinfo", on_top)
    GetaddrinfoInstrumentor().uninstrument()
    assert socket.getaddrinfo is on_top
    assert socket.getaddrinfo("localhost", 80) == BARE("localhost", 80)
    assert not recorded.spans()
    monkeypatch.undo()
    socket.getaddrinfo = BARE
    assert calls == ["localhost"]


def test_no_reference_is_kept_to_an_exception(recorded: Telemetry) -> None:
    with pytest.raises(socket.gaierror) as raised:
        socket.getaddrinfo(MISSING, 80)
    tb = raised.tb.tb_next
    assert tb is not None
    frame_locals = tb.tb_frame.f_locals
    assert raised.value not in list(frame_locals.values())
    assert sys.exception() is None


def test_threads(recorded: Telemetry) -> None:
    threads = [
        threading.Thread(target=lambda: [socket.getaddrinfo("localhost", 80) for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorded.spans()) == 400
    assert recorded.points(semconv.DNS_LOOKUP_DURATION)[0].count == 400


def test_configuration_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 127.0.0.1\nsearch shop.svc.cluster.local\noptions ndots:5\n")
    now = 0.0
    clock = lambda: now  # noqa: E731
    stub = Stub(Reader(path, clock=clock), SourceAddresses(clock), libc="musl", clock=clock)
    first = stub.current()
    here = "127.0.0.1"
    assert first == Resolver(
        "musl",
        (here,),
        ("shop.svc.cluster.local",),
        5,
        here,
        client_addresses=(here,),
        sources=first.sources,
    )
    assert stub.current() is first
    path.write_text("nameserver 127.0.0.2\n")
    now = 2.0
    assert stub.current().nameservers == ("127.0.0.2",)
