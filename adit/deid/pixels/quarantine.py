"""Why an instance is refused for its pixels: a closed vocabulary. Raised everywhere in this room."""

from __future__ import annotations

from enum import StrEnum


class PixelReason(StrEnum):
    """CamelCase, so that it can stand in an audit or a condition."""

    # what the image may show
    BURNED_IN_ANNOTATION = "BurnedInAnnotation"
    BURNED_IN_UNKNOWN = "BurnedInUnknown"
    SECONDARY_CAPTURE = "SecondaryCapture"
    ENCAPSULATED_DOCUMENT = "EncapsulatedDocument"
    RECOGNIZABLE_FEATURES = "RecognizableFeatures"
    PIXELS_ELSEWHERE = "PixelsElsewhere"
    RULE_REFUSES = "RuleRefuses"
    # rules and regions that do not fit the image
    RECTANGLE_OUTSIDE_IMAGE = "RectangleOutsideImage"
    REGIONS_UNUSABLE = "RegionsUnusable"
    # what the header says is not so
    HEADER_MALFORMED = "HeaderMalformed"
    HEADER_INCOMPLETE = "HeaderIncomplete"
    LENGTH_CONTRADICTS_HEADER = "LengthContradictsHeader"
    FRAMES_CONTRADICT_HEADER = "FramesContradictHeader"
    CODESTREAM_CONTRADICTS_HEADER = "CodestreamContradictsHeader"
    UNUSED_BITS = "UnusedBits"
    # damaged
    FRAGMENTS_DAMAGED = "FragmentsDamaged"
    CODESTREAM_DAMAGED = "CodestreamDamaged"
    # what we cannot do
    FORMAT_UNSUPPORTED = "FormatUnsupported"
    CODEC_MISSING = "CodecMissing"
    FRAME_TOO_LARGE = "FrameTooLarge"


class PixelQuarantine(Exception):  # noqa: N818 - an outcome, not a mistake
    """The instance must not leave; `detail` holds numbers and DICOM's own words, never a value of the patient's."""

    def __init__(self, reason: PixelReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
