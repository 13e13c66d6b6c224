"""What is told apart in the history's figures, wherever they are worked out."""

from typing import Final

from otel_dns import semconv
from otel_dns.history.schema import SEGMENT_COLUMNS

KINDS: Final = ("server", "own", "outside", "plugin", "upstream")
"""What can be asked about as a subject: a server's time of a query, ``own`` without its upstream's;
a lookup's time for each query that is neither at a server nor at its upstream, nor a timeout, by
the server that was asked first; a plugin's own time of a query; an exchange with an upstream."""

CLIENT_KINDS: Final = ("asker", "client")
"""Who asked: the Pod and address of each lookup; the server and address of each query."""

FAILURES: Final = ("SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "")
"""Response codes of a query that a server failed; none: it did not answer."""

EXACT_METHODS: Final = tuple(
    method for method in semconv.METHODS if method not in {semconv.METHOD_TIME, semconv.METHOD_NONE}
)
"""Methods of joining that identify every query."""

REPEATED_NS: Final = 900_000_000
"""A lookup of so long with a repeated query waited for a timeout, whatever its breakdown says:
where the server itself waits for its upstream meanwhile, the time is there."""

_ELSEWHERE: Final = (semconv.SEGMENT_SERVER, semconv.SEGMENT_UPSTREAM, semconv.SEGMENT_WAITING)
OUTSIDE_COLUMNS: Final = tuple(
    SEGMENT_COLUMNS[segment] for segment in semconv.SEGMENTS if segment not in _ELSEWHERE
)
"""Segments that are at no server, wait for no upstream and for no timeout."""
