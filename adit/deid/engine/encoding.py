"""Elements as bytes in little endian, explicit or implicit (PS3.5 chapter 7). Used by the byte walk and the marks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

LONG_VRS: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_VRS: Final = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS"}
    | {b"ST", b"TM", b"UI", b"UL", b"US"}
)
UNDEFINED: Final = 0xFFFFFFFF
_PADDED_BY_NULL: Final = frozenset({"UI", "OB", "UN"})


def element(tag: int, vr: str, value: bytes, *, implicit: bool) -> bytes:
    """One element; its value is padded to an even length as its VR asks."""
    if len(value) % 2:
        value += b"\0" if vr in _PADDED_BY_NULL else b" "
    return header(tag, vr, len(value), implicit=implicit) + value


def header(tag: int, vr: str, length: int, *, implicit: bool) -> bytes:
    group, number = tag >> 16, tag & 0xFFFF
    if implicit:
        return struct.pack("<HHI", group, number, length)
    code = vr.encode("ascii")
    if code in LONG_VRS:
        return struct.pack("<HH2sHI", group, number, code, 0, length)
    return struct.pack("<HH2sH", group, number, code, length)


def item_header(length: int) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, length)


def sequence(tag: int, items: Sequence[bytes], *, implicit: bool) -> bytes:
    """A sequence of items, each given as its encoded elements."""
    content = b"".join(item_header(len(item)) + item for item in items)
    return header(tag, "SQ", len(content), implicit=implicit) + content
