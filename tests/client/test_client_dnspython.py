import inspect
import socket
import traceback
from typing import Any

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import pytest
from opentelemetry.trace import StatusCode

from otel_dns import names, semconv
from otel_dns.client.stub import Stub
from tests.client.support import DnsServer, Telemetry, instrumented

BARE = dns.resolver.Resolver.resolve


def test_a_lookup_makes_one_span(recorded: Telemetry, dns_server: DnsServer) -> None:
    resolver = dns_server.resolver()
    resolver.search = [dns.name.from_text("shop.example")]
    resolver.ndots = 5
    answer = resolver.resolve("web", search=True)

    assert len(answer) == 2
    assert dict(recorded.lookup().attributes or {}) == {
        semconv.DNS_QUESTION_NAME: "web",
        semconv.DNS_QUESTION_TYPE: "A",
        semconv.DNS_RESPONSE_CODE: "NOERROR",
        semconv.DNS_ANSWERS: tuple(record.to_text() for record in answer),
        semconv.LOOKUP_API: "dns.resolver.Resolver.resolve",
        semconv.RESOLVER_KIND: "dnspython",
        semconv.RESOLVER_NAMESERVERS: ("127.0.0.1",),
        semconv.RESOLVER_SEARCH: ("shop.example",),
        semconv.RESOLVER_NDOTS: 5,
        semconv.SERVER_ADDRESS: "127.0.0.1",
        semconv.CLIENT_ADDRESS: "127.0.0.1",
    }
    (point,) = recorded.points(semconv.DNS_LOOKUP_DURATION)
    assert dict(point.attributes) == {semconv.DNS_QUESTION_NAME: "web"}


@pytest.mark.parametrize(
    ("name", "rdtype", "options", "error_type", "rcode"),
    [
        ("nothing.example.", "A", {}, "host_not_found", "NXDOMAIN"),
        ("shop.example.", "A", {}, "no_data", "NOERROR"),
        ("servfail.example.", "A", {"lifetime": 60}, "try_again", "SERVFAIL"),
        ("refused.example.", "A", {"lifetime": 60}, "no_recovery", "REFUSED"),
        ("silent.example.", "A", {"lifetime": 0.2}, "timeout", None),
        ("a..example.", "A", {}, "dns.name.EmptyLabel", None),
        ("shop.example.", "ANY", {}, "dns.resolver.NoMetaqueries", None),
    ],
)
def test_failures(  # noqa: PLR0917 - one argument a column
    recorded: Telemetry,
    dns_server: DnsServer,
    name: str,
    rdtype: str,
    options: dict[str, Any],
    error_type: str,
    rcode: str | None,
) -> None:
    resolver = dns_server.resolver()
    resolver.retry_servfail = False
    with pytest.raises(dns.exception.DNSException) as bare:
        BARE(resolver, name, rdtype, **options)
    with pytest.raises(dns.exception.DNSException) as ours:
        resolver.resolve(name, rdtype, **options)
    assert type(ours.value) is type(bare.value)
    assert repr(ours.value.__context__) == repr(bare.value.__context__)
    last = traceback.extract_tb(ours.value.__traceback__)[-1]
    bare_last = traceback.extract_tb(bare.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (bare_last.filename, bare_last.lineno)

    span = recorded.lookup()
    assert span.status.status_code is StatusCode.ERROR
    attributes = span.attributes or {}
    assert attributes[semconv.ERROR_TYPE] == error_type
    assert attributes.get(semconv.DNS_RESPONSE_CODE) == rcode


def test_types_and_bounds(recorded: Telemetry, dns_server: DnsServer) -> None:
    resolver = dns_server.resolver()
    resolver.resolve(dns.name.from_text("shop.example."), dns.rdatatype.MX)
    resolver.resolve("many.example.", tcp=False)
    resolver.resolve("shop.example.", "AAAA", raise_on_no_answer=False)
    attributes: list[Any] = [span.attributes for span in recorded.lookups()]
    mx, many, nothing = attributes
    assert mx[semconv.DNS_QUESTION_NAME] == "shop.example."
    assert mx[semconv.DNS_QUESTION_TYPE] == "MX"
    assert mx[semconv.DNS_ANSWERS] == ("10 mail.shop.example.",)
    assert len(many[semconv.DNS_ANSWERS]) == 32
    assert semconv.DNS_ANSWERS not in nothing
    assert nothing[semconv.DNS_RESPONSE_CODE] == "NOERROR"


def test_attributes_tell_which_names_were_asked(recorded: Telemetry, dns_server: DnsServer) -> None:
    resolver = dns_server.resolver()
    resolver.search = [dns.name.from_text("shop.example"), dns.name.from_text("example")]
    for name, search in [("x", True), ("x.y", True), ("x", False), ("x.", True), ("x", None)]:
        dns_server.asked.clear()
        recorded.exporter.clear()
        with pytest.raises(dns.resolver.NXDOMAIN):
            resolver.resolve(name, search=search)
        attributes: Any = recorded.lookup().attributes
        assert names.candidates(
            attributes[semconv.DNS_QUESTION_NAME],
            tuple(attributes[semconv.RESOLVER_SEARCH]),
            attributes[semconv.RESOLVER_NDOTS],
            attributes[semconv.RESOLVER_KIND],
        ) == tuple(dns_server.asked)


def test_domain_stands_in_for_the_search_list(recorded: Telemetry, dns_server: DnsServer) -> None:
    resolver = dns_server.resolver()
    resolver.domain = dns.name.from_text("shop.example")
    resolver.resolve("web", search=True)
    assert (recorded.lookup().attributes or {})[semconv.RESOLVER_SEARCH] == ("shop.example",)


def test_nameserver_objects(recorded: Telemetry, dns_server: DnsServer) -> None:
    resolver = dns_server.resolver()
    resolver.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", dns_server.port)]
    resolver.resolve("web.shop.example.", source="127.0.0.2")
    attributes = recorded.lookup().attributes or {}
    assert attributes[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert attributes[semconv.CLIENT_ADDRESS] == "127.0.0.2"


def test_nested_calls_make_one_span(
    recorded: Telemetry, dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Resolver(dns.resolver.Resolver):
        def resolve(self, *args: Any, **kwargs: Any) -> dns.resolver.Answer:
            return super().resolve(*args, **kwargs)

    resolver = Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], dns_server.port
    with pytest.warns(DeprecationWarning, match="resolve"):
        resolver.query("web.shop.example.")
    assert recorded.lookup()

    # getaddrinfo on top of dnspython: still one lookup, the one the application made.
    recorded.exporter.clear()
    bare = socket.getaddrinfo
    dns.resolver.override_system_resolver(resolver)
    try:
        inner = socket.getaddrinfo
        assert inner is not bare
        instrumented(inner, recorded, Stub())("web.shop.example.", 80, socket.AF_INET)
    finally:
        dns.resolver.restore_system_resolver()
        socket.getaddrinfo = bare
    assert (recorded.lookup().attributes or {})[semconv.LOOKUP_API] == "socket.getaddrinfo"


def test_looks_the_same_and_is_restored(recorded: Telemetry) -> None:
    import otel_dns.client

    wrapped = dns.resolver.Resolver.resolve
    assert wrapped is not BARE
    assert inspect.signature(wrapped) == inspect.signature(BARE)
    assert wrapped.__doc__ == BARE.__doc__
    assert wrapped.__qualname__ == BARE.__qualname__
    otel_dns.client.uninstrument()
    assert dns.resolver.Resolver.resolve is BARE
