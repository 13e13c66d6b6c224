"""OTLP log requests: lines in bodies, records taken apart, and requests that are none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_dns.model import Message
from otel_dns.wire import MalformedError, Unused
from otel_dns.wire.otlp_logs import messages
from tests.wire.test_coredns_log import COMMON, NOW, expected


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
    return {"key": key, "value": {kind: value}}


def request(*records: dict[str, Any], pod: str = "coredns-0") -> bytes:
    whose = {"attributes": [attribute("k8s.pod.name", pod)]}
    encoded: bytes = ExportLogsServiceRequest(
        resource_logs=[{"resource": whose, "scope_logs": [{"log_records": records}]}]
    ).SerializeToString()
    return encoded


def line(text: str, **fields: Any) -> dict[str, Any]:
    return {"body": {"string_value": text}, "time_unix_nano": NOW} | fields


def test_lines() -> None:
    found = list(messages(request(line(COMMON), line("CoreDNS-1.15.0"), line(f"[INFO] {COMMON}"))))
    assert found == [expected(), Unused("other_line"), expected()]


def test_when_it_was_read_where_nothing_says_when_it_was_written() -> None:
    (found,) = messages(request(line(COMMON, time_unix_nano=0, observed_time_unix_nano=NOW)))
    assert found == expected()


def test_whose_it_is_may_stand_on_the_record() -> None:
    record = line(COMMON, attributes=[attribute("k8s.pod.name", "coredns-7")])
    assert list(messages(request(record))) == [expected(server="coredns-7")]


FIELDS = [
    attribute("plugin", "log"), attribute("client_ip", "10.0.0.7"),
    attribute("client_port", 40_000.0), attribute("qname", "web.shop.svc.cluster.local."),
    attribute("qtype", "A"), attribute("protocol", "udp"), attribute("id", 4711.0),
    attribute("rcode", "NOERROR"), attribute("response_size", 137.0),
    attribute("duration_seconds", 0.000388575),
]  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        line("web NOERROR", attributes=FIELDS),
        {"body": {"kvlist_value": {"values": FIELDS}}, "time_unix_nano": NOW},
    ],
)
def test_json_that_the_collector_took_apart(record: dict[str, Any]) -> None:
    assert list(messages(request(record))) == [expected()]


def test_one_broken_line_costs_itself_only() -> None:
    broken = line(COMMON.replace("40000", "70000"))
    number = {"body": {"int_value": 5}}
    assert list(messages(request(broken, number, line(COMMON)))) == [
        Unused("broken_line"), Unused("other_line"), expected(),
    ]  # fmt: skip


def test_no_request() -> None:
    with pytest.raises(MalformedError, match="not an OTLP log request"):
        list(messages(b"\xff"))


@given(
    st.binary(max_size=200), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3)
)
def test_any_bytes(raw: bytes, changes: list[tuple[int, int]]) -> None:
    whole = bytearray(request(line(COMMON), {"attributes": FIELDS}))
    for at, byte in changes:
        whole[at % len(whole)] = byte
    for one in (raw, bytes(whole)):
        try:
            found = list(messages(one))
        except MalformedError:
            continue
        assert all(isinstance(each, Message | Unused) for each in found)


def test_a_large_request() -> None:
    one = request(line(COMMON))
    records = list(messages(one * 10_000))
    assert records == [expected()] * 10_000


@pytest.mark.parametrize("tiny", [b"\x0a\0", b"\x0a\2\x12\0"])
def test_a_large_request_of_tiny_parts_is_refused(tiny: bytes) -> None:
    with pytest.raises(MalformedError):
        list(messages(tiny * 600_000))
