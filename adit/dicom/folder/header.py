"""A look at the header of an encoded data set, up to its pixels. Used by `catalogue`, `channel` and `proof`."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from adit.dicom.header_walk import UNDEFINED, EndlessError, HeaderWalk

_CHARSET: Final = 0x00080005  # without it no text can be read
_PIXELS: Final = 0x7FE00008  # the first of the pixel data elements
_ITEM: Final = 0xE000FFFE  # (FFFE,E000), read as one little endian number
_INFLATED: Final = 16 * 2**20  # at most so much of a deflated data set is looked at
_LONGEST: Final = 64 * 2**10  # bytes of a value that is read, sequences with all that is in them
_MOST: Final = 5_000_000  # elements and items before the pixels; they take some seconds


class UnreadableError(ValueError):
    """The bytes are not what their transfer syntax says."""


@dataclass(frozen=True, slots=True)
class Header:
    """Some attributes of a data set, and whether its bytes end before its pixel data do."""

    dataset: Dataset
    truncated: bool

    def text(self, keyword: str) -> str:
        """The value as DICOM writes it, several joined by backslash; empty where there is none."""
        return text_of(self.dataset, keyword)


def read_header(
    file: BinaryIO, transfer_syntax_uid: str, keywords: Iterable[str], *, each_fragment: bool = True
) -> Header:
    """Reads from the file's position, which must be the data set's first byte. Raises UnreadableError.

    Without `each_fragment` encapsulated pixel data are taken to be whole.
    """
    tags = {tag for tag in map(tag_for_keyword, keywords) if tag is not None}
    deflated = transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    try:
        reader = file
        if deflated:
            reader = BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_INFLATED), _INFLATED))
        start = reader.tell()
        walk = HeaderWalk(reader, transfer_syntax_uid, _MOST)
        chosen, pixels = _chosen(reader, walk, tags | {_CHARSET})
        dataset = read_dataset(BytesIO(chosen), walk.implicit, transfer_syntax_uid != ExplicitVRBigEndian)
    except (OSError, UnreadableError):
        raise
    except EndlessError as error:
        raise UnreadableError(str(error)) from error
    except Exception as error:  # pydicom raises whatever the bytes make it raise
        raise UnreadableError(f"its data set cannot be read ({type(error).__name__})") from error
    before, length = pixels or (0, None)
    judged = not deflated and (each_fragment or length != UNDEFINED)
    return Header(dataset, judged and _truncated(file, start + walk.position, before, length))


def _chosen(reader: BinaryIO, walk: HeaderWalk, tags: set[int]) -> tuple[bytes, tuple[int, int] | None]:
    """The elements of these tags as they are encoded; of pixel data, bytes before the value, and of it."""
    start = reader.tell()
    found: dict[int, bytes] = {}  # of one that stands there twice, the last
    ranges: list[tuple[int, int, int]] = []  # tag, and where it begins and ends, of what has no length of its own
    pixels: tuple[int, int] | None = None
    pending: tuple[int, int] | None = None
    for tag, head, length in walk.elements():
        if pending is not None:
            ranges.append((*pending, walk.position))
            pending = None
        if tag >= _PIXELS:
            pixels = len(head), length
            break
        if tag not in tags:
            continue
        if length == UNDEFINED:
            pending = tag, walk.position
            continue
        _require_short(tag, length)
        found[tag] = head + reader.read(length)
        walk.passed(length)
        if len(found[tag]) < len(head) + length:
            raise UnreadableError(f"it ends within its {keyword_for_tag(tag)}")
    else:
        if walk.depth:
            raise UnreadableError("it ends within a sequence")
        if pending is not None:
            ranges.append((*pending, walk.position))
    for tag, begin, end in ranges:
        _require_short(tag, end - begin)
        reader.seek(start + begin)
        found[tag] = reader.read(end - begin)
    return b"".join(found[tag] for tag in sorted(found)), pixels


def _require_short(tag: int, length: int) -> None:
    if length > _LONGEST:
        raise UnreadableError(f"its {keyword_for_tag(tag)} has {length} bytes")


def _truncated(file: BinaryIO, here: int, before: int, length: int | None) -> bool:
    """Whether the file ends too early: a pixel data element of that length stands `here`, or the data set ends."""
    size = file.seek(0, os.SEEK_END)
    if length is None:
        return here > size
    if length != UNDEFINED:
        return here + before + length > size
    at = here + before
    while True:  # item by item, to the sequence delimiter (PS3.5 A.4)
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return True
        tag, fragment = struct.unpack("<II", head)
        if tag != _ITEM:
            return False
        at += 8 + fragment


def text_of(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - the same: a value that no reader of its VR can make sense of
        return ""
    several = value if isinstance(value, (MultiValue, list)) else [value]
    return "\\".join("" if one is None else str(one).strip(" \0") for one in several)
