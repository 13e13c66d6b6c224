"""Lookups made of server traces alone: which of them were one lookup, and what that tells."""

from itertools import permutations

import pytest
from msgspec.structs import replace

from otel_dns.join import Joiner, JoinSettings, Released
from otel_dns.join.annotate import as_it_came, encode
from otel_dns.join.clocks.skew import moved
from otel_dns.model import Lookup, Message, Resolution, Span
from otel_dns.wire import otlp
from tests.join.test_ladder import feed
from tests.support.spans import EXTERNAL, MS, SECOND, exchange, lookup, nested, servedns

SETTINGS = JoinSettings(infer=True)


def inferred(*things: Lookup | Span | Message) -> list[Resolution]:
    """The lookups inferred, in order of start."""
    joiner = Joiner(SETTINGS)
    feed(joiner, things)
    found = [one for one in joiner.drain() if isinstance(one, Resolution) and one.lookup.inferred]
    assert joiner.counts["lookups_inferred"] == len(found)
    return found


def search(start_ns: int, rcode: str = "NOERROR", **about: str) -> list[Span]:
    """The eight queries of an external name in a Pod, of which the last two are answered so."""
    return [
        servedns(start_ns + number * 2 * MS + late, start_ns + number * 2 * MS + MS + late,
                 name=name, type_=type_, rcode=rcode if number == 3 else "NXDOMAIN", **about)
        for number, name in enumerate(EXTERNAL)
        for late, type_ in ((0, "A"), (MS // 10, "AAAA"))
    ]  # fmt: skip


def shape(resolution: Resolution) -> tuple[str, str, list[int]]:
    """What was asked for, how it ended, and how many queries each candidate had."""
    candidates = [one.candidate for one in resolution.join.traces if not one.hop]
    queries = [candidates.count(number) for number in range(len(resolution.lookup.candidates))]
    return resolution.lookup.name, resolution.outcome, queries


def test_a_search_list_is_one_lookup() -> None:
    (found,) = inferred(*search(0))

    assert shape(found) == ("www.example.org", "ok", [2, 2, 2, 2])
    assert found.lookup.candidates == EXTERNAL
    assert found.lookup.types == ("A", "AAAA")
    assert found.breakdown.waste_queries == 6
    assert found.breakdown.waste_ns == 6 * MS
    assert found.lookup.end_ns - found.lookup.start_ns == 7 * MS + MS // 10
    assert found.unseen == "not_instrumented"


def test_it_is_never_taken_for_a_measured_one() -> None:
    (found,) = inferred(*search(0))

    assert found.lookup.inferred
    assert not found.lookup.recorded
    assert (found.join.method, found.join.certainty, found.join.confidence) == ("inferred", "", 0)
    joiner = Joiner(SETTINGS)
    feed(joiner, search(0))
    joiner.drain()
    assert joiner.counts["lookups_joined"] == joiner.counts["server_spans_joined"] == 0
    assert joiner.counts["server_spans_inferred"] == 8


def test_its_spans_leave_as_they_came() -> None:
    roots = search(0)
    plugins = nested(roots[0], ("log", "cache"))

    (found,) = inferred(*roots, *plugins)

    sent = {raw for _, raw in encode(found)}
    assert sent == {span.raw for span in (*roots, *plugins)}


CASES = {
    "one name": ([servedns(0, MS)], [("db", "ok", [1])]),
    "both families": (
        [servedns(0, MS), servedns(MS // 9, MS, type_="AAAA")], [("db", "ok", [2])],
    ),
    "the second family after the first's answer": (
        [servedns(0, MS), servedns(2 * MS, 3 * MS, type_="AAAA")], [("db", "ok", [2])],
    ),
    "the second family much later is another's": (
        [servedns(0, MS), servedns(SECOND, SECOND + MS, type_="AAAA")],
        [("db", "ok", [1]), ("db", "ok", [1])],
    ),
    "nowhere in the search list": (
        search(0, "NXDOMAIN"), [("www.example.org", "not_found", [2] * 4)],
    ),
    "found in the cluster": (
        [servedns(0, MS, name="db.shop.svc.cluster.local.")],
        [("db.shop.svc.cluster.local", "ok", [1])],
    ),
    "the search list ends with an answer": (
        [
            servedns(0, MS, name="db.data.shop.svc.cluster.local.", rcode="NXDOMAIN"),
            servedns(2 * MS, 3 * MS, name="db.data.svc.cluster.local."),
        ],
        [("db.data", "ok", [1, 1])],
    ),
    "after an answer nothing follows": (
        [
            servedns(0, MS, name="db.data.shop.svc.cluster.local."),
            servedns(2 * MS, 3 * MS, name="db.data.svc.cluster.local."),
        ],
        [("db.data.shop.svc.cluster.local", "ok", [1]), ("db.data.svc.cluster.local", "ok", [1])],
    ),
    "another name follows": (
        [
            servedns(0, MS, name="a.shop.svc.cluster.local.", rcode="NXDOMAIN"),
            servedns(2 * MS, 3 * MS, name="b.svc.cluster.local."),
        ],
        [("a.shop.svc.cluster.local", "not_found", [1]), ("b.svc.cluster.local", "ok", [1])],
    ),
    "too late to follow": (
        [
            servedns(0, MS, name="a.shop.svc.cluster.local.", rcode="NXDOMAIN"),
            servedns(3 * SECOND, 3 * SECOND + MS, name="a.svc.cluster.local."),
        ],
        [("a.shop.svc.cluster.local", "not_found", [1]), ("a.svc.cluster.local", "ok", [1])],
    ),
    "another client": (
        [
            servedns(0, MS, name="a.shop.svc.cluster.local.", rcode="NXDOMAIN"),
            servedns(2 * MS, 3 * MS, name="a.svc.cluster.local.", client="10.0.0.8"),
        ],
        [("a.shop.svc.cluster.local", "not_found", [1]), ("a.svc.cluster.local", "ok", [1])],
    ),
    "a second server after a failure": (
        [servedns(0, MS, rcode="SERVFAIL"), servedns(2 * MS, 3 * MS)], [("db", "ok", [2])],
    ),
    "the same question after an answer is another lookup": (
        [servedns(0, MS), servedns(2 * MS, 3 * MS)], [("db", "ok", [1]), ("db", "ok", [1])],
    ),
    "TCP after UDP": (
        [servedns(0, MS), servedns(2 * MS, 3 * MS, proto="tcp")], [("db", "ok", [2])],
    ),
    "sent again: the same port and id": (
        [*exchange(0, MS, port=4), *exchange(5 * SECOND, 5 * SECOND + MS, port=4)],
        [("db", "ok", [2])],
    ),
    "no answer": (list(exchange(0, MS, port=4)[:1]), [("db", "timeout", [1])]),
    "no answer, and again none": (
        [exchange(0, MS, port=4)[0], exchange(5 * SECOND, 6 * SECOND, port=4)[0]],
        [("db", "timeout", [2])],
    ),
    "failed": ([servedns(0, MS, rcode="SERVFAIL")], [("db", "server_failure", [1])]),
    "a type of its own": (
        [servedns(0, MS, type_="SRV"), servedns(0, MS, type_="A")],
        [("db", "ok", [1]), ("db", "ok", [1])],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("traces", "expected"), CASES.values(), ids=CASES)
def test_which_server_traces_were_one_lookup(traces, expected) -> None:
    assert sorted(map(shape, inferred(*traces))) == sorted(expected)
    assert sorted(map(shape, inferred(*reversed(traces)))) == sorted(expected)


def test_ports_tell_the_families_of_two_lookups_apart() -> None:
    pairs = [
        exchange(at, at + MS, type_=type_, port=port, dns_id=at)
        for at, type_, port in ((0, "A", 4), (10, "A", 5), (20, "AAAA", 5), (30, "AAAA", 4))
    ]

    found = inferred(*(message for pair in pairs for message in pair))

    ports = [[one.trace.client_port for one in each.join.traces] for each in found]
    assert ports == [[4, 4], [5, 5]]


def test_lookups_of_one_name_one_after_another_stay_apart() -> None:
    found = inferred(*search(0), *search(20 * MS, "NXDOMAIN"), *search(40 * MS))

    assert [shape(one)[1:] for one in found] == [
        ("ok", [2] * 4), ("not_found", [2] * 4), ("ok", [2] * 4),
    ]  # fmt: skip


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_it_does_not_matter_which_servers_spans_come_first(order) -> None:
    """Each round was another server's, whose spans came up to two seconds late."""
    traces = search(0)[::2]
    joiner = Joiner(SETTINGS)
    for place, number in enumerate(order):
        feed(joiner, traces[number : number + 1], place * SECOND)
    feed(joiner, traces[3:], 2 * SECOND)

    outcomes = []
    for now_ns in range(0, 70 * SECOND, SECOND // 2):
        outcomes += joiner.advance(now_ns)

    assert [shape(one) for one in outcomes if isinstance(one, Resolution)] == [
        ("www.example.org", "ok", [1, 1, 1, 1])
    ]
    assert len(outcomes) == 1


def test_what_a_known_lookup_may_want_is_not_taken() -> None:
    first = servedns(0, MS, name=EXTERNAL[0], rcode="NXDOMAIN")
    rest = servedns(2 * MS, 3 * MS, name=EXTERNAL[1])
    asked = lookup(MS, 4 * MS, candidates=EXTERNAL[1:2])

    joiner = Joiner(SETTINGS)
    feed(joiner, [first], 0)
    feed(joiner, [rest, asked], 64 * SECOND)
    outcomes = joiner.advance(64 * SECOND) + joiner.advance(71 * SECOND)

    assert [(one.lookup.inferred, len(one.join.traces)) for one in outcomes] == [
        (True, 1), (False, 1),
    ]  # fmt: skip


def test_an_address_with_lookups_of_its_own_is_told_from_one_without() -> None:
    known, its_own = lookup(0, 5 * MS), servedns(MS, 2 * MS)
    more = servedns(9 * SECOND, 9 * SECOND + MS, name="other.")
    stranger = servedns(9 * SECOND, 9 * SECOND + MS, client="10.0.0.8")

    found = inferred(known, its_own, more, stranger)

    assert {one.lookup.client: one.unseen for one in found} == {
        "10.0.0.7": "not_recorded", "10.0.0.8": "not_instrumented",
    }  # fmt: skip


def test_the_pod_is_named_where_coredns_knows_it() -> None:
    (found,) = inferred(*(replace(message, pod="shop/cart-1") for message in exchange(0, MS)))

    resource = otlp.resource_attributes(found.lookup.span.origin.resource)
    assert dict(resource) == {"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1"}


def test_without_a_root_nothing_is_inferred() -> None:
    root = servedns(0, MS)
    (plugin,) = nested(root, ("log",))
    joiner = Joiner(SETTINGS)
    feed(joiner, [plugin])

    assert joiner.drain() == [Released((plugin,), "no_root")]


def test_spans_that_were_moved_to_another_clock_leave_with_their_own_times() -> None:
    root = servedns(0, MS)
    (found,) = inferred(root)
    (joined,) = found.join.traces
    away = replace(joined, trace=moved(joined.trace, 5 * MS), skew_ns=5 * MS)

    assert away.trace.root.raw != root.raw
    assert [span.raw for span in as_it_came(away)] == [root.raw]
