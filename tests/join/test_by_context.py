"""Rung ``context``: spans and messages of queries that told the server the client's trace."""

from collections import Counter
from itertools import permutations

import pytest
from msgspec.structs import replace
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns import semconv
from otel_dns.join import Joiner, JoinSettings
from otel_dns.join.annotate import encode
from otel_dns.join.recognise import lookup_of, query_of
from otel_dns.model import ClientQuery, Lookup, Resolution, Span
from otel_dns.wire import otlp
from tests.join.test_ladder import Thing, feed, resolved, settled
from tests.support.spans import (
    CLIENT,
    MS,
    SECOND,
    T0,
    exchange,
    lookup,
    nested,
    new_id,
    query,
    servedns,
    span,
)

OVER_HTTPS = {"port": 50_000, "dns_id": 0}
"""All that port and id tell of the queries of one connection."""


def asking(start_ns: int = 0, end_ns: int = 10 * MS) -> tuple[Lookup, ClientQuery]:
    sent = query(start_ns, end_ns, port=0, dns_id=None)
    trace_id = b"\x01" * 8 + new_id()
    asked = lookup(start_ns, end_ns, trace_id=trace_id, queries=[sent], kind="dnspython")
    return asked, sent


def served(asked: Lookup, above: bytes, start_ns: int = MS, *, shared: bool = False) -> list[Span]:
    """CoreDNS's spans in the trace of who asked."""
    root = servedns(
        start_ns, start_ns + MS, trace_id=asked.span.trace_id, parent_id=above,
    )  # fmt: skip
    if shared:
        raw = otlp.with_span_id(root.raw, above)
        root = replace(root, span_id=above, parent_id=b"", raw=raw)
    return [root, *nested(root, ("log", "cache"))]


@pytest.mark.parametrize("told", ["the client's trace", "nothing", "the span by EDNS"])
def test_messages_of_the_same_query_are_no_second_one(told: str) -> None:
    for order in permutations(range(3)):
        asked, sent = asking()
        trace_id = asked.span.trace_id
        spans = served(asked, sent.span_id)
        about = {
            "the client's trace": {"trace_id": trace_id},
            "nothing": {},
            "the span by EDNS": {"context": (trace_id, sent.span_id), "trace_id": trace_id},
        }[told]
        pair = exchange(MS + 5_000, MS + 500_000, **OVER_HTTPS, **about)
        parts: list[list[Thing]] = [[asked], [*spans], [*pair]]

        (resolution,) = resolved(thing for number in order for thing in parts[number]).values()

        (joined,) = resolution.join.traces
        assert resolution.join.method == semconv.METHOD_CONTEXT
        assert joined.trace.spans == tuple(spans)
        assert joined.parent == sent.span_id
        assert (joined.trace.client_port, joined.trace.dns_id) == (50_000, 0)
        assert joined.trace.answer_ns == T0 + MS + 500_000


@pytest.mark.parametrize("order", list(permutations(range(4))))
@pytest.mark.parametrize("method", ["context", "id"])
def test_queries_of_one_connection_are_told_apart_by_their_time(
    order: tuple[int, ...], method: str
) -> None:
    """Their port is the same, and over HTTPS they all have the id 0."""
    trace_id = b"\x01" * 8 + new_id()
    parts: list[list[Thing]] = []
    for start_ns in (0, 20 * MS):
        asked = lookup(
            start_ns, start_ns + 10 * MS, trace_id=trace_id, kind="dnspython",
            queries=[query(start_ns, start_ns + 9 * MS, **OVER_HTTPS)] if method == "id" else (),
        )  # fmt: skip
        about = {"trace_id": trace_id} if method == "context" else {}
        pair = exchange(start_ns + MS, start_ns + 2 * MS, **OVER_HTTPS, **about)
        parts += [[asked], [*pair]]

    found = resolved(thing for number in order for thing in parts[number])

    assert [
        [joined.trace.start_ns - asked.start_ns for joined in resolution.join.traces]
        for asked, resolution in found.items()
    ] == [[MS], [MS]]
    assert {one.join.method for one in found.values()} == {method}


def test_messages_alone_find_the_clients_own_query() -> None:
    trace_id = b"\x01" * 8 + new_id()
    sent = [query(start_ns, start_ns + 5 * MS, port=50_000) for start_ns in (0, 10 * MS)]
    asked = lookup(0, 20 * MS, trace_id=trace_id, queries=sent, kind="dnspython")
    pair = exchange(11 * MS, 12 * MS, **OVER_HTTPS, trace_id=trace_id)

    (joined,) = resolved([asked, *pair])[asked].join.traces

    assert (joined.method, joined.query) == (semconv.METHOD_CONTEXT, sent[1])


