"""Protobuf's wire format, as far as a message is looked into without a schema."""

from collections.abc import Iterator
from typing import Final

from otel_dns.wire import MalformedError

_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(0x80))


def fields(
    raw: bytes | memoryview,
) -> Iterator[tuple[int, int | bytes | memoryview, int, int]]:
    """Walk the fields of one message: tag, value, and where the field starts and ends.

    A tag is the field's number and wire type as they are written (``number << 3 | wire type``), so
    a field of another type than the schema's is not taken for it.

    Length-delimited values are of the message's own type (of a view they are views: nothing is
    copied), all others unsigned integers.

    Raises:
        MalformedError: a field is cut short, or of a wire type that proto3 does not have.
    """
    at, size = 0, len(raw)
    while at < size:
        start = at
        tag = raw[at]
        if tag < 0x80:
            at += 1
        else:
            tag, at = _read_varint(raw, at)
        wire_type = tag & 7
        if wire_type == 2:
            if at < size and raw[at] < 0x80:
                end = at + 1 + raw[at]
                at += 1
            else:
                length, at = _read_varint(raw, at)
                end = at + length
            value: int | bytes | memoryview = raw[at:end]
        elif wire_type == 0:
            value, end = _read_varint(raw, at)
        elif wire_type == 1:
            end = at + 8
            value = int.from_bytes(raw[at:end], "little")
        elif wire_type == 5:
            end = at + 4
            value = int.from_bytes(raw[at:end], "little")
        else:
            raise MalformedError(f"wire type {wire_type} at byte {start}")
        if end > size:
            raise MalformedError(f"field {tag >> 3} at byte {start} is cut short")
        yield tag, value, start, end
        at = end


def _read_varint(raw: bytes | memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise MalformedError(f"broken varint before byte {at}")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7


def varint(value: int) -> bytes:
    """Encode an unsigned integer."""
    if value <= 0x7F:
        return _ONE_BYTE[value]
    if value <= 0x3FFF:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value <= 0x1F_FFFF:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
