"""Texts in every character set that instances come in; pydicom, which reads them, is the judge."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes

from adit.deid.character_set import encode


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("STROKE-001", []),
        ("STROKE-001", ["ISO_IR 13"]),
        ("Müller", ["ISO_IR 100"]),
        ("Διονυσιος", ["ISO_IR 126"]),
        ("Люкceмбypг", ["ISO_IR 144"]),
        ("山田 Schlaganfall", ["ISO_IR 192"]),
        ("小东", ["GB18030"]),
        ("山田", ["", "ISO 2022 IR 87"]),
        ("山田 CT 太郎", ["", "ISO 2022 IR 87"]),
        ("홍길동 CT", ["", "ISO 2022 IR 149"]),
        ("Müller", ["", "ISO 2022 IR 100"]),
        ("Διον", ["ISO 2022 IR 100", "ISO 2022 IR 126"]),
        ("Müller", ["ISO 2022 IR 100", "ISO 2022 IR 126"]),
        ("ﾔﾏﾀﾞ", ["ISO_IR 13"]),
    ],
)
def test_what_fits_reads_back_the_same(text: str, terms: list[str]) -> None:
    encoded = encode(text, terms)
    assert encoded is not None
    assert decode_bytes(encoded, convert_encodings(terms or [""]), set()) == text


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Müller", []),
        ("Müller", [""]),
        ("Müller", ["ISO_IR 126"]),
        ("Müller 山", ["ISO 2022 IR 100", "ISO 2022 IR 87"]),
        ("Ω→∀ἀ", ["", "ISO 2022 IR 87"]),
        ("Müller", ["no such term"]),
        ("a~b", ["ISO_IR 13"]),
        ("山田", ["ISO_IR 13"]),
    ],
)
def test_what_does_not_fit_is_refused_and_never_replaced(text: str, terms: list[str]) -> None:
    assert encode(text, terms) is None


@given(
    st.text(min_size=1, max_size=20),
    st.sampled_from(["", "ISO_IR 100", "ISO_IR 101", "ISO_IR 144", "ISO_IR 192", "GB18030", "ISO_IR 166"]),
)
def test_no_letter_is_ever_changed(text: str, term: str) -> None:
    encoded = encode(text, [term])
    codec = "ascii" if not term else convert_encodings([term])[0]
    assert encoded is None or encoded.decode(codec) == text
