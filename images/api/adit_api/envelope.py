"""What surrounds every request: its id, its line in the log, its headers, and the net below everything.

Plain ASGI around the whole application, so that nothing gets out without it.
"""

from __future__ import annotations

import re
import time
from typing import Any, Final
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adit_api.log import happening
from adit_api.metrics import METHODS, REQUESTS, SECONDS
from adit_api.problems import problem_of

_log = structlog.get_logger(__name__)

_SANE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Envelope:
    """The outermost application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request=request_id)
        begun = time.monotonic()
        status = 0
        kind = b""

        async def send_dressed(message: Message) -> None:
            nonlocal status, kind
            if message["type"] == "http.response.start":
                status = message["status"]
                given = list(message.get("headers", ()))
                names = {name for name, _ in given}
                kind = next((value for name, value in given if name == b"content-type"), b"")
                extra = [(b"x-request-id", request_id.encode()), *_HEADERS]
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*given, *(pair for pair in extra if pair[0] not in names)]}
            await send(message)

        try:
            await self._app(scope, receive, send_dressed)
        except Exception as error:  # noqa: BLE001 - the net: nothing is told of what nobody foresaw
            _log.error("request failed", **happening(error))
            if not status:
                await problem_of(error).response(request_id)(scope, receive, send_dressed)
            # else the answer is cut off, which every client can tell from its end
        finally:
            _account(scope, status, kind, time.monotonic() - begun)
            structlog.contextvars.clear_contextvars()


def _request_id(scope: Scope) -> str:
    """The caller's, if it looks like one; it will stand in the log."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    text: str = given.decode("latin-1")
    return text if _SANE_ID.fullmatch(text) else uuid4().hex


def _account(scope: Scope, status: int, kind: bytes, seconds: float) -> None:
    """By the route's template: a path that is none of ours may hold anything."""
    route: Any = scope.get("route")
    path = str(getattr(route, "path", "")) or "(none)"
    method = scope["method"] if scope["method"] in METHODS else "(other)"
    REQUESTS.labels(method, path, str(status)).inc()
    if not kind.startswith(b"text/event-stream"):
        SECONDS.labels(path).observe(seconds)
    if path not in _QUIET:
        caller = scope["state"].get("caller")
        _log.info(
            "request",
            method=method,
            route=path,
            status=status,
            seconds=round(seconds, 3),
            token=getattr(caller, "name", None),
        )
