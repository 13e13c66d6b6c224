"""The letter-case mark on names that `socket.getaddrinfo` looks up.

The C library sends a name in the case in which it gets it, and the search list's domains after it.
So the name goes in marked, and what comes out again of it, the canonical name, goes back to how the
application wrote it. See `otel_dns.marks`.
"""

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

from otel_dns import semconv
from otel_dns.client.recorder import current
from otel_dns.marks import cased

_CANONICAL: Final = int(socket.AI_CANONNAME)
_HOST_NAME: Final = re.compile(r"(?=.*[A-Za-z])(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
"""Only what no resolver refuses: the error it makes might show the name."""
_MAX_NAME: Final = 253


def marking(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a getaddrinfo that marks the names of recorded lookups.

    Args:
        original: The socket module's; any other sees what the application wrote.
    """

    def getaddrinfo(  # noqa: PLR0917 - the socket module's signature
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        marked = _marked(host)
        if marked is None:
            return original(host, port, family, type, proto, flags)
        result = original(marked, port, family, type, proto, flags)
        if not flags & _CANONICAL:
            return result
        return [(*entry[:3], unmarked(entry[3], marked, host), entry[4]) for entry in result]

    return getaddrinfo


def _marked(host: Any) -> str | None:
    """Return the name to look up instead, where a sampled lookup of it is going on."""
    ongoing = current()
    if ongoing is None or ongoing.lookup.name is not host or not isinstance(host, str):
        return None
    span = ongoing.span
    context = span.get_span_context()
    if not (context.trace_flags.sampled and span.is_recording()):
        return None
    if len(host) > _MAX_NAME or not _HOST_NAME.fullmatch(host):
        return None
    span.set_attribute(semconv.LOOKUP_MARKED, semconv.MARK_CASE)
    return cased(host, context.trace_id.to_bytes(16), context.span_id.to_bytes(8))


def unmarked(canonical: str, marked: str, asked: str) -> str:
    """Return a canonical name as it would be had the name been looked up as it was asked for.

    It is the name itself, perhaps with a domain of the search list after it; or another one, of
    which the end may be the question's: servers compress names by pointing into it.

    Args:
        canonical: What the C library says.
        marked: What was looked up.
        asked: What the application asked for: the same but for the letter case.
    """
    for start in _labels(marked):
        ours = marked[start:].removesuffix(".")
        found = re.search(rf"(?:^|(?<=\.)){re.escape(ours)}(?=\.|$)", canonical)
        if found is not None:
            plain = asked[start:].removesuffix(".")
            return canonical[: found.start()] + plain + canonical[found.end() :]
    return canonical


def _labels(name: str) -> Iterator[int]:
    """Yield where the labels of a name start that have a letter in or after them."""
    start = 0
    for label in name.removesuffix(".").split("."):
        if any(map(str.isalpha, name[start:])):
            yield start
        start += len(label) + 1
