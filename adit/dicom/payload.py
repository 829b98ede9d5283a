"""A received instance's encoded bytes: in memory while small, in an unnamed spool file when big.

Written by whoever receives (C-GET now), read by whoever stores or transforms. A spool file has no name
from its first byte on, so that a killed worker leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

SPOOL_ABOVE: Final = 16 * 2**20
"""Bytes from which on a payload goes to disk."""
_ZEROS: Final = 2**20


class Payload(Protocol):
    """Bytes that can be read again and again until they are closed."""

    @property
    def size(self) -> int: ...
    def open(self) -> BinaryIO: ...
    def close(self) -> None: ...


class MemoryPayload:
    """A small payload; every reader shares the one copy."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def open(self) -> BinaryIO:
        return io.BytesIO(self._content)

    def close(self) -> None:
        self._content = b""


class SpooledPayload:
    """A big payload in an unnamed file; readers have positions of their own and may outlive `close`."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def open(self) -> BinaryIO:
        return io.BufferedReader(_PositionedReader(os.dup(self._file.fileno())), 2**18)

    def close(self) -> None:
        self._file.close()


class _PositionedReader(io.RawIOBase):
    """Reads a shared file by pread, so that readers don't move each other's position."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        if start is None:
            start = os.fstat(self._descriptor).st_size
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12's
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@dataclass(frozen=True, slots=True)
class Spool:
    """Where objects too big for memory lie, for as long as they are held.

    Their files have no names, so that nothing about a patient is left behind however the process ends. Where
    the folder goes with the process (a pod's volume) `counted` gives them names: the kubelet sees only those,
    and could not hold the pod to its limit otherwise.
    """

    folder: Path | None = None  # the system's temporary one
    counted: bool = False
    wiped: bool = False  # zeros are written over what a file held before it goes

    def file(self) -> BinaryIO:
        """Gone when it is closed. Raises OSError."""
        make = tempfile.NamedTemporaryFile if self.counted else tempfile.TemporaryFile
        file = cast(BinaryIO, make(dir=self.folder))
        return cast(BinaryIO, _WipedFile(file)) if self.wiped else file


class _WipedFile:
    """A file that is overwritten before it is closed, so that no original is left where another could read it.

    The zeros are on the disk before the name goes: else they might never be written, and the original stay there.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.write, self.flush, self.fileno = file.write, file.flush, file.fileno

    def __enter__(self) -> _WipedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        if self._file.closed:
            return
        try:
            with contextlib.suppress(OSError):  # of a disk that fails; the file goes all the same
                self._file.flush()
                self._wipe(self._file.fileno())
        finally:
            self._file.close()

    def __del__(self) -> None:
        """Of one that nobody closed, as when an attempt ends by a defect."""
        self.close()

    @staticmethod
    def _wipe(descriptor: int) -> None:
        zeros = bytes(_ZEROS)
        size = os.fstat(descriptor).st_size
        for start in range(0, size, _ZEROS):
            os.pwrite(descriptor, zeros[: size - start], start)
        os.fdatasync(descriptor)


class PayloadWriter:
    """Takes a payload piece by piece; holds at most `spool_above` bytes in memory, whatever arrives.

    Raises OSError when the spool folder cannot take it. `finish` hands the payload over; `discard`
    frees what was written of one that ended early.
    """

    def __init__(self, spool: Spool | None = None, spool_above: int = SPOOL_ABOVE) -> None:
        self._spool = spool
        self._spool_above = spool_above
        self._memory = io.BytesIO()
        self._file: BinaryIO | None = None
        self.size = 0

    def write(self, piece: memoryview | bytes) -> None:
        self.size += len(piece)
        if self._file is None and self.size > self._spool_above:
            self._file = (self._spool or Spool()).file()
            self._file.write(self._memory.getbuffer())
            self._memory = io.BytesIO()
        (self._file or self._memory).write(piece)

    def finish(self) -> Payload:
        if self._file is None:
            return MemoryPayload(self._memory.getvalue())
        self._file.flush()
        return SpooledPayload(self._file, self.size)

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._memory = io.BytesIO()


@dataclass(slots=True)
class ReceivedInstance:
    """One instance as it came from its source; implements `adit.dicom.node.Instance`."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    payload: Payload

    @property
    def size(self) -> int:
        return self.payload.size

    def open(self) -> BinaryIO:
        return self.payload.open()

    def close(self) -> None:
        self.payload.close()
