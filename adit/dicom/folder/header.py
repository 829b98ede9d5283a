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
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_PIXELS: Final = 0x7FE00008  # the first of the pixel data elements
_ITEM: Final = 0xE000FFFE  # (FFFE,E000), read as one little endian number
_UNDEFINED: Final = 0xFFFFFFFF
_INFLATED: Final = 16 * 2**20  # at most so much of a deflated data set is looked at


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
    tags = [tag for tag in map(tag_for_keyword, keywords) if tag is not None]
    pixels: list[tuple[int, int]] = []  # bytes before the value, and of it

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag >= _PIXELS:
            pixels.append((8 if vr is None else 12, length))
        return tag >= _PIXELS

    deflated = transfer_syntax_uid == DeflatedExplicitVRLittleEndian
    try:
        dataset = read_dataset(
            BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_INFLATED), _INFLATED))
            if deflated
            else file,
            transfer_syntax_uid == ImplicitVRLittleEndian,
            transfer_syntax_uid != ExplicitVRBigEndian,
            stop_when=at_pixels,
            specific_tags=list(tags),
        )
    except OSError:
        raise
    except Exception as error:  # pydicom raises whatever the bytes make it raise
        raise UnreadableError(f"its data set cannot be read ({type(error).__name__})") from error
    before, length = pixels[0] if pixels else (0, None)
    judged = not deflated and (each_fragment or length != _UNDEFINED)
    return Header(dataset, judged and _truncated(file, before, length))


def _truncated(file: BinaryIO, before: int, length: int | None) -> bool:
    """Whether the file ends too early: it stands at a pixel data element of that length, or at the data set's end."""
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    if length is None:
        return here > size
    if length != _UNDEFINED:
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
