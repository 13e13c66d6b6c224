"""A request is settled when all of it has left, and not before."""

from collections.abc import Iterator

import grpc
from hypothesis import given
from hypothesis import strategies as st

from otel_dns.join import Joiner
from otel_dns.model import Lookup, Message, Span
from otel_dns.service.requests import Requests
from otel_dns.service.sorting import Incoming
from otel_dns.service.stream import Stream
from otel_dns.wire import Refusals, otlp
from tests.join.test_any_stream import BOUNDS, Thing, Told, scenes
from tests.service.support import Backend, refuses, serving, takes
from tests.support.otlp import forward
from tests.support.spans import MS, SECOND, lookup, span
from tests.support.waiting import eventually


def request(number: int, things: list[Thing]) -> Incoming:
    return Incoming(
        [thing.span for thing in things if isinstance(thing, Lookup) and thing.recorded],
        [thing for thing in things if isinstance(thing, Span)],
        [],
        Refusals(),
        [thing for thing in things if isinstance(thing, Message)],
        request=number,
    )


def held(joiner: Joiner) -> Iterator[int]:
    """What waits in a join, by identity."""
    for waiting in joiner._held.lookups.values():
        yield id(waiting.lookup.span)
    for trace in joiner._held.traces.values():
        yield from map(id, (*trace.spans.values(), *trace.messages))


@given(st.data(), scenes())
def test_a_request_is_open_exactly_while_something_of_it_waits(data, things: list[Thing]) -> None:
    settings = data.draw(BOUNDS)
    settled: list[int] = []
    requests = Requests(settled.append)
    sent: dict[int, set[int]] = {}

    def send(raw: bytes, _spans: int) -> None:
        # What is in a batch belongs to requests that are still open, and the batch names them.
        assert not stream.carried & set(settled)
        assert stream.carried or not sent
        assert otlp.cut(raw)

    stream = Stream(settings, send, requests=requests)
    left = [thing for thing in things if not isinstance(thing, Told)]
    left += data.draw(st.lists(st.sampled_from(left), max_size=4)) if left else []
    left = data.draw(st.permutations(left))
    came: dict[int, set[int]] = {}
    now_ns = 0
    while left:
        size = data.draw(st.integers(1, 4))
        some, left = left[:size], left[size:]
        number = requests.begin()
        sent[number] = set()
        before = set(held(stream._joiner))
        incoming = request(number, some)
        stream.take(incoming, now_ns)
        ours = {id(one) for one in (*incoming.lookups, *incoming.server_spans, *incoming.messages)}
        came[number] = ours - before
        if data.draw(st.booleans()):
            now_ns += data.draw(st.integers(0, 3 * SECOND))
            stream.advance(now_ns)
            waiting = set(held(stream._joiner))
            for each, its in came.items():
                assert requests.is_open(each) == bool(its & waiting)
                assert (each in settled) != requests.is_open(each)
    stream.drain()
    assert sorted(settled) == sorted(came)
    assert not requests.open


def test_a_request_is_open_until_every_output_has_it() -> None:
    ours = lookup(0, MS).span
    other = span("work", 0, 1, origin=otlp.origin_of("shop"))
    mixed = otlp.build((one.origin, one.raw) for one in (ours, other))
    whole = otlp.build([(other.origin, other.raw)])
    with Backend() as well, Backend() as ill:
        ill.behave = refuses(grpc.StatusCode.UNAVAILABLE)
        with serving(well.address, ill.address) as running:
            forward(running.otlp, mixed)
            forward(running.otlp, whole)
            eventually(lambda: len(well.spans) == 3, "all at the one that takes them")
            assert running.service.gauges()["requests_open"] == 2
            ill.behave = takes
            eventually(lambda: not running.service.gauges()["requests_open"], "both settled")
            assert len(ill.spans) == 3
