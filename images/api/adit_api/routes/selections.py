"""Selections: up to 50,000 studies that are kept in the ledger, so that identifiers never enter the cluster."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Path, Response
from pydantic import Field, field_validator

from adit.ledger.api_tokens import Scope
from adit.ledger.records import SelectionRecord, TaskSeed
from adit.model.identifiers import Name
from adit.model.resource import Strict
from adit.model.transfer_job import ListReference, StudySelection
from adit_api.bodies import LARGE, body_of, described
from adit_api.callers import Caller, check_namespace, needs
from adit_api.job_view import View
from adit_api.problems import not_found
from adit_api.routes.paths import BODY, Namespace, problems
from adit_api.services import Here

router: Final = APIRouter(prefix="/v1/selections", tags=["Selections"])
_log = structlog.get_logger(__name__)

MAX_ROWS: Final = 50_000


class NewSelection(Strict):
    """Studies to be named by a TransferJob. It cannot be changed."""

    namespace: Name = Field(default="default", description="Jobs of this namespace may name it.")
    name: Name | None = Field(
        default=None, description="Unique in the namespace. It will stand in the cluster: name nobody."
    )
    studies: Annotated[tuple[StudySelection, ...], Field(min_length=1, max_length=MAX_ROWS)] = Field(
        description="Each study once."
    )
    expires_after_seconds: Annotated[int, Field(ge=60, le=30 * 86400)] = Field(
        default=7 * 86400, description="When it is forgotten if no job has used it by then."
    )

    @field_validator("studies")
    @classmethod
    def _each_once(cls, value: tuple[StudySelection, ...]) -> tuple[StudySelection, ...]:
        first: dict[str, int] = {}
        for index, study in enumerate(value):
            before = first.setdefault(study.study_instance_uid, index)
            if before != index:
                raise ValueError(f"must name each study once, but {before} and {index} are the same")
        return value


class SelectionView(View):
    """A selection without its studies, which are told to nobody."""

    id: str
    namespace: str
    name: str | None = None
    size: int = Field(description="How many studies it has.")
    pseudonyms: int = Field(description="How many of them ask for a de-identified copy.")
    without_patient_id: int = Field(alias="withoutPatientID", description="How many of them have no patientID.")
    created_at: datetime
    expires_at: datetime = Field(description="When it is forgotten if no job has used it.")
    used_at: datetime | None = Field(default=None, description="When a job first used it; it stays from then on.")

    @staticmethod
    def of(record: SelectionRecord) -> SelectionView:
        values: dict[str, Any] = {name: getattr(record, name) for name in SelectionView.model_fields if name != "id"}
        return SelectionView(id=str(record.id), **values)


_EXAMPLE: Final = {
    "name": "stroke-2026",
    "studies": [
        {"studyInstanceUID": "1.2.840.113619.2.1.1", "patientID": "1003"},
        {"studyInstanceUID": "1.2.840.113619.2.1.2", "seriesInstanceUIDs": ["1.2.840.113619.2.1.2.1"]},
    ],
}


@router.post(
    "",
    status_code=201,
    summary="Keep a selection",
    dependencies=[needs(Scope.WRITE)],
    responses={
        200: {"description": "The same studies are kept under that name already.", "model": SelectionView},
        **problems(*BODY, 409),
    },
    openapi_extra=described(NewSelection, two_studies=_EXAMPLE),
)
def create(
    here: Here, caller: Caller, response: Response, given: Annotated[NewSelection, body_of(NewSelection, most=LARGE)]
) -> SelectionView:
    """Then create a TransferJob with `selection: {list: {name: …}}` or `{list: {id: …}}`.

    With a name it may be posted again: the same studies are the same selection.
    """
    check_namespace(here, caller, given.namespace)
    now = here.clock()
    lines = [
        TaskSeed(each.study_instance_uid, each.patient_id, each.series_instance_uids, each.pseudonym)
        for each in given.studies
    ]
    expires_at = now + timedelta(seconds=given.expires_after_seconds)
    record, new = here.ledger.add_selection(given.namespace, given.name, lines, expires_at, now)
    if not new:
        response.status_code = 200
    _log.info("selection kept", namespace=record.namespace, id=str(record.id), size=record.size, new=new)
    response.headers["Location"] = f"/v1/selections/{record.namespace}/{record.id}"
    return SelectionView.of(record)


@router.get("/{namespace}/{id}", summary="Show a selection", dependencies=[needs(Scope.READ)], responses=problems(404))
def show(
    here: Here,
    namespace: Namespace,
    identity: Annotated[
        UUID, Path(alias="id", description="The selection's id.", examples=["8c5f5f0e-7d43-4a39-bd47-5f5a1f0f4b32"])
    ],
) -> SelectionView:
    """How many studies it has, and whether it was used; the studies themselves are not shown."""
    record = here.ledger.selection(namespace, ListReference(id=str(identity)))
    if record is None:
        raise not_found("selection in that namespace; unused ones expire")
    return SelectionView.of(record)
