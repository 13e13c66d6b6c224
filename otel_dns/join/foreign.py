"""Lookups of other languages' OpenTelemetry: their DNS spans, made to say what ours say.

A table of rules, one an instrumentation. What a rule finds is appended to the span as the
attributes that a lookup span of otel-dns has, so that all that follows treats it alike; nothing
that the span says itself is changed. What an instrumentation does not tell stays unknown: none of
them tells the search list, so in a Pod the one that Kubernetes gives is taken, and none tells the
client's address, which the resource must (``k8s.pod.ip``; the Collector's k8s_attributes sets it).

Recorded of real programs (tests/recordings/others-lookups): opentelemetry-js-contrib
instrumentation-dns, opentelemetry-go-contrib otelhttptrace, opentelemetry-java-instrumentation
reactor-netty (``connection-telemetry.enabled``). Only read: dotnet/runtime
NameResolutionTelemetry.cs (.NET 9), and what these were called in other versions.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from google.protobuf.message import DecodeError
from msgspec.structs import replace
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from otel_dns import semconv
from otel_dns.model import Span
from otel_dns.wire import otlp
from otel_dns.wire.otlp import AttributeValue

_CLUSTER_DOMAIN: Final = "cluster.local"
_NDOTS: Final = 5
"""What the kubelet writes into a Pod's resolv.conf (dnsPolicy ClusterFirst)."""
_MAX_NAME: Final = 1024
_MAX_ERROR: Final = 16_384
"""Characters of an error's text that are looked at."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one instrumentation's DNS spans are known, and where they say what."""

    scope: re.Pattern[str]
    """Of the whole scope's name."""
    span: re.Pattern[str]
    """Of the whole span's name; group ``name``, if it has one, is the name asked for."""
    api: str
    """What made the lookup: ``otel_dns.lookup.api``."""
    name_keys: tuple[str, ...] = ()
    """Attributes with the name asked for, the first that is there."""
    parent_keys: tuple[str, ...] = ()
    """Attributes of the client span that it is under with the name, where it has none itself."""
    failed_name: re.Pattern[str] | None = None
    """In the error's text: group ``name``, where nothing else has it."""
    message_keys: tuple[str, ...] = ()
    """Attributes with the error's text; the span's status and its exception have it too."""
    errors: tuple[tuple[str, str], ...] = ()
    """Pieces of an error's text, and the ``error.type`` that each stands for; the first counts."""
    besides: tuple[str, ...] = ()
    """Who may answer without a query, beside DNS: ``otel_dns.lookup.besides_dns``."""


RULES: Final = (
    Rule(
        scope=re.compile(r"(?:Experimental\.)?System\.Net\.NameResolution"),
        span=re.compile(
            r"DNS (?:reverse )?lookup (?P<name>.+)"
            r"|(?:Experimental\.)?System\.Net\.NameResolution\.D(?:ns|sn)Lookup"
        ),
        api="System.Net.Dns",
        name_keys=(semconv.DNS_QUESTION_NAME,),
    ),
    Rule(
        scope=re.compile(r"@opentelemetry/instrumentation-dns"),
        span=re.compile(r"dns\.lookup"),
        api="node:dns.lookup",
        # The name is not on the span; only an error's text has it, and the HTTP request that it is
        # for.
        parent_keys=(semconv.SERVER_ADDRESS, "net.peer.name"),
        failed_name=re.compile(r"getaddrinfo [A-Z_]+ (?P<name>\S+)"),
        message_keys=("dns.error_message",),
        errors=(
            ("ENOTFOUND", semconv.ERROR_HOST_NOT_FOUND),
            ("EAI_AGAIN", semconv.ERROR_TRY_AGAIN),
            ("EAI_FAIL", semconv.ERROR_NO_RECOVERY),
        ),
    ),
    Rule(
        scope=re.compile(
            r"go\.opentelemetry\.io/(?:otel/instrumentation/httptrace"
            r"|contrib/instrumentation/net/http/httptrace/otelhttptrace)"
        ),
        span=re.compile(r"http\.dns"),
        api="net/http",
        name_keys=("net.host.name", semconv.SERVER_ADDRESS),
        failed_name=re.compile(r"lookup (?P<name>\S+?)(?: on \S+)?:"),
        errors=(
            ("no such host", semconv.ERROR_HOST_NOT_FOUND),
            ("i/o timeout", semconv.ERROR_TIMEOUT),
            ("server misbehaving", semconv.ERROR_TRY_AGAIN),
        ),
    ),
    Rule(
        scope=re.compile(r"io\.opentelemetry\.(?:reactor-)?netty-\d\.\d"),
        span=re.compile(r"RESOLVE"),
        api="netty",
        name_keys=(semconv.SERVER_ADDRESS, "net.peer.name"),
        errors=(
            ("DnsNameResolverTimeoutException", semconv.ERROR_TIMEOUT),
            ("Temporary failure in name resolution", semconv.ERROR_TRY_AGAIN),
            ("UnknownHostException", semconv.ERROR_HOST_NOT_FOUND),
        ),
        # netty's resolver keeps answers for their TTL, the JVM's for 30 s.
        besides=(semconv.BESIDES_RESOLVER_CACHE,),
    ),
)