@pytest.mark.parametrize("which", ["query", "lookup"])
def test_a_root_that_shares_its_clients_span_id_gets_one_of_its_own(which: str) -> None:
    """As CoreDNS writes them with ``client_server``."""
    asked, sent = asking()
    if which == "lookup":
        asked = replace(asked, queries=())
    above = sent.span_id if which == "query" else asked.span.span_id
    root, *plugins = served(asked, above, shared=True)
    assert (root.span_id, root.parent_id) == (above, b"")

    outcomes = settled([asked, root, *plugins])

    written = [ProtoSpan.FromString(raw) for one in outcomes for _, raw in encode(one)]
    ids = Counter(one.span_id for one in written)
    assert set(ids.values()) == {1}
    _, served_again, *below = written
    assert served_again.parent_span_id == above
    assert below[0].parent_span_id == served_again.span_id
    (resolution,) = outcomes
    assert isinstance(resolution, Resolution)
    assert resolution.join.method == semconv.METHOD_CONTEXT


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_delivered_again_is_not_sent_again(*, shared: bool) -> None:
    asked, _ = asking()
    asked = replace(asked, queries=())
    spans = served(asked, asked.span.span_id, shared=shared)
    joiner = Joiner(JoinSettings())
    feed(joiner, [asked, *spans])
    outcomes = joiner.advance(7 * SECOND)
    feed(joiner, [*spans, asked], 8 * SECOND)

    outcomes += joiner.advance(70 * SECOND)

    assert len(outcomes) == 1
    assert joiner.counts["duplicate"] == len(spans) + 1


def test_a_shared_root_that_comes_late_is_no_duplicate_of_its_lookup() -> None:
    asked, _ = asking()
    asked = replace(asked, queries=())
    spans = served(asked, asked.span.span_id, shared=True)
    joiner = Joiner(JoinSettings())
    feed(joiner, [asked])
    joiner.advance(7 * SECOND)
    feed(joiner, spans, 8 * SECOND)

    joiner.advance(70 * SECOND)

    assert not joiner.counts["duplicate"]


def unnamed(*dropped: str) -> tuple[Lookup, ClientQuery]:
    """A lookup of dnspython's and its query, read from spans that lack some attributes."""
    texts = {
        semconv.DNS_QUESTION_NAME: "db",
        semconv.DNS_QUESTION_TYPE: "A",
        semconv.CLIENT_ADDRESS: CLIENT,
        semconv.RESOLVER_KIND: "dnspython",
    }
    tail = b"".join(
        otlp.string_attribute(key, text) for key, text in texts.items() if key not in dropped
    )
    trace_id = b"\x01" * 8 + new_id()
    asked = lookup_of(span(semconv.LOOKUP_SPAN, 0, 10 * MS, tail=tail, trace_id=trace_id))
    tail += otlp.int_attribute(semconv.CLIENT_PORT, 40_000) + otlp.int_attribute(semconv.DNS_ID, 7)
    sent = query_of(span(semconv.QUERY_SPAN, 0, 9 * MS, tail=tail, trace_id=trace_id))
    assert asked is not None
    assert sent is not None
    return replace(asked, queries=(sent,)), sent


@pytest.mark.parametrize(
    ("dropped", "method"),
    [
        (("dns.question.name",), "context"),
        (("dns.question.name",), "edns"),
        (("dns.question.name",), "id"),
        (("dns.question.name",), "none"),
        (("client.address",), "context"),
        (("client.address",), "edns"),
        (("client.address",), "none"),
        (("dns.question.name", "client.address"), "context"),
        (("dns.question.name", "client.address"), "edns"),
    ],
)
def test_what_is_exact_needs_neither_name_nor_address(
    dropped: tuple[str, ...], method: str
) -> None:
    asked, sent = unnamed(*dropped)
    things: list[Thing] = [asked]
    if method == "context":
        things += served(asked, sent.span_id)
    elif method == "edns":
        things += exchange(MS, 2 * MS, context=(asked.span.trace_id, sent.span_id))
    else:
        things += exchange(MS, 2 * MS, dns_id=7 if method == "id" else 8)

    (resolution,) = resolved(things).values()

    assert resolution.join.method == method
    if method != "none":
        assert resolution.join.traces[0].query == sent
        assert resolution.lookup.candidates == ("db.",)


def test_without_a_name_candidates_are_what_servers_saw() -> None:
    asked, sent = unnamed("dns.question.name")
    again = replace(sent, span_id=new_id(), start_ns=T0 + 5 * MS, dns_id=8)
    pairs = [
        *exchange(6 * MS, 7 * MS, name="db.", dns_id=8),
        *exchange(MS, 2 * MS, name="db.shop.", rcode="NXDOMAIN"),
    ]

    (resolution,) = resolved([replace(asked, queries=(sent, again)), *pairs]).values()

    assert resolution.lookup.candidates == ("db.shop.", "db.")
    assert resolution.breakdown.waste_queries == 1


def test_a_c_library_that_tells_no_name_tells_nothing() -> None:
    bare = span(semconv.LOOKUP_SPAN, 0, MS, tail=otlp.string_attribute("client.address", CLIENT))

    assert lookup_of(bare) is None
