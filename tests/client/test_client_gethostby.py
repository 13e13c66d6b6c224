import inspect
import pickle
import socket
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

import otel_dns.client
from otel_dns import semconv
from otel_dns.client.errors import socket_error
from tests.client.support import Telemetry

NAMES = ("gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo", "getfqdn")
BARE: dict[str, Callable[..., Any]] = {name: getattr(socket, name) for name in NAMES}
MISSING = "no such host"
NUMERIC = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


def attributes(telemetry: Telemetry) -> dict[str, Any]:
    return dict(telemetry.span().attributes or {})


@pytest.mark.parametrize(
    ("function", "host", "answers"),
    [
        ("gethostbyname", "localhost", ("127.0.0.1",)),
        ("gethostbyname", b"localhost", ("127.0.0.1",)),
        ("gethostbyname_ex", "localhost", ("127.0.0.1",)),
    ],
)
def test_forward(recorded: Telemetry, function: str, host: Any, answers: tuple[str, ...]) -> None:
    assert getattr(socket, function)(host) == BARE[function](host)
    found = attributes(recorded)
    assert found[semconv.DNS_QUESTION_NAME] == "localhost"
    assert found[semconv.LOOKUP_API] == f"socket.{function}"
    assert found[semconv.LOOKUP_FAMILY] == "inet"
    assert found[semconv.DNS_ANSWERS] == answers
    assert semconv.RESOLVER_NAMESERVERS in found
    assert semconv.DNS_QUESTION_TYPE not in found
    assert recorded.points(semconv.DNS_LOOKUP_DURATION)[0].count == 1


@pytest.mark.parametrize(
    ("function", "args", "asked", "api"),
    [
        ("gethostbyaddr", ("127.0.0.1",), "127.0.0.1", "gethostbyaddr"),
        ("getnameinfo", (("127.0.0.1", 80), 0), "127.0.0.1", "getnameinfo"),
        (
            "getnameinfo",
            (("127.0.0.1", 80), socket.NI_NUMERICSERV),
            "127.0.0.1",
            "getnameinfo",
        ),
        ("getfqdn", ("127.0.0.1",), "127.0.0.1", "gethostbyaddr"),
    ],
)
def test_backward(
    recorded: Telemetry, function: str, args: tuple[Any, ...], asked: str, api: str
) -> None:
    assert getattr(socket, function)(*args) == BARE[function](*args)
    # The bare getfqdn looks gethostbyaddr up in its module, and so finds ours too.
    found = dict(recorded.spans()[0].attributes or {})
    assert len(recorded.spans()) == (2 if function == "getfqdn" else 1)
    assert found[semconv.DNS_QUESTION_NAME] == asked
    assert found[semconv.DNS_QUESTION_TYPE] == "PTR"
    assert found[semconv.LOOKUP_API] == f"socket.{api}"
    assert semconv.LOOKUP_FAMILY not in found
    assert found[semconv.DNS_ANSWERS][0] == BARE["gethostbyaddr"]("127.0.0.1")[0]


@pytest.mark.parametrize("function", ["gethostbyaddr", "getfqdn"])
def test_a_name_given_backwards_is_looked_up_forwards(recorded: Telemetry, function: str) -> None:
    getattr(socket, function)("localhost")
    found = attributes(recorded)
    assert found[semconv.DNS_QUESTION_NAME] == "localhost"
    assert found[semconv.LOOKUP_FAMILY] == "any"
    assert semconv.DNS_QUESTION_TYPE not in found


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("gethostbyname", ("127.0.0.1",)),
        ("gethostbyname", ("",)),
        ("gethostbyname", ("<broadcast>",)),
        ("gethostbyname_ex", ("127.0.0.1",)),
        ("getnameinfo", (("127.0.0.1", 80), NUMERIC)),
        ("getnameinfo", (("::1", 80, 0, 0), NUMERIC)),
        ("getnameinfo", (("localhost", 80), 0)),
        ("getnameinfo", (("", 80), 0)),
    ],
)
def test_no_span_where_nothing_is_looked_up(
    recorded: Telemetry, function: str, args: tuple[Any, ...]
) -> None:
    assert _result(getattr(socket, function), *args) == _result(BARE[function], *args)
    assert not recorded.spans()
    assert not recorded.points(semconv.DNS_LOOKUP_DURATION)


