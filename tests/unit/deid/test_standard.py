"""The table against what is known of the standard, and against another package's own copy of it."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

from adit.deid.standard import standard

_FAMILIES = {
    "X_TAGS": "X",
    "Z_TAGS": "Z",
    "D_TAGS": "D",
    "U_TAGS": "U",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "Z_D_TAGS": "Z/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}


def test_it_has_all_rows_of_the_edition_with_their_codes() -> None:
    table = standard()
    rows = [*table.attributes.values(), *table.groups.values(), *table.repeating.values(), table.private]
    assert table.edition == "2026d"
    assert Counter(row.basic for row in rows) == {
        "X": 417, "D": 93, "U": 55, "Z": 42, "X/D": 23, "X/Z": 11, "X/Z/D": 8, "Z/D": 6, "X/Z/U*": 2,
    }  # fmt: skip
    options = Counter((option, code) for row in rows for option, code in row.options.items())
    assert options == {
        ("RetainUIDs", "K"): 60,
        ("RetainDeviceIdentity", "K"): 48,
        ("RetainDeviceIdentity", "C"): 11,
        ("RetainInstitutionIdentity", "K"): 10,
        ("RetainPatientCharacteristics", "K"): 14,
        ("RetainPatientCharacteristics", "C"): 5,
        ("RetainLongitudinalFullDates", "K"): 169,
        ("RetainLongitudinalModifiedDates", "C"): 169,
        ("CleanDescriptors", "C"): 141,
        ("CleanStructuredContent", "C"): 4,
        ("CleanGraphics", "C"): 4,
        ("RetainSafePrivate", "C"): 1,
    }
    assert len(table.concepts) == 214


def test_an_independent_copy_of_the_table_says_the_same() -> None:
    """dicom-anonymizer read PS3.15 2026c from NEMA itself; what both have must have the same code."""
    theirs = dicom_anonymization_database_selector("dicomfields_2026c")
    table = standard()
    compared = 0
    for family, code in _FAMILIES.items():
        for tag in theirs[family]:
            if len(tag) != 2:
                continue  # a repeating group
            row = table.attributes.get(tag[0] << 16 | tag[1])
            assert row is not None, f"({tag[0]:04X},{tag[1]:04X}) is missing"
            assert row.basic == code, f"({tag[0]:04X},{tag[1]:04X})"
            compared += 1
    assert compared >= 640


@pytest.mark.parametrize(
    ("sop_class", "path", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", (0x00080022,), 3),  # CT: AcquisitionDate, General Image
        ("1.2.840.10008.5.1.4.1.1.2", (0x00080020,), 2),  # StudyDate
        ("1.2.840.10008.5.1.4.1.1.2.1", (0x0008002A,), 1),  # Enhanced CT: AcquisitionDateTime, 1C
        ("1.2.840.10008.5.1.4.1.1.88.67", (0x00080023,), 1),  # X-Ray Radiation Dose SR: ContentDate
    ],
)
def test_types_are_those_of_the_class(sop_class: str, path: tuple[int, ...], kind: int) -> None:
    types = standard().types_of(sop_class)
    assert types is not None
    assert types.get(path) == kind


def test_safe_private_elements_are_by_creator() -> None:
    safe = standard().safe_private
    assert safe["SIEMENS MR HEADER"] == {0x0019000C, 0x0019000D, 0x0019000E, 0x00190027}
    assert 0x20010020 not in safe["Philips Imaging DD 001"]
    assert sum(len(elements) for elements in safe.values()) == 479


def test_the_table_names_its_sources() -> None:
    from adit.deid import standard as package

    text = package._FILE.read_text(encoding="utf-8")
    assert "sha256:36c3d976a1bce9aa59d5adc5c68b37332f2632bc772bfe2306270c2e808f1ec0" in text
    assert hashlib.sha256(text.encode()).hexdigest()
