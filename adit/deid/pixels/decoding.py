"""Decodes one frame of the JPEG family to native pixels. Runs in `decoder_process` only: what it calls is native code.

imagecodecs wraps libjpeg-turbo, CharLS and OpenJPEG; numpy and it are imported here and nowhere else.
"""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from adit.deid.pixels.order import DecodingOrder, UnusableFrameError
from adit.deid.pixels.syntax import Coding

Pixels = NDArray[np.integer[Any]]


def decoded(order: DecodingOrder, frame: bytes) -> bytes:
    """Little endian, the samples of a pixel together. Raises UnusableFrameError."""
    try:
        pixels = _decode(order, frame)
    except (RuntimeError, ValueError, TypeError) as error:  # imagecodecs' own are RuntimeErrors
        raise UnusableFrameError(type(error).__name__) from error
    shape = (order.rows, order.columns) if order.samples == 1 else (order.rows, order.columns, order.samples)
    if pixels.shape != shape or pixels.dtype.kind not in "iu" or pixels.dtype.itemsize * 8 > order.bits:
        raise UnusableFrameError("it is another image than its header says")
    return _stored(order, pixels).tobytes()


def _decode(order: DecodingOrder, frame: bytes) -> Pixels:
    if order.coding is Coding.JPEG_2000:
        return np.asarray(imagecodecs.jpeg2k_decode(frame, numthreads=1))
    if order.coding is Coding.JPEG_LS:
        return np.asarray(imagecodecs.jpegls_decode(frame))
    if order.samples == 1:
        return np.asarray(imagecodecs.jpeg8_decode(frame))
    space = "YCbCr" if order.from_ybr else "RGB"
    return np.asarray(imagecodecs.jpeg8_decode(frame, colorspace=space, outcolorspace="RGB"))


def _stored(order: DecodingOrder, pixels: Pixels) -> Pixels:
    """In the bits allocated, the sign in all bits above those stored, whatever the codestream calls signed."""
    stored = pixels.astype(f"<{pixels.dtype.kind}{order.bits // 8}")
    if not order.signed:
        return stored
    shift = order.bits - order.stored
    signed: Pixels = (stored.astype(f"<i{order.bits // 8}") << shift) >> shift
    return signed
