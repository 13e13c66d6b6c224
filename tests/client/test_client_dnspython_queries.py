"""dnspython's queries to a real CoreDNS, over everything that both of them speak."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import dns.asyncbackend
import dns.asyncquery
import dns.asyncresolver
import dns.message
import dns.nameserver
import dns.query
import dns.resolver
import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import otel_dns.client
from otel_dns import semconv
from tests.client.coredns import CoreDns, coredns
from tests.client.support import Telemetry

HERE = "127.0.0.1"
HTTP = dns.query.HTTPVersion


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreDns]:
    with coredns(tmp_path_factory.mktemp("coredns")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_backend_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """dnspython remembers the first asynchronous library that it is used with."""
    monkeypatch.setattr(dns.asyncbackend, "_default_backend", None)


Ask = Callable[[dns.message.Message, CoreDns], Any]
WAYS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "udp": ("udp", "plain", {}),
    "tcp": ("tcp", "plain", {}),
    "tls": ("tls", "tls", {}),
    "https": ("https", "https", {}),
    "https-get": ("https", "https", {"post": False}),
    "http3": ("https", "https3", {"http_version": HTTP.H3}),
    "quic": ("quic", "quic", {}),
}


def options(server: CoreDns, way: str) -> tuple[str, dict[str, Any]]:
    function, port, extra = WAYS[way]
    verify = {} if port == "plain" else {"verify": str(server.authority)}
    return function, {"port": getattr(server, port), "timeout": 60} | verify | extra


def ask(server: CoreDns, way: str, query: dns.message.Message) -> dns.message.Message:
    function, arguments = options(server, way)
    response: dns.message.Message = getattr(dns.query, function)(query, HERE, **arguments)
    return response


def ask_async(server: CoreDns, way: str, query: dns.message.Message) -> dns.message.Message:
    function, arguments = options(server, way)

    async def main() -> Any:
        return await getattr(dns.asyncquery, function)(query, HERE, **arguments)

    return asyncio.run(main())


def ask_trio(server: CoreDns, way: str, query: dns.message.Message) -> dns.message.Message:
    function, arguments = options(server, way)

    async def main() -> Any:
        return await getattr(dns.asyncquery, function)(query, HERE, **arguments)

    return trio.run(main)


ASKING = {"sync": ask, "asyncio": ask_async, "trio": ask_trio}


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


# dnspython leaves a socket pair of its QUIC connections to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("asking", ASKING)
def test_a_query_tells_what_the_server_sees(
    recorded: Telemetry, server: CoreDns, asking: str
) -> None:
    responses = {}
    for way in WAYS:
        query = dns.message.make_query(f"{asking}-{way}.shop.example.", "A")
        responses[way] = ASKING[asking](server, way, query)
    for (way, response), span in zip(responses.items(), recorded.queries(), strict=True):
        # CoreDNS sends what it taps once a second.
        seen = server.message(name=f"{asking}-{way}.shop.example.")
        function, port, _ = WAYS[way]
        assert attributes_of(span) == {
            semconv.DNS_QUESTION_NAME: seen.name,
            semconv.DNS_QUESTION_TYPE: "A",
            semconv.DNS_ID: seen.dns_id,
            semconv.DNS_RESPONSE_CODE: "NXDOMAIN",
            semconv.LOOKUP_API: f"dns.{'query' if asking == 'sync' else 'asyncquery'}.{function}",
            semconv.RESOLVER_KIND: "dnspython",
            semconv.QUERY_TRANSPORT: function,
            semconv.SERVER_ADDRESS: HERE,
            semconv.SERVER_PORT: getattr(server, port),
            semconv.CLIENT_ADDRESS: HERE,
            semconv.CLIENT_PORT: seen.client_port,
            semconv.QUERY_SIZE: seen.size,
            semconv.RESPONSE_SIZE: len(response.wire or b""),
        }, way
    counts = {
        (
            point.attributes[semconv.QUERY_TRANSPORT],
            point.attributes[semconv.DNS_RESPONSE_CODE],
        ): point.count
        for point in recorded.points(semconv.CLIENT_QUERY_DURATION)
    }
    assert counts == {
        (function, "NXDOMAIN"): 3 if function == "https" else 1 for function, *_ in WAYS.values()
    }
    assert not recorded.points(semconv.CLIENT_FAILURES)


@pytest.mark.parametrize("asking", ["sync", "asyncio"])
def test_a_truncated_answer_is_asked_for_again_over_tcp(
    recorded: Telemetry, server: CoreDns, asking: str
) -> None:
    query = dns.message.make_query("many.shop.example.", "A")
    if asking == "sync":
        response, over_tcp = dns.query.udp_with_fallback(query, HERE, port=server.plain)
    else:
        response, over_tcp = asyncio.run(
            dns.asyncquery.udp_with_fallback(query, HERE, port=server.plain)
        )
    assert over_tcp
    assert len(response.answer[0]) == 60
    udp, tcp = map(attributes_of, recorded.queries())
    assert (udp[semconv.QUERY_TRANSPORT], udp[semconv.QUERY_TRUNCATED]) == ("udp", True)
    assert semconv.QUERY_TCP_FALLBACK not in udp
    assert (tcp[semconv.QUERY_TRANSPORT], tcp[semconv.QUERY_TCP_FALLBACK]) == ("tcp", True)
    assert semconv.QUERY_RESEND_COUNT not in tcp
    assert recorded.queries()[0].status.status_code is StatusCode.UNSET
    assert [point.value for point in recorded.points(semconv.CLIENT_QUERY_TCP_FALLBACKS)] == [1]


def resolver(server: CoreDns, cls: Any = dns.resolver.Resolver) -> Any:
    made = cls(configure=False)
    made.nameservers, made.port = [HERE], server.plain
    made.timeout, made.lifetime = 30, 60  # of a busy machine
    return made


def lookup_with_queries(recorded: Telemetry) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The one lookup and its queries, each of which is its child."""
    lookup = recorded.lookup()
    assert lookup.context is not None
    queries = recorded.queries()
    assert {query.parent and query.parent.span_id for query in queries} <= {lookup.context.span_id}
    assert not any(semconv.LOOKUP_API in attributes_of(query) for query in queries)
    return attributes_of(lookup), [attributes_of(query) for query in queries]


