"""Walks the elements at a data set's top level without keeping, or reading, what they hold (PS3.5 chapter 7).

Called wherever a peer's or a file's header is looked at: by `dimse.header` for its UIDs, by `folder.header`, which
gives pydicom only what was asked for, and by `dimse.recode` before it gives it all. pydicom makes an object of every
item: of two megabytes of empty ones two hundred, in a quarter of a minute. Here memory stays as it is, and the time
grows with what there is to pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import SEEK_CUR
from struct import Struct
from typing import BinaryIO, Final

from adit.dicom.dimse.plain_elements import LONG_VRS, SHORT_VRS

UNDEFINED: Final = 0xFFFFFFFF
_IMPLICIT_LE, _EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
_VRS: Final = LONG_VRS | SHORT_VRS
_DELIMITERS: Final = 0xFFFE
_ITEM: Final = 0xE000
_PIXEL_GROUP: Final = 0x7FE0


class EndlessError(ValueError):
    """There are more elements and items than any header has."""

    def __init__(self, most: int) -> None:
        super().__init__(f"its header has more than {most} elements and items")


class HeaderWalk:
    """One walk over what lies from the reader's position on; of a deflated data set, inflated.

    `position` is where the next header begins, counted from there; `depth` tells at the end whether it came within a
    sequence.
    """

    def __init__(self, reader: BinaryIO, transfer_syntax_uid: str, most: int) -> None:
        self._reader = reader
        self._order = ">" if transfer_syntax_uid == _EXPLICIT_BE else "<"
        self._most = most
        self.implicit = transfer_syntax_uid == _IMPLICIT_LE  # or, once it has begun, whether its first element is
        self.position = 0
        self.depth = 0  # of sequences and items of undefined length

    def elements(self) -> Iterator[tuple[int, bytes, int]]:
        """Tag, header and length of each element, the reader at its value. Whoever reads of the value calls `passed`.

        A value of undefined length is passed here, item by item, and everything else that was not read.
        Elements are told apart as writers write them: one without a VR where there should be one has four bytes of
        length. Ends where the bytes do. Raises EndlessError.
        """
        read, seek = self._reader.read, self._reader.seek
        as_tag, as_short = Struct(f"{self._order}HH").unpack_from, Struct(f"{self._order}H").unpack_from
        as_long = Struct(f"{self._order}I").unpack_from
        implicit = self.implicit
        for place in range(self._most):
            head = read(8)
            if len(head) < 8:
                return
            group, number = as_tag(head)
            vr = head[4:6]
            if group == _DELIMITERS:
                self.position += 8
                (length,) = as_long(head, 4)
                if number != _ITEM:
                    self.depth = max(0, self.depth - 1)
                elif length == UNDEFINED:
                    self.depth += 1
                else:
                    seek(length, SEEK_CUR)
                    self.position += length
                continue
            if not place:
                self.implicit = implicit = implicit and vr not in _VRS  # else written with VRs, against its syntax
            if not implicit and vr in LONG_VRS:
                rest = read(4)
                if len(rest) < 4:
                    return
                head += rest
                (length,) = as_long(rest)
            elif not implicit and (vr in SHORT_VRS or vr.isupper()):
                (length,) = as_short(head, 6)
            else:
                (length,) = as_long(head, 4)
            if self.depth:
                self.position += len(head)
                if length == UNDEFINED:
                    self.depth += 1
                else:
                    seek(length, SEEK_CUR)
                    self.position += length
            else:
                self._unread = 0 if length == UNDEFINED else length
                yield group << 16 | number, head, length
                self.position += len(head)
                if length == UNDEFINED:
                    self.depth += 1
                else:
                    if self._unread:
                        seek(self._unread, SEEK_CUR)
                    self.position += length
        raise EndlessError(self._most)

    def passed(self, count: int) -> None:
        """So many bytes of the value were read."""
        self._unread -= count


def require_few(reader: BinaryIO, transfer_syntax_uid: str, most: int) -> None:
    """Counts all elements and items, those in sequences too, for whoever is about to make an object of each.

    Raises EndlessError. The reader stands anywhere then.
    """
    order = ">" if transfer_syntax_uid == _EXPLICIT_BE else "<"
    as_tag, as_short = Struct(f"{order}HH").unpack_from, Struct(f"{order}H").unpack_from
    as_long = Struct(f"{order}I").unpack_from
    item = Struct(f"{order}HH").pack(_DELIMITERS, _ITEM)
    implicit = transfer_syntax_uid == _IMPLICIT_LE
    for _ in range(most):
        head = reader.read(8)
        if len(head) < 8:
            return
        group, _number = as_tag(head)
        if group == _DELIMITERS:
            continue  # what an item holds is counted, too
        vr = head[4:6]
        if (not implicit or vr in _VRS) and vr in LONG_VRS:
            (length,) = as_long(reader.read(4).ljust(4, b"\0"))
        elif (not implicit or vr in _VRS) and vr.isupper():
            (length,) = as_short(head, 6)
        else:
            (length,) = as_long(head, 4)
        if length == UNDEFINED:
            if group == _PIXEL_GROUP:
                return  # fragments
            continue
        if vr in (b"SQ", b"UN") or vr not in _VRS:
            start = reader.read(min(4, length))
            reader.seek(-len(start) if start == item else length - len(start), SEEK_CUR)
        else:
            reader.seek(length, SEEK_CUR)
    raise EndlessError(most)
