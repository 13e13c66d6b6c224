"""Reverse lookups: what each library asks for, of an address and of a name."""

import pytest

from otel_dns import semconv
from otel_dns.join.recognise import lookup_of
from otel_dns.wire.otlp import string_attribute
from tests.support.spans import MS, span

REVERSE = "10.0.96.10.in-addr.arpa."


@pytest.mark.parametrize(
    ("name", "kind", "question_type", "candidates"),
    [
        ("10.96.0.10", "glibc", "PTR", (REVERSE,)),
        ("10.96.0.10", "musl", "PTR", (REVERSE,)),
        ("web", "glibc", "PTR", ("web.",)),
        (REVERSE, "dnspython", "PTR", (REVERSE,)),
        ("10.96.0.10", "dnspython", "PTR", ("10.96.0.10.",)),
        ("10.96.0.10", "glibc", "A", ("10.96.0.10.",)),
    ],
)
def test_what_a_reverse_lookup_asks_for(
    name: str, kind: str, question_type: str, candidates: tuple[str, ...]
) -> None:
    attributes = {
        semconv.DNS_QUESTION_NAME: name,
        semconv.DNS_QUESTION_TYPE: question_type,
        semconv.RESOLVER_KIND: kind,
        semconv.CLIENT_ADDRESS: "10.0.0.7",
    }
    tail = b"".join(string_attribute(key, value) for key, value in attributes.items())
    lookup = lookup_of(span(semconv.LOOKUP_SPAN, 0, MS, tail=tail))
    assert lookup is not None
    assert lookup.candidates == candidates
    assert lookup.types == (question_type,)
