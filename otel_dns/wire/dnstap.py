"""dnstap payloads: what one data frame of a DNS server says, as a :class:`~otel_dns.model.Message`.

Field numbers are those of dnstap.pb's ``dnstap.proto``. A reduced schema with plain numbers for
its enumerations lets protobuf's C parser do the cutting, and no value unknown to it is lost.

CoreDNS fills ``extra`` with what its Corefile says; we read :data:`EXTRA_FORMAT`. On a forwarder's
messages CoreDNS fills it in for the client's query that is being forwarded, which ties them to it.
"""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from otel_dns import names
from otel_dns.model import Message, MessageKind
from otel_dns.wire import MalformedError, Unused, dns_message

EXTRA_FORMAT: Final = "{/trace/traceid} {>id} {port}"
"""``extra`` of our Corefiles. The client's namespace and Pod may follow it:
``{/kubernetes/client-namespace} {/kubernetes/client-pod-name}``."""

_KINDS: Final[Mapping[int, MessageKind]] = {
    1: "CQ", 2: "CR",  # AUTH_QUERY and AUTH_RESPONSE: of an authoritative server, its client's
    3: "FQ", 4: "FR",  # RESOLVER_QUERY and RESOLVER_RESPONSE: of a recursive server, its own
    5: "CQ", 6: "CR", 7: "FQ", 8: "FR",
}  # fmt: skip
_RESPONSES: Final = frozenset({"CR", "FR"})
_OTHER_TYPES: Final[Mapping[int, str]] = {
    9: "stub_query", 10: "stub_response", 11: "tool_query", 12: "tool_response",
    13: "update_query", 14: "update_response",
}  # fmt: skip
_PROTOS: Final[Mapping[int, str]] = {
    1: "udp", 2: "tcp", 3: "tls", 4: "https", 5: "dnscrypt-udp", 6: "dnscrypt-tcp", 7: "quic",
}  # fmt: skip

_SECOND: Final = 1_000_000_000
_MAX_SECONDS: Final = 1 << 33
_MAX_TEXT: Final = 255
"""Bytes of an identity or a Pod's name that are looked at."""


def decode(payload: bytes, sender: str = "") -> Message | Unused:
    """Decode the payload of one data frame.

    Args:
        payload: an encoded ``dnstap.Dnstap``.
        sender: who it is from, where the payload has no identity.

    Returns:
        The message; or why there is none: ``stub_query`` and the like, ``unknown_type``.

    Raises:
        MalformedError: it is no dnstap, or the DNS message in it is broken.
    """
    try:
        tap = _Dnstap.FromString(payload)
    except DecodeError as error:
        raise MalformedError(f"not dnstap: {error}") from None
    told = tap.message
    kind = _KINDS.get(told.type)
    if kind is None or tap.type != 1:
        unknown = tap.type != 1 or told.type not in _OTHER_TYPES
        return Unused("unknown_type" if unknown else _OTHER_TYPES[told.type])
    response = kind in _RESPONSES
    query_ns = _time(told.query_time_sec, told.query_time_nsec)
    time_ns = _time(told.response_time_sec, told.response_time_nsec) if response else query_ns
    if not time_ns:
        raise MalformedError(f"a dnstap message of type {told.type} without its time")
    trace_id, extra_id, extra_port, pod = _extra(tap.extra)
    wire = told.response_message if response else told.query_message
    if wire:
        parsed = dns_message.read(wire)
        dns_id, asked, type_ = parsed.id, parsed.name, parsed.type
        rcode, truncated, context = parsed.rcode, parsed.truncated, parsed.context
    else:  # without `full` there is no DNS message
        dns_id, asked, type_, rcode, truncated, context = extra_id, "", "", "", False, None
    forwarded = kind in {"FQ", "FR"}
    return Message(
        kind=kind,
        server=_text(tap.identity) or sender,
        time_ns=time_ns,
        query_time_ns=query_ns if response else 0,
        client=_address(told.query_address),
        client_port=_port(told.query_port),
        peer=_peer(told.response_address, told.response_port) if forwarded else "",
        dns_id=dns_id,
        name=_normalise(asked) if asked else "",
        asked=asked,
        type=type_,
        proto=_PROTOS.get(told.socket_protocol, ""),
        rcode=rcode if response else "",
        truncated=truncated,
        size=len(wire),
        trace_id=trace_id,
        context=context,
        pod=pod,
        asker_port=extra_port if forwarded else 0,
    )


