"""Places that nobody plants a name in by chance: headers within data sets, VRs that lie, other writings of a name."""

from __future__ import annotations

import pytest

from tests.unit.deid.engine.encoded import Element, Item, encode, engine, instance, syntax, treated

CHARSET = 0x00080005
FREE = 0x00180024  # SequenceName: a text that PS3.15 does not list, and so keeps
BIRTH_DATE = Element(0x00100030, "DA", b"19760824")


def inside(*elements: Element) -> Element:
    """In an item of a sequence that stays."""
    return Element(0x00283010, "SQ", (Item(elements),))


def survives(
    needle: bytes, *more: Element, name: bytes = b"Zyxwvut^Quorra", patient_id: bytes = b"MRN-990017", implicit: bool
) -> bool:
    _, data, _ = treated(instance(*more, name=name, patient_id=patient_id), implicit=implicit)
    return needle.lower() in data.lower()


both = pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])


@both
@pytest.mark.parametrize(
    "element",
    [
        Element(0x00020016, "AE", b"WARD_THREE"),
        Element(0x00020102, "OB", b"WARD_THREE"),
        Element(0x00000600, "AE", b"WARD_THREE"),
        Element(0x00001030, "AE", b"WARD_THREE"),
        Element(0x00041130, "CS", b"WARD_THREE"),
    ],
    ids=lambda element: f"{element.tag:08X}",
)
def test_elements_of_messages_files_and_directories(element: Element, implicit: bool) -> None:
    assert not survives(b"WARD_THREE", element, implicit=implicit)
    assert not survives(b"WARD_THREE", inside(element), implicit=implicit)


@both
@pytest.mark.parametrize("tag", [0x7FE00008, 0x7FE00009, 0x7FE00010])
def test_pixels_in_a_sequence_whatever_it_is_called(tag: int, implicit: bool) -> None:
    vr = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}[tag]
    assert not survives(b"burned-in", inside(Element(tag, vr, b"burned-in pixels")), implicit=implicit)


@pytest.mark.parametrize("vr", ["OB", "OW", "UN", "AT", "US", "UL", "FD", "UT", "LT", "AE", "IS", "DS", "CS"])
@pytest.mark.parametrize("tag", [FREE, 0x00189073], ids=["a text", "a number"])
def test_a_short_name_under_another_vr(tag: int, vr: str) -> None:
    for element in (Element(tag, vr, b"Quork is here!"), inside(Element(tag, vr, b"Quork is here!"))):
        assert not survives(b"quork", element, name=b"Quork^Bob", implicit=False)


def test_a_short_name_in_a_number_without_a_vr() -> None:
    assert not survives(b"quork", Element(0x00189073, "FD", b"Quork is here!  "), name=b"Quork^Bob", implicit=True)


@both
@pytest.mark.parametrize(
    ("charset", "name", "elsewhere", "text"),
    [
        (b"ISO_IR 192", "Müller^Jö", b"", "MÜLLER".encode()),
        (b"ISO_IR 100", "Müller^Jö", b"", "MÜLLER".encode("latin_1")),
        (b"ISO_IR 100", "Müller^Jö", b"", b"mueller"),
        (b"ISO_IR 100", "Müller^Jö", b"ISO_IR 192", "herr müller".encode()),
        (b"ISO_IR 144", "Иванов^Пётр", b"ISO_IR 192", "ИВАНОВ".encode()),
        (b"\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", b"ISO_IR 192", "山田太郎".encode()),
        (b"\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", b"", "山田".encode("iso2022_jp")),
        (b"ISO_IR 192", "Yamada^Tarou=山田^太郎", b"\\ISO 2022 IR 87", "山田太郎".encode("iso2022_jp")),
        (b"\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞", b"ISO_IR 192", "Hong 洪吉洞".encode()),
        (b"GB18030", "Wang^XiaoDong=王^小东", b"ISO_IR 192", "小东".encode()),
    ],
)
def test_a_name_in_another_writing(charset: bytes, name: str, elsewhere: bytes, text: bytes, implicit: bool) -> None:
    codecs = {b"ISO_IR 100": "latin_1", b"ISO_IR 144": "iso8859_5", b"GB18030": "gb18030", b"ISO_IR 192": "utf_8"}
    encoded = name.encode(codecs[charset]) if charset in codecs else _extended(name, charset)
    element = Element(FREE, "SH", text)
    where = inside(Element(CHARSET, "CS", elsewhere), element) if elsewhere else element
    assert not survives(text, Element(CHARSET, "CS", charset), where, name=encoded, implicit=implicit)


