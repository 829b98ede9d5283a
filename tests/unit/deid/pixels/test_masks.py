"""A mask blanks exactly its pixels: every other one has the value it had, read by decoders that are not ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.facts import PixelElement
from adit.deid.pixels.piece import Kept
from adit.deid.pixels.plan import Mask, plan
from adit.deid.pixels.treatment import treated
from adit.model.pixel_policy import PixelPolicy, UnusedBits
from tests.unit.deid.pixels.images import LOSSLESS, NATIVE, Image, images, made
from tests.unit.deid.pixels.objects import Array, block, facts, pixels, planned, written

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def rectangles(draw: st.DrawFn, shape: tuple[int, ...]) -> list[dict[str, int]]:
    frames, rows, columns, _ = shape
    drawn = []
    for _ in range(draw(st.integers(1, 4))):
        x, y = draw(st.integers(0, columns - 1)), draw(st.integers(0, rows - 1))
        rectangle = {"left": x, "top": y}
        if draw(st.booleans()):
            rectangle["width"] = draw(st.integers(1, columns - x))
        if draw(st.booleans()):
            rectangle["height"] = draw(st.integers(1, rows - y))
        if draw(st.booleans()):
            rectangle["firstFrame"] = draw(st.integers(1, frames))
            rectangle["lastFrame"] = draw(st.integers(rectangle["firstFrame"], frames))
        drawn.append(rectangle)
    return drawn


def covered(shape: tuple[int, ...], parts: list[dict[str, int]]) -> Array:
    """Which pixels the rectangles cover, painted one by one."""
    mask = np.zeros(shape, bool)
    for each in parts:
        y, x = each["top"], each["left"]
        lower, right = y + each.get("height", shape[1]), x + each.get("width", shape[2])
        mask[each.get("firstFrame", 1) - 1 : each.get("lastFrame", shape[0]), y:lower, x:right] = True
    return mask


def policy(**decision: Any) -> dict[str, Any]:
    return {"deviceRules": [{"name": "x", "when": {"all": [{"attribute": "Modality", "matches": "*"}]}, **decision}]}


def black(dataset: Dataset) -> list[int]:
    stored, signed = dataset.BitsStored, dataset.PixelRepresentation
    return {
        "MONOCHROME1": [2 ** (stored - signed) - 1],
        "YBR_FULL": [0, 2 ** (stored - 1), 2 ** (stored - 1)],
        "RGB": [0, 0, 0],
    }.get(dataset.PhotometricInterpretation, [0])


@given(st.data())
@MANY
def test_masks_are_exact_on_native_pixels(decoder: DecoderProcess, data: st.DataObject) -> None:
    _check(data, data.draw(images(NATIVE)), decoder)


# now and then compressed pixels are as long as others would be, and pydicom asks whether they are
@pytest.mark.filterwarnings("ignore:The number of bytes of compressed pixel data matches")
@given(st.data())
@MANY
def test_masks_are_exact_on_losslessly_compressed_pixels(decoder: DecoderProcess, data: st.DataObject) -> None:
    _check(data, data.draw(images(LOSSLESS)), decoder)


def _check(data: st.DataObject, image: Image, decoder: DecoderProcess) -> None:
    parts = data.draw(rectangles(image.stored.shape))
    but = data.draw(st.booleans())
    what = planned(image.dataset, policy(**{"maskExcept" if but else "mask": parts}))
    result, done = written(image.dataset, what, decoder)
    mask = covered(image.stored.shape, parts) ^ but
    expected = np.where(mask, np.array(black(image.dataset), image.stored.dtype), image.stored)
    assert result.PhotometricInterpretation == image.dataset.PhotometricInterpretation
    assert np.array_equal(pixels(result, raw=True), expected)
    assert done.masked
    assert result.BurnedInAnnotation == "NO"


@pytest.mark.parametrize("columns", [1, 2, 5])
def test_subsampled_pixels_are_blanked_in_pairs(decoder: DecoderProcess, columns: int) -> None:
    luma = np.arange(1, 49, dtype=np.uint8).reshape(2, 4, 6)
    colour = np.arange(100, 148, dtype=np.uint8).reshape(2, 4, 3, 2)
    value = np.concatenate([luma.reshape(2, 4, 3, 2), colour], axis=3)
    dataset = made(np.zeros((2, 4, 6, 3), np.uint8), "RGB", ExplicitVRLittleEndian, stored=8)
    dataset.PhotometricInterpretation, dataset.PixelData = "YBR_FULL_422", value.tobytes()
    what = planned(dataset, policy(mask=[{"left": 1, "top": 1, "width": columns, "height": 2}]))
    result, _ = written(dataset, what, decoder)
    after = np.frombuffer(result.PixelData, np.uint8).reshape(2, 4, 3, 4)
    pairs = slice(0, (1 + columns + 1) // 2)
    assert (after[:, 1:3, pairs] == [0, 0, 128, 128]).all()
    untouched = np.ones(after.shape, bool)
    untouched[:, 1:3, pairs] = False
    assert np.array_equal(after[untouched], value[untouched])


@pytest.mark.parametrize("element", [PixelElement.FLOAT, PixelElement.DOUBLE])
def test_floating_point_pixels(decoder: DecoderProcess, element: PixelElement) -> None:
    kind = np.float32 if element is PixelElement.FLOAT else np.float64
    image = np.linspace(1, 2, 2 * 5 * 4, dtype=kind).reshape(2, 5, 4, 1)
    dataset = made(np.zeros(image.shape, np.uint16), "MONOCHROME2", ExplicitVRLittleEndian, stored=16)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated = image.dtype.itemsize * 8
    setattr(dataset, "FloatPixelData" if kind is np.float32 else "DoubleFloatPixelData", image.tobytes())
    result, _ = written(dataset, planned(dataset, policy(mask=[{"left": 2, "top": 0}])), decoder)
    after = np.frombuffer(result[element.value].value, kind).reshape(image.shape)
    assert not after[:, :, 2:].any()
    assert np.array_equal(after[:, :, :2], image[:, :, :2])


class _Unreadable:
    """A block of a gigabyte that nobody may read."""

    length = 1024 * 1024 * 1024

    def read(self, start: int, count: int) -> bytes:
        raise AssertionError("native pixels were read")


def test_native_pixels_are_patched_without_being_read(decoder: DecoderProcess) -> None:
    dataset = made(np.zeros((1, 2, 2, 1), np.uint8), "MONOCHROME2", ExplicitVRLittleEndian, stored=8)
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 1024, 1024, 1024
    told = facts(dataset)
    what = plan(told, PixelPolicy.model_validate(policy(mask=[{"left": 0, "top": 0, "height": 64}])))
    pieces = list(treated(told, what, _Unreadable(), decoder).pieces)
    assert len(pieces) == 2 * 1024
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) == 1024 * 64 * 1024
    assert sum(piece.end - piece.start for piece in pieces if isinstance(piece, Kept)) == 1024 * 960 * 1024


def _overlaid() -> Iterator[tuple[Dataset, Array]]:
    image = np.random.default_rng(7).integers(0, 4096, size=(2, 6, 5, 1), dtype=np.uint16)
    for leave in (False, True):
        dataset = made(image | 0x8000, "MONOCHROME2", ExplicitVRLittleEndian, stored=12)
        dataset.add_new(0x60000100, "US", 16)
        dataset.add_new(0x60000102, "US", 15)
        yield dataset, image if leave else np.where(covered(image.shape, [{"left": 3, "top": 2}]), 0, image)


def test_an_overlay_in_the_unused_bits_is_cleared(decoder: DecoderProcess) -> None:
    """With or without a mask; the engine drops the elements that told of it."""
    decisions: tuple[dict[str, Any], ...] = ({"mask": [{"left": 3, "top": 2}]}, {"action": "Pass"})
    for decision, (dataset, expected) in zip(decisions, _overlaid(), strict=True):
        result, _ = written(dataset, planned(dataset, policy(**decision)), decoder)
        assert np.array_equal(np.frombuffer(result.PixelData, "<u2").reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "told",
    [
        {0x60000010: 6},
        {0x60000100: 16},
        {0x60000102: 15},
        {0x60000100: 1, 0x60000102: 15},
        {0x601E0010: 6, 0x601E0100: 16},
    ],
    ids=["nothing", "no position", "no bits", "one bit", "another group"],
)
@pytest.mark.parametrize("masked", [False, True])
def test_an_overlay_that_does_not_tell_where_it_lies(
    decoder: DecoderProcess, told: dict[int, int], masked: bool
) -> None:
    """It may be in the bits that no pixel uses. Where all are used, the pixels stay as they are."""
    image = np.random.default_rng(7).integers(0, 4096, size=(1, 6, 5, 1), dtype=np.uint16)
    decision: dict[str, Any] = {"mask": [{"left": 3, "top": 2}]} if masked else {"action": "Pass"}
    expected = np.where(covered(image.shape, [{"left": 3, "top": 2}]), 0, image) if masked else image
    for stored, before, after in ((12, image | 0x8000, expected), (16, image, expected)):
        dataset = made(before, "MONOCHROME2", ExplicitVRLittleEndian, stored=stored)
        for tag, value in told.items():
            dataset.add_new(tag, "US", value)
        result, _ = written(dataset, planned(dataset, policy(**decision)), decoder)
        assert np.array_equal(np.frombuffer(result.PixelData, "<u2").reshape(image.shape), after)


def test_a_profile_that_keeps_unused_bits_keeps_them_beside_an_overlay_of_its_own(decoder: DecoderProcess) -> None:
    image = np.random.default_rng(7).integers(0, 4096, size=(1, 6, 5, 1), dtype=np.uint16) | 0x8000
    dataset = made(image, "MONOCHROME2", ExplicitVRLittleEndian, stored=12)
    for tag, value in ((0x60000010, 6), (0x60000100, 1), (0x60000102, 0)):
        dataset.add_new(tag, "US", value)
    result, _ = written(dataset, planned(dataset, policy(action="Pass")), decoder, UnusedBits.KEEP)
    assert np.array_equal(np.frombuffer(result.PixelData, "<u2").reshape(image.shape), image)


def test_what_was_lost_is_still_said(decoder: DecoderProcess) -> None:
    """A lossy image stays one when it is decoded; the least and greatest values are not those of before."""
    import imagecodecs
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    image = np.random.default_rng(3).integers(0, 255, size=(1, 16, 16, 3), dtype=np.uint8)
    dataset = made(image, "RGB", ExplicitVRLittleEndian, stored=8)
    dataset.PixelData = encapsulate([bytes(imagecodecs.jpeg8_encode(image[0], level=80))])
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "YBR_FULL_422", 0
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = 1, 2
    what = planned(dataset, policy(mask=[{"left": 0, "top": 0, "height": 4}]))
    assert isinstance(what, Mask)
    result, _ = written(dataset, what, decoder)
    assert (result.LossyImageCompression, result.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(result.LossyImageCompressionRatio) == pytest.approx(image.size / len(block(dataset).value), rel=0.1)
    assert result.PhotometricInterpretation == "RGB"
    assert "SmallestImagePixelValue" not in result
    assert "LargestImagePixelValue" not in result
    assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(pixels(result)[:, 4:], pixels(dataset)[:, 4:])
