"""What lies in bits above BitsStored leaves no copy, whatever the layout; and pixels that have nothing there stay."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.facts import PixelElement
from adit.deid.pixels.piece import Kept
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.treatment import treated
from tests.unit.deid.pixels.images import made
from tests.unit.deid.pixels.objects import Array, block, facts, planned, raw, written

RULE: dict[str, Any] = {"name": "x", "when": {"all": [{"attribute": "Rows", "matches": "*"}]}}
PASS: dict[str, Any] = {"deviceRules": [{**RULE, "action": "Pass"}]}
MASK: dict[str, Any] = {"deviceRules": [{**RULE, "mask": [{"left": 0, "top": 0, "height": 1}]}]}
SHAPE = (2, 24, 40, 1)
LAYOUTS = [(16, 12, False), (16, 12, True), (16, 8, True), (16, 5, True), (16, 7, False), (8, 6, False), (8, 5, True)]
LAYOUTS += [(32, 20, True), (32, 12, True), (32, 12, False)]


def pixels_of(bits: int, stored: int, signed: bool, seed: int = 1) -> Array:
    low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
    drawn = np.random.default_rng(seed).integers(low, high, size=SHAPE, dtype=np.int64)
    return drawn.astype(f"<{'i' if signed else 'u'}{bits // 8}")


def hidden_in(image: Array, bits: int, stored: int) -> Array:
    """A bitmap in the highest bit: nobody's sign."""
    bitmap = np.zeros(SHAPE, np.int64)
    bitmap[:, 3:9, 5:30] = np.random.default_rng(2).integers(0, 2, size=(2, 6, 25, 1))
    unsigned = f"<u{bits // 8}"
    return np.asarray((image.view(unsigned) ^ (bitmap << (bits - 1)).astype(unsigned)).view(image.dtype))


def read(dataset: Dataset, like: Array, syntax: str) -> Array:
    dtype = like.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")
    found = np.frombuffer(raw(dataset, PixelElement.INTEGER)[: like.nbytes], dtype)
    return np.asarray(found.astype(like.dtype).reshape(like.shape))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(("bits", "stored", "signed"), LAYOUTS)
def test_native(decoder: DecoderProcess, syntax: str, bits: int, stored: int, signed: bool) -> None:
    image = pixels_of(bits, stored, signed)
    unextended = (image.view(f"<u{bits // 8}") & ((1 << stored) - 1)).astype(f"<u{bits // 8}").view(image.dtype)
    for plain in (image, unextended):
        dataset = made(plain, "MONOCHROME2", syntax, stored=stored)
        source = block(dataset)
        done = treated(facts(dataset), planned(dataset, PASS), source, decoder)
        assert list(done.pieces) == [Kept(0, source.length)], "nothing is there, and nothing is copied"
    dataset = made(hidden_in(image, bits, stored), "MONOCHROME2", syntax, stored=stored)
    result, _ = written(dataset, planned(dataset, PASS), decoder)
    assert np.array_equal(read(result, image, syntax), image)


def test_a_highest_bit_that_is_none(decoder: DecoderProcess) -> None:
    """Where the pixels lie cannot be told; but they lie somewhere."""
    image = pixels_of(16, 12, False)
    for pixels, passes in ((image, True), (image << 4, True), (image | 0x8000, False)):
        dataset = made(pixels, "MONOCHROME2", ExplicitVRLittleEndian, stored=12)
        dataset.HighBit = 15
        if passes:
            result, _ = written(dataset, planned(dataset, PASS), decoder)
            assert np.array_equal(read(result, pixels, ExplicitVRLittleEndian), pixels)
            continue
        with pytest.raises(PixelQuarantine) as refused:
            written(dataset, planned(dataset, PASS), decoder)
        assert refused.value.reason is PixelReason.UNUSED_BITS


