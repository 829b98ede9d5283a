"""A second look at what the engine made, by other code: is it whole, is it marked, does it still name someone?

Called by `adit.deid.engine` for every instance before it leaves. It knows nothing of the decisions that were made, only
what must never be: so a mistake in a decision is found here. Raises Quarantine; nothing passes by default.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from adit.deid import dictionary
from adit.deid.identifiers import Identifiers, Search, uids_in
from adit.deid.quarantine import Quarantine, Reason, place_of

_LONG: Final = frozenset("OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # noqa: SIM905
_NEVER: Final = frozenset(
    {0x00101000, 0x00101001, 0x00101005, 0x00101040, 0x00101060, 0x00102154, 0x04000561, 0xFFFAFFFA, 0xFFFCFFFC}
)
"""Removed by the Basic Profile, and by no option kept: other IDs and names, address, telephone, originals."""
_UNDEFINED: Final = 0xFFFFFFFF
_IDENTITY_REMOVED: Final = 0x00120062
_MARKS: Final = frozenset({_IDENTITY_REMOVED, 0x00120063, 0x00120064, 0x00280303})
_PATIENT: Final = (0x00100010, 0x00100020)
_UIDS: Final = (0x00080018, 0x0020000D, 0x0020000E)
_PIXELS: Final = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_EXPLICIT: Final = struct.Struct("<6sH").unpack_from
_IMPLICIT: Final = struct.Struct("<4sI").unpack_from
_LENGTH: Final = struct.Struct("<I").unpack_from
_PLAIN_EXPLICIT: Final[dict[bytes, tuple[int, bool, bool]]] = {}
_PLAIN_IMPLICIT: Final[dict[bytes, tuple[int, bool, bool]]] = {}
_REMEMBERED: Final = 20_000
_REMEMBERED_BYTES: Final = 2**18  # of one patient's headers
_LONGEST: Final = 2**14


@dataclass(frozen=True, slots=True)
class Expected:
    """What must hold. `overridden` are the tags that overrides of the site decide about somewhere; at the places that
    `spares` tells of them, by path and tag, nobody is looked for."""

    identifiers: Identifiers
    pseudonym: bytes | None  # None where an override writes the patient
    private_creators: frozenset[str]
    overridden: frozenset[int]
    spares: Callable[[tuple[int, ...], int], bool]
    identity_removed: bytes  # the mark, YES or NO
    uids: Mapping[int, bytes] = field(default_factory=dict)  # by which the instance will be known


def verify(header: bytes, expected: Expected, *, implicit: bool) -> None:
    """Looks at every element of a new data set, given up to its pixels' value, or to its end if it has none."""
    suspicious = expected.identifiers.may_stand_in(header)
    _Look(header, expected, expected.uids, implicit, suspicious=suspicious).top(None)


class Verification:
    """Of many instances of one patient: bytes that were looked at once are not looked at again.

    What is expected of them must be the same but for their UIDs, which are searched for everywhere each time.
    """

    def __init__(self, expected: Expected, *, implicit: bool) -> None:
        self._expected = expected
        self._implicit = implicit
        self._known = _Known()

    @property
    def identifiers(self) -> Identifiers:
        """All but UIDs."""
        return self._expected.identifiers

    def passes(
        self, header: bytes, original: Iterable[bytes], replaced: frozenset[bytes], uids: Mapping[int, bytes]
    ) -> bool:
        """Verifies as `verify` does: `original` UIDs must not stand in it, and no text may tell one that was
        `replaced`; `uids` must. False where an identifier may stand in it, which needs another look at each."""
        for uid in original:
            if uid in header:
                return False
        if replaced and not replaced.isdisjoint(uids_in(header)):
            return False
        known = self._known
        known.fresh.clear()
        _Look(header, self._expected, uids, self._implicit, suspicious=False).top(known)
        fresh = [header[each.start : each.stop] for each in known.fresh]
        if self._expected.identifiers.may_stand_in(b"".join(fresh)) and not self._is_by_chance(header, uids):
            return False
        known.learn(fresh)
        return True

    def _is_by_chance(self, header: bytes, uids: Mapping[int, bytes]) -> bool:
        """Whether no element tells what stands in the bytes: a short number stands within many others."""
        try:
            _Look(header, self._expected, uids, self._implicit, suspicious=True).top(None)
        except Quarantine as refused:
            if refused.reason is not Reason.IDENTIFIER_LEFT:
                raise
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Public elements of the top level that need no second look."""

    data: bytes
    first: int
    last: int
    marks: dict[int, bytes]


class _Fresh(NamedTuple):
    """An element that was looked at."""

    tag: int
    start: int
    stop: int
    mark: bytes | None


@dataclass(slots=True)
class _Known:
    """By the first bytes of each stretch. What stood in the last instance, too, becomes one."""

    stretches: dict[bytes, _Stretch] = field(default_factory=dict)
    fresh: list[_Fresh] = field(default_factory=list)
    _before: set[bytes] = field(default_factory=set)
    _size: int = 0

    def learn(self, fresh: list[bytes]) -> None:
        for run in self._runs(fresh):
            data = b"".join(fresh[index] for index in run)
            self._size += len(data)
            if self._size > _REMEMBERED_BYTES:
                self.stretches.clear()
                self._size = len(data)
            elements = [self.fresh[index] for index in run]
            marks = {each.tag: each.mark for each in elements if each.mark is not None}
            self.stretches[data[:8]] = _Stretch(data, elements[0].tag, elements[-1].tag, marks)
        self._before = {each for each in fresh if len(each) <= _LONGEST}

    def _runs(self, fresh: list[bytes]) -> Iterator[list[int]]:
        run: list[int] = []
        for index, data in enumerate(fresh):
            element = self.fresh[index]
            lasting = data in self._before and _is_settled(element.tag)
            if run and not (lasting and self.fresh[run[-1]].stop == element.start):
                yield run
                run = []
            if lasting:
                run.append(index)
        if run:
            yield run


def _is_ours(tag: int, path: tuple[int, ...]) -> bool:
    """The marks are the same for everybody: a word of theirs may be somebody's name."""
    return (path or (tag,))[0] in _MARKS


