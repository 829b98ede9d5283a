"""Decisions of compiled profiles: by table, option, type, VR, private creator and override."""

from __future__ import annotations

import itertools

import pytest
from pydantic import ValidationError

from adit.deid.decision import Action
from adit.deid.policy import Policy, ProfileError, vr_of
from adit.deid.standard import standard
from adit.model.crd import structural
from adit.model.deid_profile import DeidProfile, Option
from tests.unit.deid.profiles import profile

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"


def action(tag: int, *options: str, vr: str = "UN", sop_class: str = CT, path: tuple[int, ...] = ()) -> Action:
    return Policy(profile(*options)).for_class(sop_class).decide(path, tag, vr).action


@pytest.mark.parametrize(
    ("tag", "sop_class", "expected"),
    [
        (0x00080022, CT, Action.REMOVE),  # X/Z of type 3
        (0x00080023, CT, Action.EMPTY),  # Z/D of type 2C
        (0x0008002A, ENHANCED_CT, Action.DUMMY),  # X/Z/D of type 1C
        (0x0008002A, CT, Action.REMOVE),  # the same of type 3
        (0x0008002A, "1.2.3.4", Action.DUMMY),  # of a class that nobody knows
        (0x00081140, "1.2.3.4", Action.SEQUENCE),  # X/Z/U*, so that it may be of type 1
    ],
)
def test_compound_codes_are_resolved_by_the_attributes_type(tag: int, sop_class: str, expected: Action) -> None:
    assert action(tag, sop_class=sop_class) is expected


def test_the_patient_gets_a_pseudonym_and_numbers_a_keyed_one() -> None:
    assert action(0x00100010) is Action.PSEUDONYM
    assert action(0x00100020) is Action.PSEUDONYM
    assert action(0x00080050) is Action.HASH


def test_uids_are_mapped_but_for_those_of_classes() -> None:
    assert action(0x00080018) is Action.UID
    assert action(0x00081155, path=(0x00081140,)) is Action.UID
    assert action(0x00080016) is Action.KEEP
    assert action(0x00080018, "RetainUIDs") is Action.KEEP


def test_dates_are_removed_kept_or_shifted() -> None:
    assert action(0x00080020) is Action.EMPTY
    assert action(0x00080020, "RetainLongitudinalFullDates") is Action.KEEP
    assert action(0x00080020, "RetainLongitudinalModifiedDates") is Action.SHIFT
    # kept as the device's identity, but not with its date as it was
    assert action(0x0018700C, "RetainDeviceIdentity", "RetainLongitudinalModifiedDates") is Action.SHIFT


@pytest.mark.parametrize("vr", ["PN", "DA", "DT", "TM", "UI", "UR"])
def test_what_is_not_listed_is_not_kept_when_its_vr_may_name_someone(vr: str) -> None:
    listed = standard().attributes
    from pydicom._dicom_dict import DicomDictionary

    tags = [tag for tag, entry in DicomDictionary.items() if entry[0] == vr and tag not in listed and tag > 0x00080000]
    # the wrong VR in the bytes does not help
    for tag, encoded in itertools.product(tags, ["UN", vr, "LO"]):
        decided = Policy(profile()).for_class(CT).decide((), tag, encoded)
        if vr == "UI" and decided.action is Action.KEEP:
            continue  # a class
        assert decided.action in (Action.EMPTY, Action.REMOVE, Action.UID), f"{tag:08X} as {encoded}"


def test_what_nobody_knows_is_removed() -> None:
    assert action(0x00089999, vr="LO") is Action.REMOVE
    assert action(0x00080000, vr="UL") is Action.REMOVE
    assert action(0x60003000, vr="OW") is Action.REMOVE
    assert action(0x60100010, vr="US") is Action.REMOVE
    assert action(0x50000005, vr="US") is Action.REMOVE


@pytest.mark.parametrize(
    "options",
    [
        combination
        for count in (0, 1, 2, 10)
        for combination in itertools.combinations(Option, count)
        if not {"RetainLongitudinalFullDates", "RetainLongitudinalModifiedDates"} <= set(combination)
    ],
    ids="-".join,
)
def test_every_row_is_decided_in_every_combination_and_only_an_option_keeps_one(options: tuple[Option, ...]) -> None:
    decisions = Policy(profile(*options)).for_class(CT)
    for tag, row in standard().attributes.items():
        if tag >> 16 <= 0x0004 or tag >> 16 >= 0xFFFA:
            continue
        decided = decisions.decide((), tag, vr_of(tag) or "UN")
        if decided.action is Action.KEEP:
            assert any(row.options.get(option) == "K" for option in options), f"{tag:08X} by {decided.rule}"


