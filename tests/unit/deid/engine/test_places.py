"""Wherever a name, a number or an original UID is planted, its bytes are not in what comes out: in no combination."""

from __future__ import annotations

import itertools

import pytest

from adit.deid.engine.irregular import treat_irregular
from adit.deid.quarantine import Quarantine, Reason
from adit.model.deid_profile import Option
from tests.sample import Sample
from tests.unit.deid.engine.encoded import Element, Item, encode, engine, instance, syntax, treated

NAME = b"Zyxwvut^Quorra"
NEEDLES = (b"zyxwvut", b"quorra", b"mrn-990017")
UIDS = (b"1.2.3.4.5.6.7", b"1.2.3.4.5.6", b"1.2.3.4.5")
OPTIONS = [
    combination
    for count in (0, 1, 2, 3, 9)
    for combination in itertools.combinations(Option, count)
    if not {"RetainLongitudinalFullDates", "RetainLongitudinalModifiedDates"} <= set(combination)
]


def text(tag: int, vr: str = "LO", value: bytes = b"seen by Zyxwvut, MRN-990017") -> Element:
    return Element(tag, vr, value)


def concept(code: bytes, scheme: bytes = b"DCM") -> Element:
    return Element(0x0040A043, "SQ", (Item((Element(0x00080100, "SH", code), Element(0x00080102, "SH", scheme))),))


def content(value_type: bytes, code: bytes, value: Element) -> Item:
    return Item(
        (Element(0x0040A010, "CS", b"CONTAINS"), Element(0x0040A040, "CS", value_type), concept(code), value),
        undefined=True,
    )


def nested(depth: int) -> Element:
    inner = Element(0x00081115, "SQ", (Item((text(0x0008103E), text(0x00104000, "LT"))),))
    for level in range(depth):
        inner = Element(0x00081115, "UN" if level % 3 == 2 else "SQ", (Item((inner,), level % 2 == 0),), level % 2 == 1)
    return inner


