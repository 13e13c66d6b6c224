"""dnstap: what a real CoreDNS wrote, every type of message, and bytes that are none."""

from collections import Counter
from pathlib import Path
from typing import Any

import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import otel_dns.lab
from otel_dns.model import Message
from otel_dns.wire import MalformedError, Unused, dnstap, frame_streams
from otel_dns.wire.dnstap import decode

RECORDED = Path(otel_dns.lab.__file__).parent / "recordings" / "demo" / "coredns.fstrm"
PAYLOADS = [
    one.payload
    for one in frame_streams.decode(RECORDED.read_bytes())
    if isinstance(one, frame_streams.Data)
]
QUERY = dns.message.make_query("Web.Shop.", "A", id=4711).to_wire()
NAME = ("Web.Shop.", "web.shop.", "A", 4711)


def tap(number: int, *, type_: int = 1, extra: bytes = b"", **fields: Any) -> bytes:
    told = {
        "type": number,
        "socket_protocol": 1,
        "query_address": bytes((10, 0, 0, 7)),
        "query_port": 40_000,
        "query_time_sec": 100,
        "query_time_nsec": 5,
        "query_message": QUERY,
        "response_time_sec": 101,
        "response_message": QUERY,
    } | fields
    encoded: bytes = dnstap._Dnstap(
        identity=b"coredns-0", extra=extra, type=type_, message=told
    ).SerializeToString()
    return encoded


def decoded(payload: bytes) -> Message:
    message = decode(payload)
    assert isinstance(message, Message)
    return message


def test_what_coredns_wrote() -> None:
    messages = [decoded(payload) for payload in PAYLOADS]
    assert Counter(one.kind for one in messages) == {"CQ": 21, "CR": 21, "FQ": 5, "FR": 5}
    assert {one.server for one in messages} == {"coredns"}
    assert {one.client for one in messages if one.kind in {"CQ", "CR"}} == {"10.244.0.4"}
    assert all(len(one.trace_id) == 8 and one.size for one in messages)
    by_query: dict[tuple[int, str], list[Message]] = {}
    for one in messages:
        by_query.setdefault((one.dns_id, one.type), []).append(one)
    assert len(by_query) == 21
    for found in by_query.values():
        assert len({one.trace_id for one in found}) == len({one.name for one in found}) == 1
        query, *others = found
        ports = {one.client_port if one.kind in {"CQ", "CR"} else one.asker_port for one in found}
        assert ports == {query.client_port}
        assert all(one.time_ns > query.time_ns for one in others)
        assert {one.query_time_ns for one in found if one.kind == "CR"} == {query.time_ns}
    forwarded = [one for one in messages if one.kind == "FR"]
    assert {one.peer for one in forwarded} == {"192.0.2.53:53"}
    assert Counter(one.rcode for one in messages if one.kind == "CR")["NXDOMAIN"] == 14


@pytest.mark.parametrize(
    ("number", "kind"),
    [(1, "CQ"), (2, "CR"), (3, "FQ"), (4, "FR"), (5, "CQ"), (6, "CR"), (7, "FQ"), (8, "FR")],
)
def test_every_type_of_a_servers_own(number: int, kind: str) -> None:
    found = decoded(tap(number, response_address=bytes((192, 0, 2, 53)), response_port=53))
    response = kind[1] == "R"
    assert found.kind == kind
    assert found.time_ns == (101_000_000_000 if response else 100_000_000_005)
    assert found.query_time_ns == (100_000_000_005 if response else 0)
    assert (found.asked, found.name, found.type, found.dns_id) == NAME
    assert found.rcode == ("NOERROR" if response else "")
    assert found.peer == ("192.0.2.53:53" if kind[0] == "F" else "")
    assert (found.client, found.client_port, found.proto) == ("10.0.0.7", 40_000, "udp")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (9, "stub_query"), (10, "stub_response"), (11, "tool_query"), (12, "tool_response"),
        (13, "update_query"), (14, "update_response"), (15, "unknown_type"), (0, "unknown_type"),
        (1 << 30, "unknown_type"),
    ],
)  # fmt: skip
def test_types_that_tell_of_no_query_at_a_server(number: int, reason: str) -> None:
    assert decode(tap(number)) == Unused(reason)


