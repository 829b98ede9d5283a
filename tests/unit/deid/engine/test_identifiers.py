"""What of a patient is looked for in what stays: its writings, its places; and what merely looks like it stays."""

from __future__ import annotations

import time

import pytest

from adit.deid import identifiers
from adit.deid.engine.irregular import treat_irregular
from adit.deid.quarantine import Quarantine, Reason
from tests.unit.deid.engine.encoded import CT, Element, Item, encode, engine, instance, syntax, treated

CHARSET = 0x00080005
KERNEL = 0x00181210  # a text that PS3.15 does not list, and so keeps
PROFILE = 0x00282000  # ICCProfile: bytes that stay
BORN = Element(0x00100030, "DA", b"19500312")
CODECS = {
    "ISO_IR 100": "latin_1",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 192": "utf_8",
    "GB18030": "gb18030",
}
both = pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])


def kernel(text: bytes, *more: Element, **whose: bytes) -> bytes:
    """What becomes of a kept text; both walks must agree."""
    elements = instance(Element(KERNEL, "SH", text), *more, **whose)
    made, _, found = treated(elements)
    value = found.get_item(KERNEL).value or b""
    other = b"".join(treat_irregular(engine(), encode(elements), syntax(False), None, None).pieces())
    assert (encode([Element(KERNEL, "SH", value)]) in other) is True
    assert (value.strip() == text.strip()) is not any(each.rule == "identifier" for each in made.changes)
    return value.strip()


@pytest.mark.parametrize(
    ("charset", "name", "text"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东", "王小东"),
        ("GB18030", "Wang^XiaoDong=王^小东", "x小东x"),
        ("ISO_IR 144", "Иванов^Иван", "ИВАН"),
        ("ISO_IR 144", "Иванов^Иван", "Иван"),
        ("ISO_IR 192", "Çelik^Ay", "CELIK"),
        ("ISO_IR 192", "Çelik^Ay", "çelik"),
        ("ISO_IR 100", "Müller^Jö", "MULLER"),
        ("ISO_IR 100", "Müller^Jö", "MUELLER"),
        ("ISO_IR 192", "Nguyễn^An", "NGUYEN"),
        ("ISO_IR 192", "Groß^Jo", "Gross"),
        ("ISO_IR 192", "Łach^Bo", "LACH"),
        ("ISO_IR 192", "O'Brien^Al", "OBRIEN"),
        ("ISO_IR 192", "O'Brien^Al", "O BRIEN"),
        ("ISO_IR 192", "O’Neil^Al", "ONEIL"),
        ("ISO_IR 192", "Meier^Eva", "MeierEva"),
        ("ISO_IR 192", "Meier^Eva", "EvaMeier_CT"),
        ("ISO_IR 192", "Meier^Eva", "MEIER1950"),
        ("ISO_IR 192", "Kohl^Ina", "InaKohl2"),
        ("ISO_IR 192", "Li^Bo", "BoLi"),
        ("ISO_IR 192", "Ümit^Bo", "ÜMİT"),
        ("ISO_IR 148", "Yılmaz^Bo", "YILMAZ"),
        ("ISO_IR 148", "YILMAZ^Ş", "yılmaz"),
        ("ISO_IR 192", "KILIÇ^Bo", "kılıç"),
    ],
)
def test_writings_of_a_name(charset: str, name: str, text: str) -> None:
    codec = CODECS[charset]
    assert kernel(text.encode(codec), Element(CHARSET, "CS", charset.encode()), name=name.encode(codec)) == b""


def test_a_korean_name_joined() -> None:
    name = b"Hong^Gildong=" + "홍".encode() + b"^" + "길동".encode()
    for text in ("홍길동", "홍 길동"):
        assert kernel(text.encode(), Element(CHARSET, "CS", b"ISO_IR 192"), name=name) == b""


@pytest.mark.parametrize(
    ("charset", "name", "text"),
    [
        ("GB18030", "Wang^XiaoDong=王^小东", "王道"),  # one letter of many words
        ("ISO_IR 192", "Li^Bo", "carbolic"),
        ("ISO_IR 192", "Kohl^Ina", "Kohlrabi"),
        ("ISO_IR 192", "Meier^Eva", "evaluated"),
    ],
)
def test_other_words_stay(charset: str, name: str, text: str) -> None:
    codec = CODECS[charset]
    text_bytes = text.encode(codec)
    assert kernel(text_bytes, Element(CHARSET, "CS", charset.encode()), name=name.encode(codec)) == text_bytes


