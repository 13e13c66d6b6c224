"""What people search for, as single strings: on a lookup's span and on its ``servedns`` spans.

A backend's search looks for tags of one span of one service. Who comes from the application's side
and who comes from the server's write the same tags.
"""

from functools import lru_cache
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

_MAX_REMEMBERED: Final = 256
"""Letters of a plugin's name whose words are remembered: a sender may name it."""
_WHERE: Final = (
    (semconv.SEARCH_POD, semconv.K8S_POD_NAME),
    (semconv.SEARCH_NAMESPACE, semconv.K8S_NAMESPACE_NAME),
    (semconv.SEARCH_NODE, semconv.K8S_NODE_NAME),
)


def search_keys(resolution: Resolution) -> bytes:
    """Encode what both sides have, but for the name: it is on the lookup's span as it came."""
    breakdown = resolution.breakdown
    words = _words if len(breakdown.slowest) <= _MAX_REMEMBERED else _encoded_words
    return words(
        resolution.join.method, resolution.outcome, breakdown.bottleneck,
        latency_class(breakdown.total_ns), breakdown.slowest,
    ) + _where(resolution.lookup.span.origin.resource)  # fmt: skip


def _encoded_words(method: str, outcome: str, bottleneck: str, class_: str, slowest: str) -> bytes:
    return b"".join((
        string_attribute(semconv.JOIN_METHOD, method),
        string_attribute(semconv.LOOKUP_OUTCOME, outcome),
        string_attribute(semconv.BOTTLENECK, bottleneck),
        string_attribute(semconv.LATENCY_CLASS, class_),
        string_attribute(semconv.PLUGIN, slowest) if slowest else b"",
    ))  # fmt: skip


_words: Final = lru_cache(maxsize=1 << 12)(_encoded_words)


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
