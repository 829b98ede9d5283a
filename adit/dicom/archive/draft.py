"""An archive while it is made: a hidden part file beside its place, which it gets by one rename when it is whole.

Made by `node`. Store threads take turns: an archive is one stream.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Final

from adit.dicom.archive.container import PIECE, SUFFIXES, writer
from adit.dicom.archive.layout import Layout
from adit.dicom.file_meta import encoded_file_meta
from adit.dicom.folder.faults import FolderFaults
from adit.dicom.folder.filing import placing_of
from adit.dicom.folder.naming import JobFolder, StudyFacts, safe_name
from adit.dicom.folder.placement import Placement, sync
from adit.dicom.folder.root import Root
from adit.dicom.node import Instance, Stored
from adit.model.archive import ArchiveFormat
from adit.model.outcome import Fault, FaultCode, TransferFault

ROAD: Final = "Archive"
_INDEX: Final = "INDEX.txt"  # upstream's first member


class Draft:
    """Implements `adit.dicom.node.StoreChannel`, for all threads the same.

    What breaks off amid a member spoils all that is in the archive: then nothing of it is ever shown.
    """

    def __init__(
        self,
        faults: FolderFaults,
        root: Root,
        job: JobFolder,
        study: StudyFacts | None,
        archive_format: ArchiveFormat,
        password: str,
    ) -> None:
        self._faults = faults
        self._root = root
        self._job = job
        self._study = study
        self._suffix = SUFFIXES[archive_format]
        self._layout = Layout(job)
        self._lock = threading.Lock()
        self._uids: set[str] = set()
        self._spoiled: Fault | None = None
        self._target: Path | None = None  # named by the first instance's study
        self._undo = ExitStack()
        placement = Placement(root.path, job)
        self._part = placement.temporary()
        try:
            placement.prepare()
            self._file = self._part.open("x+b")
            self._undo.callback(_quietly, partial(self._part.unlink, missing_ok=True))
            self._undo.callback(_quietly, self._file.close)
            _quietly(partial(fcntl.flock, self._file, fcntl.LOCK_EX))  # while it is held nobody clears it away
            self._writer = writer(archive_format, self._file, password)
            self._undo.callback(self._writer.abandon)
            index = f"One study, written by ADIT.\nJob: {job.job_name}\nOwner: {job.owner}\nDate: {job.created_on}\n"
            self._writer.add(_INDEX, len(index), iter([index.encode()]))
        except OSError as error:
            self._undo.close()
            raise self._faults.of(error, "begin an archive in") from error

    def store(self, instance: Instance) -> Stored:
        """Held back until `seal`. Raises TransferFault: naming the instance, or because the archive is spoiled."""
        uid = instance.sop_instance_uid
        placing = placing_of(instance, self._study, self._faults)
        with self._lock:
            self.check()
            if uid in self._uids:
                raise self._faults.fault(
                    FaultCode.INSTANCE_CONFLICT, "The archive already has an instance with this UID.", "", uid
                )
            name = self._layout.name_of(placing)
            if self._target is None:
                study = safe_name(instance.study_instance_uid)
                self._target = self._root.path / self._job.name / f"{study}-{self._job.task}{self._suffix}"
            sha256 = self._add(instance, name)
            self._uids.add(uid)
        return Stored(
            sop_instance_uid=uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            size=instance.size,
            sha256=sha256,
            location=f"{self._target.relative_to(self._root.path).as_posix()}/{name}",
            road=ROAD,
            held_back=True,
        )

    def close(self) -> None:
        """One thread's end; the archive goes on."""

    def check(self) -> None:
        """Raises why the archive is of no use any more."""
        if self._spoiled is not None:
            raise TransferFault(self._spoiled)

    def seal(self) -> None:
        """Shows the archive under its name, durably; one of an earlier attempt, or garbage, is replaced by it."""
        with self._lock:
            self.check()
            try:
                self._root.check_place()
                self._writer.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                assert self._target is not None  # noqa: S101 - nobody seals what nothing was stored in
                self._part.replace(self._target)
                sync(self._target.parent)
            except OSError as error:
                raise self._spoil(self._faults.of(error, "finish an archive in").fault) from error
            finally:
                self._undo.close()

    def discard(self) -> None:
        with self._lock:
            self._undo.close()

    def _add(self, instance: Instance, name: str) -> str:
        """The digest of the data set as it was written."""
        digest = hashlib.sha256()
        meta = encoded_file_meta(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid)
        try:
            self._writer.add(name, len(meta) + instance.size, self._pieces(instance, meta, digest))
        except OSError as error:
            raise self._spoil(self._faults.of(error, "write an archive to").fault) from error
        except TransferFault as error:
            raise self._spoil(error.fault) from error
        return digest.hexdigest()

    def _pieces(self, instance: Instance, meta: bytes, digest: hashlib._Hash) -> Iterator[bytes]:
        yield meta
        left = instance.size
        with instance.open() as reader:
            while piece := reader.read(PIECE):
                self._root.check_place()
                self._root.throttle(len(piece))
                digest.update(piece)
                left -= len(piece)
                yield piece
        if left:
            raise self._faults.fault(
                FaultCode.IO_FAILED,
                f"{instance.size - left} bytes of an instance could be read, not its {instance.size}.",
                "Check the worker's disk.",
                None,
            )

    def _spoil(self, fault: Fault) -> TransferFault:
        self._spoiled = fault.model_copy(update={"sop_instance_uid": None})
        return TransferFault(self._spoiled)


def _quietly(call: Callable[[], object]) -> None:
    """What cannot be done here (locks, on some file systems), or is of no use any more."""
    with suppress(OSError):
        call()
