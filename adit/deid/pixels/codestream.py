"""What a JPEG, JPEG-LS or JPEG 2000 codestream says of itself, and the words in it that are not its image.

Comments, application segments and bytes behind the end may hold names and are overwritten in place: no
length and no offset changes. Used by `treatment`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from adit.deid.pixels.piece import Patch
from adit.deid.pixels.quarantine import PixelQuarantine, PixelReason

_SOI, _EOI, _SOS, _COM, _DNL = 0xD8, 0xD9, 0xDA, 0xFE, 0xDC
_APP: Final = range(0xE0, 0xF0)
_SOF: Final = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
"""Frames whose components are refined scan by scan; of all others each component has one (ISO 10918-1 B.2.3)."""
_SOF55: Final = 0xF7
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
# a literal first byte, so that the search runs at the speed of memory
_NEXT_JPEG: Final = re.compile(rb"\xff(?![\x00\xd0-\xd7])")
_NEXT_JPEG_LS: Final = re.compile(rb"\xff(?![\x00-\x7f])")
_JP2_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_JP2_STRUCTURE: Final = frozenset({b"jP  ", b"ftyp", b"jp2h", b"rreq"})
_JP2_HEADER: Final = frozenset({b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res "})
_SOC, _SIZ, _COD, _COM2, _SOT, _SOD, _EOC = 0xFF4F, 0xFF51, 0xFF52, 0xFF64, 0xFF90, 0xFF93, 0xFFD9
_TLM: Final = 0xFF55
_BESIDE: Final = frozenset({_TLM, 0xFF56, 0xFF57, 0xFF58, 0xFF59, 0xFF63})
"""TLM, PRF, PLM, PLT, CPF, CRG: lengths, profiles and places that no decoder needs to make the image."""
_JPEG_2000: Final = frozenset({0xFF50, _SIZ, _COD, 0xFF53, *range(0xFF5C, 0xFF62), _COM2}) | _BESIDE
"""The markers of parts 1 and 15 (ISO 15444) whose segments stand in headers."""


class _Marker(IntEnum):
    """Of JPEG's and JPEG-LS's tables."""

    DHT = 0xC4
    DQT = 0xDB
    DRI = 0xDD
    LSE = 0xF8


@dataclass(frozen=True, slots=True)
class Codestream:
    """`words` are patches that overwrite what is not image; `ybr` says that the components are Y, Cb and Cr."""

    rows: int
    columns: int
    components: int
    precision: int
    lossy: bool
    ybr: bool | None  # None: it does not tell
    words: tuple[Patch, ...]


def codestream_of(frame: bytes, length: int) -> Codestream:
    """Of one frame, whose first `length` bytes are not padding of ours. Raises PixelQuarantine when it is damaged."""
    try:
        if frame.startswith(b"\xff\xd8"):
            return _jpeg(frame, length)
        if frame.startswith(b"\xff\x4f"):
            return _jpeg_2000(frame, 0, length)
        if frame.startswith(_JP2_SIGNATURE):
            return _jp2(frame, length)
    except (struct.error, IndexError) as error:
        raise _damaged("ends early") from error
    raise _damaged("begins as none that is known")


def _damaged(what: str) -> PixelQuarantine:
    return PixelQuarantine(PixelReason.CODESTREAM_DAMAGED, f"a frame's codestream {what}")


def _jpeg(data: bytes, length: int) -> Codestream:
    words: list[Patch] = []
    header: tuple[int, int, int, int, bytes] | None = None  # precision, rows, columns, components, ids and factors
    marker_of_header = near = 0
    scanned: list[int] = []  # components
    adobe: int | None = None
    jfif = False
    at = 2
    while True:
        marker, at = _marker(data, at)
        if marker == _EOI:
            break
        if marker in _ALONE:
            continue
        (size,) = struct.unpack_from(">H", data, at)
        start, end = at + 2, at + size
        if size < 2 or end > length:
            raise _damaged("ends early")
        if marker in _SOF or marker == _SOF55:
            if header is not None:
                raise _damaged("has two frame headers")
            precision, rows, columns, components = struct.unpack_from(">BHHB", data, start)
            marker_of_header, header = marker, (precision, rows, columns, components, data[start + 6 : end])
        elif marker == _COM:
            words.extend(_blank(data, start, end))
        elif marker in _APP:
            keep = _of_use(marker, data[start:end])
            adobe = data[start + 11] if marker == 0xEE and keep else adobe
            jfif = jfif or (marker == 0xE0 and keep > 0)
            words.extend(_plain(marker, data, start, keep))
            words.extend(_blank(data, start + keep, end))
        elif marker == _SOS:
            if header is None:
                raise _damaged("has a scan before its frame header")
            near = max(near, data[end - 3]) if marker_of_header == _SOF55 else 0
            scanned.extend(data[start + 1 : end - 3 : 2])
            if marker_of_header not in _PROGRESSIVE and len(set(scanned)) < len(scanned):
                raise _damaged("has another image in a second scan")
            found = (_NEXT_JPEG_LS if marker_of_header == _SOF55 else _NEXT_JPEG).search(data, end)
            if found is None:
                raise _damaged("has no end")
            end = found.start()
        elif marker == _DNL:
            raise _damaged("tells its number of lines only at its end")
        elif not _is_table(marker, data[start:end]):
            raise _damaged("has a segment that nobody knows, or a table with more in it")
        at = end
    if header is None:
        raise _damaged("has no frame header")
    words.extend(_behind(data, at, length))
    precision, rows, columns, components, specifications = header
    lossless = marker_of_header in (0xC3, 0xC7, 0xCB, 0xCF) or (marker_of_header == _SOF55 and near == 0)
    return Codestream(
        rows, columns, components, precision, not lossless, _is_ybr(specifications, adobe, jfif=jfif), tuple(words)
    )


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker's code, and where its segment begins; fill bytes may stand before it."""
    if data[at] != 0xFF:
        raise _damaged("has something else where a marker must be")
    while data[at] == 0xFF:
        at += 1
    return data[at], at + 1