@otlp.cached
def rule_of(scope: str) -> Rule | None:
    """Find the rule of an instrumentation scope's name."""
    return next((rule for rule in RULES if rule.scope.fullmatch(scope)), None)


def told_by_parent(parent: ProtoSpan, rule: Rule) -> str:
    """Tell what was looked up for a client's request; empty if that does not say.

    Of a span of another kind ``server.address`` is not whom it asks, but what it is itself.
    """
    if parent.kind != ProtoSpan.SPAN_KIND_CLIENT:
        return ""
    found = {each.key: each.value.string_value for each in parent.attributes}
    return _text(found, rule.parent_keys)


def adapted(span: Span, rule: Rule, parent_told: str = "") -> Span | None:
    """Give another instrumentation's DNS span the attributes of a lookup.

    Args:
        span: a span of the rule's scope.
        rule: as :func:`rule_of` finds it.
        parent_told: the name that :func:`told_by_parent` found.

    Returns:
        The span with attributes appended; None where it is no lookup, or does not tell of what.

    Raises:
        MalformedError: the span's attributes are broken.
    """
    matched = rule.span.fullmatch(span.name)
    if matched is None:
        return None
    attributes = otlp.attributes_of(span.raw)
    message = _error_message(span, rule, attributes)
    name = _text(attributes, rule.name_keys) or matched.groupdict().get("name") or ""
    if not name and message and rule.failed_name is not None:
        failed = rule.failed_name.search(message)
        name = failed["name"] if failed else ""
    name = name or parent_told
    if not name:
        return None
    name = name[:_MAX_NAME]
    reverse = _is_address(name)
    if reverse and "reverse" not in span.name:
        return None  # an address is not looked up
    wanted: dict[str, str | int | tuple[str, ...]] = {
        semconv.DNS_QUESTION_NAME: name,
        semconv.LOOKUP_API: rule.api,
        **_of_resource(span.origin.resource),
    }
    if reverse:
        wanted[semconv.DNS_QUESTION_TYPE] = "PTR"
    if rule.besides:
        wanted[semconv.LOOKUP_BESIDES_DNS] = rule.besides
    if message is not None:
        wanted[semconv.ERROR_TYPE] = next(
            (kind for piece, kind in rule.errors if piece in message), "_OTHER"
        )
    missing = {key: value for key, value in wanted.items() if key not in attributes}
    return replace(span, raw=span.raw + _encoded(missing))


def _error_message(span: Span, rule: Rule, attributes: Mapping[str, AttributeValue]) -> str | None:
    """Return an error's text, empty where it has none; None where the lookup went well."""
    try:
        read = ProtoSpan.FromString(span.raw)
    except DecodeError:
        return None
    if read.status.code != Status.STATUS_CODE_ERROR:
        return None
    said = [_text(attributes, (*rule.message_keys, semconv.ERROR_TYPE)), read.status.message]
    # With what caused it, which is only in the trace of calls.
    said += [
        each.value.string_value
        for event in read.events
        if event.name == "exception"
        for each in event.attributes
    ]
    return " ".join(said)[:_MAX_ERROR]


def _text(attributes: Mapping[str, AttributeValue], keys: tuple[str, ...]) -> str:
    values = (attributes.get(key) for key in keys)
    return next((value for value in values if isinstance(value, str) and value), "")


@otlp.cached
def _of_resource(encoded: bytes) -> Mapping[str, str | int | tuple[str, ...]]:
    """Tell what a resource says of a lookup: the client's address, and a Pod's search list."""
    resource = otlp.resource_attributes(encoded)
    found: dict[str, str | int | tuple[str, ...]] = {}
    address = resource.get(semconv.K8S_POD_IP)
    if isinstance(address, str) and address:
        found[semconv.CLIENT_ADDRESS] = address
    namespace = resource.get(semconv.K8S_NAMESPACE_NAME)
    if isinstance(namespace, str) and namespace:
        found[semconv.RESOLVER_SEARCH] = (
            f"{namespace}.svc.{_CLUSTER_DOMAIN}", f"svc.{_CLUSTER_DOMAIN}", _CLUSTER_DOMAIN,
        )  # fmt: skip
        found[semconv.RESOLVER_NDOTS] = _NDOTS
    return found


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _encoded(attributes: Mapping[str, str | int | tuple[str, ...]]) -> bytes:
    """Encode attributes as a span has them: a message's fields may be appended."""
    return ProtoSpan(
        attributes=[KeyValue(key=key, value=_any(value)) for key, value in attributes.items()]
    ).SerializeToString()


def _any(value: str | int | tuple[str, ...]) -> AnyValue:
    if isinstance(value, tuple):
        return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=v) for v in value]))
    return AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
