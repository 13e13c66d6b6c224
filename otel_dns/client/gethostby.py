"""Lookups through the socket module's older functions, forwards and backwards."""

import socket
from collections.abc import Collection, Iterable
from typing import Any, Final

from otel_dns.client.details import Lookup, Outcome
from otel_dns.client.errors import socket_error
from otel_dns.client.getaddrinfo import is_numeric, text_of
from otel_dns.client.instrumentor import LookupInstrumentor
from otel_dns.client.patch import Patch, Reading
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import Configured, of_this_process

_REVERSE: Final = "PTR"
_NUMERIC_ONLY: Final = int(socket.NI_NUMERICHOST)
_NOTHING_TO_LOOK_UP: Final = ("", "<broadcast>")
"""What the socket module itself makes an address of."""


class GethostbyInstrumentor(LookupInstrumentor):
    """Makes a span and a measurement of every lookup by gethostbyname and its relatives.

    These are `socket.gethostbyname`, `socket.gethostbyname_ex`, `socket.gethostbyaddr` and
    `socket.getnameinfo`. `socket.getfqdn` calls gethostbyaddr, so it is covered through it.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return no requirement: the socket module is always there."""
        return ()

    def _patch(self, recorder: Recorder) -> Iterable[Patch]:
        return patches(socket, recorder)


def patches(module: Any, recorder: Recorder) -> Iterable[Patch]:
    """Replace a module's gethostbyname and its relatives.

    Args:
        module: The socket module, or one that takes its place.
        recorder: Who records the lookups.
    """
    stub = of_this_process()
    readings = {
        "gethostbyname": forward("socket.gethostbyname", stub, one_address),
        "gethostbyname_ex": forward("socket.gethostbyname_ex", stub, addresses),
        "gethostbyaddr": backward(stub),
        "getnameinfo": of_socket_address("socket.getnameinfo", stub),
    }
    return [Patch(module, name, reading, recorder) for name, reading in readings.items()]


def forward(api: str, stub: Configured, answered: Any) -> Reading:
    """Return how to read calls that ask for a name's IPv4 addresses.

    Args:
        api: The function called, by its public name.
        stub: The resolver behind it.
        answered: Makes the outcome of what it returned.
    """

    def lookup(host: object, /) -> Lookup | None:
        if is_numeric(host):
            return None
        name = text_of(host)
        if name is None or name in _NOTHING_TO_LOOK_UP:
            return None
        return Lookup(name, api, stub.current(), "inet")

    return Reading(lookup, answered, socket_error)


def backward(stub: Configured) -> Reading:
    """Return how to read calls of gethostbyaddr, which takes an address or a name.

    Given a name, it looks up the name's addresses first; this is then the lookup.

    Args:
        stub: The resolver behind it.
    """
    api = "socket.gethostbyaddr"

    def lookup(host: object, /) -> Lookup | None:
        name = text_of(host)
        if name is None or name in _NOTHING_TO_LOOK_UP:
            return None
        if is_numeric(host):
            return Lookup(name, api, stub.current(), question_type=_REVERSE)
        return Lookup(name, api, stub.current(), "any")

    return Reading(lookup, _names, socket_error)


def of_socket_address(api: str, stub: Configured) -> Reading:
    """Return how to read calls of getnameinfo.

    Args:
        api: The function called, by its public name.
        stub: The resolver behind it.
    """

    def lookup(sockaddr: tuple[Any, ...], flags: int, /) -> Lookup | None:
        host = sockaddr[0]
        # It looks no name up to get an address, and none at all if told so.
        if flags & _NUMERIC_ONLY or not isinstance(host, str) or not is_numeric(host):
            return None
        return Lookup(host, api, stub.current(), question_type=_REVERSE)

    return Reading(lookup, _name_and_service, socket_error)


def one_address(result: str) -> Outcome:
    """Make the outcome of an address.

    Args:
        result: What gethostbyname returned.
    """
    return Outcome((result,))


def addresses(result: tuple[str, list[str], list[str]]) -> Outcome:
    """Make the outcome of a name with its aliases and addresses.

    Args:
        result: What gethostbyname_ex returned.
    """
    return Outcome(tuple(result[2]))


def _names(result: tuple[str, list[str], list[str]]) -> Outcome:
    return Outcome((result[0], *result[1]))


def _name_and_service(result: tuple[str, str]) -> Outcome:
    # An address that has no name comes back as it went in.
    return Outcome() if is_numeric(result[0]) else Outcome((result[0],))
