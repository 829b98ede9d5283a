"""TransferJobs: create, list, show, steer. Resources go to the registry, everything told comes from the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Query, Response
from pydantic import Field

from adit.dispatch.accept import accept, can_wait
from adit.ledger.api_tokens import Scope
from adit.ledger.job_pages import JobFilter
from adit.ledger.records import JobSummary, TaskSeed
from adit.model.identifiers import Name
from adit.model.outcome import Fault
from adit.model.resource import ObjectMeta, Strict
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import (
    Cancel,
    JobReference,
    ListReference,
    Selection,
    TransferJob,
    TransferJobSpec,
)
from adit_api import cursors
from adit_api.bodies import body_of, described
from adit_api.callers import Caller, check_namespace, needs, visible
from adit_api.job_view import JobList, JobView, pending_view, view_of
from adit_api.problems import ProblemError, Violation, not_found, refused
from adit_api.registry import AlreadyThere, FoundJob, Key, NotThere, Steered
from adit_api.routes.paths import (
    BODY,
    Instant,
    JobCursor,
    JobName,
    Known,
    Limit,
    Namespace,
    OfNamespace,
    Uid,
    find_record,
    find_resource,
    problems,
)
from adit_api.services import Here, Services

router: Final = APIRouter(prefix="/v1/transferjobs", tags=["TransferJobs"])
_log = structlog.get_logger(__name__)

_LIST_SECONDS: Final = 7 * 86400


class NewMetadata(Strict):
    """Names only: labels and annotations are for those who write manifests."""

    name: Name = Field(description="Unique in the namespace. It stands in logs and metrics of a cluster: name nobody.")
    namespace: Name = Field(default="default", description="Where its DicomNodes are.")


class NewTransferJob(Strict):
    """A TransferJob as in YAML. Studies that it lists are kept in the ledger, and the resource only names the list."""

    api_version: Literal["adit.dev/v1alpha1"] = "adit.dev/v1alpha1"
    kind: Literal["TransferJob"] = "TransferJob"
    metadata: NewMetadata
    spec: TransferJobSpec


class Cancellation(Strict):
    """How to cancel."""

    mode: Cancel = Field(default=Cancel.TERMINATE, description="Drain lets running tasks finish; Terminate stops them.")


class RetryFailed(Strict):
    """The new job that tries again what failed."""

    name: Name = Field(description="The new job's name.")


_LISTED: Final = {
    "metadata": {"name": "stroke-ct"},
    "spec": {
        "source": {"node": "radiology-pacs"},
        "destination": {"node": "research"},
        "selection": {"list": {"name": "stroke-2026"}},
    },
}
_COPIES: Final = {
    "metadata": {"name": "stroke-copies"},
    "spec": {
        "source": {"node": "radiology-pacs"},
        "destination": {"node": "research"},
        "selection": {
            "studies": [
                {"studyInstanceUID": "1.2.840.113619.2.1.1", "patientID": "1003", "pseudonym": "STROKE-001"},
                {"studyInstanceUID": "1.2.840.113619.2.1.2"},
            ]
        },
        "deidentification": {"profile": "research"},
    },
}
_STUDIES: Final = {
    "metadata": {"name": "one-study", "namespace": "default"},
    "spec": {
        "source": {"node": "radiology-pacs"},
        "destination": {"node": "research"},
        "selection": {"studies": [{"studyInstanceUID": "1.2.840.113619.2.1.1", "patientID": "1003"}]},
        "priority": "High",
    },
}


@router.post(
    "",
    status_code=201,
    summary="Create a TransferJob",
    dependencies=[needs(Scope.WRITE)],
    responses={
        201: {"headers": {"Location": {"description": "Where the job is told of.", "schema": {"type": "string"}}}},
        **problems(*BODY, 404, 409),
    },
    openapi_extra=described(NewTransferJob, of_a_list=_LISTED, of_studies=_STUDIES, of_copies=_COPIES),
)
def create(
    here: Here, caller: Caller, response: Response, given: Annotated[NewTransferJob, body_of(NewTransferJob)]
) -> JobView:
    """Its nodes and its profile may come later: it waits for them. It is refused at once if it could never run."""
    check_namespace(here, caller, given.metadata.namespace)
    metadata = ObjectMeta(name=given.metadata.name, namespace=given.metadata.namespace)
    return _create(here, _job(metadata, given.spec), response)


@router.get("", summary="List TransferJobs", dependencies=[needs(Scope.READ)], responses=problems())
def list_jobs(
    here: Here,
    caller: Caller,
    namespace: OfNamespace = None,
    state: Annotated[JobState | None, Query(description="Only in this state.", examples=["InProgress"])] = None,
    owner: Annotated[Name | None, Query(description="Only of this owner.", examples=["stroke-team"])] = None,
    source: Annotated[Name | None, Query(description="Only from this node.", examples=["radiology-pacs"])] = None,
    destination: Annotated[Name | None, Query(description="Only to this node.", examples=["research"])] = None,
    created_after: Annotated[
        Instant | None,
        Query(alias="createdAfter", description="Created then or later (RFC 3339).", examples=["2026-11-24T00:00:00Z"]),
    ] = None,
    created_before: Annotated[
        Instant | None,
        Query(alias="createdBefore", description="Created before then (RFC 3339).", examples=["2026-12-01T00:00:00Z"]),
    ] = None,
    deleted: Annotated[bool, Query(description="Also those whose resource is gone.", examples=[True])] = False,
    limit: Limit = 50,
    cursor: JobCursor = None,
) -> JobList:
    """Newest first, of all namespaces that the token may see."""
    namespaces = visible(here, caller)
    if namespace is not None:
        check_namespace(here, caller, namespace)
        namespaces = frozenset({namespace})
    wanted = JobFilter(
        namespaces, state, owner, source, destination, _instant(created_after), _instant(created_before), deleted
    )
    page = here.ledger.job_page(wanted, cursors.job_of(cursor), limit)
    following = None if page.next is None else cursors.of_job(page.next)
    return JobList(items=tuple(view_of(summary) for summary in page.summaries), next=following)


@router.get(
    "/{namespace}/{name}", summary="Show a TransferJob", dependencies=[needs(Scope.READ)], responses=problems(404)
)
def show(here: Here, namespace: Namespace, name: JobName, uid: Uid = None) -> JobView:
    """Where it stands, and its three most frequent faults."""
    return tell(here, (namespace, name), uid)


@router.post(
    "/{namespace}/{name}/cancel",
    summary="Cancel a TransferJob",
    dependencies=[needs(Scope.WRITE)],
    responses=problems(*BODY, 404, 409),
    openapi_extra=described(
        Cancellation, required=False, stop={"mode": "Terminate"}, let_running_tasks_finish={"mode": "Drain"}
    ),
)
def cancel(
    here: Here,
    namespace: Namespace,
    name: JobName,
    given: Annotated[Cancellation, body_of(Cancellation, absent=Cancellation())],
) -> JobView:
    """For good; without a body by Terminate. What was sent already stays where it is.

    Drain may become Terminate, never the other way round.
    """
    return _steer(here, (namespace, name), "cancel", str(given.mode))


@router.post(
    "/{namespace}/{name}/suspend",
    summary="Suspend a TransferJob",
    dependencies=[needs(Scope.WRITE)],
    responses=problems(404, 409),
)
def suspend(here: Here, namespace: Namespace, name: JobName) -> JobView:
    """Start no more of its tasks; running ones finish."""
    return _steer(here, (namespace, name), "suspend", True)


@router.post(
    "/{namespace}/{name}/resume",
    summary="Resume a TransferJob",
    dependencies=[needs(Scope.WRITE)],
    responses=problems(404, 409),
)
def resume(here: Here, namespace: Namespace, name: JobName) -> JobView:
    """Let a suspended job go on."""
    return _steer(here, (namespace, name), "suspend", None)


@router.post(
    "/{namespace}/{name}/retry-failed",
    status_code=201,
    summary="Try again what failed, as a new TransferJob",
    dependencies=[needs(Scope.WRITE)],
    responses=problems(*BODY, 404, 409),
    openapi_extra=described(RetryFailed, again={"name": "stroke-ct-again"}),
)
def retry_failed(
    here: Here, record: Known, response: Response, given: Annotated[RetryFailed, body_of(RetryFailed)]
) -> JobView:
    """The same nodes, profile, trial, owner and priority; what arrived already is not sent again. The old job stays."""
    if record.deleted_at is not None:
        raise ProblemError(409, "conflict", "That job was deleted: nothing can be named after it. Create a new one.")
    if record.ended_at is None:
        raise ProblemError(409, "not-finished", "Wait until the job has finished, or cancel it.")
    if record.refusal is None and not here.ledger.task_page(record.id, TaskState.FAILURE, 0, 1):
        raise ProblemError(409, "conflict", "Nothing failed in that job: there is nothing to try again.")
    old = record.job
    if given.name == old.metadata.name:
        raise AlreadyThere("TransferJob")
    kept = (
        "source",
        "destination",
        "deidentification",
        "trial",
        "owner",
        "priority",
        "parallelism",
        "retry",
        "retention",
    )
    spec = TransferJobSpec(
        selection=Selection(failed_of=JobReference(name=old.metadata.name)),
        **{name: getattr(old.spec, name) for name in kept if name in old.spec.model_fields_set},
    )
    metadata = ObjectMeta(name=given.name, namespace=old.metadata.namespace)
    return _create(here, _job(metadata, spec), response)


def tell(here: Services, key: Key, uid: UUID | None = None) -> JobView:
    """Raises ProblemError if there is no such job, in the ledger or as a resource that it does not know of yet."""
    record = find_record(here, *key, uid)
    if record is not None:
        summary = here.ledger.summary(record.id)
        return view_of(summary, waits_for=_waits_for(here, summary))
    found = find_resource(here, *key, uid)
    if found is None:
        raise not_found("TransferJob in that namespace")
    return pending_view(found, _fault(here, found.job))


def _job(metadata: ObjectMeta, spec: TransferJobSpec) -> TransferJob:
    """Raises ProblemError where name and spec do not go together."""
    named = spec.selection.failed_of
    if named is not None and named.name == metadata.name:
        broken = Violation(field="spec.selection.failedOf.name", rule="must name another job, one that has ended")
        raise ProblemError(422, "invalid", "The body breaks the rules in `errors`.", errors=[broken])
    return TransferJob(metadata=metadata, spec=spec)


def _create(here: Services, job: TransferJob, response: Response) -> JobView:
    job = _without_studies(here, job)
    fault = _fault(here, job)
    if fault is not None and not can_wait(fault):
        raise refused(fault)
    found = here.registry.create(job)
    _leave_to_the_new(here, found)
    _log.info("job created", namespace=job.metadata.namespace, name=job.metadata.name)
    response.headers["Location"] = f"/v1/transferjobs/{job.metadata.namespace}/{job.metadata.name}"
    return pending_view(found, fault)


def _leave_to_the_new(here: Services, found: FoundJob) -> None:
    """An older job of that name is gone, or there could be no new one: nobody may take its end for the new one's."""
    older = here.ledger.job(found.job.key)
    if older is not None and found.uid is not None and str(older.id) != found.uid:
        here.ledger.delete_job(older.id, here.clock())


