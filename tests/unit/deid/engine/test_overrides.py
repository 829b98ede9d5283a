"""What a site's overrides make of an instance's bytes: each action, and only where it is meant."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from adit.deid.engine.irregular import treat_irregular
from adit.deid.identity import Identity
from adit.deid.policy import ProfileError
from adit.deid.quarantine import LeftOut
from tests.unit.deid.engine.encoded import CT, KEY, Element, Item, encode, engine, instance, read, syntax, treated

IDENTITY = Identity(KEY, "research")
MR = "1.2.840.10008.5.1.4.1.1.4"
REQUESTED = "RequestAttributesSequence"
ELEMENTS = (
    Element(0x00080020, "DA", b"20240131"),
    Element(0x00081030, "LO", b"Thorax"),
    Element(0x00101030, "DS", b"71.5"),
    Element(0x00200052, "UI", b"1.2.3.9"),
    Element(0x00181030, "LO", b"Lung low dose"),
    Element(0x00400275, "SQ", (Item((Element(0x0020000D, "UI", b"1.2.3.4.5"), Element(0x00401001, "SH", b"REQ-7"))),)),
    Element(0x00401001, "SH", b"REQ-7"),
    Element(0x00190010, "LO", b"ACME"),
    Element(0x00191001, "LO", b"coil 3"),
    Element(0x00191002, "LO", b"coil 4"),
)


def by_both(*overrides: dict[str, str]) -> Dataset:
    """What the byte walk makes of it; pydicom's way must mean the same."""
    _, data, found = treated(instance(*ELEMENTS), overrides=list(overrides))
    made = engine(overrides=list(overrides))
    other = treat_irregular(made, encode(instance(*ELEMENTS)), syntax(False), None, None)
    assert read(b"".join(other.pieces())) == found == read(data)
    return found


@pytest.mark.parametrize(
    ("override", "keyword", "expected"),
    [
        ({"keyword": "ProtocolName", "action": "Remove"}, "ProtocolName", None),
        ({"keyword": "ProtocolName", "action": "Empty"}, "ProtocolName", ""),
        ({"tag": "00181030", "action": "Replace", "value": "P"}, "ProtocolName", "P"),
        ({"keyword": "PatientWeight", "action": "Keep"}, "PatientWeight", 71.5),
        ({"keyword": "ProtocolName", "action": "Hash"}, "ProtocolName", IDENTITY.number("Lung low dose")),
        ({"keyword": "FrameOfReferenceUID", "action": "Map"}, "FrameOfReferenceUID", IDENTITY.uid("1.2.3.9")),
        ({"keyword": "FrameOfReferenceUID", "action": "Keep"}, "FrameOfReferenceUID", "1.2.3.9"),
        (
            {"keyword": "StudyDescription", "action": "Template", "value": "{Modality} of {PatientID}"},
            "StudyDescription",
            f"CT of {IDENTITY.patient('MRN-990017')}",
        ),
    ],
)
def test_each_action(override: dict[str, str], keyword: str, expected: object) -> None:
    assert by_both(override).get(keyword) == expected


def test_a_shifted_date_is_that_of_the_patient_in_every_instance() -> None:
    found = by_both({"keyword": "StudyDate", "action": "Shift"})
    assert found.StudyDate not in ("", "20240131")
    other = Element(0x00080022, "DA", b"20240131")
    _, _, again = treated(instance(other), overrides=[{"keyword": "AcquisitionDate", "action": "Shift"}])
    assert again.AcquisitionDate == found.StudyDate


def test_an_age_over_89_is_kept_by_an_override_alone() -> None:
    old = Element(0x00101010, "AS", b"101Y")
    keeps = [{"keyword": "PatientAge", "action": "Keep"}]
    for options, overrides, expected in (
        ((), [], None),
        (("RetainPatientCharacteristics",), [], "090Y"),
        ((), keeps, "101Y"),
    ):
        _, data, found = treated(instance(old), *options, overrides=overrides)
        assert found.get("PatientAge") == expected
        assert (b"101Y" in data) is bool(overrides)


def test_a_path_is_one_place_and_a_keyword_all() -> None:
    sequence = {"keyword": REQUESTED, "action": "Keep"}
    found = by_both(sequence, {"path": f"{REQUESTED}.RequestedProcedureID", "action": "Keep"})
    assert found.RequestAttributesSequence[0].RequestedProcedureID == "REQ-7"
    assert found.RequestAttributesSequence[0].StudyInstanceUID == IDENTITY.uid("1.2.3.4.5")
    assert "RequestedProcedureID" not in found
    found = by_both(sequence, {"keyword": "RequestedProcedureID", "action": "Keep"})
    assert found.RequestAttributesSequence[0].RequestedProcedureID == "REQ-7" == found.RequestedProcedureID


