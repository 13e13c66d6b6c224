"""Marks that a query carries on the wire, for whoever sees it there to tell whose it is.

* Letter case (draft-vixie-dnsext-dns0x20): servers compare names without regard to case and repeat
  the question as it was asked. So a name's letters carry as many bits as there are, here those of a
  digest of the span's ids: whoever knows the span can check them, and nobody else can read them.
* EDNS option TRACEPARENT (65500, in the layout that PowerDNS Recursor from 5.3 and dnsdist from 2.1
  read): the span's context itself.

Pure, and imported by the client (which makes the marks) and by the join (which checks them).
"""

from hashlib import blake2b
from typing import Final, NamedTuple

TRACEPARENT_OPTION: Final = 65500
"""EDNS option code, from the range for local use (RFC 6891). Its data: version, reserved, trace
id of 16 bytes, span id of 8 (may be left out), flags (may be left out)."""
_VERSION: Final = 0
_LENGTHS: Final = frozenset({18, 19, 26, 27})
"""Bytes: without and with a span id, the flags left out or there."""


class TraceContext(NamedTuple):
    """What a TRACEPARENT option says."""

    trace_id: bytes
    """16 bytes."""
    span_id: bytes
    """8 bytes; empty where it was left out."""
    flags: int
    """W3C trace flags: 1 is sampled."""


def encode_traceparent(context: TraceContext) -> bytes:
    """Return the data of a TRACEPARENT option.

    Args:
        context: What it is to say.

    Raises:
        ValueError: an id has a wrong length, or the flags are no byte.
    """
    trace_id, span_id, flags = context
    if len(trace_id) != 16 or len(span_id) not in {0, 8} or not 0 <= flags <= 255:
        raise ValueError(f"no trace context: {context}")
    return bytes((_VERSION, 0)) + trace_id + span_id + bytes((flags,))


def decode_traceparent(data: bytes) -> TraceContext | None:
    """Return what the data of a TRACEPARENT option says; nothing if it is none of a known layout.

    Args:
        data: An EDNS option's data.
    """
    if len(data) not in _LENGTHS or data[0] != _VERSION:
        return None
    span_id = data[18:26] if len(data) >= 26 else b""
    context = TraceContext(data[2:18], span_id, data[-1] if len(data) % 2 else 0)
    ids = (context.trace_id, span_id) if span_id else (context.trace_id,)
    return context if all(map(any, ids)) else None


def cased(name: str, trace_id: bytes, span_id: bytes) -> str:
    """Return a name in the letter case that marks it as a span's.

    Args:
        name: A name, or the beginning of one; what is no ASCII letter stays as it is.
        trace_id: The span's trace, 16 bytes.
        span_id: The span, 8 bytes.
    """
    bits = _bits(trace_id, span_id)
    marked = []
    for character in name:
        if character.isascii() and character.isalpha():
            # A bit for each letter, from the left: how long the name is makes no difference.
            character = character.upper() if bits & 1 else character.lower()  # noqa: PLW2901
            bits >>= 1
        marked.append(character)
    return "".join(marked)


def begins(asked: str, marked: str) -> bool:
    """Whether a name on the wire is a marked one, or a domain of the search list follows that.

    Args:
        asked: The name on the wire, letter case kept.
        marked: What :func:`cased` returned, without a dot at the end.
    """
    return asked.startswith(marked) and asked[len(marked) :][:1] in {"", "."}


def letters(name: str) -> int:
    """Count the letters of a name that can carry a mark."""
    return sum(map(str.isalpha, filter(str.isascii, name)))


def _bits(trace_id: bytes, span_id: bytes) -> int:
    """Return more random bits than a name has letters, always the same for one span."""
    digest = blake2b(trace_id + span_id, digest_size=32, person=b"otel-dns case")
    return int.from_bytes(digest.digest(), "little")