SYNC: dict[str, tuple[Callable[[Any], Any], str, list[tuple[str, str]]]] = {
    "resolve": (
        lambda r: r.resolve("web.shop.example.", "MX", raise_on_no_answer=False),
        "MX",
        [("web.shop.example.", "MX")],
    ),
    "resolve_name": (
        lambda r: r.resolve_name("web.shop.example."),
        "any",
        [("web.shop.example.", "AAAA"), ("web.shop.example.", "A")],
    ),
    "canonical_name": (
        lambda r: r.canonical_name("www.shop.example."),
        "A",
        [("www.shop.example.", "A")],
    ),
    "try_ddr": (lambda r: r.try_ddr(), "SVCB", [("_dns.resolver.arpa.", "SVCB")]),
}


@pytest.mark.parametrize("method", SYNC)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_methods_make_one_lookup_with_its_queries(
    recorded: Telemetry, server: CoreDns, method: str, asynchronous: bool
) -> None:
    use, kind, asked = SYNC[method]
    if asynchronous:

        async def main() -> None:
            await use(resolver(server, dns.asyncresolver.Resolver))

        asyncio.run(main())
    else:
        use(resolver(server))
    lookup, queries = lookup_with_queries(recorded)
    module = "dns.asyncresolver" if asynchronous else "dns.resolver"
    assert lookup[semconv.LOOKUP_API] == f"{module}.Resolver.{method}"
    assert kind in (lookup.get(semconv.DNS_QUESTION_TYPE), lookup.get(semconv.LOOKUP_FAMILY))
    shown = [
        (query[semconv.DNS_QUESTION_NAME], query[semconv.DNS_QUESTION_TYPE]) for query in queries
    ]
    if method == "try_ddr":  # refused, so it is tried until the lifetime is over
        assert set(shown) == set(asked)
    else:
        assert shown == asked
    assert len(recorded.points(semconv.DNS_LOOKUP_DURATION)) == 1


