"""What the join needs of a DNS message on the wire: header, question, and the trace context in it.

Every dnstap message carries one, from whoever may send packets to a DNS server, so this reads no
more than it needs, follows no compression pointer and holds nothing: a name is at most 255 bytes
(RFC 1035, 2.3.4), an answer section is skipped record by record. dnspython names types and codes,
each once.
"""

import re
import struct
from functools import lru_cache
from typing import Final, NamedTuple

import dns.rcode
import dns.rdatatype

from otel_dns.marks import TRACEPARENT_OPTION, decode_traceparent
from otel_dns.wire import MalformedError

_HEADER: Final = struct.Struct(">HHHHHH")
_TYPE_CLASS: Final = struct.Struct(">HH")
_RECORD: Final = struct.Struct(">HHIH")
_OPTION: Final = struct.Struct(">HH")
_OPT: Final = 41
_MAX_NAME: Final = 255
_MAX_RECORDS: Final = 512
"""More are not skipped to find EDNS behind them: 64 KiB of records could be 5,000 of them."""

_PLAIN: Final = re.compile(rb"[-\w]*", re.ASCII)
_SPECIAL: Final = frozenset(b". '@;()\"\\")
"""What presentation format marks with a backslash, as miekg/dns has it: so do CoreDNS's spans."""


class DnsMessage(NamedTuple):
    """The parts of a message that tell of its query."""

    id: int
    response: bool
    truncated: bool
    rcode: str
    """Mnemonic; of a query, which has none, ``NOERROR``."""
    name: str
    """Question name in presentation format, letter case kept; empty without a question."""
    type: str
    """Question type as a mnemonic; empty without a question."""
    context: tuple[bytes, bytes] | None
    """Trace and span id of TRACEPARENT; the span id is empty where it was left out."""


def read(wire: bytes) -> DnsMessage:
    """Read a DNS message's header, its first question and its EDNS record.

    What is broken behind the question does not count: a server answered it all the same.

    Raises:
        MalformedError: header or question are cut short, or the name is none.
    """
    if len(wire) < 12:
        raise MalformedError(f"a DNS message of {len(wire)} bytes; its header has 12")
    id_, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(wire)
    name = type_ = ""
    at = 12
    if questions:
        name, at = _question_name(wire)
        if len(wire) < at + 4:
            raise MalformedError("a DNS message ends within its question")
        number, _ = _TYPE_CLASS.unpack_from(wire, at)
        type_ = type_name(number)
        at += 4
    code = flags & 0xF
    context = None
    if additionals and questions <= 1 and answers + authorities + additionals <= _MAX_RECORDS:
        high, context = _edns(wire, at, answers + authorities + additionals)
        code |= high << 4
    return DnsMessage(
        id_, flags >= 0x8000, bool(flags & 0x0200), rcode_name(code), name, type_, context
    )


@lru_cache(maxsize=4096)
def type_name(number: int) -> str:
    """Return a record type's mnemonic, ``TYPE65280`` and the like for an unknown one."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


@lru_cache(maxsize=4096)
def rcode_name(number: int) -> str:
    """Return an RCODE's mnemonic, its number for an unknown one."""
    return dns.rcode.to_text(dns.rcode.Rcode.make(number))


def _question_name(wire: bytes) -> tuple[str, int]:
    """Read the name at byte 12, and where it ends; the latest are remembered, as most come again.

    It ends at the first zero byte, unless a label has one in it: that is found out by reading it.
    """
    end = wire.find(0, 12) + 1
    name = _ending_name(wire[12:end]) if 12 < end <= 12 + _MAX_NAME else ""
    return (name, end) if name else _name_at(wire, 12)


@lru_cache(maxsize=4096)
def _ending_name(encoded: bytes) -> str:
    """Read a name that is all there is; empty if there is more of it."""
    try:
        return _name_at(encoded, 0)[0]
    except MalformedError:
        return ""


def _name_at(wire: bytes, start: int) -> tuple[str, int]:
    """Read a question's name, and where it ends; a pointer could only lead back into the header."""
    size, at = len(wire), start
    labels = []
    while True:
        if at >= size:
            raise MalformedError("a DNS message ends within its question's name")
        length = wire[at]
        at += 1
        if not length:
            break
        if length > 63:
            raise MalformedError(f"a label of {length} in a question's name; at most 63 are legal")
        end = at + length
        if end > size or end + 1 - start > _MAX_NAME:  # the root's label is to come
            raise MalformedError("a question's name is cut short, or longer than 255 bytes")
        labels.append(wire[at:end])
        at = end
    if not labels:
        return ".", at
    if _PLAIN.fullmatch(b"".join(labels)):
        return b".".join(labels).decode("ascii") + ".", at
    return ".".join(map(_escaped, labels)) + ".", at


def _escaped(label: bytes) -> str:
    return "".join(
        f"\\{chr(byte)}"
        if byte in _SPECIAL
        else chr(byte)
        if 0x20 < byte < 0x7F
        else f"\\{byte:03d}"
        for byte in label
    )


def _edns(wire: bytes, at: int, records: int) -> tuple[int, tuple[bytes, bytes] | None]:
    """Find the OPT record: the upper bits of the RCODE, and the trace context."""
    size = len(wire)
    for _ in range(records):
        while at < size and 0 < wire[at] < 0xC0:
            at += 1 + wire[at]
        if at >= size:
            break
        root = not wire[at]
        at += 1 if root else 2
        if at + 10 > size:
            break
        type_, _, ttl, length = _RECORD.unpack_from(wire, at)
        at += 10
        if type_ == _OPT and root:
            return ttl >> 24, _traceparent(wire[at : at + length])
        at += length
    return 0, None


def _traceparent(options: bytes) -> tuple[bytes, bytes] | None:
    at = 0
    while at + 4 <= len(options):
        code, length = _OPTION.unpack_from(options, at)
        at += 4
        if code == TRACEPARENT_OPTION:
            whole = at + length <= len(options)
            context = decode_traceparent(options[at : at + length]) if whole else None
            return context and (context.trace_id, context.span_id)
        at += length
    return None
