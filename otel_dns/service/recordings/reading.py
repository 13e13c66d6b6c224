"""Recordings on disk: the evidence in files of whatever kind.

Kinds: OTLP as the Collector's file exporter writes it (JSON lines or protobuf), OTLP protobuf
behind lengths of any sort or a single request, Zipkin v2 JSON (a list, or one a line), a frame
stream of dnstap, and CoreDNS's log. Each may be packed with gzip. A directory stands for the files
in it, such as a recording of ``otel-dns lab record``. What is damaged is set aside and said; what
is whole is read.
"""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_dns import semconv
from otel_dns.model import Message
from otel_dns.service.log_sorting import sort_logs
from otel_dns.service.recordings.kinds import (
    KINDS,
    LOOKED_AT,
    MAX_ITEM,
    framing_of,
    kind_of,
    unknown,
    varint,
)
from otel_dns.service.recordings.packed import Unpacked, opened
from otel_dns.service.sorting import Incoming, sort_otlp, sort_spans
from otel_dns.wire import (
    MalformedError,
    Refusals,
    Unused,
    coredns_log,
    dnstap,
    otlp,
    otlp_json,
    zipkin,
)
from otel_dns.wire.frame_streams import Data, Decoder, FrameError

_CHUNK: Final = 1 << 20
_BATCH: Final = 1_000
_SERVEDNS: Final = semconv.SERVEDNS_SPAN.encode()

_JSON_ROOTS: Final = {"resourceSpans": otlp_json.traces, "resourceLogs": otlp_json.logs}


@dataclass(slots=True)
class Reading:
    """What was found while reading; complete when its iterator has ended."""

    coredns_services: AbstractSet[str]
    files: list[tuple[Path, str]] = field(default_factory=list)
    """Each file that was read, and its kind, of ``KINDS``."""
    damaged: list[str] = field(default_factory=list)
    """One line for each file that could not be read, or not to its end."""
    passed_over: list[Path] = field(default_factory=list)
    """Files in a directory that are none of the kinds."""
    other_servers: set[str] = field(default_factory=set)
    """``service.name`` of spans that look like CoreDNS's and were not taken for such."""
    counts: Counter[str] = field(default_factory=Counter)


def read(paths: list[Path], reading: Reading) -> Iterator[Incoming]:
    """Read recordings, in the order given.

    Args:
        paths: files and directories.
        reading: is told what was found, and what was set aside.
    """
    for path in paths:
        inner = sorted(path.rglob("*")) if path.is_dir() else [path]
        for one in inner:
            if one is path or one.is_file():
                for incoming in _read_file(one, reading, named=one is path):
                    _look_for_servers(incoming, reading)
                    yield incoming


def _look_for_servers(incoming: Incoming, reading: Reading) -> None:
    for group in incoming.others:
        if any(_SERVEDNS in raw for raw in group.spans):
            reading.other_servers.add(otlp.service_name(group.origin.resource))


def _read_file(path: Path, reading: Reading, *, named: bool) -> Iterator[Incoming]:
    try:
        with opened(path) as file:
            head = file.read(LOOKED_AT)
            file.seek(0)
            kind = kind_of(head)
            if kind is None:
                if isinstance(file, Unpacked) and file.cut and not head:
                    reading.damaged.append(f"{path}: {file.cut}")
                elif named:
                    reading.damaged.append(f"{path}: {unknown(head)}")
                else:
                    reading.passed_over.append(path)
                return
            reading.files.append((path, kind))
            broken = _Broken(path, reading)
            if kind == "dnstap":
                yield from _dnstap(file, broken)
            elif kind == "otlp":
                yield from _otlp(file, broken)
            elif kind == "log":
                yield from _log(file, broken)
            else:
                yield from _json(file, kind, broken)
            broken.say()
            if isinstance(file, Unpacked) and file.cut:
                reading.damaged.append(f"{path}: {file.cut}; what could be unpacked was read")
    except OSError as error:
        reading.damaged.append(f"{path}: {error.strerror or error}")


class _Broken:
    """Pieces of one file that are set aside: how many, and the first one's why."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path = path
        self._count = 0
        self._first = ""
        self.reading = reading

    def add(self, where: str, why: object) -> None:
        """Count one."""
        if not self._count:
            self._first = f"{where}: {why}"
        self._count += 1

    def say(self) -> None:
        """At the file's end, say it."""
        if self._count:
            more = f" (and {self._count - 1} more)" if self._count > 1 else ""
            self.reading.damaged.append(f"{self._path}: {self._first}{more}")


# -- contents ---------------------------------------------------------------------------------


def _dnstap(file: IO[bytes], broken: _Broken) -> Iterator[Incoming]:
    decoder = Decoder()
    frames = 0
    while chunk := file.read(_CHUNK):
        messages: list[Message] = []
        try:
            for frame in decoder.feed(chunk):
                frames += 1
                if isinstance(frame, Data):
                    _take(_decoded(frame.payload, f"frame {frames}", broken), messages, broken)
        except FrameError as error:
            yield _of(messages)
            broken.add(f"frame {frames + 1}", f"{error}; nothing behind it can be read")
            return
        yield _of(messages)
    if decoder.held:
        broken.add(f"frame {frames + 1}", "the file ends within it")


def _decoded(payload: bytes, where: str, broken: _Broken) -> Message | Unused | None:
    try:
        return dnstap.decode(payload)
    except MalformedError as error:
        broken.add(where, error)
        return None


