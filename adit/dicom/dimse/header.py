"""A light look at the beginning of an encoded data set: which instance is it?

Called by `get` for each instance received; stops at SeriesInstanceUID, long before the pixels.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE
from adit.dicom.dimse.plain_elements import NotPlain, elements
from adit.dicom.header_walk import UNDEFINED, EndlessError, HeaderWalk

_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_PLAIN_HEADER: Final = 16 * 2**10  # bytes in which the UIDs of nearly every data set stand
_UID: Final = re.compile(rb"[0-9.]+[\0 ]?")
_DEFLATED_HEADER: Final = 4 * 2**20  # bytes of a deflated data set that are inflated to find the UIDs
_LONGEST: Final = 1024  # bytes of a UID; of one that is any, 64
_MOST: Final = 1_000_000  # elements and items before the UIDs: real headers have some hundreds
_KEYWORDS: Final = {_SOP_INSTANCE: "SOPInstanceUID", _STUDY: "StudyInstanceUID", _SERIES: "SeriesInstanceUID"}
_LOOKED_FOR: Final = {**_KEYWORDS, _SOP_CLASS: "SOPClassUID"}


class UnreadableError(ValueError):
    """The bytes are no data set, or one without the UIDs that identify an instance."""


@dataclass(frozen=True, slots=True)
class Identity:
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str  # empty where it has none


def identity(reader: BinaryIO, transfer_syntax: str) -> Identity:
    """Reads the UIDs from the beginning of a data set, at the reader's start. Raises UnreadableError."""
    if transfer_syntax not in (DEFLATED_LE, EXPLICIT_BE):
        try:
            return _plain(reader.read(_PLAIN_HEADER), implicit=transfer_syntax == IMPLICIT_LE)
        except NotPlain:
            reader.seek(0)
    if transfer_syntax == DEFLATED_LE:
        try:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            reader = BytesIO(inflater.decompress(reader.read(_DEFLATED_HEADER), _DEFLATED_HEADER))
        except zlib.error as error:
            raise UnreadableError("its data set cannot be inflated") from error
    return _walked(reader, transfer_syntax)


def _plain(head: bytes, *, implicit: bool) -> Identity:
    """Raises NotPlain where one of the UIDs is missing or odd, too: then the longer look has the last word."""
    uids: dict[int, str] = {}
    for tag, vr, value in elements(head, implicit=implicit, only=_LOOKED_FOR):
        if vr not in ("", "UI") or not _UID.fullmatch(value):
            raise NotPlain
        uids[tag] = value.rstrip(b"\0 ").decode("ascii")
        if tag == _SERIES and len(uids) == len(_LOOKED_FOR):
            return Identity(uids[_STUDY], uids[_SERIES], uids[_SOP_INSTANCE], uids[_SOP_CLASS])
    raise NotPlain


def _walked(reader: BinaryIO, transfer_syntax: str) -> Identity:
    """Whatever the data set holds, none of it is kept but the UIDs: a library would make an object of each item."""
    walk = HeaderWalk(reader, transfer_syntax, _MOST)
    uids: dict[int, str] = {}
    try:
        for tag, _, length in walk.elements():
            if tag > _SERIES:
                break
            if tag not in _LOOKED_FOR or length == UNDEFINED:
                continue
            if length > _LONGEST:
                raise UnreadableError(f"its data set has a {_LOOKED_FOR[tag]} of {length} bytes")
            value = reader.read(length)
            walk.passed(length)
            if len(value) < length:
                raise UnreadableError(f"its data set ends within its {_LOOKED_FOR[tag]}")
            uids[tag] = value.decode("ascii", "replace").strip("\0 ")
            if tag == _SERIES:
                break
    except EndlessError as error:
        raise UnreadableError(str(error)) from error
    missing = [_KEYWORDS[tag] for tag in _KEYWORDS if not uids.get(tag)]
    if missing:
        raise UnreadableError(f"its data set has no {' and no '.join(missing)}")
    return Identity(uids[_STUDY], uids[_SERIES], uids[_SOP_INSTANCE], uids.get(_SOP_CLASS, ""))
