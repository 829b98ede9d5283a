"""What is to be done with an instance's pixels: the decision alone, made of header facts and a policy.

Called by the engine before it writes anything; `treatment` carries it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adit.deid.pixels import mask_area
from adit.deid.pixels.facts import PixelFacts
from adit.deid.pixels.mask_area import Box, MaskArea
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.rule_match import fits
from adit.deid.pixels.sop_class import Hazard, hazard_of
from adit.deid.pixels.syntax import Coding, coding_of
from adit.model.pixel_policy import (
    BurnedInNo,
    BurnedInUnknown,
    PixelAction,
    PixelAttribute,
    PixelPolicy,
    PixelRule,
    RecognizableFeatures,
    Rectangle,
    SecondaryCaptures,
    UltrasoundRegions,
)

ULTRASOUND_REGIONS: Final = "ultrasound-regions"
"""What stands for the rule's name where no rule but the instance's own regions decided."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The pixels stay as they are. `rule` names the rule that vouches for them, if one does."""

    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """`area` is blanked, as the rule of that name asks."""

    rule: str
    area: MaskArea


@dataclass(frozen=True, slots=True)
class Refuse:
    """The instance must not leave."""

    reason: PixelReason
    detail: str
    rule: str | None = None


Plan = Leave | Mask | Refuse


def plan(facts: PixelFacts, policy: PixelPolicy) -> Plan:
    """Never raises: what cannot be understood is refused."""
    hazard = hazard_of(facts.sop_class_uid, facts.texts.get(PixelAttribute.IMAGE_TYPE, ()), facts.samples_per_pixel)
    if hazard is Hazard.DOCUMENT:
        return Refuse(
            PixelReason.ENCAPSULATED_DOCUMENT, "a document or a recording cannot be searched for whom it names"
        )
    if facts.pixels_elsewhere or coding_of(facts.transfer_syntax_uid) is Coding.ELSEWHERE:
        return Refuse(PixelReason.PIXELS_ELSEWHERE, "its pixels are at an address, not in the instance")
    if facts.element is None:
        return Leave()
    if facts.recognizable_visual_features == "YES" and policy.recognizable_features is RecognizableFeatures.QUARANTINE:
        return Refuse(PixelReason.RECOGNIZABLE_FEATURES, "RecognizableVisualFeatures is YES")
    try:
        rule = next((rule for rule in policy.device_rules if fits(rule.when, facts.texts)), None)
        return _by_rule(rule, facts) if rule is not None else _without_rule(hazard, facts, policy)
    except PixelQuarantine as refusal:
        return Refuse(refusal.reason, refusal.detail, rule.name if rule is not None else None)


def _by_rule(rule: PixelRule, facts: PixelFacts) -> Plan:
    if rule.mask is not None:
        return Mask(rule.name, mask_area.inside(_boxes(rule.mask, facts), *_matrix(facts)))
    if rule.mask_except is not None:
        return Mask(rule.name, mask_area.outside(_boxes(rule.mask_except, facts), *_matrix(facts)))
    if rule.action is PixelAction.PASS:
        return Leave(rule.name)
    if rule.action is PixelAction.MASK_OUTSIDE_REGIONS:
        return Mask(rule.name, _outside_regions(facts))
    return Refuse(PixelReason.RULE_REFUSES, f"rule {rule.name} refuses it", rule.name)


def _without_rule(hazard: Hazard, facts: PixelFacts, policy: PixelPolicy) -> Plan:
    annotation = facts.burned_in_annotation
    if facts.label_in_image:
        return Refuse(PixelReason.BURNED_IN_ANNOTATION, "SpecimenLabelInImage is YES, and no rule fits it")
    if hazard is Hazard.CAPTURE:
        if policy.secondary_captures is SecondaryCaptures.QUARANTINE:
            return Refuse(PixelReason.SECONDARY_CAPTURE, "it is a secondary capture, and no rule fits it")
        hazard = Hazard.RISKY
    if hazard is Hazard.ULTRASOUND and policy.ultrasound_regions is UltrasoundRegions.MASK_OUTSIDE and facts.regions:
        return Mask(ULTRASOUND_REGIONS, _outside_regions(facts))
    if annotation == "YES":
        return Refuse(PixelReason.BURNED_IN_ANNOTATION, "BurnedInAnnotation is YES, and no rule fits it")
    if annotation == "NO" and (hazard is Hazard.PLAIN or policy.burned_in_no is BurnedInNo.TRUST):
        return Leave()
    unknown = policy.burned_in_unknown
    if unknown is BurnedInUnknown.PASS or (unknown is BurnedInUnknown.QUARANTINE_RISKY and hazard is Hazard.PLAIN):
        return Leave()
    said = "not to be believed" if annotation == "NO" else "neither YES nor NO" if annotation else "absent"
    return Refuse(PixelReason.BURNED_IN_UNKNOWN, f"BurnedInAnnotation is {said}, and no rule fits it")


def _matrix(facts: PixelFacts) -> tuple[int, int, int]:
    if not facts.rows or not facts.columns:
        raise PixelQuarantine(PixelReason.HEADER_INCOMPLETE, "Rows or Columns is absent or 0")
    return facts.rows, facts.columns, facts.frames


def _boxes(rectangles: Sequence[Rectangle], facts: PixelFacts) -> list[Box]:
    """A rectangle that does not fit was meant for another image: no guess is made what it would cover here."""
    rows, columns, frames = _matrix(facts)
    boxes = []
    for rectangle in rectangles:
        box = Box(
            rectangle.left,
            rectangle.top,
            columns if rectangle.width is None else rectangle.left + rectangle.width,
            rows if rectangle.height is None else rectangle.top + rectangle.height,
            0 if rectangle.first_frame is None else rectangle.first_frame - 1,
            frames if rectangle.last_frame is None else rectangle.last_frame,
        )
        if not (box.x0 < box.x1 <= columns and box.y0 < box.y1 <= rows and box.first < box.last <= frames):
            raise PixelQuarantine(
                PixelReason.RECTANGLE_OUTSIDE_IMAGE,
                f"a rectangle is not within {columns} x {rows} pixels and {frames} frames",
            )
        boxes.append(box)
    return boxes


def _outside_regions(facts: PixelFacts) -> MaskArea:
    """Regions are cut to the image, as makers count their last column or one more."""
    rows, columns, frames = _matrix(facts)
    if not facts.regions:
        raise PixelQuarantine(PixelReason.REGIONS_UNUSABLE, "it tells no ultrasound regions")
    boxes = [
        Box(region.x0, region.y0, min(region.x1 + 1, columns), min(region.y1 + 1, rows), 0, frames)
        for region in facts.regions
    ]
    if any(box.x0 >= box.x1 or box.y0 >= box.y1 for box in boxes):
        raise PixelQuarantine(PixelReason.REGIONS_UNUSABLE, "an ultrasound region is empty or outside the image")
    area = mask_area.outside(boxes, rows, columns, frames)
    if area.empty:
        raise PixelQuarantine(PixelReason.REGIONS_UNUSABLE, "its ultrasound regions are the whole image")
    return area
