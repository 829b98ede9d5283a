"""Every error as an RFC 9457 problem: what is wrong and what to do, never a value that somebody sent.

Raised by the routes as `ProblemError`; `handlers` turn whatever else is raised into one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from adit.ledger.connection import LedgerError, LedgerUnavailable
from adit.ledger.resources import ResourceConflict
from adit.model.outcome import Fault, FaultCode
from adit.model.problem_text import describe, is_echo, known_fields
from adit.model.yaml_document import Document, field_path
from adit_api.log import happening
from adit_api.registry import AlreadyThere, KeptInGit, NotThere, RegistryRefused, RegistryUnavailable

MEDIA_TYPE: Final = "application/problem+json"
_SHOWN: Final = 50
_LEDGER_RETRY: Final = 5
_log = structlog.get_logger(__name__)

TITLES: Final = {
    "malformed": "The body cannot be read",
    "invalid": "The request breaks a rule",
    "unauthenticated": "A valid token is needed",
    "forbidden": "The token may not do that",
    "not-found": "There is no such thing",
    "method-not-allowed": "That method is not served here",
    "timeout": "The body did not come in time",
    "exists": "There is one of that name",
    "conflict": "It may not be changed like this",
    "kept-in-git": "It is kept in git",
    "finished": "The job has finished",
    "not-finished": "The job has not finished",
    "not-yet": "The ledger does not know the job yet",
    "refused": "It cannot run",
    "refused-by-cluster": "The cluster refused it",
    "too-large": "The body is too large",
    "unsupported-media-type": "The body must be JSON",
    "too-many-requests": "Too many requests",
    "node": "The node did not do what it was asked",
    "node-timeout": "The node did not answer in time",
    "busy": "Too much at once",
    "unavailable": "Try again later",
    "unexpected": "An error in ADIT itself",
}
"""Every kind of problem, the last part of its `type`; docs/api.md lists them all."""


class Violation(BaseModel):
    """One rule that the request breaks."""

    model_config = ConfigDict(frozen=True)

    field: str = Field(
        description="Where, such as spec.selection.studies[3].studyInstanceUID, or: the body.", max_length=2000
    )
    rule: str = Field(description="The rule, such as: must be a whole number.")


class Problem(BaseModel):
    """An RFC 9457 problem. It repeats nothing that was sent but the names of fields."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="urn:adit:problem: and the kind; docs/api.md lists them.")
    title: str
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What is wrong, and what to do.")
    requestId: str = Field(description="Stands in the log too.")  # noqa: N815 - as it is sent
    errors: list[Violation] | None = Field(default=None, description="Each rule that the request breaks, up to 50.")
    code: FaultCode | None = Field(default=None, description="The fault's code, docs/faults.md.")


class ProblemError(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Violation] = (),
        code: FaultCode | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)
        self.code = code
        self.headers = dict(headers or {})

    def problem(self, request_id: str) -> Problem:
        return Problem(
            type=f"urn:adit:problem:{self.kind}",
            title=TITLES[self.kind],
            status=self.status,
            detail=self.detail,
            requestId=request_id,
            errors=self.errors[:_SHOWN] or None,
            code=self.code,
        )

    def response(self, request_id: str) -> JSONResponse:
        content = self.problem(request_id).model_dump(mode="json", exclude_none=True)
        return JSONResponse(content, self.status, self.headers, media_type=MEDIA_TYPE)


def not_found(what: str) -> ProblemError:
    return ProblemError(404, "not-found", f"There is no such {what}.")


def refused(fault: Fault) -> ProblemError:
    """A job that cannot run as things stand."""
    return ProblemError(422, "refused", f"{fault.message} {fault.cure}".strip(), code=fault.code)


def violations(error: ValidationError, model: type[BaseModel]) -> ProblemError:
    """A body that is no JSON, or breaks rules of its model."""
    errors = error.errors(include_url=False)
    if errors[0]["type"] == "json_invalid":
        return ProblemError(400, "malformed", "The body must be one JSON document in UTF-8.")
    found = [_violation(each, model) for each in errors if not is_echo(each)]
    return ProblemError(422, "invalid", "The body breaks the rules in `errors`.", errors=found)


