"""Spans one by one: read without decoding them, changed by concatenating slices, encoded."""

import struct
import sys
from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError
from msgspec.structs import replace
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

from otel_dns.model import Origin, Span
from otel_dns.wire import MalformedError, Refusals
from otel_dns.wire.otlp.protobuf import fields, varint
from otel_dns.wire.otlp.requests import SpanGroup

_TRACE_SPAN_IDS: Final = (b"\x0a\x10", b"\x12\x08")  # fields 1 and 2, length-delimited, 16 and 8
_PARENT_ID: Final = b"\x22\x08"  # field 4, 8 bytes
_EMPTY_PARENT_ID: Final = b"\x22\x00"  # the Collector writes a root's so
_TIMES: Final = struct.Struct("<BQBQ")  # tags and values of fields 7 and 8, both fixed64
_START_TAG: Final = 0x39
_END_TAG: Final = 0x41
_PARENT_SIZES: Final = (0, 8)
_LAST_NS: Final = (1 << 64) - 1
MAX_NAME: Final = 512
"""Characters of a span's name that are looked at: some are remembered for longer than the span."""


def read_span(raw: bytes, origin: Origin) -> Span:
    """Read ids, name and times of an encoded span.

    Raises:
        MalformedError: a backend would refuse this span: ids of a wrong length, or broken fields.
    """
    try:
        read = ProtoSpan.FromString(raw)
    except DecodeError as error:
        raise MalformedError(f"not a span: {error}") from None
    return span_of(read, raw, origin)


def span_of(read: ProtoSpan, raw: bytes, origin: Origin) -> Span:
    """Take ids, name and times from a span that protobuf has read.

    Raises:
        MalformedError: a backend would refuse this span for ids of a wrong length.
    """
    wrong = wrong_ids(read)
    if wrong:
        raise MalformedError(wrong)
    return Span(
        read.trace_id, read.span_id, read.parent_span_id, sys.intern(read.name[:MAX_NAME]),
        read.start_time_unix_nano, read.end_time_unix_nano, raw, origin,
    )  # fmt: skip


def spans_of(group: SpanGroup, parsed: Iterable[ProtoSpan], refused: Refusals) -> list[Span]:
    """Take ids, names and times from the spans of a group.

    Args:
        group: the spans' bytes, and under what they came.
        parsed: the same spans as protobuf read them.
        refused: told of those that are left out: a backend would refuse them for their ids.
    """
    spans = []
    origin, raws = group
    intern = sys.intern
    last_trace_id = last_id = last_parent_id = b""
    for read, raw in zip(parsed, raws, strict=True):
        trace_id, span_id, parent_id = read.trace_id, read.span_id, read.parent_span_id
        if len(trace_id) != 16 or len(span_id) != 8 or len(parent_id) not in _PARENT_SIZES:
            refused.add(wrong_ids(read))
            continue
        # Spans of one trace come side by side, each before the one it called or after it: an id
        # that comes again is held once.
        if trace_id == last_trace_id:
            trace_id = last_trace_id
        if parent_id == last_id:
            parent_id = last_id
        elif span_id == last_parent_id:
            span_id = last_parent_id
        spans.append(
            Span(
                trace_id, span_id, parent_id, intern(read.name[:MAX_NAME]),
                read.start_time_unix_nano, read.end_time_unix_nano, raw, origin,
            )
        )  # fmt: skip
        last_trace_id, last_id, last_parent_id = trace_id, span_id, parent_id
    return spans


def wrong_ids(read: ProtoSpan) -> str:
    """Say what is wrong with the ids of a span that protobuf read; nothing if they are right."""
    trace_id, span_id, parent_id = read.trace_id, read.span_id, read.parent_span_id
    if len(trace_id) == 16 and len(span_id) == 8 and len(parent_id) in _PARENT_SIZES:
        return ""
    return (
        f"span ids of {len(trace_id)}, {len(span_id)} and {len(parent_id)} bytes;"
        " OTLP wants 16, 8 and 8 or none"
    )


