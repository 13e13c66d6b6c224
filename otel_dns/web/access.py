"""Who may see what: tokens, and the namespaces to which one can be bound."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_SHORTEST: Final = 16
"""Characters of a token: what is shorter can be guessed."""


class TokensError(ValueError):
    """A file of tokens that cannot be used."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What one asker may see."""

    namespaces: frozenset[str] | None = None
    """Kubernetes namespaces whose lookups are shown; None: all of them, and the service itself."""

    @property
    def everything(self) -> bool:
        """Whether nothing is hidden."""
        return self.namespaces is None


EVERYTHING: Final = Scope()


class Tokens:
    """The tokens of a file, kept as digests.

    One a line: the token, and behind it the namespaces to which it is bound, separated by commas
    or spaces; without any it sees everything. Empty lines and comments (``#``) are left out::

        3f1c9a6be0d24c53a7aa5d3f
        6d0e7b5c52f94d0c8f3b6d1e  shop,payments
    """

    def __init__(self, scopes: Mapping[bytes, Scope]) -> None:
        self._scopes = dict(scopes)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of tokens.

        Raises:
            TokensError: it cannot be read, has none, or has one that is too short.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TokensError(f"cannot read the tokens: {error}") from None
        scopes: dict[bytes, Scope] = {}
        for number, line in enumerate(lines, 1):
            words = line.replace(",", " ").split()
            if not words or words[0].startswith("#"):
                continue
            token, *namespaces = words
            if len(token) < _SHORTEST:
                raise TokensError(
                    f"{path}, line {number}: a token of fewer than {_SHORTEST} characters can be"
                    " guessed; make one with `openssl rand -hex 16`"
                )
            scopes[_digest(token)] = Scope(frozenset(namespaces) if namespaces else None)
        if not scopes:
            raise TokensError(f"{path} has no token; make one with `openssl rand -hex 16`")
        return cls(scopes)

    def scope_of(self, token: str) -> Scope | None:
        """What a token allows; None for one that is not known."""
        asked = _digest(token)
        found = None
        for digest, scope in self._scopes.items():  # all of them: time tells nothing
            if hmac.compare_digest(digest, asked):
                found = scope
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
