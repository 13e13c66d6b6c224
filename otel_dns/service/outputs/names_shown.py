"""Looked-up names, reduced at an output: after the join, which needs them whole.

Where names are reduced, what else may spell them out goes too: answers (a CNAME is a name), events
and messages of a status (an exception's text).
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache
from itertools import compress
from operator import not_
from typing import Final

from publicsuffixlist import PublicSuffixList

from otel_dns import semconv
from otel_dns.model import Origin
from otel_dns.service import secrets
from otel_dns.service.configuration.settings import Names
from otel_dns.wire import otlp

_NAMES: Final = frozenset({semconv.DNS_QUESTION_NAME, semconv.COREDNS_NAME})
_ANSWERS: Final = frozenset({semconv.DNS_ANSWERS})
_COREDNS_NAME: Final = semconv.COREDNS_NAME.encode()
_HASH_DIGITS: Final = 16


def reduction(settings: Names) -> Callable[[bytes], bytes] | None:
    """Return what makes of a request the one to send; None where names stay as they are.

    Raises:
        SecretError: the key of the hash cannot be read.
    """
    if settings.show == "full":
        return None
    shown = _shown(settings)
    zones = tuple("." + zone.strip(".").lower() for zone in settings.keep_zones)

    @lru_cache(maxsize=4096)
    def reduced(name: str) -> str | None:
        bare = name.rstrip(".").lower()
        return name if zones and ("." + bare).endswith(zones) else shown(bare)

    def change(key: str, value: otlp.AttributeValue) -> otlp.AttributeValue:
        if key in _ANSWERS or not isinstance(value, str) or len(value) > 1024:
            return None
        return reduced(value)

    def all_reduced(request: bytes) -> bytes:
        return otlp.change_attributes(request, _NAMES | _ANSWERS, change)

    keep = frozenset(settings.keep_namespaces)
    if not keep:
        return all_reduced

    def some_reduced(request: bytes) -> bytes:
        spans = [(group.origin, raw) for group in otlp.cut(request) for raw in group.spans]
        whole = [_namespace(*span) in keep for span in spans]
        kept = otlp.build(compress(spans, whole))
        # Of two encoded messages one after the other protobuf makes one.
        return kept + all_reduced(otlp.build(compress(spans, map(not_, whole))))

    return some_reduced


def _namespace(origin: Origin, raw: bytes) -> otlp.AttributeValue:
    """Tell the namespace of the Pod that looked a name up; of a server span, not the server's."""
    if _COREDNS_NAME in raw:
        return otlp.attributes_of(raw).get(semconv.SEARCH_NAMESPACE)
    return otlp.resource_attributes(origin.resource).get(semconv.K8S_NAMESPACE_NAME)


def _shown(settings: Names) -> Callable[[str], str | None]:
    if settings.show == "registered_domain":
        find = PublicSuffixList().privatesuffix
        return lambda name: find(name) or name
    if settings.show == "hash":
        assert settings.hash_key_file is not None
        key = secrets.read(settings.hash_key_file, "the key of the names' hash").strip()
        if not key:
            raise secrets.SecretError(f"the key {settings.hash_key_file} is empty")
        return lambda name: hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:_HASH_DIGITS]
    return lambda _: None