def test_functions_make_one_lookup(
    recorded: Telemetry, server: CoreDns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver(server))
    uses: dict[str, Callable[[], Any]] = {
        "zone_for_name": lambda: dns.resolver.zone_for_name("a.b.web.shop.example."),
        "Resolver.resolve": lambda: dns.resolver.resolve("web.shop.example."),
        "Resolver.resolve_name": lambda: dns.resolver.resolve_name("web.shop.example."),
        "resolve_at": lambda: dns.resolver.resolve_at(HERE, "web.shop.example.", port=server.plain),
    }
    for api, use in uses.items():
        recorded.exporter.clear()
        use()
        lookup, queries = lookup_with_queries(recorded)
        assert lookup[semconv.LOOKUP_API] == f"dns.resolver.{api}"
        assert queries
    recorded.exporter.clear()
    with pytest.raises(dns.resolver.NoNameservers):
        dns.resolver.resolve_address("192.0.2.7", lifetime=60)
    lookup, _ = lookup_with_queries(recorded)
    assert lookup[semconv.DNS_QUESTION_NAME] == "7.2.0.192.in-addr.arpa."


def test_repetitions_and_what_ends_them(recorded: Telemetry, server: CoreDns) -> None:
    silent = resolver(server)
    silent.timeout, silent.lifetime = 0.2, 2
    with pytest.raises(dns.resolver.LifetimeTimeout):
        silent.resolve("web.silent.example.")
    lookup, queries = lookup_with_queries(recorded)
    assert lookup[semconv.ERROR_TYPE] == "timeout"
    assert len(queries) >= 2
    assert [query.get(semconv.QUERY_RESEND_COUNT) for query in queries] == [
        None,
        *range(1, len(queries)),
    ]
    assert all(query[semconv.ERROR_TYPE] == "timeout" for query in queries)
    assert all(query[semconv.CLIENT_PORT] and semconv.DNS_ID in query for query in queries)
    assert all(span.status.status_code is StatusCode.ERROR for span in recorded.queries())
    (resends,) = recorded.points(semconv.CLIENT_QUERY_RESENDS)
    assert resends.value == len(queries) - 1


def test_the_cache_is_told_apart(recorded: Telemetry, server: CoreDns) -> None:
    caching = resolver(server)
    caching.cache = dns.resolver.LRUCache()
    said = []
    for name in ("web.shop.example.",) * 2 + ("nothing.shop.example.",) * 2:
        recorded.exporter.clear()
        with contextlib.suppress(dns.resolver.NXDOMAIN):
            caching.resolve(name)
        lookup, queries = lookup_with_queries(recorded)
        said.append((lookup[semconv.LOOKUP_CACHED], len(queries)))
    assert said == [(False, 1), (True, 0), (False, 1), (True, 0)]

    recorded.exporter.clear()
    resolver(server).resolve("web.shop.example.")
    assert semconv.LOOKUP_CACHED not in attributes_of(recorded.lookup())


def test_a_resolver_over_https(recorded: Telemetry, server: CoreDns) -> None:
    over = resolver(server)
    url = f"https://localhost:{server.https}/dns-query"
    over.nameservers = [
        dns.nameserver.DoHNameserver(url, bootstrap_address=HERE, verify=str(server.authority))
    ]
    over.resolve("web.shop.example.")
    lookup, (query,) = lookup_with_queries(recorded)
    assert lookup[semconv.RESOLVER_NAMESERVERS] == (url,)
    assert query[semconv.QUERY_TRANSPORT] == "https"
    assert (query[semconv.SERVER_ADDRESS], query[semconv.SERVER_PORT]) == (HERE, server.https)
    seen = server.message(name="web.shop.example.", dns_id=query[semconv.DNS_ID])
    assert query[semconv.CLIENT_PORT] == seen.client_port


