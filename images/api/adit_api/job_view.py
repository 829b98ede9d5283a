"""Jobs as the facade tells them: where they stand by the ledger's rows, never what a selection holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from adit.ledger.records import JobSummary
from adit.model.outcome import Fault
from adit.model.state import JobState, TaskState
from adit.model.status import InstanceCounts, TaskCounts
from adit.model.transfer_job import Cancel, Priority, ProfileReference, Selection, TransferJob, Trial
from adit_api.registry import FoundJob


class View(BaseModel):
    """A part of an answer: camelCase outside."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class FaultView(View):
    """What went wrong, where, and the cure (docs/faults.md)."""

    code: str
    message: str
    cure: str = ""
    node: str | None = None
    sop_instance_uid: str | None = Field(default=None, alias="sopInstanceUID")
    status: int | None = Field(default=None, description="The DIMSE status, where a peer gave one.")

    @staticmethod
    def of(fault: Fault) -> FaultView:
        return FaultView(**fault.model_dump(mode="json"))


class SelectionSource(View):
    """Where the job's tasks come from."""

    kind: Literal["studies", "list", "failedOf"]
    studies: int | None = Field(default=None, description="How many studies the resource itself names.")
    name: str | None = Field(default=None, description="Of the list, or of the job that is retried.")
    id: str | None = Field(default=None, description="Of the list.")

    @staticmethod
    def of(selection: Selection) -> SelectionSource:
        if selection.listed is not None:
            return SelectionSource(kind="list", name=selection.listed.name, id=selection.listed.id)
        if selection.failed_of is not None:
            return SelectionSource(kind="failedOf", name=selection.failed_of.name)
        return SelectionSource(kind="studies", studies=len(selection.studies or ()))


class FailureView(View):
    """One kind of fault, and how many tasks it ended."""

    code: str
    count: int
    example: str


class JobView(View):
    """A TransferJob."""

    namespace: str
    name: str
    uid: str | None = Field(default=None, description="The resource's, which its record keeps when it is gone.")
    owner: str
    source: str
    destination: str
    priority: Priority
    parallelism: int
    suspend: bool
    cancel: Cancel | None = None
    selection: SelectionSource
    deidentification: ProfileReference | None = Field(
        default=None, description="By which DeidProfile copies are made; originals are sent if absent."
    )
    trial: Trial | None = None
    state: JobState
    message: str
    refusal: FaultView | None = Field(
        default=None, description="Why it will never run; not in lists, what it waits for, too."
    )
    tasks: TaskCounts
    instances: InstanceCounts
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = Field(default=None, description="When its resource went away; the record stays.")
    failures: tuple[FailureView, ...] = Field(default=(), description="The three most frequent; not in lists.")


class JobList(View):
    """A page of jobs, newest first."""

    items: tuple[JobView, ...]
    next: str | None = Field(
        default=None, description="The next page's `cursor`. A page may have few items, or none, and a next one."
    )


def view_of(summary: JobSummary, steered: TransferJob | None = None, *, waits_for: Fault | None = None) -> JobView:
    """`steered` is the resource as it was just changed, where the ledger may not know of that yet."""
    record = summary.record
    spec = (steered or record.job).spec
    return JobView(
        **_named(record.job),
        uid=str(record.id),
        suspend=bool(spec.suspend),
        cancel=spec.cancel,
        state=summary.state,
        message=summary.message,
        refusal=_refusal(record.refusal or waits_for),
        tasks=_task_counts(summary.tasks),
        instances=InstanceCounts(
            expected=summary.expected,
            received=summary.received,
            stored=summary.stored,
            verified=summary.verified,
            left_out=summary.left_out,
            bytes=summary.bytes_stored,
        ),
        created_at=record.created_at,
        started_at=summary.started_at,
        ended_at=record.ended_at,
        deleted_at=record.deleted_at,
        failures=tuple(
            FailureView(code=each.code, count=each.count, example=each.example) for each in summary.failures
        ),
    )


def pending_view(found: FoundJob, waits_for: Fault | None = None) -> JobView:
    """A job that was just created: the resource is there, and the ledger has not seen it yet."""
    spec = found.job.spec
    return JobView(
        **_named(found.job),
        uid=found.uid,
        suspend=bool(spec.suspend),
        cancel=spec.cancel,
        state=JobState.PENDING,
        message="Waiting to start.",
        refusal=_refusal(waits_for),
        tasks=TaskCounts(),
        instances=InstanceCounts(),
        created_at=found.created_at,
    )


def _named(job: TransferJob) -> dict[str, Any]:
    spec = job.spec
    return {
        "namespace": job.metadata.namespace,
        "name": job.metadata.name,
        "owner": job.owner,
        "source": spec.source.node,
        "destination": spec.destination.node,
        "priority": spec.priority,
        "parallelism": spec.parallelism,
        "selection": SelectionSource.of(spec.selection),
        "deidentification": spec.deidentification,
        "trial": spec.trial,
    }


def _refusal(fault: Fault | None) -> FaultView | None:
    return None if fault is None else FaultView.of(fault)


def _task_counts(counts: Mapping[TaskState, int]) -> TaskCounts:
    return TaskCounts(
        total=sum(counts.values()),
        pending=counts.get(TaskState.PENDING, 0),
        active=counts.get(TaskState.IN_PROGRESS, 0),
        succeeded=counts.get(TaskState.SUCCESS, 0),
        warned=counts.get(TaskState.WARNING, 0),
        failed=counts.get(TaskState.FAILURE, 0),
        cancelled=counts.get(TaskState.CANCELED, 0),
    )
