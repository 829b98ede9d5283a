"""A few numbers about the whole ledger, for those who watch it. Asked by the operator every few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

# An open job is in progress if an attempt is under way; what it will become is only known when it has ended.
_QUERY: Final = text(
    """
    SELECT (SELECT count(*) FROM attempt WHERE settled_at IS NULL) AS running,
           (SELECT coalesce(extract(epoch FROM :now - min(task.not_before)), 0)
            FROM task JOIN job ON job.id = task.job_id
            WHERE task.state = 'Pending' AND task.not_before <= :now AND NOT job.suspend AND job.cancel IS NULL
           ) AS oldest_due,
           (SELECT count(*) FROM job WHERE ended_at IS NULL) AS open_jobs,
           (SELECT count(*) FROM task WHERE state = 'Pending') AS waiting_tasks
    """
)


@dataclass(frozen=True, slots=True)
class Gauges:
    running_attempts: int
    oldest_due_seconds: float  # how long the task that is due longest has waited; 0 if none is due
    open_jobs: int
    waiting_tasks: int


def gauges(connection: Connection, now: datetime) -> Gauges:
    row = connection.execute(_QUERY, {"now": now}).one()
    return Gauges(row.running, float(row.oldest_due), row.open_jobs, row.waiting_tasks)
