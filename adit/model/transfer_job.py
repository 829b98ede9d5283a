"""TransferJob: what a person or a pipeline asks for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from adit.model.archive import Archive
from adit.model.identifiers import Identity, LongString, Name, PatientID, StudyUID
from adit.model.resource import SET, Resource, Rule, Strict, once_each
from adit.model.trial import Trial as Trial


class NodeReference(Strict):
    """A DicomNode in the same namespace."""

    node: Name = Field(description="The DicomNode's name.")


class SourceReference(NodeReference):
    """Where the studies are, and whether they may come by a road past us."""

    direct: bool = Field(
        default=False,
        description="The source PACS is asked first to send to the destination PACS itself (C-MOVE to its AE title); "
        "what does not get there so, goes through us. For unchanged studies only.",
    )


class DestinationReference(NodeReference):
    """Where the studies go, and whether as this job's own archives."""

    archive: Archive | None = Field(
        default=None,
        description="Where the node is a folder: each study becomes one encrypted archive there, by this job's own "
        "format and password, whatever the node's folder.archive says. Absent: as the node says.",
    )


class ProfileReference(Strict):
    """A DeidProfile in the same namespace."""

    profile: Name = Field(description="The DeidProfile's name.")


class StudySelection(Strict):
    """One study, or some of its series."""

    study_instance_uid: StudyUID = Field(
        alias="studyInstanceUID", description="The study (0020,000D); leading zeros in a component are tolerated."
    )
    patient_id: PatientID | None = Field(
        default=None,
        alias="patientID",
        description="Whose study it should be (0010,0020); if the source says otherwise, a warning.",
    )
    series_instance_uids: (
        Annotated[tuple[StudyUID, ...], Field(min_length=1, max_length=100, json_schema_extra=SET)] | None
    ) = Field(
        default=None,
        alias="seriesInstanceUIDs",
        description="The series to move (0020,000E); the whole study if absent.",
    )
    pseudonym: LongString | None = Field(
        default=None,
        description="The patient's new name and id, for a job with deidentification; derived from the key if absent.",
    )

    @field_validator("series_instance_uids")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if value is None else once_each(value)


class JobReference(Strict):
    """A finished TransferJob in the same namespace."""

    name: Name = Field(description="The TransferJob's name.")


class ListReference(Strict):
    """A selection that the facade keeps in the ledger, for the same namespace: identifiers stay out of the cluster."""

    name: Name | None = Field(default=None, description="The name that it was given when it was posted.")
    id: Identity | None = Field(default=None, description="The id that the facade answered with.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.name) != has(self.id)",
            message="exactly one of name, id must be given",
        ),
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> ListReference:
        if (self.name is None) == (self.id is None):
            raise ValueError("exactly one of name, id must be given")
        return self


MAX_STUDIES = 500


class Selection(Strict):
    """Which studies: named one by one, by a list that the ledger keeps, or what failed in another job."""

    studies: (
        Annotated[
            tuple[StudySelection, ...],
            Field(
                min_length=1,
                max_length=MAX_STUDIES,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["studyInstanceUID"],
                },
            ),
        ]
        | None
    ) = Field(default=None, description="The studies by name, each of them once.")
    listed: ListReference | None = Field(
        default=None,
        alias="list",
        description="A selection that was posted to the facade (POST /v1/selections), of up to 50,000 studies.",
    )
    failed_of: JobReference | None = Field(
        default=None, description="What failed in that finished job of the same namespace."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.studies), has(self.list), has(self.failedOf)].filter(kind, kind).size() == 1",
            message="exactly one of studies, list, failedOf must be given",
        ),
    )

    @field_validator("studies")
    @classmethod
    def _each_once(cls, value: tuple[StudySelection, ...] | None) -> tuple[StudySelection, ...] | None:
        if value is not None:
            once_each(tuple(study.study_instance_uid for study in value))
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Selection:
        if [self.studies, self.listed, self.failed_of].count(None) != 2:
            raise ValueError("exactly one of studies, list, failedOf must be given")
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

    max_attempts: Annotated[int, Field(ge=1, le=20)] = Field(
        default=5, description="How many attempts a task has, the first one included."
    )
    backoff_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=30, description="The longest wait before the second attempt; it doubles with each further one."
    )
    max_backoff_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=1800, description="The longest wait before any attempt."
    )

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
                "maxBackoffSeconds must be at least backoffSeconds "
                f"({self.max_backoff_seconds} < {self.backoff_seconds})"
            )
        return self


