"""Images of every layout that DICOM knows, with random pixels. Used by this folder's tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import imagecodecs
import numpy as np
from hypothesis import strategies as st
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
)

from tests.unit.deid.pixels.objects import Array, reread

NATIVE: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
LOSSLESS: Final = (RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1)


@dataclass(frozen=True)
class Image:
    """`stored` has all frames, rows, columns and samples as they are to be read again."""

    dataset: Dataset
    stored: Array


@st.composite
def images(draw: st.DrawFn, syntaxes: tuple[str, ...]) -> Image:
    syntax = draw(st.sampled_from(syntaxes))
    compressed = syntax in LOSSLESS
    photometric = draw(st.sampled_from(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL")))
    samples = 3 if photometric in ("RGB", "YBR_FULL") else 1
    signed = samples == 1 and photometric != "PALETTE COLOR" and draw(st.booleans())
    if syntax == JPEGLosslessSV1:
        signed = False
    sizes = [8, 16] if compressed or photometric == "PALETTE COLOR" else [8, 16, 32]
    if photometric == "YBR_FULL" or (samples == 3 and compressed and syntax != RLELossless):
        sizes = [8]
    bits = draw(st.sampled_from(sizes))
    if syntax == ExplicitVRBigEndian and photometric == "YBR_FULL":
        photometric = "RGB"
    stored = bits if compressed and syntax != RLELossless else draw(st.integers(bits // 2 + 1, bits))
    rows, columns, frames = draw(st.integers(1, 20)), draw(st.integers(1, 20)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = (-(1 << (stored - 1)), 1 << (stored - 1)) if signed else (0, 1 << stored)
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    pixels = rng.integers(low, high, size=(frames, rows, columns, samples), dtype=np.int64).astype(kind)
    planar = samples == 3 and not compressed and draw(st.booleans())
    words = bits == 8 and draw(st.booleans())
    return Image(made(pixels, photometric, syntax, stored=stored, planar=planar, words=words), pixels)


def made(
    pixels: Array, photometric: str, syntax: str, *, stored: int, planar: bool = False, words: bool = False
) -> Dataset:
    """An ultrasound object with these pixels: frames, rows, columns, samples."""
    frames, rows, columns, samples = pixels.shape
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.SOPClassUID = UltrasoundMultiFrameImageStorage
    dataset.SOPInstanceUID = "2.25.1"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, photometric
    if samples > 1:
        dataset.PlanarConfiguration = int(planar)
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames, rows, columns
    dataset.BitsAllocated, dataset.BitsStored = pixels.dtype.itemsize * 8, stored
    dataset.HighBit, dataset.PixelRepresentation = stored - 1, int(pixels.dtype.kind == "i")
    if photometric == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):
            setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [2, 0, 16])
            setattr(dataset, f"{colour}PaletteColorLookupTableData", b"\0\0\xff\xff")
    if syntax in LOSSLESS:
        dataset.PixelData = encapsulate([_encoded(frame, syntax, dataset) for frame in pixels])
    else:
        laid = pixels.transpose(0, 3, 1, 2) if planar else pixels
        big = syntax == ExplicitVRBigEndian
        value = laid.astype(laid.dtype.newbyteorder(">" if big else "<")).tobytes()
        value += b"\0" * (len(value) % 2)
        dataset.PixelData = np.frombuffer(value, "<u2").byteswap().tobytes() if big and words else value
    dataset["PixelData"].VR = "OB" if syntax in LOSSLESS or (dataset.BitsAllocated == 8 and not words) else "OW"
    return reread(dataset)


def _encoded(frame: Array, syntax: str, dataset: Dataset) -> bytes:
    image: Any = np.ascontiguousarray(frame[:, :, 0] if frame.shape[2] == 1 else frame)
    if syntax == RLELossless:
        bits = image.dtype.itemsize * 8
        encoded = get_encoder(RLELossless).encode(
            image.view(f"u{image.dtype.itemsize}"),
            encoding_plugin="pydicom",
            photometric_interpretation="MONOCHROME2" if image.ndim == 2 else "RGB",
            number_of_frames=1,
            samples_per_pixel=frame.shape[2],
            planar_configuration=0,
            rows=frame.shape[0],
            columns=frame.shape[1],
            bits_allocated=bits,
            bits_stored=bits,
            pixel_representation=0,
        )
        return bytes(encoded)
    if syntax == JPEGLSLossless:
        return bytes(imagecodecs.jpegls_encode(image.view(f"u{image.dtype.itemsize}")))
    if syntax == JPEG2000Lossless:
        return bytes(imagecodecs.jpeg2k_encode(image, level=0, codecformat="J2K", mct=False, reversible=True))
    return bytes(
        imagecodecs.jpeg8_encode(
            image,
            lossless=True,
            colorspace="RGB" if image.ndim == 3 else None,
            outcolorspace="RGB" if image.ndim == 3 else None,
        )
    )