def _violation(error: ErrorDetails, model: type[BaseModel]) -> Violation:
    place, rule, _ = describe(error, Document(1), model)
    if error["type"] == "extra_forbidden":
        place = place[:-1]  # what is wrong may be anything, a patient's id too
        rule = f"has a field that it does not know: it may have {', '.join(known_fields(place, model)) or 'none'}"
    if error["type"] == "value_error":
        rule = rule.partition(" (")[0]
    return Violation(field=field_path(place) or "the body", rule=rule)


def _in_parameters(error: Any) -> Violation:
    kind, context = error["type"], error.get("ctx") or {}
    rules = {
        "missing": "is required",
        "enum": f"must be {context.get('expected')}",
        "literal_error": f"must be {context.get('expected')}",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "string_too_long": f"must be at most {context.get('max_length')} characters long",
        "string_too_short": f"must be at least {context.get('min_length')} characters long",
        "extra_forbidden": "is not a parameter",
    }
    # pydantic's messages begin with a rule, and may go on with what was found
    own = "must be as the document says" if kind in ("value_error", "assertion_error") else str(error["msg"])
    rule = rules.get(kind) or own.partition(", ")[0]
    where = [str(step) for step in error["loc"]]
    if kind == "extra_forbidden":
        where = where[:-1]
    return Violation(field=".".join(where)[:200], rule=rule)


def problem_of(error: Exception) -> ProblemError:
    """What the caller is told of an exception."""
    match error:
        case ProblemError():
            return error
        case RequestValidationError():
            found = [_in_parameters(each) for each in error.errors()]
            return ProblemError(422, "invalid", "The request breaks the rules in `errors`.", errors=found)
        case HTTPException():
            return _of_http(error)
        case LedgerUnavailable():
            return ProblemError(
                503, "unavailable", "The ledger cannot be reached.", headers={"Retry-After": str(_LEDGER_RETRY)}
            )
        case RegistryUnavailable():
            return ProblemError(
                503,
                "unavailable",
                "The Kubernetes API server cannot be reached, or asks for patience. It may have been done.",
                headers={"Retry-After": str(error.retry_after)},
            )
        case RegistryRefused():
            found = [Violation(field=field, rule="is refused by the API server") for field in error.fields]
            return ProblemError(error.status, "refused-by-cluster", error.told, errors=found)
        case NotThere():
            return not_found(f"{error.kind} in that namespace")
        case AlreadyThere():
            return ProblemError(
                409, "exists", f"There is a {error.kind} of that name in that namespace. Choose another."
            )
        case KeptInGit():
            return ProblemError(409, "kept-in-git", str(error))
        case ResourceConflict():
            return ProblemError(
                409,
                "conflict",
                f"{error.field}: {error.message}.",
                errors=[Violation(field=error.field, rule=error.message)],
            )
    return ProblemError(500, "unexpected", "An error in ADIT itself. Report it with the request's id.")


def _of_http(error: HTTPException) -> ProblemError:
    """Starlette's own: unknown paths and methods."""
    kinds = {404: "not-found", 405: "method-not-allowed"}
    details = {
        404: "There is nothing at that path. /openapi.json lists all that there is.",
        405: "The path is right, the method is not. The Allow header lists those that are.",
    }
    kind = kinds.get(error.status_code, "invalid" if error.status_code < 500 else "unexpected")
    detail = details.get(error.status_code, TITLES[kind] + ".")
    return ProblemError(error.status_code, kind, detail, headers=error.headers)


async def handle(request: Request, error: Exception) -> JSONResponse:
    """The handler of every exception that has a problem of its own."""
    problem = problem_of(error)
    if isinstance(error, LedgerUnavailable):
        _log.warning("ledger unavailable", sqlstate=error.sqlstate)
    elif problem.status >= 500 and not isinstance(error, ProblemError):
        _log.error("request failed", **happening(error))
    return problem.response(request.state.request_id)


async def answer_unforeseen(request: Request, error: Exception) -> JSONResponse:
    """Starlette raises it again after this answer, and `adit_api.envelope` logs it."""
    return problem_of(error).response(request.state.request_id)


HANDLED: Final[tuple[type[Exception], ...]] = (
    ProblemError,
    RequestValidationError,
    HTTPException,
    LedgerUnavailable,
    LedgerError,
    RegistryUnavailable,
    RegistryRefused,
    NotThere,
    AlreadyThere,
    KeptInGit,
    ResourceConflict,
)
"""What `handle` is registered for; anything else is caught by `adit_api.envelope`."""
