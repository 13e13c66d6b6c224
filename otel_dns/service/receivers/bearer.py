"""Who may send: a bearer token from a file, read anew when the file changes."""

import hmac

from otel_dns.service import secrets


class Bearer:
    """Compares what a sender shows with the token."""

    def __init__(self, path: str | None) -> None:
        """Read the token; without a path none is asked for.

        Raises:
            SecretError: the file cannot be read, or holds no token.
        """
        self._token = None if path is None else secrets.Renewed(lambda: secrets.token(path), path)

    @property
    def wanted(self) -> bool:
        """Whether a token is asked for at all."""
        return self._token is not None

    def shown(self, authorization: str) -> bool:
        """Whether a header ``authorization`` shows the token; never where none is asked for."""
        if self._token is None:
            return False
        self._token.renew()
        scheme, _, token = authorization.partition(" ")
        right = hmac.compare_digest(token.strip().encode("latin-1", "replace"),
                                    self._token.value.encode())  # fmt: skip
        return scheme.lower() == "bearer" and right
