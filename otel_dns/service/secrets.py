"""Certificates, keys and tokens from files, read anew when they change.

Kubernetes replaces mounted secrets in place, so nobody has to restart anything for a new one.
"""

import logging
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import grpc

from otel_dns.service.configuration.settings import ClientTls, ServerTls

_LOOK_EVERY_S: Final = 1.0
_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class SecretError(OSError):
    """A file of a certificate, key or token cannot be read; the message names it."""


class Renewed(Generic[_T]):
    """Something made of files, and made anew when they have changed.

    What cannot be made of them, most often in the middle of being replaced, stays as it was: that
    is said once, and tried again.
    """

    def __init__(self, make: Callable[[], _T], *paths: str | None) -> None:
        """Make it.

        Args:
            make: makes it; what it raises but SecretError is a mistake.
            paths: of the files; None for one that there is not.

        Raises:
            SecretError: it cannot be made.
        """
        self._make = make
        self._paths = [path for path in paths if path]
        self._seen = self._state()
        self._looked = time.monotonic()
        self._said = ""
        self.value = make()

    def renew(self) -> bool:
        """Make it anew if a file is another than it was; looks at most once a second."""
        if not self._paths or time.monotonic() < self._looked + _LOOK_EVERY_S:
            return False
        self._looked = time.monotonic()
        state = self._state()
        if state == self._seen:
            return False
        try:
            self.value = self._make()
        except SecretError as error:
            if str(error) != self._said:
                self._said = str(error)
                _log.warning("%s; what was read before stays in use", error)
            return False
        self._seen, self._said = state, ""
        return True

    def _state(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for path in self._paths:
            try:
                stat = Path(path).stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return found


def read(path: str, what: str) -> bytes:
    """Read a file.

    Raises:
        SecretError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SecretError(f"{what} {path} cannot be read: {error}") from None


def token(path: str) -> str:
    """Read a bearer token: the file's text without the white space around it.

    Raises:
        SecretError: it cannot be read, or is empty, or no token.
    """
    text = read(path, "the token").decode("latin-1").strip()
    if not text or not text.isprintable() or not text.isascii():
        raise SecretError(f"the token {path} is no token: one line of visible ASCII is wanted")
    return text


def channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Make gRPC credentials for an output.

    Raises:
        SecretError: a file cannot be read.
    """
    return grpc.ssl_channel_credentials(
        read(tls.ca, "the CA") if tls.ca else None,
        read(tls.key, "the key") if tls.key else None,
        read(tls.certificate, "the certificate") if tls.certificate else None,
    )


def server_credentials(
    tls: ServerTls, handshake: Callable[[], None] = lambda: None
) -> grpc.ServerCredentials:
    """Make gRPC credentials for a listener; new connections get new files.

    Args:
        tls: the files.
        handshake: is told of every handshake that begins, in whatever thread.

    Raises:
        SecretError: a file cannot be read, or they do not fit one another.
    """

    def configuration() -> grpc.ServerCertificateConfiguration:
        context_of(tls)  # gRPC itself would find out with the first to connect
        return grpc.ssl_server_certificate_configuration(
            [(read(tls.key, "the key"), read(tls.certificate, "the certificate"))],
            read(tls.client_ca, "the clients' CA") if tls.client_ca else None,
        )

    made = _renewed(tls, configuration)

    def wanted() -> grpc.ServerCertificateConfiguration | None:
        handshake()
        return made.value if made.renew() else None

    return grpc.dynamic_ssl_server_credentials(
        made.value,
        wanted,  # type: ignore[arg-type]  # None is grpc's own word for: as before
        bool(tls.client_ca),
    )


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """Make a TLS context for a listener of asyncio's; new connections get new files.

    Raises:
        SecretError: a file cannot be read, or they do not fit one another.
    """
    context = _NewestContext(ssl.PROTOCOL_TLS_SERVER)
    context.made = _renewed(tls, lambda: context_of(tls))
    return context


class _NewestContext(ssl.SSLContext):
    """Makes each connection of what the files say when it begins.

    With new files come a new context's keys of session tickets. Were a connection only moved to
    other certificates (``sni_callback``), OpenSSL would resume a session of before, and ask a
    client whose authority is trusted no more for no certificate.
    """

    made: Renewed[ssl.SSLContext]

    def wrap_bio(self, *args: Any, **more: Any) -> ssl.SSLObject:
        self.made.renew()
        return self.made.value.wrap_bio(*args, **more)


def _renewed(tls: ServerTls, make: Callable[[], _T]) -> Renewed[_T]:
    return Renewed(make, tls.certificate, tls.key, tls.client_ca)


def context_of(tls: ServerTls) -> ssl.SSLContext:
    """Make a server's TLS context of what its files are now.

    Raises:
        SecretError: they do not fit one another, or cannot be read.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # ssl.SSLError is one
        raise SecretError(
            f"cannot load the certificate {tls.certificate}, its key, or its clients' CA: {error}"
        ) from None
    return context
