"""Encapsulated pixel data (PS3.5 A.4): which bytes belong to which frame, and how frames are written.

The items are what counts; offset tables are believed only where they agree with them. Used by `treatment`.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from adit.deid.pixels.piece import Block
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason

_ITEM: Final = 0xFFFEE000
_DELIMITER: Final = 0xFFFEE0DD
DELIMITATION: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")  # SOI, SOC

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Frame:
    """The fragments that make up one frame, each its start and end in the block."""

    fragments: tuple[Span, ...]

    @property
    def length(self) -> int:
        return sum(end - start for start, end in self.fragments)

    def read(self, block: Block) -> bytes:
        return b"".join(block.read(start, end - start) for start, end in self.fragments)


def frames_of(
    block: Block, frames: int, extended: Sequence[tuple[int, int]] | None, *, one_each: bool
) -> tuple[list[Frame], bool]:
    """The frames, and whether the offset tables that there are agree with them.

    `one_each`: the transfer syntax allows one fragment a frame (RLE). Raises PixelQuarantine when the items are
    damaged, or do not make up the number of frames.
    """
    table, fragments = _items(block)
    if len(fragments) < frames:
        raise PixelQuarantine(
            PixelReason.FRAMES_CONTRADICT_HEADER, f"{len(fragments)} fragments cannot hold {frames} frames"
        )
    starts, agree = _starts(block, table, fragments, frames, extended, one_each=one_each)
    ends = [*starts[1:], len(fragments)]
    return [Frame(tuple(fragments[a:b])) for a, b in zip(starts, ends, strict=True)], agree


def has_true_offsets(block: Block, extended: Sequence[tuple[int, int]] | None) -> bool:
    """Whether the offset tables of fragments that nobody looks into tell of these, and of nothing else."""
    table, fragments = _items(block)
    lengths = {start - 8 - (fragments[0][0] - 8): end - start for start, end in fragments}
    if not all(a < b for a, b in itertools.pairwise(table)) or not lengths.keys() >= set(table):
        return False
    return all(offset in lengths and length <= lengths[offset] <= length + 1 for offset, length in extended or ())


def _items(block: Block) -> tuple[tuple[int, ...], list[Span]]:
    """The Basic Offset Table, and each fragment's place."""
    spans: list[Span] = []
    at = 0
    while True:
        if at + 8 > block.length:
            raise PixelQuarantine(PixelReason.FRAGMENTS_DAMAGED, "the fragments end without a delimiter")
        group, number, length = struct.unpack("<HHI", block.read(at, 8))
        tag, at = group << 16 | number, at + 8
        if tag == _DELIMITER and length == 0:
            break
        if tag != _ITEM or length % 2 or at + length > block.length:
            raise PixelQuarantine(PixelReason.FRAGMENTS_DAMAGED, "a fragment is no item, odd, or longer than the rest")
        spans.append((at, at + length))
        at += length
    if at != block.length or not spans:
        raise PixelQuarantine(PixelReason.FRAGMENTS_DAMAGED, "no offset table, or bytes behind the delimiter")
    start, end = spans[0]
    if (end - start) % 4:
        raise PixelQuarantine(PixelReason.FRAGMENTS_DAMAGED, "the Basic Offset Table is not made of offsets")
    table = struct.unpack(f"<{(end - start) // 4}I", block.read(start, end - start)) if end > start else ()
    return table, spans[1:]


def _starts(
    block: Block,
    table: Sequence[int],
    fragments: Sequence[Span],
    frames: int,
    extended: Sequence[tuple[int, int]] | None,
    *,
    one_each: bool,
) -> tuple[list[int], bool]:
    """The index of each frame's first fragment, and whether the tables agree with it."""
    begin = fragments[0][0] - 8
    index_of = {start - 8 - begin: index for index, (start, _) in enumerate(fragments)}
    offsets = [offset for offset, _ in extended] if extended is not None else list(table)
    told = [index_of.get(offset, -1) for offset in offsets]
    usable = len(told) == frames and told[0] == 0 and all(a < b for a, b in itertools.pairwise(told))
    if extended is not None and usable:
        usable = (
            all(
                length <= fragments[index][1] - fragments[index][0] <= length + 1
                for index, (_, length) in zip(told, extended, strict=True)
            )
            and len(fragments) == frames
        )
    if len(fragments) == frames:
        return list(range(frames)), not offsets or (usable and told == list(range(frames)))
    if not one_each and frames == 1:
        return [0], not offsets or usable
    if not one_each and usable:
        return told, True
    starts = [
        index for index, (start, end) in enumerate(fragments) if end - start >= 2 and block.read(start, 2) in _STARTS
    ]
    if not one_each and not offsets and len(starts) == frames and starts[0] == 0:
        return starts, True
    raise PixelQuarantine(
        PixelReason.FRAMES_CONTRADICT_HEADER, f"{len(fragments)} fragments do not tell where {frames} frames begin"
    )


def encapsulated(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Each frame as one fragment, with an empty offset table in front and the delimiter behind."""
    yield struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    for frame in frames:
        yield struct.pack("<HHI", 0xFFFE, 0xE000, len(frame) + len(frame) % 2) + frame + b"\0" * (len(frame) % 2)
    yield DELIMITATION
