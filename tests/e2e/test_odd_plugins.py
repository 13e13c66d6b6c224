"""What CoreDNS's plugins make of a query: of the real program, by each kind of evidence.

The same is asked of a recording that is kept, so that what is found does not depend on a machine.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.cli.joined import JoinedLookup, joined_lookups
from otel_dns.lab import available, odd_shapes, record
from otel_dns.service.recordings import Reading, read
from otel_dns.service.recordings.replay import replay_all
from otel_dns.service.sorting import Incoming
from otel_dns.wire.otlp import decode
from tests.support.programs import require

KEPT: Final = Path(__file__).parents[1] / "recordings" / "odd-shapes"
SERVICES: Final = frozenset({"coredns", "upstream"})
MS: Final = 1_000_000

Lookups = dict[str, list[JoinedLookup]]
"""By name, in order of start."""


def kept() -> list[Incoming]:
    return list(read([KEPT], Reading(SERVICES)))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> list[Incoming]:
    reason = available()
    if reason is not None:
        pytest.skip(f"no lab: {reason}")
    require("coredns")
    directory = tmp_path_factory.mktemp("odd") / "shapes"
    record.record(directory, scenario="odd-shapes")
    return list(read([directory], Reading(SERVICES)))


def spans(one: Incoming) -> Incoming:
    return one._replace(messages=())


def messages(one: Incoming) -> Incoming:
    return one._replace(server_spans=[])


def without_ids(one: Incoming) -> Incoming:
    return one._replace(
        messages=[replace(each, trace_id=b"", asker_port=0) for each in one.messages]
    )


EVIDENCE: Final = {
    "spans": spans,
    "spans and dnstap": lambda one: one,
    "spans and dnstap without ids": without_ids,
    "dnstap": messages,
    "dnstap without ids": lambda one: messages(without_ids(one)),
}
LIVE: Final = ("spans", "spans and dnstap", "dnstap")
"""What is tied by microseconds is left to the recording: a busy machine has longer ones."""


@pytest.fixture(
    scope="module",
    params=[*(("kept", each) for each in EVIDENCE), *(("live", each) for each in LIVE)],
    ids=" ".join,
)
def source(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


of_the_recording = pytest.mark.parametrize(
    "source", [("kept", each) for each in EVIDENCE], ids=" ".join, indirect=True, scope="module"
)
"""How long a refresh runs beside its answer, and whether there is one, is the machine's."""


@pytest.fixture(scope="module")
def evidence(source: tuple[str, str]) -> str:
    return source[1]


@pytest.fixture(scope="module")
def lookups(request: pytest.FixtureRequest, source: tuple[str, str], evidence: str) -> Lookups:
    recording = kept() if source[0] == "kept" else request.getfixturevalue("live")
    return joined(map(EVIDENCE[evidence], recording))


def joined(evidence: Iterable[Incoming]) -> Lookups:
    found: Lookups = {}
    replayed = replay_all(evidence)
    for one in joined_lookups(view for sent in replayed.sent for view in decode(sent)):
        found.setdefault(one.name, []).append(one)
    return found


def test_each_is_joined_whole_and_adds_up(lookups, evidence) -> None:
    assert sum(map(len, lookups.values())) == odd_shapes.LOOKUPS
    for name, some in lookups.items():
        for lookup in some:
            told = sorted((query.type, query.rcode) for query in lookup.queries)
            lost = name == "old.out.test." and evidence == "spans"
            assert told == ([] if lost else [("A", "NOERROR"), ("AAAA", "NOERROR")]), name
            assert lookup.attribute(semconv.LOOKUP_RETRIES) == (None if lost else 0)
            assert lookup.attribute(semconv.WASTE_QUERIES) == (None if lost else 0)
            assert sum(lookup.segments.values()) == lookup.duration_ns
            assert sum(lookup.plugins.values()) == lookup.segments["server"]


def plugins_of(lookup: JoinedLookup, name: str) -> list[str]:
    """The upstreams, or nothing, of a plugin's spans in both queries."""
    return [one.peer for query in lookup.queries for one in query.plugins if one.name == name]


def test_autopath_walks_the_search_list_within_one_query(lookups, evidence) -> None:
    (inside,), (outside,) = lookups["www"], lookups["cdn.out.test"]
    assert {query.name for query in inside.queries} == {"www.shop.odd.test."}
    assert {query.name for query in outside.queries} == {"cdn.out.test.shop.odd.test."}
    assert set(plugins_of(outside, "connect")) == {"192.0.2.53:53"}
    if "spans" in evidence:
        assert len(plugins_of(inside, "file")) == 2 * 2  # a plugin that repeats
        assert len(plugins_of(outside, "file")) == 2 * 3


