"""Protobuf messages one after the other in a file, each behind its length as a varint.

The way of Java's ``writeDelimitedTo`` and of Python's ``google.protobuf.proto.serialize_length_
prefixed``; here on bytes, so that nothing is parsed in between.
"""


def encode(message: bytes) -> bytes:
    """One message behind its length."""
    length = len(message)
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + message


def decode(raw: bytes) -> list[bytes]:
    """All whole messages; what follows the last one (a message being written) is left out."""
    messages: list[bytes] = []
    position = 0
    while True:
        length = shift = 0
        while True:
            if position >= len(raw):
                return messages
            byte = raw[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if position + length > len(raw):
            return messages
        messages.append(raw[position : position + length])
        position += length