def _log(file: IO[bytes], broken: _Broken) -> Iterator[Incoming]:
    messages: list[Message] = []
    for number, line in enumerate(_lines(file, broken), 1):
        try:
            found = coredns_log.parse(line[: 4 * coredns_log.MAX_LINE].decode("utf-8", "replace"))
        except MalformedError as error:
            broken.add(f"line {number}", error)
            continue
        if isinstance(found, Message) and not found.time_ns:
            found = Unused("line_without_time")
        _take(found, messages, broken)
        if len(messages) >= _BATCH:
            yield _of(messages)
            messages = []
    yield _of(messages)


def _take(found: Message | Unused | None, messages: list[Message], broken: _Broken) -> None:
    if isinstance(found, Message):
        messages.append(found)
        broken.reading.counts["messages"] += 1
    elif found is not None:
        broken.reading.counts[f"unused_{found.reason}"] += 1


def _of(messages: list[Message]) -> Incoming:
    return Incoming([], [], [], Refusals(), messages)


def _otlp(file: IO[bytes], broken: _Broken) -> Iterator[Incoming]:
    framing = framing_of(file.read(LOOKED_AT))
    file.seek(0)
    requests = [file.read(MAX_ITEM)] if framing == "bare" else _framed(file, framing, broken)
    for number, raw in enumerate(requests, 1):
        try:
            yield _sorted_otlp(raw, broken.reading)
        except MalformedError as error:
            broken.add(f"message {number}", error)


def _framed(file: IO[bytes], framing: str | None, broken: _Broken) -> Iterator[bytes]:
    held = b""
    start = before = 0
    while True:
        if framing == "varint":
            length, at = varint(held, start)
        else:
            at = start + 4 if len(held) >= start + 4 else 0
            length = int.from_bytes(held[start:at], "big")
        if at and length > MAX_ITEM:
            broken.add(f"byte {before + start}", f"a message of {length} bytes; the rest is lost")
            return
        if at and len(held) >= at + length:
            yield held[at : at + length]
            start = at + length
            continue
        more = file.read(max(_CHUNK, at + length - len(held)))
        if not more:
            if len(held) > start:
                broken.add(f"byte {before + start}", "the file ends within a message")
            return
        before += start
        held, start = held[start:] + more, 0


def _sorted_otlp(raw: bytes, reading: Reading) -> Incoming:
    """Sort a request of unknown kind: traces, logs and metrics begin alike."""
    try:
        traces = ExportTraceServiceRequest.FromString(raw)
    except DecodeError:
        traces = None
    if traces is not None:
        spans = [
            span
            for one in traces.resource_spans
            for scope in one.scope_spans
            for span in scope.spans[:1]
        ]
        if spans and all(len(span.trace_id) == 16 and len(span.span_id) == 8 for span in spans):
            reading.counts["trace_requests"] += 1
            return sort_otlp(raw, reading.coredns_services)
    try:
        metrics = ExportMetricsServiceRequest.FromString(raw)
    except DecodeError:
        metrics = None
    if metrics is not None and any(
        metric.WhichOneof("data")
        for one in metrics.resource_metrics
        for scope in one.scope_metrics
        for metric in scope.metrics[:1]
    ):
        reading.counts["unused_metric_requests"] += 1
        return _of([])
    incoming, counts = sort_logs(raw)
    reading.counts["log_requests"] += 1
    reading.counts["messages"] += len(incoming.messages)
    reading.counts.update({k: v for k, v in counts.items() if k != "log_messages"})
    return incoming


def _json(file: IO[bytes], kind: str, broken: _Broken) -> Iterator[Incoming]:
    number = 0
    for line in _lines(file, broken):
        number += 1
        if not line.strip():
            continue
        try:
            yield _sorted_json(line, broken.reading)
        except MalformedError as error:
            if number == 1 and kind == "zipkin":  # perhaps a list over many lines
                file.seek(0)
                try:
                    yield _sorted_json(file.read(MAX_ITEM), broken.reading)
                except MalformedError:
                    file.seek(len(line) + 1)
                else:
                    return
            broken.add(f"line {number}", error)


def _lines(file: IO[bytes], broken: _Broken) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_ITEM):
        number += 1
        if len(line) == MAX_ITEM and not line.endswith(b"\n"):
            broken.add(f"line {number}", f"is longer than {MAX_ITEM} bytes; left out")
            while (rest := file.readline(MAX_ITEM)) and not rest.endswith(b"\n"):
                pass
            continue
        yield line.rstrip(b"\r\n")


def _sorted_json(line: bytes, reading: Reading) -> Incoming:
    try:
        decoded = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    if isinstance(decoded, list) or (isinstance(decoded, dict) and "traceId" in decoded):
        body = line if isinstance(decoded, list) else b"[" + line + b"]"
        reading.counts["zipkin_lists"] += 1
        spans, refused = zipkin.decode(body)
        return sort_spans(spans, refused, reading.coredns_services)
    if isinstance(decoded, dict):
        if "resourceMetrics" in decoded:
            reading.counts["unused_metric_requests"] += 1
            return _of([])
        for root, encode in _JSON_ROOTS.items():
            if root in decoded:
                return _sorted_otlp(encode(line), reading)
    raise MalformedError("neither an OTLP request nor a Zipkin span")


__all__ = ["KINDS", "Reading", "kind_of", "read"]
