"""The part of an image that is blanked, frame by frame: rectangles made disjoint and put in order. Made by `plan`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """Columns x0 to x1 and rows y0 to y1 of frames `first` to `last`, counted from 0, the ends outside."""

    x0: int
    y0: int
    x1: int
    y1: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Band:
    """Rows y0 to y1 (outside), of each the columns of `spans`: disjoint, not adjacent, in order."""

    y0: int
    y1: int
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames `first` to `last` (outside), from 0, with the same bands in order; none where nothing is blanked."""

    first: int
    last: int
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class MaskArea:
    """All frames, in stretches that are in order and leave none out."""

    rows: int
    columns: int
    stretches: tuple[Stretch, ...]

    @property
    def empty(self) -> bool:
        return not any(stretch.bands for stretch in self.stretches)

    def bands(self, frame: int) -> tuple[Band, ...]:
        return next((each.bands for each in self.stretches if each.first <= frame < each.last), ())


def inside(boxes: Sequence[Box], rows: int, columns: int, frames: int) -> MaskArea:
    """What the boxes cover."""
    return _area(boxes, rows, columns, frames, outside=False)


def outside(boxes: Sequence[Box], rows: int, columns: int, frames: int) -> MaskArea:
    """What the boxes leave."""
    return _area(boxes, rows, columns, frames, outside=True)


def _area(boxes: Sequence[Box], rows: int, columns: int, frames: int, *, outside: bool) -> MaskArea:
    cuts = sorted({0, frames, *(each for box in boxes for each in (box.first, box.last))})
    stretches = []
    for first, last in itertools.pairwise(cuts):
        there = [box for box in boxes if box.first <= first and box.last >= last]
        stretches.append(Stretch(first, last, tuple(_bands(there, rows, columns, outside=outside))))
    return MaskArea(rows, columns, tuple(stretches))


def _bands(boxes: Sequence[Box], rows: int, columns: int, *, outside: bool) -> Iterable[Band]:
    cuts = sorted({0, rows, *(each for box in boxes for each in (box.y0, box.y1))})
    for y0, y1 in itertools.pairwise(cuts):
        spans = _united((box.x0, box.x1) for box in boxes if box.y0 <= y0 and box.y1 >= y1)
        if outside:
            spans = _rest(spans, columns)
        if spans:
            yield Band(y0, y1, spans)


def _united(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    united: list[tuple[int, int]] = []
    for x0, x1 in sorted(spans):
        if united and x0 <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], x1))
        else:
            united.append((x0, x1))
    return tuple(united)


def _rest(spans: Sequence[tuple[int, int]], columns: int) -> tuple[tuple[int, int], ...]:
    edges = [0, *(edge for span in spans for edge in span), columns]
    return tuple((x0, x1) for x0, x1 in zip(edges[::2], edges[1::2], strict=True) if x0 < x1)
