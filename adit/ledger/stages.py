"""Where many jobs stand, in one cheap query: so that a summary is asked for only where it has changed.

Called by the operator's status writer each second.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, select

from adit.ledger.records import JobStage
from adit.ledger.tables import job


def stages(connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, JobStage]:
    """By primary key; jobs that are not there are left out."""
    columns = (job.c.id, job.c.revision, job.c.expanded_at, job.c.ended_at)
    return {
        row.id: JobStage(row.revision, row.expanded_at is not None, row.ended_at is not None)
        for row in connection.execute(select(*columns).where(job.c.id.in_(job_ids)))
    }