def test_a_path_does_not_keep_the_sequences_that_it_goes_through() -> None:
    assert REQUESTED not in by_both({"path": f"{REQUESTED}.RequestedProcedureID", "action": "Keep"})


def test_a_sop_class_is_that_one_alone() -> None:
    override = {"keyword": "PatientWeight", "action": "Keep"}
    assert by_both({**override, "sopClass": CT}).get("PatientWeight") == 71.5
    assert "PatientWeight" not in by_both({**override, "sopClass": MR})


def test_a_creator_in_whatever_block() -> None:
    assert by_both({"privateCreator": "ACME", "action": "Keep"}).private_block(0x19, "ACME")[0x02].value == "coil 4"
    one = by_both({"privateCreator": "ACME", "element": "0019xx01", "action": "Keep"})
    assert one.private_block(0x19, "ACME")[0x01].value == "coil 3"
    assert 0x00191002 not in one
    moved = [Element(each.tag + 0x1000, each.vr, each.value) for each in ELEMENTS if each.tag in (0x191001, 0x191002)]
    override = {"privateCreator": "ACME", "element": "0019xx02", "action": "Keep"}
    _, _, found = treated(instance(Element(0x00190020, "LO", b"ACME"), *moved), overrides=[override])
    assert [each.value for each in found if each.tag.is_private] == ["ACME", "coil 4"]


@pytest.mark.parametrize("excluded", [{"excludedModalities": ["CT"]}, {"excludedSOPClasses": [CT]}])
def test_an_excluded_kind_is_left_out(excluded: dict[str, Any]) -> None:
    made, data = engine(**excluded), encode(instance())
    with pytest.raises(LeftOut):
        made.treat(data, syntax(False))
    with pytest.raises(LeftOut):
        treat_irregular(made, data, syntax(False), None, None)


KEPT = [{"keyword": each, "action": "Keep"} for each in ("StudyDescription", "StudyDate", "RequestedProcedureID")]


@pytest.mark.parametrize("told", [b"CT Zyxwvut", b"CT MRN-990017"])
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_a_kept_text_that_tells_of_the_patient_is_emptied(told: bytes, implicit: bool) -> None:
    nested = Element(0x00283010, "SQ", (Item((Element(0x00401001, "SH", told),)),))
    elements = instance(Element(0x00080020, "DA", b"20240131"), Element(0x00081030, "LO", told), nested)
    made, data, found = treated(elements, implicit=implicit, overrides=KEPT)
    assert told.split()[1].lower() not in data.lower()
    assert (found.StudyDescription, found.StudyDate) == ("", "20240131")
    assert {each.rule for each in made.changes if each.path[-1] in (0x00081030, 0x00401001)} == {"identifier"}
    other = treat_irregular(engine(overrides=KEPT), encode(elements, implicit=implicit), syntax(implicit), None, None)
    assert told.split()[1].lower() not in b"".join(other.pieces()).lower()


def test_a_kept_text_that_tells_of_nobody_stays() -> None:
    _, _, found = treated(instance(Element(0x00081030, "LO", b"CT Thorax")), overrides=KEPT)
    assert found.StudyDescription == "CT Thorax"


def test_what_is_kept_on_purpose_is_nobodys_secret() -> None:
    """An accession number that the site keeps may stand elsewhere, too."""
    accession = Element(0x00080050, "SH", b"ACC-4711"), Element(0x00180024, "SH", b"of ACC-4711")
    _, _, found = treated(instance(*accession), overrides=[{"keyword": "AccessionNumber", "action": "Keep"}])
    assert (found.AccessionNumber, found.SequenceName) == ("ACC-4711", "of ACC-4711")
    _, _, found = treated(instance(*accession))
    assert (found.AccessionNumber == "ACC-4711", found.SequenceName) == (False, "")


def test_a_mark_is_no_ones_name() -> None:
    """The words that the engine itself writes are the same for everybody."""
    _, _, found = treated(instance(name=b"Profile^Basic", patient_id=b"113100"))
    assert found.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


CONTENT = "ContentDescription"
TOLD = Element(0x00700081, "LO", b"for Zyxwvut")


