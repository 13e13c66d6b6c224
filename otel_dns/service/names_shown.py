"""Looked-up names, reduced at an output: after the join, which needs them whole.

Where names are reduced, what else may spell them out goes too: answers (a CNAME is a name), events
and messages of a status (an exception's text).
"""

import hashlib
import hmac
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from publicsuffixlist import PublicSuffixList

from otel_dns import semconv
from otel_dns.service import secrets
from otel_dns.service.settings import Names
from otel_dns.wire import otlp

_NAMES: Final = frozenset({semconv.DNS_QUESTION_NAME, semconv.COREDNS_NAME})
_ANSWERS: Final = frozenset({semconv.DNS_ANSWERS})
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

    return lambda request: otlp.change_attributes(request, _NAMES | _ANSWERS, change)


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
