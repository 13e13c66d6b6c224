import asyncio
import inspect
import pickle
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiodns
import pycares
import pytest
from opentelemetry.trace import StatusCode

import otel_dns.client
from otel_dns import names, semconv
from tests.client.support import DnsServer, Telemetry
from tests.support.waiting import eventually

Use = Callable[[aiodns.DNSResolver], Awaitable[Any]]


def run(server: DnsServer, use: Use, **options: Any) -> Any:
    async def main() -> Any:
        settings = {"domains": ["shop.example"], "ndots": 3, "tries": 1, "timeout": 30} | options
        async with aiodns.DNSResolver([f"127.0.0.1:{server.port}"], **settings) as resolver:
            return await use(resolver)

    return asyncio.run(main())


def test_a_lookup_makes_one_span(recorded: Telemetry, dns_server: DnsServer) -> None:
    run(dns_server, lambda resolver: resolver.getaddrinfo("web", socket.AF_INET))
    attributes: Any = dict(recorded.span().attributes or {})
    # c-ares puts addresses in an order of its own.
    assert sorted(attributes.pop(semconv.DNS_ANSWERS)) == ["10.1.0.1", "10.1.0.2"]
    assert attributes == {
        semconv.DNS_QUESTION_NAME: "web",
        semconv.LOOKUP_API: "pycares.Channel.getaddrinfo",
        semconv.LOOKUP_FAMILY: "inet",
        semconv.RESOLVER_KIND: "c-ares",
        semconv.RESOLVER_NAMESERVERS: ("127.0.0.1",),
        semconv.RESOLVER_SEARCH: ("shop.example",),
        semconv.RESOLVER_NDOTS: 3,
        semconv.SERVER_ADDRESS: "127.0.0.1",
        semconv.CLIENT_ADDRESS: "127.0.0.1",
    }
    (point,) = recorded.points(semconv.DNS_LOOKUP_DURATION)
    assert dict(point.attributes) == {semconv.DNS_QUESTION_NAME: "web"}
    assert recorded.points(semconv.CLIENT_ACTIVE_LOOKUPS)[0].value == 0


@pytest.mark.parametrize("name", ["web", "x", "x.y", "x.y.z.w", "x."])
def test_attributes_tell_which_names_were_asked(
    recorded: Telemetry, dns_server: DnsServer, name: str
) -> None:
    def without_errors(resolver: aiodns.DNSResolver) -> Awaitable[Any]:
        return asyncio.gather(resolver.getaddrinfo(name, socket.AF_INET), return_exceptions=True)

    dns_server.asked.clear()
    run(dns_server, without_errors, domains=["example", "shop.example"], ndots=2)
    attributes: Any = recorded.span().attributes
    assert names.candidates(
        attributes[semconv.DNS_QUESTION_NAME],
        tuple(attributes[semconv.RESOLVER_SEARCH]),
        attributes[semconv.RESOLVER_NDOTS],
        attributes[semconv.RESOLVER_KIND],
    )[: len(dns_server.asked)] == tuple(dns_server.asked)


@pytest.mark.parametrize(
    ("use", "error_type", "rcode"),
    [
        (lambda r: r.query_dns("nothing.example", "A"), "host_not_found", "NXDOMAIN"),
        (lambda r: r.query_dns("shop.example", "A"), "no_data", "NOERROR"),
        (lambda r: r.query_dns("servfail.example", "A"), "try_again", "SERVFAIL"),
        (lambda r: r.query_dns("refused.example", "A"), "no_recovery", "REFUSED"),
        (lambda r: r.query_dns("silent.example", "A"), "timeout", None),
        (lambda r: r.query_dns("a..b", "A"), "ARES_EBADNAME", None),
        (lambda r: r.gethostbyaddr("10.9.9.9"), "host_not_found", "NXDOMAIN"),
    ],
)
def test_failures(
    telemetry: Telemetry, dns_server: DnsServer, use: Use, error_type: str, rcode: str | None
) -> None:
    patience = 0.3 if error_type == "timeout" else 30
    with pytest.raises(aiodns.error.DNSError) as bare:
        run(dns_server, use, timeout=patience)
    otel_dns.client.instrument(**telemetry.options)
    with pytest.raises(aiodns.error.DNSError) as ours:
        run(dns_server, use, timeout=patience)
    assert ours.value.args == bare.value.args

    span = eventually(telemetry.spans, "the callback's end")[0]
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == ours.value.args[1]
    attributes = span.attributes or {}
    assert attributes[semconv.ERROR_TYPE] == error_type
    assert attributes.get(semconv.DNS_RESPONSE_CODE) == rcode


def test_lookups_of_one_task_go_on_side_by_side(recorded: Telemetry, dns_server: DnsServer) -> None:
    def both(resolver: aiodns.DNSResolver) -> Awaitable[Any]:
        return asyncio.gather(
            resolver.query_dns("shop.example", "MX"), resolver.query_dns("web.shop.example", "A")
        )

    tracer = recorded.tracer_provider.get_tracer("application")
    with tracer.start_as_current_span("request") as request:
        run(dns_server, both)
    lookups = recorded.lookups()
    answers: list[Any] = [(span.attributes or {})[semconv.DNS_ANSWERS] for span in lookups]
    assert sorted(map(len, answers)) == [1, 2]
    parents = {span.parent.span_id for span in lookups if span.parent is not None}
    assert parents == {request.get_span_context().span_id}


def test_no_lookup_no_span(recorded: Telemetry, dns_server: DnsServer) -> None:
    run(dns_server, lambda resolver: resolver.getaddrinfo("192.0.2.1"))
    channel = pycares.Channel()
    with pytest.raises(TypeError, match="a callable is required"):
        channel.query("web", pycares.QUERY_TYPE_A, callback=None)
    with pytest.raises(TypeError):
        channel.query()
    channel.close()
    assert not recorded.spans()
    assert not recorded.points(semconv.CLIENT_FAILURES)


def test_a_closed_channel_raises_as_before(recorded: Telemetry) -> None:
    channel = pycares.Channel(servers=["127.0.0.1"])
    channel.close()
    with pytest.raises(RuntimeError, match="Channel is destroyed"):
        channel.getaddrinfo("web", None, callback=print)
    assert not recorded.spans()


def test_looks_the_same_and_is_restored(telemetry: Telemetry) -> None:
    methods = ("__init__", "query", "search", "getaddrinfo", "gethostbyaddr", "getnameinfo")
    bare = {name: getattr(pycares.Channel, name) for name in methods}
    otel_dns.client.instrument(**telemetry.options)
    for name, method in bare.items():
        wrapped = getattr(pycares.Channel, name)
        assert wrapped is not method
        assert inspect.signature(wrapped) == inspect.signature(method)
        assert wrapped.__doc__ == method.__doc__
        assert pickle.loads(pickle.dumps(wrapped)) is wrapped
    otel_dns.client.uninstrument()
    assert {name: getattr(pycares.Channel, name) for name in methods} == bare
