"""The JSON API, asked over HTTP, against what the rows say."""

from pathlib import Path
from typing import Any

import duckdb
import httpx
import pyarrow.parquet as pq
import pytest

from otel_dns.history.files import file_name
from tests.web import rows
from tests.web.conftest import Page, serve_page


def test_about(page: Page) -> None:
    about = page.answer("about")
    assert about["lookups"] == len(page.rows)
    assert about["first_us"] == min(row["start_ns"] for row in page.rows) // 1000
    assert about["ended"] is False
    assert about["namespaces"] is None


def test_every_question_is_documented(page: Page) -> None:
    document = httpx.get(f"{page.url}api/openapi.json", timeout=60).json()
    for path, operations in document["paths"].items():
        assert path.startswith("/api/v1/")
        assert set(operations) == {"get"}, "the page only reads"
        assert operations["get"]["description"]
        (answer,) = operations["get"]["responses"]["200"]["content"].values()
        assert answer["schema"]


def test_the_first_page_names_what_is_wrong(page: Page) -> None:
    state = page.answer("state")
    assert state["verdict"] in {"findings", "failing"}
    by_kind = {finding["kind"]: finding for finding in state["findings"]}
    slow = by_kind["slow_upstream"]
    assert "192.0.2.54:53" in slow["title"]
    began = page.to - 3600 + 1200
    assert abs(slow["since_us"] / 1e6 - began) <= 120
    assert slow["filters"] == {"upstream": "192.0.2.54:53"}
    assert "timeouts" in by_kind
    assert by_kind["search_waste"]["severity"] == "note"
    assert {one["pod"] for one in state["sufferers"]} <= {pod for _, pod, _, _ in rows.PODS}


def test_nothing_is_not_healthy(page: Page) -> None:
    state = page.answer("state", **{"from": page.to - 90_000, "to": page.to - 80_000})
    assert state["verdict"] == "unknown"
    assert state["sentence"] == "Not enough evidence"


def test_little_is_not_healthy(page: Page) -> None:
    state = page.answer("state", **{"from": page.to - 3590, "to": page.to - 3575})
    assert 0 < state["totals"]["lookups"] < 10
    assert state["sentence"] == "Not enough evidence"


def test_a_quiet_time_is_healthy(page: Page) -> None:
    state = page.answer("state", **{"from": page.to - 3600, "to": page.to - 2500})
    assert (state["verdict"], state["sentence"]) == ("healthy", "DNS healthy")


def test_a_rate_is_compared_with_that_of_a_whole_time(page: Page) -> None:
    """Of the time before, the history has half an hour or 20 minutes of 40: no rise of the rate."""
    for minutes in (30, 40):
        changes = page.answer("state", **{"from": page.to - minutes * 60})["changes"]
        assert "lookups a second" not in {change["label"] for change in changes}
        assert changes


def test_what_never_failed_before_is_said_so(page: Page) -> None:
    failed = [row["start_ns"] // 10**9 for row in page.rows if row["outcome"] != "ok"]
    at = next(at for at in failed if not any(at - 60 <= other < at for other in failed))
    state = page.answer("state", **{"from": at, "to": at + 60})
    (change,) = (one for one in state["changes"] if one["label"] == "share that failed")
    assert change["text"].startswith("0 % → ")


def test_the_course_adds_up(page: Page) -> None:
    course = page.answer("overview")
    assert sum(course["lookups"]) == len(page.rows)
    failed = [row for row in page.rows if row["outcome"] == "timeout"]
    assert sum(course["failed"]) == len(failed)
    assert len(course["times"]) == len(course["p95_ns"]) == len(course["segments"]["upstream"])


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"namespace": "payments"}, lambda row: row["namespace"] == "payments"),
    ({"pod": rows.PODS[0][1]}, lambda row: row["pod"] == rows.PODS[0][1]),
    ({"name": "PARTNER"}, lambda row: "partner" in row["name"]),
    ({"outcome": "timeout"}, lambda row: row["outcome"] == "timeout"),
    ({"certainty": "none"}, lambda row: row["method"] == "none"),
    ({"plugin": "cache", "node": "node-a"}, lambda row: row["plugins"] and row["node"] == "node-a"),
    (
        {"upstream": "192.0.2.54"},
        lambda row: any(one["upstream"] == "192.0.2.54:53" for one in row["exchanges"]),
    ),
    ({"server": "coredns-1"}, lambda row: any(hop["server"] == "coredns-1" for hop in row["hops"])),
    ({"min_ms": 20, "max_ms": 100}, lambda row: 20e6 <= row["duration_ns"] < 100e6),
]


@pytest.mark.parametrize(("filters", "matches"), FILTERS)
def test_filters(page: Page, filters: dict[str, Any], matches: Any) -> None:
    wanted = sorted((row["duration_ns"] for row in page.rows if matches(row)), reverse=True)
    assert wanted
    found = page.answer("lookups", limit=500, **filters)
    assert [row["duration_ns"] for row in found["lookups"]] == wanted[:500]
    assert found["total"] == len(wanted)


