"""Frame streams, the framing that dnstap travels in (TCP, Unix sockets and files alike).

A data frame is a 32-bit big-endian length and that many bytes. A length of zero is the escape: a
control frame follows, with its own length, a type and fields. Two parties shake hands with READY,
ACCEPT, START, then data frames, then STOP and FINISH; a file has START, data frames and STOP only.
"""

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

DNSTAP_CONTENT_TYPE: Final = b"protobuf:dnstap.Dnstap"

MAX_CONTROL_BYTES: Final = 512
"""The reference implementation's own bound."""
MAX_DATA_BYTES: Final = 1 << 20
"""Sixteen times what a dnstap message with the largest possible DNS message needs."""

_U32: Final = struct.Struct(">I")
_FIELD_CONTENT_TYPE: Final = 1


class FrameError(ValueError):
    """The bytes are no frame stream, or a frame is larger than allowed."""


class ControlType(enum.IntEnum):
    """What a control frame says."""

    ACCEPT = 1
    START = 2
    STOP = 3
    READY = 4
    FINISH = 5


@dataclass(frozen=True, slots=True)
class Control:
    """A control frame."""

    type: ControlType
    content_types: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Data:
    """A data frame."""

    payload: bytes


Frame = Control | Data


def encode_data(payload: bytes) -> bytes:
    """One data frame.

    Raises:
        FrameError: The payload is empty (that would be an escape) or too large.
    """
    if not 0 < len(payload) <= MAX_DATA_BYTES:
        raise FrameError(f"a data frame has 1 to {MAX_DATA_BYTES} bytes, not {len(payload)}")
    return _U32.pack(len(payload)) + payload


def encode_control(control: Control) -> bytes:
    """One control frame.

    Raises:
        FrameError: Its content types are too long.
    """
    body = _U32.pack(control.type) + b"".join(
        _U32.pack(_FIELD_CONTENT_TYPE) + _U32.pack(len(each)) + each
        for each in control.content_types
    )
    if len(body) > MAX_CONTROL_BYTES:
        raise FrameError(f"a control frame has at most {MAX_CONTROL_BYTES} bytes, not {len(body)}")
    return _U32.pack(0) + _U32.pack(len(body)) + body


class Decoder:
    """Cuts a stream of bytes, however it arrives, into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Bytes of a frame that is not complete yet; at a stream's end, more than 0 is a cut."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes and give the frames that are complete now.

        Raises:
            FrameError: While iterating; the stream cannot be read on.
        """
        self._held += data
        position = 0
        try:
            while (cut := _cut(self._held, position)) is not None:
                frame, position = cut
                yield frame
        finally:
            del self._held[:position]


def decode(data: bytes) -> list[Frame]:
    """All frames of a whole stream, such as a file.

    Raises:
        FrameError: It is no frame stream, or cut off within a frame.
    """
    decoder = Decoder()
    frames = list(decoder.feed(data))
    if decoder.held:
        raise FrameError(f"the stream ends within a frame, {decoder.held} bytes into it")
    return frames


def _cut(held: bytearray, position: int) -> tuple[Frame, int] | None:
    start = position + 4
    if len(held) < start:
        return None
    (length,) = _U32.unpack_from(held, position)
    if length > MAX_DATA_BYTES:
        raise FrameError(f"a data frame of {length} bytes; at most {MAX_DATA_BYTES} are taken")
    if length:
        end = start + length
        return (Data(bytes(held[start:end])), end) if len(held) >= end else None
    if len(held) < start + 4:
        return None
    (length,) = _U32.unpack_from(held, start)
    if not 4 <= length <= MAX_CONTROL_BYTES:
        raise FrameError(f"a control frame of {length} bytes; 4 to {MAX_CONTROL_BYTES} are taken")
    start, end = start + 4, start + 4 + length
    return (_control(bytes(held[start:end])), end) if len(held) >= end else None


def _control(body: bytes) -> Control:
    (number,) = _U32.unpack_from(body, 0)
    try:
        kind = ControlType(number)
    except ValueError:
        raise FrameError(f"no control frame has type {number}") from None
    content_types = []
    position = 4
    while position < len(body):
        if len(body) < position + 8:
            raise FrameError("a control frame ends within a field")
        field, length = struct.unpack_from(">II", body, position)
        position += 8
        if field != _FIELD_CONTENT_TYPE:
            raise FrameError(f"no control field has type {field}")
        if len(body) < position + length:
            raise FrameError("a control frame ends within a content type")
        content_types.append(body[position : position + length])
        position += length
    return Control(kind, tuple(content_types))
