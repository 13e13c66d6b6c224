"""The judge is judged: figures of the benchmark on cases small enough to count by hand."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import otel_dns
from bench.join.baselines import (
    Candidate,
    first_in_first_out,
    first_match,
    tightest_interval,
)
from bench.join.conditions import View
from bench.join.play import play
from bench.join.recording import POD, Asked, Recording, find_owners
from bench.join.score import Score, Verdict, wilson_low
from bench.join.views import see
from otel_dns.cli import main
from tests.support import spans

MS = 1_000_000
T0 = 1_700_000_000_000 * MS


def asked(number: int, worker: int, start_ms: float, end_ms: float, name: str = "db.") -> Asked:
    at, until = T0 + int(start_ms * MS), T0 + int(end_ms * MS)
    return Asked(number, worker, name, (name,), at, until, "")


def servedns(trace_id: str, worker: int, start_ms: float, name: str = "db.") -> dict:
    return {
        "traceId": trace_id,
        "id": trace_id,
        "name": "servedns",
        "kind": "SERVER",
        "timestamp": (T0 + int(start_ms * MS)) // 1000,
        "duration": 100,
        "localEndpoint": {"serviceName": "coredns"},
        "tags": {
            "coredns.io/name": name,
            "coredns.io/type": "A",
            "coredns.io/remote": f"10.0.0.{worker}",
        },
    }


def recording(lookups: list[Asked], spans: list[dict]) -> Recording:
    made = Recording("made up", 1, lookups, spans, [])
    find_owners(made, {"10.0.0.0": 0, "10.0.0.1": 1})
    for span in spans:
        span["tags"]["coredns.io/remote"] = POD
    return made


CROSSED = (
    [asked(0, 0, 0, 10), asked(1, 1, 1, 5), asked(2, 0, 20, 25)],
    [
        servedns("00000000000000a1", 1, 1.5),
        servedns("00000000000000a0", 0, 2),
        servedns("00000000000000a2", 0, 21),
    ],
)


def test_truth_is_the_worker_that_asked() -> None:
    made = recording(*CROSSED)
    owners = {trace.trace_id[-2:]: trace.owner for trace in made.traces.values()}
    assert owners == {"a1": 1, "a0": 0, "a2": 2}


def test_baselines_see_no_worker() -> None:
    lookups, spans = CROSSED
    slots = {
        ("db.", "A"): [Candidate(span["traceId"][-2:], span["timestamp"] * 1000) for span in spans]
    }
    assert first_match(lookups, slots) == {0: {"a1", "a0"}, 2: {"a2"}}
    assert tightest_interval(lookups, slots) == {1: {"a1", "a0"}, 2: {"a2"}}
    assert first_in_first_out(lookups, slots) == {0: {"a1"}, 1: {"a0"}, 2: {"a2"}}


def test_the_join_sees_what_the_view_shows() -> None:
    made = recording(*CROSSED)
    whole = see(made, View())
    assert [event.kind for event in whole.events].count("lookup") == 3
    assert whole.traces == {"00000000000000a1", "00000000000000a0", "00000000000000a2"}
    resolutions, _ = play(whole)
    assert {number: len(one.join.traces) for number, one in resolutions.items()} == {
        0: 1,
        1: 1,
        2: 1,
    }

    halved = see(made, View(every=2))
    assert halved.traces == {"00000000000000a1", "00000000000000a2"}
    ahead = see(made, View(skew_ms=3))
    starts = sorted(event.item.start_ns for event in ahead.events if event.kind == "span")
    assert starts == [T0 + int(ms * MS) for ms in (4.5, 5, 24)]


@pytest.mark.parametrize("dnstap", [False, True])
@pytest.mark.parametrize("mark", ["case", "edns", "context"])
def test_marks_are_put_on_the_queries_of_their_lookups(mark: str, *, dnstap: bool) -> None:
    name = "accountancies."
    made = recording(
        [asked(0, 0, 0, 10, name), asked(1, 1, 1, 5, name)],
        [servedns("00000000000000a1", 1, 1.5, name), servedns("00000000000000a0", 0, 2, name)],
    )
    for port, trace in enumerate(made.traces.values(), 40_000):
        at_ns = trace.start_ns - spans.T0 + 10_000
        about = {
            "name": name,
            "client": POD,
            "port": port,
            "trace_id": bytes.fromhex(trace.trace_id),
        }
        made.messages += spans.exchange(at_ns, at_ns + 50_000, **about)
        trace.wire = (port, 7, name, "A")

    resolutions, _ = play(see(made, View(dnstap=dnstap, mark=mark)))

    shown = dnstap or mark == "context"
    for number, resolution in resolutions.items():
        join = resolution.join
        assert join.method == (mark if shown else "time")
        if shown:
            assert [one.trace.root.span_id[-1] for one in join.traces] == [0xA0 + number]


@pytest.mark.parametrize(
    ("joined", "true", "right", "clean"),
    [("ab", "ab", True, True), ("a", "ab", False, True), ("abc", "ab", False, False)],
)
def test_right_is_all_of_its_own_and_nothing_else(
    joined: str, true: str, right: bool, clean: bool
) -> None:
    verdict = Verdict(frozenset(joined), frozenset(true), 0.995, "sure")
    assert (verdict.right, verdict.clean) == (right, clean)
    score = Score()
    score.add(verdict)
    assert (score.sure_right_share, score.sure_share) == (float(right), 1)
    assert score.deciles[9] == [1, 0.995, float(right)]


def test_nothing_to_join_says_nothing() -> None:
    score = Score()
    score.add(Verdict(frozenset(), frozenset()))
    assert score.lookups == 0


def test_wilson() -> None:
    assert wilson_low(10, 10) == pytest.approx(0.7225, abs=1e-4)
    assert wilson_low(1920, 1920) > 0.998


def test_outside_a_clone_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(otel_dns, "__file__", str(tmp_path / "otel_dns" / "__init__.py"))
    done = CliRunner().invoke(main, ["bench", "join"])
    assert done.exit_code == 1
    assert "clone the repository" in done.output


def test_an_unknown_condition_is_named() -> None:
    done = CliRunner().invoke(main, ["bench", "join", "-c", "zipf-17"])
    assert done.exit_code == 1
    assert "'zipf-17'" in done.output
