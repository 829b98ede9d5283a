"""Damaged on purpose: whatever the bytes, the engine ends soon, with a verified instance or a reason."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adit.deid.engine import byte_walk, irregular, scan
from adit.deid.engine.irregular import treat_irregular
from adit.deid.engine.syntax import DEFLATED, EXPLICIT_LE
from adit.deid.mapping import Kind, Pair, opened, sealed
from adit.deid.quarantine import LeftOut, Quarantine, Reason
from adit.dicom.file_meta import read_file_meta
from tests.unit.deid.engine.encoded import Element, Item, encode, engine, instance, syntax

FOLDER = Path(pydicom.__file__).parent / "data/test_files"
NAMES = ["CT_small.dcm", "reportsi.dcm", "rtplan.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "nested_priv_SQ.dcm"]
ENGINE = engine("RetainSafePrivate", "CleanStructuredContent", "RetainLongitudinalModifiedDates", "CleanDescriptors")


def _loaded(name: str) -> tuple[bytes, str]:
    with (FOLDER / name).open("rb") as reader:
        meta = read_file_meta(reader)
        reader.seek(meta.offset)
        return reader.read(20_000), meta.transfer_syntax_uid


SEEDS = [_loaded(name) for name in NAMES]

BLOWS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "length", "repeat", "insert"]),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


def struck(data: bytes, blows: list[tuple[str, float, bytes]]) -> bytes:
    for kind, where, what in blows:
        at = int(where * len(data))
        match kind:
            case "flip":
                data = data[:at] + what + data[at + len(what) :]
            case "cut":
                data = data[: max(at, 200)]
            case "length":
                data = data[:at] + b"\xff\xff\xff\xff" + data[at + 4 :]
            case "repeat":
                data = data[:at] + data[max(0, at - 64) : at] + data[at:]
            case _:
                data = data[:at] + what + data[at:]
    return data


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.sampled_from(range(len(SEEDS))), blows=BLOWS)
def test_damage_is_told_or_harmless(seed: int, blows: list[tuple[str, float, bytes]]) -> None:
    data, transfer_syntax = SEEDS[seed]
    try:
        made = ENGINE.treat(struck(data, blows), transfer_syntax)
    except (Quarantine, LeftOut):
        return
    assert sum(len(piece) for piece in made.pieces()) == made.size


RICH = instance(
    Element(0x00080005, "CS", b"ISO_IR 100"),
    Element(0x00080020, "DA", b"20240101"),
    Element(0x0008002A, "DT", b"20240101101010"),
    Element(0x00080050, "SH", b"ACC"),
    Element(0x00081030, "LO", b"Head"),
    Element(0x00100030, "DA", b"19600101"),
    Element(0x00101010, "AS", b"060Y"),
    Element(0x00190010, "LO", b"SIEMENS MR HEADER"),
    Element(0x0019100C, "IS", b"1"),
    Element(0x00200052, "UI", b"1.2.3"),
)
VALUES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=12).map(lambda text: text.encode("utf-8", "replace")),
    st.sampled_from([b"\\ISO 2022 IR 149", b"GBK", b"\x1b$B\0\0\x1b(B", b"====", b"9" * 70, b"20240230", b"+1400"]),
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.sampled_from(range(len(RICH))), value=VALUES, implicit=st.booleans())
def test_any_value_of_any_element(at: int, value: bytes, implicit: bool) -> None:
    elements = [replace(each, value=value) if index == at else each for index, each in enumerate(RICH)]
    data = encode(elements, implicit=implicit)
    for treat in (ENGINE.treat, lambda data, syntax: treat_irregular(ENGINE, data, syntax, None, None)):
        with suppress(Quarantine, LeftOut):
            made = treat(data, syntax(implicit))
            assert sum(len(piece) for piece in made.pieces()) == made.size


@pytest.mark.parametrize("written", ["Müller-1".encode(), "Müller-1".encode("latin_1"), b"\xff\xfe\x01"])
def test_numbers_in_whatever_bytes_are_mapped(written: bytes) -> None:
    made = engine().treat(encode(instance(Element(0x00080050, "SH", written), patient_id=written)), EXPLICIT_LE)
    identity = engine().identity
    pairs = [Pair(kind, original, made.pairs[kind, original]) for kind, original in made.pairs]
    pairs.append(Pair(Kind.PATIENT, made.subject.patient_id, made.subject.pseudonym))
    assert opened(sealed(pairs, identity), identity).pairs == pairs
    number = next(pair for pair in pairs if pair.kind is Kind.NUMBER)
    assert number.original == made.subject.patient_id  # the same text, read alike


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
def test_sequences_have_a_deepest_level(implicit: bool, undefined: bool) -> None:
    element = Element(0x00081030, "LO", b"x")
    for _ in range(100):
        element = Element(0x00081115, "SQ", (Item((element,), undefined),), undefined)
    with pytest.raises(Quarantine) as refused:
        engine().treat(encode(instance(element), implicit=implicit), syntax(implicit))
    assert refused.value.reason is Reason.NESTED_TOO_DEEP


def _items(count: int, element: Element) -> Element:
    return Element(0x00081115, "SQ", tuple(Item((element,)) for _ in range(count)))


@pytest.mark.parametrize("undefined", [False, True], ids=["lengths", "delimiters"])
def test_there_are_never_too_many_items(monkeypatch: pytest.MonkeyPatch, undefined: bool) -> None:
    monkeypatch.setattr(scan, "MOST_ITEMS", 20)
    modality = Element(0x00080060, "CS", b"CT")
    few = replace(_items(20, modality), undefined=undefined)
    assert engine().treat(encode(instance(few)), EXPLICIT_LE)
    many = replace(_items(21, modality), undefined=undefined)
    nested = Element(0x00081115, "SQ", (Item((_items(11, modality),)), Item((_items(11, modality),))))
    for sequence in (many, nested):
        with pytest.raises(Quarantine) as refused:
            engine().treat(encode(instance(sequence)), EXPLICIT_LE)
        assert refused.value.reason is Reason.TOO_LARGE


def test_there_are_never_too_many_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_walk, "MOST_CHANGES", 50)
    removed = [Element(0x00091000 + number, "LO", b"x") for number in range(100)]
    emptied = _items(100, Element(0x00080090, "PN", b"x"))
    for elements in (removed, [emptied]):
        with pytest.raises(Quarantine) as refused:
            engine().treat(encode(instance(*elements)), EXPLICIT_LE)
        assert refused.value.reason is Reason.TOO_MANY_CHANGES


def test_there_are_never_too_many_people() -> None:
    named = [Item((Element(0x00080090, "PN", b"Name%05d^Other%05d" % (n, n)),)) for n in range(2_600)]
    crowd = encode(instance(Element(0x00081115, "SQ", tuple(named))))
    made = engine()
    for treat in (made.treat, lambda data, syntax: treat_irregular(made, data, syntax, None, None)):
        with pytest.raises(Quarantine) as refused:
            treat(crowd, EXPLICIT_LE)
        assert refused.value.reason is Reason.TOO_LARGE
        assert "Name" not in str(refused.value)


def test_what_pydicom_reads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(irregular, "MOST_ITEMS", 50)
    made = engine()
    for more in (
        [_items(51, Element(0x00080060, "CS", b"CT"))],
        [Element(0x00091000 + n, "LO", b"x") for n in range(99)],
    ):
        with pytest.raises(Quarantine) as refused:
            treat_irregular(made, encode(instance(*more)), EXPLICIT_LE, None, None)
        assert refused.value.reason is Reason.TOO_LARGE


class _Watched(bytes):
    """Notes how much is copied of it."""

    copied = 0

    def __getitem__(self, key):  # type: ignore[no-untyped-def]
        found = super().__getitem__(key)
        self.copied += len(found) if isinstance(found, bytes) else 0
        return found


def test_what_follows_an_element_is_not_copied_to_look_at_it() -> None:
    """Or a long header before large pixels would take hours."""
    rows, columns = Element(0x00280010, "US", b"\0\4"), Element(0x00280011, "US", b"\0\4")
    pixels = Element(0x7FE00010, "OW", bytes(2 * 1024 * 1024))
    more = [Element(0x00091000 + number, "LO", b"%d" % number) for number in range(300)]
    data = _Watched(encode(instance(rows, columns, pixels, *more)))
    engine().treat(data, EXPLICIT_LE)
    assert data.copied < 100_000


def test_what_is_nested_deep_is_looked_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And once more for what must be known before; not at each level."""
    looked: list[int] = []
    plain = scan._end_of_item

    def counted(data: bytes, pos: int, *more: Any) -> int:
        looked.append(pos)
        return plain(data, pos, *more)

    monkeypatch.setattr(scan, "_end_of_item", counted)
    element = Element(0x00080060, "CS", b"CT")
    for _ in range(20):
        element = Element(0x00081115, "SQ", (Item((element,), undefined=True),), undefined=True)
    assert engine().treat(encode(instance(element)), EXPLICIT_LE)
    assert len(set(looked)) == 20
    assert len(looked) <= 40


