"""TransferJob: what a person or a pipeline asks for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from adit.model.identifiers import LongString, Name, PatientID, StudyUID
from adit.model.resource import Resource, Rule, Strict


class NodeReference(Strict):
    """A DicomNode in the same namespace."""

    node: Name


class StudySelection(Strict):
    """One study, or some of its series."""

    study_instance_uid: StudyUID = Field(alias="studyInstanceUID")
    patient_id: PatientID | None = Field(default=None, alias="patientID")
    series_instance_uids: Annotated[tuple[StudyUID, ...], Field(min_length=1, max_length=100)] | None = Field(
        default=None, alias="seriesInstanceUIDs", description="The series to move; the whole study if absent."
    )
    pseudonym: LongString | None = Field(
        default=None, description="Asks for a de-identified copy under this name; refused where none can be made."
    )


class JobReference(Strict):
    """A finished TransferJob in the same namespace."""

    name: Name


MAX_STUDIES = 500


class Selection(Strict):
    """Which studies: named one by one, or what failed in another job."""

    studies: Annotated[tuple[StudySelection, ...], Field(min_length=1, max_length=MAX_STUDIES)] | None = None
    failed_of: JobReference | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.studies), has(self.failedOf)].filter(kind, kind).size() == 1",
            message="exactly one of studies, failedOf must be given",
        ),
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Selection:
        if (self.studies is None) == (self.failed_of is None):
            raise ValueError("exactly one of studies, failedOf must be given")
        return self


class Trial(Strict):
    """Written into every instance as ClinicalTrialProtocolID (0012,0020) and -Name (0012,0021)."""

    protocol_id: LongString | None = Field(default=None, alias="protocolID")
    protocol_name: LongString | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.protocolID) || has(self.protocolName)",
            message="at least one of protocolID, protocolName must be given",
        ),
    )

    @model_validator(mode="after")
    def _something(self) -> Trial:
        if self.protocol_id is None and self.protocol_name is None:
            raise ValueError("at least one of protocolID, protocolName must be given")
        return self


class Priority(StrEnum):
    """Urgent starts before all others, whoever asked; it stays within budgets and windows."""

    LOW = "Low"
    NORMAL = "Normal"
    HIGH = "High"
    URGENT = "Urgent"


class Cancel(StrEnum):
    """Drain lets running tasks finish; Terminate stops them too."""

    DRAIN = "Drain"
    TERMINATE = "Terminate"


class Retry(Strict):
    """How often and how late a task is tried again after a fault that may pass."""

    max_attempts: Annotated[int, Field(ge=1, le=20)] = 5
    backoff_seconds: Annotated[int, Field(ge=1, le=86400)] = 30
    max_backoff_seconds: Annotated[int, Field(ge=1, le=86400)] = 1800

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.maxBackoffSeconds >= self.backoffSeconds",
            message="maxBackoffSeconds must be at least backoffSeconds",
            field_path=".maxBackoffSeconds",
        ),
    )

    @model_validator(mode="after")
    def _ordered(self) -> Retry:
        if self.max_backoff_seconds < self.backoff_seconds:
            raise ValueError(
                f"maxBackoffSeconds must be at least backoffSeconds ({self.max_backoff_seconds} < {self.backoff_seconds})"
            )
        return self


class Retention(Strict):
    """How long the row per instance is kept after the job ended; the summary and digest stay."""

    instances_seconds: Annotated[int, Field(ge=0, le=2_000_000_000)] = 90 * 86400


class TransferJobSpec(Strict):
    source: NodeReference
    destination: NodeReference
    selection: Selection
    trial: Trial | None = None
    owner: Name | None = Field(default=None, description="On whose behalf; owners get fair shares. The namespace if absent.")
    priority: Priority = Priority.NORMAL
    parallelism: Annotated[int, Field(ge=1, le=500)] = 10
    retry: Retry = Retry()
    deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None, description="Counted from the job's creation; what has not ended by then fails."
    )
    retention: Retention = Retention()
    suspend: bool | None = Field(default=None, description="Stops starting tasks; running ones finish.")
    cancel: Cancel | None = Field(default=None, description="Set once: Drain, then perhaps Terminate; never back.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="self.source == oldSelf.source", message="source cannot be changed", field_path=".source"),
        Rule(
            rule="self.destination == oldSelf.destination",
            message="destination cannot be changed",
            field_path=".destination",
        ),
        Rule(
            rule="self.selection == oldSelf.selection", message="selection cannot be changed", field_path=".selection"
        ),
        Rule(
            rule="has(self.trial) == has(oldSelf.trial) && (!has(self.trial) || self.trial == oldSelf.trial)",
            message="trial cannot be changed",
        ),
        Rule(
            rule="!has(oldSelf.cancel) || (has(self.cancel) && (self.cancel == oldSelf.cancel || self.cancel == 'Terminate'))",
            message="cancel is set once: unset, Drain, Terminate, never back",
        ),
        Rule(
            rule="self.source.node != self.destination.node",
            message="source and destination must be different nodes",
            field_path=".destination",
        ),
    )

    @model_validator(mode="after")
    def _two_nodes(self) -> TransferJobSpec:
        if self.source.node == self.destination.node:
            raise ValueError(f"source and destination must be different nodes (both are {self.source.node})")
        return self


class TransferJob(Resource):
    kind: Literal["TransferJob"] = "TransferJob"
    spec: TransferJobSpec

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(oldSelf.status) || !has(oldSelf.status.completionTime) || "
            "(self.spec.priority == oldSelf.spec.priority && self.spec.parallelism == oldSelf.spec.parallelism && "
            "self.spec.retry == oldSelf.spec.retry)",
            message="a finished job is frozen; make a new one with selection.failedOf",
        ),
    )
    plural: ClassVar[str] = "transferjobs"
    short_names: ClassVar[tuple[str, ...]] = ("tj",)

    @property
    def owner(self) -> str:
        return self.spec.owner or self.metadata.namespace
