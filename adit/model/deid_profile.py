"""DeidProfile: what happens to instances that leave under another name. Data, never code.

Named by TransferJobs and frozen into them; read by `adit.deid.policy`, which compiles it with the table of PS3.15
into decisions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from adit.model.identifiers import UID, Name
from adit.model.pixel_policy import PixelPolicy
from adit.model.resource import SET, Resource, Rule, Strict, once_each


class Option(StrEnum):
    """The options of PS3.15 Annex E.3, beside the Basic Profile, which always applies."""

    RETAIN_SAFE_PRIVATE = "RetainSafePrivate"
    RETAIN_UIDS = "RetainUIDs"
    RETAIN_DEVICE_IDENTITY = "RetainDeviceIdentity"
    RETAIN_INSTITUTION_IDENTITY = "RetainInstitutionIdentity"
    RETAIN_PATIENT_CHARACTERISTICS = "RetainPatientCharacteristics"
    RETAIN_FULL_DATES = "RetainLongitudinalFullDates"
    RETAIN_MODIFIED_DATES = "RetainLongitudinalModifiedDates"
    CLEAN_DESCRIPTORS = "CleanDescriptors"
    CLEAN_STRUCTURED_CONTENT = "CleanStructuredContent"
    CLEAN_GRAPHICS = "CleanGraphics"


class OverrideAction(StrEnum):
    """What an override does to an element that it selects."""

    REMOVE = "Remove"
    EMPTY = "Empty"
    REPLACE = "Replace"  # by `value`
    KEEP = "Keep"  # sequences are still cleaned inside
    HASH = "Hash"  # a keyed pseudonym of the value
    MAP = "Map"  # a UID as UIDs are mapped
    SHIFT = "Shift"  # a date by the patient's offset
    TEMPLATE = "Template"  # `value` with {Keyword} replaced by what became of that attribute


_WITH_VALUE: Final = (OverrideAction.REPLACE, OverrideAction.TEMPLATE)

_ELEMENT: Final = r"([0-9A-F]{8}|[A-Z][A-Za-z0-9]{1,63})"
Tag = Annotated[
    str,
    StringConstraints(min_length=8, max_length=8, pattern=r"^[0-9A-F]{8}$"),
    Field(description="Group and element as eight hexadecimal digits in upper case, such as 00101030."),
]
Keyword = Annotated[
    str,
    StringConstraints(min_length=2, max_length=64, pattern=r"^[A-Z][A-Za-z0-9]+$"),
    Field(description="An attribute's keyword (PS3.6), such as PatientWeight."),
]
Path = Annotated[
    str,
    StringConstraints(min_length=2, max_length=512, pattern=rf"^{_ELEMENT}(\.{_ELEMENT}){{0,15}}$"),
    Field(description="Tags or keywords from the outermost sequence on, such as RequestAttributesSequence.StudyID."),
]
Creator = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f\x7f]+$"),
    Field(description="The value of a Private Creator element (PS3.5 section 7.8.1)."),
]
PrivateElement = Annotated[
    str,
    StringConstraints(min_length=8, max_length=8, pattern=r"^[0-9A-F]{3}[13579BDF]xx[0-9A-F]{2}$"),
    Field(description="A private element wherever its block stands, such as 0019xx0C."),
]
Value = Annotated[
    str,
    StringConstraints(max_length=1024, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"),
    Field(description="A text."),
]
Modality = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16, pattern=r"^[A-Z0-9_ ]+$"),
    Field(description="A modality (0008,0060), such as PR."),
]


class Override(Strict):
    """What a site decides otherwise than the profile. The last one that selects an element wins."""

    tag: Tag | None = Field(default=None, description="The element with this tag, at any depth.")
    keyword: Keyword | None = Field(default=None, description="The element with this keyword, at any depth.")
    path: Path | None = Field(default=None, description="The element at this place only.")
    private_creator: Creator | None = Field(
        default=None, description="Elements in this creator's blocks: all of them, or the one that `element` names."
    )
    element: PrivateElement | None = Field(default=None, description="Beside privateCreator: only this element.")
    sop_class: UID | None = Field(
        default=None, alias="sopClass", description="Only in instances of this SOP class (0008,0016)."
    )
    action: OverrideAction = Field(description="What happens to the element.")
    value: Value | None = Field(
        default=None,
        description="For Replace and Template; a template may name attributes as {Keyword}, as they are sent.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.tag), has(self.keyword), has(self.path), has(self.privateCreator)]"
            ".filter(kind, kind).size() == 1",
            message="exactly one of tag, keyword, path, privateCreator must be given",
        ),
        Rule(rule="!has(self.element) || has(self.privateCreator)", message="element needs privateCreator"),
        Rule(
            rule="has(self.value) == (self.action == 'Replace' || self.action == 'Template')",
            message="value must be given for Replace and Template, and for no other action",
        ),
    )

    @model_validator(mode="after")
    def _whole(self) -> Override:
        if [self.tag, self.keyword, self.path, self.private_creator].count(None) != 3:
            raise ValueError("exactly one of tag, keyword, path, privateCreator must be given")
        if self.element is not None and self.private_creator is None:
            raise ValueError("element needs privateCreator")
        if (self.value is not None) != (self.action in _WITH_VALUE):
            raise ValueError("value must be given for Replace and Template, and for no other action")
        return self


class KeyReference(Strict):
    """A Secret with the project's key: whoever has it can tell which pseudonym belongs to which identifier."""

    secret_name: Name = Field(description="The Secret in the same namespace; its `key` has at least 32 random bytes.")