@both
@pytest.mark.parametrize("declared", [b"", b"ISO_IR 6", b"ISO_IR 100", b"ISO_IR 192", b"NO SUCH SET", b"\xff\xfe"])
def test_a_name_in_another_character_set_than_is_declared(declared: bytes, implicit: bool) -> None:
    for written in ("utf_8", "latin_1"):
        for text in ("MÜLLER".encode(), "MÜLLER".encode("latin_1"), b"mueller"):
            told = Element(CHARSET, "CS", declared), Element(FREE, "SH", text)
            data = encode(instance(*told, name="Müller^Jörg".encode(written)), implicit=implicit)
            assert text.lower() not in b"".join(engine().treat(data, syntax(implicit)).pieces()).lower()


def test_a_name_in_the_declaration_itself() -> None:
    for declared in (b"ZYXWVUT", b"ISO_IR 100\\QUORRA"):
        _, data, _ = treated(instance(Element(CHARSET, "CS", declared)))
        assert b"zyxwvut" not in data.lower()
        assert b"quorra" not in data.lower()


def _extended(name: str, charset: bytes) -> bytes:
    """ISO 2022: Python's codec writes Japanese escapes itself, of Korean the designation stands in front."""
    if charset.endswith(b"87"):
        return name.encode("iso2022_jp")
    latin, hanja = name.split("=")
    return latin.encode() + b"=" + b"^".join(b"\x1b$)C" + part.encode("euc_kr") for part in hanja.split("^"))


@both
def test_a_number_behind_dicoms_root(implicit: bool) -> None:
    uid = b"1.2.840.10008.999.19500312.4711"
    made, data, _ = treated(
        instance(Element(0x0020000D, "UI", uid), Element(0x00200052, "UI", uid + b".1")), implicit=implicit
    )
    assert b"19500312" not in data
    assert made.study_instance_uid.startswith("2.25.")


def test_other_japanese_texts_stay() -> None:
    """What every text of that character set begins with is no part of the name."""
    text = "頭部".encode("iso2022_jp")
    charset = Element(CHARSET, "CS", b"\\ISO 2022 IR 87")
    named = "Yamada^Tarou=山田^太郎".encode("iso2022_jp")
    assert survives(text, charset, Element(FREE, "SH", text), name=named, implicit=False)


@both
@pytest.mark.parametrize("text", [b"Li Bo", b"Bo, Li", b"LI^BO", b"scan of li_bo"])
def test_a_name_of_two_letters(text: bytes, implicit: bool) -> None:
    assert not survives(text, Element(FREE, "SH", text), name=b"Li^Bo", implicit=implicit)


@both
@pytest.mark.parametrize(
    ("vr", "tag", "text"),
    [
        ("SH", FREE, b"12345678"),
        ("SH", FREE, b"0012345678"),
        ("SH", FREE, b"X12345678Y"),
        ("SH", FREE, b"pid12345678"),
        ("IS", 0x00200012, b"12345678"),
        ("IS", 0x00200012, b"0012345678"),
    ],
)
def test_a_patient_id_within_more(vr: str, tag: int, text: bytes, implicit: bool) -> None:
    assert not survives(b"12345678", Element(tag, vr, text), patient_id=b"12345678", implicit=implicit)


def test_another_number_is_no_patient_id() -> None:
    for text in (b"9912345678", b"123456789"):
        assert survives(text, Element(FREE, "SH", text), patient_id=b"12345678", implicit=False)


@both
@pytest.mark.parametrize(
    "text",
    [
        b"24.08.1976",
        b"24.8.76",
        b"8/24/76",
        b"08/24/1976",
        b"1976/08/24",
        b"24 Aug 1976",
        b"24-AUG-76",
        b"Aug 24, 1976",
    ],
)
def test_a_birth_date_as_people_write_it(text: bytes, implicit: bool) -> None:
    assert not survives(text, Element(FREE, "SH", b"b. " + text), BIRTH_DATE, implicit=implicit)
