"""Slices of a series, which the engine and the verification look at only where they differ: nothing slips through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from adit.deid.engine.instance import Engine
from adit.deid.identifiers import identifiers_of
from adit.deid.marks import encoded_marks
from adit.deid.quarantine import Quarantine, Reason
from adit.deid.verification import Expected, Verification
from tests.unit.deid.engine.encoded import Element, encode, engine, instance, syntax

ENGINES = {
    "basic": engine(),
    "private": engine("RetainSafePrivate", "RetainLongitudinalModifiedDates", "CleanDescriptors"),
}
both = pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])


def series(count: int = 24) -> Iterator[list[Element]]:
    """Values that stay, values that vary, lengths that vary; blocks of private elements that change hands."""
    for number in range(count):
        owner = b"SIEMENS MR HEADER" if 10 <= number < 14 else b"NOBODY KNOWN"
        more = [Element(0x00080018, "UI", b"1.2.3.4.5.6.%d" % (7 * number)), Element(0x00190010, "LO", owner)]
        more += [Element(0x00191000 + each, "DS", b"%d" % (number * each)) for each in range(1, 9)]
        more += [Element(0x00290010 + each, "LO", b"maker's") for each in range(number % 7, 9)]
        more += [Element(0x00181100 + each * 16, "DS", b"1.25") for each in range(6)]
        more += [Element(0x00200013, "IS", b"%d" % (number * number)), Element(0x00200052, "UI", b"1.2.3.4.5")]
        more += [Element(0x00281050 + each, "DS", b"%d" % (40 + number // 5)) for each in range(4)]
        if number % 5 == 3:
            more.append(Element(0x00280030, "DS", b"1\\1"))
        if number == 20:
            more.append(Element(0x0008103E, "LO", b"head ct"))
        yield instance(*more)


@both
@pytest.mark.parametrize("made", ENGINES)
def test_each_slice_is_treated_as_if_it_were_the_first(made: str, implicit: bool) -> None:
    used = Engine(ENGINES[made].policy, ENGINES[made].identity)
    for _ in range(2):
        for elements in series():
            data = encode(elements, implicit=implicit)
            fresh = Engine(used.policy, used.identity).treat(data, syntax(implicit))
            again = used.treat(data, syntax(implicit))
            assert b"".join(again.pieces()) == b"".join(fresh.pieces())
            assert (again.changes, again.pairs) == (fresh.changes, fresh.pairs)


@both
@pytest.mark.parametrize("tag", [0x00181110, 0x00191003, 0x00200013, 0x00281051, 0x00290014])
def test_a_name_in_a_late_slice_does_not_survive(tag: int, implicit: bool) -> None:
    used = Engine(ENGINES["private"].policy, ENGINES["private"].identity)
    for number, elements in enumerate(series()):
        planted = [
            Element(tag, "SH", b"of Zyxwvut" if number > 15 else b"of nobody") if each.tag == tag else each
            for each in elements
        ]
        made = used.treat(encode(planted, implicit=implicit), syntax(implicit))
        assert b"zyxwvut" not in b"".join(made.pieces()).lower()


PSEUDONYM = b"STROKE-001"
UIDS = {0x00080018: b"2.25.7", 0x0020000D: b"2.25.5", 0x0020000E: b"2.25.6"}
ORIGINAL = (b"1.2.3.4.5.6.7",)


def header(*more: Element, sop_instance: bytes = UIDS[0x00080018], marks: bool = True) -> bytes:
    elements = [
        Element(0x00080018, "UI", sop_instance),
        Element(0x00080060, "CS", b"CT"),
        Element(0x00080070, "LO", b"Maker"),
        Element(0x00100010, "PN", PSEUDONYM),
        Element(0x00100020, "LO", PSEUDONYM),
        Element(0x00180050, "DS", b"1.25"),
        Element(0x00180060, "DS", b"120"),
        Element(0x0020000D, "UI", UIDS[0x0020000D]),
        Element(0x0020000E, "UI", UIDS[0x0020000E]),
    ]
    changed = {each.tag: encode([each]) for each in (*elements, *more)}
    written = dict(encoded_marks(engine().policy, implicit=False)) if marks else {}
    return b"".join(data for _, data in sorted((changed | written).items()))


@pytest.fixture
def verification() -> Verification:
    """It has seen some of the series."""
    identifiers = identifiers_of({0x00100010: b"Zyxwvut", 0x00100020: b"MRN-990017"}, (), frozenset())
    expected = Expected(identifiers, PSEUDONYM, frozenset(), frozenset(), lambda _path, _tag: False, b"YES")
    made = Verification(expected, implicit=False)
    for _ in range(4):
        assert made.passes(header(), ORIGINAL, frozenset(), UIDS)
    return made


@pytest.mark.parametrize(
    "planted",
    [
        Element(0x00080070, "LO", b"by Zyxwvut"),
        Element(0x00080070, "LO", b"MRN-990017"),
        Element(0x00180024, "SH", b"ZYXWVUT"),
        Element(0x00180060, "DS", b"1.2.3.4.5.6.7"),
    ],
)
def test_an_identifier_in_what_was_harmless_is_found(verification: Verification, planted: Element) -> None:
    assert not verification.passes(header(planted), ORIGINAL, frozenset(), UIDS)
    assert verification.passes(header(), ORIGINAL, frozenset(), UIDS)


def test_what_must_never_be_is_refused_in_a_late_slice_too(verification: Verification) -> None:
    late = [
        header(Element(0x00090010, "LO", b"NOBODY KNOWN")),
        header(Element(0x00101000, "LO", b"other")),
        header(Element(0x00100010, "PN", b"somebody")),
        header(Element(0x60000010, "US", b"\4\0")),
        header(sop_instance=b"2.25.8"),
        header(marks=False),
        header() + encode([Element(0x00180050, "DS", b"1.25")]),
        header()[:-2],
    ]
    for each in late:
        with pytest.raises(Quarantine) as refused:
            verification.passes(each, ORIGINAL, frozenset(), UIDS)
        assert refused.value.reason is Reason.NOT_VERIFIED
    with pytest.raises(Quarantine):
        verification.passes(header(), ORIGINAL, frozenset(), {**UIDS, 0x0020000E: b"2.25.9"})
    assert verification.passes(header(), ORIGINAL, frozenset(), UIDS)


def test_a_short_number_by_chance_costs_no_second_walk() -> None:
    """It stands within many others; where no element tells it, the first result passes."""
    used = engine()
    for elements in series(6):
        given = [Element(0x00100020, "LO", b"347") if each.tag == 0x00100020 else each for each in elements]
        kept = [*given, Element(0x00281056, "DS", b"347.5"), Element(0x00281057, "DS", b"1347")]
        data = encode(sorted(kept, key=lambda each: each.tag))
        made = used.treat(data, syntax(False))
        assert not any(each.rule == "identifier" for each in made.changes)
        assert b"347.5 " in b"".join(made.pieces())
    assert not any(scrubs for _, _, scrubs in used._levels)
