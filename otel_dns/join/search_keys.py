"""What people search for, as single strings: on a lookup's span and on its ``servedns`` spans.

A backend's search looks for tags of one span of one service. Who comes from the application's side
and who comes from the server's write the same tags.
"""

from typing import Final

from otel_dns import semconv
from otel_dns.model import Resolution, ServerTrace
from otel_dns.model.latency import latency_class
from otel_dns.wire.otlp import (
    cached,
    resource_attributes,
    server_instance,
    string_attribute,
    word_attribute,
)

_WHERE: Final = (
    (semconv.SEARCH_POD, semconv.K8S_POD_NAME),
    (semconv.SEARCH_NAMESPACE, semconv.K8S_NAMESPACE_NAME),
    (semconv.SEARCH_NODE, semconv.K8S_NODE_NAME),
)


def search_keys(resolution: Resolution) -> bytes:
    """Encode what both sides have, but for the name: it is on the lookup's span as it came."""
    join, breakdown = resolution.join, resolution.breakdown
    parts = [
        word_attribute(semconv.JOIN_METHOD, join.method),
        word_attribute(semconv.LOOKUP_OUTCOME, resolution.outcome),
        word_attribute(semconv.BOTTLENECK, breakdown.bottleneck),
        word_attribute(semconv.LATENCY_CLASS, latency_class(breakdown.total_ns)),
    ]
    if breakdown.plugins:
        slowest = max(breakdown.plugins, key=breakdown.plugins.__getitem__)
        parts.append(word_attribute(semconv.PLUGIN, slowest))
    parts.append(_where(resolution.lookup.span.origin.resource))
    return b"".join(parts)


@cached
def _where(resource: bytes) -> bytes:
    told = resource_attributes(resource)
    values = [(key, told.get(told_by)) for key, told_by in _WHERE]
    return b"".join(
        [string_attribute(key, value) for key, value in values if value and isinstance(value, str)]
    )


def name_key(resolution: Resolution) -> bytes:
    """Encode the name as the application asked for it, for the server's spans."""
    return string_attribute(semconv.DNS_QUESTION_NAME, resolution.lookup.name)


def server_key(trace: ServerTrace) -> bytes:
    """Encode which server answered."""
    server = trace.server or server_instance(trace.root.origin.resource)
    return word_attribute(semconv.SERVER_INSTANCE, server)
