"""Jobs and their profiles, parsed once: a job's document may list 500 studies and is asked for at every step.

Used by every module that hands out a JobRecord or decides by a job's spec. A document that only a newer version can
read holds up its own job, which waits for that version, and no other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from threading import Lock
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import Connection, Row, select

from adit.ledger.records import JobRecord
from adit.ledger.tables import job
from adit.model.deid_profile import DeidProfile
from adit.model.outcome import Fault
from adit.model.transfer_job import TransferJob

_KEPT: Final = 1000

RECORD_COLUMNS: Final = (
    job.c.id,
    job.c.revision,
    job.c.created_at,
    job.c.expanded_at,
    job.c.ended_at,
    job.c.refusal,
    job.c.deleted_at,
    job.c.profile.is_not(None).label("has_profile"),
)
"""What `JobDocuments.records` needs of each row; the document itself is read only when it is new."""


class JobDocuments:
    """The last used jobs, by id and revision. Threads may share it."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[tuple[UUID, int], TransferJob] = OrderedDict()
        self._profiles: OrderedDict[UUID, DeidProfile] = OrderedDict()  # frozen: by id alone
        self._unreadable: frozenset[UUID] = frozenset()
        self._lock = Lock()

    @property
    def unreadable(self) -> frozenset[UUID]:
        """The jobs that were met and could not be read."""
        return self._unreadable

    def records(self, connection: Connection, rows: Sequence[Row[Any]]) -> dict[UUID, JobRecord]:
        """By id, the record of each row that has RECORD_COLUMNS and whose document can be read."""
        jobs = self.of(connection, {(row.id, row.revision) for row in rows})
        return {
            row.id: JobRecord(
                id=row.id,
                job=jobs[row.id],
                created_at=row.created_at,
                expanded_at=row.expanded_at,
                ended_at=row.ended_at,
                refusal=None if row.refusal is None else Fault.model_validate(row.refusal),
                deleted_at=row.deleted_at,
                has_profile=row.has_profile,
            )
            for row in rows
            if row.id in jobs
        }

    def of(self, connection: Connection, keys: Collection[tuple[UUID, int]]) -> dict[UUID, TransferJob]:
        """Those of the jobs with these ids that can be read. A document changed meanwhile comes in its newer form."""
        with self._lock:
            found = {key[0]: self._jobs[key] for key in keys if key in self._jobs}
            for key in keys:
                if key in self._jobs:
                    self._jobs.move_to_end(key)
        missing = [identity for identity, _ in keys if identity not in found]
        if missing:
            query = select(job.c.id, job.c.revision, job.c.document).where(job.c.id.in_(missing))
            for row in connection.execute(query):
                try:
                    found[row.id] = TransferJob.model_validate(row.document)
                except ValidationError:
                    self._unreadable |= {row.id}
                    continue
                self._unreadable -= {row.id}
                self._keep((row.id, row.revision), found[row.id])
        return found

    def profiles(self, connection: Connection, job_ids: Collection[UUID]) -> dict[UUID, DeidProfile]:
        """What is frozen into those of the jobs that have a profile, without those that cannot be read."""
        with self._lock:
            found = {job_id: self._profiles[job_id] for job_id in job_ids if job_id in self._profiles}
            for job_id in found:
                self._profiles.move_to_end(job_id)
        missing = [job_id for job_id in job_ids if job_id not in found]
        if missing:
            query = select(job.c.id, job.c.profile).where(job.c.id.in_(missing), job.c.profile.is_not(None))
            for row in connection.execute(query):
                try:
                    found[row.id] = DeidProfile.model_validate(row.profile)
                except ValidationError:
                    self._unreadable |= {row.id}
                    continue
                with self._lock:
                    self._profiles[row.id] = found[row.id]
                    while len(self._profiles) > _KEPT:
                        self._profiles.popitem(last=False)
        return found

    def _keep(self, key: tuple[UUID, int], parsed: TransferJob) -> None:
        with self._lock:
            self._jobs[key] = parsed
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)
