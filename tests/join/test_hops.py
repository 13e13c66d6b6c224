"""From a cache on the node to the cluster's DNS and on, in one trace."""

from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns import semconv
from otel_dns.join import Joiner, JoinSettings
from otel_dns.join.annotate import encode
from otel_dns.model import Message, Resolution, Span
from otel_dns.wire import otlp
from tests.support.spans import MS, SECOND, exchange, lookup, message, servedns, span

NODE = "10.0.0.1"
CLUSTER = "10.0.1.1"


def connect(above: Span, start_ns: int, end_ns: int, peer: str) -> Span:
    return span(
        semconv.CONNECT_SPAN, start_ns, end_ns, trace_id=above.trace_id,
        parent_id=above.span_id, tail=otlp.string_attribute(semconv.PEER_ADDRESS, peer),
    )  # fmt: skip


def chain(at: int) -> tuple[Span, ...]:
    """Three servers, one behind the other."""
    first = servedns(at + MS, at + 20 * MS)
    one = connect(first, at + 2 * MS, at + 19 * MS, "10.96.0.10:53")
    second = servedns(at + 3 * MS, at + 18 * MS, client=NODE, proto="tcp")
    other = connect(second, at + 4 * MS, at + 17 * MS, "192.0.2.53:53")
    third = servedns(at + 5 * MS, at + 16 * MS, client=CLUSTER)
    return first, one, second, other, third


def resolve(joiner: Joiner, at: int, *things: Span) -> Resolution:
    joiner.add_lookup(lookup(at, at + 21 * MS), at)
    for one in things:
        joiner.add_server_span(one, at)
    outcomes = joiner.advance(at + 7 * SECOND)
    (resolution,) = [one for one in outcomes if isinstance(one, Resolution)]
    return resolution


def test_each_hop_hangs_under_the_connect_that_caused_it() -> None:
    first, one, second, other, third = chain(0)

    resolution = resolve(Joiner(JoinSettings()), 0, third, other, first, second, one)

    joined = resolution.join.traces
    assert [(each.trace.root, each.hop, each.parent) for each in joined] == [
        (first, 0, b""), (second, 1, one.span_id), (third, 2, other.span_id),
    ]  # fmt: skip
    sent = [ProtoSpan.FromString(raw) for _, raw in encode(resolution)]
    parents = {each.span_id: each.parent_span_id for each in sent}
    assert parents[third.span_id] == other.span_id
    assert parents[second.span_id] == one.span_id
    assert {each.trace_id for each in sent} == {resolution.lookup.span.trace_id}
    segments = resolution.breakdown.segments
    assert segments["upstream"] == 4 * MS  # the ways between the servers
    assert segments["server"] == 15 * MS
    assert resolution.breakdown.total_ns == 21 * MS


def test_a_hop_is_sure_once_its_address_is_known_and_chance_is_not_taken_for_it() -> None:
    joiner = Joiner(JoinSettings())
    found = [resolve(joiner, at * SECOND, *chain(at * SECOND)[:3]) for at in range(10)]
    assert found[0].join.certainty == "unsure"
    assert found[-1].join.certainty == "sure"
    first, one, second, _, _ = chain(20 * SECOND)
    stranger = servedns(20 * SECOND + 3 * MS, 20 * SECOND + 4 * MS, client="10.0.0.99")

    resolution = resolve(joiner, 20 * SECOND, first, one, second, stranger)

    assert [each.trace.root for each in resolution.join.traces] == [first, second]
    assert resolution.join.certainty == "sure"


def test_two_that_fit_are_not_called_sure() -> None:
    joiner = Joiner(JoinSettings())
    for at in range(10):
        resolve(joiner, at * SECOND, *chain(at * SECOND)[:3])
    first, one, second, _, _ = chain(20 * SECOND)
    twin = servedns(20 * SECOND + 5 * MS, 20 * SECOND + 6 * MS, client=NODE)

    resolution = resolve(joiner, 20 * SECOND, first, one, second, twin)

    assert [each.trace.root for each in resolution.join.traces] == [first, second]
    assert resolution.join.certainty == "unsure"


def test_a_hop_whose_clock_differs_from_the_first_servers_is_left_out() -> None:
    """Its time is the upstream's then: clocks of servers are taken to agree among each other."""
    first, one, _, _, _ = chain(0)
    ahead = servedns(23 * MS, 38 * MS, client=NODE, proto="tcp")

    resolution = resolve(Joiner(JoinSettings()), 0, first, one, ahead)

    assert [each.trace.root for each in resolution.join.traces] == [first]
    assert resolution.breakdown.segments["upstream"] == 17 * MS
    assert resolution.breakdown.total_ns == 21 * MS


def test_a_hop_is_found_under_the_name_that_it_was_asked() -> None:
    """Only the first server's messages to it tell."""
    first, one, _, _, _ = chain(0)
    second = servedns(3 * MS, 18 * MS, client=NODE, proto="tcp", name="other.")

    def joined(*told: Message) -> list[Span]:
        joiner = Joiner(JoinSettings())
        for each in told:
            joiner.add_message(each, 0)
        return [each.trace.root for each in resolve(joiner, 0, first, one, second).join.traces]

    about = {"trace_id": first.trace_id[8:], "port": 40_000, "dns_id": 7}
    asked = exchange(MS, 20 * MS, **about)
    forwarded = message("FQ", 2 * MS, name="other.", **about)
    assert joined(*asked) == [first]
    assert joined(*asked, forwarded) == [first, second]
