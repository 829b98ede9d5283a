"""Who is masked, who passes, who is refused: by SOP class, by what the header claims, by rules and regions."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import pytest
from pydicom._uid_dict import UID_dictionary

from adit.deid.pixels.facts import REGION_TAGS, PixelElement, PixelFacts, facts_of
from adit.deid.pixels.mask_area import Band
from adit.deid.pixels.plan import ULTRASOUND_REGIONS, Leave, Mask, Plan, Refuse, plan
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.sop_class import Hazard, hazard_of
from adit.model.pixel_policy import PixelPolicy

IMAGE = "1.2.840.10008.5.1.4.1.1."
CT, US, US_MULTI, SC, PDF, PHOTO, ENDOSCOPY, UNKNOWN = (
    *(IMAGE + number for number in ("2", "6.1", "3.1", "7", "104.1", "77.1.4", "77.1.1")),
    "1.3.6.1.4.1.12345.1",
)
Regions = list[tuple[int, int, int, int]]


def facts(
    sop_class: str = CT,
    *,
    burned: str | None = None,
    regions: Regions | None = None,
    changes: Mapping[int, bytes] | None = None,
    element: PixelElement | None = PixelElement.INTEGER,
    syntax: str = "1.2.840.10008.1.2.1",
) -> PixelFacts:
    short = struct.Struct("<H").pack
    values = {0x00080016: sop_class.encode(), 0x00280002: short(1), 0x00280004: b"MONOCHROME2 "}
    values |= {0x00280010: short(60), 0x00280011: short(80), 0x00280100: short(8), 0x00280101: short(8)}
    if burned is not None:
        values[0x00280301] = burned.encode()
    items = None
    if regions is not None:
        items = [
            {tag: struct.pack("<I", edge) for tag, edge in zip(REGION_TAGS, each, strict=True)} for each in regions
        ]
    return facts_of(syntax, values | dict(changes or {}), element=element, regions=items)


def decide(told: PixelFacts, **policy: Any) -> Plan:
    return plan(told, PixelPolicy.model_validate(policy))


def refused(what: Plan) -> PixelReason | None:
    return what.reason if isinstance(what, Refuse) else None


@pytest.mark.parametrize(
    ("sop_class", "burned", "reason"),
    [
        (CT, None, None),
        (CT, "NO", None),
        (CT, "YES", PixelReason.BURNED_IN_ANNOTATION),
        (CT, " yes ", PixelReason.BURNED_IN_ANNOTATION),
        (US, None, PixelReason.BURNED_IN_UNKNOWN),
        (US, "", PixelReason.BURNED_IN_UNKNOWN),
        (US, "MAYBE", PixelReason.BURNED_IN_UNKNOWN),
        (US, "NO", None),
        (US, "YES", PixelReason.BURNED_IN_ANNOTATION),
        (PHOTO, None, PixelReason.BURNED_IN_UNKNOWN),
        (ENDOSCOPY, None, PixelReason.BURNED_IN_UNKNOWN),
        (UNKNOWN, None, PixelReason.BURNED_IN_UNKNOWN),
        (SC, None, PixelReason.SECONDARY_CAPTURE),
        (SC, "NO", PixelReason.SECONDARY_CAPTURE),
        (PDF, "NO", PixelReason.ENCAPSULATED_DOCUMENT),
        (IMAGE + "9.4.1", None, PixelReason.ENCAPSULATED_DOCUMENT),
    ],
)
def test_by_default(sop_class: str, burned: str | None, reason: PixelReason | None) -> None:
    assert refused(decide(facts(sop_class, burned=burned))) is reason


@pytest.mark.parametrize(
    ("policy", "told", "reason"),
    [
        ({"burnedInUnknown": "QuarantineAll"}, facts(CT), PixelReason.BURNED_IN_UNKNOWN),
        ({"burnedInUnknown": "Pass"}, facts(US), None),
        ({"burnedInUnknown": "Pass"}, facts(US, burned="YES"), PixelReason.BURNED_IN_ANNOTATION),
        ({"burnedInNo": "Distrust"}, facts(US, burned="NO"), PixelReason.BURNED_IN_UNKNOWN),
        ({"burnedInNo": "Distrust"}, facts(CT, burned="NO"), None),
        ({"secondaryCaptures": "AsRisky"}, facts(SC), PixelReason.BURNED_IN_UNKNOWN),
        ({"secondaryCaptures": "AsRisky"}, facts(SC, burned="NO"), None),
        ({}, facts(CT, changes={0x00280302: b"YES "}), PixelReason.RECOGNIZABLE_FEATURES),
        ({"recognizableFeatures": "Pass"}, facts(CT, changes={0x00280302: b"YES "}), None),
    ],
)
def test_by_policy(policy: dict[str, Any], told: PixelFacts, reason: PixelReason | None) -> None:
    assert refused(decide(told, **policy)) is reason


@pytest.mark.parametrize("image_type", ["DERIVED\\SECONDARY\\SCREEN SAVE", "ORIGINAL\\PRIMARY\\DOSE_REPORT"])
def test_a_screenshot_is_one_whatever_class_it_hides_in(image_type: str) -> None:
    told = facts(CT, burned="NO", changes={0x00080008: image_type.encode()})
    assert refused(decide(told)) is PixelReason.SECONDARY_CAPTURE


def test_colour_from_a_grey_modality_is_risky() -> None:
    """Dose sheets, fused and rendered images come as CT or MR, with text in them."""
    told = facts(CT, changes={0x00280002: b"\3\0", 0x00280004: b"RGB "})
    assert refused(decide(told)) is PixelReason.BURNED_IN_UNKNOWN


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.7.1"])
def test_pixels_elsewhere_cannot_be_judged(syntax: str) -> None:
    assert refused(decide(facts(syntax=syntax, element=None))) is PixelReason.PIXELS_ELSEWHERE
    url = {0x00287FE0: b"https://pacs.example.org/x"}
    assert refused(decide(facts(changes=url, element=None))) is PixelReason.PIXELS_ELSEWHERE


def test_without_pixels_there_is_nothing_to_do() -> None:
    assert decide(facts(UNKNOWN, element=None)) == Leave()


def rule(**decision: Any) -> dict[str, Any]:
    return {"name": "wide", "when": {"all": [{"attribute": "Columns", "equals": "80"}]}, **decision}


def test_the_first_rule_that_fits_decides() -> None:
    other = {"name": "other", "when": {"all": [{"attribute": "Columns", "equals": "81"}]}, "action": "Quarantine"}
    last = {**rule(action="Quarantine"), "name": "last"}
    assert decide(facts(SC, burned="YES"), deviceRules=[other, rule(action="Pass"), last]) == Leave("wide")
    assert refused(decide(facts(CT), deviceRules=[rule(action="Quarantine")])) is PixelReason.RULE_REFUSES


def test_rectangles_are_made_disjoint_and_put_in_order() -> None:
    mask = [
        {"left": 70, "top": 0, "width": 10, "height": 10},
        {"left": 0, "top": 5, "height": 5},
        {"left": 5, "top": 50},
    ]
    what = decide(facts(US), deviceRules=[rule(mask=mask)])
    assert isinstance(what, Mask)
    assert what.area.bands(0) == (Band(0, 5, ((70, 80),)), Band(5, 10, ((0, 80),)), Band(50, 60, ((5, 80),)))


def test_all_but_some_rectangles() -> None:
    what = decide(facts(US), deviceRules=[rule(maskExcept=[{"left": 10, "top": 20, "width": 60, "height": 30}])])
    assert isinstance(what, Mask)
    assert what.area.bands(0) == (
        Band(0, 20, ((0, 80),)),
        Band(20, 50, ((0, 10), (70, 80))),
        Band(50, 60, ((0, 80),)),
    )


def test_rectangles_of_some_frames() -> None:
    told = facts(US_MULTI, changes={0x00280008: b"5 "})
    what = decide(told, deviceRules=[rule(mask=[{"left": 0, "top": 0, "height": 1, "firstFrame": 2, "lastFrame": 3}])])
    assert isinstance(what, Mask)
    assert [len(what.area.bands(frame)) for frame in range(5)] == [0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    "rectangle",
    [
        {"left": 0, "top": 0, "width": 81, "height": 1},
        {"left": 0, "top": 60},
        {"left": 80, "top": 0},
        {"left": 0, "top": 0, "lastFrame": 2},
        {"left": 0, "top": 0, "firstFrame": 2},
    ],
)
@pytest.mark.parametrize("kind", ["mask", "maskExcept"])
def test_a_rectangle_that_was_meant_for_another_image_refuses(rectangle: dict[str, int], kind: str) -> None:
    assert refused(decide(facts(US), deviceRules=[rule(**{kind: [rectangle]})])) is PixelReason.RECTANGLE_OUTSIDE_IMAGE


def test_ultrasound_shows_its_regions_only() -> None:
    for burned in (None, "NO", "YES"):
        what = decide(facts(US, burned=burned, regions=[(10, 20, 69, 49)]))
        assert isinstance(what, Mask)
        assert what.rule == ULTRASOUND_REGIONS
        assert what.area.bands(0)[1] == Band(20, 50, ((0, 10), (70, 80)))


def test_regions_are_cut_to_the_image() -> None:
    what = decide(facts(US, regions=[(10, 20, 80, 60)]))
    assert isinstance(what, Mask)
    assert what.area.bands(0) == (Band(0, 20, ((0, 80),)), Band(20, 60, ((0, 10),)))


@pytest.mark.parametrize(
    "regions", [[(0, 0, 79, 59)], [(0, 0, 79, 29), (0, 30, 80, 60)], [(5, 5, 4, 9)], [(80, 0, 90, 9)]]
)
def test_regions_that_hide_nothing_or_are_nowhere_refuse(regions: Regions) -> None:
    assert refused(decide(facts(US, regions=regions))) is PixelReason.REGIONS_UNUSABLE


def test_a_rule_may_ask_for_the_regions() -> None:
    assert refused(decide(facts(US), deviceRules=[rule(action="MaskOutsideRegions")])) is PixelReason.REGIONS_UNUSABLE
    what = decide(facts(PHOTO, regions=[(10, 20, 69, 49)]), deviceRules=[rule(action="MaskOutsideRegions")])
    assert isinstance(what, Mask)


def test_regions_are_not_asked_for_where_the_policy_ignores_them_or_the_class_has_none() -> None:
    told = facts(US, regions=[(10, 20, 69, 49)])
    assert refused(decide(told, ultrasoundRegions="Ignore")) is PixelReason.BURNED_IN_UNKNOWN
    assert decide(facts(CT, regions=[(10, 20, 69, 49)])) == Leave()


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        (0x00280010, b"\1\0\1\0", PixelReason.HEADER_MALFORMED),
        (0x00280010, b"\1", PixelReason.HEADER_MALFORMED),
        (0x00280008, b"0 ", PixelReason.FRAMES_CONTRADICT_HEADER),
        (0x00280008, b"-3", PixelReason.FRAMES_CONTRADICT_HEADER),
        (0x00280008, b"1\\2 ", PixelReason.HEADER_MALFORMED),
        (0x00280008, b"1e3 ", PixelReason.HEADER_MALFORMED),
        (0x00280008, b"9" * 40, PixelReason.HEADER_MALFORMED),
        (0x7FE00001, b"\0" * 8, PixelReason.HEADER_MALFORMED),
    ],
)
def test_numbers_that_are_none_are_refused(tag: int, value: bytes, reason: PixelReason) -> None:
    with pytest.raises(PixelQuarantine) as refusal:
        facts(changes={tag: value})
    assert refusal.value.reason is reason


def test_a_mask_needs_to_know_how_large_the_image_is() -> None:
    told = facts(US, changes={0x00280010: b""})
    assert refused(decide(told, deviceRules=[rule(mask=[{"left": 0, "top": 0}])])) is PixelReason.HEADER_INCOMPLETE


def test_every_image_class_of_the_registry_that_people_photograph_with_is_risky() -> None:
    """Whoever adds a class to the plain ones sees here what it is called."""
    plain = {
        entry[0]
        for uid, entry in UID_dictionary.items()
        if entry[1] == "SOP Class" and uid.startswith(IMAGE) and hazard_of(uid, (), 1) is Hazard.PLAIN
    }
    words = (
        "Ultrasound",
        "Photography",
        "Photographic",
        "Endoscopic",
        "Secondary",
        "Video",
        "Encapsulated",
        "VL Micro",
    )
    assert not [name for name in plain if any(word in name for word in words)]
    assert len(plain) > 40


@pytest.mark.parametrize("burned", [None, "NO", "NO\\YES"])
def test_a_slide_that_shows_its_label(burned: str | None) -> None:
    slide = IMAGE + "77.1.6"
    assert (
        refused(decide(facts(slide, burned=burned, changes={0x00480010: b"YES "}))) is PixelReason.BURNED_IN_ANNOTATION
    )
    rule = {
        "name": "label",
        "when": {"all": [{"attribute": "Modality", "equals": ""}]},
        "mask": [{"left": 0, "top": 0, "width": 9}],
    }
    assert isinstance(decide(facts(slide, changes={0x00480010: b"YES "}), deviceRules=[rule]), Mask)
    assert refused(decide(facts(slide, changes={0x00480010: b"NO"}))) is None


def test_of_several_answers_the_worst_counts() -> None:
    for burned in ("NO\\YES", "YES\\NO", "NO\\ yes"):
        assert refused(decide(facts(CT, burned=burned))) is PixelReason.BURNED_IN_ANNOTATION