@pytest.mark.parametrize("function", ["gethostbyname", "gethostbyname_ex", "gethostbyaddr"])
def test_failures(recorded: Telemetry, function: str) -> None:
    with pytest.raises((socket.gaierror, socket.herror)):
        getattr(socket, function)(MISSING)
    assert recorded.span().status.status_code is StatusCode.ERROR
    assert attributes(recorded)[semconv.ERROR_TYPE] == "host_not_found"


def test_an_address_without_a_name(recorded: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What getnameinfo does then: the address comes back, which is no answer."""
    otel_dns.client.uninstrument()
    monkeypatch.setattr(socket, "getnameinfo", lambda *_: ("192.0.2.1", "http"))
    otel_dns.client.instrument(**recorded.options)
    assert socket.getnameinfo(("192.0.2.1", 80), 0) == ("192.0.2.1", "http")
    assert semconv.DNS_ANSWERS not in attributes(recorded)
    otel_dns.client.uninstrument()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, "host_not_found"),
        (2, "try_again"),
        (3, "no_recovery"),
        (4, "no_data"),
        (99, "socket.herror"),
    ],
)
def test_error_types_of_h_errno(number: int, expected: str) -> None:
    assert socket_error(socket.herror(number, "text")).error_type == expected
    assert socket_error(socket.herror("text")).error_type == "socket.herror"


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("gethostbyname", (), {}),
    ("gethostbyname", (17,), {}),
    ("gethostbyname", (None,), {}),
    ("gethostbyname", ("\ud800",), {}),
    ("gethostbyname", ("local\0host",), {}),
    ("gethostbyname", (), {"host": "localhost"}),
    ("gethostbyname", ("x" * 70,), {}),
    ("gethostbyname_ex", (MISSING,), {}),
    ("gethostbyname_ex", ("localhost", 1), {}),
    ("gethostbyaddr", ("127.0.0.1 x",), {}),
    ("gethostbyaddr", (b"127.0.0.1",), {}),
    ("getnameinfo", (("127.0.0.1", 80), 0), {}),
    ("getnameinfo", (("127.0.0.1", "http"), 0), {}),
    ("getnameinfo", (("127.0.0.1",), 0), {}),
    ("getnameinfo", (["127.0.0.1", 80], 0), {}),
    ("getnameinfo", ((), 0), {}),
    ("getnameinfo", (("127.0.0.1", 80),), {}),
    ("getnameinfo", (("127.0.0.1", 80), "x"), {}),
    ("getnameinfo", (("127.0.0.1", 80), 1 << 40), {}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_same_values_and_exceptions(
    recorded: Telemetry, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    ours = _result(getattr(socket, function), *args, **kwargs)
    assert ours == _result(BARE[function], *args, **kwargs)
    assert not recorded.points(semconv.CLIENT_FAILURES)


def _result(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error), error.args, repr(error.__context__), repr(error.__cause__)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "getfqdn"])
def test_looks_the_same(recorded: Telemetry, name: str) -> None:
    ours = getattr(socket, name)
    assert ours is not BARE[name]
    assert (ours.__doc__, ours.__name__) == (BARE[name].__doc__, BARE[name].__name__)
    assert _result(inspect.signature, ours)[0] == _result(inspect.signature, BARE[name])[0]
    assert pickle.loads(pickle.dumps(ours)) is ours
    otel_dns.client.uninstrument()
    assert getattr(socket, name) is BARE[name]
