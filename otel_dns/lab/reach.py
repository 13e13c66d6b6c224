"""From outside into the lab's network: connections, HTTP, published ports."""

import http.client
import ipaddress
import socket
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from otel_dns.lab import addresses as plan
from otel_dns.lab import environment
from otel_dns.lab.control import RequestFailed
from otel_dns.lab.errors import LabError
from otel_dns.lab.places import Node
from otel_dns.lab.session import Session


def connect(
    session: Session, host: str, port: int, *, kind: str = "tcp", pod: str = "", timeout: float = 60
) -> socket.socket:
    """A socket connected from inside the lab; see ``Lab.connect``."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # The keeper asks no DNS server: whose answer would that be?
        raise LabError(f"{host!r} is no IP address in the lab") from None
    try:
        with session.control.request(
            "connect", host=host, port=port, kind=kind, pod=pod, timeout=timeout
        ) as (_, fds, _connection):
            connected = socket.socket(fileno=fds[0])
    except RequestFailed as error:
        raise OSError(error.errno or 0, f"{host}:{port} in the lab: {error}") from None
    connected.settimeout(timeout)
    return connected


def http_request(
    session: Session,
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> tuple[int, bytes]:
    """An HTTP exchange with a program in the lab; see ``Lab.http_request``."""
    parts = urlsplit(url)
    host, port = parts.hostname or plan.NODE, parts.port or 80
    client = http.client.HTTPConnection(host, port, timeout=timeout)
    with connect(session, host, port, timeout=timeout) as connection:
        client.sock = connection
        target = parts.path or "/"
        client.request(
            method, f"{target}?{parts.query}" if parts.query else target, body, dict(headers or {})
        )
        response = client.getresponse()
        return response.status, response.read()


def answers_http(session: Session, url: str) -> bool:
    """Whether a GET is answered with status 200."""
    try:
        return http_request(session, "GET", url, timeout=2)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def publish(session: Session, port_inside: int, *, host: str, port_outside: int) -> tuple[str, int]:
    """Make a port in the lab reachable from outside; see ``Lab.publish``."""
    with socket.create_server(("127.0.0.1", port_outside)) as listener:
        address, port = listener.getsockname()[:2]
        Node(session).start(
            [sys.executable, "-P", "-m", "otel_dns.lab.relay", host, str(port_inside)],
            name=f"publish-{port_inside}",
            env=environment.own_source(),
            about={"inside": f"{host}:{port_inside}", "outside": f"{address}:{port}"},
            fds=[listener.fileno()],
        )
        return str(address), int(port)
