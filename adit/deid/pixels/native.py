"""Where each pixel lies in native pixel data (PS3.5 8.2, PS3.3 C.7.6.3.1), and the patches that blank some.

Used by `treatment`. Nothing is read: a mask of a 200 MB object is a list of the bytes that change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from adit.deid.pixels.facts import PixelElement, PixelFacts
from adit.deid.pixels.mask_area import Band, MaskArea
from adit.deid.pixels.piece import LARGEST, Block, Patch
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason

_SUBSAMPLED: Final = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})
_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
_COLOUR: Final = frozenset({"RGB", "YBR_FULL"})


@dataclass(frozen=True, slots=True)
class Matrix:
    """The numbers that say how pixels lie, complete and consistent."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits: int  # allocated
    stored: int
    signed: bool
    planar: bool  # each sample's plane on its own
    photometric: str
    big: bool
    words: bool  # VR OW: what bytes lie in when it is big endian

    @property
    def frame_bits(self) -> int:
        if self.photometric in _SUBSAMPLED:
            return self.rows * self.columns * 2 * self.bits
        return self.rows * self.columns * self.samples * self.bits

    @property
    def length(self) -> int:
        """Of the value, without padding: frames of single bits follow each other within a byte (PS3.5 8.1.1)."""
        return (self.frame_bits * self.frames + 7) // 8

    @property
    def swapped(self) -> bool:
        """Whether each two bytes stand in the other order: single bytes in big-endian words."""
        return self.big and self.words and self.bits == 8

    @property
    def sample_bytes(self) -> int:
        return self.bits // 8


def matrix_of(facts: PixelFacts) -> Matrix:
    """Raises PixelQuarantine when the header does not say enough, or contradicts itself."""
    names = ("rows", "columns", "samples_per_pixel", "bits_allocated")
    missing = [name for name in names if not getattr(facts, name)]
    if missing or not facts.photometric_interpretation:
        raise PixelQuarantine(
            PixelReason.HEADER_INCOMPLETE, f"{missing[0] if missing else 'photometric_interpretation'} is absent or 0"
        )
    assert facts.rows and facts.columns and facts.samples_per_pixel and facts.bits_allocated  # noqa: S101, PT018
    stored = facts.bits_stored or facts.bits_allocated
    if facts.bits_allocated not in (1, 8, 16, 32, 64) or stored > facts.bits_allocated:
        raise PixelQuarantine(
            PixelReason.FORMAT_UNSUPPORTED, f"{stored} bits are stored in {facts.bits_allocated} allocated"
        )
    photometric = facts.photometric_interpretation
    if photometric in _GREY and facts.samples_per_pixel != 1:
        raise PixelQuarantine(PixelReason.HEADER_MALFORMED, f"{facts.samples_per_pixel} samples of a grey pixel")
    if (photometric == "RGB" or photometric.startswith("YBR_")) and facts.samples_per_pixel != 3:
        raise PixelQuarantine(PixelReason.HEADER_MALFORMED, f"{facts.samples_per_pixel} samples of a colour pixel")
    planar = facts.planar_configuration or 0
    if planar > 1:
        raise PixelQuarantine(PixelReason.HEADER_MALFORMED, f"PlanarConfiguration is {planar}")
    return Matrix(
        rows=facts.rows,
        columns=facts.columns,
        frames=facts.frames,
        samples=facts.samples_per_pixel,
        bits=facts.bits_allocated,
        stored=stored,
        signed=facts.pixel_representation == 1 and facts.element is PixelElement.INTEGER,
        planar=planar == 1 and facts.samples_per_pixel > 1,
        photometric=photometric,
        big=facts.big_endian,
        words=facts.vr == "OW",
    )


def check_length(matrix: Matrix, block: Block) -> None:
    """Raises PixelQuarantine unless the value is as long as the header says; behind that, zeros may follow.

    Anything else would be bytes that no reader shows and no mask reaches; less, an image that is not whole.
    """
    rest = block.length - matrix.length
    if rest < 0 or any(
        any(block.read(start, min(LARGEST, block.length - start)))
        for start in range(matrix.length + (rest == 1), block.length, LARGEST)  # a byte of padding may be any
    ):
        raise PixelQuarantine(
            PixelReason.LENGTH_CONTRADICTS_HEADER,
            f"{block.length} bytes of pixels where the header makes {matrix.length}",
        )