@pytest.mark.parametrize(
    ("patient_id", "text"),
    [
        (b"P7", b"CT P7 HEAD"),
        (b"123", b"CT 123 HEAD"),
        (b"0004711", b"ID 4711"),
        (b"4711", b"ID 0004711"),
        (b"12-34-56-78", b"12345678"),
        (b"12-34-56-78", b"12.34.56.78"),
        (b"12345678", b"12-34-56-78"),
        (b"AB-12", b"of ab12"),
    ],
)
def test_writings_of_a_number(patient_id: bytes, text: bytes) -> None:
    assert kernel(text, patient_id=patient_id) == b""


@pytest.mark.parametrize(
    ("patient_id", "text"), [(b"P7", b"P71 MAP7"), (b"123", b"1234 X123"), (b"12", b"12"), (b"4711", b"47110")]
)
def test_other_numbers_stay(patient_id: bytes, text: bytes) -> None:
    assert kernel(text, patient_id=patient_id) == text


def test_short_numbers_are_not_looked_for_among_numbers_and_terms() -> None:
    for patient_id in (b"120", b"CT", b"007Y"):
        _, _, found = treated(
            instance(
                Element(0x00101010, "AS", b"007Y"),
                Element(0x00180060, "DS", b"120"),
                Element(0x00200013, "IS", b"120"),
                patient_id=patient_id,
            ),
            "RetainPatientCharacteristics",
        )
        assert (found.KVP, found.InstanceNumber, found.Modality, found.PatientAge) == (120, 120, "CT", "007Y")


@both
@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
def test_other_numbers_and_places_of_the_patient(implicit: bool, undefined: bool) -> None:
    others = Element(
        0x00101002, "SQ", (Item((Element(0x00100020, "LO", b"XQ-5512"),), undefined),), undefined=undefined
    )
    given = [
        Element(0x00080080, "LO", b"St. Elsewhere Hospital"),
        Element(0x00080081, "ST", b"Main Street 5, Springfield"),
        others,
        Element(0x00101090, "LO", b"SHELF-77"),
        Element(0x00100021, "LO", b"THE WARD"),
    ]
    texts = [b"XQ-5512", b"in SHELF-77", b"ST. ELSEWHERE HOSPITAL", b"main street 5, springfield", b"of THE WARD"]
    for text in texts:
        elements = instance(*given, Element(KERNEL, "LO", text))
        _, data, found = treated(elements, implicit=implicit)
        stays = text == b"of THE WARD"  # an issuer is nobody
        assert (text.lower() in data.lower()) is stays, text
        other = treat_irregular(engine(), encode(elements, implicit=implicit), syntax(implicit), None, None)
        assert (text.lower() in b"".join(other.pieces()).lower()) is stays, text
    _, _, found = treated(instance(*given, Element(KERNEL, "LO", texts[2])), "RetainInstitutionIdentity")
    assert found.ConvolutionKernel == texts[2].decode()


@both
@pytest.mark.parametrize(
    "told",
    [
        b"73519284",
        b"\0\1\2 of 73519284 ",
        b"19500312",
        b"12.03.1950",
        "Mustermann".encode("utf_16_le"),
        "\ufeffMUSTERMANN".encode("utf_16_be"),
        "73519284".encode("utf_16_le"),
        "Çelik".encode("utf_16_le"),
        "çelik".encode("utf_16_be"),
    ],
)
def test_bytes_that_tell_of_the_patient(told: bytes, implicit: bool) -> None:
    elements = instance(
        Element(CHARSET, "CS", b"ISO_IR 192"),
        BORN,
        Element(PROFILE, "OB", b"\7\7" + told + b"\7\7"),
        Element(0x00189073, "FD", told + bytes(-len(told) % 8)),
        name="Mustermann^Çelik".encode(),
        patient_id=b"73519284",
    )
    _, data, found = treated(elements, implicit=implicit)
    assert told.lower() not in data.lower()
    assert found.get_item(PROFILE).value in (b"", None)
    assert found.PixelData == b"\1\0\2\0"


@both
def test_pixels_and_other_bytes_stay(implicit: bool) -> None:
    """A longer number is another one, and so is a ramp's."""
    ramp = bytes(range(256))
    pixels = Element(0x7FE00010, "OW", b"73519284")
    wide = Element(0x00280011, "US", b"\4\0")
    elements = instance(BORN, Element(PROFILE, "OB", ramp + b"9735192844"), wide, pixels, patient_id=b"73519284")
    _, _, found = treated(elements, implicit=implicit)
    assert found.ICCProfile == ramp + b"9735192844"
    assert found.PixelData == b"73519284"


