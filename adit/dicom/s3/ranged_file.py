"""An object as a file that is read by ranges, as far as somebody looks into it. Made by `catalogue` for headers.

Most headers are within the first range. What a longer one needs comes in ranges that double; more than a header can
reasonably have is not read.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Final

from adit.dicom.folder.header import UnreadableError

FIRST: Final = 32 * 2**10
"""Bytes of the first range."""

LIMIT: Final = 32 * 2**20
"""Bytes that are read of one object at most; a header that ends later counts as unreadable."""

_BIGGEST: Final = 4 * 2**20
_RANGES: Final = 40  # at most; long values are jumped over, and each jump may cost one


class RangedFile(io.RawIOBase):
    """Reads by `fetch(start, count)`, which returns as many bytes as the object has there."""

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._position = 0
        self._block = b""
        self._block_at = 0
        self._next = FIRST
        self._ranges = 0
        self._read = 0
        self.failure: Exception | None = None  # of `fetch`: whoever reads a header takes it for damage
        self.start = b""  # the object's first bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + position)
        return self._position

    def read(self, count: int | None = -1) -> bytes:
        """All that was asked for, or what is left: a short read means the end."""
        left = max(0, self._size - self._position)
        wanted = left if count is None or count < 0 else min(count, left)
        if wanted == 0:
            return b""
        at = self._position - self._block_at
        if not 0 <= at <= len(self._block) - wanted:
            self._load(wanted)
            at = 0
        piece = self._block[at : at + wanted]
        self._position += len(piece)
        return piece

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12's
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def _load(self, wanted: int) -> None:
        count = max(wanted, self._next)
        self._next = min(2 * self._next, _BIGGEST)
        self._ranges += 1
        self._read += count
        if self._ranges > _RANGES or self._read > LIMIT:
            raise UnreadableError("its header is too long")
        try:
            self._block = self._fetch(self._position, count)
        except Exception as error:
            self.failure = error
            raise
        self._block_at = self._position
        if self._position == 0:
            self.start = self._block[:132]
