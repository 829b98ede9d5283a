"""The ledger's face: one method for everything that the dispatcher and the command line ask or write.

Each call is one transaction, unless it says otherwise. The SQL stands in the modules beside this one.
Any call may raise LedgerUnavailable (`adit.ledger.connection`); every call may be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, Select, select, text

from adit.ledger import (
    api_tokens,
    attempts,
    events,
    instances,
    job_life,
    node_findings,
    reports,
    resources,
    retention,
    selections,
    treatments,
)
from adit.ledger.admission import Admission, admission
from adit.ledger.attempt_history import attempts_of
from adit.ledger.connection import LedgerUnavailable, transaction
from adit.ledger.expansion import expand, expand_failed_of, expand_list
from adit.ledger.gauges import Gauges, gauges
from adit.ledger.job_documents import JobDocuments
from adit.ledger.job_pages import JobFilter, JobKey, JobPage, job_page
from adit.ledger.manifest import manifest, manifest_parts
from adit.ledger.partitions import prepare_month
from adit.ledger.records import (
    Applied,
    AttemptRecord,
    EndedAttempt,
    EventRecord,
    JobRecord,
    JobStage,
    JobSummary,
    LiveJob,
    NodeKey,
    ProfileKey,
    RunningAttempt,
    SelectionRecord,
    Settlement,
    TaskRecord,
    TaskSeed,
    TokenRecord,
)
from adit.ledger.resources import ResourceConflict
from adit.ledger.schema_version import Schema, schema
from adit.ledger.settlement import NotProven, settle
from adit.ledger.stages import stages
from adit.ledger.tables import task
from adit.model.assignment import Report
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings, observation
from adit.model.instance import InstanceRecord
from adit.model.outcome import Fault
from adit.model.state import TaskState
from adit.model.transfer_job import ListReference, TransferJob

__all__ = ["Admission", "Ledger", "LedgerUnavailable", "NotProven", "ResourceConflict"]


class Ledger:
    """Needs the owner's role; threads may share it. All times are aware, `now` is the caller's clock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._documents = JobDocuments()

    def schema(self) -> Schema:
        """How the database's schema compares to this version's."""
        return schema(self._engine)

    # --- resources ---

    def apply_node(self, node: DicomNode, now: datetime) -> Applied:
        """Create or replace a node. Running attempts keep the node that they started with."""
        with transaction(self._engine) as connection:
            return resources.apply_node(connection, node, now)

    def apply_profile(self, profile: DeidProfile, now: datetime) -> Applied:
        """Create or replace a profile. Jobs that have their tasks keep the one that these were made with."""
        with transaction(self._engine) as connection:
            return resources.apply_profile(connection, profile, now)

    def apply_job(self, job: TransferJob, now: datetime, *, refusal: Fault | None = None) -> Applied:
        """Create a job or change what may be changed. Raises ResourceConflict, naming the field.

        With a `refusal` the job is recorded as one that never runs; ignored once it has tasks.
        """
        prepare_month(self._engine, now.astimezone(UTC).date())
        with transaction(self._engine) as connection:
            return resources.apply_job(connection, job, now, refusal)

    def create_job(self, job: TransferJob, now: datetime) -> bool:
        """False, and nothing happens, if there is one of that name."""
        prepare_month(self._engine, now.astimezone(UTC).date())
        with transaction(self._engine) as connection:
            return resources.create_job(connection, job, now)

    def edit_job(self, key: tuple[str, str], edit: Callable[[TransferJob], TransferJob]) -> TransferJob | None:
        """Change a job as `edit` says, which sees it as it is; None if there is none. Raises ResourceConflict."""
        with transaction(self._engine) as connection:
            return resources.edit_job(connection, key, edit)

    def refuse(self, job_id: UUID, fault: Fault, now: datetime) -> bool:
        """The job will never run. False, and nothing happens, if it has tasks or has ended."""
        with transaction(self._engine) as connection:
            return resources.refuse(connection, job_id, fault, now)

    def delete_node(self, key: NodeKey, uid: str | None = None) -> bool:
        """Its resource is gone: nothing new starts with it. False if it was not there, or is another by its uid."""
        with transaction(self._engine) as connection:
            return resources.delete_node(connection, key, uid)

    def delete_profile(self, key: ProfileKey, uid: str | None = None) -> bool:
        """Its resource is gone: no job gets tasks with it. False if it was not there, or is another by its uid."""
        with transaction(self._engine) as connection:
            return resources.delete_profile(connection, key, uid)

    def delete_job(self, job_id: UUID, now: datetime) -> bool:
        """Its resource is gone: its work is stopped and its name is free; the record stays. False if it knew."""
        with transaction(self._engine) as connection:
            return resources.delete_job(connection, job_id, now)

    def live_jobs(self) -> dict[UUID, LiveJob]:
        """Every job that was not deleted, by id."""
        with transaction(self._engine) as connection:
            return resources.live_jobs(connection)

    def node(self, key: NodeKey) -> DicomNode | None:
        with transaction(self._engine) as connection:
            return resources.find_node(connection, key)

    def nodes(self) -> list[DicomNode]:
        """By namespace and name."""
        with transaction(self._engine) as connection:
            return resources.all_nodes(connection)

    def profile(self, key: ProfileKey) -> DeidProfile | None:
        with transaction(self._engine) as connection:
            return resources.find_profile(connection, key)

    def profiles(self) -> list[DeidProfile]:
        """By namespace and name."""
        with transaction(self._engine) as connection:
            return resources.all_profiles(connection)

    def findings(self) -> dict[NodeKey, Findings]:
        """What was found of nodes, since each was edited last; those of which nothing is known are not in it."""
        with transaction(self._engine) as connection:
            return node_findings.findings_of(connection)

    def note_probe(self, node: DicomNode, services: Sequence[str], now: datetime) -> None:
        """The node answered a probe. Forgotten if it is not any more what was probed."""
        seen = observation(node.metadata.name, tuple(services), {})
        with transaction(self._engine) as connection:
            node_findings.learn(connection, node, seen, now)

    def job(self, key: tuple[str, str]) -> JobRecord | None:
        """By namespace and name."""
        return next(iter(self._records(resources.job_query(key))), None)

    def job_by_id(self, job_id: UUID) -> JobRecord | None:
        """Deleted ones too."""
        return next(iter(self._records(resources.job_by_id_query(job_id))), None)

    def jobs(self, *, limit: int = 100) -> list[JobRecord]:
        """Newest first."""
        return self._records(resources.jobs_query(limit=limit))

    def job_page(self, wanted: JobFilter, after: JobKey | None, limit: int) -> JobPage:
        """Jobs behind `after`, newest first, with the counts of their settled tasks."""
        with transaction(self._engine) as connection:
            return job_page(connection, self._documents, wanted, after, limit)

    # --- expansion ---

    def unexpanded(self, limit: int) -> list[JobRecord]:
        """Accepted jobs that have not got all of their tasks yet, oldest first; cancelled ones too."""
        return self._records(resources.unexpanded_query(limit))

    def expand(self, job_id: UUID, seeds: Sequence[TaskSeed], now: datetime, profile: DeidProfile | None = None) -> int:
        """Make the job's tasks, 1,000 a transaction, from where an earlier call stopped; how many were made.

        `seeds` must be the same at each call for a job. The `profile` is frozen into the job with its first tasks,
        here and in the next two; later calls change nothing of it.
        """
        return expand(self._engine, job_id, seeds, now, profile)

    def expand_failed_of(
        self, job_id: UUID, failed_job_id: UUID, now: datetime, profile: DeidProfile | None = None
    ) -> int:
        """The tasks of the other job that ended as Failure become this job's tasks.

        Raises ValueError while the other job has not ended.
        """
        return expand_failed_of(self._engine, job_id, failed_job_id, now, profile)

    def expand_list(self, job_id: UUID, selection_id: UUID, now: datetime, profile: DeidProfile | None = None) -> int:
        """The lines of a selection become this job's tasks, 1,000 a transaction, from where an earlier call stopped."""
        return expand_list(self._engine, job_id, selection_id, now, profile)

    # --- selections ---

    def add_selection(
        self, namespace: str, name: str | None, lines: Sequence[TaskSeed], expires_at: datetime, now: datetime
    ) -> tuple[SelectionRecord, bool]:
        """Keep a selection for jobs of the namespace; and whether it is new. It cannot be changed.

        Raises ResourceConflict when the name belongs to one with other lines.
        """
        with transaction(self._engine) as connection:
            return selections.add(connection, namespace, name, lines, expires_at, now)

    def selection(self, namespace: str, reference: ListReference) -> SelectionRecord | None:
        with transaction(self._engine) as connection:
            return selections.find(connection, namespace, reference)

    # --- tokens of the facade ---

    def create_token(
        self, name: str, scopes: Sequence[str], namespaces: Sequence[str] | None, expires_at: datetime, now: datetime
    ) -> str | None:
        """A new token, which is told only here; None if the name is taken."""
        with transaction(self._engine) as connection:
            return api_tokens.create(connection, name, scopes, namespaces, expires_at, now)

    def token(self, token: str, now: datetime) -> TokenRecord | None:
        """Whose it is; None for one that is unknown, expired or revoked."""
        with transaction(self._engine) as connection:
            return api_tokens.find(connection, token, now)

    def tokens(self) -> list[TokenRecord]:
        """By name, expired and revoked ones too."""
        with transaction(self._engine) as connection:
            return api_tokens.all_tokens(connection)

    def revoke_token(self, name: str, now: datetime) -> bool:
        """False if there is none of that name."""
        with transaction(self._engine) as connection:
            return api_tokens.revoke(connection, name, now)

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

    def settle(self, attempt_id: int, settlement: Settlement, now: datetime, *, amended: Report | None = None) -> bool:
        """Write the task's new state with what its instance rows say. False if it was settled before.

        `amended` replaces the worker's report, where more was learnt of its end than the worker knew.

        Raises NotProven, and writes nothing, when Success is not proven by the rows.
        """
        with transaction(self._engine) as connection:
            settled = settle(connection, attempt_id, settlement, now, amended)
        if settled:
            node_findings.learn_from(self._engine, attempt_id, now)
        return settled

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
        """Drop the instance rows of jobs past their retention, in several transactions; of how many jobs.

        Selections that were never used go as well, when their time is over.
        """
        with transaction(self._engine) as connection:
            selections.expire(connection, now)
            retention.forget_mailboxes(connection, now)
        return retention.expire(self._engine, now)

    # --- reporting ---

    def gauges(self, now: datetime) -> Gauges:
        """A few numbers about the whole ledger."""
        with transaction(self._engine) as connection:
            return gauges(connection, now)

    def summary(self, job_id: UUID) -> JobSummary:
        """Raises LookupError for an unknown job, as `manifest` does."""
        with transaction(self._engine) as connection:
            return reports.summary(connection, self._documents, job_id)

    def stages(self, job_ids: Collection[UUID]) -> dict[UUID, JobStage]:
        """Of those jobs that the ledger knows: cheap, to find out whose summary is worth asking for."""
        with transaction(self._engine) as connection:
            return stages(connection, job_ids)

    def tasks(self, job_id: UUID, *, state: TaskState | None = None) -> Iterator[TaskRecord]:
        """In the order of the selection; read in pages as the iterator advances."""
        return reports.tasks(self._engine, job_id, state)

    def task_page(self, job_id: UUID, state: TaskState | None, after: int, limit: int) -> list[TaskRecord]:
        """The tasks behind the one with id `after`, at most `limit`, in the order of the selection."""
        with transaction(self._engine) as connection:
            return reports.task_page(connection, job_id, state, after, limit)

    def task(self, job_id: UUID, task_id: int) -> TaskRecord | None:
        """The task, if it is one of this job's."""
        with transaction(self._engine) as connection:
            return reports.find_task(connection, job_id, task_id)

    def attempts(self, task_id: int) -> list[AttemptRecord]:
        """Those at one task, the first one first."""
        with transaction(self._engine) as connection:
            return attempts_of(connection, [task_id]).get(task_id, [])

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

    def deidentification(self, job_id: UUID) -> dict[str, Any]:
        """What was done to the job's instances, JSON-ready: by which profile, how often, and what did not leave."""
        with transaction(self._engine) as connection:
            return treatments.report(list(treatments.of_job(connection, job_id)))

    def manifest_parts(self, job_id: UUID) -> tuple[dict[str, object], Iterator[dict[str, object]]]:
        """The same without its tasks, and its tasks one by one; read in pages as the iterator advances."""
        return manifest_parts(self._engine, self._documents, job_id)

    def unreadable_jobs(self) -> frozenset[UUID]:
        """Jobs that this version met and cannot read: they wait for the newer one that wrote them."""
        return self._documents.unreadable

    def revision(self) -> str | None:
        """The schema's, as `adit.ledger.migration` wrote it."""
        with transaction(self._engine) as connection:
            revision: str | None = connection.execute(text("SELECT max(version_num) FROM alembic_version")).scalar_one()
            return revision

    def _records(self, query: Select[Any]) -> list[JobRecord]:
        with transaction(self._engine) as connection:
            return list(self._documents.records(connection, connection.execute(query).all()).values())
