"""The proof of a job as one JSON-ready document: what was asked, what became of it, instance by instance.

Printed and saved by the command line. It names nobody: no patient id, no pseudonym, and no location (a
folder's path has the patient id in it).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Engine, Row, select

from adit.ledger import instances
from adit.ledger.connection import transaction
from adit.ledger.job_documents import JobDocuments
from adit.ledger.records import JobSummary, TaskRecord
from adit.ledger.reports import summary, tasks
from adit.ledger.tables import attempt, job, task
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault

VERSION: Final = 1


def manifest(source: Engine, documents: JobDocuments, job_id: UUID) -> dict[str, object]:
    """Raises LookupError for an unknown job."""
    with transaction(source) as connection:
        summed = summary(connection, documents, job_id)
        dropped_at = connection.execute(select(job.c.instances_dropped_at).where(job.c.id == job_id)).scalar_one()
    attempts = _attempts(source, job_id)
    created_on = summed.record.created_at.date()
    return {
        "version": VERSION,
        "job": _job(summed) | {"instancesDroppedAt": _time(dropped_at)},
        "tasks": [
            _task(record)
            | {
                "attempts": attempts.get(record.id, []),
                "instances": [_instance(row) for row in instances.paged(source, record.id, created_on)],
            }
            for record in tasks(source, job_id, None)
        ],
    }


def _attempts(source: Engine, job_id: UUID) -> dict[int, list[dict[str, object]]]:
    columns = ("task_id", "number", "claimed_at", "begun_at", "ended_at", "reference", "road", "report")
    query = (
        select(*(attempt.c[name] for name in columns))
        .join(task, task.c.id == attempt.c.task_id)
        .where(task.c.job_id == job_id)
        .order_by(attempt.c.task_id, attempt.c.number)
    )
    found: dict[int, list[dict[str, object]]] = {}
    with transaction(source) as connection:
        for row in connection.execute(query):
            found.setdefault(row.task_id, []).append(_attempt(row))
    return found


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


def _attempt(row: Row[Any]) -> dict[str, object]:
    report = row.report or {}
    return {
        "number": row.number,
        "outcome": report.get("outcome"),
        "road": row.road,
        "claimedAt": _time(row.claimed_at),
        "begunAt": _time(row.begun_at),
        "endedAt": _time(row.ended_at),
        "worker": row.reference,
        "faults": report.get("faults", []),
        "warnings": report.get("warnings", []),
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
        "dimseStatus": record.dimse_status,
    }


def _counts(counted: JobSummary | TaskRecord) -> dict[str, object]:
    return {
        "expected": counted.expected,
        "received": counted.received,
        "stored": counted.stored,
        "verified": counted.verified,
        "bytesStored": counted.bytes_stored,
    }


def _fault(fault: Fault | None) -> dict[str, object] | None:
    return None if fault is None else fault.model_dump(mode="json", exclude_none=True)


def _time(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