class Retention(Strict):
    """How long the row per instance is kept after the job ended; the summary and digest stay."""

    instances_seconds: Annotated[int, Field(ge=0, le=2_000_000_000)] = Field(
        default=90 * 86400, description="How long the rows are kept, counted from the job's end."
    )


_NOT_ITSELF: Final = "selection.failedOf must name another job, one that has ended"
_PAST_US: Final = "source.direct sends instances past us, unchanged: neither deidentification nor trial may be given"


class TransferJobSpec(Strict):
    """From where, to where, which studies, and how hard to try."""

    source: SourceReference = Field(description="Where the studies are; cannot be changed.")
    destination: DestinationReference = Field(description="Where they go; cannot be changed.")
    selection: Selection = Field(description="Which studies; exactly one of its fields. Cannot be changed.")
    deidentification: ProfileReference | None = Field(
        default=None,
        description="By which profile each instance is de-identified; it stays as it was when the job's tasks were "
        "made. Cannot be changed. Absent: instances are sent as they are, where the destination accepts that.",
    )
    trial: Trial | None = Field(
        default=None, description="Written into every instance; cannot be changed. Absent: nothing is written."
    )
    owner: Name | None = Field(
        default=None, description="On whose behalf; owners get fair shares. The namespace if absent. Cannot be changed."
    )
    priority: Priority = Field(
        default=Priority.NORMAL,
        description="Urgent starts before all others, whoever asked; it stays within budgets and windows.",
    )
    parallelism: Annotated[int, Field(ge=1, le=500)] = Field(
        default=10, description="How many tasks of this job may run at once, as far as the nodes allow."
    )
    retry: Retry = Field(default=Retry(), description="How often and how late a task is tried again.")
    deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = Field(
        default=None, description="Counted from when ADIT took the job in; what has not ended by then fails."
    )
    retention: Retention = Field(default=Retention(), description="How long the row per instance is kept.")
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
            rule="has(self.deidentification) == has(oldSelf.deidentification) && "
            "(!has(self.deidentification) || self.deidentification == oldSelf.deidentification)",
            message="deidentification cannot be changed",
        ),
        Rule(
            rule="has(self.owner) == has(oldSelf.owner) && (!has(self.owner) || self.owner == oldSelf.owner)",
            message="owner cannot be changed; it is part of the names of folders",
        ),
        Rule(
            rule="!has(oldSelf.cancel) || "
            "(has(self.cancel) && (self.cancel == oldSelf.cancel || self.cancel == 'Terminate'))",
            message="cancel is set once: unset, Drain, Terminate, never back",
        ),
        Rule(
            rule="self.source.node != self.destination.node",
            message="source and destination must be different nodes",
            field_path=".destination",
        ),
        Rule(
            rule="!self.source.direct || (!has(self.deidentification) && !has(self.trial))",
            message=_PAST_US,
            field_path=".source",
        ),
    )

    @model_validator(mode="after")
    def _two_nodes(self) -> TransferJobSpec:
        if self.source.node == self.destination.node:
            raise ValueError(f"source and destination must be different nodes (both are {self.source.node})")
        return self

    @model_validator(mode="after")
    def _unchanged_past_us(self) -> TransferJobSpec:
        if self.source.direct and (self.deidentification is not None or self.trial is not None):
            raise ValueError(_PAST_US)
        return self


class TransferJob(Resource):
    """What a person or a pipeline asks for: these studies, from there, to there, provably complete."""

    kind: Literal["TransferJob"] = "TransferJob"
    spec: TransferJobSpec

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(oldSelf.status) || !has(oldSelf.status.completionTime) || "
            "(self.spec.priority == oldSelf.spec.priority && self.spec.parallelism == oldSelf.spec.parallelism && "
            "self.spec.retry == oldSelf.spec.retry)",
            message="a finished job is frozen; make a new one with selection.failedOf",
        ),
        Rule(
            rule="!has(self.spec.selection.failedOf) || self.spec.selection.failedOf.name != self.metadata.name",
            message=_NOT_ITSELF,
            field_path=".spec.selection.failedOf.name",
        ),
    )
    plural: ClassVar[str] = "transferjobs"
    short_names: ClassVar[tuple[str, ...]] = ("tj",)

    @model_validator(mode="after")
    def _of_another_job(self) -> TransferJob:
        named = self.spec.selection.failed_of
        if named is not None and named.name == self.metadata.name:
            raise ValueError(_NOT_ITSELF)
        return self

    @property
    def owner(self) -> str:
        return self.spec.owner or self.metadata.namespace
