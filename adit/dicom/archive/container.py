"""The port of an archive's format: written member by member, read again from its beginning to its end.

Implemented by `zip_file` and `seven_zip`, whose libraries are imported when there is an archive to make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, Protocol

from adit.model.archive import ArchiveFormat

PIECE: Final = 2**20

SUFFIXES: Final = {ArchiveFormat.ZIP: ".zip", ArchiveFormat.SEVEN_ZIP: ".7z"}


class Writer(Protocol):
    """Used by one thread at a time. What goes wrong in the file is raised as OSError."""

    def add(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        """A member of `size` bytes. Whatever `pieces` raises leaves the archive spoiled."""
        ...

    def close(self) -> None:
        """Writes what stands at an archive's end; the file stays open."""
        ...

    def abandon(self) -> None:
        """It will not be finished. Harmless after `close`, and whatever went wrong before."""
        ...


Take = Callable[[bytes], None]
Begin = Callable[[str], Take]
"""Called with the name of each member that is read; what it returns takes the member's bytes, piece by piece."""


class DamagedError(Exception):
    """The archive cannot be read with this password, or not to its end."""


def writer(archive_format: ArchiveFormat, file: BinaryIO, password: str) -> Writer:
    if archive_format is ArchiveFormat.ZIP:
        from adit.dicom.archive.zip_file import ZipWriter

        return ZipWriter(file, password)
    from adit.dicom.archive.seven_zip import SevenZipWriter

    return SevenZipWriter(file, password)


def read(archive_format: ArchiveFormat, file: BinaryIO, password: str, begin: Begin) -> None:
    """All members, decrypted and checked by the format's own means. Raises DamagedError, and what `begin`'s raise."""
    if archive_format is ArchiveFormat.ZIP:
        from adit.dicom.archive.zip_file import read_zip

        read_zip(file, password, begin)
        return
    from adit.dicom.archive.seven_zip import read_seven_zip

    read_seven_zip(file, password, begin)
