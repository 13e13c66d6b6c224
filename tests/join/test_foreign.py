"""Other languages' DNS spans: recognised by scope and name, and made to say what ours say."""

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status, TracesData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns import semconv
from otel_dns.join import Joiner
from otel_dns.join.foreign import RULES, rule_of
from otel_dns.join.recognise import lookup_of
from otel_dns.model import Resolution
from otel_dns.service.sorting import Incoming, sort_otlp
from otel_dns.wire import otlp
from tests.support.spans import MS, T0, servedns

DOTNET = "Experimental.System.Net.NameResolution"
NODE = "@opentelemetry/instrumentation-dns"
GO = "go.opentelemetry.io/otel/instrumentation/httptrace"
NETTY = "io.opentelemetry.netty-4.1"
POD = {"service.name": "shop", "k8s.pod.ip": "10.0.0.7", "k8s.namespace.name": "shop"}


def value(given: Any) -> AnyValue:
    if isinstance(given, list):
        return AnyValue(array_value=ArrayValue(values=[value(one) for one in given]))
    return AnyValue(string_value=given)


def sorted_(
    scope: str,
    name: str,
    attributes: dict[str, Any],
    error: str | None = None,
    resource: dict[str, str] = POD,
) -> Incoming:
    span = ProtoSpan(
        trace_id=bytes(range(16)), span_id=bytes(range(8)), name=name, kind=3,
        start_time_unix_nano=T0, end_time_unix_nano=T0 + 5 * MS,
        attributes=[KeyValue(key=key, value=value(one)) for key, one in attributes.items()],
    )  # fmt: skip
    if error is not None:
        span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=error))
    group = ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])
    group.scope_spans[0].scope.name = scope
    group.resource.attributes.extend(
        KeyValue(key=key, value=value(one)) for key, one in resource.items()
    )
    return sort_otlp(TracesData(resource_spans=[group]).SerializeToString(), {"coredns"})


@pytest.mark.parametrize(
    ("scope", "name", "attributes", "error", "expected"),
    [
        (DOTNET, "DNS lookup db", {"dns.question.name": "db", "dns.answers": ["10.0.0.3"]}, None,
         ("db", "A AAAA", "", "System.Net.Dns")),
        (DOTNET, "DNS lookup db", {}, None, ("db", "A AAAA", "", "System.Net.Dns")),
        ("System.Net.NameResolution", "System.Net.NameResolution.DsnLookup",
         {"dns.question.name": "db", "error.type": "host_not_found"}, "",
         ("db", "A AAAA", "host_not_found", "System.Net.Dns")),
        (DOTNET, "DNS reverse lookup 10.0.0.3", {"dns.question.name": "10.0.0.3"}, None,
         ("10.0.0.3", "PTR", "", "System.Net.Dns")),
        (NODE, "dns.lookup", {"dns.error_message": "getaddrinfo ENOTFOUND db"}, "",
         ("db", "A AAAA", "host_not_found", "node:dns.lookup")),
        (NODE, "dns.lookup", {}, "getaddrinfo EAI_AGAIN db",
         ("db", "A AAAA", "try_again", "node:dns.lookup")),
        (GO, "http.dns", {"net.host.name": "db", "http.dns.addrs": "10.0.0.3"}, None,
         ("db", "A AAAA", "", "net/http")),
        (GO, "http.dns", {"net.host.name": "db"}, "lookup db on 10.96.0.10:53: no such host",
         ("db", "A AAAA", "host_not_found", "net/http")),
        (GO, "http.dns", {}, "lookup db: i/o timeout", ("db", "A AAAA", "timeout", "net/http")),
        (NETTY, "RESOLVE", {"server.address": "db"}, None, ("db", "A AAAA", "", "netty")),
        (NETTY, "RESOLVE", {"net.peer.name": "db"}, "java.net.UnknownHostException: db",
         ("db", "A AAAA", "host_not_found", "netty")),
        (NETTY, "RESOLVE", {"server.address": "db"},
         "java.net.UnknownHostException: x Caused by: io.netty.DnsNameResolverTimeoutException: y",
         ("db", "A AAAA", "timeout", "netty")),
        (NETTY, "RESOLVE", {"server.address": "db"},
         "java.net.UnknownHostException: db: Temporary failure in name resolution",
         ("db", "A AAAA", "try_again", "netty")),
        ("io.opentelemetry.reactor-netty-1.0", "RESOLVE", {"server.address": "db"}, "whatever",
         ("db", "A AAAA", "_OTHER", "netty")),
    ],
)  # fmt: skip
def test_lookups(scope, name, attributes, error, expected) -> None:
    incoming = sorted_(scope, name, attributes, error)
    assert not incoming.others
    (span,) = incoming.lookups
    lookup = lookup_of(span)
    assert lookup is not None
    api = otlp.attributes_of(span.raw)[semconv.LOOKUP_API]
    assert (lookup.name, " ".join(lookup.types), lookup.error_type, api) == expected
    assert lookup.client == "10.0.0.7"
    if "PTR" in expected:
        assert lookup.candidates == ("3.0.0.10.in-addr.arpa.",)
    else:
        assert lookup.candidates == (
            "db.shop.svc.cluster.local.", "db.svc.cluster.local.", "db.cluster.local.", "db.",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "name", "attributes"),
    [
        (NODE, "dns.lookup", {"peer.ipv4": "10.0.0.3"}),  # does not say whose address this is
        (GO, "http.connect", {"net.host.name": "db"}),
        (NETTY, "CONNECT", {"server.address": "db"}),
        (NETTY, "RESOLVE", {"server.address": "10.0.0.3"}),
        ("other", "http.dns", {"net.host.name": "db"}),
    ],
)
def test_what_is_no_lookup_goes_on_unchanged(scope, name, attributes) -> None:
    incoming = sorted_(scope, name, attributes)
    assert not incoming.lookups
    assert [
        otlp.read_span(raw, origin).name for origin, raws in incoming.others for raw in raws
    ] == [name]


