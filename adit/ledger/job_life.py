"""What happens to jobs and their waiting tasks besides attempts: cancel, deadline, end.

Every statement is about whatever is due, so that it may be repeated and may run twice at once.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, exists, func, select, update

from adit.ledger.events import told, write_events
from adit.ledger.tables import job, task
from adit.model.outcome import Fault, FaultCode
from adit.model.state import TaskState


def cancel_pending(connection: Connection, now: datetime) -> int:
    """Pending tasks of cancelled jobs become Canceled; how many did. What runs is not touched."""
    return _end_pending(
        connection,
        now,
        job.c.cancel.is_not(None),
        TaskState.CANCELED,
        Fault(code=FaultCode.CANCELLED, message="The job was canceled before this task was done."),
        "warning",
    )


def fail_overdue(connection: Connection, now: datetime) -> int:
    """Pending tasks past their job's deadline become Failure; how many did."""
    return _end_pending(
        connection,
        now,
        job.c.deadline <= now,
        TaskState.FAILURE,
        Fault(
            code=FaultCode.DEADLINE_EXCEEDED,
            message="The job's deadline passed before this task was done.",
            cure="Make a new job with selection.failedOf, with a later deadline or in wider windows.",
        ),
        "error",
    )


def close_jobs(connection: Connection, now: datetime) -> list[UUID]:
    """Mark the jobs whose every task has ended, and return them."""
    is_open = exists().where(task.c.job_id == job.c.id, task.c.state.in_([TaskState.PENDING, TaskState.IN_PROGRESS]))
    statement = (
        update(job)
        .where(job.c.ended_at.is_(None), job.c.expanded_at.is_not(None), ~is_open)
        .values(ended_at=now)
        .returning(job.c.id)
    )
    return list(connection.execute(statement).scalars())


def next_due(connection: Connection, now: datetime) -> datetime | None:
    """When the next waiting task becomes due, or a deadline passes: the earliest of both after `now`."""
    waiting = (
        select(func.min(task.c.not_before).label("at"))
        .select_from(task.join(job, job.c.id == task.c.job_id))
        .where(task.c.state == TaskState.PENDING, task.c.not_before > now)
        .where(~job.c.suspend, job.c.cancel.is_(None))
    )
    overdue = select(func.min(job.c.deadline).label("at")).where(job.c.ended_at.is_(None), job.c.deadline > now)
    times = [connection.execute(query).scalar_one() for query in (waiting, overdue)]
    return min((time for time in times if time is not None), default=None)


def _end_pending(
    connection: Connection, now: datetime, due: ColumnElement[bool], state: TaskState, fault: Fault, level: str
) -> int:
    statement = (
        update(task)
        .where(task.c.job_id == job.c.id, job.c.ended_at.is_(None), due)
        .where(task.c.state == TaskState.PENDING)
        .values(state=state, message=fault.message, fault=fault.model_dump(mode="json"), ended_at=now)
        .returning(task.c.id)
    )
    ended = list(connection.execute(statement).scalars())
    write_events(connection, [told(task_id, None, now, fault.code, fault.message, level=level) for task_id in ended])
    return len(ended)
