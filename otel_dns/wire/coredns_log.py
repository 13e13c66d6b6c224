"""CoreDNS's log lines: what plugin ``log`` (text or JSON) and plugin ``dump`` say of a query.

A line of ``log`` is written when the answer is out, so it stands for the response, with the query's
time as its own less ``{duration}``. Its name is in lower case: what the client sent is not known.
Formats (plugin/log/README.md of CoreDNS 1.15): the common and the combined one, and ours, which is
the common one with :data:`OUR_FORMAT`'s metadata behind it; in front there may be what a container
runtime, ``kubectl logs`` or an older CoreDNS puts there.
"""

import datetime
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from otel_dns import names
from otel_dns.model import Message
from otel_dns.wire import MalformedError, Unused
from otel_dns.wire.dnstap import trace_id_of

OUR_FORMAT: Final = "{common} {/trace/traceid}"
"""The format of our Corefiles. The client's namespace and Pod may follow it:
``{/kubernetes/client-namespace} {/kubernetes/client-pod-name}``."""

MAX_LINE: Final = 8192
"""Characters: a name has at most 1,020 of them, escapes included."""

_TIME: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[-+]\d\d:?\d\d)"
_FRONT: Final = re.compile(
    rf"(?:\[pod/(?P<pod>[-a-z0-9.]{{1,253}})/[-a-z0-9]+\] )?"  # kubectl logs --prefix
    rf"(?:(?P<time>{_TIME}) )?"  # containerd, kubectl logs --timestamps, CoreDNS before 1.6
    r"(?:(?:stdout|stderr) [FP] )?"
    r"(?:\[(?P<level>DEBUG|INFO|WARNING|ERROR|FATAL)\] ?)?"
)
_ADDRESS: Final = r"(?:\[(?P<six>[0-9a-fA-F:.]{2,45})(?:%[^\]]*)?\]|(?P<four>[0-9.]{7,15}))"
_QUERY: Final = re.compile(
    rf"{_ADDRESS}:(?P<port>\d{{1,5}}) - (?P<id>\d{{1,5}}) "
    r'"(?P<type>\S{1,16}) \S{1,16} (?P<name>\S[^"\n]{0,1023}?) (?P<proto>[\w-]{1,16})'
    r' \d+ (?:true|false|-) \d+" '
    r"(?P<rcode>\S{1,16}) (?P<flags>\S{1,32}) (?P<size>\d{1,6}) (?P<duration>\d{1,6}(?:\.\d+)?)s"
    r"(?P<rest>(?: .*)?)"
)
_DUMPED: Final = re.compile(
    rf"{_ADDRESS} - \[(?P<when>[^\]]{{0,64}})\] (?P<id>\d{{1,5}}) (?P<type>\S{{1,16}}) \S{{1,16}}"
    r" (?P<name>\S{1,1024}) (?P<proto>[\w-]{1,16}) (?P<port>\d{1,5})\s*"
)
_HEX_DUMP: Final = re.compile(r"(?:debug: ?)?[0-9a-f]{5,6}(?: [0-9a-f]{2}){0,16}\s*")
_OPCODE: Final = re.compile(r' "\d+"')
_SECOND: Final = 1_000_000_000
_YEARS: Final = range(1971, 2262)
"""Of times that are believed: later ones have no room in a span, or in the history."""


def parse(line: str, server: str = "", time_ns: int = 0) -> Message | Unused:
    """Read one line of CoreDNS's output.

    Args:
        line: the line, without a line break at its end.
        server: the Pod that wrote it, where the line does not say.
        time_ns: when it was written, nanoseconds since the epoch; 0 where only the line says.

    Returns:
        A message of kind CR (``log``) or CQ (``dump``), its time 0 when nothing says it; or why the
        line tells of no query: ``error_line`` and the like by its level, ``debug_dump``,
        ``other_line``.

    Raises:
        MalformedError: it has the form of a query's line, and numbers that cannot be.
    """
    line = line[:MAX_LINE].rstrip("\r\n")
    front = _FRONT.match(line)
    assert front is not None  # every part of it is optional
    text = line[front.end() :]
    if front["time"]:
        time_ns = _time(front["time"]) or time_ns
    server = front["pod"] or server
    if text.startswith("{"):
        return _json_line(text, server, time_ns)
    query = _QUERY.fullmatch(text)
    if query is not None:
        return _answered(query, server, time_ns)
    dumped = _DUMPED.fullmatch(text)
    if dumped is not None:
        return _asked(dumped, server, _when(dumped["when"]) or time_ns)
    if _HEX_DUMP.fullmatch(text):
        return Unused("debug_dump")
    level = front["level"]
    return Unused(f"{level.lower()}_line" if level and level != "INFO" else "other_line")