def _of_use(marker: int, payload: bytes) -> int:
    """How many bytes of an application segment say how to decode: the rest is blanked, a thumbnail too."""
    if marker == 0xE0 and payload.startswith(b"JFIF\0"):
        return min(12, len(payload))
    if marker == 0xEE and payload.startswith(b"Adobe") and len(payload) >= 12:
        return 12
    if marker == 0xE8 and payload.startswith(b"mrfx") and len(payload) == 5:
        return 5  # HP's colour transform of JPEG-LS
    if marker == 0xE8 and (payload.startswith(b"SPIFF\0\1") or payload == _SPIFF_END):
        return min(30, len(payload))  # its other directory entries may be titles
    return 0


def _plain(marker: int, data: bytes, start: int, keep: int) -> Iterator[Patch]:
    """What decoders do not need of a segment that they know is written anew where it is not as usual."""
    if marker == 0xE0 and keep == 12 and (data[start + 5] != 1 or data[start + 7] > 2):
        yield Patch(start + 5, b"\1\1\0\0\1\0\1")  # version and density
    if marker == 0xEE and keep == 12 and data[start + 5 : start + 7] not in (b"\0d", b"\0e"):
        yield Patch(start + 5, b"\0d\0\0\0\0")  # version and flags


def _is_table(marker: int, payload: bytes) -> bool:
    """Whether the segment is one that decoding needs, and nothing but that is in it."""
    match marker:
        case _Marker.DQT:
            return _filled(payload, lambda at: 65 + 64 * (payload[at] >> 4 > 0))
        case _Marker.DHT:
            return _filled(payload, lambda at: 17 + sum(payload[at + 1 : at + 17]))
        case _Marker.DRI:
            return 2 <= len(payload) <= 4
        case _Marker.LSE:
            return (payload[:1] == b"\1" and len(payload) == 11) or (payload[:1] == b"\4" and len(payload) <= 10)
        case _:
            return False


def _filled(payload: bytes, length: Callable[[int], int]) -> bool:
    at = 0
    while at < len(payload):
        at += length(at)
    return at == len(payload)


_SPIFF_END: Final = b"\0\0\0\x01\xff\xd8"


def _blank(data: bytes, start: int, end: int) -> Iterator[Patch]:
    if any(data[start:end]):
        yield Patch(start, bytes(end - start))


def _behind(data: bytes, start: int, end: int) -> Iterator[Patch]:
    """What comes after the end; one byte is padding, whatever it is."""
    if end - start > 1:
        yield from _blank(data, start, end)


def _is_ybr(specifications: bytes, adobe: int | None, *, jfif: bool) -> bool | None:
    """As decoders in general see it: Adobe's word, JFIF's, subsampling, the components' names."""
    if len(specifications) != 9:
        return None
    if adobe is not None:
        return adobe != 0
    if jfif:
        return True
    if len({specifications[1], specifications[4], specifications[7]}) > 1:
        return True
    return False if specifications[0::3] == b"RGB" else None


def _jp2(data: bytes, length: int) -> Codestream:
    """A JP2 file, which DICOM does not allow and some makers write: the codestream is one of its boxes."""
    words: list[Patch] = []
    found: Codestream | None = None
    at = 0
    while length - at >= 8:
        size, kind, head = *struct.unpack_from(">I4s", data, at), 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        end = at + size if size else length
        if size and (size < head or end > length):
            raise _damaged("is in a broken JP2 box")
        if kind == b"jp2c" and found is None:
            found = _jpeg_2000(data, at + head, end)
            words.extend(found.words)
        elif kind == b"jp2h":
            words.extend(_beside_header(data, at + head, end))
        elif kind not in _JP2_STRUCTURE:
            words.extend(_blank(data, at + head, end))
        at = end
    if found is None:
        raise _damaged("has no image in its JP2 boxes")
    words.extend(_behind(data, at, length))
    return replace(found, words=tuple(words))