def test_pages_of_lookups(page: Page) -> None:
    first = page.answer("lookups", order="newest", limit=10)["lookups"]
    second = page.answer("lookups", order="newest", limit=10, offset=10)["lookups"]
    starts = sorted((row["start_ns"] // 1000 for row in page.rows), reverse=True)
    assert [row["start_us"] for row in first + second] == starts[:20]


def test_one_lookup(page: Page) -> None:
    row = max(page.rows, key=lambda row: (len(row["hops"]), row["start_ns"]))
    whole = page.answer(f"lookups/{row['trace_id']}/{row['span_id']}")
    assert whole["name"] == row["name"]
    assert sum(whole["segments"].values()) == row["duration_ns"]
    assert len(whole["queries_seen"]) == len(row["hops"])
    for query in whole["queries_seen"]:
        for span in query["spans"]:
            own = sum(length for _, length in span["own"])
            assert own <= span["duration_ns"]
            if span["peer"]:
                assert span["segment"] == "upstream"
                assert own == span["duration_ns"]
    assert [one["name"] for one in whole["candidates"]] == row["candidates"]
    assert whole["earlier"] is not None


def test_a_lookup_that_is_not_there(page: Page) -> None:
    assert page.get(f"lookups/{'0' * 32}/{'0' * 16}").status_code == 404
    assert page.get("lookups/x/y").status_code == 422


def test_heat_map_holds_every_exchange(page: Page) -> None:
    map_ = page.answer("latency", of="upstream:192.0.2.54:53")
    exchanges = sum(
        one["upstream"] == "192.0.2.54:53" for row in page.rows for one in row["exchanges"]
    )
    assert sum(map(sum, map_["counts"])) == exchanges
    assert all(len(column) == len(map_["edges_ns"]) for column in map_["counts"])


def test_two_upstreams_compared(page: Page) -> None:
    both = page.answer("comparison", of="upstream:192.0.2.54:53", versus="upstream:192.0.2.53:53")
    assert both["a"]["p95_ns"] > 5 * both["b"]["p95_ns"]
    assert abs(sum(both["a"]["share"]) - 1) < 1e-6


def test_advice_saves_what_was_wasted(page: Page) -> None:
    (first, *_) = page.answer("advice")["advice"]
    assert "ndots:2" in first["title"]
    assert '        value: "2"' in first["ways"][0]["paste"]
    pasted = " ".join(
        line for one in page.answer("advice")["advice"] for line in one["ways"][1]["paste"]
    )
    assert "www.example.org." in pasted
    assert "<" not in pasted


BAD = [
    ("lookups", {"from": 10, "to": 5}),
    ("lookups", {"from": 0, "to": 1e10}),
    ("lookups", {"order": "'; DROP TABLE lookups"}),
    ("lookups", {"limit": 10_000}),
    ("latency", {"of": "table:lookups"}),
    ("lookups", {"name": "x" * 2000}),
]


@pytest.mark.parametrize(("path", "parameters"), BAD)
def test_what_is_wrong_is_said(page: Page, path: str, parameters: dict[str, Any]) -> None:
    response = page.get(path, **{**page.hour, **parameters})
    assert response.status_code == 422
    assert response.json()["detail"]


def test_values_are_never_sql(page: Page) -> None:
    for text in ("' OR 1=1 --", "a?b", "%", "$1", '"'):
        assert page.answer("lookups", pod=text)["lookups"] == []
        assert page.answer("latency", of=f"plugin:{text}")["edges_ns"]


def test_a_history_that_is_not_there_yet(tmp_path: Path) -> None:
    url, process = serve_page(tmp_path, tmp_path / "later")
    with process:
        page = Page(url, [], 1_700_000_000)
        about = page.answer("about")
        assert about["lookups"] == 0
        assert str(tmp_path / "later") in about["problems"][0]
        for path in ("state", "overview", "lookups", "facets", "servers", "pods", "advice"):
            page.answer(path)


def test_a_damaged_file_is_left_out(tmp_path: Path) -> None:
    to = 1_700_000_000
    rows.write(tmp_path / "history", to * 10**9, 60)
    (hour, *_) = (tmp_path / "history").iterdir()
    (hour / file_name(99, 99)).write_bytes(b"PAR1 this is none PAR1")
    url, process = serve_page(tmp_path, tmp_path / "history")
    with process:
        about = Page(url, [], to).answer("about")
    assert about["lookups"] == 60
    assert file_name(99, 99) in about["problems"][0]


def test_a_history_from_before_the_newest_columns(tmp_path: Path) -> None:
    to = 1_700_000_000
    rows.write(tmp_path / "history", to * 10**9, 60)
    newer = {"stub_ns", "network_ns"}
    for file in (tmp_path / "history").glob("*/*.parquet"):
        pq.write_table(pq.read_table(file, partitioning=None).drop_columns([*newer]), file)
    url, process = serve_page(tmp_path, tmp_path / "history")
    with process:
        page = Page(url, [], to)
        for path in ("state", "overview", "lookups", "servers", "pods", "advice"):
            page.answer(path, **page.hour)
        one = page.answer("lookups", **page.hour)["lookups"][0]
        whole = page.answer(f"lookups/{one['trace_id']}/{one['span_id']}")
    assert one["segments"]["stub"] == whole["segments"]["stub"] == 0


def test_duckdb_reads_what_the_test_wrote(history: Any) -> None:
    (count,) = duckdb.execute(
        "SELECT count(*) FROM read_parquet(?)", [f"{history[0]}/*/*"]
    ).fetchone()
    assert count == len(history[1])