_normalise: Final = lru_cache(maxsize=16_384)(names.normalise)


def _time(seconds: int, nanoseconds: int) -> int:
    if seconds > _MAX_SECONDS or nanoseconds >= _SECOND:
        raise MalformedError(f"no time has {seconds} s and {nanoseconds} ns")
    return seconds * _SECOND + nanoseconds


def _port(number: int) -> int:
    return number if number < 65_536 else 0


@lru_cache(maxsize=16_384)
def _address(packed: bytes) -> str:
    """Write an address as Go does; none, and what is none, are empty."""
    if len(packed) not in {4, 16}:
        return ""
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


@lru_cache(maxsize=4096)
def _peer(packed: bytes, port: int) -> str:
    address = _address(packed)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}" if address else ""


@lru_cache(maxsize=1024)
def _short_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _text(raw: bytes) -> str:
    return _short_text(raw[:_MAX_TEXT])


def _extra(raw: bytes) -> tuple[bytes, int, int, str]:
    """Read trace id, DNS id, port and Pod; whatever has another format tells nothing."""
    fields = raw[: 3 * _MAX_TEXT].split(b" ")
    if len(fields) < 3 or not fields[1].isdigit() or not fields[2].isdigit():
        return b"", 0, 0, ""
    dns_id, port = int(fields[1][:6]), int(fields[2][:6])
    if dns_id > 0xFFFF or port > 0xFFFF:
        return b"", 0, 0, ""
    pod = ""
    if len(fields) == 5 and b"-" not in {fields[3], fields[4]} and fields[3] and fields[4]:
        pod = f"{_text(fields[3])}/{_text(fields[4])}"
    return trace_id_of(fields[0]), dns_id, port, pod


def trace_id_of(text: bytes) -> bytes:
    """Read the trace id in CoreDNS's metadata; empty where the query was not sampled (``-``).

    16 hex digits are its own; 32 are the client's, whose B3 headers it took.
    """
    if len(text) in {16, 32}:
        try:
            return bytes.fromhex(text.decode("ascii"))
        except ValueError:
            return b""
    return b""


def _reduced_schema() -> Any:
    """Make the message class of ``dnstap.Dnstap``, with numbers for its enumerations."""
    file = descriptor_pb2.FileDescriptorProto(
        name="otel_dns/reduced_dnstap.proto", package="otel_dns.dnstap", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    octets, uint32, uint64, fixed32 = (
        field.TYPE_BYTES, field.TYPE_UINT32, field.TYPE_UINT64, field.TYPE_FIXED32,
    )  # fmt: skip

    def message(name: str, *fields: tuple[str, int, int]) -> descriptor_pb2.DescriptorProto:
        declared = file.message_type.add(name=name)
        for field_name, number, type_ in fields:
            declared.field.add(
                name=field_name, number=number, type=type_, label=field.LABEL_OPTIONAL
            )
        return declared

    message(
        "Message",
        ("type", 1, uint32),
        ("socket_family", 2, uint32),
        ("socket_protocol", 3, uint32),
        ("query_address", 4, octets),
        ("response_address", 5, octets),
        ("query_port", 6, uint32),
        ("response_port", 7, uint32),
        ("query_time_sec", 8, uint64),
        ("query_time_nsec", 9, fixed32),
        ("query_message", 10, octets),
        ("response_time_sec", 12, uint64),
        ("response_time_nsec", 13, fixed32),
        ("response_message", 14, octets),
    )
    outer = message("Dnstap", ("identity", 1, octets), ("extra", 3, octets), ("type", 15, uint32))
    outer.field.add(
        name="message", number=14, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE,
        type_name=".otel_dns.dnstap.Message",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("otel_dns.dnstap.Dnstap"))


_Dnstap: Final = _reduced_schema()
