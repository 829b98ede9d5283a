"""What happens to jobs and their waiting tasks besides attempts: cancel, deadline, end.

Every statement is about whatever is due, so that it may be repeated and may run twice at once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, Connection, bindparam, exists, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from adit.ledger.events import told, write_events
from adit.ledger.tables import job, task
from adit.model.outcome import Fault, FaultCode
from adit.model.state import TaskState

# Asked in each step of the dispatcher: to build such a query takes longer than to send it.
_NOW: Final[BindParameter[datetime]] = bindparam("now")
_IS_OPEN: Final = exists().where(
    task.c.job_id == job.c.id, task.c.state.in_([TaskState.PENDING, TaskState.IN_PROGRESS])
)
_CLOSE: Final = (
    update(job)
    .where(job.c.ended_at.is_(None), job.c.expanded_at.is_not(None), ~_IS_OPEN)
    .values(ended_at=_NOW)
    .returning(job.c.id)
)
_NEXT_WAITING: Final = (
    select(func.min(task.c.not_before))
    .select_from(task.join(job, job.c.id == task.c.job_id))
    .where(task.c.state == TaskState.PENDING, task.c.not_before > _NOW)
    .where(~job.c.suspend, job.c.cancel.is_(None))
)
_NEXT_OVERDUE: Final = select(func.min(job.c.deadline)).where(job.c.ended_at.is_(None), job.c.deadline > _NOW)
_NEXT_DUE: Final = select(_NEXT_WAITING.scalar_subquery(), _NEXT_OVERDUE.scalar_subquery())


def _end_where(due: ColumnElement[bool]) -> ReturningUpdate[tuple[int]]:
    return (
        update(task)
        .where(task.c.job_id == job.c.id, job.c.ended_at.is_(None), due)
        .where(task.c.state == TaskState.PENDING)
        .values(
            state=bindparam("to", type_=task.c.state.type),
            message=bindparam("message"),
            fault=bindparam("fault", type_=task.c.fault.type),
            ended_at=_NOW,
        )
        .returning(task.c.id)
    )


_END_CANCELLED: Final = _end_where(job.c.cancel.is_not(None))
_END_OVERDUE: Final = _end_where(job.c.deadline <= _NOW)


def cancel_pending(connection: Connection, now: datetime) -> int:
    """Pending tasks of cancelled jobs become Canceled; how many did. What runs is not touched."""
    return _end_pending(
        connection,
        now,
        _END_CANCELLED,
        TaskState.CANCELED,
        Fault(code=FaultCode.CANCELLED, message="The job was cancelled before this task was done."),
        "warning",
    )


def fail_overdue(connection: Connection, now: datetime) -> int:
    """Pending tasks past their job's deadline become Failure; how many did."""
    return _end_pending(
        connection,
        now,
        _END_OVERDUE,
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
    return list(connection.execute(_CLOSE, {"now": now}).scalars())


def next_due(connection: Connection, now: datetime) -> datetime | None:
    """When the next waiting task becomes due, or a deadline passes: the earliest of both after `now`."""
    times = connection.execute(_NEXT_DUE, {"now": now}).one()
    return min((time for time in times if time is not None), default=None)


def _end_pending(
    connection: Connection,
    now: datetime,
    statement: ReturningUpdate[tuple[int]],
    state: TaskState,
    fault: Fault,
    level: str,
) -> int:
    values = {"now": now, "to": state, "message": fault.message, "fault": fault.model_dump(mode="json")}
    ended = list(connection.execute(statement, values).scalars())
    write_events(connection, [told(task_id, None, now, fault.code, fault.message, level=level) for task_id in ended])
    return len(ended)
