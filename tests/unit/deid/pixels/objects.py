"""Whole DICOM objects through plan and treatment, read by pydicom before and after. Used by this folder's tests."""

from __future__ import annotations

import warnings
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import UID

from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.encapsulation import DELIMITATION
from adit.deid.pixels.facts import (
    FACT_TAGS,
    REGION_TAGS,
    SEQUENCE_OF_ULTRASOUND_REGIONS,
    PixelElement,
    PixelFacts,
    facts_of,
)
from adit.deid.pixels.piece import MemoryBlock, joined
from adit.deid.pixels.plan import Plan, plan
from adit.deid.pixels.treatment import Treated, treated
from adit.model.pixel_policy import PixelPolicy, UnusedBits
from tests.samples import part10

Array = NDArray[Any]


def reread(dataset: Dataset) -> Dataset:
    """Written and read again, so that its elements are raw."""
    return dcmread(BytesIO(part10(dataset)))


def read(path: Path) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(path, force=True)


def raw(dataset: Dataset, tag: int) -> bytes:
    """The element's value as it is encoded, or would be where pydicom has decoded it."""
    element = dataset.get_item(tag)
    assert element is not None
    value = element.value
    if isinstance(value, int) and element.VR == "US":
        return value.to_bytes(2, "little" if dataset.is_little_endian is not False else "big")
    return value if isinstance(value, bytes) else b"" if value is None else str(value).encode("ascii")


def element_of(dataset: Dataset) -> PixelElement | None:
    return next((element for element in PixelElement if element.value in dataset), None)


def facts(dataset: Dataset) -> PixelFacts:
    """As the engine would collect them."""
    element = element_of(dataset)
    regions = None
    if SEQUENCE_OF_ULTRASOUND_REGIONS in dataset:
        items = dataset[SEQUENCE_OF_ULTRASOUND_REGIONS].value
        regions = [
            {tag: int(item[tag].value).to_bytes(4, "little") for tag in REGION_TAGS if tag in item} for item in items
        ]
    vr = "OW" if element is None else str(dataset.get_item(element.value).VR or "OW")
    values = {tag: raw(dataset, tag) for tag in FACT_TAGS if tag in dataset}
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "1.2.840.10008.1.2"))
    return facts_of(syntax, values, element=element, vr=vr, regions=regions)


def block(dataset: Dataset) -> MemoryBlock:
    element = element_of(dataset)
    assert element is not None
    value = raw(dataset, element.value)
    encapsulated = dataset.file_meta.get("TransferSyntaxUID", UID("1.2.840.10008.1.2")).is_compressed
    return MemoryBlock(value + DELIMITATION if encapsulated else value)


def planned(dataset: Dataset, policy: dict[str, Any]) -> Plan:
    return plan(facts(dataset), PixelPolicy.model_validate(policy))


def written(
    dataset: Dataset, what: Plan, decoder: DecoderProcess, unused_bits: UnusedBits = UnusedBits.CLEAR
) -> tuple[Dataset, Treated]:
    """The data set as it would leave: the header's changes made, the pieces in place of the pixels."""
    source = block(dataset)
    done = treated(facts(dataset), what, source, decoder, unused_bits)
    result = deepcopy(dataset)
    for tag in list(result.keys()):
        if result.get_item(tag).VR is None:
            result[tag]
    element = element_of(dataset)
    assert element is not None
    for change in done.changes:
        if change.value is None:
            result.pop(change.tag, None)
        else:
            result[change.tag] = RawDataElement(
                Tag(change.tag), change.vr, len(change.value), change.value, 0, False, True
            )
    value = b"".join(joined(done.pieces, source))
    if done.length is None:
        assert value.endswith(DELIMITATION)
        value = value.removesuffix(DELIMITATION)
    else:
        assert len(value) == done.length
    result[element.value] = DataElement(element.value, done.vr, value, is_undefined_length=done.length is None)
    result.file_meta.TransferSyntaxUID = UID(done.transfer_syntax_uid)
    return reread(result), done


def pixels(dataset: Dataset, *, raw: bool = False, few: bool = False) -> Array:
    """By decoders that are not ours: GDCM's for the JPEG family, pydicom's own for RLE. Frames first, samples last.

    `few`: of many frames the first and the last only, as tests have not all day.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    plugin = "pydicom" if not syntax.is_compressed or syntax == "1.2.840.10008.1.2.5" else "gdcm"
    frames = int(dataset.get("NumberOfFrames") or 1)
    wanted = [0, frames - 1] if few and frames > 15 else range(frames)
    read = [pixel_array(dataset, raw=raw, decoding_plugin=plugin, index=index) for index in wanted]
    return np.stack(read).reshape(len(read), dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
