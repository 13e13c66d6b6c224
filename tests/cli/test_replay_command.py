"""``otel-dns replay``: every kind of file, told by its content, whole and damaged."""

import datetime
import gzip
import json
import os
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import otel_dns.lab
from otel_dns.cli import main
from otel_dns.lab import delimited
from otel_dns.service.recordings.kinds import kind_of
from tests.support.otlp import forward
from tests.support.processes import free_addresses, running
from tests.support.programs import require
from tests.support.waiting import eventually

RECORDING = Path(otel_dns.lab.__file__).parent / "recordings" / "demo"
TRACES = RECORDING / "client-traces.otlp"
ZIPKIN = RECORDING / "coredns-zipkin.jsonl"
DNSTAP = RECORDING / "coredns.fstrm"
NAMES = ["web", "db", "www.example.org", "slow.example.", "paymets"]


def replayed(*arguments: object, code: int = 0) -> tuple[list[dict[str, Any]], str]:
    """The lookups that ``--json`` prints, and what is said beside them."""
    result = CliRunner().invoke(main, ["replay", "--json", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def queries(lookups: list[dict[str, Any]]) -> list[int]:
    return [len(one["queries"]) for one in lookups]


def test_a_recording_of_the_lab() -> None:
    lookups, said = replayed(RECORDING)
    assert [one["name"] for one in lookups] == NAMES
    assert queries(lookups) == [2, 2, 8, 1, 8]
    assert "coredns.fstrm: dnstap frames" in said
    assert "manifest.json: no recording" in said
    for one in lookups:
        assert sum(one["segments_ns"].values()) == one["duration_ns"]


def test_any_order_gives_the_same() -> None:
    files = [TRACES, ZIPKIN, DNSTAP]
    first, _ = replayed(*files)
    second, _ = replayed(*reversed(files))
    assert first == second


def test_dnstap_alone_gives_the_servers_time() -> None:
    lookups, _ = replayed(DNSTAP, TRACES)
    assert queries(lookups) == [2, 2, 8, 1, 8]
    slow = next(one for one in lookups if one["name"] == "slow.example.")
    assert slow["segments_ns"]["upstream"] > 50_000_000


def test_a_log_with_times_alone(tmp_path: Path) -> None:
    log = tmp_path / "coredns.txt"
    lines, _ = replayed(DNSTAP, TRACES)
    start = min(query["start_ns"] for one in lines for query in one["queries"])
    text = (RECORDING / "coredns.log").read_text().splitlines(keepends=True)
    # The recording's lines have none; what they were is known from the frames beside them.
    by_query = {
        (query["name"], query["type"]): query["start_ns"] + query["duration_ns"]
        for one in lines
        for query in one["queries"]
    }
    out = []
    for line in text:
        for (name, type_), end_ns in by_query.items():
            if f'"{type_} IN {name} ' in line:
                out.append(f"{rfc3339(end_ns)} {line}")
    log.write_text("".join(out))
    assert start
    lookups, _ = replayed(log, TRACES)
    assert queries(lookups) == [2, 2, 8, 1, 8]


def rfc3339(time_ns: int) -> str:
    seconds = datetime.datetime.fromtimestamp(time_ns // 1_000_000_000, datetime.UTC)
    return f"{seconds:%Y-%m-%dT%H:%M:%S}.{time_ns % 1_000_000_000:09}Z"


def test_what_a_real_collector_exports_to_files(tmp_path: Path) -> None:
    otlp, health = free_addresses(2)
    config = tmp_path / "collector.yaml"
    config.write_text(f"""\
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: {otlp}}}}}}}}}
exporters:
  file/json: {{path: {tmp_path}/export.jsonl, flush_interval: 100ms}}
  file/proto: {{path: {tmp_path}/export.pb, format: proto, flush_interval: 100ms}}
extensions: {{health_check: {{endpoint: {health}}}}}
service:
  extensions: [health_check]
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [file/json, file/proto]}}}}
""")
    with running(
        [require("otelcol"), f"--config={config}"],
        env={}, log=tmp_path / "collector.log", ready=f"http://{health}/",
    ):  # fmt: skip
        for request in delimited.decode(TRACES.read_bytes()):
            forward(otlp, request)
        eventually(lambda: (tmp_path / "export.pb").stat().st_size, "the exported file")
    expected, _ = replayed(TRACES, ZIPKIN)
    for name in ("export.jsonl", "export.pb"):
        lookups, said = replayed(ZIPKIN, tmp_path / name)
        assert lookups == expected, said


def test_packed_and_put_together(tmp_path: Path) -> None:
    expected, _ = replayed(TRACES, ZIPKIN)
    (tmp_path / "a.gz").write_bytes(gzip.compress(TRACES.read_bytes()))
    spans = [span for line in ZIPKIN.read_bytes().splitlines() for span in json.loads(line)]
    (tmp_path / "one list").write_text(json.dumps(spans, indent=2))
    assert replayed(tmp_path)[0] == expected
    (tmp_path / "one list").write_text("\n".join(map(json.dumps, spans)))
    assert replayed(tmp_path)[0] == expected


def test_one_bare_request(tmp_path: Path) -> None:
    whole = ExportTraceServiceRequest()
    for request in delimited.decode(TRACES.read_bytes()):
        whole.MergeFromString(request)
    (tmp_path / "request.pb").write_bytes(whole.SerializeToString())
    assert replayed(tmp_path, ZIPKIN)[0] == replayed(TRACES, ZIPKIN)[0]


@pytest.mark.parametrize(
    ("source", "cut", "said"),
    [
        (DNSTAP, -3, "the file ends within it"),
        (TRACES, -3, "the file ends within a message"),
        (ZIPKIN, -3, "not JSON"),
    ],
)
def test_what_is_cut_off_is_said_and_the_rest_is_joined(
    source: Path, cut: int, said: str, tmp_path: Path
) -> None:
    damaged = tmp_path / source.name
    damaged.write_bytes(source.read_bytes()[:cut])
    others = [one for one in (TRACES, ZIPKIN) if one != source]
    _, text = replayed(damaged, *others, code=1)
    assert f"damaged: {damaged}" in text
    assert said in text


def test_of_a_packed_file_that_is_cut_off_what_there_is_is_joined(tmp_path: Path) -> None:
    packed = gzip.compress(ZIPKIN.read_bytes())
    damaged = tmp_path / "zipkin.gz"
    damaged.write_bytes(packed[: len(packed) * 9 // 10])
    lookups, said = replayed(TRACES, damaged, code=1)
    assert 0 < sum(queries(lookups)) < 21
    assert f"damaged: {damaged}: Compressed file ended" in said
    assert "what could be unpacked was read" in said


@pytest.mark.parametrize("kept", [12, 100, 300, 1000])
def test_of_a_packed_file_only_the_beginning(kept: int, tmp_path: Path) -> None:
    damaged = tmp_path / "zipkin.gz"
    damaged.write_bytes(gzip.compress(ZIPKIN.read_bytes())[:kept])
    lookups, said = replayed(TRACES, damaged, code=1)
    assert len(lookups) == 5
    assert f"damaged: {damaged}: " in said


@pytest.mark.parametrize("packed", [False, True])
def test_through_pipes_and_standard_input(packed: bool, tmp_path: Path) -> None:
    expected, _ = replayed(TRACES, ZIPKIN)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    traces, spans = TRACES.read_bytes(), ZIPKIN.read_bytes()
    writer = Thread(target=lambda: pipe.write_bytes(gzip.compress(spans) if packed else spans))
    writer.start()
    given = CliRunner().invoke(main, ["replay", "--json", str(pipe), "-"], input=traces)
    writer.join()
    assert given.exit_code == 0, given.output
    assert [json.loads(line) for line in given.stdout.splitlines()] == expected


def test_a_directory_without_any_recording(tmp_path: Path) -> None:
    lookups, said = replayed(tmp_path, code=1)
    assert not lookups
    assert "no recording here" in said


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    assert "nothing of any server: is there a file" in replayed(TRACES)[1]
    renamed = tmp_path / "zipkin"
    renamed.write_bytes(ZIPKIN.read_bytes().replace(b'"coredns"', b'"kube-dns"'))
    _, said = replayed(TRACES, renamed)
    assert "--coredns-service kube-dns takes them so" in said
    lookups, said = replayed(TRACES, renamed, "--coredns-service", "kube-dns")
    assert queries(lookups) == [2, 2, 8, 1, 8]
    assert "is there a file" not in said
    # Of a file that is none nothing is missing.
    (tmp_path / "diary").write_text("Dear diary,\n")
    assert "is there a file" not in replayed(tmp_path / "diary", code=1)[1]


def test_damage_in_the_middle(tmp_path: Path) -> None:
    lines = ZIPKIN.read_bytes().splitlines(keepends=True)
    damaged = tmp_path / "zipkin"
    damaged.write_bytes(b"".join([lines[0], b"{broken\n", *lines[1:]]))
    lookups, said = replayed(damaged, TRACES, code=1)
    assert queries(lookups) == [2, 2, 8, 1, 8]
    assert "line 2: not JSON" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x28\xb5\x2f\xfdxyz", "zstd"),
        (b"\x89PNG\r\n\x1a\n", "is none of"),
        (b"Dear diary,\n", "is none of"),
        (b"\x1f\x8b", "ended before"),
        (b"\x1f\x8bbroken!!!", "Unknown compression method"),
    ],
)
def test_no_recording_at_all(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    lookups, text = replayed(tmp_path / "file", TRACES, code=1)
    assert len(lookups) == 5
    assert said in text


def test_text_and_the_slowest() -> None:
    result = CliRunner().invoke(main, ["replay", "--slowest", "1", str(TRACES), str(ZIPKIN)])
    assert result.exit_code == 0
    assert "slow.example." in result.stdout
    assert "paymets" not in result.stdout


def test_no_lookups_is_said(tmp_path: Path) -> None:
    lookups, said = replayed("--no-inferred", ZIPKIN)
    assert not lookups
    assert "no lookups: is there a file" in said
    assert "server spans belong to no lookup that is here" in said
    assert "52 messages belong to no lookup" in replayed("--no-inferred", DNSTAP)[1]


@pytest.mark.parametrize("evidence", [ZIPKIN, DNSTAP], ids=["spans", "dnstap"])
def test_lookups_are_inferred_from_servers_alone(evidence: Path) -> None:
    """The very same as the application told of; what the first candidate answers has its name."""
    known, _ = replayed(TRACES, evidence)
    inferred, said = replayed(evidence)

    def told(lookups):
        return [(one["outcome"], one["queries"]) for one in lookups]

    assert told(inferred) == told(known)
    assert [one["name"] for one in inferred] == [
        "web.shop.svc.cluster.local", "db.shop.svc.cluster.local", "www.example.org",
        "slow.example", "paymets",
    ]  # fmt: skip
    assert {one["inferred"] for one in known} == {False}
    assert {(one["inferred"], one["duration_ns"]) for one in inferred} == {(True, None)}
    assert "are of lookups that no client told of: inferred" in said


@pytest.mark.parametrize("name", ["manifest.json", "application.txt", "coredns-metrics.txt"])
def test_what_is_no_recording_is_not_taken_for_one(name: str) -> None:
    assert kind_of((RECORDING / name).read_bytes()) is None


def test_kinds() -> None:
    found = {path.name: kind_of(path.read_bytes()[:65_536]) for path in RECORDING.iterdir()}
    assert {name: kind for name, kind in found.items() if kind} == {
        "client-traces.otlp": "otlp",
        "client-metrics.otlp": "otlp",
        "coredns-zipkin.jsonl": "zipkin",
        "coredns.fstrm": "dnstap",
        "coredns.log": "log",
    }


def test_a_path_that_is_not_there() -> None:
    result = CliRunner().invoke(main, ["replay", "/no/such/file"])
    assert result.exit_code == 2
    assert "/no/such/file" in result.stderr
