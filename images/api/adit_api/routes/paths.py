"""What the routes share: parameters, the job that a path names, and the problems that each may answer."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Depends, Path, Query
from pydantic import AwareDatetime, BeforeValidator

from adit.ledger.records import JobRecord
from adit.model.identifiers import Name
from adit_api.problems import MEDIA_TYPE, Problem, ProblemError, not_found
from adit_api.registry import FoundJob
from adit_api.services import Here

Namespace = Annotated[Name, Path(description="The namespace.", examples=["default"])]
JobName = Annotated[Name, Path(description="The TransferJob's name.", examples=["stroke-ct"])]
NodeName = Annotated[Name, Path(description="The DicomNode's name.", examples=["research"])]
ProfileName = Annotated[Name, Path(description="The DeidProfile's name.", examples=["research"])]
Limit = Annotated[int, Query(ge=1, le=500, description="How many a page has at most.", examples=[20])]
OfNamespace = Annotated[Name | None, Query(description="Only of this namespace.", examples=["default"])]
_NEXT: Final = "The `next` of the page before, to the same request."
_OF_A_JOB: Final = "WyJqIiwgIjIwMjYtMTEtMjRUMTA6MDA6MDArMDA6MDAiLCAiMGQ5ZjBiNmUtM2MxYy00ZjBlLTlhNTctMmYwYzVmNGY3YTExIl0"
JobCursor = Annotated[str | None, Query(max_length=400, description=_NEXT, examples=[_OF_A_JOB])]
TaskCursor = Annotated[str | None, Query(max_length=400, description=_NEXT, examples=["WyJ0IiwgIjQ3MTEiXQ"])]
ResourceCursor = Annotated[
    str | None, Query(max_length=400, description=_NEXT, examples=["WyJuIiwgImRlZmF1bHQiLCAicmVzZWFyY2giXQ"])
]


def _rfc3339(value: Any) -> Any:
    """pydantic also takes numbers of seconds, and dates without a zone."""
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("must be RFC 3339")
    return value


_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
Instant = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
Uid = Annotated[
    UUID | None,
    Query(
        description="Of several jobs that had the name one after the other, the one with this uid.",
        examples=["0d9f0b6e-3c1c-4f0e-9a57-2f0c5f4f7a11"],
    ),
]


def _known(here: Here, namespace: Namespace, name: JobName, uid: Uid = None) -> JobRecord:
    """The ledger's record. A 409 if there is a resource and the ledger does not know of it yet."""
    record = find_record(here, namespace, name, uid)
    if record is not None:
        return record
    if find_resource(here, namespace, name, uid) is not None:
        told = "The job was just created, and has no tasks yet. Try again in a second."
        raise ProblemError(409, "not-yet", told, headers={"Retry-After": "1"})
    raise not_found("TransferJob in that namespace")


Known = Annotated[JobRecord, Depends(_known)]


def find_record(here: Here, namespace: str, name: str, uid: UUID | None) -> JobRecord | None:
    """By name that of the resource which has it; also while that is deleted, and held by somebody's finalizer."""
    record = _find_record(here, namespace, name, uid)
    if record is None and uid is None:
        found = here.registry.find((namespace, name))
        if found is not None and found.uid is not None:
            return _find_record(here, namespace, name, UUID(found.uid))
    return record


def _find_record(here: Here, namespace: str, name: str, uid: UUID | None) -> JobRecord | None:
    record = here.ledger.job((namespace, name)) if uid is None else here.ledger.job_by_id(uid)
    return record if record is not None and record.job.key == (namespace, name) else None


def find_resource(here: Here, namespace: str, name: str, uid: UUID | None) -> FoundJob | None:
    """What the registry has under that name; with a `uid` only if it is that one."""
    found = here.registry.find((namespace, name))
    return found if found is None or uid is None or found.uid == str(uid) else None


_TOLD: Final = {
    400: "The body is no JSON.",
    401: "No token, or one that is unknown, expired or revoked.",
    403: "The token lacks the scope or the namespace; or the cluster forbids it.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "In conflict with what is there.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A rule is broken; `errors` or `code` says which.",
    429: "Too many requests; Retry-After says when.",
    500: "An error in ADIT itself.",
    502: "The node did not do what it was asked.",
    503: "The ledger, the cluster or the facade is not to be had; Retry-After says when.",
    504: "The node did not answer in time.",
}
_ALWAYS: Final = (401, 403, 422, 429, 500, 503)
BODY: Final = (400, 408, 413, 415)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's `responses`: these problems and those that every route may answer."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
    return {status: {"description": _TOLD[status], "content": content} for status in sorted({*_ALWAYS, *statuses})}
