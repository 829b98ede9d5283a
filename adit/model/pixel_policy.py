"""What a de-identification does to pixels: the `pixels` part of a DeidProfile, with its device rules.

Decided upon by `adit.deid.pixels.plan`. Rules are data: conditions on attributes of the original, and
rectangles. The first rule that fits an instance decides about it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, StringConstraints, field_validator, model_validator

from adit.model.identifiers import Name
from adit.model.resource import Rule, Strict


class PixelAttribute(StrEnum):
    """The attributes that a rule may ask for, by their keywords (PS3.6); all stand at an instance's top level."""

    SOP_CLASS_UID = "SOPClassUID"
    TRANSFER_SYNTAX_UID = "TransferSyntaxUID"
    MODALITY = "Modality"
    IMAGE_TYPE = "ImageType"
    CONVERSION_TYPE = "ConversionType"
    MANUFACTURER = "Manufacturer"
    MANUFACTURER_MODEL_NAME = "ManufacturerModelName"
    SOFTWARE_VERSIONS = "SoftwareVersions"
    DEVICE_SERIAL_NUMBER = "DeviceSerialNumber"
    STATION_NAME = "StationName"
    INSTITUTION_NAME = "InstitutionName"
    SECONDARY_CAPTURE_DEVICE_MANUFACTURER = "SecondaryCaptureDeviceManufacturer"
    SECONDARY_CAPTURE_DEVICE_MANUFACTURER_MODEL_NAME = "SecondaryCaptureDeviceManufacturerModelName"
    SERIES_DESCRIPTION = "SeriesDescription"
    SERIES_NUMBER = "SeriesNumber"
    PROTOCOL_NAME = "ProtocolName"
    BODY_PART_EXAMINED = "BodyPartExamined"
    ROWS = "Rows"
    COLUMNS = "Columns"
    SAMPLES_PER_PIXEL = "SamplesPerPixel"
    BITS_ALLOCATED = "BitsAllocated"
    PHOTOMETRIC_INTERPRETATION = "PhotometricInterpretation"
    NUMBER_OF_FRAMES = "NumberOfFrames"
    BURNED_IN_ANNOTATION = "BurnedInAnnotation"


_Words = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\\\x00-\x1f\x7f]*$")]
_SomeWords = Annotated[_Words, Field(min_length=1)]
_COMPARISONS = ("equals", "starts_with", "contains", "matches")


class PixelTest(Strict):
    """One comparison of an attribute's values; upper and lower case, and blanks at the ends, make no difference.

    It holds when it does for one of the attribute's values. An absent or empty attribute has the one value "".
    Numbers are compared as decimal text.
    """

    attribute: PixelAttribute = Field(description="The attribute's keyword.")
    equals: _Words | None = Field(default=None, description='The whole value; with "" for absent or empty.')
    starts_with: _SomeWords | None = Field(default=None, description="The value's beginning.")
    contains: _SomeWords | None = Field(default=None, description="A part of the value.")
    matches: _SomeWords | None = Field(
        default=None, description="The whole value, where * stands for any text and ? for any one character."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.equals), has(self.startsWith), has(self.contains), has(self.matches)]"
            ".filter(given, given).size() == 1",
            message="exactly one of equals, startsWith, contains, matches must be given",
        ),
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> PixelTest:
        if sum(getattr(self, name) is not None for name in _COMPARISONS) != 1:
            raise ValueError("exactly one of equals, startsWith, contains, matches must be given")
        return self


_Tests = Annotated[tuple[PixelTest, ...], Field(max_length=16, json_schema_extra={"x-kubernetes-list-type": "atomic"})]


class PixelCondition(Strict):
    """When a rule fits: every test of `all`, at least one of `any` (if there are), and none of `none`."""

    all: _Tests = Field(default=(), description="Each of them must hold.")
    any: _Tests = Field(default=(), description="At least one of them must hold, if there are any.")
    none: _Tests = Field(default=(), description="Not one of them may hold.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="(has(self.all) && self.all.size() > 0) || (has(self.any) && self.any.size() > 0)",
            message="a condition needs at least one test in all or any",
        ),
    )

    @model_validator(mode="after")
    def _asks_for_something(self) -> PixelCondition:
        if not self.all and not self.any:
            raise ValueError("a condition needs at least one test in all or any")
        return self


_Position = Annotated[int, Field(ge=0, le=65534)]
_Extent = Annotated[int, Field(ge=1, le=65535)]
_Frame = Annotated[int, Field(ge=1, le=2_000_000_000)]


class Rectangle(Strict):
    """A part of the image, in pixels from its upper left corner. It must lie in the image as a whole."""

    left: _Position = Field(description="Pixels to the left of it.")
    top: _Position = Field(description="Pixels above it.")
    width: _Extent | None = Field(default=None, description="How wide; to the right edge, if absent.")
    height: _Extent | None = Field(default=None, description="How high; to the lower edge, if absent.")
    first_frame: _Frame | None = Field(default=None, description="The first frame that has it, from 1; if absent, 1.")
    last_frame: _Frame | None = Field(default=None, description="The last frame that has it; if absent, the last.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!has(self.firstFrame) || !has(self.lastFrame) || self.firstFrame <= self.lastFrame",
            message="lastFrame must not be before firstFrame",
            field_path=".lastFrame",
        ),
    )

    @model_validator(mode="after")
    def _frames_in_order(self) -> Rectangle:
        if self.first_frame is not None and self.last_frame is not None and self.first_frame > self.last_frame:
            raise ValueError("lastFrame must not be before firstFrame")
        return self


