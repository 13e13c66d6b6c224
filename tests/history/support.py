"""Resolutions to keep: built by the join itself from spans as CoreDNS and the client write them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from otel_dns import semconv
from otel_dns.history import files
from otel_dns.history.rows import batch_of
from otel_dns.join import break_down
from otel_dns.join.outcome import outcome_of
from otel_dns.model import Lookup, Origin, Resolution, ServerTrace
from otel_dns.wire import otlp
from tests.support import spans
from tests.support.spans import MS


def origin(**attributes: str) -> Origin:
    """The application's origin, with more attributes of its resource (``_`` for ``.``)."""
    resource = spans.APPLICATION.resource + b"".join(
        otlp.string_attribute(key.replace("__", "."), value, field=1)
        for key, value in attributes.items()
    )
    return spans.APPLICATION._replace(resource=resource)


POD = {
    "k8s__pod__name": "cart-1",
    "k8s__namespace__name": "shop",
    "k8s__node__name": "node-a",
    "k8s__container__name": "app",
}


def lookup(start_ns: int, end_ns: int, **changes: object) -> Lookup:
    """A lookup of an external name in Pod shop/cart-1."""
    made = spans.lookup(
        start_ns, end_ns, name="www.example.org", candidates=spans.EXTERNAL, types=("A", "AAAA")
    )
    tail = otlp.string_attribute(semconv.LOOKUP_API, "socket.getaddrinfo")
    tail += otlp.int_attribute(semconv.RESOLVER_NDOTS, 5)
    span = replace(made.span, raw=made.span.raw + tail, origin=origin(**POD))
    return replace(made, span=span, name="www.example.org", **changes)  # type: ignore[arg-type]


def forwarded(start_ns: int, *, wait_ns: int = 4 * MS, **root: str) -> ServerTrace:
    """A server trace whose query was forwarded and waited so long for its upstream."""
    servedns = spans.servedns(start_ns, start_ns + wait_ns + MS, **root)  # type: ignore[arg-type]
    plugins = spans.nested(servedns)
    peer = otlp.string_attribute(semconv.PEER_ADDRESS, "192.0.2.53:53")
    connect = spans.span(
        semconv.CONNECT_SPAN, start_ns + MS // 2, start_ns + MS // 2 + wait_ns,
        trace_id=servedns.trace_id, parent_id=plugins[-1].span_id, tail=peer,
    )  # fmt: skip
    return spans.server_trace(servedns, [*plugins, connect])


def resolution(
    lookup_: Lookup, *traces: tuple[ServerTrace, int], confidence: float = 1.0
) -> Resolution:
    """The lookup joined with these, each with the index of its candidate."""
    join = replace(spans.join(*traces), confidence=confidence)
    return Resolution(lookup_, join, break_down(lookup_, join), outcome_of(lookup_, join))


def searched(start_ns: int = 0) -> Resolution:
    """A lookup that went through the search list: three candidates in vain, then the name."""
    traces = [
        (forwarded(start_ns + number * 6 * MS + MS, name=name,
                   rcode="NOERROR" if number == 3 else "NXDOMAIN"), number)
        for number, name in enumerate(spans.EXTERNAL)
    ]  # fmt: skip
    return resolution(lookup(start_ns, start_ns + 26 * MS), *traces)


def keep(directory: Path, *resolutions: Resolution, number: int = 1) -> Path:
    """Write a file of the history as the writer does, into the hour of the first."""
    hour = directory / files.hour_name(resolutions[0].lookup.start_ns)
    hour.mkdir(parents=True, exist_ok=True)
    path = hour / files.file_name(number, number)
    pq.write_table(pa.Table.from_batches([batch_of(resolutions)]), path, compression="zstd")
    return path
