"""A server trace of messages: what dnstap and log lines tell of one query at one server.

Where the trace plugin is not switched on, or did not sample the query, the messages make a server
trace of their own: ``servedns`` from the query's arrival to the answer's departure, and under it a
``connect`` for every exchange with an upstream. Where there are spans too, the messages add what
spans do not have: port, id, letter case, and when the answer was really out.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.model import Message, Origin, ServerTrace, Span
from otel_dns.wire import otlp

_KIND_SERVER: Final = 2
_KIND_CLIENT: Final = 3
_EVIDENCE: Final = semconv.EVIDENCE.encode()


def server_trace(messages: Sequence[Message], trace_id: bytes = b"") -> ServerTrace | None:
    """Make a server trace of messages alone, with its root only.

    Args:
        messages: all of one query at one server, in any order.
        trace_id: CoreDNS's own for it, 16 bytes; empty when it has none.

    Returns:
        Nothing while only an upstream's messages are there.
    """
    query, response = _ends(messages)
    told = query or response
    if told is None:
        return None
    start_ns = query.time_ns if query else told.query_time_ns or told.time_ns
    last_ns = response.time_ns if response else max(one.time_ns for one in messages)
    end_ns = max(last_ns, start_ns)
    rcode = response.rcode if response else ""
    trace_id = trace_id or bytes(8) + _digest(told, start_ns)
    attributes = [
        otlp.string_attribute(semconv.COREDNS_NAME, told.name),
        otlp.word_attribute(semconv.COREDNS_TYPE, told.type),
        otlp.word_attribute(semconv.COREDNS_PROTO, told.proto),
        otlp.string_attribute(semconv.COREDNS_REMOTE, told.client),
        otlp.int_attribute(semconv.CLIENT_PORT, told.client_port),
        otlp.int_attribute(semconv.DNS_ID, told.dns_id),
        otlp.word_attribute(semconv.EVIDENCE, told.source),
    ]
    if rcode:
        attributes.append(otlp.word_attribute(semconv.COREDNS_RCODE, rcode))
    root = _span(
        trace_id, trace_id[8:], b"", semconv.SERVEDNS_SPAN, _KIND_SERVER, start_ns, end_ns,
        b"".join(attributes), told.server,
    )  # fmt: skip
    return ServerTrace(
        root, (root,), told.client, told.name, told.type, rcode, told.proto, told.server,
        told.client_port, told.dns_id, told.source, start_ns, response.time_ns if response else 0,
        told.asked,
    )  # fmt: skip


def completed(trace: ServerTrace, messages: Sequence[Message]) -> ServerTrace:
    """Add to a server trace of spans what the messages of the same query tell.

    The name becomes the one that the client asked: the span has it after any rewrite.
    """
    query, response = _ends(messages)
    told = query or response
    if told is None:
        return trace
    exact = told.source == "dnstap"
    return replace(
        trace,
        client=told.client or trace.client,
        name=told.name,
        type=told.type,
        rcode=response.rcode if response else trace.rcode,
        server=told.server or trace.server,
        client_port=told.client_port,
        dns_id=told.dns_id,
        asked_ns=query.time_ns if query and exact else told.query_time_ns if exact else 0,
        sent_ns=response.time_ns if response and response.source == "dnstap" else 0,
        asked=told.asked,
    )


def forwarded(messages: Sequence[Message], root: Span) -> list[Span]:
    """Make a ``connect`` span of every exchange with an upstream."""
    queries = sorted(
        (one for one in messages if one.kind == "FQ"), key=lambda one: (one.time_ns, one.peer)
    )
    responses = {
        (one.peer, one.query_time_ns): one for one in messages if one.kind == "FR"
    }  # CoreDNS writes the same query time on both
    spans = []
    for number, query in enumerate(queries):
        response = responses.pop((query.peer, query.time_ns), None)
        spans.append(_connect(root, number, query, query.time_ns, response))
    for number, response in enumerate(responses.values(), len(queries)):
        start_ns = response.query_time_ns or response.time_ns
        spans.append(_connect(root, number, response, start_ns, response))
    return spans


def is_made(span: Span) -> bool:
    """Whether a span was made of messages here: no server sent it."""
    return _EVIDENCE in span.raw and semconv.EVIDENCE in otlp.attributes_of(span.raw)


def _connect(
    root: Span, number: int, told: Message, start_ns: int, response: Message | None
) -> Span:
    attributes = otlp.string_attribute(semconv.PEER_ADDRESS, told.peer)
    attributes += otlp.word_attribute(semconv.EVIDENCE, told.source)
    if response is not None and response.rcode:
        attributes += otlp.string_attribute(semconv.COREDNS_RCODE, response.rcode)
    span_id = blake2b(root.span_id + bytes((number & 0xFF,)), digest_size=8).digest()
    end_ns = response.time_ns if response else root.end_ns
    return _span(
        root.trace_id, span_id, root.span_id, semconv.CONNECT_SPAN, _KIND_CLIENT,
        start_ns, max(end_ns, start_ns), attributes, told.server,
    )  # fmt: skip


def _span(  # noqa: PLR0917 - a span's own fields, in their order
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes,
    name: str,
    kind: int,
    start_ns: int,
    end_ns: int,
    attributes: bytes,
    server: str,
) -> Span:
    raw = otlp.encode_span(
        trace_id=trace_id, span_id=span_id, parent_id=parent_id, name=name, kind=kind,
        start_ns=start_ns, end_ns=end_ns, tail=attributes,
    )  # fmt: skip
    return Span(trace_id, span_id, parent_id, name, start_ns, end_ns, raw, origin_of(server))


def origin_of(server: str) -> Origin:
    """Make the origin of spans that messages of this server make."""
    return otlp.origin_of(server or "dns")


def _ends(messages: Sequence[Message]) -> tuple[Message | None, Message | None]:
    """Return the client's query and its response: dnstap's rather than a log's, which is late.

    A server that asks itself to answer (:mod:`otel_dns.join.reentry`) tells of that too: later than
    of the query, and with another question.
    """
    query = response = None
    for message in messages:
        if message.kind == "CQ" and (query is None or _earlier(message, query)):
            query = message
    for message in messages:
        if (
            message.kind == "CR"
            and (query is None or (message.name, message.type) == (query.name, query.type))
            and (response is None or _earlier(message, response))
        ):
            response = message
    return query, response


def _earlier(one: Message, other: Message) -> bool:
    if one.source != other.source:
        return one.source == "dnstap"
    return (one.query_time_ns or one.time_ns) < (other.query_time_ns or other.time_ns)


def _digest(message: Message, start_ns: int) -> bytes:
    """Make an id of a query that has none: the same one whenever its messages are read."""
    text = (
        f"{message.server} {message.client} {message.client_port} {message.dns_id} {message.type}"
        f" {message.name} {start_ns}"
    )
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
