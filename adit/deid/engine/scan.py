"""Finds its way through encoded elements without deciding anything: where sequences end, what single values are.

Used by the byte walk, and before it for what decisions depend on. Little endian only. Everything raises Quarantine
when the bytes are not what they should be, and struct.error when they end within a header.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from adit.deid import dictionary
from adit.deid.engine.encoding import LONG_VRS, UNDEFINED
from adit.deid.quarantine import Quarantine, Reason, place_of

Buffer = bytes | mmap.mmap
Range = tuple[int, int]
Path = tuple[int, ...]

DEEPEST: Final = 64
MOST_ITEMS: Final = 1_000_000
"""Of an instance: each costs twenty times the memory that it takes up in the file."""

EXPLICIT: Final = struct.Struct("<6sH").unpack_from
IMPLICIT: Final = struct.Struct("<4sI").unpack_from
LONG: Final = struct.Struct("<I").unpack_from
_ITEM: Final = struct.Struct("<HHI").unpack_from
_TAG: Final = struct.Struct("<HH").unpack_from
_ITEM_START: Final = 0xE000
_SEQUENCE_END: Final = 0xE0DD


def values_of(data: Buffer, start: int, end: int, wanted: frozenset[int], *, implicit: bool) -> dict[int, bytes]:
    """The values of these top-level elements, up to the last of them."""
    head = IMPLICIT if implicit else EXPLICIT
    values: dict[int, bytes] = {}
    up_to = max(wanted)
    pos = start
    while pos < end:
        key, length = head(data, pos)
        group, number = _TAG(key)
        tag = group << 16 | number
        if tag > up_to:
            break
        at = pos + 8
        vr = key[4:]
        if vr in LONG_VRS:
            length = LONG(data, at)[0]
            at += 4
        if length == UNDEFINED:
            pos = end_of_sequence(data, at, end, (tag,), implicit=implicit or vr == b"UN", fragments=False)
            if tag in wanted and tag not in values:
                values[tag] = data[at:pos]
            continue
        pos = at + length
        if pos > end:
            raise malformed((tag,), "it is longer than what is there")
        if tag in wanted and tag not in values:
            values[tag] = data[at:pos]
    return values


Ends = dict[int, int]
"""Of items and sequences without a length: where they end, by where they begin. To find an end, all within is looked
through, so it is remembered for when that is walked: else what is nested deep is looked through at each level again."""


def items_of(
    data: Buffer, start: int, stop: int, path: Path, *, implicit: bool, undefined: bool, ends: Ends
) -> list[Range]:
    """Where the elements of a sequence's items begin and end, delimiters left out."""
    items: list[Range] = []
    pos = start
    while pos < stop:
        if stop - pos < 8:
            raise malformed(path, "it ends within an item")
        group, number, length = _ITEM(data, pos)
        if group != 0xFFFE or number not in (_ITEM_START, _SEQUENCE_END):
            raise malformed(path, "it holds something else than items")
        if number == _SEQUENCE_END:
            if length or not undefined or pos + 8 != stop:
                raise malformed(path, "it has a delimiter where none belongs")
            return items
        if len(items) >= MOST_ITEMS:
            raise _too_many(path)
        begin = pos + 8
        if length == UNDEFINED:
            pos = end_of_item(data, begin, stop, path, implicit=implicit, ends=ends)
            items.append((begin, pos - 8))
        else:
            pos = begin + length
            if pos > stop:
                raise malformed(path, "an item is longer than it")
            items.append((begin, pos))
    if undefined:
        raise malformed(path, "it has no end")
    return items


def end_of_sequence(
    data: Buffer,
    pos: int,
    end: int,
    path: Path,
    *,
    implicit: bool,
    fragments: bool,
    depth: int = 0,
    ends: Ends | None = None,
) -> int:
    """Behind the delimiter of a sequence, or of fragments, that has no length."""
    ends = {} if ends is None else ends
    found = ends.get(pos)
    if found is None:
        found = ends[pos] = _end_of_sequence(data, pos, end, path, implicit, fragments, depth, ends)
    return found


