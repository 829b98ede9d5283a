"""What one attempt is told to do, frozen when it was claimed, and what it reports back.

Made by the dispatcher, kept as JSON in the attempt's row, read by the worker: running tasks keep
what they started with, whatever happens to the resources meanwhile.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from adit.model.dicom_node import DicomNode
from adit.model.findings import Observation, Road
from adit.model.frozen_profile import FrozenProfile
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.trial import Trial


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


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
    profile: FrozenProfile | None = None  # the whole resource; without one, originals are sent
    pseudonym: str | None = None  # with a profile: absent where it is derived
    trial: Trial | None = None
    direct: bool = False  # the source is asked to send to the destination itself, before anything is fetched
    source: DicomNode
    destination: DicomNode
    source_share: Share = Share()
    destination_share: Share = Share()
    source_last: tuple[Road, ...] = ()  # roads to try last, by what is known of the node
    destination_last: tuple[Road, ...] = ()
    announced: int = 0  # what earlier attempts heard the source speak of, as in Progress
    to_probe: tuple[str, ...] = ()  # nodes that this attempt is asked to probe, by their names
    deadline: datetime | None = None
    lease_seconds: int = 30  # without a heartbeat for this long the attempt is declared lost


class Progress(_Value):
    """Counters of one attempt so far; bytes are those received from the source in this attempt."""

    expected: int = 0
    received: int = 0
    stored: int = 0
    verified: int = 0
    announced: int = 0  # the most instances of the task that the source spoke of while it was fetched from
    bytes_received: int = 0
    bytes_stored: int = 0
    road: str | None = None  # how it is fetched, such as C-GET; several with a comma between
    store_road: str | None = None  # how it is stored, such as C-STORE


class Report(_Value):
    """How an attempt ended. `faults` has the one that decided first; warnings likewise."""

    outcome: Outcome
    faults: tuple[Fault, ...] = ()  # at most 20; per-instance ones stand in the instance rows
    warnings: tuple[Fault, ...] = ()
    progress: Progress = Progress()
    observed: tuple[Observation, ...] = ()  # of each of its nodes


_UNREADABLE: Final = Fault(
    code=FaultCode.CONTRACT_MISMATCH,
    message="A worker of another version reported what this one cannot read.",
    cure="Give all parts of the system the same version.",
)


def report_of(document: object) -> Report:
    """A report as it was kept. One that only another version can read is a fault: it stops nothing but its own task."""
    try:
        return Report.model_validate(document)
    except ValidationError:
        return Report(outcome=_UNREADABLE.outcome, faults=(_UNREADABLE,))


def warning_of(document: object) -> Fault:
    """A report's warning as it was kept; also one that this version does not know, so that none is forgotten."""
    try:
        return Fault.model_validate(document)
    except ValidationError:
        return _UNREADABLE
