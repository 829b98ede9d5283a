"""Looks an instance over as it was delivered: whether its data set is whole, and what it says of itself (PS3.5
chapter 7).

Called by `intake` before an instance counts as received. Only headers of elements, items and fragments are read,
so that a big object costs no more than a small one. Real archives hold odd things: what may be whole passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from adit.deid.character_set import encode
from adit.deid.element_walk import Cursor, MalformedError
from adit.deid.splice import FileCursor, InflatingCursor
from adit.dicom.node import Instance

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_DEFLATED, _BIG_ENDIAN, _RUN_LENGTH = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5"
_ENCAPSULATED: Final = "1.2.840.10008.1.2.4."  # what all others that compress begin with
_NATIVE: Final = frozenset({_IMPLICIT, _EXPLICIT, _DEFLATED, _BIG_ENDIAN})
_LONG_VRS: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT_VRS: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_VRS: Final = _LONG_VRS | _SHORT_VRS
_CHARSET, _SOP_CLASS, _SOP_INSTANCE, _PATIENT_ID = 0x00080005, 0x00080016, 0x00080018, 0x00100020
_KEPT: Final = frozenset({_CHARSET, _SOP_CLASS, _SOP_INSTANCE, _PATIENT_ID})
_PIXELS: Final = 0x7FE00010
_DELIMITERS: Final = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED: Final = 0xFFFFFFFF
_LONGEST: Final = 1024  # bytes of a value that is kept; they have at most a few dozen
_DEEPEST: Final = 64  # nested sequences; real ones have a handful


class _OddError(Exception):
    """From here on the bytes cannot be followed, which does not prove them broken."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a data set says of itself; `patient_id` is None when that cannot be told, empty when it names nobody.

    So are the UIDs empty where they are not there.
    """

    patient_id: bytes | None
    charset: bytes = b""
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    as_its_syntax_says: bool = True  # False if it is certainly encoded otherwise

    def contradicts(self, patient_id: str) -> bool:
        """Whether this is certainly another PatientID, however either is encoded and padded."""
        if self.patient_id is None:
            return False
        own, text = self.patient_id.strip(b" \0"), patient_id.strip(" \0")
        terms = [term.strip() for term in self.charset.decode("ascii", errors="replace").strip("\0 ").split("\\")]
        return own not in (encode(text, terms), text.encode(), text.encode("latin-1", errors="replace"))


def examine(instance: Instance) -> Statement:
    """Walks the whole data set. Raises MalformedError when it is certainly cut short or followed by what is no element.

    Certain is: an element, item or fragment that is longer than the bytes that are there; a header cut in two;
    a deflated stream without its end. Zeros at the end, missing delimiters there, unknown or missing value
    representations pass. Raises OSError or TransferFault as the instance's reader does.
    """
    syntax = instance.transfer_syntax_uid
    with instance.open() as reader:
        deflated = syntax == _DEFLATED
        cursor = InflatingCursor(reader) if deflated else FileCursor(reader, instance.size)
        walk = _Walk(cursor, ">" if syntax == _BIG_ENDIAN else "<")
        whole = walk.to_the_end()
    return Statement(
        walk.kept.get(_PATIENT_ID, b"" if whole else None),
        walk.kept.get(_CHARSET, b""),
        _uid(walk.kept.get(_SOP_CLASS, b"")),
        _uid(walk.kept.get(_SOP_INSTANCE, b"")),
        not walk.contradicts(syntax),
    )


def _uid(value: bytes) -> str:
    return value.decode("ascii", errors="replace").strip("\0 ")


class _Walk:
    def __init__(self, cursor: Cursor, order: str) -> None:
        self._cursor = cursor
        self._tag = Struct(f"{order}HH")
        self._short = Struct(f"{order}H")
        self._long = Struct(f"{order}I")
        self.kept: dict[int, bytes] = {}
        self._first = b""  # the header of the first element
        self._pixels: int | None = None  # the length of the pixel data's value

    def to_the_end(self) -> bool:
        """False when it had to end before."""
        empty = True
        try:
            for tag, _, length in self._headers():
                empty = False
                if tag == _PIXELS:
                    self._pixels = length
                if tag in _KEPT and length <= _LONGEST:
                    value = self._cursor.read(length)
                    if len(value) < length:
                        raise MalformedError("it ends within an element")
                    self.kept[tag] = value
                else:
                    self._pass(tag, length, 0)
        except _OddError:
            return False
        if empty:
            raise MalformedError("it is empty")
        return True

    def contradicts(self, syntax: str) -> bool:
        """Whether a known transfer syntax is certainly another one than the data set is written in."""
        encapsulated, vr = syntax == _RUN_LENGTH or syntax.startswith(_ENCAPSULATED), self._first[4:6]
        if syntax not in _NATIVE and not encapsulated:
            return False
        if vr in _VRS if syntax == _IMPLICIT else not vr.isalpha():
            return True
        return bool(self._pixels) and encapsulated is not (self._pixels == _UNDEFINED)

    def _headers(self) -> Iterator[tuple[int, bytes, int]]:
        """Tag, VR (whatever stands there) and length of each element; its value must be passed before the next.

        Whether VRs are written shows in the first element: writers disagree with their transfer syntax, in items
        above all.
        """
        read, as_tag, as_short, as_long = self._cursor.read, self._tag.unpack, self._short.unpack, self._long.unpack
        explicit: bool | None = None
        while head := self._head():
            group, number = as_tag(head[:4])
            vr = head[4:6]
            if explicit is None:
                explicit = vr in _VRS
                self._first = self._first or head
            if explicit and group != _DELIMITERS and (vr in _SHORT_VRS or (vr not in _LONG_VRS and vr.isupper())):
                (length,) = as_short(head[6:])
            elif explicit and vr in _LONG_VRS and group != _DELIMITERS:
                rest = read(4)
                if len(rest) < 4:
                    raise MalformedError("it ends within an element's header")
                (length,) = as_long(rest)
            else:
                (length,) = as_long(head[4:])
            yield group << 16 | number, vr, length

    def _head(self) -> bytes:
        """Eight bytes; none at the end, where fewer zeros than that are padding."""
        head = self._cursor.read(8)
        if len(head) == 8:
            return head
        if any(head):
            raise MalformedError("it ends within an element's header")
        return b""

    def _pass(self, tag: int, length: int, depth: int) -> None:
        if length != _UNDEFINED:
            if length:
                self._cursor.skip(length)
        elif tag == _ITEM or depth >= _DEEPEST:
            raise _OddError
        else:
            self._pass_items(depth)

    def _pass_items(self, depth: int) -> None:
        """A sequence's items or encapsulated pixel data's fragments, to their delimiter or the data set's end."""
        while head := self._head():
            group, number = self._tag.unpack(head[:4])
            (length,) = self._long.unpack(head[4:])
            tag = group << 16 | number
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise _OddError
            if length == _UNDEFINED:
                self._pass_item(depth + 1)
            else:
                self._cursor.skip(length)

    def _pass_item(self, depth: int) -> None:
        for tag, _, length in self._headers():
            if tag == _ITEM_END:
                return
            if tag in (_ITEM, _SEQUENCE_END):
                raise _OddError
            self._pass(tag, length, depth)
