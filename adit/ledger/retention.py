"""Instance rows are dropped when their job's retention is over; the task's summary and digest stay.

A month whose jobs are all over goes as a whole partition, at once and without dead rows; what is left
over in months with longer-kept jobs is deleted job by job.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, Engine, delete, exists, func, select, update

from adit.ledger.connection import transaction
from adit.ledger.partitions import drop_month, month_of, months
from adit.ledger.tables import attempt, instance, job, mailbox, task

_JOBS_AT_ONCE: Final = 100
_MAILBOXES: Final = timedelta(
    days=1
)  # that a C-MOVE's message id is remembered: so long a late object is known as such


def expire(source: Engine, now: datetime) -> int:
    """Drop what is due and return for how many jobs; repeat and crash are harmless."""
    with transaction(source) as connection:
        over = _months_over(connection, now)
    for first in over:
        drop_month(source, first)
    expired = 0
    while True:
        with transaction(source) as connection:
            batch = _expire_some(connection, now)
        expired += batch
        if batch < _JOBS_AT_ONCE:
            return expired


def forget_mailboxes(connection: Connection, now: datetime) -> None:
    """Deletes those that have been of no use for a while."""
    over = select(attempt.c.id).where(attempt.c.ended_at.is_not(None))
    useless = mailbox.c.closed_at.is_not(None) | mailbox.c.attempt_id.in_(over)
    connection.execute(delete(mailbox).where(mailbox.c.opened_at < now - _MAILBOXES, useless))


def _is_due(now: datetime) -> ColumnElement[bool]:
    over: ColumnElement[bool] = job.c.ended_at + func.make_interval(0, 0, 0, 0, 0, 0, job.c.instances_seconds) <= now
    return over


def _months_over(connection: Connection, now: datetime) -> list[date]:
    """Past months of which no job needs its rows any more. No job can be added to a past month."""
    over = []
    for first in months(connection):
        _, after = month_of(first)
        kept = (
            exists()
            .where(job.c.created_on >= first, job.c.created_on < after)
            .where(job.c.instances_dropped_at.is_(None), job.c.ended_at.is_(None) | ~_is_due(now))
        )
        # A day's grace for a job that was applied in the month's last moment by a clock behind ours.
        past = now.date() >= after + timedelta(days=1)
        if past and not connection.execute(select(kept)).scalar_one():
            over.append(first)
    return over


def _expire_some(connection: Connection, now: datetime) -> int:
    due = (
        select(job.c.id, job.c.created_on)
        .where(job.c.instances_dropped_at.is_(None), job.c.ended_at.is_not(None), _is_due(now))
        .order_by(job.c.ended_at)
        .limit(_JOBS_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(due).all()
    for row in rows:
        tasks = select(task.c.id).where(task.c.job_id == row.id)
        connection.execute(
            delete(instance).where(instance.c.job_created_on == row.created_on, instance.c.task_id.in_(tasks))
        )
    if rows:
        statement = update(job).where(job.c.id.in_([row.id for row in rows])).values(instances_dropped_at=now)
        connection.execute(statement)
    return len(rows)
