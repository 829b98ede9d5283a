"""Takes a DICOM file (PS3.10) as it streams in: its file meta information apart, its data set into a payload.

Called by `fetch` for each part of an answer. The data set's bytes are kept as they come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from adit.dicom.dimse.header import identity
from adit.dicom.file_meta import FileMeta, NotDicomError, file_meta_of
from adit.dicom.payload import PayloadWriter, ReceivedInstance, Spool

_PREFIX_AT: Final = 128
_LOOK_FROM: Final = 4 * 1024  # bytes in which the file meta information of nearly every file stands
_LOOK_UP_TO: Final = 1024 * 1024
_TRANSFER_SYNTAX: Final = b"\x02\x00\x10\x00UI"


class UnusableError(ValueError):
    """The part is no instance that could be passed on; `sop_instance_uid` is what it says it is, where it does."""

    def __init__(self, why: str, sop_instance_uid: str = "") -> None:
        super().__init__(why)
        self.sop_instance_uid = sop_instance_uid


def receive(pieces: Iterable[memoryview], announced: int | None, spool: Spool | None) -> ReceivedInstance:
    """The instance. Raises UnusableError once the part is read, OSError of the spool, and what `pieces` raise."""
    writer, head, size = PayloadWriter(spool), bytearray(), 0
    meta: FileMeta | None = None
    unusable = ""
    try:
        for piece in pieces:
            size += len(piece)
            if meta is not None:
                writer.write(piece)
            elif not unusable:
                head += piece
                if len(head) < _LOOK_FROM:
                    continue
                try:
                    meta = _meta_of(head)
                except NotDicomError as error:
                    unusable = str(error) if len(head) >= _LOOK_UP_TO or not _may_be_dicom(head) else ""
                else:
                    writer.write(memoryview(head)[meta.offset :])
        if meta is None and not unusable:
            meta = _meta_of(head)
            writer.write(memoryview(head)[meta.offset :])
        if meta is None:
            raise NotDicomError(unusable)
        if announced is not None and announced != size:
            raise UnusableError(f"it has {size} bytes and announced {announced}", meta.sop_instance_uid)
        return _identified(meta, writer)
    except NotDicomError as error:
        writer.discard()
        raise UnusableError(str(error)) from error
    except BaseException:
        writer.discard()
        raise


def _identified(meta: FileMeta, writer: PayloadWriter) -> ReceivedInstance:
    payload = writer.finish()
    try:
        with payload.open() as reader:
            identified = identity(reader, meta.transfer_syntax_uid)
        if meta.sop_instance_uid not in ("", identified.sop_instance_uid):
            raise UnusableError("its data set bears another SOP Instance UID", meta.sop_instance_uid)
        sop_class_uid = meta.sop_class_uid or identified.sop_class_uid
        if not sop_class_uid:
            raise UnusableError("it names no SOP class", identified.sop_instance_uid)
    except ValueError as error:
        payload.close()
        raise error if isinstance(error, UnusableError) else UnusableError(str(error), meta.sop_instance_uid) from error
    except BaseException:
        payload.close()
        raise
    return ReceivedInstance(
        identified.study_instance_uid,
        identified.series_instance_uid,
        sop_class_uid,
        identified.sop_instance_uid,
        meta.transfer_syntax_uid,
        payload,
    )


def _meta_of(head: bytearray) -> FileMeta:
    """Raises NotDicomError. A transfer syntax must be written: a guess could never tell what is compressed."""
    if not _may_be_dicom(head):
        raise NotDicomError("it is no DICOM file")
    try:
        meta = file_meta_of(bytes(head[:_LOOK_FROM]))
    except NotDicomError:
        meta = file_meta_of(bytes(head))
    if head.find(_TRANSFER_SYNTAX, 0, meta.offset) < 0 or not meta.transfer_syntax_uid:
        raise NotDicomError("its file meta information names no transfer syntax")
    return meta


def _may_be_dicom(head: bytearray) -> bool:
    return head[_PREFIX_AT : _PREFIX_AT + 4] == b"DICM"
