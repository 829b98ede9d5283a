"""7z archives with AES-256, the list of their members encrypted too, by py7zr. Called by `container`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Final, cast

import py7zr.py7zr
from py7zr import FILTER_CRYPTO_AES256_SHA256, FILTER_LZMA2, SevenZipFile
from py7zr.io import Py7zIO, WriterFactory

from adit.dicom.archive.container import PIECE, Begin, DamagedError, Take
from adit.model.outcome import TransferFault

_FILTERS: Final[list[dict[str, int]]] = [
    {"id": FILTER_LZMA2, "preset": 1},  # as upstream has it: every program reads it, and it needs 10 MB
    {"id": FILTER_CRYPTO_AES256_SHA256},
]
_BLOCK: Final = 8192
"""Bytes that are read at once: py7zr keeps what is left of each block, for each member that is smaller than one."""

# What comes of one block is else handed over in up to 128 MB: a segmentation of zeros would take twice that.
setattr(py7zr.py7zr, "get_memory_limit", lambda: PIECE)  # noqa: B010


class SevenZipWriter:
    """Implements `adit.dicom.archive.container.Writer`. All members are one solid stream."""

    def __init__(self, file: BinaryIO, password: str) -> None:
        self._archive = SevenZipFile(cast(Any, file), "w", filters=_FILTERS, password=password, header_encryption=True)

    def add(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        member = _Member(size, pieces)
        try:
            self._archive.writef(cast(IO[bytes], member), name)
        finally:
            member.let_go()  # py7zr keeps it to the archive's end

    def close(self) -> None:
        self._archive.close()

    def abandon(self) -> None:
        """It holds nothing but the file, which is not its own."""


class _Member(io.BufferedIOBase):
    """What py7zr reads: it asks for the size by a seek to the end and back, and then for all bytes in order."""

    def __init__(self, size: int, pieces: Iterator[bytes]) -> None:
        self._size = size
        self._pieces: Iterator[bytes] | None = pieces
        self._left = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = self._size
        while self._pieces is not None and not self._left:
            self._left = next(self._pieces, b"")
            if not self._left:
                self._pieces = None
        piece, self._left = self._left[:size], self._left[size:]
        self._at += len(piece)
        return piece

    def let_go(self) -> None:
        self._pieces, self._left = None, b""


def read_seven_zip(file: BinaryIO, password: str, begin: Begin) -> None:
    try:
        with SevenZipFile(cast(Any, file), password=password, blocksize=_BLOCK) as archive:
            archive.extractall(factory=_Factory(begin))
    except (OSError, TransferFault):
        raise
    except Exception as error:  # py7zr and lzma raise whatever the bytes make them raise
        raise DamagedError from error


class _Factory(WriterFactory):
    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    def create(self, filename: str) -> Py7zIO:
        return _Sink(self._begin(filename))


class _Sink(Py7zIO):
    """A member that is read and kept nowhere."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._size = 0

    def write(self, s: bytes | bytearray) -> int:
        self._take(bytes(s))
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self._size
