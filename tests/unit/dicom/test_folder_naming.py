"""Names at a folder destination: upstream's rules, and nothing that leaves the folder."""

from __future__ import annotations

from datetime import date
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adit.dicom.folder.naming import JobFolder, Placing, distinct, safe_name


def placing(**words: object) -> Placing:
    given_words: dict[str, object] = {
        "study_instance_uid": "1.2",
        "series_instance_uid": "1.2.3",
        "sop_instance_uid": "1.2.3.4",
        "patient_id": "1001",
        "study_date": "20240131",
        "study_time": "101112.5",
        "modalities": frozenset({"SR", "CT"}),
        "series_number": "4",
        "series_description": "Axial",
        **words,
    }
    return Placing(**given_words)  # type: ignore[arg-type]


def test_the_names_are_upstreams() -> None:
    assert JobFolder("stroke-ct", date(2026, 11, 22), "jane").name == "adit_stroke-ct_20261122_jane"
    it = placing()
    assert it.patient_folder(None) == "1001"
    assert it.patient_folder("STROKE-001") == "STROKE-001"
    assert it.study_folder == "20240131-101112-CT,SR"
    assert it.series_folder == "4-Axial"
    assert it.file == "1.2.3.4.dcm"


@pytest.mark.parametrize(
    ("words", "study", "series"),
    [
        ({"study_time": ""}, "20240131-000000-CT,SR", "4-Axial"),
        ({"study_time": "10:11"}, "20240131-101100-CT,SR", "4-Axial"),
        ({"study_date": "", "study_time": "nonsense"}, "00000000-000000-CT,SR", "4-Axial"),
        ({"study_date": "2024.01.31"}, "20240131-101112-CT,SR", "4-Axial"),
        ({"modalities": frozenset({""})}, "20240131-101112-UNKNOWN", "4-Axial"),
        ({"series_description": ""}, "20240131-101112-CT,SR", "4-Undefined"),
        ({"series_number": ""}, "20240131-101112-CT,SR", "1.2.3"),
    ],
)
def test_what_is_missing_has_a_word_of_its_own(words: dict[str, object], study: str, series: str) -> None:
    it = placing(**words)
    assert (it.study_folder, it.series_folder) == (study, series)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("../../etc", "_._.._etc"),
        (".hidden", "_hidden"),
        ('a/b\\c:d*e?f"g<h>i|j', "a_b_c_d_e_f_g_h_i_j"),
        ("tab\tnew\nline\0end\x7f", "tab_new_line_end_"),
        (" blank. . ", "blank"),
        ("CON", "CON_"),
        ("nul.dcm", "nul.dcm_"),
        ("Größe", "Größe"),
        ("\u202eb\u2066a\ufeff", "_b_a_"),
        ("क्\u200dष", "क्\u200dष"),
        ("山" * 100, "山" * 66),
    ],
)
def test_names_are_safe_on_every_system(text: str, name: str) -> None:
    assert safe_name(text) == name


@given(st.text())
@example("\ud800")
@example("." * 300)
@example("0\xa0.")
def test_a_name_is_always_one_component_of_a_path(text: str) -> None:
    name = safe_name(text)
    assert PurePosixPath("/root", name).parent == PurePosixPath("/root")
    assert name not in ("", ".", "..")
    assert not name.startswith(".")
    assert name == name.strip(" ").rstrip(".")
    assert len(distinct(name, text.encode(errors="replace").decode()).encode()) <= 255
    assert safe_name(name) == name


def test_the_digest_tells_two_owners_apart_and_one_owner_again() -> None:
    assert distinct("4-Axial", "1.2.3") == distinct("4-Axial", "1.2.3") != distinct("4-Axial", "1.2.4")
