"""Marks on dnspython's queries: a real CoreDNS sees them, the application does not."""

import asyncio
import copy
from collections.abc import Iterator
from typing import Any

import dns.asyncquery
import dns.edns
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdata
import dns.resolver
import dns.rrset
import dns.tsigkeyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

import otel_dns.client
from otel_dns import semconv
from otel_dns.client.dnspython.marking import marked
from tests.client.coredns import CoreDns, coredns
from tests.client.support import Telemetry
from tests.client.test_client_dnspython_queries import HERE, HTTP, ask, attributes_of, resolver
from tests.support.marks import letters_in_case
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoreDns]:
    with coredns(tmp_path_factory.mktemp("coredns")) as running:
        yield running


@pytest.fixture
def marking(telemetry: Telemetry) -> Telemetry:
    otel_dns.client.instrument(**telemetry.options, marks="edns,case,b3")
    return telemetry


def ids(span: ReadableSpan) -> tuple[bytes, bytes]:
    assert span.context is not None
    return span.context.trace_id.to_bytes(16), span.context.span_id.to_bytes(8)


def plain(response: dns.message.Message) -> tuple[object, ...]:
    """All that an application can see of a response, but the id, the TTLs and letter case.

    CoreDNS writes an owner name now in the zone's letter case and now in the question's, as its
    compression has it, to the very same query.
    """
    names = [name.canonicalize().labels for name in names_in(response)]
    texts = [
        sorted(str(rdata).lower() for rdata in rrset)
        for section in response.sections
        for rrset in section
    ]
    return response.flags, response.edns, response.options, response.payload, names, texts


def names_in(response: dns.message.Message) -> list[dns.name.Name]:
    """All names in a response, the question's included."""
    return [
        name
        for section in response.sections
        for rrset in section
        for name in (rrset.name, *(getattr(rdata, "target", rrset.name) for rdata in rrset))
    ]


def odd_labels(response: dns.message.Message, asked: str) -> set[bytes]:
    """Labels of a response that neither the question nor the zone spells so: a mark that shows."""
    spelled = {*dns.name.from_text(asked).labels, b"Mixed"}
    labels = {label for name in names_in(response) for label in name.labels}
    return {label for label in labels - spelled if label != label.lower()}


QUERIES = {
    "without EDNS": {},
    "with EDNS": {"use_edns": 0, "payload": 1232},
    "with options": {"options": [dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"x")]},
    "signed for": {"want_dnssec": True},
}


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
def test_a_marked_query_is_answered_as_if_it_were_not(
    telemetry: Telemetry, server: CoreDns, way: str
) -> None:
    for kind, options in QUERIES.items():
        for name in ("www.shop.example.", "Mixed.Shop.Example."):
            query = dns.message.make_query(name, "A", **options)
            bare = ask(server, way, query)
            before, wire = vars(query).copy(), query.wire
            otel_dns.client.instrument(**telemetry.options, marks="edns,case,b3")
            response = ask(server, way, query)
            otel_dns.client.uninstrument()
            assert plain(response) == plain(bare), kind
            assert not odd_labels(response, name)
            assert response.question[0].name.labels == bare.question[0].name.labels
            assert query.is_response(response)
            assert (vars(query), query.wire) == (before, wire)
    assert not telemetry.points(semconv.CLIENT_FAILURES)
    for span in telemetry.queries():
        attributes = attributes_of(span)
        assert attributes[semconv.QUERY_MARKED] == (semconv.MARK_EDNS, semconv.MARK_CASE)
        # CoreDNS sends what it taps once a second.
        seen = server.message(client_port=attributes[semconv.CLIENT_PORT], context=ids(span))
        assert seen.dns_id == attributes[semconv.DNS_ID]
        name = attributes[semconv.DNS_QUESTION_NAME]
        letters = sum(map(str.isalpha, name))
        assert letters_in_case(seen.asked, name, *ids(span)) == letters


def test_each_query_of_a_lookup_is_marked(telemetry: Telemetry, server: CoreDns) -> None:
    searching = resolver(server)
    searching.search = [
        dns.name.from_text("none.shop.example."),
        dns.name.from_text("shop.example."),
    ]
    searching.ndots = 5
    bare = searching.resolve("Storefront", search=True)
    otel_dns.client.instrument(**telemetry.options, marks="edns,case,b3")
    answer = searching.resolve("Storefront", search=True)
    assert plain(answer.response) == plain(bare.response)
    assert answer.qname.labels == bare.qname.labels
    assert answer.canonical_name.labels == bare.canonical_name.labels
    first, second = telemetry.queries()
    for span in (first, second):
        seen = server.message(context=ids(span))
        assert seen.dns_id == attributes_of(span)[semconv.DNS_ID]
    with pytest.raises(dns.resolver.NXDOMAIN) as error:
        searching.resolve("Nothing.shop.example.")
    ((name, response),) = error.value.responses().items()
    assert name.labels[0] == response.question[0].name.labels[0] == b"Nothing"