def from_fields(fields: Mapping[str, Any], server: str = "", time_ns: int = 0) -> Message | Unused:
    """Read a query record of ``coredns -log-format=json``, already taken apart.

    Raises:
        MalformedError: a field has a value that cannot be.
    """
    if fields.get("plugin") != "log" or not isinstance(fields.get("qname"), str):
        level = fields.get("level")
        noted = isinstance(level, str) and level in {"DEBUG", "WARN", "ERROR", "FATAL"}
        return Unused(f"{str(level).lower()}_line" if noted else "other_line")
    time = fields.get("time")
    if isinstance(time, str):
        time_ns = _time(time) or time_ns
    said = fields.get("msg")
    query = _QUERY.fullmatch(said[:MAX_LINE]) if isinstance(said, str) else None
    trace_id, pod = _rest(query["rest"]) if query else (b"", "")
    duration = fields.get("duration_seconds", 0)
    if not isinstance(duration, int | float) or not 0 <= duration < 1e6:
        raise MalformedError(f"no query took {duration!r} s")
    rcode = fields.get("rcode")
    return _message(
        client=str(fields.get("client_ip", ""))[:64],
        port=_integer(fields.get("client_port"), "client_port"),
        dns_id=_integer(fields.get("id"), "id"),
        name=fields["qname"][:1024],
        type_=str(fields.get("qtype", ""))[:16],
        proto=str(fields.get("protocol", ""))[:16],
        rcode=rcode[:16] if isinstance(rcode, str) else "",
        # The flags are in the message only, where its format has them.
        truncated=query is not None and "tc" in query["flags"].split(","),
        size=_integer(fields.get("response_size", 0), "response_size", 1 << 24),
        duration_ns=round(duration * _SECOND),
        server=server,
        time_ns=time_ns,
        trace_id=trace_id,
        pod=pod,
    )


def _json_line(text: str, server: str, time_ns: int) -> Message | Unused:
    try:
        fields = msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return Unused("other_line")
    if isinstance(fields, dict) and isinstance(fields.get("log"), str):  # Docker's own wrapping
        said = fields.get("time")
        when = _time(said) if isinstance(said, str) else 0
        return parse(fields["log"], server, when or time_ns)  # shorter: this comes to an end
    return (
        from_fields(fields, server, time_ns) if isinstance(fields, dict) else Unused("other_line")
    )


def _answered(query: re.Match[str], server: str, time_ns: int) -> Message:
    trace_id, pod = _rest(query["rest"])
    rcode = query["rcode"]
    return _message(
        client=query["six"] or query["four"],
        port=_integer(int(query["port"]), "port"),
        dns_id=_integer(int(query["id"]), "id"),
        name=query["name"],
        type_=query["type"],
        proto=query["proto"],
        rcode="" if rcode == "-" else rcode,
        truncated="tc" in query["flags"].split(","),
        size=int(query["size"]),
        duration_ns=round(float(query["duration"]) * _SECOND),
        server=server,
        time_ns=time_ns,
        trace_id=trace_id,
        pod=pod,
    )


def _asked(query: re.Match[str], server: str, time_ns: int) -> Message:
    return Message(
        kind="CQ",
        server=server,
        time_ns=time_ns,
        query_time_ns=0,
        client=(query["six"] or query["four"]).lower(),
        client_port=_integer(int(query["port"]), "port"),
        peer="",
        dns_id=_integer(int(query["id"]), "id"),
        name=_normalise(query["name"]),
        asked="",
        type=query["type"],
        proto=query["proto"],
        source="log",
    )


def _message(
    *,
    client: str,
    port: int,
    dns_id: int,
    name: str,
    type_: str,
    proto: str,
    rcode: str,
    truncated: bool,
    size: int,
    duration_ns: int,
    server: str,
    time_ns: int,
    trace_id: bytes,
    pod: str,
) -> Message:
    return Message(
        kind="CR",
        server=server,
        time_ns=time_ns,
        query_time_ns=max(time_ns - duration_ns, 0) if time_ns else 0,
        client=client.lower(),
        client_port=port,
        peer="",
        dns_id=dns_id,
        name=_normalise(name),
        asked="",
        type=type_,
        proto=proto,
        rcode=rcode,
        truncated=truncated,
        size=size,
        trace_id=trace_id,
        pod=pod,
        source="log",
    )


_normalise: Final = lru_cache(maxsize=16_384)(names.normalise)


def _integer(value: object, what: str, limit: int = 0x10000) -> int:
    if not isinstance(value, int) or not 0 <= value < limit:
        raise MalformedError(f"no query has {what} {value!r}")
    return value


def _rest(rest: str) -> tuple[bytes, str]:
    """Read what our format has behind the common one: trace id, and the client's Pod."""
    fields = _OPCODE.sub("", rest, count=1).split()
    if not fields:
        return b"", ""
    pod = ""
    if len(fields) >= 3 and "-" not in fields[1:3]:
        pod = f"{fields[1][:253]}/{fields[2][:253]}"
    return trace_id_of(fields[0].encode("utf-8", "replace")), pod


def _time(text: str) -> int:
    """Read an RFC 3339 time to the nanosecond; 0 where it is none."""
    head, dot, tail = text.partition(".")
    fraction = ""
    if dot:
        digits = re.match(r"\d{1,9}", tail)
        fraction = digits[0] if digits else ""
        head += tail[len(fraction) :]
    try:
        seconds = datetime.datetime.fromisoformat(head)
    except ValueError:
        return 0
    if seconds.tzinfo is None or seconds.year not in _YEARS:
        return 0
    return round(seconds.timestamp()) * _SECOND + int(fraction.ljust(9, "0") or 0)


def _when(text: str) -> int:
    """Read the common log format's own time, to the second."""
    try:
        when = datetime.datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z")
    except ValueError:
        return 0
    return round(when.timestamp()) * _SECOND if when.year in _YEARS else 0
