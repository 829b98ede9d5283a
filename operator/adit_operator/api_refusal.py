"""What an answer of the API server means: each refusal by status and reason, never by a message's text. Pure.

Used by `KubernetesApi`, which raises what is told here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from adit_operator.api_request import Object, Request

_FIELD: Final = re.compile(r"[A-Za-z0-9._/\[\]-]{1,200}")
_REASON: Final = re.compile(r"[A-Za-z]{1,40}")
_MOST_CAUSES: Final = 5


class Refusal(StrEnum):
    """Why the API server did not do it. Bound to status codes and reasons, never to a message's text."""

    ALREADY_EXISTS = "AlreadyExists"
    CONFLICT = "Conflict"  # any other 409: a stale resourceVersion, another uid
    NOT_FOUND = "NotFound"  # the object, its namespace, or the kind itself
    FORBIDDEN = "Forbidden"  # RBAC: we lack the right
    NOT_ADMITTED = "NotAdmitted"  # we have the right; a quota, webhook or policy said no, or the namespace is ending
    INVALID = "Invalid"
    TOO_MANY_REQUESTS = "TooManyRequests"  # it did not happen
    GONE = "Gone"
    UNAVAILABLE = "Unavailable"  # no answer, 5xx or 401: it may or may not have happened


class ApiRefused(Exception):  # noqa: N818
    """A request that the API server did not fulfil.

    `str()` of it is fit for logs. `message` is the server's own words: it can hold names, so it may be
    logged at debug level only. `code` is the HTTP status, None if there was no answer. `fields` are
    paths of what is invalid, each with its reason and without its value.
    """

    def __init__(
        self,
        what: str,
        refusal: Refusal,
        *,
        code: int | None = None,
        retry_after: float | None = None,
        message: str = "",
        fields: Sequence[str] = (),
    ) -> None:
        super().__init__(f"The API server did not {what}: {refusal} ({code or 'no answer'}).")
        self.refusal = refusal
        self.code = code
        self.retry_after = retry_after
        self.message = message
        self.fields = tuple(fields)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Object
    retry_after: float | None


class ObjectMissing(ApiRefused):
    """NOT_FOUND, said of the very object that was asked for."""


def refusal_of(answer: Answer) -> Refusal:
    match answer.code:
        case 403:
            return Refusal.FORBIDDEN
        case 404:
            return Refusal.NOT_FOUND
        case 409:
            exists = answer.body.get("reason") == "AlreadyExists"
            return Refusal.ALREADY_EXISTS if exists else Refusal.CONFLICT
        case 410:
            return Refusal.GONE
        case 429:
            return Refusal.TOO_MANY_REQUESTS
        case 400 | 422 if _was_judged(answer.body):
            return Refusal.NOT_ADMITTED
        case code if 402 <= code < 500 or code == 400:
            return Refusal.INVALID
        case _:
            return Refusal.UNAVAILABLE


def _was_judged(status: Mapping[str, Any]) -> bool:
    """Whether a webhook or an admission policy refused, not the API server itself.

    The server gives its own 400 and 422 a reason, and each cause of a 422 a reason and a field. Webhooks
    that say no more than no have no reason; causes of a ValidatingAdmissionPolicy are messages only.
    """
    if not status.get("reason"):
        return True
    causes = (status.get("details") or {}).get("causes") or ()
    return bool(causes) and not any(cause.get("reason") or cause.get("field") for cause in causes)


def invalid_fields(answer: Answer) -> tuple[str, ...]:
    """Which fields the server found invalid, and why, in its words for programs. Its words for people hold values."""
    details = answer.body.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    told: dict[str, None] = {}  # each once, in their order
    for cause in causes if isinstance(causes, list) else ():
        field, reason = (
            (str(cause.get(key, "")) for key in ("field", "reason")) if isinstance(cause, dict) else ("", "")
        )
        if _FIELD.fullmatch(field):
            told[f"{field} ({reason})" if _REASON.fullmatch(reason) else field] = None
    return tuple(told)[:_MOST_CAUSES]


def is_object_missing(request: Request, answer: Answer) -> bool:
    """A kind that is not served gives a 404 too, and must not pass for an object that is gone."""
    return request.name is not None and (answer.body.get("details") or {}).get("name") == request.name


def parse(text: bytes, code: int) -> Object:
    """A success must be an object; what a proxy says of a failure may be anything."""
    try:
        body = json.loads(text)
    except ValueError:
        if code < 300:
            raise
        return {}
    if isinstance(body, dict):
        return body
    if code < 300:
        raise ValueError("not an object")
    return {}


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """In seconds; the API server sends no dates."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isdigit() else None
