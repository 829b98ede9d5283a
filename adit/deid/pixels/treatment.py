"""Carries out a plan on an instance's pixel data. Called by the engine after `plan`, with the element's value.

What comes out is the new value in pieces, and what the header must say of it. Native pixels are never read, only
patched; RLE stays RLE; the JPEG family is decoded to native Explicit VR Little Endian: every system reads that, and
nothing outside the mask is compressed a second time. Frames come one after the other; memory holds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from adit.deid.pixels.codestream import Codestream, codestream_of
from adit.deid.pixels.decoder import Decoder
from adit.deid.pixels.encapsulation import Frame, encapsulated, frames_of, has_true_offsets
from adit.deid.pixels.facts import PixelElement, PixelFacts
from adit.deid.pixels.mask_area import MaskArea, Stretch
from adit.deid.pixels.native import Matrix, black, check_length, mask_patches, matrix_of
from adit.deid.pixels.order import DecodingOrder, RunLengthOrder, UnusableFrameError
from adit.deid.pixels.piece import Block, Kept, Patch, Piece, patched
from adit.deid.pixels.plan import Leave, Mask, Plan, Refuse
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason
from adit.deid.pixels.run_length import runs_of, segments, strays
from adit.deid.pixels.syntax import EXPLICIT_LITTLE, Coding, coding_of
from adit.deid.pixels.unused_bits import StoredBits, stored_bits_of, without_unused_bits
from adit.model.pixel_policy import UnusedBits

_FRAME_LIMIT: Final = 2**28  # bytes of one frame in memory, compressed or not
_ELEMENT_LIMIT: Final = 0xFFFFFFFE
_EXTENDED_TABLES: Final = (0x7FE00001, 0x7FE00002)
_METHODS: Final = {Coding.JPEG: b"ISO_10918_1 ", Coding.JPEG_LS: b"ISO_14495_1 ", Coding.JPEG_2000: b"ISO_15444_1 "}

WordsOf = Callable[[bytes], Sequence[Patch]]
"""Patches that overwrite what is not the image in a frame."""


@dataclass(frozen=True, slots=True)
class Change:
    """A top-level element's new value, in little endian and padded; None: it is removed."""

    tag: int
    vr: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Treated:
    """`length` is None when it is undefined: the pieces then hold the items and their delimiter.

    `pieces` may be gone through once, and may raise PixelQuarantine until the last: what was written by then must go.
    """

    transfer_syntax_uid: str
    vr: str
    length: int | None
    changes: tuple[Change, ...]
    pieces: Iterator[Piece]
    masked: bool


def treated(
    facts: PixelFacts, plan: Plan, block: Block, decoder: Decoder, unused_bits: UnusedBits = UnusedBits.CLEAR
) -> Treated:
    """Raises PixelQuarantine when the plan refuses, and when the pixel data are not what the header says."""
    if isinstance(plan, Refuse):
        raise PixelQuarantine(plan.reason, plan.detail)
    if facts.element is None:
        raise PixelQuarantine(PixelReason.HEADER_INCOMPLETE, "there are no pixels to treat")
    coding = coding_of(facts.transfer_syntax_uid)
    if coding is Coding.OTHER:
        return _unread(facts, plan, block)
    matrix = matrix_of(facts)
    keeps = unused_bits is UnusedBits.KEEP
    if coding is Coding.NATIVE:
        return _native(facts, matrix, plan, block, stored_bits_of(facts, matrix, keeps=keeps))
    if facts.embedded_overlays:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "overlays are in its compressed pixels")
    if facts.element is not PixelElement.INTEGER:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "compressed floating point")
    if matrix.length // matrix.frames > _FRAME_LIMIT:
        raise PixelQuarantine(PixelReason.FRAME_TOO_LARGE, f"a frame has {matrix.length // matrix.frames} bytes")
    frames, agree = frames_of(block, matrix.frames, facts.extended_offsets, one_each=coding is Coding.RLE)
    if any(frame.length > _FRAME_LIMIT for frame in frames):
        raise PixelQuarantine(PixelReason.FRAME_TOO_LARGE, f"a compressed frame has more than {_FRAME_LIMIT} bytes")
    bits = stored_bits_of(facts, matrix, keeps=keeps)
    if coding is Coding.RLE:
        return _run_length(facts, matrix, plan, block, frames, decoder, bits, agree=agree)
    if isinstance(plan, Mask):
        return _decoded(facts, matrix, coding, plan, block, frames, decoder, bits)
    return _checked(facts, matrix, coding, block, frames, decoder, bits, agree=agree)


