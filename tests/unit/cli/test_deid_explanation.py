"""`adit deid explain` tells what the engine then does: to pixels, to what names somebody, and to what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import EncapsulatedPDFStorage

from adit.cli.deid_explanation import explained
from adit.deid.engine.instance import Engine
from adit.deid.identity import Identity
from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.policy import Policy
from adit.deid.profiles import ready
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import encoded_file_meta, file_meta_of
from tests.samples import instance, part10, pydicom_files
from tests.unit.deid.engine.encoded import CT, Element, Item, encode, syntax
from tests.unit.deid.engine.encoded import instance as elements
from tests.unit.deid.profiles import profile

POLICY = Policy(ready("research"))
EDGE_CASES = frozenset({"MR_truncated.dcm", "rtplan_truncated.dcm"})  # whose header is as it should be


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with DecoderProcess() as decoder:
        yield Engine(POLICY, Identity(b"k" * 32, "research"), decoder)


def test_pixels_of_pydicoms_files(engine: Engine) -> None:
    told = set()
    for path in pydicom_files():
        if path.name not in EDGE_CASES:
            said = _said(path)
            assert said == _done(path, engine), path.name
            told.add(said)
    assert told == {"none", "keep", "replace", "refuse"}


def _said(path: Path) -> str:
    place, action, *_ = explained(path, POLICY).lines[-1].split()
    return action if place in ("7FE00010", "7FE00008", "7FE00009") else "none"


def _done(path: Path, engine: Engine) -> str:
    data = path.read_bytes()
    meta = file_meta_of(data)
    try:
        made = engine.treat(data, meta.transfer_syntax_uid, start=meta.offset)
    except Quarantine as refused:
        return "refuse" if refused.reason is Reason.PIXELS else str(refused)
    if any(change.rule == "pixels ultrasound-regions" for change in made.changes):
        return "replace"
    return "keep" if b"\xe0\x7f\x10\x00" in data or b"\x7f\xe0\x00\x10" in data else "none"


def test_what_the_profile_excludes_is_told_first(tmp_path: Path) -> None:
    file = tmp_path / "scan.dcm"
    file.write_bytes(part10(instance("told", modality="CT")))
    lines = explained(file, Policy(profile(excludedModalities=["CT"]))).lines
    assert lines[1].startswith("# left out")


def test_a_document_is_refused_for_its_class(tmp_path: Path) -> None:
    document = instance("told", modality="DOC", sop_class=EncapsulatedPDFStorage)
    del document.PixelData
    file = tmp_path / "report.dcm"
    file.write_bytes(part10(document))
    place, action, why, *_ = explained(file, POLICY).lines[-1].split()
    assert (place, action, why) == ("00080016", "refuse", "EncapsulatedDocument:")


def written(tmp_path: Path, data: bytes, transfer_syntax: str) -> Path:
    file = tmp_path / "scan.dcm"
    file.write_bytes(encoded_file_meta(CT, "1.2.3", transfer_syntax) + data)
    return file


def nested(depth: int) -> Element:
    inner = Element(0x00081155, "UI", b"1.2.3")
    for _ in range(depth):
        inner = Element(0x00081115, "SQ", (Item((inner,)),))
    return inner


WHOLE = encode(elements())
DATE = encode([Element(0x00080020, "DA", b"20240131")])


@pytest.mark.parametrize(
    ("data", "transfer_syntax", "reason"),
    [
        (WHOLE.replace(b"\x20\0LO", b"\x20\0zz"), syntax(False), Reason.MALFORMED),
        (WHOLE.replace(b"\x08\0\x60\0", DATE * 2 + b"\x08\0\x60\0"), syntax(False), Reason.DUPLICATE_ELEMENT),
        (WHOLE, "1.2.840.10008.1.20", Reason.UNKNOWN_TRANSFER_SYNTAX),
        (encode(elements(nested(70))), syntax(False), Reason.NESTED_TOO_DEEP),
        (WHOLE[: WHOLE.index(b"MRN") + 4], syntax(False), Reason.MALFORMED),
        (encode(elements(Element(0x7FE00010, "OW", b"\1" * 4000))), syntax(False), Reason.PIXELS),
    ],
    ids=["bad VR", "twice", "syntax", "deep", "truncated", "long pixels"],
)
def test_what_would_be_refused_ends_with_the_reason(
    tmp_path: Path, engine: Engine, data: bytes, transfer_syntax: str, reason: Reason
) -> None:
    found = explained(written(tmp_path, data, transfer_syntax), POLICY)
    assert found.refusal is not None
    assert found.refusal.reason is reason
    with pytest.raises(Quarantine) as refused:
        engine.treat(data, transfer_syntax)
    assert str(refused.value) == str(found.refusal)


def test_what_is_emptied_as_an_identifier_is_told_so(tmp_path: Path) -> None:
    planted = (Element(0x00181210, "SH", b"for Quorra"), Element(0x00180022, "CS", b"HELIX"))
    found = explained(written(tmp_path, encode(elements(*planted)), syntax(False)), POLICY)
    assert found.refusal is None
    told = {line[:8]: line.split()[1:3] for line in found.lines}
    assert told["00181210"] == ["empty", "identifier"]
    assert told["00180022"] == ["keep", "not"]


def test_whatever_is_changed_in_reports_was_told(engine: Engine, tmp_path: Path) -> None:
    """Also what becomes of content items by their concepts, and of private codes."""

    def code(value: bytes, scheme: bytes, meaning: bytes) -> Item:
        given = ((0x00080100, "SH", value), (0x00080102, "SH", scheme), (0x00080104, "LO", meaning))
        return Item(tuple(Element(*each) for each in given))

    def item(concept: Item, value_type: bytes, *values: Element) -> Item:
        named = Element(0x0040A043, "SQ", (concept,))
        return Item((Element(0x0040A040, "CS", value_type), named, *values))

    content = (
        item(code(b"1", b"99X", b"said by Dr Quack"), b"TEXT", Element(0x0040A160, "UT", b"of Dr Quack")),
        item(code(b"121008", b"DCM", b"Observer"), b"PNAME", Element(0x0040A123, "PN", b"Quack^Ida")),
        item(code(b"121036", b"DCM", b"Mother"), b"PNAME", Element(0x0040A123, "PN", b"Quack^Ida")),
    )
    reasons = Element(0x0040100A, "SQ", (code(b"1", b"99X", b"Thorax for Dr Quack"),))
    file = written(tmp_path, encode(elements(Element(0x0040A730, "SQ", content), reasons)), syntax(False))
    for path in (file, *(each for each in pydicom_files() if each.name in ("reportsi.dcm", "test-SR.dcm"))):
        data = path.read_bytes()
        meta = file_meta_of(data)
        made = engine.treat(data, meta.transfer_syntax_uid, start=meta.offset)
        told = {tuple(line.split()[:2]) for line in explained(path, POLICY).lines}
        done = {tuple(change.text.split()[:2]) for change in made.changes}
        assert done <= told
        assert path != file or {("0040100A.00080104", "clean"), ("0040A730", "remove")} <= done


def test_times_of_day_stay_where_dates_are_shifted(tmp_path: Path) -> None:
    planted = (Element(0x00080020, "DA", b"20240131"), Element(0x00080030, "TM", b"101530"))
    lines = explained(written(tmp_path, encode(elements(*planted)), syntax(False)), POLICY).lines
    told = {line.split()[0]: line.split()[1] for line in lines if not line.startswith("#")}
    assert (told["00080020"], told["00080030"]) == ("shift", "keep")
