"""Who asks: what a request's token may see."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from otel_dns.web.access import EVERYTHING, Scope

_bearer = HTTPBearer(auto_error=False, description="A token of --token-file.")


def _scope(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Scope:
    tokens = request.app.state.tokens
    if tokens is None:
        return EVERYTHING
    scope: Scope | None = tokens.scope_of(given.credentials) if given else None
    if scope is None:
        raise HTTPException(
            401, "a token is needed: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )
    return scope


ScopeOf = Annotated[Scope, Depends(_scope)]
