"""Walks the elements of an encoded data set from its first byte on, without reading their values (PS3.5 chapter 7).

Called by `trial`; forwards only, so that it serves a deflated stream as well as a file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_DEEPEST: Final = 64  # nested sequences; real ones have a handful


class MalformedError(ValueError):
    """The bytes are not what their transfer syntax says."""


class Cursor(Protocol):
    """A place in a stream of bytes that only moves on."""

    @property
    def position(self) -> int: ...

    def read(self, count: int) -> bytes:
        """Fewer than `count` bytes only at the end."""
        ...

    def skip(self, count: int) -> None:
        """Raises MalformedError when that is beyond the end."""
        ...


@dataclass(frozen=True, slots=True)
class Encoding:
    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


@dataclass(frozen=True, slots=True)
class Element:
    """Where one element of the top level begins, its value's place and length in bytes; `value` if it was asked for."""

    tag: int
    start: int
    value_start: int
    length: int  # 0xFFFFFFFF when undefined
    value: bytes | None = None


_IMPLICIT_LITTLE: Final = Encoding(implicit=True, little=True)


def elements(cursor: Cursor, encoding: Encoding, wanted: frozenset[int], up_to: int) -> Iterator[Element]:
    """The elements up to the first with a tag above `up_to`, that one included; values of `wanted` tags are read.

    Raises MalformedError.
    """
    while True:
        start = cursor.position
        head = cursor.read(8)
        if not head:
            return
        tag, vr, length = _header(cursor, head, encoding)
        element = Element(tag, start, cursor.position, length)
        if tag > up_to:
            yield element
            return
        if tag in wanted and length != _UNDEFINED:
            value = cursor.read(length)
            if len(value) < length:
                raise MalformedError("it ends within an element")
            element = Element(tag, start, element.value_start, length, value)
        else:
            _skip_value(cursor, vr, length, encoding, 0)
        yield element


def _header(cursor: Cursor, head: bytes, encoding: Encoding) -> tuple[int, bytes, int]:
    """Tag, VR (empty when implicit) and length; the cursor stands at the value then."""
    if len(head) < 8:
        raise MalformedError("it ends within an element")
    group, number = struct.unpack_from(f"{encoding.order}HH", head)
    tag = group << 16 | number
    if encoding.implicit or group == 0xFFFE:
        return tag, b"", int(struct.unpack_from(f"{encoding.order}I", head, 4)[0])
    vr = head[4:6]
    if not (vr.isalpha() and vr.isupper()):
        raise MalformedError(f"its element ({group:04X},{number:04X}) has no value representation")
    if vr not in _LONG_VRS:
        return tag, vr, int(struct.unpack_from(f"{encoding.order}H", head, 6)[0])
    rest = cursor.read(4)
    if len(rest) < 4:
        raise MalformedError("it ends within an element")
    return tag, vr, int(struct.unpack(f"{encoding.order}I", rest)[0])


def _skip_value(cursor: Cursor, vr: bytes, length: int, encoding: Encoding, depth: int) -> None:
    if length != _UNDEFINED:
        cursor.skip(length)
        return
    if depth >= _DEEPEST:
        raise MalformedError(f"its sequences are nested deeper than {_DEEPEST}")
    inner = _IMPLICIT_LITTLE if vr == b"UN" else encoding  # PS3.5 6.2.2
    while True:
        tag, _, item_length = _header(cursor, cursor.read(8), inner)
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise MalformedError("a sequence in it holds something else than items")
        if item_length == _UNDEFINED:
            _skip_item(cursor, inner, depth + 1)
        else:
            cursor.skip(item_length)


def _skip_item(cursor: Cursor, encoding: Encoding, depth: int) -> None:
    while True:
        tag, vr, length = _header(cursor, cursor.read(8), encoding)
        if tag == _ITEM_END:
            return
        _skip_value(cursor, vr, length, encoding, depth)
