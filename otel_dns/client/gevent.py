"""Lookups through gevent's own socket functions.

``monkey.patch_all()`` puts them in place of the socket module's, and with them what replaced those
before. Threads of gevent's then call the C library past Python.
"""

from collections.abc import Collection, Iterable
from importlib import import_module
from typing import Final

from otel_dns.client import getaddrinfo, gethostby
from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import Replacement
from otel_dns.client.recorder import Recorder

_MODULES: Final = ("gevent.socket", "gevent._socketcommon")
"""Where applications and ``patch_all`` take the functions from, and where gevent's own connect and
getfqdn do."""


class GeventInstrumentor(LookupInstrumentor):
    """Makes a span and a measurement of every lookup by gevent's getaddrinfo and its relatives."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the versions of gevent that this is tested with."""
        return ("gevent >= 24.11",)

    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        self._patch_later(_MODULES[0], lambda: _patches(recorder))
        return ()


def _patches(recorder: Recorder) -> Iterable[Replacement]:
    for module in map(import_module, _MODULES):
        yield from getaddrinfo.patches(module, recorder)
        yield from gethostby.patches(module, recorder)
