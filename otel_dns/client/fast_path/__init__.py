"""A shortcut past OpenTelemetry's public API, for the exact SDK that it was written against.

By the public API a lookup's span and measurement cost several times what they need to: attributes
that are clean already are cleaned one by one, twice, and what only depends on the names of metric
attributes is found anew for each measurement. Everything that the SDK's behaviour consists of is
kept: the sampler is asked, span processors and exemplar filters are called, in the same order and
with the same arguments. `tests/client/test_client_fast_path.py` compares the two.

This is the only package that touches what is private to OpenTelemetry. Whatever is not exactly as
expected (version, classes, a method that somebody replaced, limits that cut attributes) goes by
the public API, see `otel_dns.client.api_path`.
"""

from otel_dns.client.fast_path.current import nobody_records, suppressed
from otel_dns.client.fast_path.durations import durations_of
from otel_dns.client.fast_path.spans import always_sampling, spans_of

__all__ = ["always_sampling", "durations_of", "nobody_records", "spans_of", "suppressed"]
