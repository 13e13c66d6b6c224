"""Resolutions as rows."""

import datetime

import pyarrow as pa
import pytest
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.history.rows import MAX_SPANS, MAX_TEXT, batch_of, row_of
from otel_dns.history.schema import SCHEMA, SCHEMA_VERSION, SEGMENT_COLUMNS
from otel_dns.model import Join, Span
from tests.history.support import forwarded, lookup, resolution, searched
from tests.support import spans
from tests.support.spans import MS, T0


def test_a_row_has_all_that_the_resolution_tells() -> None:
    resolved = searched()
    row = row_of(resolved)
    assert list(row) == SCHEMA.names
    assert row["schema_version"] == SCHEMA_VERSION
    assert row["trace_id"] == resolved.lookup.span.trace_id.hex()
    assert row["start"] == datetime.datetime.fromtimestamp(T0 / 1e9, datetime.UTC)
    assert (row["start_ns"], row["duration_ns"]) == (T0, 26 * MS)
    assert (row["service"], row["namespace"], row["pod"]) == ("shop", "shop", "cart-1")
    assert (row["node"], row["container"], row["client"]) == ("node-a", "app", spans.CLIENT)
    assert (row["name"], row["type"], row["ndots"]) == ("www.example.org", "A+AAAA", 5)
    assert (row["outcome"], row["method"], row["certainty"]) == ("ok", "time", "sure")
    assert (row["queries"], row["waste_queries"]) == (4, 3)
    assert row["candidates"] == list(spans.EXTERNAL)
    assert row["latency_class"] == "under_100ms"


def test_segments_add_up_to_the_duration() -> None:
    row = row_of(searched())
    assert sum(row[column] for column in SEGMENT_COLUMNS.values()) == row["duration_ns"]


def test_hops_hold_what_a_waterfall_needs() -> None:
    row = row_of(searched())
    hops = row["hops"]
    assert [hop["candidate"] for hop in hops] == [0, 1, 2, 3]
    last = hops[3]
    assert (last["rcode"], last["start_ns"], last["duration_ns"]) == ("NOERROR", 19 * MS, 5 * MS)
    assert (last["server"], last["upstream"]) == ("coredns", "192.0.2.53:53")
    spans_ = [span for span in row["spans"] if span["hop"] == 3]
    names = [span["name"] for span in spans_]
    assert names == [semconv.SERVEDNS_SPAN, *spans.PLUGINS, semconv.CONNECT_SPAN]
    assert [span["parent"] for span in spans_] == list(range(-1, len(names) - 1))
    assert sum(span["own_ns"] for span in spans_) == last["duration_ns"]
    exchange = {
        "upstream": "192.0.2.53:53", "server": "coredns", "duration_ns": 4 * MS, "rcode": "NOERROR",
    }  # fmt: skip
    assert row["exchanges"][3] == exchange


def test_an_exchange_after_which_another_was_asked_had_no_answer() -> None:
    trace = forwarded(MS, wait_ns=9 * MS)
    *others, last = trace.spans
    silent = replace(last, span_id=b"12345678", start_ns=last.start_ns, end_ns=last.start_ns + MS)
    again = replace(last, start_ns=last.start_ns + MS)
    for source, rcodes in ((semconv.SOURCE_TRACE, ["", "NOERROR"]), ("dnstap", ["NOERROR"] * 2)):
        made = replace(trace, spans=(*others, silent, again), source=source)
        row = row_of(resolution(lookup(0, 11 * MS), (made, 0)))
        assert [one["rcode"] for one in row["exchanges"]] == rcodes


def test_own_times_add_up_over_the_queries_of_one_server() -> None:
    plugins = {entry["plugin"]: entry for entry in row_of(searched())["plugins"]}
    assert plugins[semconv.CONNECT_SPAN]["queries"] == 4
    assert plugins[semconv.CONNECT_SPAN]["own_ns"] == 16 * MS
    assert {entry["server"] for entry in plugins.values()} == {"coredns"}


def test_a_hop_knows_the_hop_that_asked_it() -> None:
    first, second = forwarded(MS, name="db."), forwarded(2 * MS, name="db.", wait_ns=MS)
    made = resolution(lookup(0, 9 * MS), (first, 0), (second, 0))
    connect = first.spans[-1]
    traces = (
        made.join.traces[0],
        replace(made.join.traces[1], hop=1, parent=connect.span_id),
    )
    row = row_of(replace(made, join=Join(traces, "id", 1.0)))
    assert [hop["parent"] for hop in row["hops"]] == [-1, 0]
    assert row["queries"] == 1


def test_an_unjoined_lookup_is_a_row_too() -> None:
    row = row_of(resolution(lookup(0, MS, error_type="host_not_found")))
    assert (row["outcome"], row["method"], row["certainty"]) == ("not_found", "none", "")
    assert row["hops"] == row["plugins"] == []


@pytest.mark.parametrize("start_ns", [0, (1 << 64) - 1 - T0])
def test_hostile_values_are_cut_to_what_a_column_takes(start_ns: int) -> None:
    made = lookup(start_ns, start_ns, client="\udcff" * 5000)
    trace = forwarded(MS)
    many = [
        Span(trace.root.trace_id, n.to_bytes(8, "big"), b"\xff" * 8, "x" * 9999, 0, 1, b"\xff",
             trace.root.origin)
        for n in range(1, MAX_SPANS + 9)
    ]  # fmt: skip
    hostile = replace(trace, spans=(trace.root, *many))
    row = row_of(resolution(made, (hostile, 0)))
    assert row["client"] == "?" * MAX_TEXT
    assert row["left_out"] == 9
    assert len(row["spans"]) == MAX_SPANS
    assert all(len(span["name"]) <= MAX_TEXT for span in row["spans"])


def test_rows_of_a_batch_do_not_mix() -> None:
    resolved = [searched(), resolution(lookup(0, MS)), searched(MS)]
    batch = batch_of(resolved)
    assert isinstance(batch, pa.RecordBatch)
    batch.validate(full=True)
    assert batch.to_pylist() == [row_of(one) for one in resolved]