def test_private_elements_go_unless_their_creators_element_is_safe() -> None:
    safe = Policy(profile("RetainSafePrivate")).for_class(CT)
    assert safe.decide((), 0x0019100C, "IS", "SIEMENS MR HEADER").action is Action.KEEP
    assert safe.decide((), 0x0019110C, "UN", "SIEMENS MR HEADER").action is Action.KEEP  # in whatever block
    assert safe.decide((), 0x0019100C, "IS", "SOMEBODY").action is Action.REMOVE
    assert safe.decide((), 0x0019100F, "IS", "SIEMENS MR HEADER").action is Action.REMOVE
    assert safe.decide((), 0x0019100C, "IS", None).action is Action.REMOVE
    assert safe.decide((), 0x00991002, "UI", "NQHeader").action is Action.UID
    assert safe.decide((), 0x20011069, "SQ", "Philips Imaging DD 001").action is Action.SEQUENCE
    plain = Policy(profile()).for_class(CT)
    assert plain.decide((), 0x0019100C, "IS", "SIEMENS MR HEADER").action is Action.REMOVE


def test_the_last_override_wins_and_only_where_it_is_meant() -> None:
    made = Policy(
        profile(
            overrides=[
                {"keyword": "PatientWeight", "action": "Keep"},
                {"tag": "00101030", "action": "Empty"},
                {"path": "RequestAttributesSequence.RequestedProcedureID", "action": "Hash"},
                {"keyword": "StudyDescription", "action": "Replace", "value": "CT", "sopClass": CT},
                {"privateCreator": "ACME", "action": "Keep"},
                {"privateCreator": "ACME", "element": "0019xx02", "action": "Remove"},
                {"keyword": "ContentSequence", "action": "Keep"},
            ]
        )
    )
    ct, other = made.for_class(CT), made.for_class("1.2.3")
    assert ct.decide((), 0x00101030, "DS").action is Action.EMPTY
    assert ct.decide((), 0x00101030, "DS").rule == "override 2"
    assert ct.decide((0x00400275,), 0x00401001, "SH").action is Action.HASH
    assert ct.decide((), 0x00401001, "SH").action is not Action.HASH
    assert ct.decide((), 0x00081030, "LO").value == "CT"
    assert other.decide((), 0x00081030, "LO").action is Action.REMOVE
    assert ct.decide((), 0x00191001, "LO", "ACME").action is Action.KEEP
    assert ct.decide((), 0x00191001, "PN", "ACME").action is Action.EMPTY
    assert ct.decide((), 0x00191002, "LO", "ACME").action is Action.REMOVE
    assert ct.decide((), 0x0040A730, "SQ").action is Action.SEQUENCE  # cleaned inside all the same


@pytest.mark.parametrize(
    "override",
    [
        {"keyword": "NoSuchKeyword", "action": "Keep"},
        {"tag": "00191001", "action": "Keep"},
        {"tag": "7FE00010", "action": "Keep"},
        {"tag": "00020003", "action": "Keep"},
    ],
)
def test_what_cannot_be_meant_is_refused(override: dict[str, str]) -> None:
    with pytest.raises(ProfileError, match=r"spec\.overrides\[0\]"):
        Policy(profile(overrides=[override]))


@pytest.mark.parametrize(
    "spec",
    [
        {"options": ["RetainLongitudinalFullDates", "RetainLongitudinalModifiedDates"]},
        {"options": ["RetainUIDs", "RetainUIDs"]},
        {"overrides": [{"action": "Keep"}]},
        {"overrides": [{"tag": "00100010", "keyword": "PatientName", "action": "Keep"}]},
        {"overrides": [{"tag": "00100010", "action": "Replace"}]},
        {"overrides": [{"tag": "00100010", "action": "Keep", "value": "x"}]},
        {"overrides": [{"tag": "00100010", "element": "0019xx01", "action": "Keep"}]},
    ],
)
def test_the_model_refuses_what_contradicts_itself(spec: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DeidProfile.model_validate({"metadata": {"name": "x"}, "spec": {"key": {"secretName": "k"}, **spec}})


def test_its_schema_is_structural() -> None:
    schema = structural(DeidProfile)
    options = schema["properties"]["spec"]["properties"]["options"]
    assert options["x-kubernetes-list-type"] == "set"
    assert "$ref" not in str(schema)
