"""Bits of native pixels and run lengths that hold no pixel: an overlay may lie there (retired, PS3.3 C.9.2), or a text.

Whoever drops an overlay's elements leaves its graphics there. Used by `treatment`. Most images have zeros there, or
the sign, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from adit.deid.pixels.facts import PixelElement, PixelFacts
from adit.deid.pixels.native import Matrix
from adit.deid.pixels.piece import LARGEST, Block, Kept, Piece
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason

_ANY: Final = bytes(range(256))
_SIGNS: Final = b"\0\xff"

Planes = dict[int, bytes]
"""Of some samples, by the byte's number in a sample, the lowest first: all their bytes of that number."""


@dataclass(frozen=True, slots=True)
class Way:
    """How unused bits may be filled: for each byte of a sample which values it may have then."""

    allowed: tuple[bytes, ...]

    def fits(self, planes: Planes) -> bool:
        return not any(plane.translate(None, self.allowed[number]) for number, plane in planes.items())


@dataclass(frozen=True, slots=True)
class StoredBits:
    """Which bits of a sample the pixels use. In one of the `ways` the others may be filled.

    Where the header makes a `contradiction` of it, nothing can be cleared.
    """

    sample_bytes: int
    big: bool
    ways: tuple[Way, ...]
    tables: tuple[bytes, ...]  # what each value of a byte becomes
    sign: tuple[int, bytes] | None  # the byte with the sign, and what those above it are by it
    numbers: tuple[int, ...]  # of the bytes that need a look
    contradiction: str = ""

    def without(self, data: bytes, ways: list[Way]) -> bytes:
        """The data itself where its unused bits are filled in one of the ways, all others of which go then. Raises
        PixelQuarantine."""
        size = self.sample_bytes
        end = len(data) - len(data) % size
        planes = {number: data[self._at(number) : end : size] for number in self.numbers}
        fitting = [way for way in ways if self._fits(way, planes)]
        if fitting:
            ways[:] = fitting
            return data
        made = bytearray(data)
        for number, plane in self.cleared(planes).items():
            made[self._at(number) : end : size] = plane
        return bytes(made)

    def takes(self, value: int) -> bool:
        """Whether a sample of these 16 bits is one of the pixels."""
        sample = value.to_bytes(max(2, self.sample_bytes), "little")
        planes = {number: sample[number : number + 1] for number in self.numbers}
        return any(self._fits(way, planes) for way in self.ways)

    def cleared(self, planes: Planes) -> Planes:
        """Raises PixelQuarantine."""
        if self.contradiction:
            raise PixelQuarantine(PixelReason.UNUSED_BITS, f"bits above BitsStored are set, and {self.contradiction}")
        made = {number: plane.translate(self.tables[number]) for number, plane in planes.items()}
        if self.sign is not None:
            number, table = self.sign
            signs = made[number].translate(table)
            made |= dict.fromkeys(range(number + 1, self.sample_bytes), signs)
        return made

    def _at(self, number: int) -> int:
        return self.sample_bytes - 1 - number if self.big else number

    def _fits(self, way: Way, planes: Planes) -> bool:
        if not way.fits(planes):
            return False
        if self.sign is None or way.allowed[-1] != _SIGNS:
            return True
        number, table = self.sign
        signs = planes[number].translate(table)
        return all(planes[above] == signs for above in range(number + 1, self.sample_bytes))


def stored_bits_of(facts: PixelFacts, matrix: Matrix, *, keeps: bool) -> StoredBits | None:
    """None where there are no others, or where they stay: `keeps` says so of those in which no overlay is.

    Raises PixelQuarantine when an overlay lies in bits that the pixels use.
    """
    has_room = facts.element is PixelElement.INTEGER and matrix.stored < matrix.bits
    overlaid = facts.embedded_overlays or (facts.untold_overlays and has_room)
    high = matrix.stored - 1 if facts.high_bit is None else facts.high_bit
    if overlaid and (
        not has_room
        or high != matrix.stored - 1
        or not all(matrix.stored <= position < matrix.bits for position in facts.embedded_overlays)
    ):
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "an overlay is in bits that its pixels use")
    if not has_room or (keeps and not overlaid):
        return None
    bits = _stored_bits(matrix.sample_bytes, matrix.stored, high, signed=matrix.signed, big=matrix.big)
    if all(bits.takes(value) for value in facts.padding):
        return bits
    return replace(bits, contradiction="PixelPaddingValue has some of them, too")  # cleared, it would be a pixel


def without_unused_bits(bits: StoredBits | None, pieces: Iterator[Piece], block: Block) -> Iterator[Piece]:
    """The pieces, which begin with a sample each; what stays as it is stays a range of the block."""
    if bits is None:
        yield from pieces
        return
    ways = list(bits.ways)
    begin = end = 0  # of what stays
    for start, data in _data_of(pieces, block):
        made = bits.without(data, ways)
        if start is not None and made is data:
            if start != end:
                if begin < end:
                    yield Kept(begin, end)
                begin = start
            end = start + len(data)
            continue
        if begin < end:
            yield Kept(begin, end)
        begin = end = 0
        yield made
    if begin < end:
        yield Kept(begin, end)


def _data_of(pieces: Iterator[Piece], block: Block) -> Iterator[tuple[int | None, bytes]]:
    """Each piece's bytes, and where they lie in the block if they are of it."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield None, piece
            continue
        for start in range(piece.start, piece.end, LARGEST):
            yield start, block.read(start, min(LARGEST, piece.end - start))


@lru_cache(100)
def _stored_bits(size: int, stored: int, high: int, *, signed: bool, big: bool) -> StoredBits:
    """Some write a HighBit that is none; then the pixels may lie where it says, or where they lie in general."""
    used = tuple(max(0, min(8, stored - 8 * number)) for number in range(size))
    ways = [_zeros((1 << stored) - 1, size)]
    tables: tuple[bytes, ...] = ()
    sign: tuple[int, bytes] | None = None
    if high != stored - 1:
        ways.append(_zeros(((1 << stored) - 1) << max(0, high + 1 - stored), size))
    else:
        tables = tuple(_table(count, signed=signed) for count in used)
        number, bit = divmod(stored - 1, 8)
        if signed and number < size - 1:
            sign = number, bytes(0xFF if each >> bit & 1 else 0 for each in _ANY)
        if signed:
            each = zip(used, tables, strict=True)
            ways.append(Way(tuple(_unchanged(table) if count else _SIGNS for count, table in each)))
    numbers = {number for way in ways for number, each in enumerate(way.allowed) if each != _ANY}
    numbers |= {sign[0]} if sign is not None else set()
    contradiction = "" if tables else "HighBit is not BitsStored - 1"
    return StoredBits(size, big, tuple(ways), tables, sign, tuple(sorted(numbers)), contradiction)


def _zeros(mask: int, size: int) -> Way:
    """Wherever the mask has none."""
    return Way(tuple(bytes(each for each in _ANY if not each & ~(mask >> 8 * number) & 0xFF) for number in range(size)))


def _unchanged(table: bytes) -> bytes:
    return bytes(each for each in _ANY if table[each] == each)


def _table(used: int, *, signed: bool) -> bytes:
    """Of a byte with so many bits of the pixel: what it becomes with the sign, or zeros, in the others."""
    mask = (1 << used) - 1
    extended = 0xFF & ~mask if signed and used else 0
    return bytes(each & mask | (extended if used and each >> (used - 1) & 1 else 0) for each in _ANY)
