"""Times, sizes, addresses and endpoints as people write them in a configuration."""

import ipaddress
import math
import re
from typing import Any, ClassVar, Final, Self

_NUMBER: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Zµ]*)\s*")
_SECONDS: Final = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
                 "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}  # fmt: skip
_LONGEST_S: Final = 10 * 366 * 86_400.0


class Duration(float):
    """Seconds; written as ``7s``, ``500ms``, ``5m``, ``1h``, ``14d``, or as a number of seconds."""

    __slots__ = ()
    SCHEMA: ClassVar = {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*(us|ms|s|m|h|d)?\s*$"},
            {"type": "number", "minimum": 0},
        ],
        "description": "a time: 500ms, 7s, 5m, 1h, 14d, or a number of seconds",
    }

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a duration.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        amount = _parse(value, _SECONDS)
        if amount is None or not amount <= _LONGEST_S:
            raise ValueError("a time is wanted, such as 500ms, 7s, 5m, 1h or 14d")
        return cls(amount)

    @property
    def ns(self) -> int:
        """Whole nanoseconds."""
        return round(self * 1_000_000_000)


class Size(int):
    """Bytes; written as ``64MiB``, ``1GiB``, ``500kB``, or as a number of bytes."""

    __slots__ = ()
    SCHEMA: ClassVar = {
        "anyOf": [
            {"type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kKMGT]i?)?[bB]?\s*$"},
            {"type": "integer", "minimum": 0},
        ],
        "description": "a size: 64MiB, 1GiB, 500kB, or a number of bytes",
    }

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a size.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        amount = _parse(value, _BYTES)
        if amount is None or amount > 1 << 60:
            raise ValueError("a size is wanted, such as 500kB, 64MiB or 1GiB")
        return cls(amount)


def _parse(value: object, units: dict[str, Any]) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if value >= 0 and math.isfinite(value) else None
    found = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    unit = found[2] if found[2] in units else found[2].lower()
    return float(found[1]) * units[unit] if unit in units else None


class Address(str):
    """Where to listen, or whom to send to: ``HOST:PORT``, ``[IPV6]:PORT`` or ``unix:/PATH``."""

    __slots__ = ()
    SCHEMA: ClassVar = {
        "type": "string",
        "pattern": r"^(unix:.+|.+:[0-9]{1,5})$",
        "description": "HOST:PORT, [IPV6]:PORT or unix:/PATH",
    }

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read an address.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        if isinstance(value, str):
            if value.startswith("unix:") and len(value) > len("unix:"):
                return cls(value)
            if "://" in value:
                raise ValueError(f"a URL is not wanted here; give {value.partition('://')[2]}")
            host, _, port = value.rpartition(":")
            if ":" in host and (host[0], host[-1]) != ("[", "]"):
                raise ValueError("an IPv6 address stands in brackets, such as [::1]:4317")
            if host and not re.search(r"\s", value) and port.isdecimal() and int(port) <= 65_535:
                return cls(value)
        raise ValueError("HOST:PORT is wanted, such as 127.0.0.1:4317")


class DnstapAddress(Address):
    """An address of the dnstap receiver: also ``tls:HOST:PORT``."""

    __slots__ = ()
    SCHEMA: ClassVar = {
        "type": "string",
        "pattern": r"^(unix:.+|(tls:)?.+:[0-9]{1,5})$",
        "description": "HOST:PORT, tls:HOST:PORT or unix:/PATH",
    }

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read an address.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        if isinstance(value, str):
            if value.startswith("tls:unix:"):
                raise ValueError("a Unix socket has no TLS")
            super().parse(value.removeprefix("tls:"))
            return cls(value)
        return super().parse(value)


class Endpoint(Address):
    """Whom to send to: an address, or a URL with ``http://`` or ``https://``."""

    __slots__ = ()
    SCHEMA: ClassVar = {
        "type": "string",
        "pattern": r"^(https?://.+|unix:.+|.+:[0-9]{1,5})$",
        "description": "HOST:PORT for gRPC, or a URL that begins with http:// or https://",
    }

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read an endpoint.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        if isinstance(value, str) and "://" in value:
            if not re.match(r"https?://[^/]", value):
                raise ValueError("of URLs, http:// and https:// are taken")
            return cls(value)
        return super().parse(value)


class Network(str):
    """An address, or a network: ``10.0.0.7``, ``10.0.0.0/16``, ``fd00::/64``."""

    __slots__ = ()
    SCHEMA: ClassVar = {
        "type": "string",
        "pattern": r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$",
        "description": "an address or a network: 10.0.0.7, 10.0.0.0/16, fd00::/64",
    }

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a network.

        Raises:
            ValueError: it is none; the message says what is wanted.
        """
        try:
            if isinstance(value, str):
                return cls(ipaddress.ip_network(value, strict=False))
        except ValueError:
            pass
        raise ValueError("an address or a network is wanted, such as 10.0.0.7 or 10.0.0.0/16")