def test_standing_in_for_the_system_resolver(recorded: Telemetry, server: CoreDns) -> None:
    instrumented = socket.getaddrinfo
    dns.resolver.override_system_resolver(resolver(server))
    try:
        socket.getaddrinfo("web.shop.example.", 80)
        lookup, queries = lookup_with_queries(recorded)
        assert lookup[semconv.LOOKUP_API] == "socket.getaddrinfo"
        assert lookup[semconv.RESOLVER_KIND] == "dnspython"
        assert lookup[semconv.RESOLVER_NAMESERVERS] == (HERE,)
        assert len(queries) == 2

        recorded.exporter.clear()
        socket.gethostbyname("web.shop.example.")
        lookup, queries = lookup_with_queries(recorded)
        assert lookup[semconv.LOOKUP_API] == "socket.gethostbyname"

        recorded.exporter.clear()
        socket.getaddrinfo("192.0.2.1", 80)
        assert not recorded.spans()

        # In a thread of the event loop's: queries are under the lookup of the task.
        async def main() -> None:
            await asyncio.get_running_loop().getaddrinfo("web.shop.example.", 80)

        asyncio.run(main())
        lookup, queries = lookup_with_queries(recorded)
        assert lookup[semconv.LOOKUP_API] == "asyncio.loop.getaddrinfo"
        assert len(queries) == 2
    finally:
        dns.resolver.restore_system_resolver()
    assert socket.getaddrinfo is instrumented
    recorded.exporter.clear()
    socket.getaddrinfo("localhost", 80)
    assert attributes_of(recorded.lookup())[semconv.RESOLVER_KIND] != "dnspython"


def test_left_out_names_leave_out_their_queries(telemetry: Telemetry, server: CoreDns) -> None:
    otel_dns.client.instrument(**telemetry.options, excluded_names=["web", ".silent.example"])
    searching = resolver(server)
    searching.search = [dns.name.from_text("shop.example.")]
    searching.resolve("web", search=True)
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(
            dns.message.make_query("x.silent.example.", "A"), HERE, 0.1, port=server.plain
        )
    assert not telemetry.spans()
    assert not telemetry.points(semconv.CLIENT_QUERY_DURATION)
    searching.resolve("www.shop.example.")
    assert telemetry.query()


def test_without_a_parent_there_is_no_span_but_the_measurement(
    telemetry: Telemetry, server: CoreDns
) -> None:
    otel_dns.client.instrument(**telemetry.options, require_parent=True)
    resolver(server).resolve("web.shop.example.")
    ask(server, "udp", dns.message.make_query("web.shop.example.", "A"))
    assert not telemetry.spans()
    assert telemetry.points(semconv.CLIENT_QUERY_DURATION)[0].count == 2
    with telemetry.tracer_provider.get_tracer("application").start_as_current_span("request"):
        resolver(server).resolve("web.shop.example.")
    assert len(telemetry.queries()) == 1


def test_concurrent_lookups_keep_their_queries(recorded: Telemetry, server: CoreDns) -> None:
    async def main() -> None:
        asking = resolver(server, dns.asyncresolver.Resolver)
        names = ["web", "www", "storefront", "mixed"] * 5
        await asyncio.gather(*(asking.resolve(f"{name}.shop.example.") for name in names))

    asyncio.run(main())
    lookups = {span.context.span_id: span for span in recorded.lookups() if span.context}
    assert len(lookups) == len(recorded.queries()) == 20
    for query in recorded.queries():
        assert query.parent is not None
        parent = lookups.pop(query.parent.span_id)
        assert (
            attributes_of(parent)[semconv.DNS_QUESTION_NAME]
            == (attributes_of(query)[semconv.DNS_QUESTION_NAME])
        )
    ports = {attributes_of(query)[semconv.CLIENT_PORT] for query in recorded.queries()}
    assert len(ports) > 15  # one that is free again may be given again