def test_no_message_at_all() -> None:
    assert decode(b"") == Unused("unknown_type")
    assert decode(tap(5, type_=2)) == Unused("unknown_type")


@pytest.mark.parametrize(
    ("extra", "trace_id", "pod"),
    [
        (b"60cb0afc6770a3c6 4711 40000", "60cb0afc6770a3c6", ""),
        (b"- 4711 40000", "", ""),
        (b"60cb0afc6770a3c6 4711 40000 shop web-0", "60cb0afc6770a3c6", "shop/web-0"),
        (b"60cb0afc6770a3c6 4711 40000 - -", "60cb0afc6770a3c6", ""),
        (b"60cb0afc6770a3cz 4711 40000", "", ""),
        (b"60cb0afc6770a3c6 4711", "", ""),
        (b"60cb0afc6770a3c6 x 40000", "", ""),
        (b"60cb0afc6770a3c6 4711 " + b"9" * 400, "", ""),
        (b"upstream: 192.0.2.53:53", "", ""),
        (b"{/trace/traceid} {>id} {port}", "", ""),
        (b"\xff\xff \xff \xff", "", ""),
    ],
)
def test_extra(extra: bytes, trace_id: str, pod: str) -> None:
    found = decoded(tap(5, extra=extra))
    assert (found.trace_id.hex(), found.pod) == (trace_id, pod)
    assert (found.asked, found.name, found.type, found.dns_id) == NAME


def test_without_full_extra_still_tells_the_id() -> None:
    found = decoded(tap(5, query_message=b"", extra=b"60cb0afc6770a3c6 4711 40000"))
    assert (found.dns_id, found.name, found.size) == (4711, "", 0)


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (bytes((10, 0, 0, 7)), "10.0.0.7"),
        (bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 7)), "10.0.0.7"),
        (bytes.fromhex("fd00") + bytes(13) + b"\x01", "fd00::1"),
        (b"", ""),
        (b"12345", ""),
    ],
)
def test_addresses(packed: bytes, text: str) -> None:
    assert decoded(tap(5, query_address=packed)).client == text
    peer = f"[{text}]:53" if ":" in text else f"{text}:53" if text else ""
    assert decoded(tap(7, response_address=packed, response_port=53)).peer == peer


def test_who_has_no_identity_is_called_by_its_address() -> None:
    payload = PAYLOADS[0].replace(b"\x0a\x07coredns", b"", 1)
    found = decode(payload, "10.0.0.53")
    assert isinstance(found, Message)
    assert found.server == "10.0.0.53"


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"\xff", "not dnstap"),
        (PAYLOADS[0][:-1], "not dnstap"),
        (tap(5, query_message=b"short"), "header"),
        (tap(5, query_time_sec=0, query_time_nsec=0), "without its time"),
        (tap(6, response_time_sec=0), "without its time"),
        (tap(5, query_time_sec=1 << 63), "no time has"),
        (tap(5, query_time_nsec=1_000_000_000), "no time has"),
    ],
)
def test_refused(payload: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        decode(payload)


@given(st.binary(max_size=300))
@example(b"\x72\x02\x08\x05\x78\x01")
def test_any_bytes_are_messages_or_refused(raw: bytes) -> None:
    check(raw)


@given(st.sampled_from(PAYLOADS), st.data())
def test_any_change_of_a_real_one(payload: bytes, data: st.DataObject) -> None:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    check(bytes(changed))


def check(raw: bytes) -> None:
    try:
        found = decode(raw)
    except MalformedError:
        return
    if isinstance(found, Message):
        assert found.time_ns > 0
        assert 0 <= found.client_port < 65_536
        assert 0 <= found.dns_id < 65_536
        assert len(found.trace_id) in {0, 8}
        assert len(found.server) <= 255
