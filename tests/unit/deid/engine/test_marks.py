"""What a copy says of its own de-identification is what was done to it (PS3.15 E.1.2, CID 7050)."""

from __future__ import annotations

from typing import Any

import pytest

from adit.deid.engine.instance import Engine
from adit.deid.identity import Identity
from adit.deid.policy import Policy
from adit.deid.profiles import names, ready
from tests.unit.deid.engine.encoded import KEY, Element, encode, instance, read, syntax, treated

BASIC, PIXELS = "113100", "113101"
STUDY_DATE = Element(0x00080020, "DA", b"20240131")


def codes(found: Any) -> set[str]:
    return {item.CodeValue for item in found.DeidentificationMethodCodeSequence}


@pytest.mark.parametrize(
    ("options", "overrides", "marked", "date"),
    [
        ([], [], "REMOVED", ""),
        (["RetainLongitudinalModifiedDates"], [], "MODIFIED", None),
        (["RetainLongitudinalFullDates"], [], "UNMODIFIED", "20240131"),
        ([], [{"keyword": "StudyDate", "action": "Keep"}], "UNMODIFIED", "20240131"),
        ([], [{"keyword": "StudyDate", "action": "Shift"}], "MODIFIED", None),
        (["RetainLongitudinalModifiedDates"], [{"path": "StudyDate", "action": "Keep"}], "UNMODIFIED", "20240131"),
        ([], [{"keyword": "StudyDescription", "action": "Keep"}], "REMOVED", ""),
    ],
)
def test_dates(options: list[str], overrides: list[dict[str, str]], marked: str, date: str | None) -> None:
    """`date` None: another day than it was."""
    _, _, found = treated(instance(STUDY_DATE), *options, overrides=overrides)
    assert found.LongitudinalTemporalInformationModified == marked
    if date is None:
        assert found.StudyDate not in ("", "20240131")
    else:
        assert found.StudyDate == date


def test_each_option_that_is_on_has_its_code_and_no_other() -> None:
    _, _, found = treated(instance(), "CleanDescriptors", "RetainUIDs")
    assert codes(found) == {BASIC, "113105", "113110"}
    assert found.PatientIdentityRemoved == "YES"
    assert "2026d" in found.DeidentificationMethod[0]


@pytest.mark.parametrize("keyword", ["PatientName", "PatientID", "OtherPatientIDs", "PatientAddress"])
def test_an_identity_that_is_kept_is_not_called_removed(keyword: str) -> None:
    _, _, found = treated(instance(), overrides=[{"keyword": keyword, "action": "Keep"}])
    assert found.PatientIdentityRemoved == "NO"
    assert codes(found) == set()


@pytest.mark.parametrize(
    ("option", "code", "override"),
    [
        ("CleanDescriptors", "113105", {"keyword": "StudyDescription"}),
        ("RetainLongitudinalModifiedDates", "113107", {"keyword": "StudyDate"}),
        ("CleanStructuredContent", "113104", {"keyword": "ContentSequence"}),
        ("CleanGraphics", "113103", {"keyword": "GraphicAnnotationSequence"}),
        ("RetainSafePrivate", "113111", {"privateCreator": "ACME"}),
    ],
)
def test_what_is_kept_by_an_override_is_not_called_clean(option: str, code: str, override: dict[str, str]) -> None:
    _, _, found = treated(instance(), option, overrides=[{**override, "action": "Keep"}])
    assert codes(found) == set()
    assert found.PatientIdentityRemoved == "YES"
    _, _, found = treated(instance(), option, overrides=[{"keyword": "PatientWeight", "action": "Keep"}])
    assert codes(found) == {code}


def test_what_stood_there_before_is_gone() -> None:
    lies = Element(0x00120063, "LO", b"by hand"), Element(0x00120062, "CS", b"NO"), Element(0x00280303, "CS", b"X")
    _, data, found = treated(instance(*lies))
    assert b"by hand" not in data
    assert (found.PatientIdentityRemoved, found.LongitudinalTemporalInformationModified) == ("YES", "REMOVED")


@pytest.mark.parametrize("masked", [False, True])
def test_clean_pixel_data_is_claimed_of_masked_pixels_alone(masked: bool) -> None:
    when = {"all": [{"attribute": "Modality", "equals": "CT" if masked else "MR"}]}
    rule = {"name": "corner", "when": when, "mask": [{"left": 0, "top": 0, "width": 1}]}
    _, _, found = treated(instance(), pixels={"deviceRules": [rule]})
    assert (PIXELS in codes(found)) is masked
    assert found.PixelData == (b"\0\0\2\0" if masked else b"\1\0\2\0")


@pytest.mark.parametrize("name", names())
def test_the_ready_profiles(name: str) -> None:
    made = Engine(Policy(ready(name)), Identity(KEY, name)).treat(encode(instance(STUDY_DATE)), syntax(False))
    found = read(b"".join(made.pieces()))
    kept = found.StudyDate == "20240131"
    assert (BASIC in codes(found)) is not kept
    assert (found.LongitudinalTemporalInformationModified == "UNMODIFIED") is kept
