"""The balance at ``/ledger``: all that came in is accounted for, of every kind and at any time."""

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from otel_dns.model import Lookup, Message
from otel_dns.service import ledger
from otel_dns.service.configuration.settings import Export, Unmatched
from otel_dns.service.stream import Stream
from otel_dns.wire import otlp
from tests.join.test_any_stream import BOUNDS, Told, feed, scenes
from tests.service.support import Backend, balanced, get, post, serving, zipkin_body, zipkin_span
from tests.support.otlp import forward
from tests.support.spans import MS, SECOND, lookup, span
from tests.support.waiting import eventually

EXPORTS = st.builds(
    Export,
    what=st.sampled_from(["lookups", "notable", "joined", "all"]),
    unmatched=st.builds(Unmatched, keep=st.sampled_from([None, "all", "one_in", "none"])),
)


@given(st.data(), scenes(), EXPORTS)
def test_it_balances_at_any_time_whatever_comes_and_whatever_is_sent_on(
    data, things, export: Export
) -> None:
    settings = data.draw(BOUNDS)
    received: Counter[str] = Counter()

    def send(_request: bytes, spans: int) -> None:
        received["spans_handed"] += spans

    def unaccounted() -> dict[str, int]:
        return ledger.reading(stream.counts() + received, stream.gauges(), {}).unaccounted

    stream = Stream(settings, send, export=export)
    again = data.draw(st.lists(st.sampled_from(things), max_size=4)) if things else []
    now_ns = 0
    for thing in data.draw(st.permutations([*things, *again])):
        feed(stream._joiner, thing, now_ns)
        match thing:
            case Lookup(recorded=recorded):
                received["lookup_spans" if recorded else "lookups_unsampled"] += 1
            case Message():
                received["dnstap_messages"] += 1
            case Told():
                pass  # its span is sent on by itself
            case _:
                received["server_spans"] += 1
        if data.draw(st.booleans()):
            now_ns += data.draw(st.integers(0, 3 * SECOND))
            stream.advance(now_ns)
            assert not unaccounted()
    stream.drain()
    assert not unaccounted()
    assert not any(stream.gauges().values())


def test_the_page_tells_what_became_of_everything() -> None:
    bad = span("bad", 0, 1, tail=otlp.string_attribute("key", "@@"))
    spans = [lookup(0, MS).span, span("work", 0, 1, origin=otlp.origin_of("shop")), bad]
    request = otlp.build((one.origin, one.raw) for one in spans).replace(b"@@", b"\xff\xfe")
    with (
        Backend() as backend,
        serving(backend.address, settle_s=1.5, export__what="lookups") as running,
    ):
        forward(running.otlp, request)
        post(f"{running.http}/api/v2/spans", zipkin_body(zipkin_span(), zipkin_span()))
        status, page = get(f"{running.http}/ledger")
        assert status == 200
        assert json.loads(page)["gates"]["join"]["into"] == {
            "lookup_spans": 1, "other_spans": 1, "zipkin_server_spans": 2,
        }  # fmt: skip
        eventually(lambda: running.count("spans_sent") == 2, "the lookup and the other span")
        balanced(running)
        shown = json.loads(get(f"{running.http}/ledger")[1])
        assert shown["balanced"] is True
        assert shown["not_taken"] == {"spans_refused": 1}
        gates = shown["gates"]
        assert gates["join"]["out"] == {
            "spans_passed": 1, "lookups_joined": 1, "server_spans_joined": 1, "duplicate": 1,
        }  # fmt: skip
        assert gates["export"]["out"] == {
            "spans_handed_of_the_join": 1, "server_spans_left_out_joined": 1,
        }  # fmt: skip
        assert gates[backend.address]["out"] == {"spans_sent": 2}