PLACES: dict[str, list[Element]] = {
    "listed": [text(0x00081030), text(0x0008103E), text(0x00104000, "LT"), text(0x00204000, "LT")],
    "staff": [Element(0x00081050, "PN", NAME), Element(0x00080090, "PN", NAME), Element(0x00081070, "PN", NAME)],
    "other names": [Element(0x00101001, "PN", NAME), Element(0x00101000, "LO", b"MRN-990017")],
    "not listed, by VR": [Element(0x0040A075, "PN", NAME), Element(0x00081196, "UR", b"http://zyxwvut.example")],
    "not listed, kept by VR": [
        text(0x00180022, "CS", b"ZYXWVUT"),
        text(0x00181160, "SH", b"Quorra"),
        text(0x00181050, "DS", b"Zyxwvut"),
        Element(0x00282000, "OB", b"profile of Zyxwvut, Quorra"),
        Element(0x00189004, "CS", b"MRN-990017"),
    ],
    "wrong VR": [text(0x00180050, "UT"), text(0x00200013, "PN", NAME), text(0x00280A02, "LO")],
    "unknown tags": [text(0x00089977), text(0x00200999, "UN")],
    "listed as UN": [text(0x00081030, "UN"), text(0x00081048, "UN", NAME)],
    "private": [
        Element(0x00190010, "LO", b"SIEMENS MR HEADER"),
        text(0x0019100C, "IS"),
        text(0x0019100D, "CS", b"ZYXWVUT"),
        Element(0x00191027, "SQ", (Item((Element(0x00100010, "PN", NAME),)),)),
        text(0x00191099),
    ],
    "private in UN, like a sequence": [
        Element(0x00190010, "LO", b"SIEMENS MR HEADER"),
        Element(0x0019100E, "UN", (Item((Element(0x00100010, "PN", NAME),)),), undefined=True),
    ],
    "a creator that is a name": [Element(0x00190010, "LO", NAME), text(0x00191001)],
    "overlays": [
        Element(0x60000010, "US", b"\4\0"),
        text(0x60000022),
        Element(0x60003000, "OW", NAME),
        text(0x60004000),
    ],
    "curves": [text(0x50000022), Element(0x50003000, "OW", NAME)],
    "icon": [Element(0x00880200, "SQ", (Item((text(0x00104000, "LT"), Element(0x7FE00010, "OW", NAME))),))],
    "waveform annotation": [Element(0x0040B020, "SQ", (Item((text(0x0040A160, "UT"), text(0x00700006, "ST"))),))],
    "graphics": [Element(0x00700001, "SQ", (Item((Element(0x00700008, "SQ", (Item((text(0x00700006, "ST"),)),)),)),))],
    "SR content": [
        Element(
            0x0040A730,
            "SQ",
            (
                content(b"TEXT", b"121106", text(0x0040A160, "UT")),
                content(b"PNAME", b"121008", Element(0x0040A123, "PN", NAME)),
                content(b"TEXT", b"121022", text(0x0040A160, "UT")),
                content(b"TEXT", b"nobody", text(0x0040A160, "UT")),
                content(b"PNAME", b"nobody", Element(0x0040A123, "PN", NAME)),
                content(b"UIDREF", b"nobody", Element(0x0040A124, "UI", b"1.2.3.4.5.6.7")),
                content(
                    b"CONTAINER",
                    b"111111",
                    Element(0x0040A730, "SQ", (content(b"TEXT", b"121106", text(0x0040A160, "UT")),), undefined=True),
                ),
            ),
        )
    ],
    "signatures": [
        Element(0x4FFE0001, "SQ", (Item((text(0x04000015, "CS"),)),)),
        Element(0xFFFAFFFA, "SQ", (Item((text(0x04000115, "OB"),)),)),
    ],
    "padding": [Element(0xFFFCFFFC, "OB", NAME)],
    "original attributes": [
        Element(0x04000561, "SQ", (Item((Element(0x04000550, "SQ", (Item((Element(0x00100010, "PN", NAME),)),)),)),))
    ],
    "references": [
        Element(0x00081140, "SQ", (Item((Element(0x00081155, "UI", b"1.2.3.4.5.6.7"),)),)),
        Element(0x00081115, "SQ", (Item((Element(0x0020000E, "UI", b"1.2.3.4.5.6"),), True),), undefined=True),
    ],
    "deep": [nested(12)],
    "marks that lie": [text(0x00120063), text(0x00120062, "CS", b"ZYXWVUT")],
}


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_is_planted_survives(place: str, implicit: bool) -> None:
    for options in OPTIONS:
        made, data, found = treated(instance(*PLACES[place]), *options, implicit=implicit)
        lowered = data.lower()
        for needle in NEEDLES:
            assert needle not in lowered, f"{needle!r} survives {options}"
        if "RetainUIDs" not in options:
            for uid in UIDS:
                assert uid not in data, f"{uid!r} survives {options}"
            assert found.SOPInstanceUID == made.sop_instance_uid
        assert found.PatientName == found.PatientID == made.subject.pseudonym
        assert found.PatientIdentityRemoved == "YES"
        assert found.PixelData == b"\1\0\2\0"


def test_nothing_survives_in_any_combination_whichever_walk_it_is(sample: Sample) -> None:
    every = [
        options
        for count in range(len(Option) + 1)
        for options in itertools.combinations(Option, count)
        if not {"RetainLongitudinalFullDates", "RetainLongitudinalModifiedDates"} <= set(options)
    ]
    for options, place in sample(list(zip(every, itertools.cycle(PLACES), strict=False)), 40):
        made, data = engine(*options), encode(instance(*PLACES[place]))
        pieces = [b"".join(made.treat(data, syntax(False)).pieces())]
        try:
            pieces.append(b"".join(treat_irregular(made, data, syntax(False), None, None).pieces()))
        except Quarantine as refused:
            if refused.reason is not Reason.MALFORMED:  # pydicom cannot write all that it can read
                raise
        kept = UIDS if "RetainUIDs" in options else ()
        for needle in {*NEEDLES, *UIDS} - {*kept}:
            assert not any(needle in piece.lower() for piece in pieces), f"{needle!r} in {place} survives {options}"


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_what_stands_behind_the_pixels_is_cut(implicit: bool) -> None:
    for trailing in (NAME, bytes(64), b"\xfc\xff\xfc\xff" + NAME, b"\0" * 7 + NAME):
        made = engine().treat(encode(instance(), implicit=implicit) + trailing, syntax(implicit))
        data = b"".join(made.pieces())
        assert b"Zyxwvut" not in data
        assert data.endswith(b"\1\0\2\0")
        assert any(change.rule == "trailing data" for change in made.changes)


def test_without_pixels_what_is_no_element_is_not_passed() -> None:
    elements = [each for each in instance() if each.tag != 0x7FE00010]
    padded = engine().treat(encode(elements) + bytes(40), syntax(False))
    assert not b"".join(padded.pieces()).endswith(bytes(40))
    with pytest.raises(Quarantine) as refused:
        engine().treat(encode(elements) + NAME, syntax(False))
    assert refused.value.reason is Reason.MALFORMED
    assert "Zyxwvut" not in str(refused.value)


