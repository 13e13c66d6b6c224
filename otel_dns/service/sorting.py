"""What has come in, sorted by what is to be done with it."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from otel_dns import semconv
from otel_dns.join import foreign
from otel_dns.model import Message, Origin, Span
from otel_dns.wire import MalformedError, Refusals, otlp

_SCOPE_AS_TAG: Final = semconv.OTEL_SCOPE_NAME.encode()
"""How spans of jaeger-client say it: Thrift has no scopes, and the Collector's receiver makes none
of the tag."""
_CLIENT_SCOPE: Final = otlp.encode_scope(semconv.CLIENT_SCOPE)


class Incoming(NamedTuple):
    """What one request, or one piece of a stream, brought."""

    lookups: list[Span]
    """Of clients: their lookups, and their queries under them."""
    server_spans: list[Span]
    others: list[tuple[Origin, bytes]]
    """Spans that are not ours: they pass through, unchanged to the byte."""
    refused: Refusals
    """Spans that cannot be sent on."""
    messages: Sequence[Message] = ()
    """DNS messages that servers saw: dnstap, log lines."""


def sort_otlp(request: bytes, coredns_services: AbstractSet[str]) -> Incoming:
    """Sort the spans of an OTLP request.

    Spans that travel on together with ours are looked at too: a backend refuses a whole request for
    one span with ids of a wrong length. Without any of ours a request stays as its sender made it.

    Raises:
        MalformedError: the request is not OTLP, or a span in it is broken.
    """
    otlp.check(request)
    sorted_ = Incoming([], [], [], Refusals())
    others: list[otlp.SpanGroup] = []
    for group in otlp.cut(request):
        origin, spans = group
        scope = otlp.scope_name(origin.scope)
        rule = foreign.rule_of(scope)
        if scope == semconv.CLIENT_SCOPE or rule is not None:
            ours = sorted_.lookups
        elif otlp.service_name(origin.resource) in coredns_services:
            ours = sorted_.server_spans
        else:
            tagged = not scope and any(_SCOPE_AS_TAG in raw for raw in spans)
            others.append(_without_tagged(group, sorted_) if tagged else group)
            continue
        for raw in spans:
            try:
                span = otlp.read_span(raw, origin)
            except MalformedError as error:
                sorted_.refused.add(str(error))
                continue
            if rule is not None:
                _sort_foreign(span, rule, sorted_)
            else:
                ours.append(span)
    mixed = bool(sorted_.lookups or sorted_.server_spans or sorted_.refused)
    for origin, spans in others:
        for raw in spans:
            try:
                if mixed:
                    otlp.read_span(raw, origin)
            except MalformedError as error:
                sorted_.refused.add(str(error))
            else:
                sorted_.others.append((origin, raw))
    return sorted_


def _without_tagged(group: otlp.SpanGroup, sorted_: Incoming) -> otlp.SpanGroup:
    """Take a client's lookups out of spans that have a tag in place of a scope."""
    ours = group.origin._replace(scope=_CLIENT_SCOPE)
    rest = []
    for raw in group.spans:
        try:
            if (
                _SCOPE_AS_TAG in raw
                and otlp.attributes_of(raw).get(semconv.OTEL_SCOPE_NAME) == semconv.CLIENT_SCOPE
            ):
                sorted_.lookups.append(otlp.read_span(raw, ours))
            else:
                rest.append(raw)
        except MalformedError as error:
            sorted_.refused.add(str(error))
    return group._replace(spans=rest)


def _sort_foreign(span: Span, rule: foreign.Rule, sorted_: Incoming) -> None:
    """Sort a span of another language's DNS instrumentation."""
    try:
        lookup = foreign.adapted(span, rule)
    except MalformedError:
        lookup = None
    if lookup is None:
        sorted_.others.append((span.origin, span.raw))
    else:
        sorted_.lookups.append(lookup)


def sort_spans(
    spans: list[Span], refused: Refusals, coredns_services: AbstractSet[str]
) -> Incoming:
    """Sort spans that were decoded from Zipkin."""
    sorted_ = Incoming([], [], [], refused)
    for span in spans:
        if otlp.service_name(span.origin.resource) in coredns_services:
            sorted_.server_spans.append(span)
        else:
            sorted_.others.append((span.origin, span.raw))
    return sorted_
