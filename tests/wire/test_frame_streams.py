"""Frame streams: what was encoded comes back however it is cut, and rubbish is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_dns.wire.frame_streams import (
    DNSTAP_CONTENT_TYPE,
    MAX_CONTROL_BYTES,
    MAX_DATA_BYTES,
    Control,
    ControlType,
    Data,
    Decoder,
    Frame,
    FrameError,
    decode,
    encode_control,
    encode_data,
)

controls = st.builds(
    Control,
    st.sampled_from(ControlType),
    st.lists(st.binary(max_size=60), max_size=4).map(tuple),
)
frames = st.one_of(controls, st.builds(Data, st.binary(min_size=1, max_size=300)))


def encode(frame: Frame) -> bytes:
    return encode_data(frame.payload) if isinstance(frame, Data) else encode_control(frame)


@given(st.lists(frames), st.lists(st.integers(1, 50)))
def test_frames_come_back_however_the_stream_is_cut(given_: list[Frame], cuts: list[int]) -> None:
    raw = b"".join(map(encode, given_))
    assert decode(raw) == given_
    decoder, came, position = Decoder(), [], 0
    for size in [*cuts, len(raw)]:
        came += decoder.feed(raw[position : position + size])
        position += size
    assert came == given_
    assert decoder.held == 0


@given(st.binary(max_size=600))
def test_any_bytes_are_frames_or_refused(raw: bytes) -> None:
    decoder = Decoder()
    try:
        came = list(decoder.feed(raw))
    except FrameError:
        return
    assert b"".join(map(encode, came)) == raw[: len(raw) - decoder.held]


def test_known_bytes() -> None:
    start = (
        b"\0\0\0\0" + b"\0\0\0\x22" + b"\0\0\0\x02" + b"\0\0\0\x01" + b"\0\0\0\x16"
        b"protobuf:dnstap.Dnstap"
    )
    assert encode_control(Control(ControlType.START, (DNSTAP_CONTENT_TYPE,))) == start
    assert decode(start + b"\0\0\0\x02hi") == [
        Control(ControlType.START, (DNSTAP_CONTENT_TYPE,)),
        Data(b"hi"),
    ]
    assert encode_control(Control(ControlType.STOP)) == b"\0\0\0\0\0\0\0\x04\0\0\0\x03"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (struct.pack(">I", MAX_DATA_BYTES + 1), "a data frame of"),
        (struct.pack(">II", 0, MAX_CONTROL_BYTES + 1), "a control frame of"),
        (struct.pack(">II", 0, 3), "a control frame of 3 bytes"),
        (struct.pack(">III", 0, 4, 9), "no control frame has type 9"),
        (struct.pack(">IIII", 0, 8, 2, 1), "within a field"),
        (struct.pack(">IIIII", 0, 12, 2, 7, 0), "no control field has type 7"),
        (struct.pack(">IIIII", 0, 12, 2, 1, 5), "within a content type"),
        (b"\0\0\0\x05hi", "ends within a frame, 6 bytes"),
    ],
)
def test_refused(raw: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        decode(raw)


def test_not_encoded() -> None:
    for payload in (b"", b"x" * (MAX_DATA_BYTES + 1)):
        with pytest.raises(FrameError):
            encode_data(payload)
    assert decode(encode_data(b"x" * MAX_DATA_BYTES)) == [Data(b"x" * MAX_DATA_BYTES)]
    with pytest.raises(FrameError):
        encode_control(Control(ControlType.READY, (b"x" * MAX_CONTROL_BYTES,)))


def test_frames_before_a_broken_one_are_given() -> None:
    came = Decoder().feed(encode_data(b"good") + b"\xff\xff\xff\xff")
    assert next(came) == Data(b"good")
    with pytest.raises(FrameError):
        next(came)