def untouched_length(facts: PixelFacts, plan: Plan, unused_bits: UnusedBits) -> int | None:
    """How long pixel data are that stay as they are whatever their bytes; None where these must be looked at."""
    if not isinstance(plan, Leave) or coding_of(facts.transfer_syntax_uid) is not Coding.NATIVE:
        return None
    matrix = matrix_of(facts)
    if facts.extended_offsets is not None:
        return None
    return matrix.length if stored_bits_of(facts, matrix, keeps=unused_bits is UnusedBits.KEEP) is None else None


def _unread(facts: PixelFacts, plan: Leave | Mask, block: Block) -> Treated:
    """Video and what else we cannot look into: only on the word of a rule."""
    if isinstance(plan, Mask) or plan.rule is None:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "its transfer syntax cannot be looked into")
    if not has_true_offsets(block, facts.extended_offsets):
        raise PixelQuarantine(PixelReason.FRAMES_CONTRADICT_HEADER, "an offset table has something else than offsets")
    return _as_it_is(facts, None, iter((Kept(0, block.length),)))


def _as_it_is(facts: PixelFacts, length: int | None, pieces: Iterator[Piece]) -> Treated:
    vr = "OB" if length is None else facts.vr  # encapsulated pixels have no other (PS3.5 A.4)
    changes = () if length is None else _without_offsets(facts)
    return Treated(facts.transfer_syntax_uid, vr, length, changes, pieces, masked=False)


def _without_offsets(facts: PixelFacts) -> tuple[Change, ...]:
    """Where no frame lies at an offset, the tables could hold anything."""
    return tuple(Change(tag, "OV", None) for tag in _EXTENDED_TABLES if facts.extended_offsets is not None)


def _native(facts: PixelFacts, matrix: Matrix, plan: Leave | Mask, block: Block, bits: StoredBits | None) -> Treated:
    check_length(matrix, block)
    padding = [Patch(matrix.length, b"\0")] if block.length == matrix.length + 1 and not matrix.swapped else []
    blanks = mask_patches(matrix, plan.area) if isinstance(plan, Mask) else ()
    pieces = without_unused_bits(bits, patched(block, chain(blanks, padding)), block)
    if isinstance(plan, Leave):
        return _as_it_is(facts, block.length, pieces)
    return Treated(facts.transfer_syntax_uid, facts.vr, block.length, _said_of_a_mask(facts), pieces, masked=True)


def _said_of_a_mask(facts: PixelFacts, further: Iterable[Change] = ()) -> tuple[Change, ...]:
    """Nothing is burned in any more, and the least and greatest values may not be there any more."""
    changes = [
        Change(0x00280106, "US", None),
        Change(0x00280107, "US", None),
        Change(0x00280301, "CS", b"NO"),
        *further,
    ]
    if facts.label_in_image:
        changes.append(Change(0x00480010, "CS", b"NO"))
    changes += _without_offsets(facts)
    return tuple(sorted(changes, key=lambda change: change.tag))


def _run_length(
    facts: PixelFacts,
    matrix: Matrix,
    plan: Leave | Mask,
    block: Block,
    frames: Sequence[Frame],
    decoder: Decoder,
    bits: StoredBits | None,
    *,
    agree: bool,
) -> Treated:
    number = matrix.samples * max(1, matrix.sample_bytes)
    if isinstance(plan, Leave):
        for frame in frames:
            ((start, end),) = frame.fragments
            _sound_segments(block.read(start, min(64, end - start)), number, end - start)
        if matrix.bits == 1:
            raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "run lengths of single bits cannot be followed")
        pixels = matrix.rows * matrix.columns

        def words_of(frame: bytes) -> Sequence[Patch]:
            clean = _wordless(frame, stray := strays(frame, number, pixels))
            return sorted((*stray, *_in_runs(bits, clean, number, pixels)), key=lambda patch: patch.start)

        return _kept(facts, block, frames, words_of, agree=agree)
    if matrix.photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL") or matrix.bits == 1:
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "no mask is known for its PhotometricInterpretation")
    fills = tuple(byte for value in black(matrix) for byte in value.to_bytes(matrix.sample_bytes, "big"))
    area = plan.area

    def again() -> Iterator[bytes]:
        for index, frame in enumerate(frames):
            bands = area.bands(index)
            parts = tuple((band.y0, band.y1, x0, x1) for band in bands for x0, x1 in band.spans)
            made = decoder.do(RunLengthOrder(matrix.rows, matrix.columns, fills, parts), frame.read(block))
            yield _wordless(made, tuple(_in_runs(bits, made, number, matrix.rows * matrix.columns)))

    return Treated(
        facts.transfer_syntax_uid, "OB", None, _said_of_a_mask(facts), iter(encapsulated(again())), masked=True
    )


