import inspect
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import otel_dns.client
from otel_dns import marks, semconv
from otel_dns.client.correlate import unmarked
from otel_dns.client.settings import Settings
from tests.client.support import Telemetry
from tests.support.marks import letters_in_case

LABELS = st.text("abcXYZ019-", min_size=1, max_size=5)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    ("canonical", "marked", "asked", "expected"),
    [
        ("wEb", "wEb", "web", "web"),
        ("wEb.sHop.svc.cluster.local", "wEb.sHop", "web.Shop", "web.Shop.svc.cluster.local"),
        ("wEb.shop", "wEb.shOp.", "web.shop.", "wEb.shop"),
        # A CNAME's target, its end by a pointer into the question, with and without a domain.
        ("db.shOp.example", "wEb.shOp.example", "web.shop.example", "db.shop.example"),
        ("db.shOp.cluster.local", "wEb.shOp", "web.shop", "db.shop.cluster.local"),
        ("DB.Other.Example", "wEb.shOp", "web.shop", "DB.Other.Example"),
        ("xwEb.local", "wEb", "web", "xwEb.local"),
        ("", "wEb", "web", ""),
    ],
)
def test_canonical_names_lose_the_mark(
    canonical: str, marked: str, asked: str, expected: str
) -> None:
    assert unmarked(canonical, marked, asked) == expected


@given(NAMES, NAMES, st.binary(min_size=16, max_size=16))
def test_the_asked_name_comes_back(name: str, domain: str, trace_id: bytes) -> None:
    marked = marks.cased(name, trace_id, bytes(8))
    assert unmarked(marked, marked, name) == name
    assert (
        unmarked(f"{marked}.{domain.lower()}", marked, name).lower() == f"{name}.{domain}".lower()
    )


class Resolver:
    """Takes the place of the C library's: tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def getaddrinfo(  # noqa: PLR0917
            host: Any,
            port: Any,
            family: int = 0,
            type: int = 0,  # noqa: A002
            proto: int = 0,
            flags: int = 0,
        ) -> list[Any]:
            self.asked.append(host)
            if "nothing" in str(host).lower():
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            canonical = f"{host}.example" if flags & socket.AI_CANONNAME else ""
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, canonical, ("192.0.2.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    resolver.install(monkeypatch)
    return resolver


def test_a_name_goes_out_marked_and_comes_back_as_it_was(
    telemetry: Telemetry, resolver: Resolver
) -> None:
    bare = socket.getaddrinfo
    otel_dns.client.instrument(**telemetry.options, marks="case")
    name = "Storefront.Shop"
    result = socket.getaddrinfo(name, 80, flags=socket.AI_CANONNAME)
    assert result == bare(name, 80, flags=socket.AI_CANONNAME)
    span = telemetry.span()
    assert span.attributes is not None
    assert span.context is not None
    assert span.attributes[semconv.LOOKUP_MARKED] == semconv.MARK_CASE
    assert span.attributes[semconv.DNS_QUESTION_NAME] == name
    ids = span.context.trace_id.to_bytes(16), span.context.span_id.to_bytes(8)
    assert letters_in_case(f"{resolver.asked[0]}.svc.", name, *ids) == 14
    assert inspect.signature(socket.getaddrinfo) == inspect.signature(bare)

    with pytest.raises(socket.gaierror) as error:
        socket.getaddrinfo("nothing.example", 80)
    assert error.value.args == (socket.EAI_NONAME, "Name or service not known")
    assert error.value.__context__ is None
    otel_dns.client.uninstrument()
    assert socket.getaddrinfo is bare


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1",
        "::1",
        "10-0-0-1",
        "bücher.example",
        b"web.example",
        "a..b",
        "x" * 64,
        "-\0",
        None,
    ],
)
def test_what_is_no_plain_name_stays_as_it_is(
    telemetry: Telemetry, resolver: Resolver, host: Any
) -> None:
    otel_dns.client.instrument(**telemetry.options, marks="case")
    socket.getaddrinfo(host, 80)
    assert resolver.asked == [host]


def test_nothing_is_marked_unasked_or_unsampled(telemetry: Telemetry, resolver: Resolver) -> None:
    otel_dns.client.instrument(**telemetry.options)
    socket.getaddrinfo("web.example", 80)
    otel_dns.client.uninstrument()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    otel_dns.client.instrument(**telemetry.options | {"tracer_provider": provider}, marks="case")
    socket.getaddrinfo("web.example", 80)
    assert resolver.asked == ["web.example"] * 2
    assert semconv.LOOKUP_MARKED not in (telemetry.span().attributes or {})


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        (None, {}, frozenset()),
        ("Case, edns", {}, {"case", "edns"}),
        (["b3"], {}, {"b3"}),
        (None, {"OTEL_DNS_CLIENT_MARKS": "edns,b3"}, {"edns", "b3"}),
        (None, {"OTEL_DNS_CLIENT_MARKS": "port"}, frozenset()),
    ],
)
def test_settings(given: Any, environ: dict[str, str], expected: set[str]) -> None:
    assert Settings.read({"marks": given}, environ).marks == expected


def test_an_unknown_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="marks are of edns, case, b3, not port"):
        Settings.read({"marks": "port"})
