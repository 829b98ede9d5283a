"""Attempts as the dispatcher sees them: which run, which ended, which is lost, which is to stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Text, cast, func, select, true, update
from sqlalchemy.dialects.postgresql import aggregate_order_by

from adit.ledger import instances
from adit.ledger.events import told, write_events
from adit.ledger.job_documents import RECORD_COLUMNS, JobDocuments
from adit.ledger.records import EndedAttempt, RunningAttempt
from adit.ledger.tables import attempt, instance, job, task
from adit.model.assignment import Progress, Report
from adit.model.outcome import INFRASTRUCTURE_FAULTS, Fault, Outcome
from adit.model.transfer_job import Cancel

_WITH_JOB: Final = attempt.join(task, task.c.id == attempt.c.task_id).join(job, job.c.id == task.c.job_id)
PROGRESS: Final = tuple(Progress.model_fields)
"""The counters of an attempt's progress are columns of the same names."""


def running(connection: Connection) -> list[RunningAttempt]:
    """Attempts that have not ended, oldest first."""
    columns = (
        "token",
        "task_id",
        "claimed_at",
        "begun_at",
        "heartbeat_at",
        "reference",
        "stop_requested_at",
    )
    query = (
        select(attempt.c.id, *(attempt.c[name] for name in columns), task.c.job_id, job.c.deadline, job.c.cancel)
        .select_from(_WITH_JOB)
        .where(attempt.c.settled_at.is_(None), attempt.c.ended_at.is_(None))
        .order_by(attempt.c.id)
    )
    return [
        RunningAttempt(
            attempt_id=row.id,
            job_id=row.job_id,
            deadline=row.deadline,
            terminate=row.cancel == Cancel.TERMINATE,
            **{name: getattr(row, name) for name in columns},
        )
        for row in connection.execute(query)
    ]


def ended(connection: Connection, documents: JobDocuments, limit: int) -> list[EndedAttempt]:
    """Attempts with a report that await their settlement, the first to end first."""
    rows = select(*instances.counts()).where(
        instance.c.task_id == attempt.c.task_id, instance.c.job_created_on == attempt.c.job_created_on
    )
    counted = rows.correlate(attempt).subquery().lateral()
    earlier = _history().correlate(attempt, task).subquery().lateral()
    query = (
        select(
            *RECORD_COLUMNS,
            attempt.c.id.label("attempt_id"),
            attempt.c.task_id,
            attempt.c.number,
            attempt.c.report,
            *(counted.c[name] for name in ("expected", "verified", "stored", "faulty")),
            *earlier.c,
        )
        .select_from(_WITH_JOB.join(counted, true()).join(earlier, true()))
        .where(attempt.c.settled_at.is_(None), attempt.c.ended_at.is_not(None))
        .order_by(attempt.c.ended_at, attempt.c.id)
        .limit(limit)
    )
    found = connection.execute(query).all()
    return [
        EndedAttempt(
            attempt_id=row.attempt_id,
            task_id=row.task_id,
            job_id=record.id,
            number=row.number,
            report=Report.model_validate(row.report),
            counted_attempts=row.counted_attempts,
            infrastructure_faults=row.infrastructure_faults,
            bugs=row.bugs,
            job=record.job,
            job_created_at=record.created_at,
            expected=row.expected,
            verified=row.verified,
            stored=row.stored,
            faulty=row.faulty,
            earlier_warnings=tuple(
                Fault.model_validate(warning) for warnings in row.earlier_warnings or () for warning in warnings
            ),
        )
        for record, row in zip(documents.records(connection, found), found, strict=True)
    ]


def _history() -> Any:
    """What the task's attempts up to now were: tries, losses to infrastructure, bugs; and what they warned of."""
    tried = attempt.alias("tried")
    first_fault = cast(tried.c.report[("faults", "0", "code")].astext, Text)
    lost = func.coalesce(first_fault.in_([str(code) for code in INFRASTRUCTURE_FAULTS]), False)
    return select(
        func.count().filter(~lost).label("counted_attempts"),
        func.count().filter(lost).label("infrastructure_faults"),
        func.count().filter(tried.c.report["outcome"].astext == Outcome.BUG).label("bugs"),
        func.jsonb_agg(aggregate_order_by(tried.c.report["warnings"], tried.c.number))
        .filter(tried.c.number < attempt.c.number)
        .label("earlier_warnings"),
    ).where(tried.c.task_id == task.c.id, tried.c.ended_at.is_not(None))


def declare_lost(
    connection: Connection, attempt_id: int, seen_heartbeat: datetime | None, fault: Fault, now: datetime
) -> bool:
    """End an attempt for its silent worker, unless it gave a sign of life after `seen_heartbeat`.

    The worker is fenced from this commit on. False if it ended or its heartbeat is another one.
    """
    counters = select(*(attempt.c[name] for name in PROGRESS)).where(attempt.c.id == attempt_id)
    progress = connection.execute(counters).one_or_none()
    if progress is None:
        return False
    report = Report(outcome=fault.outcome, faults=(fault,), progress=Progress(**progress._asdict()))
    statement = (
        update(attempt)
        .where(attempt.c.id == attempt_id, attempt.c.ended_at.is_(None))
        .where(attempt.c.heartbeat_at.is_not_distinct_from(seen_heartbeat))
        .values(ended_at=now, report=report.model_dump(mode="json"))
        .returning(attempt.c.task_id, attempt.c.number)
    )
    row = connection.execute(statement).one_or_none()
    if row is not None:
        write_events(connection, [told(row.task_id, row.number, now, fault.code, fault.message, level="warning")])
    return row is not None


def request_stop(connection: Connection, attempt_ids: Sequence[int], now: datetime) -> None:
    """Ask running workers to stop; they read it with their next heartbeat. The first request stands."""
    connection.execute(
        update(attempt)
        .where(attempt.c.id.in_(attempt_ids), attempt.c.ended_at.is_(None), attempt.c.stop_requested_at.is_(None))
        .values(stop_requested_at=now)
    )


def terminating(connection: Connection) -> list[int]:
    """Running attempts of jobs whose cancel is Terminate, not yet asked to stop."""
    query = (
        select(attempt.c.id)
        .select_from(_WITH_JOB)
        .where(attempt.c.settled_at.is_(None), attempt.c.ended_at.is_(None), attempt.c.stop_requested_at.is_(None))
        .where(job.c.cancel == Cancel.TERMINATE)
        .order_by(attempt.c.id)
    )
    return list(connection.execute(query).scalars())
