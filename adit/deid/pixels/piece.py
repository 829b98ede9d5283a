"""The new pixel value as pieces: ranges of the old one, which the kernel may move, and bytes that are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason


class Block(Protocol):
    """The value of the pixel element as it is, wherever that is.

    Of a native one: its bytes. Of an encapsulated one: its items from the Basic Offset Table's on, with the
    Sequence Delimitation Item.
    """

    @property
    def length(self) -> int: ...

    def read(self, start: int, count: int) -> bytes:
        """Exactly the bytes asked for; raises OSError when they cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes `start` to `end` (outside) of the block."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Patch:
    """New bytes for the block's from `start` on, as many as there are."""

    start: int
    data: bytes


Piece = Kept | bytes

LARGEST: Final = 2**20
"""How many new bytes a piece has at most."""


@dataclass(frozen=True, slots=True)
class MemoryBlock:
    """A block that is in memory already."""

    value: bytes | memoryview

    @property
    def length(self) -> int:
        return len(self.value)

    def read(self, start: int, count: int) -> bytes:
        data = bytes(self.value[start : start + count])
        if len(data) != count:
            raise PixelQuarantine(PixelReason.FRAGMENTS_DAMAGED, "the pixel data end early")
        return data


def patched(block: Block, patches: Iterable[Patch]) -> Iterator[Piece]:
    """The whole block with the patches made, which come in order and do not overlap.

    Patches near each other, as those of a rectangle's rows, become one piece together with what lies between.
    """
    at = 0
    for group in _near(patches):
        start, end = group[0].start, group[-1].start + len(group[-1].data)
        if start > at:
            yield Kept(at, start)
        if len(group) == 1:
            yield group[0].data
        else:
            extent = bytearray(block.read(start, end - start))
            for patch in group:
                extent[patch.start - start : patch.start - start + len(patch.data)] = patch.data
            yield bytes(extent)
        at = end
    if at < block.length:
        yield Kept(at, block.length)


_NEAR: Final = 2**16
"""Bytes between two patches that cost less to be read and written than to be moved by the kernel on their own."""


def _near(patches: Iterable[Patch]) -> Iterator[list[Patch]]:
    group: list[Patch] = []
    for patch in patches:
        if group and (
            patch.start - group[-1].start - len(group[-1].data) > _NEAR
            or patch.start + len(patch.data) - group[0].start > LARGEST
        ):
            yield group
            group = []
        group.append(patch)
    if group:
        yield group


def joined(pieces: Iterable[Piece], block: Block) -> Iterator[bytes]:
    """The pieces' bytes, for who cannot copy ranges."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        for start in range(piece.start, piece.end, LARGEST):
            yield block.read(start, min(LARGEST, piece.end - start))
