"""The processor's own traces, beside what it takes."""

from itertools import pairwise

from otel_dns import semconv
from otel_dns.wire import otlp
from tests.service.support import Backend, balanced, serving
from tests.support.otlp import forward
from tests.support.spans import MS, lookup, span
from tests.support.waiting import eventually

OTHER = otlp.origin_of("checkout")


def test_one_request_in_so_many_is_traced_and_sent_with_all_else() -> None:
    asked, work = lookup(0, MS).span, span("work", 0, MS, origin=OTHER)
    with Backend() as backend, serving(backend.address, telemetry__traces__one_in=2) as running:
        forward(running.otlp, otlp.build([(asked.origin, asked.raw)]))
        for _ in range(2):
            forward(running.otlp, otlp.build([(OTHER, work.raw)]))
        eventually(lambda: len(backend.spans) == 3 + 4 + 3, "three, and the traces of two")
        own = [
            view for request in backend.requests for view in otlp.decode(request)
            if view.scope == semconv.PROCESSOR_SCOPE
        ]  # fmt: skip
        balanced(running)
    roots = [one for one in own if not one.parent_id]
    assert [one.name for one in roots] == [semconv.REQUEST_SPAN] * 2
    for root in roots:
        steps = [one for one in own if one.parent_id == root.span_id]
        assert root.resource["service.name"] == "otel-dns"
        assert root.attributes[semconv.REQUEST_SPANS] == 1
        assert (steps[0].start_ns, steps[-1].end_ns) == (root.start_ns, root.end_ns)
        assert all(one.end_ns == after.start_ns for one, after in pairwise(steps))
    assert {one.name for one in own} == {
        semconv.REQUEST_SPAN, semconv.REQUEST_SORT_SPAN, semconv.REQUEST_QUEUE_SPAN,
        semconv.REQUEST_TAKE_SPAN, semconv.REQUEST_ROOM_SPAN,
    }  # fmt: skip


def test_without_the_setting_none_is() -> None:
    with Backend() as backend, serving(backend.address) as running:
        forward(running.otlp, otlp.build([(OTHER, span("work", 0, MS).raw)]))
        running.stop()
        assert backend.names == ["work"]