def _without_studies(here: Services, job: TransferJob) -> TransferJob:
    """Studies may come with patients' ids: they are kept in the ledger, and the resource names them as a list."""
    studies = job.spec.selection.studies
    if studies is None:
        return job
    lines = [
        TaskSeed(each.study_instance_uid, each.patient_id, each.series_instance_uids, each.pseudonym)
        for each in studies
    ]
    now = here.clock()
    kept, _ = here.ledger.add_selection(
        job.metadata.namespace, None, lines, now + timedelta(seconds=_LIST_SECONDS), now
    )
    selection = Selection(listed=ListReference(id=str(kept.id)))
    return job.model_copy(update={"spec": job.spec.model_copy(update={"selection": selection})})


def _fault(here: Services, job: TransferJob) -> Fault | None:
    namespace, selection = job.metadata.namespace, job.spec.selection
    keys = [(namespace, job.spec.source.node), (namespace, job.spec.destination.node)]
    nodes = {key: node for key in keys if (node := here.ledger.node(key)) is not None}
    failed_job = here.ledger.job((namespace, selection.failed_of.name)) if selection.failed_of else None
    listed = here.ledger.selection(namespace, selection.listed) if selection.listed else None
    asked = job.spec.deidentification
    key = None if asked is None else (namespace, asked.profile)
    profiles = {key} if key is not None and here.ledger.profile(key) is not None else ()
    return accept(job, nodes, failed_job, listed, profiles=profiles, find_job=here.ledger.job)


