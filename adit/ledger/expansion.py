"""A job's selection becomes its tasks: idempotent, in batches, with a saved cursor.

A crash anywhere, or two dispatchers at once, end in the same rows: a task's key is a function of what it
asks for, and each batch is written together with the cursor under the job's lock.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, Engine, select, text, update

from adit.ledger import selections
from adit.ledger.connection import transaction
from adit.ledger.records import TaskSeed
from adit.ledger.tables import job
from adit.model.deid_profile import DeidProfile

BATCH: Final = 1000

# One parameter for the whole batch: a tenth of the time of a parameter for each value.
_INSERT: Final = text(
    """
    INSERT INTO task (job_id, job_created_on, state, not_before,
                      key, study_instance_uid, patient_id, series_instance_uids, pseudonym)
    SELECT :job_id, :created_on, 'Pending', :now,
           key, study_instance_uid, patient_id, series_instance_uids, pseudonym
    FROM jsonb_to_recordset(CAST(:seeds AS jsonb)) AS seed (
        key text, study_instance_uid text, patient_id text, series_instance_uids text[], pseudonym text
    )
    ON CONFLICT DO NOTHING
    """
)
_COPY_FAILED: Final = text(
    """
    INSERT INTO task (job_id, job_created_on, state, not_before,
                      key, study_instance_uid, patient_id, series_instance_uids, pseudonym, place)
    SELECT :job_id, :created_on, 'Pending', :now,
           key, study_instance_uid, patient_id, series_instance_uids, pseudonym, place
    FROM task WHERE job_id = :failed_job_id AND state = 'Failure'
    ORDER BY id
    ON CONFLICT DO NOTHING
    """
)

# What the failed tasks brought to the same destination is not sent again, only asked for again: it counts as stored.
# Not so under a profile that has changed meanwhile: a study must not arrive half by the one, half by the other.
# A folder keeps each job's files apart (their rows have a location), so there the new job brings all of them.
_COPY_STORED: Final = text(
    """
    INSERT INTO instance (job_created_on, task_id, sop_instance_uid, series_instance_uid, sop_class_uid, state,
                          expected_at, received_at, stored_at, transfer_syntax_uid, size, sha256, dimse_status,
                          sent_as)
    SELECT task.job_created_on, task.id, known.sop_instance_uid, known.series_instance_uid, known.sop_class_uid,
           'Stored', known.expected_at, known.received_at, known.stored_at,
           known.transfer_syntax_uid, known.size, known.sha256, known.dimse_status, known.sent_as
    FROM task
    JOIN job ON job.id = task.job_id
    JOIN job AS failed_job ON failed_job.id = :failed_job_id AND failed_job.destination = job.destination
         AND failed_job.profile -> 'spec' IS NOT DISTINCT FROM job.profile -> 'spec'
    JOIN task AS failed ON failed.job_id = failed_job.id AND failed.state = 'Failure' AND failed.key = task.key
    JOIN instance AS known ON known.task_id = failed.id AND known.job_created_on = failed.job_created_on
    WHERE task.job_id = :job_id AND known.state >= 'Stored' AND known.fault_code IS NULL AND known.location IS NULL
    ON CONFLICT DO NOTHING
    """
)


def task_key(seed: TaskSeed) -> str:
    """The same for the same study, series and pseudonym; the order and repetition of series say nothing."""
    series = None if seed.series_instance_uids is None else sorted(set(seed.series_instance_uids))
    return sha256(json.dumps([seed.study_instance_uid, series, seed.pseudonym]).encode()).hexdigest()


def expand(
    source: Engine, job_id: UUID, seeds: Sequence[TaskSeed], now: datetime, profile: DeidProfile | None = None
) -> int:
    """Make the tasks that are not there yet, from the saved cursor on, and return how many were made.

    `seeds` must be the same sequence at each call for a job. Raises LookupError for an unknown job.
    """

    def page(connection: Connection, cursor: int) -> tuple[Sequence[TaskSeed], int]:
        return seeds[cursor : cursor + BATCH], len(seeds)

    return _expand(source, job_id, page, now, profile)


def expand_list(
    source: Engine, job_id: UUID, selection_id: UUID, now: datetime, profile: DeidProfile | None = None
) -> int:
    """The same from a selection that the ledger keeps, which is never held as a whole.

    From the first batch on the selection stays. Raises LookupError for an unknown job or selection.
    """

    def page(connection: Connection, cursor: int) -> tuple[Sequence[TaskSeed], int]:
        size = selections.use(connection, selection_id, now)
        return selections.page(connection, selection_id, cursor, BATCH), size

    return _expand(source, job_id, page, now, profile)


_Page = Callable[[Connection, int], tuple[Sequence[TaskSeed], int]]
"""The next lines of a selection from a cursor on, and how many lines it has in all."""


def _expand(source: Engine, job_id: UUID, page: _Page, now: datetime, profile: DeidProfile | None) -> int:
    made = 0
    while True:
        with transaction(source) as connection:
            created_on, cursor, done = _locked(connection, job_id)
            if done:
                return made
            _freeze(connection, job_id, profile)
            batch, size = page(connection, cursor)
            if batch:
                lines = [{"key": task_key(seed)} | asdict(seed) for seed in batch]
                values = {"job_id": job_id, "created_on": created_on, "now": now, "seeds": json.dumps(lines)}
                made += connection.execute(_INSERT, values).rowcount
            cursor += len(batch)
            complete = cursor >= size
            connection.execute(
                update(job)
                .where(job.c.id == job_id)
                .values(expansion_cursor=cursor, expanded_at=now if complete else None)
            )


def expand_failed_of(
    source: Engine, job_id: UUID, failed_job_id: UUID, now: datetime, profile: DeidProfile | None = None
) -> int:
    """Copy the tasks of the other, ended job that ended as Failure, and what they had stored; how many were made.

    Raises LookupError for an unknown job and ValueError while the other job has not ended: its later
    failures would be missed.
    """
    with transaction(source) as connection:
        created_on, _, done = _locked(connection, job_id)
        if done:
            return 0
        ended_at = connection.execute(select(job.c.ended_at).where(job.c.id == failed_job_id)).one_or_none()
        if ended_at is None:
            raise LookupError(f"no job {failed_job_id}")
        if ended_at[0] is None:
            raise ValueError(f"job {failed_job_id} has not ended")
        _freeze(connection, job_id, profile)
        made = connection.execute(
            _COPY_FAILED,
            {"job_id": job_id, "failed_job_id": failed_job_id, "created_on": created_on, "now": now},
        ).rowcount
        connection.execute(_COPY_STORED, {"job_id": job_id, "failed_job_id": failed_job_id})
        connection.execute(update(job).where(job.c.id == job_id).values(expanded_at=now))
        return made


def _freeze(connection: Connection, job_id: UUID, profile: DeidProfile | None) -> None:
    """The job keeps the profile that its first tasks were made with.

    For each attempt anew, as nodes are taken, one study could arrive in two versions: half of its instances by the
    profile as it was, and after a retry the rest by the one that somebody edited meanwhile.
    """
    if profile is not None:
        document = profile.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)
        connection.execute(update(job).where(job.c.id == job_id, job.c.profile.is_(None)).values(profile=document))


def _locked(connection: Connection, job_id: UUID) -> tuple[object, int, bool]:
    columns = (job.c.created_on, job.c.expansion_cursor, job.c.expanded_at, job.c.ended_at)
    row = connection.execute(select(*columns).where(job.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise LookupError(f"no job {job_id}")
    # A refused job has ended; it gets no tasks.
    return row.created_on, row.expansion_cursor, row.expanded_at is not None or row.ended_at is not None
