"""Resolutions as rows of the history.

A resolution has some eighty spans, so rows are laid down as columns from the start: values are
appended to flat lists and Arrow cuts them into rows, without an object for each span.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from otel_dns import semconv
from otel_dns.history.schema import (
    EXCHANGE,
    HOP,
    PLUGIN,
    SCHEMA,
    SCHEMA_VERSION,
    SEGMENT_COLUMNS,
    SPAN,
)
from otel_dns.model import JoinedTrace, Resolution, ServerTrace, Span
from otel_dns.model.latency import latency_class
from otel_dns.wire import MalformedError, otlp

MAX_TEXT: Final = 1024
"""Characters of one text that are kept: no DNS name is longer, escapes included."""
MAX_HOPS: Final = 64
MAX_SPANS: Final = 64
"""Of one row and of one hop; what is beyond is counted in ``left_out``."""
MAX_SPENT_NS: Final = 1 << 53
"""104 days: what a float holds exactly, and of which a thousand can be added up."""
_MAX_LIST: Final = 64
_MAX_INT64: Final = (1 << 63) - 1
_MAX_INT32: Final = (1 << 31) - 1


def row_of(resolution: Resolution) -> dict[str, Any]:
    """Give a resolution as one row: column names to values, lists and dicts within."""
    row: dict[str, Any] = batch_of([resolution]).to_pylist()[0]
    return row


def batch_of(resolutions: Iterable[Resolution]) -> pa.RecordBatch:
    """Lay resolutions out as columns of :data:`otel_dns.history.schema.SCHEMA`."""
    columns = Columns()
    for resolution in resolutions:
        columns.add(resolution)
    return columns.batch()


class _Structs:
    """A column of lists of structs: flat values of each field, and where each list starts."""

    def __init__(self, type_: pa.StructType) -> None:
        self._type = type_
        self._values: tuple[list[Any], ...] = tuple([] for _ in type_)
        self._offsets = [0]

    def extend(self, *pieces: Iterable[Iterable[Any]]) -> None:
        """Append one list of structs, in pieces, each given by its columns."""
        for columns in pieces:
            for column, values in zip(self._values, columns, strict=False):
                column.extend(values)
        self._offsets.append(len(self._values[0]))

    def array(self) -> pa.Array:
        """All lists."""
        fields = list(self._type)
        flat = [
            pa.array(values, field.type) for values, field in zip(self._values, fields, strict=True)
        ]
        return pa.ListArray.from_arrays(
            pa.array(self._offsets, pa.int32()),
            pa.StructArray.from_arrays(flat, fields=fields),
            type=pa.list_(pa.field("element", self._type, nullable=False)),
        )


class Columns:
    """Rows as they come, laid down as columns."""

    def __init__(self) -> None:
        self._structs = {
            "plugins": _Structs(PLUGIN),
            "exchanges": _Structs(EXCHANGE),
            "hops": _Structs(HOP),
            "spans": _Structs(SPAN),
        }
        self._names = [name for name in SCHEMA.names if name not in self._structs]
        self._rows: list[tuple[Any, ...]] = []
        """Of what a resolution says once, in the order of these names."""

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, resolution: Resolution) -> None:
        """Append one resolution; hostile values are cut to what a column takes."""
        found = _Found(resolution)
        plugins = found.plugins()
        row = _scalars(resolution, found)
        if not self._rows:
            self._names = list(row)
        self._rows.append(tuple(row.values()))
        self._structs["plugins"].extend(plugins)
        self._structs["exchanges"].extend(zip(*found.exchanges, strict=True))
        self._structs["hops"].extend(zip(*found.hops, strict=True))
        self._structs["spans"].extend(*found.spans)

    def batch(self) -> pa.RecordBatch:
        """All rows so far."""
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(self._names)
        arrays = {
            name: pa.array(values, SCHEMA.field(name).type)
            for name, values in zip(self._names, columns, strict=True)
        }
        arrays |= {name: structs.array() for name, structs in self._structs.items()}
        return pa.RecordBatch.from_arrays([arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def _scalars(resolution: Resolution, found: "_Found") -> dict[str, Any]:
    """What a resolution says once."""
    lookup, join, breakdown = resolution.lookup, resolution.join, resolution.breakdown
    try:
        attributes = otlp.attributes_of(lookup.span.raw)
    except MalformedError:  # the span was made by nobody: an inferred lookup
        attributes = {}
    segments = _all_spent([breakdown.segments.get(segment, 0) for segment in SEGMENT_COLUMNS])
    start_ns = _long(lookup.start_ns)
    duration_ns = _spent(lookup.end_ns - lookup.start_ns)
    ndots = attributes.get(semconv.RESOLVER_NDOTS)
    return {
        "schema_version": SCHEMA_VERSION,
        "trace_id": lookup.span.trace_id.hex(),
        "span_id": lookup.span.span_id.hex(),
        "start": start_ns // 1000,
        "start_ns": start_ns,
        "duration_ns": duration_ns,
        **_of_resource(lookup.span.origin.resource),
        "client": _text(lookup.client),
        "name": _text(lookup.name or attributes.get(semconv.DNS_QUESTION_NAME)),
        "type": _text("+".join(lookup.types)),
        "api": _text(attributes.get(semconv.LOOKUP_API)),
        "resolver": _text(lookup.kind),
        "family": _text(attributes.get(semconv.LOOKUP_FAMILY)),
        "nameserver": _text(attributes.get(semconv.SERVER_ADDRESS)),
        "search": _texts(attributes.get(semconv.RESOLVER_SEARCH)),
        "ndots": _int(ndots) if isinstance(ndots, int) else -1,
        "candidates": _texts(lookup.candidates),
        "answered": _text(_answered(resolution)),
        "outcome": resolution.outcome,
        "error_type": _text(lookup.error_type),
        "bottleneck": _text(breakdown.bottleneck),
        "latency_class": latency_class(duration_ns),
        "method": join.method,
        "confidence": join.confidence,
        "certainty": join.certainty,
        "group_size": _int(join.group_size),
        "unseen": resolution.unseen,
        "queries": _int(sum([not joined.hop for joined in join.traces])),
        "waste_queries": _int(breakdown.waste_queries),
        "waste_ns": _spent(breakdown.waste_ns),
        "retries": _int(breakdown.retries),
        "inferred": lookup.inferred,
        "recorded": lookup.recorded,
        **dict(zip(SEGMENT_COLUMNS.values(), segments, strict=True)),
        "after_answer_ns": _spent(breakdown.after_answer_ns),
        "evidence": found.evidence,
        "left_out": found.left_out,
    }


@otlp.cached
def _of_resource(resource: bytes) -> Mapping[str, str]:
    told = otlp.resource_attributes(resource)
    return {
        "service": _text(told.get(semconv.SERVICE_NAME)),
        "cluster": _text(told.get(semconv.K8S_CLUSTER_NAME)),
        "namespace": _text(told.get(semconv.K8S_NAMESPACE_NAME)),
        "pod": _text(told.get(semconv.K8S_POD_NAME)),
        "node": _text(told.get(semconv.K8S_NODE_NAME)),
        "container": _text(told.get(semconv.K8S_CONTAINER_NAME)),
    }


class _Found:
    """What a resolution says of its server traces."""

    def __init__(self, resolution: Resolution) -> None:
        self._zero_ns = resolution.lookup.start_ns
        self._traces = resolution.join.traces[:MAX_HOPS]
        self._own: dict[tuple[str, str], int] = {}
        self._queries: dict[tuple[str, str], int] = {}
        self.left_out = len(resolution.join.traces) - len(self._traces)
        self.hops: list[tuple[Any, ...]] = []
        self.spans: list[tuple[Iterable[Any], ...]] = []
        """Of each server trace, as columns."""
        self.exchanges: list[tuple[Any, ...]] = []
        self.evidence: list[str] = []
        for joined in self._traces:
            self._add(joined)

    def plugins(self) -> tuple[Sequence[Any], ...]:
        """The own time of each plugin at each server, as columns."""
        return (
            [plugin for plugin, _ in self._own],
            [server for _, server in self._own],
            _all_spent(list(self._own.values())),
            list(self._queries.values()),
        )

    def _add(self, joined: JoinedTrace) -> None:
        trace, zero_ns = joined.trace, self._zero_ns
        root, server, rcode = trace.root, _server(trace), _text(trace.rcode)
        spans, own_ns = trace.spans[:MAX_SPANS], joined.timeline.own_ns[:MAX_SPANS]
        number = len(spans)
        names = _all_text(joined.timeline.names[:MAX_SPANS])
        durations = _all_spent([span.end_ns - span.start_ns for span in spans])
        peers = [""] * number
        upstream, upstream_ns = "", 0
        if semconv.CONNECT_SPAN in names:
            # Of one forward's exchanges, one after the other, only the last had an answer.
            last: dict[bytes, int] = {}
            for at, span in enumerate(spans):
                if names[at] == semconv.CONNECT_SPAN:
                    peers[at] = peer = _peer(span)
                    upstream = upstream or peer
                    upstream_ns = _spent(upstream_ns + durations[at])
                    if trace.source == semconv.SOURCE_TRACE:
                        if (before := last.get(span.parent_id)) is not None:
                            self.exchanges[before] = (*self.exchanges[before][:3], "")
                        last[span.parent_id] = len(self.exchanges)
                    self.exchanges.append((peer, server, durations[at], rcode))
        self.spans.append(
            (
                [len(self.hops)] * number,
                names,
                # Each is called by the one before, where that is plain to see.
                _parents(spans) if joined.timeline.line is not None else range(-1, number - 1),
                _all_long([span.start_ns - zero_ns for span in spans]),
                durations,
                _all_spent(own_ns),
                peers,
            )
        )
        # Where messages alone tell of this server, its time is not that of one plugin.
        first = 0 if trace.source == semconv.SOURCE_TRACE else 1
        self._add_own(names[first:], own_ns[first:], server)
        self.left_out += max(len(trace.spans) - MAX_SPANS, 0)
        self.hops.append(
            (
                _text(trace.name), _text(trace.type), rcode, _text(trace.proto), server,
                _long(root.start_ns - zero_ns), _spent(root.end_ns - root.start_ns),
                upstream, upstream_ns, joined.cache, _int(joined.candidate), _int(joined.hop),
                _asked_by(joined, self._traces), joined.method, trace.source,
                _long(joined.skew_ns), root.trace_id[-8:].hex(), _int(trace.client_port),
                -1 if trace.dns_id is None else _int(trace.dns_id),
            )
        )  # fmt: skip
        if trace.client_port or trace.dns_id is not None:
            self.evidence.append(_evidence(trace, zero_ns))

    def _add_own(self, names: Sequence[str], own: Sequence[int], server: str) -> None:
        """Add up what plugins took of a server trace."""
        by_name: dict[str, int] = {}
        for name, own_ns in zip(names, own, strict=True):
            by_name[name] = by_name.get(name, 0) + own_ns
        for name, own_ns in by_name.items():
            of = name, server
            self._own[of] = self._own.get(of, 0) + own_ns
            self._queries[of] = self._queries.get(of, 0) + 1


def _parents(spans: Sequence[Span]) -> list[int]:
    """Return the place of each span's parent; 0 where it is not before it, -1 for the root."""
    place: dict[bytes, int] = {}
    parents = []
    for number, span in enumerate(spans):
        parents.append(place.get(span.parent_id, 0) if number else -1)
        place[span.span_id] = number
    return parents