def test_without_an_address_it_is_not_joined() -> None:
    (span,) = sorted_(GO, "http.dns", {"net.host.name": "db"}, resource={}).lookups
    assert lookup_of(span) is None


def test_what_the_span_says_itself_is_kept() -> None:
    given = {"dns.question.name": "db", "client.address": "10.9.9.9", "error.type": "mine"}
    (span,) = sorted_(DOTNET, "DNS lookup db", given, error="").lookups
    lookup = lookup_of(span)
    assert lookup is not None
    assert (lookup.client, lookup.error_type) == ("10.9.9.9", "mine")


def test_it_is_joined_like_any_other() -> None:
    joiner = Joiner()
    lookup = lookup_of(sorted_(GO, "http.dns", {"net.host.name": "db"}).lookups[0])
    assert lookup is not None
    joiner.add_lookup(lookup, 0)
    root = servedns(1 * MS, 2 * MS, name="db.shop.svc.cluster.local.", client="10.0.0.7")
    joiner.add_server_span(root, 0)
    (resolution,) = joiner.drain()
    assert isinstance(resolution, Resolution)
    assert len(resolution.join.traces) == 1


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        (ProtoSpan.SPAN_KIND_CLIENT, "db", True),
        (ProtoSpan.SPAN_KIND_SERVER, "db", False),  # what it is itself, not whom it asks
        (ProtoSpan.SPAN_KIND_CLIENT, "10.0.0.3", False),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_request_that_it_is_under_tells_the_name(kind, name, found, first) -> None:
    lookup = ProtoSpan(
        trace_id=bytes(range(16)), span_id=b"lookup--", parent_span_id=b"request-",
        name="dns.lookup", kind=3, start_time_unix_nano=T0, end_time_unix_nano=T0 + 5 * MS,
    )  # fmt: skip
    request = ProtoSpan(
        trace_id=lookup.trace_id, span_id=b"request-", name="GET", kind=kind,
        attributes=[KeyValue(key="server.address", value=value(name))],
    )  # fmt: skip
    scopes = [ScopeSpans(spans=[lookup]), ScopeSpans(spans=[request])]
    scopes[0].scope.name = NODE
    group = ResourceSpans(scope_spans=scopes if first else scopes[::-1])
    incoming = sort_otlp(TracesData(resource_spans=[group]).SerializeToString(), set())
    names = [otlp.attributes_of(each.raw)[semconv.DNS_QUESTION_NAME] for each in incoming.lookups]
    assert names == ["db"] * found
    assert incoming.other_spans == 2 - found


def test_no_scope_has_two_rules() -> None:
    for scope in (DOTNET, NODE, GO, NETTY):
        assert sum(rule.scope.fullmatch(scope) is not None for rule in RULES) == 1
    assert rule_of(semconv.CLIENT_SCOPE) is None
