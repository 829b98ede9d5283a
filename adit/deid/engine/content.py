"""Reads what the treatment of a content item depends on: value type and concept (PS3.3 C.17.3), its unit, and whether a
code is private. Used by the byte walk."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final

from adit.deid.engine.content_mode import CODE_MEANINGS, is_private
from adit.deid.engine.encoding import LONG_VRS, UNDEFINED

_VALUE_TYPE: Final = 0x0040A040
_CONCEPT_NAME: Final = 0x0040A043
_CODE: Final = 0x00080100
_SCHEME: Final = 0x00080102
_LAST_MEANING: Final = max(CODE_MEANINGS)
_UNITS: Final = 0x004008EA
_FAR: Final = 0x0040A043  # what is looked for stands up to here


def concept_of(data: bytes | mmap.mmap, begin: int, end: int, *, implicit: bool) -> tuple[str, str, str] | None:
    """Scheme, code and value type; None when the item has no concept, or one that is not written plainly."""
    value_type = ""
    for tag, start, stop in _elements(data, begin, end, implicit=implicit, up_to=_FAR):
        if tag == _VALUE_TYPE:
            value_type = _text(data, start, stop)
        if tag == _CONCEPT_NAME:
            codes = {
                inner: _text(data, first, last)
                for inner, first, last in _elements(
                    data, start + 8, _item_end(data, start, stop), implicit=implicit, up_to=_SCHEME
                )
            }
            if codes.get(_CODE) and codes.get(_SCHEME):
                return codes[_SCHEME], codes[_CODE], value_type
    return None


def unit_of(data: bytes | mmap.mmap, begin: int, end: int, *, implicit: bool) -> str:
    """The code of its MeasurementUnitsCodeSequence; empty when it has none."""
    for tag, start, stop in _elements(data, begin, end, implicit=implicit, up_to=_UNITS):
        if tag == _UNITS:
            last = _item_end(data, start, stop)
            for inner, first, after in _elements(data, start + 8, last, implicit=implicit, up_to=_CODE):
                if inner == _CODE:
                    return _text(data, first, after)
    return ""


def has_private_code(data: bytes | mmap.mmap, begin: int, end: int, *, implicit: bool) -> bool:
    """Whether the item is a code that no standard has, and says what it means."""
    found = {
        tag: (start, stop)
        for tag, start, stop in _elements(data, begin, end, implicit=implicit, up_to=_LAST_MEANING)
        if tag == _SCHEME or tag in CODE_MEANINGS
    }
    return bool(found.keys() & CODE_MEANINGS) and is_private(_text(data, *found.get(_SCHEME, (0, 0))))


def _item_end(data: bytes | mmap.mmap, start: int, stop: int) -> int:
    if stop - start < 8:
        return stop
    length = struct.unpack_from("<I", data, start + 4)[0]
    return int(stop if length == UNDEFINED else min(stop, start + 8 + length))


def _elements(
    data: bytes | mmap.mmap, pos: int, end: int, *, implicit: bool, up_to: int
) -> Iterator[tuple[int, int, int]]:
    """Tag, begin and end of each value. Of an undefined length the end of all, and nothing after it."""
    while pos + 8 <= end:
        group, number = struct.unpack_from("<HH", data, pos)
        tag = group << 16 | number
        if tag > up_to or group == 0xFFFE:
            return
        start = pos + 8
        if implicit:
            length = struct.unpack_from("<I", data, pos + 4)[0]
        elif data[pos + 4 : pos + 6] in LONG_VRS:
            if pos + 12 > end:
                return
            length = struct.unpack_from("<I", data, pos + 8)[0]
            start = pos + 12
        else:
            length = struct.unpack_from("<H", data, pos + 6)[0]
        if length == UNDEFINED:
            yield tag, start, end
            return
        if start + length > end:
            return
        yield tag, start, start + length
        pos = start + length


def _text(data: bytes | mmap.mmap, start: int, stop: int) -> str:
    return data[start:stop].decode("ascii", errors="replace").strip(" \0")