def _answered(resolution: Resolution) -> str:
    candidates = resolution.lookup.candidates
    last = max((joined.candidate for joined in resolution.join.traces), default=-1)
    return candidates[last] if 0 <= last < len(candidates) else ""


def _asked_by(joined: JoinedTrace, all_of: Sequence[JoinedTrace]) -> int:
    """Find the hop in which ``joined.parent`` is a span; -1 when the client asked itself."""
    if not joined.hop or not joined.parent:
        return -1
    for number, other in enumerate(all_of):
        if any(span.span_id == joined.parent for span in other.trace.spans):
            return number
    return -1


def _server(trace: ServerTrace) -> str:
    return _text(trace.server or otlp.service_name(trace.root.origin.resource))


def _peer(span: Span) -> str:
    try:
        return _text(otlp.attributes_of(span.raw).get(semconv.PEER_ADDRESS))
    except MalformedError:
        return ""


def _evidence(trace: ServerTrace, zero_ns: int) -> str:
    """One line on what the wire or the log told of a query: question, answer, and when."""
    came_ms = ((trace.asked_ns or trace.start_ns) - zero_ns) / 1e6
    dns_id = "" if trace.dns_id is None else f" id {trace.dns_id}"
    answer = "no answer"
    if trace.rcode:
        answer = f"{trace.rcode} +{(trace.answer_ns - zero_ns) / 1e6:.3f} ms"
    return (
        f"{trace.source} {_server(trace)} +{came_ms:.3f} ms {_text(trace.client)}"
        f":{trace.client_port}{dns_id} {_text(trace.proto)} {_text(trace.asked or trace.name)}"
        f" {_text(trace.type)}: {_text(answer)}"
    )


