"""The socket module's functions while dnspython stands in for them (`override_system_resolver`)."""

import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import dns.resolver

from otel_dns.client import getaddrinfo, gethostby
from otel_dns.client.details import Resolver
from otel_dns.client.dnspython.lookups import Readings
from otel_dns.client.patch import Patch, Reading, Replacement
from otel_dns.client.recorder import Recorder
from otel_dns.client.stub import Configured, SourceAddresses

_NAMES: Final = (
    "getaddrinfo",
    "getnameinfo",
    "getfqdn",
    "gethostbyname",
    "gethostbyname_ex",
    "gethostbyaddr",
)


def of_resolver(recorder: Recorder, addresses: SourceAddresses) -> Iterable[Replacement]:
    """Replace what dnspython puts into the socket module, and how it takes it out again.

    Args:
        recorder: Who records the lookups.
        addresses: Where the source address towards a nameserver is known.
    """
    stub = _StandIn(Readings(dns.resolver, addresses))
    for name, reading in _readings(stub).items():
        if hasattr(dns.resolver, f"_{name}"):
            yield Patch(dns.resolver, f"_{name}", reading, recorder)
    yield _Override(before := _SocketFunctions())
    yield _Restore(before)


class _SocketFunctions:
    """The socket module's functions as they were before dnspython took their place."""

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}

    def remember(self) -> None:
        for name in _NAMES:
            function = getattr(socket, name)
            if function is not getattr(dns.resolver, f"_{name}", None):
                self._before[name] = function

    def put_back(self) -> None:
        # dnspython has put in what there was when it was imported: the recording of later went.
        for name, function in self._before.items():
            if getattr(socket, name) is getattr(dns.resolver, f"_original_{name}", None):
                setattr(socket, name, function)
        self._before.clear()


class _Override(Replacement):
    def __init__(self, before: _SocketFunctions) -> None:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                if self.live:
                    before.remember()
                return original(*args, **kwargs)

            return wrapper

        super().__init__(dns.resolver, "override_system_resolver", wrap)


class _Restore(Replacement):
    def __init__(self, before: _SocketFunctions) -> None:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                result = original(*args, **kwargs)
                if self.live:
                    before.put_back()
                return result

            return wrapper

        super().__init__(dns.resolver, "restore_system_resolver", wrap)


class _StandIn:
    """The resolver that dnspython uses for the socket module's functions."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def current(self) -> Resolver:
        resolver = getattr(dns.resolver, "_resolver", None) or dns.resolver.get_default_resolver()
        return self._readings.describe(resolver)


def _readings(stub: Configured) -> dict[str, Reading]:
    forward = partial(gethostby.forward, stub=stub)
    info = getaddrinfo.reading(stub)
    address = gethostby.of_socket_address("socket.getnameinfo", stub)
    return {
        "getaddrinfo": info._replace(lookup=_optional(info.lookup)),
        "getnameinfo": address._replace(
            lookup=lambda sockaddr, flags=0: address.lookup(sockaddr, flags)
        ),
        "gethostbyname": forward("socket.gethostbyname", answered=gethostby.one_address),
        "gethostbyname_ex": forward("socket.gethostbyname_ex", answered=gethostby.addresses),
        "gethostbyaddr": gethostby.backward(stub),
    }


def _optional(lookup: Callable[..., Any]) -> Callable[..., Any]:
    """Return how to read getaddrinfo where dnspython has other defaults and another name."""

    def read(  # noqa: PLR0917 - the signature read
        host: Any = None,
        service: Any = None,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        return lookup(host, service, family, type, proto, flags)

    return read