def black(matrix: Matrix) -> tuple[int, ...]:
    """The stored value of each sample that shows black; of a palette, and of signed greys, simply 0."""
    if matrix.photometric == "MONOCHROME1":
        return ((1 << (matrix.stored - matrix.signed)) - 1,)
    if matrix.photometric.startswith("YBR_PARTIAL"):
        return 1 << max(0, matrix.stored - 4), 1 << (matrix.stored - 1), 1 << (matrix.stored - 1)
    if matrix.photometric.startswith("YBR_FULL"):
        return 0, 1 << (matrix.stored - 1), 1 << (matrix.stored - 1)
    return (0,) * matrix.samples


def mask_patches(matrix: Matrix, area: MaskArea) -> Iterator[Patch]:
    """The bytes that blank the area, in order. Raises PixelQuarantine at once when the format is beyond it."""
    if matrix.bits == 1:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "single bits are not masked")
    if matrix.photometric not in _GREY | _COLOUR | _SUBSAMPLED:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "no mask is known for its PhotometricInterpretation")
    if matrix.photometric in _SUBSAMPLED and (matrix.columns % 2 or matrix.bits != 8):
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "it is subsampled, but not in pairs of bytes")
    if not matrix.swapped:
        return _filled(_ranges(matrix, area))
    if any(black(matrix)[1:]) or matrix.photometric in _SUBSAMPLED:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "colour differences lie swapped in big-endian words")
    return (each for patch in _filled(_ranges(matrix, area)) for each in _swapped(patch))


def _ranges(matrix: Matrix, area: MaskArea) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and the repeated pattern of each part of a row, in order."""
    order = "big" if matrix.big else "little"
    values = [value.to_bytes(matrix.sample_bytes, order) for value in black(matrix)]  # type: ignore[arg-type]
    if matrix.photometric in _SUBSAMPLED:  # Y Y Cb Cr for each two pixels
        planes, pixel, patterns = 1, 2, [values[0] * 2 + values[1] + values[2]]
    elif matrix.planar:
        planes, pixel, patterns = matrix.samples, matrix.sample_bytes, values
    else:
        planes, pixel, patterns = 1, matrix.sample_bytes * matrix.samples, [b"".join(values)]
    row = matrix.columns * pixel
    for stretch in area.stretches:
        bands = tuple(_paired(band) for band in stretch.bands) if matrix.photometric in _SUBSAMPLED else stretch.bands
        for frame in range(stretch.first, stretch.last) if bands else ():
            for plane in range(planes):
                base = (frame * planes + plane) * matrix.rows * row
                for band in bands:
                    if band.spans == ((0, matrix.columns),):
                        yield base + band.y0 * row, base + band.y1 * row, patterns[plane]
                        continue
                    for y in range(band.y0, band.y1):
                        for x0, x1 in band.spans:
                            yield base + y * row + x0 * pixel, base + y * row + x1 * pixel, patterns[plane]


def _paired(band: Band) -> Band:
    """Two pixels share their colour: both are blanked when one is."""
    spans: list[tuple[int, int]] = []
    for x0, x1 in band.spans:
        x0, x1 = x0 - x0 % 2, x1 + x1 % 2
        if spans and x0 <= spans[-1][1]:
            x0 = spans.pop()[0]
        spans.append((x0, x1))
    return Band(band.y0, band.y1, tuple(spans))


def _filled(ranges: Iterator[tuple[int, int, bytes]]) -> Iterator[Patch]:
    """Ranges that touch become one; no patch is larger than LARGEST."""
    start = end = 0
    pattern = b""
    for begin, stop, fill in ranges:
        if begin == end and fill == pattern:
            end = stop
            continue
        yield from _fill(start, end, pattern)
        start, end, pattern = begin, stop, fill
    yield from _fill(start, end, pattern)


def _swapped(patch: Patch) -> Iterator[Patch]:
    """A patch of one repeated byte, where the byte before an odd place stands behind it."""
    start, end = patch.start, patch.start + len(patch.data)
    if start % 2:
        yield Patch(start - 1, patch.data[:1])
        start += 1
    if end - end % 2 > start:
        yield Patch(start, patch.data[: end - end % 2 - start])
    if end % 2 and end > start:
        yield Patch(end, patch.data[:1])


def _fill(start: int, end: int, pattern: bytes) -> Iterator[Patch]:
    if start == end:
        return
    step = LARGEST - LARGEST % len(pattern)
    whole = pattern * (min(step, end - start) // len(pattern))
    for at in range(start, end, step):
        yield Patch(at, whole if end - at >= len(whole) else whole[: end - at])