def _in_runs(bits: StoredBits | None, frame: bytes, number: int, pixels: int) -> Iterator[Patch]:
    """What clears unused bits of an RLE frame: each byte of a sample has its own run lengths, which stay."""
    if bits is None:
        return
    size = bits.sample_bytes
    for sample in range(number // size):
        spans = {each: runs_of(frame, number, sample * size + size - 1 - each, pixels) for each in bits.numbers}
        planes = {each: b"".join(frame[start:end] for start, end in found) for each, found in spans.items()}
        if any(way.fits(planes) for way in bits.ways):
            continue
        if bits.sign is not None:
            raise PixelQuarantine(PixelReason.UNUSED_BITS, "bytes above those with its pixels have something in them")
        for each, made in bits.cleared(planes).items():
            at = 0
            for start, end in spans.get(each, ()):
                value, at = made[at : at + end - start], at + end - start
                if value != frame[start:end]:
                    yield Patch(start, value)


def _sound_segments(header: bytes, number: int, length: int) -> None:
    """The header alone; `segments` is given as many bytes as the frame has, but no frame."""
    try:
        segments(header.ljust(length, b"\0"), number)
    except UnusableFrameError as error:
        raise PixelQuarantine(PixelReason.CODESTREAM_CONTRADICTS_HEADER, f"of a frame: {error}") from error


def _kept(facts: PixelFacts, block: Block, frames: Sequence[Frame], words_of: WordsOf, *, agree: bool) -> Treated:
    """Compressed frames that stay, without the words beside their image."""
    if not agree:
        read = (frame.read(block) for frame in frames)
        return _without_tables(facts, (_wordless(data, words_of(data)) for data in read))

    def patches() -> Iterator[Patch]:
        for frame in frames:
            yield from _placed(words_of(frame.read(block)), frame)

    return _as_it_is(facts, None, patched(block, patches()))


def _without_tables(facts: PixelFacts, frames: Iterator[bytes]) -> Treated:
    """Offset tables that lie are left out: each frame is one fragment then, which needs none."""
    changes = _without_offsets(facts)
    return Treated(facts.transfer_syntax_uid, "OB", None, changes, iter(encapsulated(frames)), masked=False)


def _checked(
    facts: PixelFacts,
    matrix: Matrix,
    coding: Coding,
    block: Block,
    frames: Sequence[Frame],
    decoder: Decoder,
    bits: StoredBits | None,
    *,
    agree: bool,
) -> Treated:
    """Each of the frames must be the image that the header tells, and have no other one in bits above it."""

    def words_of(frame: bytes) -> Sequence[Patch]:
        found = _codestream(matrix, frame)
        if bits is not None and found.precision > matrix.stored and not found.lossy:
            order = DecodingOrder(
                coding, matrix.rows, matrix.columns, matrix.samples, matrix.bits, matrix.bits, False, False
            )
            pixels = decoder.do(order, frame)
            if bits.without(pixels, list(bits.ways)) is not pixels:
                raise PixelQuarantine(PixelReason.UNUSED_BITS, "bits above BitsStored are set in its compressed pixels")
        return found.words

    return _kept(facts, block, frames, words_of, agree=agree)


def _codestream(matrix: Matrix, frame: bytes) -> Codestream:
    found = codestream_of(frame, len(frame))
    told = (matrix.rows, matrix.columns, matrix.samples)
    if (found.rows, found.columns, found.components) != told or found.precision > matrix.bits:
        raise PixelQuarantine(
            PixelReason.CODESTREAM_CONTRADICTS_HEADER,
            f"a frame has {found.columns} x {found.rows} pixels of {found.components} samples, "
            f"where the header has {matrix.columns} x {matrix.rows} of {matrix.samples}",
        )
    return found


def _wordless(frame: bytes, words: Iterable[Patch]) -> bytes:
    data = bytearray(frame)
    for word in words:
        data[word.start : word.start + len(word.data)] = word.data
    return bytes(data)


def _placed(words: Sequence[Patch], frame: Frame) -> Iterator[Patch]:
    """A frame's patches as patches of the block: a frame may lie in several fragments."""
    at = 0
    for start, end in frame.fragments:
        for word in words:
            first, last = max(word.start, at), min(word.start + len(word.data), at + end - start)
            if first < last:
                yield Patch(start + first - at, word.data[first - word.start : last - word.start])
        at += end - start


def _decoded(
    facts: PixelFacts,
    matrix: Matrix,
    coding: Coding,
    plan: Mask,
    block: Block,
    frames: Sequence[Frame],
    decoder: Decoder,
    bits: StoredBits | None,
) -> Treated:
    """To native pixels, the samples of a pixel together."""
    if matrix.bits not in (8, 16, 32):
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, f"{matrix.bits} bits allocated, compressed")
    first = _codestream(matrix, frames[0].read(block))
    from_ybr = _is_ybr(matrix, coding, first)
    photometric = _photometric(matrix, coding, first, from_ybr=from_ybr)
    native = Matrix(
        rows=matrix.rows,
        columns=matrix.columns,
        frames=matrix.frames,
        samples=matrix.samples,
        bits=matrix.bits,
        stored=matrix.stored,
        signed=matrix.signed,
        planar=False,
        photometric=photometric,
        big=False,
        words=matrix.bits > 8,
    )
    length = native.length + native.length % 2
    if length > _ELEMENT_LIMIT:
        raise PixelQuarantine(PixelReason.FRAME_TOO_LARGE, f"{length} bytes of pixels do not fit into an element")
    order = DecodingOrder(
        coding, native.rows, native.columns, native.samples, native.bits, native.stored, native.signed, from_ybr
    )
    one = native.length // native.frames
    _blanks(native, plan.area, 0)  # refuses a format before anything is written

    def pieces() -> Iterator[bytes]:
        for index, frame in enumerate(frames):
            data = frame.read(block)
            found = _codestream(matrix, data)
            if (_is_ybr(matrix, coding, found), found.precision) != (from_ybr, first.precision):
                raise PixelQuarantine(PixelReason.CODESTREAM_CONTRADICTS_HEADER, "its frames differ in their colours")
            pixels = bytearray(decoder.do(order, data))
            if len(pixels) != one:
                raise PixelQuarantine(PixelReason.CODESTREAM_DAMAGED, "a frame was decoded to another size")
            for patch in _blanks(native, plan.area, index):
                pixels[patch.start : patch.start + len(patch.data)] = patch.data
            made = bytes(pixels)
            yield made if bits is None else bits.without(made, list(bits.ways))
        if length > native.length:
            yield b"\0"

    compressed = sum(frame.length for frame in frames)
    changes = _said_of_a_mask(facts, _said_of_decoding(facts, native, coding, first, compressed))
    return Treated(EXPLICIT_LITTLE, "OW" if native.bits > 8 else "OB", length, changes, pieces(), masked=True)


