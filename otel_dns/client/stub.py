"""The stub resolver of this process: whose rules it follows, its configuration, its address."""

import _socket
import os
import socket
import sysconfig
import time
from collections.abc import Callable
from functools import cache
from typing import Protocol

from otel_dns.client import name_sources
from otel_dns.client.details import Resolver
from otel_dns.resolv_conf import Reader, ResolvConf

_DNS_PORT = 53
_ADDRESS_SECONDS = 30.0
"""Routes may change without resolv.conf changing; rarely, so this need not be soon."""
_LOOK_SECONDS = 1.0
_MAX_ADDRESSES = 64
_DEFAULTS = ResolvConf()


@cache
def kind() -> str:
    """Return whose search rules the C library of this process follows."""
    try:
        if (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return "glibc"
    except (AttributeError, OSError, ValueError):
        pass
    built_for = f"{sysconfig.get_config_var('SOABI')} {sysconfig.get_config_var('HOST_GNU_TYPE')}"
    return "musl" if "musl" in built_for else "other"


class Configured(Protocol):
    """A resolver whose configuration may change."""

    def current(self) -> Resolver:
        """Return the resolver as it is configured now."""


class SourceAddresses:
    """The source address of this machine towards a nameserver, remembered for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing known.

        Args:
            clock: Monotonic seconds.
        """
        self._clock = clock
        self._known: dict[str, tuple[float, str | None]] = {}

    def towards(self, nameserver: str) -> str | None:
        """Return the source address, or nothing when there is no route.

        Args:
            nameserver: A numeric address.
        """
        now = self._clock()
        known = self._known.get(nameserver)
        if known is not None and now < known[0]:
            return known[1]
        address = source_address(nameserver)
        if len(self._known) >= _MAX_ADDRESSES:
            self._known.clear()
        self._known[nameserver] = (now + _ADDRESS_SECONDS, address)
        return address


class Stub:
    """What `socket.getaddrinfo` goes through, made anew only when it changed."""

    def __init__(
        self,
        reader: Reader | None = None,
        addresses: SourceAddresses | None = None,
        libc: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sources: name_sources.Reader | None = None,
    ) -> None:
        """Prepare to read; nothing is read before the first `current`.

        Args:
            reader: The configuration; that of this machine if not given.
            addresses: The source addresses.
            libc: Whose rules to follow; those of this process's C library if not given.
            clock: Monotonic seconds.
            sources: Who else than DNS is asked; that of this machine if not given.
        """
        self._kind = kind() if libc is None else libc
        if reader is None:
            # musl knows neither LOCALDOMAIN nor RES_OPTIONS, nor a default from the host's name.
            reader = (
                Reader()
                if self._kind == "musl"
                else Reader(environ=os.environ, hostname=socket.gethostname())
            )
        self._reader = reader
        self._addresses = addresses or SourceAddresses()
        self._sources = sources or name_sources.Reader(self._kind)
        self._made: tuple[ResolvConf, name_sources.NameSources, Resolver] | None = None
        self._clock = clock
        self._good: tuple[float, Resolver] | None = None

    def current(self) -> Resolver:
        """Return the resolver as it was configured within the last second."""
        good = self._good
        now = self._clock()
        if good is not None and now < good[0]:
            return good[1]
        resolver = self._look()
        self._good = (now + _LOOK_SECONDS, resolver)
        return resolver

    def _look(self) -> Resolver:
        conf = self._reader.current()
        sources = self._sources.current()
        addresses = tuple(
            [self._addresses.towards(nameserver) or "" for nameserver in conf.nameservers]
        )
        made = self._made
        if (
            made is not None
            and made[0] is conf
            and made[1] is sources
            and made[2].client_addresses == addresses
        ):
            return made[2]
        options = [
            f"{name}:{value}"
            for name, value, default in (
                ("timeout", conf.timeout, _DEFAULTS.timeout),
                ("attempts", conf.attempts, _DEFAULTS.attempts),
            )
            if value != default
        ]
        resolver = Resolver(
            self._kind,
            conf.nameservers,
            conf.search,
            conf.ndots,
            (addresses[0] or None) if addresses else None,
            options=(*options, *conf.options),
            client_addresses=addresses,
            sources=sources,
        )
        self._made = (conf, sources, resolver)
        return resolver


@cache
def of_this_process() -> Stub:
    """Return the one stub resolver that all functions of the C library go through."""
    return Stub()


def source_address(nameserver: str) -> str | None:
    """Ask the kernel which source address it would use. Sends nothing and looks nothing up.

    Args:
        nameserver: A numeric IPv4 or IPv6 address, the latter perhaps with a scope.

    Returns:
        The address, or nothing when there is no route or the argument is no address.
    """
    # Not socket.socket: that one may have been replaced (gevent, a proxy, a test's guard).
    host, _, scope = nameserver.partition("%")
    try:
        if ":" in host:
            _socket.inet_pton(_socket.AF_INET6, host)
            scope_id = _scope_id(scope)
            probe = _socket.socket(_socket.AF_INET6, _socket.SOCK_DGRAM)
            target: tuple[str | int, ...] = (host, _DNS_PORT, 0, scope_id)
        else:
            _socket.inet_pton(_socket.AF_INET, host)
            probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
            target = (host, _DNS_PORT)
    except (OSError, ValueError):
        return None
    try:
        probe.connect(target)
        address = probe.getsockname()[0]
    except OSError:
        return None
    finally:
        probe.close()
    return str(address).partition("%")[0]


def _scope_id(scope: str) -> int:
    if not scope:
        return 0
    return int(scope) if scope.isdecimal() else _socket.if_nametoindex(scope)