_Rectangles = Annotated[
    tuple[Rectangle, ...], Field(min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"})
]


class PixelAction(StrEnum):
    """What a rule does that names no rectangles."""

    PASS = "Pass"  # noqa: S105 - whoever writes it vouches for the device: it burns nothing in
    QUARANTINE = "Quarantine"
    MASK_OUTSIDE_REGIONS = "MaskOutsideRegions"


_DECISIONS = ("mask", "mask_except", "action")


class PixelRule(Strict):
    """What is done to the pixels of instances that meet a condition."""

    name: Name = Field(description="The rule's name, which the audit tells.")
    when: PixelCondition = Field(description="Which instances it fits.")
    mask: _Rectangles | None = Field(default=None, description="These parts are blanked.")
    mask_except: _Rectangles | None = Field(default=None, description="All but these parts is blanked.")
    action: PixelAction | None = Field(
        default=None,
        description="Pass: nothing is burned in, leave the pixels alone. Quarantine: refuse the instance. "
        "MaskOutsideRegions: blank all but the Sequence of Ultrasound Regions (PS3.3 C.8.5.5).",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="[has(self.mask), has(self.maskExcept), has(self.action)].filter(given, given).size() == 1",
            message="exactly one of mask, maskExcept, action must be given",
        ),
    )

    @model_validator(mode="after")
    def _exactly_one_decision(self) -> PixelRule:
        if sum(getattr(self, name) is not None for name in _DECISIONS) != 1:
            raise ValueError("exactly one of mask, maskExcept, action must be given")
        return self


class UltrasoundRegions(StrEnum):
    """What is done to ultrasound images that no rule fits and that tell their regions."""

    MASK_OUTSIDE = "MaskOutside"
    IGNORE = "Ignore"


class BurnedInUnknown(StrEnum):
    """What an absent BurnedInAnnotation means where no rule fits."""

    QUARANTINE_RISKY = "QuarantineRisky"
    QUARANTINE_ALL = "QuarantineAll"
    PASS = "Pass"  # noqa: S105


class BurnedInNo(StrEnum):
    """Whether a BurnedInAnnotation of NO is believed in SOP classes that often have burned-in text."""

    TRUST = "Trust"
    DISTRUST = "Distrust"


class SecondaryCaptures(StrEnum):
    """What is done to secondary captures that no rule fits."""

    QUARANTINE = "Quarantine"
    AS_RISKY = "AsRisky"


class RecognizableFeatures(StrEnum):
    """What is done to instances that say that a face can be recognised in them."""

    QUARANTINE = "Quarantine"
    PASS = "Pass"  # noqa: S105


class UnusedBits(StrEnum):
    """What is done to bits of pixels above BitsStored."""

    CLEAR = "Clear"
    KEEP = "Keep"


_BY_NAME: Final[dict[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class PixelPolicy(Strict):
    """What is done to pixels. An instance that no rule fits and that may show who the patient is, is refused."""

    device_rules: Annotated[
        tuple[PixelRule, ...],
        Field(
            max_length=200, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default=(), description="Rules for devices; the first that fits decides.")
    ultrasound_regions: UltrasoundRegions = Field(
        default=UltrasoundRegions.MASK_OUTSIDE,
        description="Ultrasound that no rule fits: blank what is outside its regions, or ignore them.",
    )
    burned_in_unknown: BurnedInUnknown = Field(
        default=BurnedInUnknown.QUARANTINE_RISKY,
        description="No rule fits and BurnedInAnnotation is absent: refuse SOP classes where text is often burned in "
        "(such as ultrasound and photography), refuse all, or none.",
    )
    burned_in_no: BurnedInNo = Field(
        default=BurnedInNo.TRUST,
        description="No rule fits and BurnedInAnnotation is NO: believe it, or not in risky SOP classes.",
    )
    secondary_captures: SecondaryCaptures = Field(
        default=SecondaryCaptures.QUARANTINE,
        description="Secondary captures that no rule fits: refuse them, or treat them as other risky SOP classes.",
    )
    recognizable_features: RecognizableFeatures = Field(
        default=RecognizableFeatures.QUARANTINE,
        description="RecognizableVisualFeatures is YES: refuse the instance, or let it pass.",
    )
    unused_bits: UnusedBits = Field(
        default=UnusedBits.CLEAR,
        description="Bits of pixels above BitsStored that hold neither zeros nor the sign: clear them, or keep them "
        "where no overlay is told of.",
    )

    @field_validator("device_rules")
    @classmethod
    def _names_differ(cls, value: tuple[PixelRule, ...]) -> tuple[PixelRule, ...]:
        names = [rule.name for rule in value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two rules have the name {twice}")
        return value
