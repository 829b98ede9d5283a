"""The proof of a job as one JSON-ready document: what was asked, what became of it, instance by instance.

Printed and saved by the command line, streamed by the facade. It names nobody: no patient id, no pseudonym,
and no location (a folder's path has the patient id in it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, select

from adit.ledger import instances
from adit.ledger.attempt_history import attempts_of
from adit.ledger.connection import transaction
from adit.ledger.job_documents import JobDocuments
from adit.ledger.records import AttemptRecord, JobSummary, TaskRecord
from adit.ledger.reports import summary, task_page
from adit.ledger.tables import job
from adit.model.instance import NOT_ASKED, InstanceRecord
from adit.model.outcome import Fault

VERSION: Final = 1
_PAGE: Final = 500
_TOGETHER: Final = 250


def manifest(source: Engine, documents: JobDocuments, job_id: UUID) -> dict[str, object]:
    """Raises LookupError for an unknown job."""
    head, listed = manifest_parts(source, documents, job_id)
    return {**head, "tasks": list(listed)}


def manifest_parts(
    source: Engine, documents: JobDocuments, job_id: UUID
) -> tuple[dict[str, object], Iterator[dict[str, object]]]:
    """All of it but its tasks, and its tasks one by one, so that a big job's is never held as a whole.

    Raises LookupError for an unknown job.
    """
    with transaction(source) as connection:
        summed = summary(connection, documents, job_id)
        kept = connection.execute(select(job.c.instances_dropped_at, job.c.profile).where(job.c.id == job_id)).one()
    told = {"deidentification": _profile(summed, kept.profile), "instancesDroppedAt": _time(kept.instances_dropped_at)}
    head = {"version": VERSION, "job": _job(summed) | told}
    return head, _tasks(source, job_id, summed.record.created_at.date())


def _tasks(source: Engine, job_id: UUID, created_on: date) -> Iterator[dict[str, object]]:
    last = 0
    while True:
        with transaction(source) as connection:
            page = task_page(connection, job_id, None, last, _PAGE)
            attempts = attempts_of(connection, [record.id for record in page])
        for record, rows in _with_instances(source, page, created_on):
            yield {
                **_task(record),
                "attempts": [_attempt(each) for each in attempts.get(record.id, ())],
                "instances": [_instance(row) for row in rows],
            }
        if len(page) < _PAGE:
            return
        last = page[-1].id


def _with_instances(
    source: Engine, page: Sequence[TaskRecord], created_on: date
) -> Iterator[tuple[TaskRecord, Iterable[InstanceRecord]]]:
    """Small tasks share a query, a big one has its own: 50,000 small ones would be as many round trips."""
    left = list(page)
    while left:
        batch = left[:_TOGETHER]
        known = instances.of_several(source, [record.id for record in batch], created_on)
        if known:
            yield from ((record, known[record.id]) for record in batch if record.id in known)
            left = left[len(known) :]
        else:
            yield left[0], instances.paged(source, left[0].id, created_on)
            left = left[1:]


def _job(summed: JobSummary) -> dict[str, object]:
    record = summed.record
    spec = record.job.spec
    return {
        "id": str(record.id),
        "namespace": record.job.metadata.namespace,
        "name": record.job.metadata.name,
        "owner": record.job.owner,
        "source": spec.source.node,
        "destination": spec.destination.node,
        "trial": None if spec.trial is None else spec.trial.model_dump(mode="json", by_alias=True, exclude_none=True),
        "createdAt": _time(record.created_at),
        "startedAt": _time(summed.started_at),
        "endedAt": _time(record.ended_at),
        "state": str(summed.state),
        "message": summed.message,
        "refusal": _fault(record.refusal),
        "tasks": {str(state): count for state, count in summed.tasks.items()},
        **_counts(summed),
    }


def _profile(summed: JobSummary, frozen: dict[str, Any] | None) -> dict[str, object] | None:
    """As it was frozen into the job, whatever became of the resource; it names the Secret of its key, and no key."""
    named = summed.record.job.spec.deidentification
    if named is None:
        return None
    frozen = frozen or {}
    generation = frozen.get("metadata", {}).get("generation")
    return {"profile": named.profile, "generation": generation, "spec": frozen.get("spec")}


def _task(record: TaskRecord) -> dict[str, object]:
    series = record.series_instance_uids
    return {
        "id": record.id,
        "studyInstanceUID": record.study_instance_uid,
        "seriesInstanceUIDs": None if series is None else list(series),
        "state": str(record.state),
        "message": record.message,
        "fault": _fault(record.fault),
        **_counts(record),
        "digest": record.digest,
        "startedAt": _time(record.started_at),
        "endedAt": _time(record.ended_at),
    }


def _attempt(record: AttemptRecord) -> dict[str, object]:
    report = record.report
    return {
        "number": record.number,
        "outcome": None if report is None else str(report.outcome),
        "road": record.road,
        "storeRoad": record.store_road,
        "claimedAt": _time(record.claimed_at),
        "begunAt": _time(record.begun_at),
        "endedAt": _time(record.ended_at),
        "worker": record.reference,
        "faults": [] if report is None else [fault.as_json() for fault in report.faults],
        "warnings": [] if report is None else [fault.as_json() for fault in report.warnings],
    }


def _instance(record: InstanceRecord) -> dict[str, object]:
    return {
        "sopInstanceUID": record.sop_instance_uid,
        "seriesInstanceUID": record.series_instance_uid,
        "sopClassUID": record.sop_class_uid,
        "state": str(record.state),
        "transferSyntaxUID": record.transfer_syntax_uid,
        "size": record.size,
        "sha256": record.sha256,
        "faultCode": None if record.fault_code is None else str(record.fault_code),
        "faultMessage": record.fault_message,
        "dimseStatus": None if record.dimse_status == NOT_ASKED else record.dimse_status,
        "sentAs": record.sent_as,
    }


def _counts(counted: JobSummary | TaskRecord) -> dict[str, object]:
    return {
        "expected": counted.expected,
        "received": counted.received,
        "stored": counted.stored,
        "verified": counted.verified,
        "bytesStored": counted.bytes_stored,
        "leftOut": counted.left_out,
    }


def _fault(fault: Fault | None) -> dict[str, object] | None:
    return None if fault is None else fault.as_json()


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