@both
@pytest.mark.parametrize("told", [b"73519284", b"0073519284", b"19500312"])
def test_a_number_in_uids_that_are_kept(told: bytes, implicit: bool) -> None:
    overrides = [{"keyword": "FrameOfReferenceUID", "action": "Keep"}]
    uid = b"1.2.3.%b.4" % told
    for place, element in (
        ("00283010.00081150", Element(0x00283010, "SQ", (Item((Element(0x00081150, "UI", uid),)),))),
        ("00200052", Element(0x00200052, "UI", uid)),
    ):
        elements = instance(BORN, element, patient_id=b"73519284")
        with pytest.raises(Quarantine) as refused:
            treated(elements, implicit=implicit, overrides=overrides)
        assert (refused.value.reason, refused.value.place) == (Reason.IDENTIFIER_LEFT, place)
        _, data, _ = treated(elements, "RetainUIDs", implicit=implicit)
        assert uid in data


@both
@pytest.mark.parametrize("told", ["小东".encode(), b"\x1b$)A" + "小东".encode("gb2312"), "小东".encode("gb2312")])
def test_a_chinese_name_by_code_extensions(told: bytes, implicit: bool) -> None:
    """As PS3.5 K has it: with the escape sequence in each component."""
    gb = b"\x1b$)A"
    name = b"Zhang^XiaoDong=" + gb + "张".encode("gb2312") + b"^" + gb + "小东".encode("gb2312")
    declared = Element(CHARSET, "CS", b"\\ISO 2022 IR 58")
    elements = instance(declared, Element(KERNEL, "LO", b"for " + told), name=name)
    assert told not in treated(elements, implicit=implicit)[1]


@pytest.mark.parametrize("told", [b"OEUVRE", "Œuvré".encode(), "œuvré".encode("iso8859_15")])
def test_a_name_in_latin_9_which_pydicom_does_not_know(told: bytes) -> None:
    elements = [Element(CHARSET, "CS", b"ISO_IR 203"), Element(KERNEL, "LO", b"for " + told)]
    data = encode(instance(*elements, name="Œuvré^Bo".encode("iso8859_15")))
    assert told not in b"".join(engine().treat(data, syntax(False)).pieces())


def test_a_thai_name_in_utf_16() -> None:
    told = "นามสกุล".encode("utf_16_le")
    declared = Element(CHARSET, "CS", b"ISO_IR 166")
    elements = instance(declared, Element(PROFILE, "OB", b"\7\7" + told), name="นามสกุล^ชื่อ".encode("tis_620"))
    assert told not in treated(elements)[1]


@both
@pytest.mark.parametrize("text", [b"CT of 2024-01-31", b"31.1.2024", b"V_20240131", b"Jan 31, 2024", b"31Jan2024"])
@pytest.mark.parametrize("options", [(), ("RetainLongitudinalModifiedDates",), ("RetainLongitudinalFullDates",)])
def test_the_studys_date_in_a_text(text: bytes, options: tuple[str, ...], implicit: bool) -> None:
    """A date that was shifted, beside one that was not, tells by how much."""
    elements = instance(Element(0x00080020, "DA", b"20240131"), BORN, Element(KERNEL, "LO", text))
    kept = "RetainLongitudinalFullDates" in options
    assert (text in treated(elements, *options, implicit=implicit)[1]) is kept
    other = b"".join(treat_irregular(engine(*options), encode(elements), syntax(False), None, None).pieces())
    assert (text in other) is kept


def test_a_version_is_no_date_of_the_study() -> None:
    elements = instance(Element(0x00080020, "DA", b"20240301"), Element(0x00181020, "LO", b"1.3.24"))
    assert b"1.3.24" in treated(elements)[1]


FRAME_OF_REFERENCE = b"2.25.329800735698586629295641978511506172918"
OTHER_SERIES = b"1.2.276.0.7230010.3.1.3.1787205428.166.1117461927.16"