def _is_ybr(matrix: Matrix, coding: Coding, codestream: Codestream) -> bool:
    """Whether a lossy JPEG frame holds Y, Cb and Cr: what it tells itself counts more than the header."""
    if coding is not Coding.JPEG or matrix.samples != 3 or not codestream.lossy:
        return False
    return matrix.photometric != "RGB" if codestream.ybr is None else codestream.ybr


def _photometric(matrix: Matrix, coding: Coding, codestream: Codestream, *, from_ybr: bool) -> str:
    """Of the decoded pixels: RGB wherever a codec undoes the transform, else what the header says."""
    if matrix.samples == 1:
        return matrix.photometric
    undone = coding is Coding.JPEG_2000 and (codestream.ybr is False or matrix.photometric in ("YBR_ICT", "YBR_RCT"))
    if from_ybr or undone or (coding is Coding.JPEG and codestream.lossy):
        return "RGB"
    return "YBR_FULL" if matrix.photometric.startswith("YBR_FULL") else matrix.photometric


def _blanks(native: Matrix, area: MaskArea, frame: int) -> Iterator[Patch]:
    """The patches of one frame, counted from the frame's first byte."""
    one = MaskArea(area.rows, area.columns, (Stretch(0, 1, area.bands(frame)),))
    return mask_patches(native, one)


def _said_of_decoding(
    facts: PixelFacts, native: Matrix, coding: Coding, codestream: Codestream, compressed: int
) -> Iterator[Change]:
    """What was lost stays lost, and the header goes on saying so (PS3.3 C.7.6.1.1.5)."""
    yield Change(0x00280004, "CS", _even(native.photometric))
    if native.samples > 1:
        yield Change(0x00280006, "US", b"\0\0")
    if codestream.lossy:
        yield Change(0x00282110, "CS", b"01")
        if not facts.lossy_ratio:
            ratio = f"{native.length / max(1, compressed):.2f}"
            yield Change(0x00282112, "DS", _even(ratio))
            yield Change(0x00282114, "CS", _METHODS[coding])


def _even(text: str) -> bytes:
    value = text.encode("ascii")
    return value + b" " * (len(value) % 2)
