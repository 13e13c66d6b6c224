"""What holds for every answer: strict headers, only reading, and names the page answers to."""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host, an address or ``localhost``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Stands in front of the application.

    A page without a token is only for this machine. Any web site that its user visits could still
    have its own name resolve to 127.0.0.1 and read the page (DNS rebinding), so such a page answers
    to loopback names only.
    """

    def __init__(self, app: App, hosts: Iterable[str] | None) -> None:
        """Put a guard in front of an application.

        Args:
            app: The ASGI application.
            hosts: Names it may be asked as beside those of loopback; None: as any, since every
                question needs a token.
        """
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = [pair for pair in message.get("headers", ()) if pair[0] != b"server"]
                message = {**message, "headers": [*known, *_HEADERS]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
            return
        status, text = refusal
        await send_with_headers(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": b'{"detail":"%s"}' % text})

    def _refusal(self, scope: Message) -> tuple[int, bytes] | None:
        if scope["method"] not in {"GET", "HEAD"}:
            return 405, b"the page only reads: GET"
        if self._hosts is None:
            return None
        named = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
        host = named.rpartition(":")[0] if named.rpartition(":")[2].isdecimal() else named
        if is_loopback(host) or host in self._hosts:
            return None
        return 421, b"not served under this host name; --host allows it, or use a token"
