"""What people are shown of jobs and tasks. A job's state and counts are computed from the rows, each time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, Row, Text, cast, func, select

from adit.ledger import instances
from adit.ledger.connection import transaction
from adit.ledger.job_documents import RECORD_COLUMNS, JobDocuments
from adit.ledger.records import FaultCount, JobRecord, JobSummary, TaskRecord
from adit.ledger.tables import instance, job, task
from adit.model.outcome import Fault, FaultCode
from adit.model.state import JobState, JobVerdict, TaskState, job_verdict

COUNTED: Final = ("expected", "received", "stored", "verified", "bytes_stored", "left_out")
_PAGE: Final = 1000
_FAILURES_SHOWN: Final = 3


def summary(connection: Connection, documents: JobDocuments, job_id: UUID) -> JobSummary:
    """Raises LookupError for an unknown job."""
    row = connection.execute(select(*RECORD_COLUMNS, job.c.created_on).where(job.c.id == job_id)).one_or_none()
    if row is None:
        raise LookupError(f"no job {job_id}")
    record = documents.records(connection, [row]).get(job_id)
    if record is None:
        raise LookupError(f"job {job_id} can be read by a newer version only")
    groups = connection.execute(
        select(
            task.c.state,
            func.count().label("tasks"),
            func.min(task.c.started_at).label("started_at"),
            *(func.sum(task.c[name]).label(name) for name in COUNTED),
        )
        .where(task.c.job_id == job_id)
        .group_by(task.c.state)
    ).all()
    totals = dict.fromkeys(COUNTED, 0)
    for group in groups:
        # What runs is counted from its rows as they are now, the rest was counted when it was settled.
        source = group
        if group.state == TaskState.IN_PROGRESS:
            source = connection.execute(_live(job_id, row.created_on)).one()
        for name in COUNTED:
            totals[name] += int(getattr(source, name))
    counts = {TaskState(group.state): group.tasks for group in groups}
    verdict = verdict_of(record, counts)
    started = [group.started_at for group in groups if group.started_at is not None]
    return JobSummary(
        record=record,
        state=verdict.state,
        message=verdict.message,
        tasks=counts,
        started_at=min(started, default=None),
        failures=_failures(connection, job_id),
        **totals,
    )


def verdict_of(record: JobRecord, counts: dict[TaskState, int]) -> JobVerdict:
    canceling = record.job.spec.cancel is not None
    if record.refusal is None:
        return job_verdict(counts, expanded=record.expanded_at is not None, canceling=canceling)
    canceled = record.refusal.code is FaultCode.CANCELLED
    return JobVerdict(JobState.CANCELED if canceled else JobState.FAILURE, str(record.refusal))


def _live(job_id: UUID, created_on: date) -> Any:
    in_progress = select(task.c.id).where(task.c.job_id == job_id, task.c.state == TaskState.IN_PROGRESS)
    return (
        select(*instances.counts())
        .select_from(instance)
        .where(instance.c.job_created_on == created_on, instance.c.task_id.in_(in_progress))
    )


def _failures(connection: Connection, job_id: UUID) -> tuple[FaultCount, ...]:
    """What failed tasks failed for, the most frequent first; then what others were warned of."""
    code = task.c.fault["code"].astext
    query = (
        select(code.label("code"), func.count().label("count"), func.min(cast(task.c.fault, Text)).label("example"))
        .where(
            task.c.job_id == job_id,
            task.c.state.in_([TaskState.FAILURE, TaskState.WARNING]),
            task.c.fault.is_not(None),
        )
        .group_by(code)
        .order_by(func.bool_or(task.c.state == TaskState.FAILURE).desc(), func.count().desc(), code)
        .limit(_FAILURES_SHOWN)
    )
    return tuple(
        FaultCount(row.code, row._mapping["count"], str(Fault.model_validate_json(row.example)))
        for row in connection.execute(query)
    )


def tasks(source: Engine, job_id: UUID, state: TaskState | None) -> Iterator[TaskRecord]:
    """In the order of the selection; a page a transaction, so that 10,000 tasks hold no connection."""
    last = 0
    while True:
        with transaction(source) as connection:
            page = task_page(connection, job_id, state, last, _PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        last = page[-1].id


def task_page(
    connection: Connection, job_id: UUID, state: TaskState | None, after: int, limit: int
) -> list[TaskRecord]:
    """The tasks behind the one with id `after`, at most `limit`, in the order of the selection."""
    query = select(task).where(task.c.job_id == job_id, task.c.id > after).order_by(task.c.id).limit(limit)
    if state is not None:
        query = query.where(task.c.state == state)
    return _task_records(connection, connection.execute(query).all())


def find_task(connection: Connection, job_id: UUID, task_id: int) -> TaskRecord | None:
    """The task, if it is one of this job's."""
    query = select(task).where(task.c.id == task_id, task.c.job_id == job_id)
    return next(iter(_task_records(connection, connection.execute(query).all())), None)


def _task_records(connection: Connection, rows: Sequence[Row[Any]]) -> list[TaskRecord]:
    live = _live_by_task(connection, rows)
    return [_record(row, live.get(row.id, row)) for row in rows]


def _live_by_task(connection: Connection, rows: Sequence[Row[Any]]) -> dict[int, Row[Any]]:
    in_progress = {row.id: row.job_created_on for row in rows if row.state == TaskState.IN_PROGRESS}
    if not in_progress:
        return {}
    query = (
        select(instance.c.task_id, *instances.counts())
        .where(instance.c.job_created_on == next(iter(in_progress.values())), instance.c.task_id.in_(in_progress))
        .group_by(instance.c.task_id)
    )
    return {row.task_id: row for row in connection.execute(query)}


def _record(row: Row[Any], counted: Row[Any]) -> TaskRecord:
    waiting = row.state == TaskState.PENDING
    return TaskRecord(
        id=row.id,
        job_id=row.job_id,
        study_instance_uid=row.study_instance_uid,
        series_instance_uids=None if row.series_instance_uids is None else tuple(row.series_instance_uids),
        state=TaskState(row.state),
        attempts=row.attempts,
        not_before=row.not_before if waiting else None,
        message=row.message,
        fault=None if row.fault is None else Fault.model_validate(row.fault),
        digest=row.digest,
        started_at=row.started_at,
        ended_at=row.ended_at,
        **{name: int(getattr(counted, name)) for name in COUNTED},
    )
