"""Zip archives with AES-256 (WinZip's AE-2), by pyzipper. Called by `container`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from pyzipper import WZ_AES, ZIP_DEFLATED, AESZipFile
from pyzipper.zipfile_aes import WZ_AES_V2

from adit.dicom.archive.container import PIECE, Begin, DamagedError
from adit.model.outcome import TransferFault

_LEVEL: Final = 1  # of deflate, as upstream has it: more costs much and saves little of images
_BIG: Final = 2**31  # from here on a member's sizes are written in 64 bits


class ZipWriter:
    """Implements `adit.dicom.archive.container.Writer`."""

    def __init__(self, file: BinaryIO, password: str) -> None:
        self._zip = AESZipFile(file, "w", compression=ZIP_DEFLATED, compresslevel=_LEVEL)
        # Version 2 leaves out the checksum of the plain text, which would tell known members from unknown.
        self._zip.setencryption(WZ_AES, nbits=256, force_wz_aes_version=WZ_AES_V2)
        self._zip.setpassword(password.encode())

    def add(self, name: str, size: int, pieces: Iterator[bytes]) -> None:
        with self._zip.open(name, "w", force_zip64=size >= _BIG) as member:
            for piece in pieces:
                member.write(piece)

    def close(self) -> None:
        self._zip.close()

    def abandon(self) -> None:
        self._zip.fp = None  # closed for pyzipper, which would write an end of it when it is collected


def read_zip(file: BinaryIO, password: str, begin: Begin) -> None:
    try:
        with AESZipFile(file) as archive:
            archive.setpassword(password.encode())
            for info in archive.infolist():
                take = begin(info.filename)
                with archive.open(info) as member:
                    while piece := member.read(PIECE):
                        take(piece)
    except (OSError, TransferFault):
        raise
    except Exception as error:  # zipfile and zlib raise whatever the bytes make them raise
        raise DamagedError from error
