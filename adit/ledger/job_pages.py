"""Jobs page by page, newest first, by keys that later jobs don't shift. Read by the facade.

A job's state is computed from its tasks, never stored; so a filter by state looks at a bounded number of jobs
a page, and the page may hold fewer than were asked for while more may follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, func, literal, or_, select, tuple_

from adit.ledger.job_documents import RECORD_COLUMNS, JobDocuments
from adit.ledger.records import JobSummary
from adit.ledger.reports import COUNTED, verdict_of
from adit.ledger.tables import job, task
from adit.model.state import JobState, TaskState

LOOKED_AT: Final = 500
"""Jobs of which one page counts the tasks, at most."""

JobKey = tuple[datetime, UUID]
"""When a job was created, and its id: the place of a job in the list."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """What is listed; an absent field excludes nothing."""

    namespaces: frozenset[str] | None = None
    state: JobState | None = None
    owner: str | None = None
    source: str | None = None
    destination: str | None = None
    created_after: datetime | None = None  # these included
    created_before: datetime | None = None  # these not
    deleted: bool = False  # also those whose resource is gone


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, without their most frequent failures, and where the next page begins, if there is one."""

    summaries: tuple[JobSummary, ...]
    next: JobKey | None


def job_page(
    connection: Connection, documents: JobDocuments, wanted: JobFilter, after: JobKey | None, limit: int
) -> JobPage:
    """The jobs behind `after`."""
    found: list[JobSummary] = []
    looked_at = 0
    while True:
        size = min(limit + 1, LOOKED_AT)
        rows, batch = _batch(connection, documents, wanted, after, size)
        for summary in batch:
            if wanted.state in (None, summary.state):
                if len(found) == limit:
                    return JobPage(tuple(found), after)
                found.append(summary)
            after = (summary.record.created_at, summary.record.id)
        looked_at += len(rows)
        if len(rows) < size:
            return JobPage(tuple(found), None)
        after = (rows[-1].created_at, rows[-1].id)  # which may be one that cannot be read
        if looked_at >= LOOKED_AT:
            return JobPage(tuple(found), after)


def _batch(
    connection: Connection, documents: JobDocuments, wanted: JobFilter, after: JobKey | None, size: int
) -> tuple[Sequence[Row[Any]], list[JobSummary]]:
    """The rows that come next, and the jobs of those that can be read."""
    query = (
        select(*RECORD_COLUMNS)
        .where(*_conditions(wanted))
        .order_by(job.c.created_at.desc(), job.c.id.desc())
        .limit(size)
    )
    if after is not None:
        created_at, identity = after
        query = query.where(tuple_(job.c.created_at, job.c.id) < tuple_(literal(created_at), literal(identity)))
    rows = connection.execute(query).all()
    records = documents.records(connection, rows)
    counted = _counts(connection, list(records))
    summaries = []
    for record in records.values():
        groups = counted.get(record.id, [])
        counts = {TaskState(group.state): int(group.tasks) for group in groups}
        verdict = verdict_of(record, counts)
        sums: dict[str, Any] = {name: sum(int(getattr(group, name)) for group in groups) for name in COUNTED}
        summaries.append(
            JobSummary(
                record=record,
                state=verdict.state,
                message=verdict.message,
                tasks=counts,
                started_at=min((group.started_at for group in groups if group.started_at), default=None),
                **sums,
            )
        )
    return rows, summaries


def _conditions(wanted: JobFilter) -> list[Any]:
    conditions: list[Any] = []
    if wanted.namespaces is not None:
        conditions.append(job.c.namespace.in_(sorted(wanted.namespaces)))
    for name in ("owner", "source", "destination"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(job.c[name] == value)
    if wanted.created_after is not None:
        conditions.append(job.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(job.c.created_at < wanted.created_before)
    if not wanted.deleted:
        conditions.append(job.c.deleted_at.is_(None))
    if wanted.state is not None:
        # an ended job has an end, but for the moment until the dispatcher writes it
        conditions.append(
            or_(job.c.ended_at.is_not(None), job.c.expanded_at.is_not(None))
            if wanted.state.ended
            else job.c.ended_at.is_(None)
        )
    return conditions


def _counts(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    query = (
        select(
            task.c.job_id,
            task.c.state,
            func.count().label("tasks"),
            func.min(task.c.started_at).label("started_at"),
            *(func.sum(task.c[name]).label(name) for name in COUNTED),
        )
        .where(task.c.job_id.in_(job_ids))
        .group_by(task.c.job_id, task.c.state)
    )
    found: dict[UUID, list[Any]] = {}
    for row in connection.execute(query):
        found.setdefault(row.job_id, []).append(row)
    return found
