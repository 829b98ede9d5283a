"""Content items and graphics: ages, codes of one's own making, and texts that no row of the standard names."""

from __future__ import annotations

import struct

import pytest

from adit.deid.engine.irregular import treat_irregular
from adit.deid.quarantine import Quarantine
from tests.unit.deid.engine.encoded import Element, Item, encode, engine, instance, syntax, treated

STRUCTURED = ("CleanStructuredContent", "RetainPatientCharacteristics")
both = pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])


def code(value: bytes, scheme: bytes, meaning: bytes, *, undefined: bool = False) -> Item:
    return Item(
        (
            Element(0x00080100, "SH", value),
            Element(0x00080102, "SH", scheme),
            Element(0x00080104, "LO", meaning),
        ),
        undefined,
    )


def content(value_type: bytes, concept: Item, *values: Element) -> Item:
    return Item(
        (
            Element(0x0040A010, "CS", b"CONTAINS"),
            Element(0x0040A040, "CS", value_type),
            Element(0x0040A043, "SQ", (concept,)),
            *values,
        ),
        undefined=True,
    )


def report(*items: Item) -> list[Element]:
    return instance(Element(0x0040A730, "SQ", items, undefined=True))


def by_both(elements: list[Element], *options: str, implicit: bool) -> bytes:
    """The new bytes; pydicom's way must make the same of it."""
    _, data, _ = treated(elements, *options, implicit=implicit)
    other = treat_irregular(engine(*options), encode(elements, implicit=implicit), syntax(implicit), None, None)
    again = b"".join(other.pieces())
    for needle in (b"CANARY", b"Quack", b"95 ", b"1140"):
        assert (needle in again) is (needle in data), needle
    return data


def age(value: bytes, unit: bytes, concept: tuple[bytes, bytes] = (b"121033", b"DCM")) -> Item:
    measured = Item(
        (
            Element(0x004008EA, "SQ", (code(unit, b"UCUM", b"unit"),), undefined=True),
            Element(0x0040A161, "FD", struct.pack("<d", 95.0)),
            Element(0x0040A30A, "DS", value),
        ),
        undefined=True,
    )
    return content(b"NUM", code(*concept, b"Age"), Element(0x0040A300, "SQ", (measured,)))


@both
@pytest.mark.parametrize(
    ("value", "unit", "expected"), [(b"95", b"a", b"90"), (b"1140", b"mo", b"1080"), (b"45", b"a", b"45")]
)
@pytest.mark.parametrize("concept", [(b"121033", b"DCM"), (b"30525-0", b"LN")], ids=["listed", "unlisted"])
def test_an_age_over_89_in_a_report(
    value: bytes, unit: bytes, expected: bytes, concept: tuple[bytes, bytes], implicit: bool
) -> None:
    elements = report(age(value, unit, concept))
    data = by_both(elements, *STRUCTURED, implicit=implicit)
    assert encode([Element(0x0040A30A, "DS", expected)], implicit=implicit) in data
    assert value == expected or encode([Element(0x0040A30A, "DS", value)], implicit=implicit) not in data
    assert struct.pack("<d", 95.0) not in data


@both
def test_another_number_in_a_report_stays(implicit: bool) -> None:
    data = by_both(report(age(b"95", b"mm", (b"121207", b"DCM"))), *STRUCTURED, implicit=implicit)
    assert encode([Element(0x0040A30A, "DS", b"95")], implicit=implicit) in data


@both
@pytest.mark.parametrize("scheme", [b"99SITE", b"L", b"l", b""])
def test_the_meaning_of_a_private_code_is_a_text_like_any_other(scheme: bytes, implicit: bool) -> None:
    extended = Element(0x00080108, "LT", b"CANARYCM3 of Dr. Quack")
    private = Item((*code(b"F-1", scheme, b"CANARYCM2 liver Dr. Quack").elements, extended))
    nested = Item((*code(b"T-1", b"SRT", b"Liver").elements, Element(0x00080121, "SQ", (private,))))
    data = by_both(
        report(
            content(b"CODE", private, Element(0x0040A168, "SQ", (private,))),
            content(b"CODE", code(b"121071", b"DCM", b"Finding"), Element(0x0040A168, "SQ", (nested,))),
        ),
        *STRUCTURED,
        implicit=implicit,
    )
    assert b"CANARY" not in data
    assert b"Quack" not in data
    assert b"liver" in data


@both
@pytest.mark.parametrize("tag", [0x00081084, 0x00321067, 0x0040100A, 0x00400275], ids=lambda tag: f"{tag:08X}")
def test_the_meaning_of_a_private_code_among_descriptions(tag: int, implicit: bool) -> None:
    """CleanDescriptors keeps sequences of codes when they are cleaned; what a site's own code means is its own text."""
    for scheme, expected in ((b"99LOCAL", "Thorax of"), (b"SCT", "Thorax of Dr Brinkmann")):
        item = code(b"K7", scheme, b"Thorax of Dr Brinkmann")
        item = Item((Element(0x00400008, "SQ", (item,)),)) if tag == 0x00400275 else item
        elements = instance(Element(tag, "SQ", (item,)))
        _, data, found = treated(elements, "CleanDescriptors", implicit=implicit)
        kept = found[tag].value[0]
        assert (kept[0x00400008].value[0] if tag == 0x00400275 else kept).CodeMeaning == expected
        other = treat_irregular(
            engine("CleanDescriptors"), encode(elements, implicit=implicit), syntax(implicit), None, None
        )
        assert (b"Brinkmann" in b"".join(other.pieces())) is (b"Brinkmann" in data) is (scheme == b"SCT")
        assert tag not in treated(elements, implicit=implicit)[2]


@both
def test_the_meaning_of_a_standard_code_stays(implicit: bool) -> None:
    standard = code(b"T-62000", b"SRT", b"Some organ")
    item = content(b"CODE", code(b"121071", b"DCM", b"Finding"), Element(0x0040A168, "SQ", (standard,)))
    assert b"Some organ" in by_both(report(item), *STRUCTURED, implicit=implicit)


@both
@pytest.mark.parametrize("options", [("CleanGraphics",), ("CleanGraphics", "CleanDescriptors")])
def test_texts_in_graphics_that_stay(options: tuple[str, ...], implicit: bool) -> None:
    tick = Item((Element(0x00700288, "FL", struct.pack("<f", 0.5)), Element(0x00700289, "SH", b"CANARY Quack")))
    compound = Item(
        (
            Element(0x00700294, "CS", b"RULER"),
            Element(0x00700287, "SQ", (tick,)),
            Element(0x00700207, "LO", b"CANARY group"),
        )
    )
    data = by_both(
        instance(Element(0x00700001, "SQ", (Item((Element(0x00700209, "SQ", (compound,)),)),))),
        *options,
        implicit=implicit,
    )
    assert b"CANARY" not in data
    assert b"Quack" not in data
    assert b"RULER" in data


def test_an_item_that_ends_within_its_unit_is_refused() -> None:
    data = encode(report(age(b"95", b"a")))
    with pytest.raises(Quarantine):
        engine(*STRUCTURED).treat(data[: data.index(b"UCUM") + 2], syntax(False))
