"""Attempts as the dispatcher sees them: which run, which ended, which is lost, which is to stop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, Text, bindparam, cast, func, select, true, update
from sqlalchemy.dialects.postgresql import aggregate_order_by

from adit.ledger import instances
from adit.ledger.events import told, write_events
from adit.ledger.job_documents import RECORD_COLUMNS, JobDocuments
from adit.ledger.records import EndedAttempt, RunningAttempt
from adit.ledger.tables import attempt, instance, job, task
from adit.model.assignment import Progress, Report, report_of, warning_of
from adit.model.outcome import INFRASTRUCTURE_FAULTS, UNSTARTED_FAULTS, Fault, Outcome
from adit.model.transfer_job import Cancel

_WITH_JOB: Final = attempt.join(task, task.c.id == attempt.c.task_id).join(job, job.c.id == task.c.job_id)
PROGRESS: Final = tuple(Progress.model_fields)
"""The counters of an attempt's progress are columns of the same names."""


_RUNNING_COLUMNS: Final = (
    "token",
    "number",
    "task_id",
    "namespace",
    "claimed_at",
    "begun_at",
    "heartbeat_at",
    "reference",
    "stop_requested_at",
)
# Asked in each step of the dispatcher: to build such a query takes longer than to send it.
_RUNNING: Final = (
    select(attempt.c.id, *(attempt.c[name] for name in _RUNNING_COLUMNS), task.c.job_id, job.c.deadline, job.c.cancel)
    .select_from(_WITH_JOB)
    .where(attempt.c.settled_at.is_(None), attempt.c.ended_at.is_(None))
    .order_by(attempt.c.id)
)
_TERMINATING: Final = (
    select(attempt.c.id)
    .select_from(_WITH_JOB)
    .where(attempt.c.settled_at.is_(None), attempt.c.ended_at.is_(None), attempt.c.stop_requested_at.is_(None))
    .where(job.c.cancel == Cancel.TERMINATE)
    .order_by(attempt.c.id)
)


def running(connection: Connection) -> list[RunningAttempt]:
    """Attempts that have not ended, oldest first."""
    return [
        RunningAttempt(
            attempt_id=row.id,
            job_id=row.job_id,
            deadline=row.deadline,
            terminate=row.cancel == Cancel.TERMINATE,
            **{name: getattr(row, name) for name in _RUNNING_COLUMNS},
        )
        for row in connection.execute(_RUNNING)
    ]


def ended(connection: Connection, documents: JobDocuments, limit: int) -> list[EndedAttempt]:
    """Attempts with a report that await their settlement, the first to end first."""
    query = _ended()
    if documents.unreadable:  # they would use the limit up
        query = query.where(job.c.id.not_in(documents.unreadable))
    found = connection.execute(query, {"limit": limit}).all()
    records = documents.records(connection, found)
    return [
        EndedAttempt(
            attempt_id=row.attempt_id,
            task_id=row.task_id,
            job_id=row.id,
            number=row.number,
            report=report_of(row.report),
            counted_attempts=row.counted_attempts,
            infrastructure_faults=row.infrastructure_faults,
            bugs=row.bugs,
            unstarted=row.unstarted,
            job=records[row.id].job,
            job_created_at=row.created_at,
            expected=row.expected,
            verified=row.verified,
            stored=row.stored,
            faulty=row.faulty,
            left_out=row.left_out,
            earlier_warnings=tuple(
                warning_of(warning) for warnings in row.earlier_warnings or () for warning in warnings
            ),
        )
        for row in found
        if row.id in records
    ]


@cache
def _ended() -> Select[Any]:
    rows = select(*instances.counts()).where(
        instance.c.task_id == attempt.c.task_id, instance.c.job_created_on == attempt.c.job_created_on
    )
    counted = rows.correlate(attempt).subquery().lateral()
    earlier = _history().correlate(attempt, task).subquery().lateral()
    return (
        select(
            *RECORD_COLUMNS,
            attempt.c.id.label("attempt_id"),
            attempt.c.task_id,
            attempt.c.number,
            attempt.c.report,
            *(counted.c[name] for name in ("expected", "verified", "stored", "faulty", "left_out")),
            *earlier.c,
        )
        .select_from(_WITH_JOB.join(counted, true()).join(earlier, true()))
        .where(attempt.c.settled_at.is_(None), attempt.c.ended_at.is_not(None))
        .order_by(attempt.c.ended_at, attempt.c.id)
        .limit(bindparam("limit"))
    )


def _history() -> Any:
    """What the task's attempts up to now were: tries, losses to infrastructure, bugs; and what they warned of."""
    tried = attempt.alias("tried")
    first_fault = cast(tried.c.report[("faults", "0", "code")].astext, Text)
    lost = func.coalesce(first_fault.in_([str(code) for code in INFRASTRUCTURE_FAULTS]), False)
    unstarted = func.coalesce(first_fault.in_([str(code) for code in UNSTARTED_FAULTS]), False)
    return select(
        func.count().filter(~lost & ~unstarted).label("counted_attempts"),
        func.count().filter(lost).label("infrastructure_faults"),
        func.count().filter(unstarted).label("unstarted"),
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
    return list(connection.execute(_TERMINATING).scalars())