@both
@pytest.mark.parametrize(
    ("text", "stays"),
    [
        (b"registered to " + FRAME_OF_REFERENCE, False),
        (b"see 1.2.34.567, too", False),  # in an item
        (b"planned on " + OTHER_SERIES + b".", False),  # told nowhere else
        (b"kernel_1.2.840.10008.4711.8.5.1", False),  # below DICOM's root, and registered nowhere
        (b"CT." + FRAME_OF_REFERENCE + b".dcm", False),  # as many name files
        (b"MR." + OTHER_SERIES, False),
        (b"is of 1.2.840.10008.5.1.4.1.1.481.3", True),
        (b"syngo 5.0.2.1.3.7", True),
        (b"1.2.34.5678", True),
        (b"0.1\\1.2.34\\567", True),
    ],
)
def test_uids_in_texts(text: bytes, stays: bool, implicit: bool) -> None:
    """Of whatever of the patient's: a text that tells one tells the original."""
    reference = Item((Element(0x00081150, "UI", CT.encode()), Element(0x00081155, "UI", b"1.2.34.567")))
    elements = instance(
        Element(0x00082112, "SQ", (reference,)),
        Element(KERNEL, "LO", text),
        Element(PROFILE, "OB", b"\7\7" + text + b"\7\7"),
        Element(0x00200052, "UI", FRAME_OF_REFERENCE),
    )
    _, data, _ = treated(elements, implicit=implicit)
    other = b"".join(treat_irregular(engine(), encode(elements), syntax(False), None, None).pieces())
    assert data.count(text) == other.count(text) == (2 if stays else 0)
    assert treated(elements, "RetainUIDs", implicit=implicit)[1].count(text) == 2


def test_uids_in_the_texts_of_a_later_slice() -> None:
    made = engine()
    for number, text in enumerate((b"SOFT", b"SOFT", b"SOFT", OTHER_SERIES, FRAME_OF_REFERENCE)):
        elements = instance(
            Element(0x00080018, "UI", b"1.2.3.4.5.6.%d" % number),
            Element(KERNEL, "LO", text),
            Element(0x00200052, "UI", FRAME_OF_REFERENCE),
        )
        data = b"".join(made.treat(encode(elements), syntax(False)).pieces())
        assert (text in data) is (text == b"SOFT")


@pytest.mark.parametrize("implicit", [True])
def test_an_identifier_without_end_is_looked_for_by_its_beginning(implicit: bool) -> None:
    """A pattern of all of it would fill the memory."""
    endless = b"MRN0990017" * 100_000
    told = Element(KERNEL, "SH", endless)
    began = time.process_time()
    made = engine().treat(encode(instance(told, patient_id=endless), implicit=implicit), syntax(implicit))
    assert b"mrn0990017" not in b"".join(made.pieces()).lower()
    made = engine().treat(encode(instance(told, name=endless[:-1] + "ü".encode()), implicit=implicit), syntax(implicit))
    assert made.size < 200_000 or endless in b"".join(made.pieces())
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("tag", "written", "text"),
    [
        (0x00102154, b"(030) 555-0123", b"call 030 555 0123"),
        (0x00102154, b"(030) 555-0123", b"0305550123"),
        (0x00102154, b"(030) 555-0123", b"+49 30 5550123"),
        (0x00102154, b"+49 (30) 555-0123", b"030/5550123"),
        (0x00102154, b"1\\(212) 555-0199", b"212.555.0199"),
        (0x00102155, b"tel:+49-30-5550123;mailto:erika@example.org", b"at erika@example.org"),
        (0x00102155, b"tel:+49-30-5550123;mailto:erika@example.org", b"030 5550123"),
        (0x00102155, b"^PRN^PH^^49^30^5550123~^NET^Internet^erika@example.org", b"ERIKA@EXAMPLE.ORG"),
    ],
)
def test_telephones_and_mail(tag: int, written: bytes, text: bytes) -> None:
    assert kernel(text, Element(tag, "SH" if tag == 0x00102154 else "UT", written)) == b""


def test_other_telephones_stay() -> None:
    for text in (b"555 0124", b"(030) 555", b"net", b"55501234"):
        assert kernel(text, Element(0x00102154, "SH", b"(030) 555-0123")) == text


def test_the_patient_whom_the_source_tells_of() -> None:
    """Where an instance has no PatientID, the one by which it was asked for is looked for in it."""
    elements = [each for each in instance(Element(KERNEL, "SH", b"of MRN-990017")) if each.tag != 0x00100020]
    data = encode(elements)
    for made in (
        engine().treat(data, syntax(False), patient_id="MRN-990017"),
        treat_irregular(engine(), data, syntax(False), None, "MRN-990017"),
    ):
        assert b"990017" not in b"".join(made.pieces())
    assert b"990017" in b"".join(engine().treat(data, syntax(False)).pieces())