def test_what_the_server_asks_itself_is_no_query_of_the_client(lookups, evidence) -> None:
    (alias,), (six,) = lookups["alias.odd.test."], lookups["four.six.test."]
    assert set(plugins_of(alias, "connect")) == {"192.0.2.53:53"}
    if "spans" in evidence:
        assert len(plugins_of(alias, "trace")) == 2  # the chain once more, in each query
        assert len(plugins_of(six, "trace")) == 1
        assert len(plugins_of(six, "dns64")) == 2 + 1


@of_the_recording
@pytest.mark.parametrize("name", ["refreshed.late.test.", "stale.late.test."])
def test_what_is_fetched_again_after_the_answer_is_outside_the_lookup(
    lookups, evidence, name
) -> None:
    asked, again = lookups[name]
    assert asked.segments["upstream"] + asked.plugins.get("erratic", 0) >= 30 * MS
    exchanges = [one for query in again.queries for one in query.plugins if one.name == "connect"]
    assert len(exchanges) == 2
    for one in exchanges:
        assert one.background_ns > 0
        assert one.own_ns + one.background_ns <= one.end_ns - one.start_ns
    in_background = sum(one.background_ns for one in exchanges)
    in_lookup = again.segments["upstream"] + again.plugins.get("erratic", 0)
    total = sum(one.end_ns - one.start_ns for one in exchanges)
    assert in_lookup + in_background <= total + 2 * MS


@of_the_recording
def test_a_lookup_that_waited_for_a_refresh_shows_that_long(lookups, evidence) -> None:
    """serve_stale with verify waits 20 ms for the upstream, then answers with what it has."""
    _, again = lookups["verified.late.test."]
    assert again.segments["upstream"] + again.plugins.get("erratic", 0) >= 15 * MS
    exchanges = [one for query in again.queries for one in query.plugins if one.name == "connect"]
    assert len(exchanges) == 2
    assert all(one.background_ns > 0 for one in exchanges)


def test_the_view_that_answered_is_seen(lookups, evidence) -> None:
    (lookup,) = lookups["pods.view.test."]
    if "spans" in evidence:
        assert len(plugins_of(lookup, "template")) == 2


def test_forwards_one_after_the_other_are_both_there(lookups, evidence) -> None:
    (lookup,) = lookups["next.out.test."]
    for query in lookup.queries:
        asked = [one.peer for one in query.plugins if one.name == "connect"]
        assert asked == ["192.0.2.54:53", "192.0.2.53:53"]
        if "spans" in evidence:
            assert [one.name for one in query.plugins].count("forward") == 2


def test_the_next_server_is_found_under_the_name_that_it_was_asked() -> None:
    """dnstap tells what was forwarded, spans do not.

    In the recording the upstream's spans end in time; a busy machine makes them longer than what
    they are in, and then it takes more than these few lookups until its address is known.
    """
    recorded = kept()
    told, untold = joined(recorded), joined(map(spans, recorded))
    for name in ("cdn.out.test", "alias.odd.test.", "old.out.test."):
        assert len(plugins_of(told[name][0], "template")) == 2
        assert not plugins_of(untold[name][0], "template")


def test_without_the_roots_messages_stand_in_for_them() -> None:
    recorded = kept()
    cut = [
        one._replace(server_spans=[each for each in one.server_spans if each.name != "servedns"])
        for one in recorded
    ]
    whole, rootless, alone = joined(recorded), joined(cut), joined(map(spans, cut))
    assert whole.keys() == rootless.keys() == alone.keys()
    for name, some in rootless.items():
        for lookup, before in zip(some, whole[name], strict=True):
            assert len(lookup.queries) == 2
            assert sum(lookup.segments.values()) == lookup.duration_ns
            inner = before.plugins.keys() & {"autopath", "file", "dns64", "cache", "rewrite"}
            assert lookup.plugins.keys() >= inner
    for some in alone.values():
        for lookup in some:
            assert not lookup.queries
            assert lookup.attribute(semconv.JOIN_UNSEEN) in {"lost", "unknown"}


@pytest.mark.parametrize("lost", ["errors", "log", "dnstap", "cache", "rewrite", "forward"])
def test_time_of_a_middle_that_was_lost_goes_to_what_was_around_it(lost) -> None:
    recorded = kept()
    cut = [
        one._replace(server_spans=[each for each in one.server_spans if each.name != lost])
        for one in recorded
    ]
    whole, holey = joined(map(spans, recorded)), joined(map(spans, cut))
    assert whole.keys() == holey.keys()
    for name, some in holey.items():
        for lookup, before in zip(some, whole[name], strict=True):
            assert sum(lookup.segments.values()) == lookup.duration_ns
            if not any(one.background_ns for query in before.queries for one in query.plugins):
                for segment, spent in lookup.segments.items():
                    assert abs(spent - before.segments[segment]) < MS // 10
