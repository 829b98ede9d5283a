"""Writes instances to a folder: temporary name, fsync, rename, fsync of the folder. Made by `node.open_store`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

from adit.dicom.file_meta import NotDicomError, encoded_file_meta, read_file_meta
from adit.dicom.folder.faults import FolderFaults, Interrupted
from adit.dicom.folder.filing import placing_of
from adit.dicom.folder.header import UnreadableError, read_header
from adit.dicom.folder.naming import StudyFacts
from adit.dicom.folder.placement import Placement
from adit.dicom.node import Instance, Stored
from adit.model.outcome import FaultCode

PIECE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Content:
    """A data set as it is written: what two copies of one have in common."""

    transfer_syntax_uid: str
    size: int
    sha256: str


class FolderChannel:
    """Implements `adit.dicom.node.StoreChannel`; several may write to one job's folder at once.

    Storing an instance again overwrites its file when the content is the same, or when the file is
    damaged. Another content under the same SOP Instance UID is INSTANCE_CONFLICT: neither is lost silently.
    """

    def __init__(
        self,
        faults: FolderFaults,
        placement: Placement,
        study: StudyFacts | None,
        throttle: Callable[[int], None],
        interrupted: Interrupted,
    ) -> None:
        self._faults = faults
        self._placement = placement
        self._study = study
        self._throttle = throttle
        self._interrupted = interrupted

    def store(self, instance: Instance) -> Stored:
        """Durable when it returns. Raises TransferFault naming the instance."""
        uid = instance.sop_instance_uid
        self._interrupted()
        placing = placing_of(instance, self._study, self._faults)
        temporary = self._placement.temporary()
        try:
            content = self._write(instance, temporary)
            path = self._placement.put(temporary, placing, lambda held: self._check(held, uid, content))
        except OSError as error:
            raise self._faults.of(error, "write an instance to", uid) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return Stored(
            sop_instance_uid=uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=content.transfer_syntax_uid,
            size=content.size,
            sha256=content.sha256,
            location=path.relative_to(self._faults.root).as_posix(),
        )

    def close(self) -> None:
        """Everything acknowledged is durable already."""

    def _write(self, instance: Instance, temporary: Path) -> Content:
        digest, size = hashlib.sha256(), 0
        meta = encoded_file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
        with temporary.open("xb", buffering=0) as file, instance.open() as reader:
            _write_all(file, meta)
            while piece := reader.read(PIECE):
                self._interrupted()
                self._throttle(len(piece))
                _write_all(file, piece)
                digest.update(piece)
                size += len(piece)
            os.fsync(file.fileno())
        if size != instance.size:
            raise self._faults.fault(
                FaultCode.IO_FAILED,
                f"Only {size} of an instance's {instance.size} bytes could be read.",
                "Check the worker's disk.",
                instance.sop_instance_uid,
            )
        return Content(instance.transfer_syntax_uid, size, digest.hexdigest())

    def _check(self, held: Path, uid: str, content: Content) -> None:
        """Objects to replacing another object of the same UID that is whole."""
        there = held_by(held)
        if there is not None and there.whole and there.sop_instance_uid == uid and there.content != content:
            raise self._faults.fault(
                FaultCode.INSTANCE_CONFLICT,
                "The folder already has another object with this SOP Instance UID from a job of the same name and day.",
                "Move that job's folder away, or name the job differently, and start again.",
                uid,
            )


@dataclass(frozen=True, slots=True)
class Held:
    """What a file holds."""

    sop_instance_uid: str
    whole: bool  # its pixel data do not end early
    content: Content


def held_by(path: Path) -> Held | None:
    """Reads a file from the disk, not from memory; None when it is no DICOM file. Raises OSError."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # what the cache has proves nothing
        try:
            meta = read_file_meta(file)
            file.seek(meta.offset)
            header = read_header(file, meta.transfer_syntax_uid, ("SOPInstanceUID",))
        except (NotDicomError, UnreadableError):
            return None
        file.seek(meta.offset)
        digest, size = hashlib.sha256(), 0
        while piece := file.read(PIECE):
            digest.update(piece)
            size += len(piece)
    content = Content(meta.transfer_syntax_uid, size, digest.hexdigest())
    return Held(header.text("SOPInstanceUID"), not header.truncated, content)


def _write_all(file: FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