def test_an_element_twice_is_refused_with_its_place() -> None:
    twice = instance()
    twice.insert(4, twice[3])
    with pytest.raises(Quarantine) as refused:
        engine().treat(encode(twice), EXPLICIT_LE)
    assert (refused.value.reason, refused.value.place) == (Reason.DUPLICATE_ELEMENT, "00100010")


def test_elements_out_of_order_are_put_in_order() -> None:
    elements = instance(Element(0x00080070, "LO", b"Maker"))
    made = engine().treat(encode([elements[3], *elements[:3], *elements[4:]]), EXPLICIT_LE)
    assert b"".join(made.pieces()) == b"".join(engine().treat(encode(elements), EXPLICIT_LE).pieces())


def test_a_small_deflated_file_that_would_fill_the_memory_is_refused() -> None:
    import zlib

    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    begin = deflater.compress(encode(instance())) + deflater.flush(zlib.Z_FULL_FLUSH)
    zeros = deflater.compress(bytes(2**24)) + deflater.flush(
        zlib.Z_FULL_FLUSH
    )  # stands for itself, so it can be repeated
    bomb = begin + 40 * zeros
    with pytest.raises(Quarantine) as refused:
        engine().treat(bomb + deflater.flush(), DEFLATED)
    assert refused.value.reason is Reason.TOO_LARGE


