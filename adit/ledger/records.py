"""What the ledger tells its callers, as plain values; rows never leave it.

Read by the dispatcher's decisions (which are pure functions of these) and by the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from adit.ledger.event_record import EventRecord as EventRecord
from adit.model.assignment import Assignment, Report, Share
from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import TransferJob

NodeKey = tuple[str, str]
"""Namespace and name of a DicomNode."""

ProfileKey = tuple[str, str]
"""Namespace and name of a DeidProfile."""


class Applied(StrEnum):
    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as it was applied, and where its life stands."""

    id: UUID
    job: TransferJob
    created_at: datetime
    expanded_at: datetime | None
    ended_at: datetime | None  # when its last task ended; None while any is open
    refusal: Fault | None  # why it was not accepted; such a job never runs
    deleted_at: datetime | None = None  # when its resource went away; the record stays
    has_profile: bool = False  # whether the DeidProfile that it names is frozen into it

    @property
    def deadline(self) -> datetime | None:
        """When whatever has not ended fails."""
        seconds = self.job.spec.deadline_seconds
        return None if seconds is None else self.created_at + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class LiveJob:
    """What an operator compares with the resources that are there."""

    namespace: str
    ended: bool


@dataclass(frozen=True, slots=True)
class TaskSeed:
    """One task to be: what expansion makes of one line of a selection."""

    study_instance_uid: str
    patient_id: str | None = None
    series_instance_uids: tuple[str, ...] | None = None
    pseudonym: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt at a task: how far it came, and how it ended if it has."""

    task_id: int
    number: int
    claimed_at: datetime
    begun_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None
    reference: str | None  # the launcher's name for its worker
    road: str | None
    store_road: str | None
    report: Report | None
    expected: int
    received: int
    stored: int
    verified: int
    bytes_received: int
    bytes_stored: int


@dataclass(frozen=True, slots=True)
class SelectionRecord:
    """A selection that the facade was given; its lines stay in the ledger."""

    id: UUID
    namespace: str
    name: str | None
    size: int
    pseudonyms: int  # how many of its lines ask for a de-identified copy
    without_patient_id: int
    created_at: datetime
    expires_at: datetime  # when it goes if no job has used it
    used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """Who may call the facade, and for what. The token itself is kept nowhere."""

    name: str
    scopes: frozenset[str]
    namespaces: frozenset[str] | None  # None: all
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


# --- admission: what the dispatcher's `admit` decision sees and answers ---


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """A node and what running attempts hold of its budget, as source and destination together."""

    node: DicomNode
    tasks: int
    associations: int
    queries_per_second: float
    bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job with tasks that are due now (not suspended, not cancelled, expanded or expanding)."""

    record: JobRecord
    due: int  # pending tasks whose not_before has passed, counted up to a few hundred
    running: int  # unsettled attempts of this job
    source: NodeKey
    destination: NodeKey


@dataclass(frozen=True, slots=True)
class AdmissionSnapshot:
    """Taken and used under one transaction's lock, so that two dispatchers never overbook a node."""

    now: datetime
    candidates: tuple[Candidate, ...]
    nodes: Mapping[NodeKey, NodeLoad]
    owner_running: Mapping[str, int]  # unsettled attempts by owner
    total_running: int


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for one job to start one task, with these shares."""

    job_id: UUID
    source_share: Share
    destination_share: Share


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed task: the attempt exists and is committed; now it must be launched.

    What earlier attempts learnt of its size, those of other jobs too, lets a launcher choose how much room a worker
    gets.
    """

    assignment: Assignment
    outgrown: int = 0  # how often a worker was too small for it (out of memory, or of room on disk)
    known_bytes: int = 0  # the most that an earlier attempt at the same received


# --- running and ended attempts ---


@dataclass(frozen=True, slots=True)
class RunningAttempt:
    """An attempt that has not ended, as far as the ledger knows."""

    attempt_id: int
    token: UUID
    number: int
    task_id: int
    job_id: UUID
    namespace: str
    claimed_at: datetime
    begun_at: datetime | None  # when the worker first reported
    heartbeat_at: datetime | None
    reference: str | None  # the launcher's name for it: written by the worker itself when it begins
    stop_requested_at: datetime | None
    deadline: datetime | None
    terminate: bool  # the job's cancel is Terminate


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt with a report, not yet settled; everything the `settle` decision needs."""

    attempt_id: int
    task_id: int
    job_id: UUID
    number: int
    report: Report
    counted_attempts: int  # this one included, those lost to infrastructure not
    infrastructure_faults: int  # this one included if it is one
    bugs: int  # attempts of this task that ended as Bug, this one included
    unstarted: int  # attempts for which no worker could be started, this one included if it is one
    job: TransferJob
    job_created_at: datetime
    # from the instance rows, not from the worker's word:
    expected: int
    verified: int
    stored: int  # stored or verified
    faulty: int
    left_out: int = 0  # by the profile, and not among the expected
    earlier_warnings: tuple[Fault, ...] = ()  # of this task's attempts before this one, the first attempt's first


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of a task after an attempt: the `settle` decision's answer."""

    state: TaskState  # PENDING means: try again at `not_before`
    not_before: datetime | None = None
    message: str = ""
    fault: Fault | None = None


# --- reporting ---


@dataclass(frozen=True, slots=True)
class FaultCount:
    code: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class JobSummary:
    record: JobRecord
    state: JobState
    message: str
    tasks: Mapping[TaskState, int]
    expected: int
    received: int
    stored: int
    verified: int
    bytes_stored: int
    started_at: datetime | None
    left_out: int = 0  # by their profile, and not among the expected
    failures: tuple[FaultCount, ...] = ()  # and warnings: the three most frequent


@dataclass(frozen=True, slots=True)
class JobStage:
    """What changes seldom in a job's life, and costs little to ask: whether to ask for its summary."""

    revision: int  # of what was applied
    expanded: bool
    ended: bool


@dataclass(frozen=True, slots=True)
class TaskRecord:
    id: int
    job_id: UUID
    study_instance_uid: str
    series_instance_uids: tuple[str, ...] | None
    state: TaskState
    attempts: int
    not_before: datetime | None
    message: str
    fault: Fault | None
    expected: int
    received: int
    stored: int
    verified: int
    bytes_stored: int
    digest: str | None  # over its instances, kept when their rows are dropped
    started_at: datetime | None
    ended_at: datetime | None
    left_out: int = 0
