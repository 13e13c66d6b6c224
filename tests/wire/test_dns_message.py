"""DNS messages: what dnspython writes is read alike, and no bytes do harm."""

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from otel_dns.wire import MalformedError
from otel_dns.wire.dns_message import TRACEPARENT_OPTION, DnsMessage, read

TRACE, SPAN = bytes(range(16)), bytes(range(100, 108))
TRACEPARENT = b"\0\0" + TRACE + SPAN + b"\x01"


def query(name: str = "Web.Shop.", type_: str = "A", **edns: object) -> bytes:
    message = dns.message.make_query(name, type_, id=4711, **edns)  # type: ignore[arg-type]
    return message.to_wire()


def option(code: int, value: bytes) -> dns.edns.Option:
    return dns.edns.GenericOption(code, value)


def test_a_query() -> None:
    assert read(query()) == DnsMessage(4711, False, False, "NOERROR", "Web.Shop.", "A", None)


def test_a_response() -> None:
    answer = dns.message.make_response(dns.message.from_wire(query("www.example.org.", "AAAA")))
    answer.flags |= dns.flags.TC
    answer.set_rcode(dns.rcode.NXDOMAIN)
    assert read(answer.to_wire()) == DnsMessage(
        4711, True, True, "NXDOMAIN", "www.example.org.", "AAAA", None
    )


def test_an_extended_rcode() -> None:
    answer = dns.message.make_response(dns.message.from_wire(query(use_edns=0)))
    answer.set_rcode(dns.rcode.BADVERS)
    assert read(answer.to_wire()).rcode == "BADVERS"


@pytest.mark.parametrize(
    ("options", "context"),
    [
        ([option(TRACEPARENT_OPTION, TRACEPARENT)], (TRACE, SPAN)),
        ([option(10, b"cookie!!"), option(TRACEPARENT_OPTION, TRACEPARENT)], (TRACE, SPAN)),
        ([option(TRACEPARENT_OPTION, b"\0\0" + TRACE + b"\x01")], (TRACE, b"")),
        ([option(TRACEPARENT_OPTION, b"\x01\0" + TRACE + SPAN + b"\x01")], None),
        ([option(TRACEPARENT_OPTION, b"\0\0" + TRACE[:-2])], None),
        ([option(10, b"cookie!!")], None),
        ([], None),
    ],
)
def test_trace_context(options: list[dns.edns.Option], context: object) -> None:
    assert read(query(use_edns=0, options=options)).context == context


def test_edns_behind_other_records() -> None:
    message = dns.message.make_query("web.", "A", use_edns=0)
    message.use_edns(0, options=[option(TRACEPARENT_OPTION, TRACEPARENT)])
    message.additional.append(dns.rrset.from_text("ns.example.", 60, "IN", "A", "192.0.2.1"))
    assert read(message.to_wire()).context == (TRACE, SPAN)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"a b", "a\\ b."),
        (b"a.b", "a\\.b."),
        (b"\x00\xff", "\\000\\255."),
        (b'"\\', '\\"\\\\.'),
        (b"_dns-sd", "_dns-sd."),
    ],
)
def test_names_as_coredns_writes_them(label: bytes, text: str) -> None:
    wire = bytes(4) + b"\0\1" + bytes(6) + bytes((len(label),)) + label + b"\0\0\1\0\1"
    assert read(wire).name == text


def test_the_root_and_no_question() -> None:
    assert read(query(".", "NS")).name == "."
    assert read(bytes(12)) == DnsMessage(0, False, False, "NOERROR", "", "", None)


def _name(*lengths: int) -> bytes:
    return b"".join(bytes((length,)) + b"a" * length for length in lengths) + b"\0"


def test_the_longest_name_there_is() -> None:
    wire = bytes(4) + b"\0\1" + bytes(6) + _name(63, 63, 63, 61) + b"\0\1\0\1"
    assert len(read(wire).name) == 254


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        (b"\0" * 11, "header"),
        (bytes(4) + b"\0\1" + bytes(6), "ends within its question's name"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\xc0\x0c\0\1\0\1", "a label of 192"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\x05ab", "cut short"),
        (bytes(4) + b"\0\1" + bytes(6) + _name(63, 63, 63, 62) + b"\0\1\0\1", "longer"),
        (bytes(4) + b"\0\1" + bytes(6) + b"\x01a\0\0\1", "within its question"),
    ],
)
def test_refused(wire: bytes, why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        read(wire)


labels = st.binary(min_size=1, max_size=20)


@given(
    st.lists(labels, min_size=1, max_size=8),
    st.integers(0, 0xFFFF),
    st.booleans(),
    st.sampled_from([None, TRACEPARENT]),
)
def test_what_dnspython_writes(
    name: list[bytes], number: int, response: bool, context: bytes | None
) -> None:
    message = dns.message.make_query(dns.name.Name([*name, b""]), "TXT", id=number)
    if context:
        message.use_edns(0, options=[option(TRACEPARENT_OPTION, context)])
    if response:
        message.flags |= dns.flags.QR
    found = read(message.to_wire())
    assert (found.id, found.response, found.type) == (number, response, "TXT")
    assert dns.name.from_text(found.name) == dns.name.Name([*name, b""])
    assert found.context == ((TRACE, SPAN) if context else None)


@given(st.binary(max_size=600))
@example(query(use_edns=0, options=[option(TRACEPARENT_OPTION, TRACEPARENT)])[:-5])
@example(bytes(4) + b"\0\1\0\0\0\0\0\1" + b"\0\0\1\0\1" + b"\0\0\x29\xff\xff")
@example(bytes(4) + b"\0\0\0\0\0\0\0\1" + b"\xc0")
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        found = read(raw)
    except MalformedError:
        return
    assert len(found.name) <= 4 * 255
    assert found.name.isascii()
