"""The file meta information of a DICOM file (PS3.10 chapter 7).

Written and read by the nodes whose instances are files: folders, and what DICOMweb servers send and take.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from mmap import mmap
from typing import BinaryIO, Final

from adit.dicom.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

_LONG_VRS: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"})
_IMPLICIT_LE, _EXPLICIT_LE, _EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010
_MAX_META: Final = 2**20  # bytes; a real one has a few hundred
_MOST_METAS: Final = 2**12


class NotDicomError(ValueError):
    """The file is no DICOM file."""


@dataclass(frozen=True, slots=True)
class FileMeta:
    transfer_syntax_uid: str
    sop_class_uid: str  # (0002,0002); empty where the file does not say
    sop_instance_uid: str  # (0002,0003); likewise
    offset: int  # of the data set's first byte


def encoded_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and group 0002, ready for the data set to follow. UIDs are taken as they are."""
    group = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", _uid(sop_class_uid)),
            _element(0x0003, b"UI", _uid(sop_instance_uid)),
            _element(0x0010, b"UI", _uid(transfer_syntax_uid)),
            _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode()),
        )
    )
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(group))) + group


def read_file_meta(file: BinaryIO) -> FileMeta:
    """As `file_meta_of`; the file stands anywhere then."""
    data = file.read(_MOST_METAS)
    try:
        return file_meta_of(data)
    except NotDicomError:
        if len(data) < _MOST_METAS:
            raise
    return file_meta_of(data + file.read(_MAX_META))


def file_meta_of(data: bytes | mmap) -> FileMeta:
    """Where the data set begins and how it is encoded, by a file's first bytes; preamble and group 0002 may be missing.

    Raises NotDicomError. Group 0002's own length (0002,0000) is not believed: writers get it wrong.
    """
    offset = 132 if data[128:132] == b"DICM" else 0
    uids = {_SOP_CLASS: b"", _SOP_INSTANCE: b"", _TRANSFER_SYNTAX: b""}
    found = False
    while data[offset : offset + 2] == b"\2\0":
        begin, end = _value(data, offset)
        number = data[offset + 2] | data[offset + 3] << 8
        if number in uids:
            uids[number] = data[begin:end]
            found = True
        offset = end
    head = data[offset : offset + 8]
    if len(head) < 8:
        raise NotDicomError("it ends before a data set begins")
    if not found and not 0x0004 <= (head[0] | head[1] << 8 if head[1] == 0 else head[1]) <= 0x0020:
        raise NotDicomError("it begins neither with file meta information nor with a data set")
    sop_class, sop_instance, syntax = (value.decode("ascii", errors="replace").strip("\0 ") for value in uids.values())
    return FileMeta(syntax or _guess(head), sop_class, sop_instance, offset)


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if vr in _LONG_VRS:
        return struct.pack("<HH2s2xI", 0x0002, number, vr, len(value)) + value
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _uid(uid: str) -> bytes:
    value = uid.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def _value(data: bytes | mmap, offset: int) -> tuple[int, int]:
    """Where the value of an element begins and ends."""
    head = data[offset : offset + 12]
    if len(head) < 8:
        raise NotDicomError("it ends before a data set begins")
    if head[4:6] not in _LONG_VRS:
        begin, length = offset + 8, head[6] | head[7] << 8
    elif len(head) == 12:
        begin, length = offset + 12, int.from_bytes(head[8:12], "little")
    else:
        raise NotDicomError("it ends within its file meta information")
    if begin + length > _MAX_META:
        raise NotDicomError("its file meta information is too long")
    return begin, begin + length


def _guess(head: bytes) -> str:
    """The transfer syntax of a data set that does not say: by its first element's bytes."""
    if not head[4:6].isalpha() or not head[4:6].isupper():
        return _IMPLICIT_LE
    return _EXPLICIT_LE if head[1] == 0 else _EXPLICIT_BE
