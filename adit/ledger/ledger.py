"""The ledger's face: one method for everything that the dispatcher and the command line ask or write.

Each call is one transaction, unless it says otherwise. The SQL stands in the modules beside this one.
Any call may raise LedgerUnavailable (`adit.ledger.connection`); every call may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Select, select

from adit.ledger import attempts, events, instances, job_life, reports, resources, retention
from adit.ledger.admission import Admission, admission
from adit.ledger.connection import LedgerUnavailable, transaction
from adit.ledger.expansion import expand, expand_failed_of
from adit.ledger.job_documents import JobDocuments
from adit.ledger.manifest import manifest
from adit.ledger.partitions import prepare_month
from adit.ledger.records import (
    Applied,
    EndedAttempt,
    EventRecord,
    JobRecord,
    JobSummary,
    NodeKey,
    RunningAttempt,
    Settlement,
    TaskRecord,
    TaskSeed,
)
from adit.ledger.resources import ResourceConflict
from adit.ledger.settlement import NotProven, settle
from adit.ledger.tables import task
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault
from adit.model.state import TaskState
from adit.model.transfer_job import TransferJob

__all__ = ["Admission", "Ledger", "LedgerUnavailable", "NotProven", "ResourceConflict"]


class Ledger:
    """Needs the owner's role; threads may share it. All times are aware, `now` is the caller's clock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._documents = JobDocuments()

    # --- resources ---

    def apply_node(self, node: DicomNode, now: datetime) -> Applied:
        """Create or replace a node. Running attempts keep the node that they started with."""
        with transaction(self._engine) as connection:
            return resources.apply_node(connection, node, now)

    def apply_job(self, job: TransferJob, now: datetime, *, refusal: Fault | None = None) -> Applied:
        """Create a job or change what may be changed. Raises ResourceConflict, naming the field.

        With a `refusal` the job is recorded as one that never runs; ignored once it has tasks.
        """
        prepare_month(self._engine, now.astimezone(UTC).date())
        with transaction(self._engine) as connection:
            return resources.apply_job(connection, job, now, refusal)

    def refuse(self, job_id: UUID, fault: Fault, now: datetime) -> bool:
        """The job will never run. False, and nothing happens, if it has tasks or has ended."""
        with transaction(self._engine) as connection:
            return resources.refuse(connection, job_id, fault, now)

    def node(self, key: NodeKey) -> DicomNode | None:
        with transaction(self._engine) as connection:
            return resources.find_node(connection, key)

    def nodes(self) -> list[DicomNode]:
        """By namespace and name."""
        with transaction(self._engine) as connection:
            return resources.all_nodes(connection)

    def job(self, key: tuple[str, str]) -> JobRecord | None:
        """By namespace and name."""
        return next(iter(self._records(resources.job_query(key))), None)

    def jobs(self, *, limit: int = 100) -> list[JobRecord]:
        """Newest first."""
        return self._records(resources.jobs_query(limit=limit))

    # --- expansion ---

    def unexpanded(self, limit: int) -> list[JobRecord]:
        """Accepted jobs that have not got all of their tasks yet, oldest first; cancelled ones too."""
        return self._records(resources.unexpanded_query(limit))

    def expand(self, job_id: UUID, seeds: Sequence[TaskSeed], now: datetime) -> int:
        """Make the job's tasks, 1,000 a transaction, from where an earlier call stopped; how many were made.

        `seeds` must be the same at each call for a job.
        """
        return expand(self._engine, job_id, seeds, now)

    def expand_failed_of(self, job_id: UUID, failed_job_id: UUID, now: datetime) -> int:
        """The tasks of the other job that ended as Failure become this job's tasks.

        Raises ValueError while the other job has not ended.
        """
        return expand_failed_of(self._engine, job_id, failed_job_id, now)

    # --- admission ---

    def admission(self, now: datetime) -> AbstractContextManager[Admission]:
        """One look at what may start, and its claims, under a lock that one dispatcher holds at a time.

        Claims are committed when the block ends, and forgotten when it raises.
        """
        return admission(self._engine, self._documents, now)

    # --- attempts ---

    def running(self) -> list[RunningAttempt]:
        """Attempts that have not ended, oldest first."""
        with transaction(self._engine) as connection:
            return attempts.running(connection)

    def ended(self, limit: int) -> list[EndedAttempt]:
        """Attempts that ended and are not settled, the first to end first."""
        with transaction(self._engine) as connection:
            return attempts.ended(connection, self._documents, limit)

    def settle(self, attempt_id: int, settlement: Settlement, now: datetime) -> bool:
        """Write the task's new state with what its instance rows say. False if it was settled before.

        Raises NotProven, and writes nothing, when Success is not proven by the rows.
        """
        with transaction(self._engine) as connection:
            return settle(connection, attempt_id, settlement, now)

    def declare_lost(self, attempt_id: int, *, seen_heartbeat: datetime | None, fault: Fault, now: datetime) -> bool:
        """End an attempt whose worker is gone, unless its heartbeat is no longer `seen_heartbeat`.

        The late worker is fenced from then on. False if it has ended or gave a sign of life.
        """
        with transaction(self._engine) as connection:
            return attempts.declare_lost(connection, attempt_id, seen_heartbeat, fault, now)

    def request_stop(self, attempt_ids: Sequence[int], now: datetime) -> None:
        """The workers are told with their next heartbeat."""
        with transaction(self._engine) as connection:
            attempts.request_stop(connection, attempt_ids, now)

    # --- the life of jobs ---

    def cancel_pending(self, now: datetime) -> int:
        """Pending tasks of cancelled jobs become Canceled; how many did."""
        with transaction(self._engine) as connection:
            return job_life.cancel_pending(connection, now)

    def terminating(self) -> list[int]:
        """Running attempts of jobs whose cancel is Terminate, not yet asked to stop."""
        with transaction(self._engine) as connection:
            return attempts.terminating(connection)

    def fail_overdue(self, now: datetime) -> int:
        """Pending tasks past their job's deadline become Failure; how many did."""
        with transaction(self._engine) as connection:
            return job_life.fail_overdue(connection, now)

    def close_jobs(self, now: datetime) -> list[UUID]:
        """Jobs whose every task has ended get their end; which did."""
        with transaction(self._engine) as connection:
            return job_life.close_jobs(connection, now)

    def next_due(self, now: datetime) -> datetime | None:
        """The earliest time after `now` at which a waiting task becomes due or a deadline passes."""
        with transaction(self._engine) as connection:
            return job_life.next_due(connection, now)

    def expire(self, now: datetime) -> int:
        """Drop the instance rows of jobs past their retention, in several transactions; of how many jobs."""
        return retention.expire(self._engine, now)

    # --- reporting ---

    def summary(self, job_id: UUID) -> JobSummary:
        """Raises LookupError for an unknown job, as `manifest` does."""
        with transaction(self._engine) as connection:
            return reports.summary(connection, self._documents, job_id)

    def tasks(self, job_id: UUID, *, state: TaskState | None = None) -> Iterator[TaskRecord]:
        """In the order of the selection; read in pages as the iterator advances."""
        return reports.tasks(self._engine, job_id, state)

    def instances(self, task_id: int) -> Iterator[InstanceRecord]:
        """By SOP Instance UID; read in pages. Raises LookupError for an unknown task."""
        with transaction(self._engine) as connection:
            created_on = connection.execute(
                select(task.c.job_created_on).where(task.c.id == task_id)
            ).scalar_one_or_none()
        if created_on is None:
            raise LookupError(f"no task {task_id}")
        return instances.paged(self._engine, task_id, created_on)

    def events(self, task_id: int) -> list[EventRecord]:
        """The task's log, oldest first."""
        with transaction(self._engine) as connection:
            return events.events_of(connection, task_id)

    def manifest(self, job_id: UUID) -> dict[str, object]:
        """The JSON-ready proof: job, tasks, attempts, instances; no patient id, no patient name."""
        return manifest(self._engine, self._documents, job_id)

    def _records(self, query: Select[Any]) -> list[JobRecord]:
        with transaction(self._engine) as connection:
            return self._documents.records(connection, connection.execute(query).all())