def test_padding_is_not_made_a_pixel(decoder: DecoderProcess) -> None:
    """Some write a PixelPaddingValue of more bits than BitsStored: cleared, it would be in the midst of the pixels."""
    image = pixels_of(16, 12, False)
    image[:, :3] = 63536
    dataset = made(image, "MONOCHROME2", ExplicitVRLittleEndian, stored=12)
    dataset.add_new("PixelPaddingValue", "US", 63536)
    with pytest.raises(PixelQuarantine) as refused:
        written(dataset, planned(dataset, PASS), decoder)
    assert refused.value.reason is PixelReason.UNUSED_BITS
    image[:, :3] = 4095
    dataset = made(image, "MONOCHROME2", ExplicitVRLittleEndian, stored=12)
    dataset.add_new("PixelPaddingValue", "US", 4095)
    result, _ = written(dataset, planned(dataset, PASS), decoder)
    assert np.array_equal(read(result, image, ExplicitVRLittleEndian), image)


@pytest.mark.parametrize(("bits", "stored", "signed"), [(16, 12, False), (16, 12, True), (8, 6, False)])
@pytest.mark.parametrize("policy", [PASS, MASK], ids=["left", "masked"])
def test_run_lengths(decoder: DecoderProcess, policy: dict[str, Any], bits: int, stored: int, signed: bool) -> None:
    image = pixels_of(bits, stored, signed)
    image[:, 12:] = 3  # runs, too
    expected = image.copy()
    if policy is MASK:
        expected[:, :1] = 0
    for pixels in (image, hidden_in(image, bits, stored)):
        dataset = made(pixels, "MONOCHROME2", RLELossless, stored=stored)
        result, _ = written(dataset, planned(dataset, policy), decoder)
        assert np.array_equal(decoded(result).reshape(SHAPE), expected)
        if policy is PASS and pixels is image:
            assert result.PixelData == dataset.PixelData


def test_run_lengths_with_a_sign_further_down(decoder: DecoderProcess) -> None:
    """Whose sign a byte is cannot be told, as each byte of a sample has its own run lengths."""
    image = pixels_of(16, 5, True)
    plain = made(image, "MONOCHROME2", RLELossless, stored=5)
    assert written(plain, planned(plain, PASS), decoder)[0].PixelData == plain.PixelData
    dataset = made(hidden_in(image, 16, 5), "MONOCHROME2", RLELossless, stored=5)
    with pytest.raises(PixelQuarantine) as refused:
        written(dataset, planned(dataset, PASS), decoder)
    assert refused.value.reason is PixelReason.UNUSED_BITS


def decoded(dataset: Dataset) -> Array:
    """All bits that are allocated."""
    dataset.BitsStored, dataset.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    return np.asarray(dataset.pixel_array)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_lossless_compression_with_more_bits_than_are_stored(decoder: DecoderProcess, syntax: str) -> None:
    """Nothing in them: it stays. Something: it is refused, or cleared where it is decoded anyway."""
    image = pixels_of(16, 12, False)
    for pixels, dirty in ((image, False), (hidden_in(image, 16, 12), True)):
        dataset = made(image, "MONOCHROME2", ExplicitVRLittleEndian, stored=12)
        frames = [np.ascontiguousarray(frame[:, :, 0]) for frame in pixels]
        if syntax == JPEGLSLossless:
            encoded = [bytes(imagecodecs.jpegls_encode(frame)) for frame in frames]
        else:
            encoded = [bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="J2K")) for frame in frames]
        dataset.PixelData = encapsulate(encoded)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        masked, _ = written(dataset, planned(dataset, MASK), decoder)
        assert np.array_equal(read(masked, image, ExplicitVRLittleEndian)[:, 1:], image[:, 1:])
        if not dirty:
            result, _ = written(dataset, planned(dataset, PASS), decoder)
            assert np.array_equal(result.pixel_array.reshape(SHAPE), image)
            continue
        with pytest.raises(PixelQuarantine) as refused:
            written(dataset, planned(dataset, PASS), decoder)
        assert refused.value.reason is PixelReason.UNUSED_BITS


def test_words_in_an_offset_table_of_native_pixels(decoder: DecoderProcess) -> None:
    dataset = made(pixels_of(16, 16, False), "MONOCHROME2", ExplicitVRLittleEndian, stored=16)
    dataset.add_new(0x7FE00001, "OV", b"DOE^JANE")
    dataset.add_new(0x7FE00002, "OV", b"19760824")
    result, _ = written(dataset, planned(dataset, PASS), decoder)
    assert 0x7FE00001 not in result
    assert 0x7FE00002 not in result