def test_the_same_answers_are_truncated(marking: Telemetry, server: CoreDns) -> None:
    query = dns.message.make_query("many.shop.example.", "A")
    with pytest.raises(dns.message.Truncated) as error:
        dns.query.udp(query, HERE, port=server.plain, raise_on_truncation=True)
    truncated: Any = error.value.message()  # type: ignore[no-untyped-call]
    assert truncated.question[0].name == query.question[0].name
    assert truncated.question[0].name.labels == query.question[0].name.labels
    assert truncated.opt is None
    assert len(resolver(server).resolve("many.shop.example.")) == 60


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("asking", ["sync", "asyncio"])
@pytest.mark.parametrize("way", ["https", "http3"])
def test_over_https_the_servers_span_is_the_querys_child(
    marking: Telemetry, server: CoreDns, asking: str, way: str
) -> None:
    query = dns.message.make_query(f"{asking}-{way}.shop.example.", "A")
    verify, version = str(server.authority), HTTP.H3 if way == "http3" else HTTP.DEFAULT
    options: Any = {
        "port": getattr(server, "https3" if way == "http3" else way),
        "verify": verify,
        "http_version": version,
    }
    if asking == "sync":
        dns.query.https(query, HERE, **options)
    else:
        asyncio.run(dns.asyncquery.https(query, HERE, **options))
    span = marking.query()
    assert semconv.MARK_B3 in attributes_of(span)[semconv.QUERY_MARKED]
    trace_id, span_id = (part.hex() for part in ids(span))

    def served() -> list[dict[str, Any]]:
        return [
            one
            for one in server.spans()
            if one["traceId"] == trace_id and one["name"] == "servedns"
        ]

    (root,) = eventually(served, "CoreDNS's span in the client's trace")
    assert root["parentId"] == span_id


def test_a_session_of_the_applications_own_carries_headers_only_for_queries(
    marking: Telemetry, server: CoreDns
) -> None:
    import httpx2

    sent: list[Any] = []
    verify = str(server.authority)
    with httpx2.Client(verify=verify, http2=True, event_hooks={"request": [sent.append]}) as client:
        query = dns.message.make_query("session.shop.example.", "A")
        dns.query.https(query, HERE, port=server.https, session=client)
        client.get(f"https://{HERE}:{server.https}/")
    headers = [request.headers.get("X-B3-TraceId") for request in sent]
    assert headers == [ids(marking.query())[0].hex(), None]


def test_signed_queries_keep_their_names(marking: Telemetry, server: CoreDns) -> None:
    query = dns.message.make_query("web.shop.example.", "A")
    query.use_tsig(dns.tsigkeyring.from_text({"key.": "c2VjcmV0"}))
    with pytest.raises(dns.exception.DNSException) as error:
        dns.query.udp(query, HERE, 60, port=server.plain)
    otel_dns.client.uninstrument()
    with pytest.raises(type(error.value)):
        dns.query.udp(query, HERE, 60, port=server.plain)
    (span,) = marking.queries()
    assert attributes_of(span)[semconv.QUERY_MARKED] == (semconv.MARK_EDNS,)


LABELS = st.binary(min_size=1, max_size=10)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(lambda labels: dns.name.Name([*labels, b""]))
CONTEXTS = st.builds(
    SpanContext,
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.just(False),
    st.just(TraceFlags(TraceFlags.SAMPLED)),
)
WANTED = frozenset(semconv.MARKS)


@given(NAMES, CONTEXTS, st.lists(st.binary(max_size=8), max_size=2))
def test_a_response_that_repeats_everything_is_restored(
    name: dns.name.Name, context: SpanContext, options: list[bytes]
) -> None:
    code = dns.edns.OptionType.make(65001)
    given_options = [dns.edns.GenericOption(code, data) for data in options]
    query = dns.message.make_query(name, "CNAME", options=given_options or None)
    untouched = copy.deepcopy(query)
    made = marked(query, context, WANTED)
    assert made is not None
    assert made.message.to_wire() != query.to_wire()
    reflected = dns.message.from_wire(made.message.to_wire())
    response: Any = dns.message.make_response(reflected)
    response.opt = reflected.opt
    asked = reflected.question[0].name
    alias = dns.name.Name([b"alias", *asked.labels[1:]])
    response.answer.append(dns.rrset.from_text(asked, 60, "IN", "CNAME", alias.to_text()))
    received = dns.message.from_wire(response.to_wire())
    made.restore(received)
    assert query == untouched
    assert received.question[0].name.labels == name.labels
    assert received.answer[0].name.labels == name.labels
    assert received.answer[0][0].target.labels == (b"alias", *name.labels[1:])
    assert [option.to_wire() for option in received.options] == options
    assert (received.edns >= 0) == bool(options)