def test_a_pseudonym_that_is_the_original_is_refused() -> None:
    with pytest.raises(Quarantine) as refused:
        engine().treat(encode(instance()), syntax(False), pseudonym="MRN-990017")
    assert refused.value.reason is Reason.IDENTIFIER_LEFT


def test_an_override_of_the_site_is_its_own_decision() -> None:
    overrides = [{"keyword": "PatientName", "action": "Keep"}]
    _, data, found = treated(instance(), overrides=overrides)
    assert b"Zyxwvut" in data
    assert [code.CodeValue for code in found.DeidentificationMethodCodeSequence] == []
    assert "with site overrides that retain" in found.DeidentificationMethod


BESIDE = [
    Element(0x00100033, "LO", b"Q-5705-01-18"),
    Element(0x00100034, "LO", b"Q-5785-01-18"),
    Element(0x00201070, "IS", b"880012"),
    Element(0x00080051, "SQ", (Item((Element(0x00400032, "UT", b"880012 Mercy Hospital"),)),)),
    Element(0x00100024, "SQ", (Item((Element(0x00400036, "SQ", (Item((Element(0x00400031, "UT", b"880012"),)),)),)),)),
    Element(0x00102295, "LO", b"880012"),
    Element(0x00280020, "OB", b"880012"),  # a tag without a name
    Element(0x04000520, "OB", b"880012"),
    Element(0x0040A068, "SQ", (Item((Element(0x00080104, "LO", b"880012"),)),)),
    Element(0x0040A992, "ST", b"http://archive.example/880012"),
    Element(0x00720008, "LO", b"880012"),
    Element(0x0074100C, "LO", b"880012"),
    Element(0x21000160, "SH", b"880012"),
    Element(0x00401006, "SH", b"Q-ORD-1"),
    Element(0x00401007, "SH", b"Q-ORD-2"),
    Element(0x00402006, "SH", b"Q-ORD-3"),
    Element(0x00402007, "SH", b"Q-ORD-4"),
    Element(0x0040E001, "ST", b"1.2.3^Q-DOC-1"),
    Element(0x04000500, "SQ", (Item((Element(0x04000520, "OB", b"Q-ENCRYPTED-1"),)),)),
]


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("options", [(), tuple(each for each in Option if each is not Option.RETAIN_MODIFIED_DATES)])
def test_what_identifies_and_is_in_no_table(options: tuple[str, ...], implicit: bool) -> None:
    nested = Element(0x00082218, "SQ", (Item(tuple(BESIDE)),))
    _, data, found = treated(instance(*BESIDE, nested), *options, implicit=implicit)
    assert b"Q-" not in data
    assert b"880012" not in data
    assert len(found.HL7InstanceIdentifier) == 16


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_images_that_nobody_looks_at(implicit: bool) -> None:
    """In retired elements of the pixels' group; and in tables that belong to no pixels."""
    elements = [each for each in instance() if each.tag != 0x7FE00010]
    retired = (0x7FE00003, 0x7FE00020, 0x7FE00030, 0x7FE00040)
    _, data, _ = treated([*elements, *(Element(tag, "OW", b"Q-PICTURE-1") for tag in retired)], implicit=implicit)
    assert b"Q-" not in data
    tables = (Element(0x7FE00001, "OV", b"Q-PICTURE-1     "), Element(0x7FE00002, "OV", b"Q-PICTURE-1     "))
    with pytest.raises(Quarantine, match="offset table"):
        treated([*elements, *tables], implicit=implicit)


def test_words_in_the_bytes_that_dicom_reserves() -> None:
    """Between VR and length of the long ones, also in items and of the pixels."""
    item = encode([Element(0x00283006, "OW", b"\1\0")])
    elements = instance(
        Element(0x00282000, "OB", b"\1\2"),
        Element(0x00283010, "SQ", (Item((Element(0x00283006, "OW", b"\1\0"),)),)),
        Element(0x00081030, "UT", b"gone"),
    )
    data = encode(elements)
    for vr in (b"OB", b"OW", b"SQ", b"UT"):
        data = data.replace(vr + b"\0\0", vr + b"Q-")
    assert data.count(b"Q-") == 5
    made = engine().treat(data, syntax(False))
    written = b"".join(made.pieces())
    assert b"Q-" not in written
    assert item in written
    assert written == b"".join(engine().treat(encode(elements), syntax(False)).pieces())
