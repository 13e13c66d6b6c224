"""Lookups through `socket.getaddrinfo`, and so through nearly everything that connects by name."""

import inspect
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from socket import inet_aton, inet_pton
from typing import Any, Final

from otel_dns import semconv
from otel_dns.client.correlate import marking
from otel_dns.client.details import Lookup, Outcome
from otel_dns.client.errors import socket_error
from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import Patch, Reading, Replacement
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import Configured, of_this_process

_API = "socket.getaddrinfo"
# Plain numbers and C functions under names of their own: this is the path of every call.
_INET = int(socket.AF_INET)
_INET6 = int(socket.AF_INET6)
_FAMILIES = {int(socket.AF_UNSPEC): "any", _INET: "inet", _INET6: "inet6"}
_NUMERIC_ONLY = int(socket.AI_NUMERICHOST)
# Make NamedTuples at a third of the cost.
_lookup: Callable[[tuple[Any, ...]], Lookup] = partial(tuple.__new__, Lookup)
_outcome: Callable[[tuple[Any, ...]], Outcome] = partial(tuple.__new__, Outcome)


class GetaddrinfoInstrumentor(LookupInstrumentor):
    """Makes a span and a measurement of every name looked up by `socket.getaddrinfo`.

    `socket.create_connection`, and with it http.client, urllib3, requests, httpx, smtplib and so
    on, look that function up when they call it, so they are covered too.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no requirement: the socket module is always there."""
        return ()

    def _patch(self, recorder: Recorder) -> Iterable[Replacement]:
        return patches(socket, recorder)


def patches(module: Any, recorder: Recorder) -> Iterable[Replacement]:
    """Replace a module's getaddrinfo.

    Args:
        module: The socket module, or one that takes its place.
        recorder: Who records the lookups.
    """
    # Whoever has put something else there knows best what it takes.
    if semconv.MARK_CASE in recorder.settings.marks and is_like_getaddrinfo(module.getaddrinfo):
        yield Replacement(module, "getaddrinfo", marking)
    yield Patch(module, "getaddrinfo", reading(of_this_process()), recorder, numbers_first)


def numbers_first(original: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that hands plain numbers to the original at once, all else to the wrapper.

    The arguments by name cost a third of what any number of any arguments do. So this is for an
    original that takes just these; for any other it is the wrapper itself.

    Args:
        original: What was there before.
        wrapper: What records its lookups.
    """

    def getaddrinfo(  # noqa: PLR0917 - the socket module's signature
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        if host is None:
            return original(host, port, family, type, proto, flags)
        # An IPv4 address starts with a digit; only few other characters sort before ":".
        if host.__class__ is str and (host < ":" or ":" in host):
            try:
                inet_pton(_INET if host < ":" else _INET6, host)
            except (OSError, ValueError):
                pass  # and out of here first: it must not become the context of another exception
            else:
                return original(host, port, family, type, proto, flags)
        return wrapper(host, port, family, type, proto, flags)

    return getaddrinfo if is_like_getaddrinfo(original) else wrapper


def is_like_getaddrinfo(function: Callable[..., Any]) -> bool:
    """Tell whether a function takes just what the socket module's getaddrinfo takes.

    Args:
        function: What is in its place.
    """
    return _parameters(function) == _PARAMETERS


def _parameters(function: Callable[..., Any]) -> list[tuple[Any, ...]] | None:
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # a C function without one
        return None
    return [(one.name, one.kind, one.default) for one in signature.parameters.values()]


_PARAMETERS: Final = _parameters(socket.getaddrinfo)


def reading(stub: Configured, api: str = _API) -> Reading:
    """Return how to read calls of getaddrinfo.

    Args:
        stub: The resolver behind it.
        api: The function called, by its public name.
    """

    def lookup(  # noqa: PLR0917 - the signature read
        host: object,
        port: object,  # noqa: ARG001
        family: int = 0,
        type: int = 0,  # noqa: A002, ARG001
        proto: int = 0,  # noqa: ARG001
        flags: int = 0,
    ) -> Lookup | None:
        # The two usual hosts come first: a name, which a look at its first character tells, and
        # four numbers with dots.
        if isinstance(host, str) and host[:1].isalpha() and ":" not in host:
            name: str | None = host
        else:
            try:
                inet_pton(_INET, host)  # type: ignore[arg-type]
            except (OSError, TypeError, ValueError):
                if host is None or is_numeric(host):
                    return None
                name = text_of(host)
            else:
                return None
        asked = _FAMILIES.get(family)
        if asked is None or flags & _NUMERIC_ONLY or not name:
            return None
        return _lookup((name, api, stub.current(), asked, None))

    return Reading(lookup, _answered, socket_error)


def is_numeric(host: object) -> bool:
    """Tell fast whether a host is an address as a number, which nobody has to look up.

    Args:
        host: What the application passed as host.
    """
    if not isinstance(host, str):
        if not isinstance(host, bytes | bytearray):
            return False
        host = host.decode("latin-1")
    if ":" in host:
        return _converts(_INET6, host.partition("%")[0])
    # Any address starts with a digit, also "127.1" and "0x7f000001".
    if host[:1].isdecimal():
        if _converts(_INET, host):
            return True
        try:
            inet_aton(host)
        except (OSError, ValueError):
            return False
        # inet_aton ignores what follows a blank; getaddrinfo does not.
        return not any(map(str.isspace, host))
    return False


def _converts(family: int, host: str) -> bool:
    try:
        inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return True


def text_of(host: object) -> str | None:
    """Return a host as text, or nothing if it is none.

    Args:
        host: What the application passed as host.
    """
    if isinstance(host, str):
        return host
    if isinstance(host, bytes | bytearray):
        return host.decode("utf-8", "backslashreplace")
    return None


def _answered(result: Any) -> Outcome:
    # The address is a number only where the machine has no IPv6 and the answer is such an address.
    addresses = {entry[4][0]: None for entry in result}
    answers = tuple([address for address in addresses if isinstance(address, str)])
    return _outcome((answers, None, None, None))