def test_a_length_that_is_longer_than_the_file_is_refused() -> None:
    data = encode(instance()) + struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"OB", 0, 0xFFFFFF00)
    assert engine().treat(data, EXPLICIT_LE)  # behind the pixels nothing counts
    elements = [each for each in instance() if each.tag < 0x7FE00000]
    with pytest.raises(Quarantine) as refused:
        engine().treat(encode(elements) + struct.pack("<HH2sHI", 0x0042, 0x0011, b"OB", 0, 0xFFFFFF00), EXPLICIT_LE)
    assert (refused.value.reason, refused.value.place) == (Reason.MALFORMED, "00420011")


@pytest.mark.parametrize("implicit", [False, True])
def test_the_place_of_a_refusal_tells_no_bytes_of_a_value(implicit: bool) -> None:
    """A length that is too short makes a tag of the name's letters."""
    data = encode(instance(name=b"Mustermann^Erika"), implicit=implicit)
    at = data.index(b"Mustermann")
    size = 4 if implicit else 2
    broken = data[: at - size] + (6).to_bytes(size, "little") + data[at:]
    with pytest.raises(Quarantine) as refused:
        engine().treat(broken, syntax(implicit))
    assert refused.value.reason is Reason.MALFORMED
    assert refused.value.place == "????"
    assert "616D6E6E" not in str(refused.value)  # "mann"


def test_what_the_profile_leaves_out_is_no_error() -> None:
    with pytest.raises(LeftOut, match="modality CT"):
        engine(excludedModalities=["CT"]).treat(encode(instance()), EXPLICIT_LE)


NO_UIDS = [b"../../../etc/passwd", b"/tmp/1", b"..", b"1.2/3", b"1.2\0x", b"1.2.\xe9", b"1.2." + b"8" * 61]


@pytest.mark.parametrize("given_uid", NO_UIDS, ids=repr)
@pytest.mark.parametrize("tag", [0x00080018, 0x0020000D, 0x0020000E], ids=["instance", "study", "series"])
def test_what_is_no_uid_names_no_file(tag: int, given_uid: bytes) -> None:
    """Of a later slice, too, which is not looked at first. Where UIDs are mapped, the new one is what counts."""
    own = engine("RetainUIDs")
    elements = instance(Element(tag, "UI", given_uid))
    for before in ((), instance()):
        if before:
            own.treat(encode(before), EXPLICIT_LE)
        with pytest.raises(Quarantine) as told:
            own.treat(encode(elements), EXPLICIT_LE)
        assert told.value.reason in (Reason.IDENTIFIERS_MISSING, Reason.NOT_VERIFIED)
    made = engine().treat(encode(elements), EXPLICIT_LE)
    assert {made.sop_instance_uid[:5], made.study_instance_uid[:5], made.series_instance_uid[:5]} == {"2.25."}


@pytest.mark.parametrize("what", ["class", "syntax"])
@pytest.mark.parametrize("retained", [(), ("RetainUIDs",)], ids=["mapped", "retained"])
def test_a_class_or_syntax_that_is_no_uid_is_refused(what: str, retained: tuple[str, ...]) -> None:
    elements = [each for each in instance() if each.tag < 0x00280000]
    if what == "class":
        elements = [Element(0x00080016, "UI", b"1.2.840.\xe9") if each.tag == 0x00080016 else each for each in elements]
    with pytest.raises(Quarantine) as told:
        engine(*retained).treat(encode(elements), "1.2.840.\ufffd" if what == "syntax" else EXPLICIT_LE)
    assert told.value.place == ("00020010" if what == "syntax" else "00080016")
