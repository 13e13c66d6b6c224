"""Which spans concern us, and what they say: lookup spans and CoreDNS's server spans."""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from otel_dns import marks, names, semconv
from otel_dns.model import ClientQuery, Lookup, ServerTrace, Span
from otel_dns.wire import MalformedError, otlp

_TYPES_OF_FAMILY: Final = {"any": ("A", "AAAA"), "inet": ("A",), "inet6": ("AAAA",)}
_TELL_QUERIES: Final = frozenset({"dnspython"})
"""Kinds of resolvers whose clients see their own queries."""
_TOLD_OF_A_QUERY: Final = (
    semconv.COREDNS_REMOTE,
    semconv.COREDNS_NAME,
    semconv.COREDNS_TYPE,
    semconv.COREDNS_RCODE,
    semconv.COREDNS_PROTO,
)
_MAX_SEARCH: Final = 32
"""Domains of a search list that are looked at, Kubernetes' own bound: each costs memory."""
_MAX_NAME: Final = 1024
"""Characters of a name that are looked at: no name is as long, escapes included."""
_MAX_TEXT: Final = 255
"""Characters of addresses, types and the like: some are remembered for longer than the lookup."""
_MAX_CACHED: Final = 512
"""Characters of a name and its search list whose candidates are remembered."""
_MAX_PORT: Final = 65_535
"""Ports and message ids."""
_Nanoseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
_UNSAMPLED: Final = msgspec.json.Decoder(
    # The client sends 256 at most.
    Annotated[list[tuple[str, _Nanoseconds, _Nanoseconds, str]], msgspec.Meta(max_length=4096)]
)


def lookup_of(span: Span) -> Lookup | None:
    """Read a lookup from its span, or None when the span lacks what a join needs.

    Needed are the name and the client's address, but not where the client tells its queries: what
    they tell, or carry, joins by itself. Without a search list the name stands for itself.

    Raises:
        MalformedError: the span's attributes are broken.
    """
    attributes = otlp.attributes_of(span.raw)
    name, error_type = attributes.get(semconv.DNS_QUESTION_NAME), attributes.get(semconv.ERROR_TYPE)
    if not isinstance(name, str):
        if attributes.get(semconv.RESOLVER_KIND) not in _TELL_QUERIES:
            return None
        name = ""
    error_type = error_type[:_MAX_TEXT] if isinstance(error_type, str) else ""
    return _lookup(span, name, error_type, attributes)


def _lookup(
    span: Span, name: str, error_type: str, attributes: Mapping[str, otlp.AttributeValue]
) -> Lookup | None:
    client = attributes.get(semconv.CLIENT_ADDRESS)
    said_kind = attributes.get(semconv.RESOLVER_KIND)
    kind = said_kind[:_MAX_TEXT] if isinstance(said_kind, str) else "other"
    if not isinstance(client, str) or not 0 < len(client) <= _MAX_TEXT:
        if kind not in _TELL_QUERIES:
            return None
        client = ""
    search = attributes.get(semconv.RESOLVER_SEARCH)
    if isinstance(search, str):
        # A tag of a Jaeger span, which is a single value: written as in resolv.conf.
        search = tuple(search.split())
    ndots = attributes.get(semconv.RESOLVER_NDOTS)
    question_type = attributes.get(semconv.DNS_QUESTION_TYPE)
    if isinstance(question_type, str):
        question_type = question_type[:_MAX_TEXT]
    family = attributes.get(semconv.LOOKUP_FAMILY)
    return Lookup(
        span=span,
        client=client,
        candidates=_candidates(
            name[: _MAX_NAME + 1],
            tuple(item[: _MAX_NAME + 1] for item in search[:_MAX_SEARCH] if isinstance(item, str))
            if isinstance(search, tuple)
            else (),
            ndots if isinstance(ndots, int) else 1,
            kind,
            question_type if isinstance(question_type, str) else "",
        )
        if name
        else (),
        types=(question_type,)
        if isinstance(question_type, str)
        else _TYPES_OF_FAMILY.get(family if isinstance(family, str) else "any", ("A", "AAAA")),
        error_type=error_type,
        kind=kind,
        name=name,
        marked=_marked(name, span.trace_id, span.span_id)
        if attributes.get(semconv.LOOKUP_MARKED) == semconv.MARK_CASE
        else "",
        besides=_besides(attributes),
    )


