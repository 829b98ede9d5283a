"""Every file of pydicom and pydicom-data that has pixels: left, and masked; each is handled, or refused by name."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Final

import data_store
import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.mask_area import Box, inside
from adit.deid.pixels.plan import Leave, Mask
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from tests.samples import TEST_FILES
from tests.unit.deid.pixels.objects import element_of, facts, pixels, read, written

FOLDERS: Final = (TEST_FILES, Path(data_store.__file__).parent / "data")
# what the masks' tests cannot compare: GDCM decodes no 12-bit JPEG
_UNDECODABLE: Final = {"JPEG-lossy.dcm", "JPGExtended.dcm"}
_REFUSED: Final = {
    "JPEG2000-embedded-sequence-delimiter.dcm": PixelReason.CODESTREAM_CONTRADICTS_HEADER,
    "MR_truncated.dcm": PixelReason.LENGTH_CONTRADICTS_HEADER,
    "badVR.dcm": PixelReason.HEADER_MALFORMED,
    "meta_missing_tsyntax.dcm": PixelReason.HEADER_INCOMPLETE,
    "nested_priv_SQ.dcm": PixelReason.HEADER_INCOMPLETE,
}
_NOT_MASKED: Final = dict.fromkeys(
    (
        "liver.dcm",  # single bits
        "liver_expb.dcm",
        "liver_1frame.dcm",
        "liver_expb_1frame.dcm",
    ),
    PixelReason.FORMAT_UNSUPPORTED,
)


@cache
def _with_pixels(path: Path) -> bool:
    try:
        return element_of(read(path)) is not None
    except Exception:  # noqa: BLE001 - whatever pydicom cannot read has no pixels for us
        return False


def files() -> list[Path]:
    found: dict[str, Path] = {}
    for folder in FOLDERS:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc", ".txt", ".md", ".json", ".zip"):
                found.setdefault(path.name, path)
    return [path for path in found.values() if _with_pixels(path)]


def dataset_of(path: Path) -> Dataset:
    dataset = read(path)
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return dataset


def test_there_are_files() -> None:
    assert len(files()) > 140


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_left(path: Path, decoder: DecoderProcess) -> None:
    """What passes has the pixels that it had."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dataset_of(path)
        if path.name in _REFUSED:
            with pytest.raises(PixelQuarantine) as refusal:
                written(dataset, Leave(), decoder)
            assert refusal.value.reason is _REFUSED[path.name]
            return
        result, done = written(dataset, Leave(), decoder)
        assert not done.masked
        assert done.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID
        if path.name not in _UNDECODABLE:
            assert np.array_equal(pixels(result, raw=True, few=True), pixels(dataset, raw=True, few=True))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_masked(path: Path, decoder: DecoderProcess) -> None:
    """Inside nothing but one colour, outside what another decoder reads of the original."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dataset_of(path)
        refused = {**_REFUSED, **_NOT_MASKED}.get(path.name)
        if refused is not None:
            with pytest.raises(PixelQuarantine) as refusal:
                written(dataset, _corner(dataset), decoder)
            assert refusal.value.reason is refused
            return
        result, done = written(dataset, _corner(dataset), decoder)
        assert done.masked
        after = pixels(result, few=True)
        lower, right = _extent(dataset)
        inside_mask = after[:, :lower, :right]
        assert (inside_mask == inside_mask[:1, :1, :1]).all()
        if path.name not in _UNDECODABLE:
            outside_mask = np.ones(after.shape, bool)
            outside_mask[:, :lower, :right] = False
            assert np.array_equal(after[outside_mask], pixels(dataset, few=True)[outside_mask])


def _extent(dataset: Dataset) -> tuple[int, int]:
    return max(1, dataset.Rows // 3), max(1, dataset.Columns // 2)


def _corner(dataset: Dataset) -> Mask:
    told = facts(dataset)
    rows, columns = told.rows or 3, told.columns or 2
    box = Box(0, 0, max(1, columns // 2), max(1, rows // 3), 0, told.frames)
    return Mask("corner", inside([box], rows, columns, told.frames))
