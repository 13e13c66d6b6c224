"""Everybody else's spans: Collector to processor to Collector, and nothing of them has changed."""

from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from otel_dns.wire import otlp
from tests.collector.conftest import Collector, Front
from tests.service.support import Backend, balanced
from tests.support.otlp import Request, forward
from tests.support.spans import MS, T0, lookup, new_id, servedns
from tests.support.waiting import eventually

VALUES = {
    "text": AnyValue(string_value="grüße, 名前 \x00"),
    "empty": AnyValue(string_value=""),
    "yes": AnyValue(bool_value=True),
    "no": AnyValue(bool_value=False),
    "whole": AnyValue(int_value=-(2**63)),
    "real": AnyValue(double_value=-1.5e300),
    "bytes": AnyValue(bytes_value=b"\x00\xff"),
    "nothing": AnyValue(),
    "list": AnyValue(
        array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue(string_value="b")])
    ),
    "map": AnyValue(
        kvlist_value=KeyValueList(
            values=[KeyValue(key="in", value=AnyValue(kvlist_value=KeyValueList()))]
        )
    ),
}
ATTRIBUTES = [KeyValue(key=key, value=value) for key, value in VALUES.items()]


def every_kind() -> ResourceSpans:
    """Spans with every field that OTLP has, in every kind and status, and bare ones."""
    spans = [
        Span(
            trace_id=new_id(16),
            span_id=new_id(),
            parent_span_id=new_id(),
            trace_state="a=1,b=2",
            flags=0x101,
            name=f"{kind}-{code}",
            kind=kind,
            start_time_unix_nano=T0,
            end_time_unix_nano=T0 + 1,
            attributes=ATTRIBUTES,
            dropped_attributes_count=1,
            events=[
                Span.Event(
                    time_unix_nano=T0, name="event", attributes=ATTRIBUTES,
                    dropped_attributes_count=2,
                ),
                Span.Event(),
            ],
            dropped_events_count=3,
            links=[
                Span.Link(
                    trace_id=new_id(16), span_id=new_id(), trace_state="c=3",
                    attributes=ATTRIBUTES, dropped_attributes_count=4, flags=0x301,
                )
            ],
            dropped_links_count=5,
            status=Status(code=code, message="why" if code == 2 else ""),
        )
        for kind, code in product(range(6), range(3))
    ]  # fmt: skip
    # The Collector writes a scope and a status also where a sender left them out.
    bare = Span(trace_id=new_id(16), span_id=new_id(), status=Status())
    return ResourceSpans(
        resource=Resource(attributes=ATTRIBUTES, dropped_attributes_count=6),
        schema_url="https://opentelemetry.io/schemas/1.40.0",
        scope_spans=[
            ScopeSpans(
                scope=InstrumentationScope(
                    name="http", version="1.2", attributes=ATTRIBUTES, dropped_attributes_count=7
                ),
                schema_url="https://opentelemetry.io/schemas/1.39.0",
                spans=spans,
            ),
            ScopeSpans(scope=InstrumentationScope(), spans=[bare]),
        ],
    )


def told(*requests: bytes) -> Counter[tuple[Any, ...]]:
    """What requests tell, however their spans are grouped."""
    return Counter(
        (
            exactly(resource.resource), resource.schema_url,
            exactly(scope.scope), scope.schema_url, exactly(span),
        )
        for request in requests
        for resource in Request.FromString(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    )  # fmt: skip


def exactly(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


@pytest.mark.parametrize("front", ["grpc", "http", "json"], indirect=True)
@pytest.mark.parametrize("mixed", [False, True], ids=["alone", "beside DNS traffic"])
def test_spans_of_every_kind_pass_unchanged(
    front: Front, collector: Callable[..., Collector], mixed: bool
) -> None:
    request = Request(resource_spans=[every_kind()]).SerializeToString()
    dns = [lookup(0, MS).span, servedns(0, MS)] if mixed else []
    beside = otlp.build((one.origin, one.raw) for one in dns)
    with Backend() as backend:
        behind = collector(
            "simple.yaml", f"yaml:exporters::otlp_grpc/otel_dns::endpoint: {backend.address}"
        )
        before, processor = front(behind.otlp)
        forward(before.otlp, request + beside)  # one request: protobuf merges
        eventually(lambda: len(backend.spans) == 19 + len(dns), "all spans")

        arrived = told(*backend.requests)
        assert told(request) <= arrived
        assert arrived.total() == 19 + len(dns)
        balanced(processor)
