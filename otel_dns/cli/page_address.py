"""Where the page listens."""

import contextlib
import ipaddress
import socket
from typing import Final

_PATIENCE_MS: Final = 60_000
"""Who takes nothing of an answer for so long is gone: there may be only so many connections."""


def split(listen: str) -> tuple[str, int]:
    """Split ``HOST:PORT``, the host an address or ``localhost``.

    Raises:
        ValueError: it is something else; the message says what.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{listen!r} is not HOST:PORT, such as 127.0.0.1:8053")
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"{host!r} in {listen!r} is no address") from None
    return host, int(port)


def listen_at(host: str, port: int) -> socket.socket:
    """Listen there.

    Raises:
        OSError: another does already, or nobody may.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    with contextlib.suppress(AttributeError, OSError):  # of Linux; connections inherit it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE_MS)
    return listening
