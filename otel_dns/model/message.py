"""One DNS message as a server saw it: what dnstap and log lines tell."""

from typing import Literal

from msgspec import Struct

MessageKind = Literal["CQ", "CR", "FQ", "FR"]
"""Client query, client response, forwarder query, forwarder response: dnstap's words."""


class Message(Struct, frozen=True, gc=False):
    """A DNS message that passed a server, from dnstap or from a line of its log."""

    kind: MessageKind
    server: str
    """The instance: dnstap's identity, or the Pod that the log came from."""
    time_ns: int
    """Nanoseconds since the epoch, by the server's clock; when the query came in or went out, or
    the response did."""
    query_time_ns: int
    """Of a response: when its query was; 0 when unknown, and for queries."""
    client: str
    """Address of who asked: the client, or for FQ and FR the server itself (may be empty)."""
    client_port: int
    peer: str
    """For FQ and FR ``address:port`` of the upstream; empty otherwise."""
    dns_id: int
    name: str
    """Normalised question name."""
    asked: str
    """The question name as it was on the wire, letter case kept."""
    type: str
    proto: str
    """``udp``, ``tcp``, ..."""
    rcode: str = ""
    """RCODE mnemonic; empty for queries."""
    truncated: bool = False
    size: int = 0
    """Bytes of the message, 0 when unknown."""
    trace_id: bytes = b""
    """CoreDNS's trace id, 8 bytes, where ``extra`` or the log format carries it and the query was
    sampled; empty otherwise."""
    context: tuple[bytes, bytes] | None = None
    """Trace and span id that the query carried in EDNS option TRACEPARENT (65500); the span id is
    empty where it was left out."""
    pod: str = ""
    """The client's Pod as CoreDNS knows it (``pods verified``), ``namespace/name``; else empty."""
    source: str = "dnstap"
    """``dnstap`` or ``log``; a log line's time is when the answer had gone, late by the writing."""
    asker_port: int = 0
    """For FQ and FR whose ``extra`` tells it: port of the client whose query was forwarded;
    ``dns_id`` is then that query's, not the one that the upstream saw. 0 when unknown."""
