"""An instance that lies in a file, read from there without decoding. Made by `catalogue`, handed out by `node`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from adit.dicom.folder.faults import FolderFaults
from adit.model.outcome import FaultCode


@dataclass(frozen=True, slots=True)
class FileInstance:
    """Implements `adit.dicom.node.Instance`; `size` bytes from `offset` on are its encoded data set."""

    path: Path
    modified_ns: int
    offset: int
    size: int
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    faults: FolderFaults

    def open(self) -> BinaryIO:
        """Raises TransferFault(IO_FAILED and the like) when the file went away or changed since it was listed.

        So does the reader instead of the last bytes: nobody who read to the end was given two files' halves.
        """
        try:
            file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise self.faults.of(error, "read an instance from", self.sop_instance_uid) from error
        try:
            self._require_unchanged(file)
        except BaseException:
            file.close()
            raise
        return io.BufferedReader(_DataSet(file, self.offset, self.offset + self.size, self._require_unchanged), 2**18)

    def _require_unchanged(self, file: io.FileIO) -> None:
        try:
            status = os.fstat(file.fileno())
        except OSError as error:
            raise self.faults.of(error, "read an instance from", self.sop_instance_uid) from error
        if (status.st_size, status.st_mtime_ns) != (self.offset + self.size, self.modified_ns):
            raise self.faults.fault(
                FaultCode.IO_FAILED,
                "The file of an instance changed while it was being transferred.",
                "Let nobody write to a source folder during transfers.",
                self.sop_instance_uid,
            )

    def close(self) -> None:
        """Nothing is held between `open`s."""


class _DataSet(io.RawIOBase):
    """The part of a file that begins at `offset`; positions count from there. `check` is asked about its last bytes."""

    def __init__(self, file: io.FileIO, offset: int, end: int, check: Callable[[io.FileIO], None]) -> None:
        self._file = file
        self._offset = offset
        self._end = end
        self._check = check
        file.seek(offset)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            position += self._offset
        return self._file.seek(position, whence) - self._offset

    def tell(self) -> int:
        return self._file.tell() - self._offset

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]  # typeshed's Buffer is 3.12's
        count = self._file.readinto(buffer)
        if self._file.tell() >= self._end:
            self._check(self._file)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
