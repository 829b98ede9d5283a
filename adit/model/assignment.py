"""What one attempt is told to do, frozen when it was claimed, and what it reports back.

Made by the dispatcher, kept as JSON in the attempt's row, read by the worker: running tasks keep
what they started with, whatever happens to the resources meanwhile.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault, Outcome
from adit.model.transfer_job import Trial


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Value):
    """This attempt's part of a node's budget, so that no worker needs to ask another."""

    associations: int = 1
    queries_per_second: float | None = None
    bytes_per_second: int | None = None


class Assignment(_Value):
    attempt_id: int
    token: UUID
    number: int  # 1 for a task's first attempt
    task_id: int
    job_id: UUID
    job_name: str
    namespace: str
    owner: str
    job_created_on: date  # UTC; part of the folder's name, so the same in each attempt
    study_instance_uid: str
    patient_id: str | None = None
    series_instance_uids: tuple[str, ...] | None = None
    pseudonym: str | None = None
    trial: Trial | None = None
    source: DicomNode
    destination: DicomNode
    source_share: Share = Share()
    destination_share: Share = Share()
    deadline: datetime | None = None
    lease_seconds: int = 30  # without a heartbeat for this long the attempt is declared lost


class Progress(_Value):
    """Counters of one attempt so far; bytes are those received from the source in this attempt."""

    expected: int = 0
    received: int = 0
    stored: int = 0
    verified: int = 0
    bytes_received: int = 0
    bytes_stored: int = 0
    road: str | None = None  # how it is fetched, such as C-GET


class Report(_Value):
    """How an attempt ended. `faults` has the one that decided first; warnings likewise."""

    outcome: Outcome
    faults: tuple[Fault, ...] = ()  # at most 20; per-instance ones stand in the instance rows
    warnings: tuple[Fault, ...] = ()
    progress: Progress = Progress()