def unsampled_of(span: Span) -> list[Lookup]:
    """Read the lookups that a compact record tells of: they have no spans of their own.

    Raises:
        MalformedError: the record's attributes are broken, or do not fit together.
    """
    attributes = otlp.attributes_of(span.raw)
    try:
        told = _UNSAMPLED.decode(str(attributes.get(semconv.UNSAMPLED_LOOKUPS)))
    except msgspec.MsgspecError as found:
        raise MalformedError(f"{semconv.UNSAMPLED_LOOKUPS} of {span.name}: {found}") from None
    lookups = []
    for number, (name, after, duration, error) in enumerate(told, start=1):
        start_ns = span.start_ns + after
        own = Span(
            span.trace_id,
            number.to_bytes(8),
            span.span_id,
            semconv.LOOKUP_SPAN,
            start_ns,
            start_ns + duration,
            b"",
            span.origin,
        )
        lookup = _lookup(own, name, error[:_MAX_TEXT], attributes)
        if lookup is not None:
            lookups.append(replace(lookup, recorded=False))
    return lookups


def _besides(attributes: Mapping[str, otlp.AttributeValue]) -> tuple[str, ...]:
    """Tell who could have answered without a query."""
    named = attributes.get(semconv.LOOKUP_BESIDES_DNS)
    besides = tuple(one for one in named if isinstance(one, str)) if type(named) is tuple else ()
    if attributes.get(semconv.LOOKUP_CACHED) is True:
        return (semconv.BESIDES_CACHE, *besides)
    return besides


def query_of(span: Span) -> ClientQuery | None:
    """Read a query from its span, or None when it does not tell its type.

    Raises:
        MalformedError: the span's attributes are broken.
    """
    attributes = otlp.attributes_of(span.raw)

    def text(key: str, most: int = _MAX_TEXT) -> str:
        value = attributes.get(key)
        return value[:most] if isinstance(value, str) else ""

    def number(key: str, limit: int) -> int | None:
        value = attributes.get(key)
        return value if type(value) is int and 0 <= value <= limit else None

    name, kind = (
        text(semconv.DNS_QUESTION_NAME, _MAX_NAME + 1), text(semconv.DNS_QUESTION_TYPE),
    )  # fmt: skip
    if not kind:
        return None
    return ClientQuery(
        span_id=span.span_id,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        name=names.normalise(name) if name else "",
        type=kind,
        server=text(semconv.SERVER_ADDRESS),
        server_port=number(semconv.SERVER_PORT, _MAX_PORT) or 0,
        client_port=number(semconv.CLIENT_PORT, _MAX_PORT) or 0,
        dns_id=number(semconv.DNS_ID, _MAX_PORT),
        transport=text(semconv.QUERY_TRANSPORT),
        client=text(semconv.CLIENT_ADDRESS),
        marked=_marked(name, span.trace_id, span.span_id)
        if semconv.MARK_CASE in _words(attributes.get(semconv.QUERY_MARKED))
        else "",
    )


def _words(value: otlp.AttributeValue | None) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def _marked(name: str, trace_id: bytes, span_id: bytes) -> str:
    """Return a name as it went out, without the last dot; what no name is that long is not one."""
    bare = name.removesuffix(".")
    return marks.cased(bare, trace_id, span_id) if len(bare) <= _MAX_NAME else ""


def is_lookup(span: Span) -> bool:
    """Whether a query's span is also a lookup's: the application sent the query by itself.

    Raises:
        MalformedError: the span's attributes are broken.
    """
    return semconv.LOOKUP_API in otlp.attributes_of(span.raw)


def _candidates(
    name: str, search: tuple[str, ...], ndots: int, kind: str, question_type: str
) -> tuple[str, ...]:
    if question_type == "PTR" and kind != "dnspython":
        # The C library was given an address; dnspython is given the name it asks for.
        reverse = names.reverse(name)
        if reverse is not None:
            return (reverse,)
    if len(name) + sum(map(len, search)) > _MAX_CACHED:
        return names.candidates.__wrapped__(name, search, ndots, kind)
    return names.candidates(name, search, ndots, kind)


def server_trace_of(root: Span) -> ServerTrace:
    """Read a server trace from its ``servedns`` root, which is its only span so far.

    Raises:
        MalformedError: the root's attributes are broken.
    """
    attributes = otlp.attributes_of(root.raw)
    client, name, type_, rcode, proto = [
        value[:_MAX_NAME] if isinstance(value, str) else ""
        for value in map(attributes.get, _TOLD_OF_A_QUERY)
    ]
    server = otlp.server_instance(root.origin.resource)
    client = client[:_MAX_TEXT]
    return ServerTrace(root, (root,), client, names.normalise(name), type_, rcode, proto, server)