def _waits_for(here: Services, summary: JobSummary) -> Fault | None:
    """What keeps it from having its tasks, as the dispatcher finds it too."""
    record = summary.record
    if record.expanded_at is not None or record.ended_at is not None or summary.tasks:
        return None
    return _fault(here, record.job)


def _steer(here: Services, key: Key, field: Steered, value: Any) -> JobView:
    record = find_record(here, *key, None)
    if record is not None and record.deleted_at is not None:
        raise ProblemError(409, "conflict", "The job was deleted: its work is being stopped, or has ended.")
    if record is not None and record.ended_at is not None:
        raise ProblemError(409, "finished", "A finished job is frozen. What failed can be tried again: retry-failed.")
    found: FoundJob | None = None
    try:
        found = here.registry.change(key, field, value)
    except NotThere:
        if record is None:
            raise
        raise ProblemError(409, "conflict", "The job's resource is gone; the ledger will stop its work.") from None
    _log.info("job steered", namespace=key[0], name=key[1], field=field)
    if record is None:
        return pending_view(found)
    return view_of(here.ledger.summary(record.id), found.job)


def _instant(value: datetime | None) -> datetime | None:
    """Within what Postgres can hold."""
    return None if value is None else max(value, datetime(1970, 1, 2, tzinfo=UTC))