def _end_of_sequence(
    data: Buffer, pos: int, end: int, path: Path, implicit: bool, fragments: bool, depth: int, ends: Ends
) -> int:
    if depth + len(path) > DEEPEST:
        raise Quarantine(Reason.NESTED_TOO_DEEP, place_of(path), f"sequences are nested deeper than {DEEPEST}")
    items = 0
    while pos + 8 <= end:
        group, number, length = _ITEM(data, pos)
        pos += 8
        if group != 0xFFFE or number not in (_ITEM_START, _SEQUENCE_END):
            raise malformed(path, "it holds something else than items")
        if number == _SEQUENCE_END:
            return pos
        items += 1
        if items > MOST_ITEMS and not fragments:
            raise _too_many(path)
        if length != UNDEFINED:
            pos += length
        elif fragments:
            raise malformed(path, "a fragment has no length")
        else:
            pos = end_of_item(data, pos, end, path, implicit=implicit, depth=depth, ends=ends)
    raise malformed(path, "it has no end")


def end_of_item(data: Buffer, pos: int, end: int, path: Path, *, implicit: bool, depth: int = 0, ends: Ends) -> int:
    """Behind the delimiter of an item that has no length."""
    found = ends.get(pos)
    if found is None:
        if len(ends) >= 2 * MOST_ITEMS:
            raise _too_many(path)
        found = ends[pos] = _end_of_item(data, pos, end, path, implicit, depth, ends)
    return found


def _end_of_item(data: Buffer, pos: int, end: int, path: Path, implicit: bool, depth: int, ends: Ends) -> int:
    head = IMPLICIT if implicit else EXPLICIT
    while pos + 8 <= end:
        key, length = head(data, pos)
        pos += 8
        if key[:2] == b"\xfe\xff":
            if key[:4] != b"\xfe\xff\x0d\xe0":
                raise malformed(path, "it has a delimiter where none belongs")
            return pos
        vr = key[4:]
        if vr in LONG_VRS:
            length = LONG(data, pos)[0]
            pos += 4
        if length == UNDEFINED:
            inner = implicit or vr == b"UN"  # PS3.5 6.2.2
            pos = end_of_sequence(data, pos, end, path, implicit=inner, fragments=False, depth=depth + 1, ends=ends)
        else:
            pos += length
    raise malformed(path, "an item has no end")


def names_in(
    data: Buffer, start: int, stop: int, path: Path, *, implicit: bool, undefined: bool, ends: Ends
) -> Iterator[tuple[str, bytes]]:
    """The values of VR PN and UI in a sequence, at any depth, as far as it can be read: nothing of it stays."""
    if len(path) > DEEPEST:
        return
    with suppress(Quarantine, struct.error):
        for begin, end in items_of(data, start, stop, path, implicit=implicit, undefined=undefined, ends=ends):
            yield from _names_in_item(data, begin, end, path, implicit, ends)


def _names_in_item(
    data: Buffer, pos: int, end: int, path: Path, implicit: bool, ends: Ends
) -> Iterator[tuple[str, bytes]]:
    head = IMPLICIT if implicit else EXPLICIT
    while pos + 8 <= end:
        key, length = head(data, pos)
        group, number = _TAG(key)
        tag, encoded = group << 16 | number, key[4:]
        pos += 8
        if encoded in LONG_VRS:
            length = LONG(data, pos)[0]
            pos += 4
        vr = _known_vr(tag) if encoded in (b"", b"UN") else encoded
        inner = (*path, tag)
        below = implicit or encoded == b"UN"
        if length == UNDEFINED:
            stop = end_of_sequence(data, pos, end, inner, implicit=below, fragments=False, ends=ends)
        else:
            stop = min(pos + length, end)
        if vr in (b"PN", b"UI"):
            yield vr.decode("ascii"), data[pos:stop]
        elif vr == b"SQ" or length == UNDEFINED:
            yield from names_in(data, pos, stop, inner, implicit=below, undefined=length == UNDEFINED, ends=ends)
        pos = stop


def _known_vr(tag: int) -> bytes:
    return dictionary.vr_of(tag).encode("ascii") if dictionary.is_known(tag) else b""


def _too_many(path: Path) -> Quarantine:
    return Quarantine(Reason.TOO_LARGE, place_of(path), f"it has more than {MOST_ITEMS} items")


def malformed(path: Path, detail: str) -> Quarantine:
    return Quarantine(Reason.MALFORMED, place_of(path), detail)
