"""The columns of the history: one row is one resolution.

Written for three readers alike, DuckDB, Spark and whoever opens a file by hand: only types that all
of them have, and text that is never null (what is unknown is empty). Durations and offsets are
nanoseconds in int64 columns that end in ``_ns``. ``start`` says the same as ``start_ns``, for
people; Parquet's nanosecond timestamps are what Spark does not read.

Columns are added, never changed: a reader fills what an older file lacks with nulls. A change of
meaning counts :data:`SCHEMA_VERSION` up.
"""

from typing import Final

import pyarrow as pa

from otel_dns import semconv

SCHEMA_VERSION: Final = 1

SEGMENT_COLUMNS: Final = {segment: f"{segment}_ns" for segment in semconv.SEGMENTS}
"""The column of each segment of a breakdown."""


def _struct(**fields: pa.DataType) -> pa.StructType:
    return pa.struct([pa.field(name, type_, nullable=False) for name, type_ in fields.items()])


def _list(item: pa.DataType) -> pa.ListType:
    return pa.list_(pa.field("element", item, nullable=False))


_TEXT, _INT, _LONG, _FLAG = pa.string(), pa.int32(), pa.int64(), pa.bool_()

PLUGIN: Final = _struct(plugin=_TEXT, server=_TEXT, own_ns=_LONG, queries=_INT)
"""Own time of one plugin at one server instance, over all of the lookup's queries there, which are
counted; ``connect``, the wait for an upstream, is one of them."""

EXCHANGE: Final = _struct(
    upstream=_TEXT,  # address:port
    server=_TEXT,  # the instance that asked it
    duration_ns=_LONG,
    rcode=_TEXT,  # what that server's client got in the end; empty: the server had to ask again
)
"""One exchange of a DNS server with its upstream: a ``connect`` span."""

HOP: Final = _struct(
    name=_TEXT,
    type=_TEXT,
    rcode=_TEXT,
    proto=_TEXT,
    server=_TEXT,  # the instance that answered
    start_ns=_LONG,  # after the lookup's start; below zero where clocks disagree
    duration_ns=_LONG,
    upstream=_TEXT,  # address:port that this hop asked first; empty: it asked nobody
    upstream_ns=_LONG,  # time in connect spans, all of them added up
    cache=_TEXT,  # hit, miss or empty
    candidate=_INT,
    hop=_INT,  # 0: asked by the client; 1: asked by that server; ...
    parent=_INT,  # place in hops of the one that asked this one; -1: the client did
    method=_TEXT,
    source=_TEXT,  # what tells of it: trace, dnstap or log
    skew_ns=_LONG,
    trace=_TEXT,  # CoreDNS's own trace id, as its log and dnstap show it
    client_port=_INT,  # 0: unknown
    dns_id=_INT,  # -1: unknown
)
"""One server's handling of one query."""

SPAN: Final = _struct(
    hop=_INT,  # place in hops
    name=_TEXT,
    parent=_INT,  # place among the hop's spans of the one around this one; -1: the hop's first
    start_ns=_LONG,  # after the lookup's start
    duration_ns=_LONG,
    own_ns=_LONG,
    peer=_TEXT,  # address:port of the upstream, on connect only
)
"""One span within a hop. A column of its own: only a waterfall reads it, and it is the most."""

SCHEMA: Final = pa.schema(
    [
        pa.field(name, type_, nullable=False)
        for name, type_ in {
            "schema_version": pa.int16(),
            "trace_id": _TEXT,  # 32 hex digits
            "span_id": _TEXT,  # 16 hex digits
            "start": pa.timestamp("us", tz="UTC"),
            "start_ns": _LONG,  # since the epoch
            "duration_ns": _LONG,
            "service": _TEXT,
            "cluster": _TEXT,
            "namespace": _TEXT,
            "pod": _TEXT,
            "node": _TEXT,
            "container": _TEXT,
            "client": _TEXT,  # the address that the queries came from
            "name": _TEXT,  # as the application asked for it
            "type": _TEXT,  # of the questions: "A+AAAA", "MX"
            "api": _TEXT,
            "resolver": _TEXT,
            "family": _TEXT,
            "nameserver": _TEXT,
            "search": _list(_TEXT),
            "ndots": _INT,  # -1: unknown
            "candidates": _list(_TEXT),
            "answered": _TEXT,  # the last candidate that a server was asked for; empty: none seen
            "outcome": _TEXT,
            "error_type": _TEXT,
            "bottleneck": _TEXT,
            "latency_class": _TEXT,
            "method": _TEXT,
            "confidence": pa.float64(),
            "certainty": _TEXT,
            "group_size": _INT,
            "unseen": _TEXT,  # why CoreDNS's spans are not there; empty: they are
            "queries": _INT,  # of hop 0: the client's own
            "waste_queries": _INT,
            "waste_ns": _LONG,
            "retries": _INT,
            "inferred": _FLAG,
            "recorded": _FLAG,
            **dict.fromkeys(SEGMENT_COLUMNS.values(), _LONG),
            "after_answer_ns": _LONG,
            "plugins": _list(PLUGIN),
            "exchanges": _list(EXCHANGE),
            "hops": _list(HOP),
            "spans": _list(SPAN),
            "evidence": _list(_TEXT),
            "left_out": _INT,  # hops and spans beyond the limits of one row
        }.items()
    ],
    metadata={"otel_dns.schema_version": str(SCHEMA_VERSION)},
)
"""Every column of the history, in order."""