def _is_settled(tag: int) -> bool:
    """Whether the same bytes are as good in another instance: a private block's creator and the UIDs may be others."""
    return not tag >> 16 & 1 and tag >> 16 < 0x7FE0 and tag not in _UIDS


class _Look:
    def __init__(
        self, data: bytes, expected: Expected, uids: Mapping[int, bytes], implicit: bool, *, suspicious: bool
    ) -> None:
        self._expected = expected
        self._uids = uids
        self._implicit = implicit
        self._data = data
        self._suspicious = suspicious
        self._search = Search(expected.identifiers)

    def top(self, known: _Known | None) -> None:
        marks: dict[int, bytes] = {}
        self.data_set(0, len(self._data), (), marks, known)
        for tag in _MARKS:
            if tag not in marks or (tag == _IDENTITY_REMOVED and marks[tag].strip() != self._expected.identity_removed):
                raise _not_verified((tag,), "the mark is missing")

    def data_set(
        self, pos: int, end: int, path: tuple[int, ...], marks: dict[int, bytes] | None, known: _Known | None = None
    ) -> int:
        data, implicit, suspicious = self._data, self._implicit, self._suspicious
        head, plain = (_IMPLICIT, _PLAIN_IMPLICIT) if implicit else (_EXPLICIT, _PLAIN_EXPLICIT)
        before = -1
        expected_uids = self._uids
        creators: dict[int, bool] = {}
        while pos < end:
            if known is not None:
                stretch = known.stretches.get(data[pos : pos + 8])
                if stretch is not None and before < stretch.first and data.startswith(stretch.data, pos):
                    before = stretch.last
                    if marks is not None:
                        marks.update(stretch.marks)
                    pos += len(stretch.data)
                    continue
            begin = pos
            if end - pos < 8:
                raise _not_verified(path, "it ends within an element")
            key, length = head(data, pos)
            found = plain.get(key)
            tag, long, harmless = _kind(key, plain) if found is None else found
            start = pos + 8
            if long:
                if end - pos < 12:
                    raise _not_verified((*path, tag), "it ends within an element")
                length = _LENGTH(data, start)[0]
                start += 4
            if tag <= before:
                raise _not_verified((*path, tag), "its elements are not in order")
            before = tag
            if harmless and not suspicious:
                pos = start + length
                if pos > end:
                    raise _not_verified((*path, tag), "it is longer than what is there")
                if known is not None:
                    known.fresh.append(_Fresh(tag, begin, pos, None))
                continue
            if tag == 0xFFFEE00D:
                return pos + 8
            pos = self._element(tag, key[4:].decode("ascii", errors="replace"), start, length, end, path, creators)
            mark = data[start:pos] if tag in _MARKS else None
            if marks is not None and mark is not None:
                marks[tag] = mark
            if marks is not None and tag in _PATIENT:
                self._patient(tag, data[start:pos])
            if marks is not None and tag in expected_uids and data[start:pos].strip(b"\0 ") != expected_uids[tag]:
                raise _not_verified((tag,), "it is not the UID by which the instance will be known")
            if known is not None:
                known.fresh.append(_Fresh(tag, begin, pos, mark))
        return pos

    def _element(
        self, tag: int, vr: str, start: int, length: int, end: int, path: tuple[int, ...], creators: dict[int, bool]
    ) -> int:
        """Looks at one element that may be harmful; where the next one begins."""
        data, expected = self._data, self._expected
        if tag in _PIXELS and not path:
            if start != end:
                raise _not_verified((tag,), "something stands before the pixels' end")
            return start
        if tag >> 16 & 1:
            self._private(tag, data[start : start + length], path, creators)
        elif (tag in _NEVER and tag not in expected.overridden and length) or 0x5000 <= tag >> 16 <= 0x50FF:
            raise _not_verified((*path, tag), "it should have been removed")
        elif 0x6000 <= tag >> 16 <= 0x60FF:
            raise _not_verified((*path, tag), "an overlay was left")
        if length == _UNDEFINED or vr == "SQ" or data[start : start + 4] == b"\xfe\xff\x00\xe0":
            return self._items(start, end, length, vr, (*path, tag))
        stop = start + length
        if stop > end:
            raise _not_verified((*path, tag), "it is longer than what is there")
        if self._suspicious and length and not _is_ours(tag, path) and not self._spares(path, tag):
            self._text(tag, vr, data[start:stop], path)
        return stop

    def _spares(self, path: tuple[int, ...], tag: int) -> bool:
        return tag in self._expected.overridden and self._expected.spares(path, tag)

    def _patient(self, tag: int, value: bytes) -> None:
        expected = self._expected
        if expected.pseudonym is None or tag in expected.overridden:
            return
        if value.strip(b"\0 ") != expected.pseudonym.strip():
            raise _not_verified((tag,), "it is not the pseudonym")

    def _items(self, pos: int, end: int, length: int, vr: str, path: tuple[int, ...]) -> int:
        data = self._data
        stop = end if length == _UNDEFINED else pos + length
        if stop > end:
            raise _not_verified(path, "it is longer than what is there")
        outer, self._implicit = self._implicit, self._implicit or vr == "UN"
        try:
            while pos < stop:
                tag = data[pos : pos + 4]
                size = int.from_bytes(data[pos + 4 : pos + 8], "little")
                pos += 8
                if tag == b"\xfe\xff\xdd\xe0":
                    return pos
                if tag != b"\xfe\xff\x00\xe0":
                    raise _not_verified(path, "it holds something else than items")
                inner = stop if size == _UNDEFINED else pos + size
                if inner > stop:
                    raise _not_verified(path, "an item is longer than it")
                pos = self.data_set(pos, inner, path, None)
        finally:
            self._implicit = outer
        return pos

    def _private(self, tag: int, value: bytes, path: tuple[int, ...], creators: dict[int, bool]) -> None:
        """Only in blocks of creators that the profile names; of the others not even the creator."""
        number = tag & 0xFFFF
        if 0x10 <= number <= 0xFF:
            creator = value.decode("ascii", errors="replace").strip(" \0")
            creators[tag >> 16 << 8 | number] = creator in self._expected.private_creators
            allowed = creators[tag >> 16 << 8 | number]
        else:
            allowed = creators.get(tag >> 16 << 8 | number >> 8, False)
        if not allowed:
            raise _not_verified((*path, tag), "a private element was left")

    def _text(self, tag: int, vr: str, value: bytes, path: tuple[int, ...]) -> None:
        if vr in ("", "UN"):
            vr = dictionary.vr_of(tag).partition(" ")[0] if dictionary.is_known(tag) else "UN"
        if self._search.finds(value, vr):
            raise Quarantine(Reason.IDENTIFIER_LEFT, place_of((*path, tag)), "it holds an identifier of the patient")


def _kind(key: bytes, plain: dict[bytes, tuple[int, bool, bool]]) -> tuple[int, bool, bool]:
    """Its tag, whether its length has four bytes more, and whether an element that begins so can do no harm."""
    group, number = struct.unpack_from("<HH", key)
    tag = group << 16 | number
    vr = key[4:].decode("ascii", errors="replace")
    read = vr or (dictionary.vr_of(tag).partition(" ")[0] if dictionary.is_known(tag) else "UN")
    suspect = group & 1 or 0x5000 <= group <= 0x50FF or 0x6000 <= group <= 0x60FF or group >= 0x7FE0
    watched = tag in _NEVER or tag in _MARKS or tag in _PATIENT or tag in _UIDS
    found = (tag, vr in _LONG and group != 0xFFFE, not (suspect or watched or read in ("SQ", "UN")))
    if len(plain) < _REMEMBERED:
        plain[key] = found
    return found


def _not_verified(path: tuple[int, ...], detail: str) -> Quarantine:
    return Quarantine(Reason.NOT_VERIFIED, place_of(path), detail)
