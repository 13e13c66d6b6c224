"""Large requests, read a piece at a time: read at once they would take many times their size.

What a sender puts into eight bytes, an attribute without a value, protobuf holds in a hundred. So
of a large request no more than a piece is objects at any time, and a message that is larger than a
piece by itself may not be of more fields than sound ones have.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.wire import MalformedError
from otel_dns.wire.otlp import schema
from otel_dns.wire.otlp.protobuf import fields

PIECE: Final = 1 << 20
"""Bytes of a request that is read at once, and of a piece of a larger one."""
_FRAME: Final = 100
"""Bytes that a message of a piece counts for beside its own: an empty one takes memory too."""
_MOST_FIELDS: Final = 50_000
_MOST_NESTED: Final = 100
"""As deep as protobuf's parser goes."""

Layout: TypeAlias = Mapping[int, "Layout"]
"""What of a message's fields are messages: by tag, with their own layout."""


def _any_value() -> Layout:
    any_value: dict[int, Layout] = {}
    key_value = {0x12: any_value}
    any_value |= {0x2A: {0x0A: any_value}, 0x32: {0x0A: key_value}}
    return any_value


_KEY_VALUE: Final[Layout] = {0x12: _any_value()}
RESOURCE: Final[Layout] = {0x0A: _KEY_VALUE}
SCOPE: Final[Layout] = {0x1A: _KEY_VALUE}
SPAN: Final[Layout] = {0x4A: _KEY_VALUE, 0x5A: {0x1A: _KEY_VALUE}, 0x6A: {0x22: _KEY_VALUE}}
LOG_RECORD: Final[Layout] = {0x2A: _any_value(), 0x32: _KEY_VALUE}


@dataclass(frozen=True, slots=True)
class SpansInPieces:
    """Spans as protobuf reads them: anew, piece by piece, each time that they are gone through."""

    raws: Sequence[bytes]

    def __iter__(self) -> Iterator[ProtoSpan]:
        for piece in pieces(self.raws):
            encoded = schema.ScopeSpans(spans=piece).SerializeToString()
            yield from ScopeSpans.FromString(encoded).spans


def pieces(messages: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Part encoded messages, in their order, into lists of about a piece each."""
    piece: list[bytes] = []
    size = 0
    for raw in messages:
        piece.append(raw)
        size += len(raw) + _FRAME
        if size >= PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def check_fields(message: bytes, layout: Layout) -> None:
    """Look whether an encoded message, if it is a large one, is of no more fields than sound ones.

    Args:
        message: the message.
        layout: what of its fields are messages.

    Raises:
        MalformedError: it is of more, or they are broken.
    """
    if len(message) < PIECE:
        return
    walks = [(fields(memoryview(message)), layout)]
    left = _MOST_FIELDS
    while walks:
        walk, layout = walks[-1]
        for tag, value, _, _ in walk:
            left -= 1
            if left < 0:
                raise MalformedError(f"a message of {len(message)} bytes in tiny fields")
            if tag in layout and isinstance(value, memoryview):
                if len(walks) == _MOST_NESTED:
                    raise MalformedError(f"messages nested {_MOST_NESTED} deep")
                walks.append((fields(value), layout[tag]))
                break
        else:
            walks.pop()
