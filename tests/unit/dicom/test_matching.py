"""The post-filter: what a peer should have filtered and perhaps did not."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from adit.dicom.matching import keep
from adit.dicom.node import Level, Query


def kept(asked: dict[str, str], **answer: object) -> bool:
    dataset = Dataset()
    for keyword, value in answer.items():
        setattr(dataset, keyword, value)
    return keep(dataset, Query(Level.STUDY, asked))


@pytest.mark.parametrize(
    ("asked", "held", "matches"),
    [
        ("Apple^Annie", "Apple^Annie", True),
        ("apple^ANNIE", "Apple^Annie", True),
        ("Apple", "Apple^Annie", False),
        ("Apple*", "Apple^Annie", True),
        ("*annie", "Apple^Annie", True),
        ("App?e^*", "Apple^Annie", True),
        ("App?^*", "Apple^Annie", False),
        ("Apple^Annie", "Apple^Annie^^^", True),
        ("Apple^Annie^^", "Apple^Annie", True),
        ("müller*", "MÜLLER^Jürgen", True),
        ("mu\u0308ller", "Müller", True),
        ("A.ple^Annie", "Apple^Annie", False),
        ("Yamada*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("山田^太郎", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("山田*", "Yamada^Tarou=山田^太郎=やまだ^たろう", True),
        ("Yamada^Tarou=山田^太郎", "Yamada^Tarou=山田^太郎", True),
        ("Tarou", "Yamada^Tarou=山田^太郎", False),
    ],
)
def test_names(asked: str, held: str, matches: bool) -> None:
    assert kept({"PatientName": asked}, PatientName=held) is matches


@pytest.mark.parametrize(
    ("asked", "held", "matches"),
    [
        ("19760824", "19760824", True),
        ("19760824", "19760825", False),
        ("19760101-19761231", "19760824", True),
        ("19760825-", "19760824", False),
        ("-19760824", "19760824", True),
        ("-19760823", "19760824", False),
        ("19760824", "1976.08.24", True),
    ],
)
def test_dates(asked: str, held: str, matches: bool) -> None:
    answer = Dataset()
    answer.add_new("PatientBirthDate", "LO", held)  # no check of the value: what a PACS sends is not always a date
    assert keep(answer, Query(Level.STUDY, {"PatientBirthDate": asked})) is matches


@pytest.mark.parametrize(
    ("asked", "held", "matches"),
    [
        ("101112", "101112", True),
        ("101112", "101113", False),
        ("1011", "101112", True),
        ("1000-1100", "101112.5", True),
        ("1000-1011", "101159.999", True),
        ("1000-1010", "101100", False),
        ("10:00-11:00", "103000", True),
        ("-0959", "100000", False),
    ],
)
def test_times(asked: str, held: str, matches: bool) -> None:
    assert kept({"StudyTime": asked}, StudyTime=held) is matches


@pytest.mark.parametrize(
    ("asked", "held", "matches"),
    [
        ("20240131-20240201", "20240131235959", True),
        ("20240201-", "20240131235959", False),
        ("20240131", "20240131101112.000001", True),
        ("20240131100000+0100-20240131110000+0100", "20240131235959", True),
        ("20240201", "20240131235959-0500", True),
    ],
)
def test_date_times_are_left_to_the_peer_where_a_time_zone_is_involved(asked: str, held: str, matches: bool) -> None:
    assert kept({"AcquisitionDateTime": asked}, AcquisitionDateTime=held) is matches


def test_descriptions_are_whole_values_and_case_counts() -> None:
    assert kept({"StudyDescription": "CT*"}, StudyDescription="CT Thorax")
    assert not kept({"StudyDescription": "ct*"}, StudyDescription="CT Thorax")
    assert not kept({"StudyDescription": "Thorax"}, StudyDescription="CT Thorax")
    assert not kept({"StudyDescription": "CT (Thorax)"}, StudyDescription="CT Thorax")
    assert kept({"StudyDescription": "CT (Tho?ax)+ [1].*"}, StudyDescription="CT (Thorax)+ [1].5")


def test_any_modality_of_the_study_is_enough() -> None:
    assert kept({"ModalitiesInStudy": "SR\\CT"}, ModalitiesInStudy=["MR", "CT"])
    assert not kept({"ModalitiesInStudy": "SR"}, ModalitiesInStudy=["MR", "CT"])
    assert kept({"ModalitiesInStudy": "MR"}, ModalitiesInStudy="MR")


def test_numbers_are_numbers() -> None:
    assert kept({"SeriesNumber": "01"}, SeriesNumber="1")
    assert not kept({"SeriesNumber": "1"}, SeriesNumber="11")
    assert not kept({"SeriesNumber": "1*"}, SeriesNumber="11")


def test_uids_are_lists_without_wildcards() -> None:
    assert kept({"StudyInstanceUID": "1.2\\1.3"}, StudyInstanceUID="1.3")
    assert not kept({"StudyInstanceUID": "1.2"}, StudyInstanceUID="1.23")
    assert not kept({"StudyInstanceUID": "1.?"}, StudyInstanceUID="1.2")


def test_what_is_absent_cannot_be_judged_and_what_is_empty_matches_nothing() -> None:
    assert kept({"PatientBirthDate": "19760824"})
    assert not kept({"PatientBirthDate": "19760824"}, PatientBirthDate="")
    assert not kept({"PatientSex": "F"}, PatientSex=None)
    assert kept({"PatientSex": ""}, PatientSex="F")
    assert kept({"PatientName": "*"}, PatientName="")


def test_padding_does_not_count_and_every_key_must_match() -> None:
    assert kept({"PatientID": "1001 "}, PatientID=" 1001")
    assert not kept({"PatientID": "1001", "PatientSex": "M"}, PatientID="1001", PatientSex="F")
    assert kept({"QueryRetrieveLevel": "SERIES", "PatientID": "1001"}, PatientID="1001", QueryRetrieveLevel="STUDY")


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
def test_a_value_that_cannot_be_read_matches_nothing_and_breaks_nothing() -> None:
    answer = Dataset()
    tag = Tag("SeriesNumber")
    answer._dict[tag] = RawDataElement(tag, "IS", 2, b"1A", 0, False, True)
    assert not keep(answer, Query(Level.SERIES, {"SeriesNumber": "1"}))


def test_a_key_that_is_no_keyword_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="PatientsName is no DICOM keyword"):
        kept({"PatientsName": "x"}, PatientID="1")


texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\\*?", exclude_categories=["Cc", "Zs"]), min_size=1, max_size=20
)


@given(texts)
def test_without_wildcards_a_text_matches_itself_whatever_its_characters(text: str) -> None:
    assert kept({"StudyDescription": text}, StudyDescription=text)


@given(texts, texts)
def test_without_wildcards_a_text_matches_nothing_else(asked: str, held: str) -> None:
    assert kept({"SeriesDescription": asked}, SeriesDescription=held) is (asked == held)


@given(st.text("ab.*?[]^$()+|", min_size=1, max_size=8), st.text("ab.[]^$()+|", min_size=1, max_size=8))
def test_wildcards_are_those_of_the_shell_without_its_brackets(pattern: str, held: str) -> None:
    expected = fnmatch.fnmatchcase(held, pattern.replace("[", "[[]"))
    assert kept({"StudyDescription": pattern}, StudyDescription=held) is expected


@given(texts, texts, texts)
def test_a_star_stands_for_any_run_in_the_middle(first: str, middle: str, last: str) -> None:
    assert kept({"StudyDescription": f"{first}*{last}"}, StudyDescription=first + middle + last)
