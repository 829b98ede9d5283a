"""What we read without pydicom is what pydicom reads; what we leave to it is left whole."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.multival import MultiValue

from adit.dicom import dictionary
from adit.dicom.dimse import full_answer, identifier
from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.dimse.plain_elements import NotPlain, elements

KEYWORDS = ["StudyInstanceUID", "PatientID", "StudyDate", "StudyTime", "ModalitiesInStudy", "RetrieveAETitle"]
NUMBERS = ["NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"]
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
SYNTAXES = st.sampled_from([EXPLICIT_LE, IMPLICIT_LE])


def as_texts(value: Any) -> list[str]:
    """As every reader of an answer takes it: none, one or several texts."""
    several = value if isinstance(value, (MultiValue, list)) else [value]
    return ["" if one is None else str(one) for one in several]


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(KEYWORDS), TEXT),
    st.dictionaries(st.sampled_from(NUMBERS), st.one_of(st.integers(-(10**9), 10**9).map(str), TEXT)),
    SYNTAXES,
)
def test_an_answer_says_what_pydicom_says(texts: dict[str, str], numbers: dict[str, str], syntax: str) -> None:
    given = {**texts, **numbers}
    encoded = identifier.encode(given, syntax)
    implicit = syntax == IMPLICIT_LE
    try:
        plain = identifier.plain(encoded, implicit=implicit)
    except NotPlain:
        return
    full = full_answer.decode(encoded, implicit=implicit, little_endian=True)
    assert set(plain) == set(given) == {element.keyword for element in full}
    for keyword in given:
        assert as_texts(plain.get(keyword)) == as_texts(full.get(keyword)), keyword


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*KEYWORDS, *NUMBERS, "PatientName", "StudyDescription"]), TEXT), SYNTAXES)
def test_keys_are_encoded_as_pydicom_encodes_them(given: dict[str, str], syntax: str) -> None:
    encoded = identifier.encode(given, syntax)
    implicit = syntax == IMPLICIT_LE
    again = DicomBytesIO()
    again.is_implicit_VR, again.is_little_endian = implicit, True
    write_dataset(again, read_dataset(BytesIO(encoded), implicit, True))
    assert encoded == again.getvalue()


@pytest.mark.parametrize(
    "answer",
    [
        {"PatientID": "MÜLLER"},
        {"PatientName": "Doe^Jane"},
        {"NumberOfStudyRelatedInstances": "1.5"},
        {"SpecificCharacterSet": "ISO_IR 13", "PatientID": "1\\2"},
        {"SpecificCharacterSet": "\\ISO 2022 IR 87", "PatientID": "1"},
        {"PatientID": "1\t2"},
    ],
    ids=lambda answer: ascii(answer),
)
def test_what_is_not_plain_is_pydicoms(answer: dict[str, str]) -> None:
    with pytest.raises(NotPlain):
        identifier.plain(identifier.encode(answer, EXPLICIT_LE), implicit=False)


def test_what_is_not_plain_is_read_all_the_same() -> None:
    answer = identifier.decode(
        identifier.encode({"PatientID": "MÜLLER", "PatientName": "M^Ü"}, EXPLICIT_LE), EXPLICIT_LE
    )
    assert (answer.get("PatientID"), str(answer.get("PatientName"))) == ("MÜLLER", "M^Ü")
    assert isinstance(answer, Dataset)


def test_an_answer_of_nothing_but_items_is_refused() -> None:
    answer = b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0\0\0\0\0" * 40_000
    with pytest.raises(ValueError, match="more than 20000"):
        identifier.decode(answer, EXPLICIT_LE)


@pytest.mark.parametrize("cut", [0, 3], ids=["endless", "cut"])
def test_a_deflated_answer_is_inflated_no_further_than_it_may_be_long(cut: int) -> None:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = squeezer.compress(bytes(50 if cut else 3_000_000)) + squeezer.flush()
    with pytest.raises(ValueError, match="too long"):
        identifier.decode(bomb[: len(bomb) - cut], DEFLATED_LE)


@settings(deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_noise_is_never_read_past_its_end(noise: bytes, implicit: bool) -> None:
    try:
        found = list(elements(noise, implicit=implicit))
    except NotPlain:
        return
    assert sum(len(value) for _, _, value in found) <= len(noise)
    assert [tag for tag, _, _ in found] == sorted({tag for tag, _, _ in found})


def test_what_is_at_hand_is_what_the_dictionary_has() -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    for tag in range(0x00080000, 0x00210000):
        known = dictionary.keyword_at_hand(tag)
        if known is not None:
            assert (tag_for_keyword(known[0]), dictionary_VR(tag)) == (tag, known[1])
            assert dictionary.entry(known[0]) == (tag, known[1])
    assert dictionary.entry("PatientName") == (0x00100010, "PN")
    assert dictionary.entry("NoSuchKeyword") is None
