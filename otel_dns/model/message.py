"""One DNS message as a server saw it: what dnstap and log lines tell."""

from typing import Final, Literal

from msgspec import Struct

MessageKind = Literal["CQ", "CR", "FQ", "FR"]
"""Client query, client response, forwarder query, forwarder response: dnstap's words."""

_CLIENTS_TRACE_ID: Final = 16
"""Bytes. Those that CoreDNS makes itself have 8."""


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
    """The trace of the query's span, where ``extra`` or the log format carries it and the query was
    sampled: CoreDNS's own, 8 bytes, or the client's that it took over, 16; empty otherwise."""
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

    @property
    def carried(self) -> tuple[bytes, bytes] | None:
        """The client's trace that the query told the server of, by EDNS or by HTTP headers.

        Trace id and span id; the span id is empty where it is not known.
        """
        if self.context is None and len(self.trace_id) == _CLIENTS_TRACE_ID:
            return self.trace_id, b""
        return self.context