def rewrite(span: Span, trace_id: bytes, parent_id: bytes, attributes: bytes = b"") -> bytes:
    """Encode a span again under another trace and parent, with attributes appended.

    Args:
        span: the span; all its other fields stay as they came, to the byte.
        trace_id: the new trace id, 16 bytes.
        parent_id: the new parent's span id, 8 bytes.
        attributes: encoded by :func:`string_attribute` and its kin.
    """
    raw = span.raw
    if raw[:2] == _TRACE_SPAN_IDS[0] and raw[18:20] == _TRACE_SPAN_IDS[1]:
        parent = raw[28:30]
        at = 38 if parent == _PARENT_ID else 30 if parent == _EMPTY_PARENT_ID else 28
        # Of a field that is given twice the last one wins: ours does, unless another may come
        # further on.
        if (
            raw.find(_PARENT_ID, at) < 0
            and raw.find(_EMPTY_PARENT_ID, at) < 0
            and raw[2:18] == span.trace_id
            and raw[20:28] == span.span_id
            and raw.find(raw[:18], at) < 0
        ):
            return b"".join(
                (
                    _TRACE_SPAN_IDS[0], trace_id, raw[18:28],
                    _PARENT_ID, parent_id, raw[at:], attributes,
                )
            )  # fmt: skip
    kept = b"".join(
        raw[start:end] for tag, _, start, end in fields(raw) if tag not in {0x0A, 0x12, 0x22}
    )
    ids = _TRACE_SPAN_IDS[0], trace_id, _TRACE_SPAN_IDS[1], span.span_id, _PARENT_ID, parent_id
    return b"".join((*ids, kept, attributes))


def with_span_id(raw: bytes, span_id: bytes) -> bytes:
    """Encode a span again under another id; all else stays.

    Raises:
        MalformedError: broken fields.
    """
    return b"".join(
        b"\x12\x08" + span_id if tag == 0x12 else raw[start:end]
        for tag, _, start, end in fields(raw)
    )


def with_kind(raw: bytes, kind: int, instead_of: int) -> bytes:
    """Encode a span again with one ``SpanKind`` instead of another; all else stays.

    Raises:
        MalformedError: broken fields.
    """
    for tag, value, start, end in fields(raw):
        if tag == 0x30 and value == instead_of:
            return b"".join((raw[:start], bytes((0x30, kind)), raw[end:]))
    return raw


def move(span: Span, by_ns: int) -> Span:
    """Copy a span with its start and end moved in time; all else stays, to the byte.

    Args:
        span: the span.
        by_ns: nanoseconds to add to both; at most as far as a span can say.
    """
    start_ns = min(max(span.start_ns + by_ns, 0), _LAST_NS)
    end_ns = min(max(span.end_ns + by_ns, 0), _LAST_NS)
    raw = bytearray(span.raw)
    for tag, _, _, end in fields(span.raw):
        if tag in {_START_TAG, _END_TAG}:
            time_ns = start_ns if tag == _START_TAG else end_ns
            raw[end - 8 : end] = time_ns.to_bytes(8, "little")
    return replace(span, start_ns=start_ns, end_ns=end_ns, raw=bytes(raw))


def encode_span(
    *,
    trace_id: bytes,
    span_id: bytes,
    parent_id: bytes,
    name: str,
    kind: int,
    start_ns: int,
    end_ns: int,
    tail: bytes = b"",
) -> bytes:
    """Encode a span in the order of its field numbers; ``tail`` holds encoded attributes."""
    text = name.encode("utf-8", "replace")
    return b"".join(
        (
            _TRACE_SPAN_IDS[0] + trace_id + _TRACE_SPAN_IDS[1] + span_id,
            _PARENT_ID + parent_id if parent_id else b"",
            b"\x2a" + varint(len(text)) + text,
            bytes((0x30, kind)) if kind else b"",
            _TIMES.pack(_START_TAG, start_ns, _END_TAG, end_ns),
            tail,
        )
    )


ERROR_STATUS: Final = b"\x7a\x02\x18\x02"
"""A span's field 15, ``Status``, with code ERROR."""


def event_field(time_ns: int, name: str) -> bytes:
    """Encode one span event (field 11 of a span) that has a time and a name."""
    text = name.encode("utf-8", "replace")
    inner = struct.pack("<BQ", 0x09, time_ns) + b"\x12" + varint(len(text)) + text
    return b"\x5a" + varint(len(inner)) + inner