def _beside_header(data: bytes, at: int, end: int) -> Iterator[Patch]:
    """What stands in the box of headers and is none."""
    while at < end:
        size, kind = struct.unpack_from(">I4s", data, at)
        size = size or end - at
        if size < 8 or at + size > end:
            raise _damaged("is in a broken JP2 box")
        if kind not in _JP2_HEADER:
            yield from _blank(data, at + 8, at + size)
        at += size


def _jpeg_2000(data: bytes, begin: int, length: int) -> Codestream:
    words: list[Patch] = []
    size: tuple[int, int, int, int] | None = None
    reversible: bool | None = None
    transformed = False
    tile_parts: list[tuple[int, int]] = []
    lengths: list[tuple[int, int]] = []  # where TLM segments lie
    at = begin + 2
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == _EOC:
            at += 2
            break
        if marker == _SOT:
            end = _tile_part(data, at, length, words)
            tile_parts.append((struct.unpack_from(">H", data, at + 4)[0], end - at))
            at = end
            continue
        (segment,) = struct.unpack_from(">H", data, at + 2)
        start, end = at + 4, at + 2 + segment
        if marker not in _JPEG_2000 or segment < 2 or end > length:
            raise _damaged("has something else where a known marker must be, or ends early")
        if marker == _SIZ:
            x1, y1, x0, y0 = struct.unpack_from(">IIII", data, start + 2)
            (components,) = struct.unpack_from(">H", data, start + 34)
            size = (y1 - y0, x1 - x0, components, (data[start + 36] & 0x7F) + 1)
        elif marker == _COD:
            transformed, reversible = data[start + 4] == 1, data[start + 9] == 1
        elif marker == _TLM:
            lengths.append((at, end))
        elif marker == _COM2 or marker in _BESIDE:
            words.extend(_no_comment(data, at, end))
        at = end
    if size is None or reversible is None:
        raise _damaged("has no main header")
    if not _are_lengths([data[begin + 4 : end] for begin, end in lengths], tile_parts):
        words.extend(word for each in lengths for word in _no_comment(data, *each))
    words.extend(_behind(data, at, length))
    words.sort(key=lambda word: word.start)
    rows, columns, components, precision = size
    return Codestream(
        rows, columns, components, precision, not reversible, False if transformed else None, tuple(words)
    )


def _tile_part(data: bytes, at: int, length: int, words: list[Patch]) -> int:
    """Looks through a tile-part's header; returns where the next marker is."""
    size, tile_length = struct.unpack_from(">HHI", data, at + 2)[0::2]
    if size != 10:
        raise _damaged("has a broken tile-part")
    end = at + tile_length if tile_length else _last_end(data, at, length)
    if end > length:
        raise _damaged("ends early")
    at += 12
    while (marker := struct.unpack_from(">H", data, at)[0]) != _SOD:
        (segment,) = struct.unpack_from(">H", data, at + 2)
        if marker not in _JPEG_2000 or segment < 2 or at + 2 + segment > end:
            raise _damaged("has a broken tile-part")
        if marker == _COM2 or marker in _BESIDE:
            words.extend(_no_comment(data, at, at + 2 + segment))
        at += 2 + segment
    return end


def _no_comment(data: bytes, at: int, end: int) -> Iterator[Patch]:
    """A comment of zeros, as long as the segment that lies there."""
    blank = struct.pack(">HH", _COM2, end - at - 2) + bytes(end - at - 4)
    if data[at:end] != blank:
        yield Patch(at, blank)


def _are_lengths(segments: list[bytes], tile_parts: list[tuple[int, int]]) -> bool:
    """Whether TLM segments (ISO 15444-1 A.7.1) hold the lengths of the tile-parts, as some transfer syntaxes want
    it, and nothing but that."""
    told: list[tuple[int, int]] = []
    for number, segment in enumerate(segments):
        if segment[:1] != bytes((number,)) or len(segment) < 2:
            return False
        of_tile, of_length = segment[1] >> 4 & 3, 4 if segment[1] & 0x40 else 2
        step = of_tile + of_length
        if segment[1] & 0x8F or of_tile == 3 or (len(segment) - 2) % step:
            return False
        for at in range(2, len(segment), step):
            tile = int.from_bytes(segment[at : at + of_tile]) if of_tile else len(told)
            told.append((tile, int.from_bytes(segment[at + of_tile : at + step])))
    return told == tile_parts


def _last_end(data: bytes, at: int, length: int) -> int:
    """A tile-part without a length goes up to the end of the codestream."""
    end = data.rfind(b"\xff\xd9", at, length)
    if end < 0:
        raise _damaged("has no end")
    return end
