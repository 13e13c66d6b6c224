"""What has come in, sorted by what is to be done with it."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, TypeAlias

from otel_dns import semconv
from otel_dns.join import foreign
from otel_dns.model import Message, Span
from otel_dns.service.own_traces import OwnTrace
from otel_dns.wire import MalformedError, Refusals, otlp

_SCOPE_AS_TAG: Final = semconv.OTEL_SCOPE_NAME.encode()
"""How spans of jaeger-client say it: Thrift has no scopes, and the Collector's receiver makes none
of the tag."""
_CLIENT_SCOPE: Final = otlp.encode_scope(semconv.CLIENT_SCOPE)

_Group: TypeAlias = tuple[otlp.SpanGroup, Iterable[otlp.ProtoSpan]]
"""Spans as bytes, and as protobuf read them."""


class Incoming(NamedTuple):
    """What one request, or one piece of a stream, brought."""

    lookups: list[Span]
    """Of clients: their lookups, and their queries under them."""
    server_spans: list[Span]
    others: list[otlp.SpanGroup]
    """Spans that are not ours: they pass through, unchanged to the byte."""
    refused: Refusals
    """Spans that cannot be sent on."""
    messages: Sequence[Message] = ()
    """DNS messages that servers saw: dnstap, log lines."""
    trace: OwnTrace | None = None
    """The processor's own of the request; whoever has the spans goes on with it."""
    rest: bytes = b""
    """What the request said beside spans: encoded fields that nobody knows. They travel on."""
    request: int = 0
    """Its number (:mod:`otel_dns.service.requests`); 0 where nobody asks."""

    @property
    def other_spans(self) -> int:
        """How many spans are not ours."""
        return sum(len(group.spans) for group in self.others)


def sort_otlp(request: bytes, coredns_services: AbstractSet[str]) -> Incoming:
    """Sort the spans of an OTLP request.

    Spans that travel on together with ours are looked at too: a backend refuses a whole request for
    one span with ids of a wrong length. Without any of ours a request stays as its sender made it.

    A broken span among good ones is refused alone: a Collector throws away all that it has gathered
    of many senders when it is told that its request is broken.

    Raises:
        MalformedError: the request is not OTLP, or no span in it is sound.
    """
    sorted_ = Incoming([], [], [], Refusals())
    others: list[_Group] = []
    tagged = _SCOPE_AS_TAG in request
    foreigners: list[tuple[Span, foreign.Rule]] = []
    for group, parsed in _sound(request, sorted_.refused):
        origin = group.origin
        scope = otlp.scope_name(origin.scope)
        rule = foreign.rule_of(scope)
        if scope == semconv.CLIENT_SCOPE or rule is not None:
            ours = sorted_.lookups
        elif otlp.service_name(origin.resource) in coredns_services:
            ours = sorted_.server_spans
        else:
            another: _Group = group, parsed
            others.append(_without_tagged(another, sorted_) if tagged and not scope else another)
            continue
        spans = otlp.spans_of(group, parsed, sorted_.refused)
        if rule is None:
            ours += spans
        else:
            foreigners += [(span, rule) for span in spans]
    if foreigners:
        _sort_foreign(foreigners, others, sorted_)
    mixed = bool(sorted_.lookups or sorted_.server_spans or sorted_.refused)
    for another in others:
        sorted_.others.append(_acceptable(another, sorted_.refused) if mixed else another[0])
    rest = otlp.rest_of(request) if mixed else b""
    return sorted_._replace(rest=rest) if rest else sorted_


def _sound(request: bytes, refused: Refusals) -> Iterable[_Group]:
    """Read a request, without what protobuf cannot parse of it: text that is no UTF-8, most often.

    Raises:
        MalformedError: the request is not OTLP, or nothing in it is sound.
    """
    try:
        return otlp.read(request)
    except MalformedError:
        sound = otlp.sound(request, refused)
        if not sound:
            raise
        return otlp.read(otlp.build_grouped(sound))


def _acceptable(another: _Group, refused: Refusals) -> otlp.SpanGroup:
    """Leave out of a group what a backend would refuse together with ours."""
    group, parsed = another
    wrong = list(map(otlp.wrong_ids, parsed))
    if not any(wrong):
        return group
    for why in filter(None, wrong):
        refused.add(why)
    kept = [raw for raw, why in zip(group.spans, wrong, strict=True) if not why]
    return group._replace(spans=kept)


def _without_tagged(another: _Group, sorted_: Incoming) -> _Group:
    """Take a client's lookups out of spans that have a tag in place of a scope."""
    group, parsed = another
    ours = group.origin._replace(scope=_CLIENT_SCOPE)
    rest: list[bytes] = []
    for read, raw in zip(parsed, group.spans, strict=True):
        if (
            _SCOPE_AS_TAG in raw
            and otlp.attributes_of(raw).get(semconv.OTEL_SCOPE_NAME) == semconv.CLIENT_SCOPE
        ):
            try:
                sorted_.lookups.append(otlp.span_of(read, raw, ours))
            except MalformedError as error:
                sorted_.refused.add(str(error))
        else:
            rest.append(raw)
    return group._replace(spans=rest), otlp.SpansInPieces(rest)


def _sort_foreign(
    spans: Sequence[tuple[Span, foreign.Rule]], others: Sequence[_Group], sorted_: Incoming
) -> None:
    """Sort spans of other languages' DNS instrumentations.

    What they are under is looked for in the same request: SDKs send both together, mostly.
    """
    rules = {
        (span.trace_id, span.parent_id): rule
        for span, rule in spans
        if rule.parent_keys and span.parent_id
    }
    told = {
        key: foreign.told_by_parent(read, rules[key])
        for _, parsed in others if rules
        for read in parsed
        if (key := (read.trace_id, read.span_id)) in rules
    }  # fmt: skip
    for span, rule in spans:
        try:
            lookup = foreign.adapted(span, rule, told.get((span.trace_id, span.parent_id), ""))
        except MalformedError:
            lookup = None
        if lookup is None:
            sorted_.others.append(otlp.SpanGroup(span.origin, (span.raw,)))
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
            sorted_.others.append(otlp.SpanGroup(span.origin, (span.raw,)))
    return sorted_
