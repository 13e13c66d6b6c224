"""Who may send: a bearer token from a file, read anew when the file changes."""

import hmac
import logging

from otel_dns.service import secrets

_log = logging.getLogger(__name__)


class Bearer:
    """Compares what a sender shows with the token."""

    def __init__(self, path: str | None) -> None:
        """Read the token.

        Raises:
            SecretError: the file cannot be read, or holds no token.
        """
        self._path = path
        self._watched = secrets.Watched(path)
        self._token = secrets.token(path) if path else ""

    @property
    def wanted(self) -> bool:
        """Whether a token is asked for at all."""
        return self._path is not None

    def shown(self, authorization: str) -> bool:
        """Whether a header ``authorization`` shows the token."""
        if self._path and self._watched.changed():
            try:
                self._token = secrets.token(self._path)
            except secrets.SecretError as error:
                _log.warning("%s; the token read before stays in use", error)
        scheme, _, token = authorization.partition(" ")
        right = hmac.compare_digest(token.strip().encode("latin-1", "replace"),
                                    self._token.encode())  # fmt: skip
        return scheme.lower() == "bearer" and right
