"""Who calls, and whether they may: bearer tokens, their scopes and namespaces, and how often they may call."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItem

from adit.ledger.api_tokens import Scope
from adit.ledger.records import TokenRecord
from adit_api.metrics import REFUSED
from adit_api.problems import ProblemError, Violation
from adit_api.services import Here, Services

_SCHEME: Final = HTTPBearer(
    auto_error=False, scheme_name="token", description="Made by `adit token create`; docs/api.md."
)


def _caller(
    request: Request,
    here: Here,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_SCHEME)],
) -> TokenRecord:
    token = None if credentials is None else here.ledger.token(credentials.credentials, here.clock())
    if token is None:
        REFUSED.labels("unauthenticated").inc()
        address = request.client.host if request.client else ""
        _count(here, here.settings.wrong_token_rate(), f"address:{address}")
        told = "Send `Authorization: Bearer TOKEN`." if credentials is None else "It is unknown, expired or revoked."
        raise ProblemError(401, "unauthenticated", told, headers={"WWW-Authenticate": "Bearer"})
    request.state.caller = token
    _count(here, here.settings.rate(), f"token:{token.name}")
    return token


Caller = Annotated[TokenRecord, Depends(_caller)]


def needs(scope: Scope) -> Any:
    """A route's dependency: the token has the scope, and may use the namespace in the path if there is one."""

    def check(request: Request, here: Here, caller: Caller) -> None:
        if not {scope, Scope.ADMIN} & caller.scopes:
            REFUSED.labels("scope").inc()
            raise ProblemError(403, "forbidden", f"The token lacks the scope {scope}.")
        _know_parameters(request)
        namespace = request.path_params.get("namespace")
        if namespace is not None:
            check_namespace(here, caller, str(namespace))
        if scope is Scope.FIND:
            _count(here, here.settings.node_rate(), f"nodes:{caller.name}")

    return Depends(check)


def _know_parameters(request: Request) -> None:
    """A filter with a typing error must not pass for no filter. Raises ProblemError."""
    known = request.app.state.parameters.get((request.scope["route"].path, request.method), frozenset())
    if not known.issuperset(request.query_params):
        rule = f"must hold none but {', '.join(sorted(known))}" if known else "must be empty"
        raise ProblemError(422, "invalid", "There is no such parameter.", errors=[Violation(field="query", rule=rule)])


def check_namespace(here: Services, caller: TokenRecord, namespace: str) -> None:
    """Before anything is looked up, so that nothing is told of what is in there. Raises ProblemError."""
    allowed = visible(here, caller)
    if allowed is not None and namespace not in allowed:
        REFUSED.labels("namespace").inc()
        raise ProblemError(403, "forbidden", "The token, or this facade, does not serve that namespace.")


def visible(here: Services, caller: TokenRecord) -> frozenset[str] | None:
    """The namespaces that the caller may see; None: all."""
    served, own = here.settings.served, caller.namespaces
    if served is None or own is None:
        return own if served is None else served
    return served & own


def _count(here: Services, limit: RateLimitItem, key: str) -> None:
    if here.limiter.hit(limit, key):
        return
    REFUSED.labels("rate").inc()
    seconds = max(1, math.ceil(here.limiter.get_window_stats(limit, key).reset_time - time.time()))
    told = f"At most {limit.amount} in {limit.get_expiry()} s. Wait for {seconds} s."
    raise ProblemError(429, "too-many-requests", told, headers={"Retry-After": str(seconds)})
