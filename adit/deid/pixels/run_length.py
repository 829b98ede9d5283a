"""Frames of the RLE transfer syntax (PS3.5 annex G): their header, what is no image in them, and masks plane by plane.

`segments` and `strays` are `treatment`'s; `masked` runs in `decoder_process`, as pylibjpeg-rle panics over some damaged
frames.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Final

from adit.deid.pixels.order import RunLengthOrder, UnusableFrameError
from adit.deid.pixels.piece import Patch

_HEADER: Final = struct.Struct("<16I")


def segments(frame: bytes, number: int) -> list[bytes]:
    """Each byte plane as it is encoded. Raises UnusableFrameError unless the header is sound and has that number."""
    if len(frame) < _HEADER.size:
        raise UnusableFrameError("it is shorter than its header")
    count, *offsets = _HEADER.unpack_from(frame)
    if count != number:
        raise UnusableFrameError(f"it has {count} segments, not {number}")
    edges = [*offsets[:count], len(frame)]
    if edges[0] != _HEADER.size or any(a >= b for a, b in itertools.pairwise(edges)):
        raise UnusableFrameError("its segments overlap or lie outside it")
    return [frame[a:b] for a, b in itertools.pairwise(edges)]


def strays(frame: bytes, number: int, pixels: int) -> tuple[Patch, ...]:
    """What overwrites all that no decoder makes pixels of: offsets that are not used, and bytes behind each plane.

    Raises UnusableFrameError as `segments` does.
    """
    found: list[Patch] = []
    start = _HEADER.size
    found.extend(_blank(frame, 4 + 4 * number, start))
    for segment in segments(frame, number):
        end = start + len(segment)
        at, spare = _decoded_end(frame, start, end, pixels)
        if at - spare < end - 1:  # one byte is padding, whatever it is
            found.extend(_blank(frame, at - spare, end))
        start = end
    return tuple(found)


def runs_of(frame: bytes, number: int, index: int, pixels: int) -> list[tuple[int, int]]:
    """Where the bytes lie that a decoder takes for values of this plane. The frame has a sound header."""
    edges = [*_HEADER.unpack_from(frame)[1 : 1 + number], len(frame)]
    at, end = edges[index], edges[index + 1]
    found: list[tuple[int, int]] = []
    while pixels > 0 and at < end:
        head = frame[at]
        count, length = (head + 1, head + 1) if head < 128 else (1, 257 - head)
        if head != 128:
            found.append((at + 1, min(at + 1 + count, end)))
            pixels -= length
            at += count
        at += 1
    return found


def _decoded_end(frame: bytes, at: int, end: int, pixels: int) -> tuple[int, int]:
    """Where the runs of a plane end, and how many literal bytes before that the plane has no place for."""
    wanted, literal = pixels, False
    while wanted > 0 and at < end:
        head = frame[at]
        if head < 128:
            at += head + 2
            wanted -= head + 1
            literal = True
        elif head > 128:
            at += 2
            wanted -= 257 - head
            literal = False
        else:
            at += 1
    return at, -wanted if wanted < 0 and literal else 0


def _blank(frame: bytes, start: int, end: int) -> Iterator[Patch]:
    if any(frame[start:end]):
        yield Patch(start, bytes(end - start))


def masked(order: RunLengthOrder, frame: bytes) -> bytes:
    """The frame, encoded anew, with the parts blanked. Raises UnusableFrameError."""
    from rle.rle import decode_segment, encode_segment

    pixels = order.rows * order.columns
    encoded = []
    for segment, fill in zip(segments(frame, len(order.fills)), order.fills, strict=True):
        try:
            plane = bytearray(decode_segment(segment))
        except ValueError as error:
            raise UnusableFrameError("a segment cannot be decoded") from error
        if not pixels <= len(plane) <= pixels + 1:
            raise UnusableFrameError(f"a segment has {len(plane)} bytes for {pixels} pixels")
        del plane[pixels:]
        for y0, y1, x0, x1 in order.parts:
            for start in range(y0 * order.columns + x0, y1 * order.columns, order.columns):
                plane[start : start + x1 - x0] = bytes((fill,)) * (x1 - x0)
        again = bytes(encode_segment(bytes(plane), order.columns))
        encoded.append(again + b"\0" * (len(again) % 2))
    offsets, at = [0] * 15, _HEADER.size
    for index, each in enumerate(encoded):
        offsets[index] = at
        at += len(each)
    return b"".join([_HEADER.pack(len(encoded), *offsets), *encoded])
