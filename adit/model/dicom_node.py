"""DicomNode: a place to find studies, fetch them from and send them to, with its own budget."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from adit.model.archive import PASSWORD_KEYS, Archive
from adit.model.dicom_web import KEYS_OF_SCHEME, DicomWeb, WebService
from adit.model.identifiers import AbsolutePath, AETitle, Hostname, Quantity, TimeOfDay, TimeZoneName
from adit.model.resource import SET, Resource, Rule, Strict, once_each
from adit.model.s3 import CREDENTIAL_KEYS, S3
from adit.model.tls import TLS, TLS_KEYS


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


class Timeouts(Strict):
    """How long to wait for a DIMSE peer, in seconds."""

    connect_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=10, description="For the TCP connection to be made."
    )
    acse_seconds: Annotated[int, Field(ge=1, le=600)] = Field(
        default=60, description="For the association to be accepted or released (PS3.8 ARTIM)."
    )
    dimse_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=60, description="For the next DIMSE message of an operation to be there as a whole."
    )
    network_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=120,
        description="For each 64 KiB of a data set to come, or its end; for each 256 KiB of one to be taken.",
    )
    idle_seconds: Annotated[int, Field(ge=1, le=86400)] = Field(
        default=30,
        description="By C-MOVE, for what is missing to come after the peer said that it had sent all.",
    )


class Dimse(Strict):
    """A peer that speaks DIMSE over TCP (PS3.7, PS3.8)."""

    ae_title: AETitle = Field(description="The peer's AE title, which we call.")
    calling_ae_title: AETitle = Field(
        default="ADIT", alias="callingAETitle", description="Our AE title towards this peer."
    )
    move_destination: AETitle | None = Field(
        default=None,
        description="The AE title by which the peer knows our receiver, for C-MOVE; callingAETitle if absent.",
    )
    host: Hostname = Field(description="Where it listens: a host name, an IPv4 or an IPv6 address.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(description="The TCP port on which it listens.")
    tls: TLS | None = Field(default=None, description="TLS towards this peer; plain TCP if absent.")
    services: Annotated[tuple[Service, ...], Field(min_length=1, max_length=8, json_schema_extra=SET)] = Field(
        default=DEFAULT_SERVICES,
        description=(
            "What the peer offers. At a destination without StudyRootFind no arrival can be proven: a warning at best. "
            "Where C-GET is not offered, or fails, a study is fetched by C-MOVE: list a Move service for that."
        ),
    )
    timeouts: Timeouts = Field(default=Timeouts(), description="How long to wait for the peer.")

    @property
    def receiver_ae_title(self) -> str:
        """Where it sends to when we ask it by C-MOVE."""
        return self.move_destination or self.calling_ae_title

    @field_validator("services")
    @classmethod
    def _each_once(cls, value: tuple[Service, ...]) -> tuple[Service, ...]:
        return once_each(value)


class Folder(Strict):
    """A folder of DICOM files, on a disk that the worker sees."""

    path: AbsolutePath = Field(description="The folder's absolute path; it must exist.")
    archive: Archive | None = Field(
        default=None,
        description="As a destination, and then only that: each study becomes one encrypted archive. Absent: files.",
    )


class Limits(Strict):
    """What a node may be asked for at once, by all tasks together.

    Absent: 4 tasks, 8 associations; queries and bytes without limit.
    """

    tasks: Annotated[int, Field(ge=1, le=500)] = Field(
        default=4, description="How many tasks may use the node at once."
    )
    associations: Annotated[int, Field(ge=1, le=500)] = Field(
        default=8, description="How many associations may be open at once, all tasks together."
    )
    queries_per_second: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="How many queries may be sent each second."
    )
    bytes_per_second: Quantity | None = Field(
        default=None, description="How many bytes may be moved each second, such as 50Mi."
    )

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
                "associations must be at least tasks: each task needs one "
                f"(associations {self.associations}, tasks {self.tasks})"
            )
        return self


Weekday = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEKDAYS: tuple[Weekday, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class Window(Strict):
    """Hours in which tasks may start, each week, by the wall clock of a time zone.

    A window whose `to` is not after its `from` ends on the next day; `days` name the day on which
    it begins. `from` may not be 24:00.
    """

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7, json_schema_extra=SET)] = Field(
        default=WEEKDAYS, description="The days on which the window begins."
    )
    from_: TimeOfDay = Field(alias="from", description="When it begins, such as 20:00.")
    to: TimeOfDay = Field(description="When it ends; on the next day, if that is not after `from`.")
    time_zone: TimeZoneName = Field(
        default="Etc/UTC", description="The IANA time zone of the wall clock, such as Europe/Berlin."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="self.from != '24:00'", message="from must be before 24:00", field_path=".from"),
        Rule(rule="self.from != self.to", message="from and to must differ", field_path=".to"),
    )

    @field_validator("days")
    @classmethod
    def _each_once(cls, value: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        return once_each(value)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        from zoneinfo import ZoneInfo  # few nodes have windows, and workers never look at them

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
            raise ValueError(f"from and to must differ (both are {self.to})")
        return self


class Accepts(StrEnum):
    """What a node takes as a destination, where it does not take everything."""

    DEIDENTIFIED = "Deidentified"


_ONE_KIND: Final = "exactly one of dimse, dicomWeb, folder, s3 must be given, or dimse and dicomWeb together"


class DicomNodeSpec(Strict):
    """Says what kind of node it is. A PACS may have two faces, `dimse` and `dicomWeb`; everything else has one."""

    dimse: Dimse | None = Field(default=None, description="A peer that speaks DIMSE over TCP (PS3.7, PS3.8).")
    dicom_web: DicomWeb | None = Field(default=None, description="A server that speaks DICOMweb (PS3.18).")
    folder: Folder | None = Field(default=None, description="A folder of DICOM files, on a disk that the worker sees.")
    s3: S3 | None = Field(default=None, description="A bucket of DICOM files behind the S3 API.")
    limits: Limits = Field(
        default=Limits(), description="What the node may be asked for at once, by all tasks together."
    )
    accepts: Accepts | None = Field(
        default=None,
        description="What it takes as a destination. Deidentified: only what a job's DeidProfile has made. "
        "Absent: everything.",
    )
    windows: Annotated[
        tuple[Window, ...], Field(max_length=21, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=(), description="When tasks may start, each week; always, if empty.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.dimse) || has(self.dicomWeb), has(self.folder), has(self.s3)]"
            ".filter(kind, kind).size() == 1",
            message=_ONE_KIND,
        ),
    )

    @property
    def place(self) -> str:
        """What the node is in the world: two nodes of one place are the same peer, whatever else they say.

        One with two faces is where its DIMSE face is, so that it may get or lose the other and stays the same.
        """
        if self.dimse is not None:
            return f"dimse {self.dimse.ae_title}@{self.dimse.host}:{self.dimse.port}"
        if self.dicom_web is not None:
            return f"dicomWeb {self.dicom_web.url.rstrip('/')}/{self.dicom_web.prefixes.stow or ''}"
        if self.s3 is not None:
            return f"s3 {self.s3.endpoint or ''} {self.s3.bucket}/{self.s3.root}"
        assert self.folder is not None  # noqa: S101 - there is exactly one kind
        archive = self.folder.archive
        return f"folder {self.folder.path}" if archive is None else f"{archive.format} in {self.folder.path}"

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> DicomNodeSpec:
        if sum(kind is not None for kind in (self.dimse or self.dicom_web, self.folder, self.s3)) != 1:
            raise ValueError(_ONE_KIND)
        return self

    @property
    def services(self) -> tuple[Service | WebService, ...] | None:
        """What the peer is said to offer, by all of its faces; None where a node offers everything (a folder, say)."""
        if self.dimse is None and self.dicom_web is None:
            return None
        return tuple(service for face in (self.dimse, self.dicom_web) if face is not None for service in face.services)

    @property
    def secrets(self) -> dict[str, tuple[str, ...]]:
        """The Secrets that the node names, each with those of its keys that are used."""
        named: dict[str, tuple[str, ...]] = {}
        for peer in (self.dimse, self.dicom_web, self.s3):
            if peer is not None and peer.tls is not None:
                named[peer.tls.secret_name] = TLS_KEYS
        if self.dicom_web is not None and (given := self.dicom_web.credentials) is not None:
            named[given.secret_name] = (*named.get(given.secret_name, ()), *KEYS_OF_SCHEME[given.scheme])
        if self.s3 is not None and self.s3.credentials is not None:
            name = self.s3.credentials.secret_name
            named[name] = (*named.get(name, ()), *CREDENTIAL_KEYS)
        if self.folder is not None and self.folder.archive is not None:
            named[self.folder.archive.secret_name] = PASSWORD_KEYS
        return named


class DicomNode(Resource):
    """A place to find studies, fetch them from and send them to, with its own budget."""

    kind: Literal["DicomNode"] = "DicomNode"
    spec: DicomNodeSpec

    def takes(self, archive: Archive | None) -> bool:
        """Whether a job that asks for these archives of its own, or none, can have the node as its destination."""
        return archive is None or self.spec.folder is not None

    def archiving(self, archive: Archive | None) -> DicomNode:
        """The node as a job's destination that asks for archives of its own; it must take them."""
        if not self.takes(archive):
            raise ValueError(f"archives are made in folders only, and DicomNode {self.metadata.name} is none")
        if archive is None or self.spec.folder is None:
            return self
        folder = self.spec.folder.model_copy(update={"archive": archive})
        return self.model_copy(update={"spec": self.spec.model_copy(update={"folder": folder})})

    plural: ClassVar[str] = "dicomnodes"
    short_names: ClassVar[tuple[str, ...]] = ("dnode",)
