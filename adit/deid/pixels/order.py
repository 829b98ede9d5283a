"""What `treatment` may ask of the codecs, each for one frame. Carried by `decoder`, done in `decoder_process`."""

from __future__ import annotations

from dataclasses import dataclass

from adit.deid.pixels.syntax import Coding


@dataclass(frozen=True, slots=True)
class DecodingOrder:
    """Decode to native pixels. What the frame must turn out to be, and whether its colours are to be made RGB."""

    coding: Coding
    rows: int
    columns: int
    samples: int
    bits: int  # allocated
    stored: int
    signed: bool
    from_ybr: bool  # lossy JPEG of Y, Cb, Cr: to RGB


@dataclass(frozen=True, slots=True)
class RunLengthOrder:
    """Blank parts of an RLE frame: `fills` has the byte of each plane; of a part, rows y0 to y1, columns x0 to x1."""

    rows: int
    columns: int
    fills: tuple[int, ...]
    parts: tuple[tuple[int, int, int, int], ...]


Order = DecodingOrder | RunLengthOrder


class UnusableFrameError(ValueError):
    """The frame is damaged, or not what was said of it. The text names no value."""
