"""DicomNode: a place to find studies, fetch them from and send them to, with its own budget."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator, model_validator

from adit.model.identifiers import AETitle, Hostname, Name, Quantity
from adit.model.resource import Resource, Rule, Strict


class Service(StrEnum):
    """What a DIMSE node offers, by the names of PS3.4's service classes and information models."""

    VERIFICATION = "Verification"
    STUDY_ROOT_FIND = "StudyRootFind"
    STUDY_ROOT_GET = "StudyRootGet"
    STUDY_ROOT_MOVE = "StudyRootMove"
    PATIENT_ROOT_FIND = "PatientRootFind"
    PATIENT_ROOT_GET = "PatientRootGet"
    PATIENT_ROOT_MOVE = "PatientRootMove"
    STORAGE = "Storage"


DEFAULT_SERVICES = (
    Service.VERIFICATION,
    Service.STUDY_ROOT_FIND,
    Service.STUDY_ROOT_GET,
    Service.PATIENT_ROOT_FIND,
    Service.PATIENT_ROOT_GET,
    Service.STORAGE,
)


class TLS(Strict):
    """TLS towards a DIMSE peer (PS3.15 Annex B).

    The secret holds `ca.crt`, and for a client certificate `tls.crt` and `tls.key`, as Kubernetes
    names them: a projected Secret in a pod, a folder `<secrets>/<secretName>/` on one machine.
    """

    secret_name: Name
    server_name: Hostname | None = Field(
        default=None, description="The name that the peer's certificate must bear; the host if absent."
    )


class Timeouts(Strict):
    """How long to wait for a DIMSE peer, in seconds."""

    connect_seconds: Annotated[int, Field(ge=1, le=600)] = 10
    acse_seconds: Annotated[int, Field(ge=1, le=600)] = 60
    dimse_seconds: Annotated[int, Field(ge=1, le=86400)] = 60
    network_seconds: Annotated[int, Field(ge=1, le=86400)] = 120


class Dimse(Strict):
    """A peer that speaks DIMSE over TCP (PS3.7, PS3.8)."""

    ae_title: AETitle
    calling_ae_title: AETitle = "ADIT"
    host: Hostname
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: TLS | None = None
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=8)] = DEFAULT_SERVICES
    timeouts: Timeouts = Timeouts()


class Folder(Strict):
    """A folder of DICOM files, on a disk that the worker sees."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^/[^\x00]*$")]


class Limits(Strict):
    """What a node may be asked for at once, by all tasks together; absent means no limit."""

    tasks: Annotated[int, Field(ge=1, le=500)] = 4
    associations: Annotated[int, Field(ge=1, le=500)] = 8
    queries_per_second: Annotated[int, Field(ge=1, le=1000)] | None = None
    bytes_per_second: Quantity | None = None

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.associations >= self.tasks",
            message="associations must be at least tasks: each task needs one",
            field_path=".associations",
        ),
    )

    @model_validator(mode="after")
    def _one_association_each(self) -> Limits:
        if self.associations < self.tasks:
            raise ValueError(
                f"associations must be at least tasks: each task needs one (associations {self.associations}, tasks {self.tasks})"
            )
        return self


Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEKDAYS: tuple[Weekday, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
TimeOfDay = Annotated[str, StringConstraints(max_length=5, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]


class Window(Strict):
    """Hours in which tasks may start, each week, by the wall clock of a time zone.

    A window whose `to` is not after its `from` ends on the next day; `days` name the day on which
    it begins. `from` may not be 24:00.
    """

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = WEEKDAYS
    from_: Annotated[TimeOfDay, Field(alias="from")]
    to: TimeOfDay
    time_zone: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")] = "Etc/UTC"

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="self.__from__ != '24:00'", message="from must be before 24:00", field_path=".from"),
        Rule(rule="self.__from__ != self.to", message="from and to must differ", field_path=".to"),
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"no such IANA time zone: {value}") from error
        return value

    @model_validator(mode="after")
    def _begins_and_ends(self) -> Window:
        if self.from_ == "24:00":
            raise ValueError("from must be before 24:00")
        if self.from_ == self.to:
            raise ValueError("from and to must differ")
        return self


class DicomNodeSpec(Strict):
    dimse: Dimse | None = None
    folder: Folder | None = None
    limits: Limits = Limits()
    windows: Annotated[tuple[Window, ...], Field(max_length=21)] = Field(
        default=(), description="When tasks may start; always, if empty."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.dimse), has(self.folder)].filter(kind, kind).size() == 1",
            message="exactly one of dimse, folder must be given",
        ),
    )

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> DicomNodeSpec:
        if sum(kind is not None for kind in (self.dimse, self.folder)) != 1:
            raise ValueError("exactly one of dimse, folder must be given")
        return self


class DicomNode(Resource):
    kind: Literal["DicomNode"] = "DicomNode"
    spec: DicomNodeSpec

    plural: ClassVar[str] = "dicomnodes"
    short_names: ClassVar[tuple[str, ...]] = ("dnode",)