def _text(value: otlp.AttributeValue) -> str:
    if not isinstance(value, str):
        return ""
    if len(value) > MAX_TEXT:
        value = value[:MAX_TEXT]
    # Surrogates cannot be written as UTF-8; escapes of undecodable bytes come with them.
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _all_text(values: Sequence[str]) -> Sequence[str]:
    together = "".join(values)
    if len(together) <= MAX_TEXT and together.isascii():
        return values
    return [_text(value) for value in values]


def _texts(values: otlp.AttributeValue | Sequence[str]) -> list[str]:
    return [_text(value) for value in values[:_MAX_LIST]] if isinstance(values, tuple) else []


def _long(value: int) -> int:
    return _cut(value, -_MAX_INT64, _MAX_INT64)


def _spent(nanoseconds: int) -> int:
    return _cut(nanoseconds, 0, MAX_SPENT_NS)


def _int(value: int) -> int:
    return _cut(value, -_MAX_INT32, _MAX_INT32)


def _cut(value: int, lowest: int, highest: int) -> int:
    if lowest <= value <= highest:
        return value
    return max(lowest, min(value, highest))


def _all_long(values: Sequence[int]) -> Sequence[int]:
    return _all_cut(values, -_MAX_INT64, _MAX_INT64)


def _all_spent(values: Sequence[int]) -> Sequence[int]:
    return _all_cut(values, 0, MAX_SPENT_NS)


def _all_cut(values: Sequence[int], lowest: int, highest: int) -> Sequence[int]:
    if not values or (lowest <= min(values) and max(values) <= highest):
        return values
    return [_cut(value, lowest, highest) for value in values]


__all__ = ["MAX_HOPS", "MAX_SPANS", "MAX_TEXT", "Columns", "batch_of", "row_of"]
