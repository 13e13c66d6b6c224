"""What kind a recording is, told by its beginning."""

from typing import Final

from otel_dns.model import Message
from otel_dns.wire import MalformedError, coredns_log

MAX_ITEM: Final = 64 << 20
"""Bytes of one line, one message or one list: the most that a receiver takes as well."""
LOOKED_AT: Final = 1 << 16
"""Bytes at the beginning by which a kind is told."""

KINDS: Final = {
    "dnstap": "dnstap frames",
    "otlp": "OTLP protobuf",
    "otlp_json": "OTLP JSON lines",
    "zipkin": "Zipkin JSON",
    "log": "CoreDNS log",
}


def kind_of(head: bytes) -> str | None:
    """Tell a file's kind by its beginning: a key of ``KINDS``, or None."""
    if head[:4] == b"\0\0\0\0" and head[8:11] == b"\0\0\0" and head[11:12] in b"\x02\x04":
        return "dnstap"
    if framing_of(head) is not None:
        return "otlp"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"[" and text[1:].lstrip()[:1] in {b"{", b"]"}:
        return "zipkin"
    first = text.split(b"\n", 1)[0]
    if text[:1] == b"{":
        if any(
            root in first[:200] for root in (b'"resourceSpans"', b'"resourceLogs"', b'"resourceM')
        ):
            return "otlp_json"
        if b'"traceId"' in first and b'"id"' in first:
            return "zipkin"
    lines = head.decode("utf-8", "replace").splitlines()[:200]
    return "log" if any(map(_is_log_line, lines)) else None


def _is_log_line(line: str) -> bool:
    try:
        return isinstance(coredns_log.parse(line), Message) or line.startswith("CoreDNS-")
    except MalformedError:
        return True


def framing_of(head: bytes) -> str | None:
    """Tell how OTLP requests stand here: ``varint``, ``u32``, ``bare``; None if there are none.

    Each behind its length as a varint (Java's writeDelimitedTo), or as four bytes, big-endian (the
    Collector's file exporter), or one alone. All kinds of requests begin with field 1, a message
    whose fields are 1, 2 and 3; so does hardly any text.
    """
    length, at = varint(head, 0)
    places = (
        ("u32", 4, int.from_bytes(head[:4], "big")),
        ("varint", at, length),
        ("bare", 0, MAX_ITEM),
    )
    for framing, start, limit in places:
        if head[start : start + 1] == b"\x0a" and 0 < limit <= MAX_ITEM:
            inner, after = varint(head, start + 1)
            fits = after and after - start + inner <= limit
            if fits and head[after : after + 1] in {b"\x0a", b"\x12", b"\x1a"}:
                return framing
    return None


def varint(raw: bytes, at: int) -> tuple[int, int]:
    """Read a length; the place after it is 0 where there is none."""
    value = shift = 0
    while at < len(raw) and shift < 35:
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, 0


def unknown(head: bytes) -> str:
    """Say what a file is that is of no kind."""
    if not head:
        return "is empty"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "is packed with zstd; unpack it first (zstd -d)"
    return f"is none of: {', '.join(KINDS.values())}; it begins with {head[:16]!r}"