PERSON = Element(0x00100010, "PN", b"Mustermann^Erika")
NAMED = [
    Element(0x04000561, "SQ", (Item((Element(0x04000550, "SQ", (Item((PERSON,), True),), undefined=True),)),)),
    Element(0x0040A730, "SQ", (Item((Element(0x0040A040, "CS", b"PNAME"), Element(0x0040A123, "PN", PERSON.value))),)),
    Element(0x00081072, "UN", (Item((Element(0x00080090, "PN", PERSON.value),)),)),
    Element(0x00380004, "SQ", (Item((Element(0x00081150, "UI", b"1.2"), PERSON)),)),
    Element(0x00091001, "PN", PERSON.value),
    Element(0x00091002, "SQ", (Item((PERSON,)),)),
]


@both
@pytest.mark.parametrize("options", [(), ("RetainSafePrivate",)], ids=["basic", "private"])
@pytest.mark.parametrize(
    "sequence", NAMED, ids=["originals", "content", "unknown", "alias", "private", "private sequence"]
)
def test_who_is_named_in_a_sequence_that_goes(sequence: Element, options: tuple[str, ...], implicit: bool) -> None:
    """Its names are looked for in what stays."""
    if implicit and (sequence.vr == "UN" or sequence.tag >> 16 & 1):
        return  # nobody knows what these are then
    creator = Element(0x00090010, "LO", b"ACME")
    elements = instance(creator, sequence, Element(KERNEL, "SH", b"as Mustermann"))
    data = encode(elements, implicit=implicit)
    for made in (
        engine(*options).treat(data, syntax(implicit)),
        treat_irregular(engine(*options), data, syntax(implicit), None, None),
    ):
        assert b"mustermann" not in b"".join(made.pieces()).lower()


def test_other_ids_in_a_sequence_of_unknown_vr() -> None:
    others = Element(0x00101002, "UN", (Item((Element(0x00100020, "LO", b"OLD-77X12"),)),))
    assert kernel(b"once OLD-77X12", others) == b""


@pytest.mark.parametrize("text", ["患者山田様", "患者山田", "山田様", "患者 山田様"])
def test_a_name_among_other_japanese_letters(text: str) -> None:
    name = b"Yamada^Tarou=" + b"^".join(each.encode("iso2022_jp") for each in ("山田", "太郎"))
    charset = Element(CHARSET, "CS", b"\\ISO 2022 IR 87")
    assert kernel(text.encode("iso2022_jp"), charset, name=name) == b""
    other = "患者高山様田中".encode("iso2022_jp")
    assert kernel(other, charset, name=name) == other


def test_a_name_in_a_character_set_that_nobody_declares() -> None:
    for codec in ("gbk", "euc_kr", "big5"):
        name, text = ("陈大文", "患者陈大文。") if codec == "gbk" else ("金大文", "金大文 CT")
        assert kernel(text.encode(codec), name=name.encode(codec)) == b""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Mustermann^Eva", "Muster\u00admann"),
        ("Mustermann^Eva", "of Muster\u200bmann"),
        ("Muster\u00admann^Eva", "mustermann"),
        ("Muster\u200dmann^Eva", "MUSTERMANN"),
        ("Muster\u2060mann^Eva", "muster\ufeffmann"),
    ],
)
def test_letters_that_nobody_sees(name: str, text: str) -> None:
    assert kernel(text.encode(), Element(CHARSET, "CS", b"ISO_IR 192"), name=name.encode()) == b""


def test_a_soft_hyphen_in_latin_letters() -> None:
    assert kernel(b"Muster\xadmann", Element(CHARSET, "CS", b"ISO_IR 100"), name=b"Mustermann^Eva") == b""


@pytest.mark.parametrize("filling", [b"0 ", b"0", b"0-.", b"123450 ", b"12345", b"919500312x"])
def test_numbers_without_end_are_searched_at_once(filling: bytes) -> None:
    """Each zero that a separator parts from the next was a beginning, from which all others were looked through."""
    long = Element(0x0040A160, "UT", filling * 2**17)
    told = instance(long, BORN, Element(KERNEL, "SH", b"of 123456"), patient_id=b"123456")
    assert treated(told)[2].ConvolutionKernel == ""


def test_more_names_and_values_than_can_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifiers, "MOST_COMPARISONS", 500)
    values = tuple(Item((Element(0x00080104, "LO", b"value %d" % number),)) for number in range(200))
    told = instance(Element(0x00082218, "SQ", values), Element(KERNEL, "SH", b"of Zyxwvut"))
    data = encode(told)
    with pytest.raises(Quarantine) as refused:
        engine().treat(data, syntax(False))
    assert refused.value.reason is Reason.TOO_LARGE
    with pytest.raises(Quarantine) as refused:
        treat_irregular(engine(), data, syntax(False), None, None)
    assert refused.value.reason is Reason.TOO_LARGE
