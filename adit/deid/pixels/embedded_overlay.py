"""Overlays that lie in the unused bits of native pixels (retired, PS3.3 C.9.2): whoever drops the overlay's
elements leaves its graphics there. Their bits are cleared, and with them all that are not stored. Used by `treatment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from adit.deid.pixels.facts import PixelElement, PixelFacts
from adit.deid.pixels.native import Matrix
from adit.deid.pixels.piece import LARGEST, Block, Piece, joined
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason


def without_overlays(facts: PixelFacts, matrix: Matrix, pieces: Iterator[Piece], block: Block) -> Iterator[Piece]:
    """The pieces as they are when there is no such overlay. Raises PixelQuarantine when one lies in stored bits."""
    if not facts.embedded_overlays and not (facts.untold_overlays and _has_room(facts, matrix)):
        return pieces
    high = matrix.stored - 1 if facts.high_bit is None else facts.high_bit
    if (
        facts.element is not PixelElement.INTEGER
        or matrix.bits not in (8, 16)
        or high != matrix.stored - 1
        or not all(matrix.stored <= position < matrix.bits for position in facts.embedded_overlays)
    ):
        raise PixelQuarantine(PixelReason.FORMAT_UNSUPPORTED, "an overlay is in bits that its pixels use")
    order = "big" if matrix.big else "little"
    stored = ((1 << matrix.stored) - 1).to_bytes(matrix.sample_bytes, order)  # type: ignore[arg-type]
    return _cleared(pieces, block, int.from_bytes(stored * (LARGEST // len(stored)), "little"))


def _has_room(facts: PixelFacts, matrix: Matrix) -> bool:
    """Whether there are bits that an overlay could lie in."""
    return facts.element is PixelElement.INTEGER and matrix.stored < matrix.bits


def _cleared(pieces: Iterable[Piece], block: Block, stored: int) -> Iterator[Piece]:
    """Pieces begin with a sample, so that the bits to keep are at the same places in each."""
    for data in joined(pieces, block):
        yield (int.from_bytes(data, "little") & stored).to_bytes(len(data), "little")