KEY: Final = "key"
"""The part of the Secret that holds the project's key."""


class DeidProfileSpec(Strict):
    """The Basic Profile of PS3.15 Annex E, its options, and what the site decides otherwise."""

    project: Name | None = Field(
        default=None,
        description="Pseudonyms are the same within a project and unrelated between projects. The profile's name "
        "if absent.",
    )
    key: KeyReference = Field(description="Where the project's key is.")
    options: Annotated[tuple[Option, ...], Field(max_length=len(Option), json_schema_extra=SET)] = Field(
        default=(), description="Options of PS3.15 Annex E.3."
    )
    overrides: Annotated[
        tuple[Override, ...], Field(max_length=200, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=(), description="What the site decides otherwise; the last one that selects an element wins.")
    pixels: PixelPolicy = Field(
        default=PixelPolicy(),
        description="What is done to pixels. An instance that no rule fits and that may show who the patient is, is "
        "refused.",
    )
    excluded_modalities: Annotated[tuple[Modality, ...], Field(max_length=50, json_schema_extra=SET)] = Field(
        default=(), description="Instances of these modalities are left out, such as PR and SR."
    )
    excluded_sop_classes: Annotated[tuple[UID, ...], Field(max_length=100, json_schema_extra=SET)] = Field(
        default=(), alias="excludedSOPClasses", description="Instances of these SOP classes are left out."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.options) || !('RetainLongitudinalFullDates' in self.options && "
            "'RetainLongitudinalModifiedDates' in self.options)",
            message="RetainLongitudinalFullDates and RetainLongitudinalModifiedDates exclude each other",
            field_path=".options",
        ),
    )

    @property
    def secrets(self) -> dict[str, tuple[str, ...]]:
        """The Secret that it names, with the part of it that is used."""
        return {self.key.secret_name: (KEY,)}

    @field_validator("options", "excluded_modalities", "excluded_sop_classes")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return once_each(value)

    @model_validator(mode="after")
    def _one_kind_of_dates(self) -> DeidProfileSpec:
        if {Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES} <= set(self.options):
            raise ValueError("RetainLongitudinalFullDates and RetainLongitudinalModifiedDates exclude each other")
        return self


class DeidProfile(Resource):
    """What is removed, replaced and kept of instances that leave under another name (PS3.15 Annex E)."""

    kind: Literal["DeidProfile"] = "DeidProfile"
    spec: DeidProfileSpec

    plural: ClassVar[str] = "deidprofiles"
    short_names: ClassVar[tuple[str, ...]] = ("deid",)

    @property
    def project(self) -> str:
        return self.spec.project or self.metadata.name
