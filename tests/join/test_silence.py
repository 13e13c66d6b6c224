"""Clients that send no lookups: their server traces leave soon, those of relays do not."""

import pytest
from msgspec.structs import replace

from otel_dns.join import Joiner, JoinSettings, Outcome, Released
from otel_dns.join.silence import Silence
from otel_dns.model import Resolution
from otel_dns.wire import otlp
from tests.join.test_hops import CLUSTER, NODE, chain
from tests.support.spans import CLIENT, MS, SECOND, exchange, lookup, message, servedns

MINUTE = 60 * SECOND
SETTINGS = JoinSettings(silent_after_ns=5 * MINUTE)
"""The settle time is 7 s, and a server trace waits for 60 s."""


def ask(joiner: Joiner, at_ns: int, client: str = CLIENT) -> list[Outcome]:
    """Let time pass to then, and let a query come of which only its server tells."""
    outcomes = joiner.advance(at_ns)
    joiner.add_server_span(servedns(at_ns, at_ns + MS, client=client), at_ns)
    return outcomes


def held_s(joiner: Joiner, from_ns: int) -> int:
    """How many seconds pass until nothing waits."""
    for second in range(100):
        joiner.advance(from_ns + second * SECOND)
        if not joiner.waiting_server_spans:
            return second
    raise AssertionError("it waits for ever")


def silent(settings: JoinSettings = SETTINGS, client: str = CLIENT) -> tuple[Joiner, int]:
    """A client whose first query was seen six minutes ago, and the time by now."""
    joiner = Joiner(settings)
    ask(joiner, 0, client)
    assert held_s(joiner, 0) >= 60
    return joiner, 6 * MINUTE


def test_a_silent_clients_server_traces_leave_when_lookups_would_have_settled() -> None:
    joiner, now_ns = silent()
    ask(joiner, now_ns)
    outcomes = joiner.advance(now_ns + 7 * SECOND)

    assert [one.reason for one in outcomes if isinstance(one, Released)] == ["silent"]
    assert joiner.counts["server_spans_silent"] == joiner.counts["traces_of_silent_clients"] == 1
    assert joiner.counts["server_spans_unmatched"] == 1  # the first


def test_nobody_is_silent_at_the_start_nor_for_ever_once_he_spoke() -> None:
    joiner = Joiner(SETTINGS)
    for at_s in range(0, 290, 70):
        ask(joiner, at_s * SECOND)
        assert held_s(joiner, at_s * SECOND) == 60
    now_ns = 10 * MINUTE
    joiner.add_lookup(lookup(now_ns, now_ns + MS), now_ns)
    joiner.advance(now_ns + 10 * SECOND)
    ask(joiner, now_ns + 4 * MINUTE)
    assert held_s(joiner, now_ns + 4 * MINUTE) == 60
    ask(joiner, now_ns + 6 * MINUTE)
    assert held_s(joiner, now_ns + 6 * MINUTE) == 7


def test_a_lookup_makes_a_silent_client_speak_and_finds_what_is_still_there() -> None:
    joiner, now_ns = silent()
    ask(joiner, now_ns)
    joiner.add_lookup(lookup(now_ns, now_ns + MS), now_ns + 6 * SECOND)
    (found,) = joiner.advance(now_ns + 13 * SECOND)

    assert isinstance(found, Resolution)
    assert len(found.join.traces) == 1
    assert not joiner.counts["lookups_after_silence"]


def test_a_lookup_whose_server_traces_have_left_is_counted() -> None:
    joiner, now_ns = silent()
    ask(joiner, now_ns)
    joiner.advance(now_ns + 8 * SECOND)
    for _ in range(2):
        joiner.add_lookup(lookup(now_ns, now_ns + 9 * SECOND), now_ns + 9 * SECOND)

    assert joiner.counts["lookups_after_silence"] == 1


@pytest.mark.parametrize("infer", [True, False])
def test_the_hops_of_a_relay_wait_for_the_lookup_that_caused_them(infer: bool) -> None:
    joiner = Joiner(JoinSettings(silent_after_ns=5 * MINUTE, infer=infer))
    for number in range(10):  # so that it is known which address is the cache's on the node
        at_ns = number * SECOND
        if not infer:
            joiner.add_lookup(lookup(at_ns, at_ns + 21 * MS), at_ns)
        joiner.add_server_spans(chain(at_ns), at_ns)
    joiner.advance(100 * SECOND)
    assert not joiner.waiting_server_spans
    now_ns = 20 * MINUTE
    for client in (NODE, CLUSTER, CLIENT):
        ask(joiner, now_ns, client)
    joiner.advance(now_ns + 50 * SECOND)
    assert joiner.waiting_server_spans == 2  # those of the relays


@pytest.mark.parametrize("told", ["listed", "resource", "dnstap"])
def test_a_server_is_never_silent(told: str) -> None:
    resource = otlp.string_attribute("k8s.pod.ip", NODE, field=1)
    root = servedns(0, MS, client=CLIENT)
    if told == "resource":
        root = replace(root, origin=root.origin._replace(resource=root.origin.resource + resource))
    relays = ("10.0.0.0/24",) if told == "listed" else ()
    joiner = Joiner(JoinSettings(silent_after_ns=5 * MINUTE, relays=relays))
    ask(joiner, 0, NODE)
    joiner.add_server_span(root, 0)
    if told == "dnstap":
        joiner.add_message(message("FQ", 0, client=NODE), 0)
    assert held_s(joiner, 0) == 60
    ask(joiner, 6 * MINUTE, NODE)
    assert held_s(joiner, 6 * MINUTE) == 60


def test_a_query_that_says_whose_it_is_waits_though_its_client_is_silent() -> None:
    joiner, now_ns = silent()
    ids = lookup(0, MS).span
    for one in exchange(now_ns, now_ns + MS, context=(ids.trace_id, ids.span_id)):
        joiner.add_message(one, now_ns)
    assert held_s(joiner, now_ns) == 60


def test_what_a_silent_client_asked_makes_one_inferred_lookup() -> None:
    joiner, now_ns = silent(JoinSettings(silent_after_ns=5 * MINUTE, infer=True))
    for number, name in enumerate(("db.x.", "db.")):
        at_ns = now_ns + number * MS
        rcode = "NXDOMAIN" if not number else "NOERROR"
        joiner.add_server_span(
            servedns(at_ns, at_ns + MS // 2, name=name, rcode=rcode), now_ns + number * SECOND
        )
    found = [
        one for second in range(12) for one in joiner.advance(now_ns + second * SECOND)
        if isinstance(one, Resolution)
    ]  # fmt: skip
    assert [one.lookup.candidates for one in found] == [("db.x.", "db.")]


def test_so_many_addresses_are_remembered() -> None:
    silence = Silence(max_known=10)
    for number in range(100):
        assert not silence.is_silent(f"10.0.0.{number}", 0, MINUTE)
    assert len(silence._known) == 10
    assert silence.is_silent("10.0.0.99", MINUTE, MINUTE)
    assert not silence.is_silent("10.0.0.0", MINUTE, MINUTE)
