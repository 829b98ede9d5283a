"""The ledger's own rows of a job's attempts, those that are open too. Read by the witness, the blows
of chaos, and tests that look at single attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from adit.ledger.connection import transaction
from adit.ledger.tables import attempt, task
from tests.cluster.installation import Job


def attempts_of(job: Job) -> Sequence[Row[Any]]:
    """Each with the UID of its study. Raises LedgerUnavailable."""
    query = select(attempt, task.c.study_instance_uid).join(task, task.c.id == attempt.c.task_id)
    with transaction(job.installation.database) as connection:
        return connection.execute(query.where(task.c.job_id == job.id)).all()
