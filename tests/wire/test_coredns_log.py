"""CoreDNS's lines: what real ones say, every format, and lines that are something else."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import otel_dns.lab
from otel_dns.model import Message
from otel_dns.wire import MalformedError, Unused
from otel_dns.wire.coredns_log import MAX_LINE, from_fields, parse

RECORDED = Path(otel_dns.lab.__file__).parent / "recordings" / "demo" / "coredns.log"
NOW = 1_795_426_373_000_000_000
COMMON = (
    '10.0.0.7:40000 - 4711 "A IN web.shop.svc.cluster.local. udp 44 false 512"'
    " NOERROR qr,aa,rd 137 0.000388575s"
)
TEXT = "2026-11-23T09:32:53.5Z"
TEXT_NS = 1_795_426_373_500_000_000


def parsed(line: str, **options: object) -> Message:
    found = parse(line, **options)  # type: ignore[arg-type]
    assert isinstance(found, Message), found
    return found


def test_what_coredns_wrote() -> None:
    found = [parse(line, "coredns-0", NOW) for line in RECORDED.read_text().splitlines()]
    messages = [one for one in found if isinstance(one, Message)]
    assert found[:4] == [Unused("other_line")] * 4
    assert len(messages) == 21 == len(found) - 4
    assert {(one.kind, one.client, one.server, one.source) for one in messages} == {
        ("CR", "10.244.0.4", "coredns-0", "log")
    }
    assert len({one.trace_id for one in messages}) == 21
    slow = next(one for one in messages if one.name == "slow.example.")
    assert (slow.client_port, slow.dns_id, slow.type, slow.rcode) == (45584, 10600, "A", "NOERROR")
    assert (slow.proto, slow.size, slow.trace_id.hex()) == ("udp", 58, "7fe3940727c79a5d")
    assert (slow.time_ns, slow.query_time_ns) == (NOW, NOW - 51_372_263)


def expected(**changed: object) -> Message:
    told = {
        "kind": "CR", "server": "coredns-0", "time_ns": NOW, "query_time_ns": NOW - 388_575,
        "client": "10.0.0.7", "client_port": 40_000, "peer": "", "dns_id": 4711,
        "name": "web.shop.svc.cluster.local.", "asked": "", "type": "A", "proto": "udp",
        "rcode": "NOERROR", "size": 137, "source": "log",
    }  # fmt: skip
    return Message(**(told | changed))  # type: ignore[arg-type]


BEFORE = {"time_ns": TEXT_NS, "query_time_ns": TEXT_NS - 388_575}
TRACE = bytes.fromhex("60cb0afc6770a3c6")


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        (f"[INFO] {COMMON}", {}),
        (COMMON, {}),
        (f'[INFO] {COMMON} "0"', {}),
        (f"[INFO] {COMMON} 60cb0afc6770a3c6", {"trace_id": TRACE}),
        (f'[INFO] {COMMON} "0" 60cb0afc6770a3c6', {"trace_id": TRACE}),
        (f"[INFO] {COMMON} -", {}),
        (f"[INFO] {COMMON} - shop web-0", {"pod": "shop/web-0"}),
        (f"[INFO] {COMMON} 60cb0afc6770a3c6 - -", {"trace_id": TRACE}),
        (f"[INFO] {COMMON} whatever else", {}),
        (f"{TEXT} [INFO] {COMMON}", BEFORE),
        (f"{TEXT} stdout F [INFO] {COMMON}\n", BEFORE),
        (f"2026-11-23T10:32:53.500000000+01:00 stdout F [INFO] {COMMON}", BEFORE),
        (f"[pod/coredns-x/coredns] {TEXT} [INFO] {COMMON}", {**BEFORE, "server": "coredns-x"}),
        (f'{{"log":"[INFO] {COMMON}\\n","stream":"stdout","time":"{TEXT}"}}'.replace(
            '"A IN', '\\"A IN').replace('512"', '512\\"'), BEFORE),
        (f"[INFO] {COMMON}".replace("10.0.0.7", "[FD00::1]"), {"client": "fd00::1"}),
        (f"[INFO] {COMMON}".replace("10.0.0.7", "[fe80::1%eth0]"), {"client": "fe80::1"}),
        (f"[INFO] {COMMON}".replace("qr,aa,rd", "qr,aa,tc,rd"), {"truncated": True}),
        (f"[INFO] {COMMON}".replace("NOERROR qr,aa,rd 137", "- - 0"), {"rcode": "", "size": 0}),
        (f"[INFO] {COMMON}".replace("web.shop", r"a\ b.c"), {
            "name": r"a\ b.c.svc.cluster.local."}),
        (f"[INFO] {COMMON}".replace("A IN", "TYPE65 IN"), {"type": "TYPE65"}),
    ],
)  # fmt: skip
def test_formats_of_log(line: str, changed: dict[str, object]) -> None:
    assert parsed(line, server="coredns-0", time_ns=NOW) == expected(**changed)


JSON = (
    '{"time":"2026-11-23T09:32:53.5Z","level":"INFO","msg":%s,"plugin":"log",'
    '"client_ip":"10.0.0.7","client_port":40000,"qname":"web.shop.svc.cluster.local.","qtype":"A",'
    '"qclass":"IN","protocol":"udp","id":4711,"opcode":0,"request_size":44,"dnssec_ok":false,'
    '"bufsize":512,"rcode":"NOERROR","response_size":137,"duration_seconds":0.000388575}'
)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        (JSON % '"web NOERROR"', {}),
        (JSON % '"%s"' % f"{COMMON} 60cb0afc6770a3c6".replace('"', '\\"'), {"trace_id": TRACE}),
        (JSON.replace('"NOERROR"', "null") % '""', {"rcode": ""}),
    ],
)
def test_json(line: str, changed: dict[str, object]) -> None:
    assert parsed(line, server="coredns-0") == expected(**BEFORE, **changed)


def test_dump() -> None:
    line = "[INFO] 10.0.0.7 - [23/Nov/2026:09:32:53 +0000] 4711 A IN Web.Shop. udp 40000"
    found = parsed(line, server="coredns-0")
    assert (found.kind, found.time_ns, found.client, found.client_port) == (
        "CQ", 1_795_426_373_000_000_000, "10.0.0.7", 40_000,
    )  # fmt: skip
    assert (found.name, found.type, found.dns_id, found.rcode) == ("web.shop.", "A", 4711, "")
    assert parsed(line.replace("23/Nov/2026:09:32:53 +0000", "{when}"), time_ns=NOW).time_ns == NOW


@pytest.mark.parametrize("time", ["", "1969-12-31T23:59:59Z ", "9999-01-01T00:00:00Z "])
def test_a_line_without_a_time_that_can_be_says_so(time: str) -> None:
    found = parsed(f"{time}[INFO] {COMMON}")
    assert (found.time_ns, found.query_time_ns) == (0, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("CoreDNS-1.15.0", "other_line"),
        ("", "other_line"),
        ("[ERROR] plugin/errors: 2 www.example.org. A: read udp: i/o timeout", "error_line"),
        ("[WARNING] Dropped dnstap messages: 5", "warning_line"),
        ("[DEBUG] Wrong reply for id: 4711, web. 1", "debug_line"),
        ("debug: 000000 00 0a 01 00 00 01 00 00 00 00 00 01 07 65 78 61", "debug_dump"),
        ("debug: 00002a", "debug_dump"),
        ('{"time":"x","level":"ERROR","msg":"no","plugin":"errors"}', "error_line"),
        ('{"level":"INFO","msg":"CoreDNS-1.15.0"}', "other_line"),
        ("{no json", "other_line"),
        ("[" * 5000, "other_line"),
        ('{"a":' * 1000, "other_line"),
        ("{}", "other_line"),
    ],
)
def test_lines_that_tell_of_no_query(line: str, reason: str) -> None:
    assert parse(line, "coredns-0", NOW) == Unused(reason)


@pytest.mark.parametrize(
    "line",
    [
        COMMON.replace("40000", "65536"),
        COMMON.replace("4711", "99999"),
        (JSON % '""').replace("4711", "-1"),
    ],
)
def test_numbers_that_cannot_be(line: str) -> None:
    with pytest.raises(MalformedError):
        parse(line)


def test_long_lines_are_cut() -> None:
    assert parse(COMMON + " " + "x" * MAX_LINE, "coredns-0", NOW) == expected()


@given(st.text(max_size=200))
@example("9999-12-31T23:59:59.999999999Z stdout F " + COMMON)
@example("0001-01-01T00:00:00Z " + COMMON)
@example('[::]:0 - 0 "A IN . udp 0 - 0" - - 0 0s ')
def test_any_text_is_a_message_or_not(text: str) -> None:
    check(text)


@given(st.sampled_from([COMMON, JSON, f"{TEXT} stdout F [INFO] {COMMON}"]), st.data())
def test_any_change_of_a_line(line: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(line)))
    check(line[:at] + data.draw(st.text(max_size=3)) + line[at + data.draw(st.integers(0, 3)) :])


def check(line: str) -> None:
    try:
        found = parse(line)
    except MalformedError:
        return
    if isinstance(found, Message):
        assert 0 <= found.query_time_ns <= found.time_ns
        assert 0 <= found.client_port < 65_536
        assert len(found.trace_id) in {0, 8}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(
    st.sampled_from([
        "plugin", "qname", "time", "msg", "client_ip", "client_port", "id", "rcode", "qtype",
        "protocol", "response_size", "duration_seconds", "level",
    ]), values))  # fmt: skip
def test_any_fields(fields: dict[str, object]) -> None:
    for plugin in (fields, {**fields, "plugin": "log", "qname": "web."}):
        try:
            from_fields(plugin)
        except MalformedError:
            continue