@pytest.mark.parametrize(
    "overrides",
    [
        [{"path": f"ReferencedImageSequence.{CONTENT}", "action": "Empty"}],
        [{"keyword": CONTENT, "sopClass": MR, "action": "Replace", "value": "x"}],
        [{"keyword": CONTENT, "action": "Replace", "value": "x"}, {"path": CONTENT, "action": "Keep"}],
        [{"keyword": CONTENT, "action": "Template", "value": "CT {SequenceName}"}],
        [{"path": f"SourceImageSequence.{CONTENT}", "action": "Template", "value": "CT {Modality}"}],
    ],
    ids=["another place", "another class", "overruled", "made of what is kept", "another template"],
)
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_an_override_spares_its_own_place_alone(overrides: list[dict[str, str]], implicit: bool) -> None:
    """Everywhere else a text that tells of the patient is emptied as ever."""
    elements = instance(TOLD, Element(0x00180024, "SH", b"Zyxwvut seq"))
    _, data, found = treated(elements, implicit=implicit, overrides=overrides)
    assert b"zyxwvut" not in data.lower()
    assert (found.ContentDescription, found.SequenceName) == ("", "")
    other = treat_irregular(
        engine(overrides=overrides), encode(elements, implicit=implicit), syntax(implicit), None, None
    )
    assert b"zyxwvut" not in b"".join(other.pieces()).lower()


def test_a_template_of_what_was_cleaned_names_nobody() -> None:
    described = Element(0x0008103E, "LO", b"Hand left"), Element(0x00081030, "LO", b"x")
    override = {"keyword": "StudyDescription", "action": "Template", "value": "{SeriesDescription} CT"}
    _, data, found = treated(instance(*described, name=b"Hand^Quorra"), "CleanDescriptors", overrides=[override])
    assert b"hand" not in data.lower()
    _, _, found = treated(instance(*described), "CleanDescriptors", overrides=[override])
    assert found.StudyDescription == "Hand left CT"


@pytest.mark.parametrize(
    ("options", "override"),
    [
        ((), {"keyword": "SOPClassUID", "action": "Remove"}),
        ((), {"tag": "00080016", "action": "Map"}),
        ((), {"path": "SOPClassUID", "action": "Replace", "value": "1.2"}),
        (("RetainUIDs",), {"keyword": "StudyInstanceUID", "action": "Map"}),
        ((), {"keyword": "SOPInstanceUID", "action": "Keep"}),
    ],
)
def test_what_files_an_instance_is_not_overridden(options: tuple[str, ...], override: dict[str, str]) -> None:
    with pytest.raises(ProfileError) as told:
        engine(*options, overrides=[override])
    assert told.value.field == "spec.overrides[0]"


@pytest.mark.parametrize("implicit", [False, True], ids=["unknown", "implicit"])
def test_private_elements_that_do_not_tell_their_vr(implicit: bool) -> None:
    """What is known of the creator tells it: a time is no date, and a date and time no date alone."""
    overrides = [
        {"privateCreator": each, "action": "Keep"} for each in ("GEMS_PETD_01", "AMI Sequence Annotations_01", "ACME")
    ]
    elements = instance(
        Element(0x00090010, "LO", b"GEMS_PETD_01"),
        Element(0x0009100D, "UN", b"20240131101112.00"),
        Element(0x00190010, "LO", b"ACME"),
        Element(0x00191001, "UN", b"1.2.3.4.99"),
        Element(0x31030010, "LO", b"AMI Sequence Annotations_01"),
        Element(0x310310B0, "UN", b"101112"),
    )
    for options in (("RetainLongitudinalModifiedDates",), ("RetainLongitudinalModifiedDates", "RetainUIDs")):
        _, data, found = treated(elements, *options, implicit=implicit, overrides=overrides)
        other = treat_irregular(
            engine(*options, overrides=overrides), encode(elements, implicit=implicit), syntax(implicit), None, None
        )
        for each in (found, read(b"".join(other.pieces()), implicit=implicit)):
            moved = str(each[0x0009100D].value)
            assert (len(moved.strip()), moved[8:17]) == (17, "101112.00")
            assert moved[:8] != "20240131"
            time, uid = each.get_item(0x310310B0).value, each.get_item(0x00191001).value
            assert time.strip() == b"101112"
            assert (uid == b"1.2.3.4.99") is ("RetainUIDs" in options)
        assert b"20240131" not in data
