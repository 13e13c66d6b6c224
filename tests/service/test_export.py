"""What is sent on of what was joined, and of what nobody claimed."""

from collections import Counter

import pytest
from msgspec.structs import replace

from otel_dns.join import JoinSettings
from otel_dns.model import Lookup
from otel_dns.service.configuration import convert
from otel_dns.service.sorting import Incoming
from otel_dns.service.stream import Stream
from otel_dns.wire import Refusals, otlp
from tests.support.spans import MS, SECOND, lookup, nested, servedns

FAST, SLOW = 1 * MS, 200 * MS
SETTLE = JoinSettings(settle_ns=SECOND, trace_wait_ns=2 * SECOND)


class Passing:
    """A stream with spans going through, and what comes out."""

    def __init__(self, **export: object) -> None:
        settings = convert({"export": export}).export
        self.out: list[otlp.SpanView] = []
        self.stream = Stream(SETTLE, self._sent, export=settings)

    def _sent(self, request: bytes, spans: int) -> None:
        self.out += otlp.decode(request)

    def take(self, *lookups: object, server: object = ()) -> None:
        self.stream.take(Incoming([one.span for one in lookups], list(server), [], Refusals()), 0)

    def drain(self) -> Counter[str]:
        self.stream.drain()
        return self.names

    @property
    def names(self) -> Counter[str]:
        return Counter(one.name for one in self.out)


def hop(start_ns: int, duration_ns: int, **changes: str) -> list[object]:
    root = servedns(start_ns, start_ns + duration_ns, **changes)
    return [root, *nested(root, ("cache",))]


def failed(one: Lookup) -> Lookup:
    raw = one.span.raw + otlp.string_attribute("error.type", "no_recovery")
    return replace(one, span=replace(one.span, raw=raw))


@pytest.mark.parametrize(
    ("what", "lookup_spans", "server_spans"),
    [("lookups", 3, 0), ("notable", 3, 4), ("joined", 3, 6), ("all", 3, 8)],
)
def test_how_much_goes_out(what: str, lookup_spans: int, server_spans: int) -> None:
    passing = Passing(what=what)
    passing.take(
        lookup(0, FAST, name="fast", candidates=("fast.",)),
        lookup(0, SLOW, name="slow", candidates=("slow.",)),
        failed(lookup(0, 9 * MS, name="bad", candidates=("bad.",))),
        server=[
            *hop(0, FAST // 2, name="fast."),
            *hop(0, FAST, name="slow."),
            *hop(0, FAST, name="bad.", rcode="REFUSED"),
            *hop(0, FAST, name="nobodys."),
        ],
    )
    names = passing.drain()
    assert names["dns.lookup"] == lookup_spans
    assert names["servedns"] + names["cache"] == server_spans
    counts = passing.stream.counts()
    left_out = sum(
        value for name, value in counts.items() if name.startswith("server_spans_left_out_")
    )
    assert server_spans + left_out == 8


@pytest.mark.parametrize(
    ("keep", "roots"),
    [("all", {"a.", "slow.", "bad."}), ("notable", {"slow.", "bad."}), ("none", set())],
)
def test_which_of_the_unmatched_are_kept(keep: str, roots: set[str]) -> None:
    passing = Passing(what="joined", unmatched={"keep": keep})
    passing.take(
        server=[
            *hop(0, FAST, name="a."),
            *hop(0, SLOW, name="slow."),
            *hop(0, FAST, name="bad.", rcode="SERVFAIL"),
        ]
    )
    passing.drain()
    found = {one.attributes["coredns.io/name"] for one in passing.out if one.name == "servedns"}
    assert found == roots


def test_one_in_so_many_is_kept_whole() -> None:
    passing = Passing(unmatched={"keep": "one_in", "one_in": 4})
    passing.take(server=[span for number in range(400) for span in hop(number, FAST)])
    names = passing.drain()
    assert 50 < names["servedns"] < 150
    assert names["cache"] == names["servedns"]


@pytest.mark.parametrize(("duration", "kept"), [(FAST, 0), (SLOW, 1)])
def test_what_comes_late_goes_where_the_rest_went(duration: int, kept: int) -> None:
    passing = Passing()
    root, child = hop(0, FAST)
    passing.take(lookup(0, duration), server=[root])
    passing.stream.advance(SECOND)
    passing.take(server=[child])
    passing.stream.advance(2 * SECOND)
    assert passing.names["servedns"] == passing.names["cache"] == kept


def test_server_spans_can_be_made_internal() -> None:
    passing = Passing(what="all", server_span_kind="internal")
    passing.take(lookup(0, FAST), server=[*hop(0, FAST // 2), *hop(0, FAST, name="nobodys.")])
    passing.drain()
    assert {(one.name, one.kind) for one in passing.out} == {
        ("dns.lookup", 3), ("servedns", 1), ("cache", 0),
    }  # fmt: skip


def test_server_spans_carry_the_tenant_of_their_lookup_also_when_late() -> None:
    passing = Passing(what="all", tenant_keys=["tenant.id", "service.namespace"])
    tenant = otlp.string_attribute("tenant.id", "acme", field=1)
    asked = lookup(0, FAST)
    origin = asked.span.origin._replace(resource=asked.span.origin.resource + tenant)
    server, stranger = hop(0, FAST), hop(0, FAST, name="other.")
    passing.take(replace(asked, span=replace(asked.span, origin=origin)), server=server + stranger)
    assert passing.drain() == {"dns.lookup": 1, "servedns": 2, "cache": 2}
    late = nested(server[0], ("file",))
    passing.take(server=late)
    passing.drain()
    tenants = {(one.name, one.resource.get("tenant.id"), one.resource["service.name"])
               for one in passing.out if one.trace_id == asked.span.trace_id}  # fmt: skip
    assert tenants == {
        ("dns.lookup", "acme", "shop"), ("servedns", "acme", "coredns"),
        ("cache", "acme", "coredns"), ("file", "acme", "coredns"),
    }  # fmt: skip
    assert {one.resource.get("tenant.id") for one in passing.out} == {"acme", None}
