"""Lookups through dnspython, and the queries that it sends for them.

What dnspython's modules need is put in place when the application imports them: importing all of
dnspython alone takes longer than everything else that is instrumented.
"""

from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from typing import Final

from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import Replacement
from otel_dns.client.query_recorder import QueryRecorder
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import SourceAddresses

_PACKAGE: Final = "otel_dns.client.dnspython"


class DnspythonInstrumentor(LookupInstrumentor):
    """Makes spans and measurements of dnspython's lookups and queries, sync and async.

    A lookup is one call that the application makes of a resolver; under it is a span for every
    query on the wire. A query that the application sends by itself (``dns.query``,
    ``dns.asyncquery``) makes a span of its own.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of dnspython that this is tested with."""
        return ("dnspython >= 2.6",)

    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        addresses = SourceAddresses()
        queries = QueryRecorder(recorder, addresses)

        def later(module: str, part: str, function: str, *args: object) -> None:
            def patches() -> Iterable[Replacement]:
                make: Callable[..., Iterable[Replacement]] = getattr(
                    import_module(f"{_PACKAGE}.{part}"), function
                )
                return make(*args)

            self._patch_later(module, patches)

        later("dns.query", "queries", "of_query", queries)
        later("dns.asyncquery", "queries", "of_asyncquery", queries)
        later("dns.quic", "queries", "of_quic", queries)
        for backend in ("dns._asyncio_backend", "dns._trio_backend"):
            later(backend, "queries", "of_backend", backend)
        later("dns.resolver", "lookups", "of_resolver", recorder, addresses)
        later("dns.resolver", "overriding", "of_resolver", recorder, addresses)
        later("dns.asyncresolver", "lookups", "of_asyncresolver", recorder, addresses)
        return ()
