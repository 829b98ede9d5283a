"""`adit deid explain` tells what the engine then does to pixels."""

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
from adit.dicom.file_meta import file_meta_of
from tests.samples import instance, part10, pydicom_files
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
    place, action, *_ = list(explained(path, POLICY))[-1].split()
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
    lines = list(explained(file, Policy(profile(excludedModalities=["CT"]))))
    assert lines[1].startswith("# left out")


def test_a_document_is_refused_for_its_class(tmp_path: Path) -> None:
    document = instance("told", modality="DOC", sop_class=EncapsulatedPDFStorage)
    del document.PixelData
    file = tmp_path / "report.dcm"
    file.write_bytes(part10(document))
    place, action, why, *_ = list(explained(file, POLICY))[-1].split()
    assert (place, action, why) == ("00080016", "refuse", "EncapsulatedDocument:")
