"""An encoded data set with some bytes replaced, read on the fly: nothing of it is copied or held.

Made by `trial`. The original must stay open as long as the spliced one is read.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from adit.deid.element_walk import MalformedError

PIECE: Final = 2**18


class Original(Protocol):
    """What is needed of an instance: `adit.dicom.node.Instance` fits."""

    @property
    def study_instance_uid(self) -> str: ...
    @property
    def series_instance_uid(self) -> str: ...
    @property
    def sop_class_uid(self) -> str: ...
    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def transfer_syntax_uid(self) -> str: ...
    @property
    def size(self) -> int: ...
    def open(self) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes `start` to `end` of the original (inflated, where it is deflated) become `data`."""

    start: int
    end: int
    data: bytes


@dataclass(frozen=True, slots=True)
class SplicedInstance:
    """An instance that reads as its original with the edits made; fits `adit.dicom.node.Instance`."""

    original: Original
    edits: tuple[Edit, ...]  # in order, not overlapping
    deflated: bool
    size: int

    @property
    def study_instance_uid(self) -> str:
        return self.original.study_instance_uid

    @property
    def series_instance_uid(self) -> str:
        return self.original.series_instance_uid

    @property
    def sop_class_uid(self) -> str:
        return self.original.sop_class_uid

    @property
    def sop_instance_uid(self) -> str:
        return self.original.sop_instance_uid

    @property
    def transfer_syntax_uid(self) -> str:
        return self.original.transfer_syntax_uid

    def open(self) -> BinaryIO:
        """A reader; of a deflated instance it cannot seek."""
        if self.deflated:
            return io.BufferedReader(_PieceReader(self.original.open(), self.edits), PIECE)
        return io.BufferedReader(_SplicedReader(self.original.open(), self.original.size, self.edits), PIECE)

    def close(self) -> None:
        """Holds nothing; the original stays its owner's."""


def spliced(original: Original, edits: Sequence[Edit], *, deflated: bool) -> SplicedInstance:
    """Raises MalformedError when the original is deflated and its stream is broken."""
    if deflated:
        with original.open() as reader:
            size = sum(map(len, _deflated_pieces(reader, edits)))
    else:
        size = original.size + sum(len(edit.data) - (edit.end - edit.start) for edit in edits)
    return SplicedInstance(original, tuple(edits), deflated, size)


class FileCursor:
    """An `element_walk.Cursor` over a reader that can seek."""

    def __init__(self, reader: BinaryIO, size: int) -> None:
        self._reader = reader
        self._size = size
        self.position = 0

    def read(self, count: int) -> bytes:
        data = self._reader.read(min(count, self._size - self.position))
        self.position += len(data)
        return data

    def skip(self, count: int) -> None:
        self.position += count
        if self.position > self._size:
            raise MalformedError("it ends within an element")
        self._reader.seek(self.position)


class InflatingCursor:
    """An `element_walk.Cursor` over a deflated data set (PS3.5 A.5)."""

    def __init__(self, reader: BinaryIO) -> None:
        self._pieces = inflated_pieces(reader)
        self._rest = b""
        self.position = 0

    def read(self, count: int) -> bytes:
        while len(self._rest) < count and (piece := next(self._pieces, b"")):
            self._rest += piece
        data, self._rest = self._rest[:count], self._rest[count:]
        self.position += len(data)
        return data

    def skip(self, count: int) -> None:
        while count:
            skipped = len(self.read(min(count, PIECE)))
            if not skipped:
                raise MalformedError("it ends within an element")
            count -= skipped


def inflated_pieces(reader: BinaryIO) -> Iterator[bytes]:
    """Raises MalformedError when the stream is broken or ends early."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not inflater.eof:
            data = inflater.unconsumed_tail or reader.read(PIECE)
            if not data:
                raise MalformedError("its deflated stream ends early")
            if piece := inflater.decompress(data, PIECE):
                yield piece
    except zlib.error as error:
        raise MalformedError("its deflated stream is broken") from error


def _deflated_pieces(reader: BinaryIO, edits: Sequence[Edit]) -> Iterator[bytes]:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for piece in _edited(inflated_pieces(reader), edits):
        deflated = deflater.compress(piece)
        size += len(deflated)
        yield deflated
    rest = deflater.flush()
    yield rest + b"\0" * ((size + len(rest)) % 2)


def _edited(pieces: Iterator[bytes], edits: Sequence[Edit]) -> Iterator[bytes]:
    """The stream with the edits made; an edit may lie across pieces, or at the very end."""
    todo = list(edits)
    at = 0  # of the next byte of the original
    for piece in pieces:
        begin = 0
        while todo and todo[0].start < at + len(piece):
            edit = todo[0]
            yield piece[begin : max(begin, edit.start - at)]
            begin = max(begin, min(len(piece), edit.end - at))
            if edit.end > at + len(piece):
                todo[0] = Edit(at + len(piece), edit.end, edit.data)
                break
            yield edit.data
            todo.pop(0)
        yield piece[begin:]
        at += len(piece)
    for edit in todo:
        yield edit.data


class _PieceReader(io.RawIOBase):
    """Reads a spliced deflated data set from its first byte to its last."""

    def __init__(self, original: BinaryIO, edits: Sequence[Edit]) -> None:
        self._original = original
        self._pieces = _deflated_pieces(original, edits)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12's
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        self._original.close()
        super().close()


class _SplicedReader(io.RawIOBase):
    """Reads parts of the original and the edits' bytes as one. The original's last byte is read before the last bytes
    are given: if it changed meanwhile its reader says so there, also where an edit takes its end away."""

    def __init__(self, original: BinaryIO, size: int, edits: Sequence[Edit]) -> None:
        self._original = original
        self._last = max(0, size - 1)
        self._parts: list[tuple[int, int, bytes | int]] = []  # begin, end, and the bytes or where the original has them
        at = taken = 0
        for edit in (*edits, Edit(size, size, b"")):
            for length, source in ((edit.start - taken, taken), (len(edit.data), edit.data)):
                if length:
                    self._parts.append((at, at + length, source))
                at += length
            taken = edit.end
        self._size = at
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence, self._size)
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer is 3.12's
        for begin, end, source in self._parts:
            if begin <= self._position < end:
                count = min(len(buffer), end - self._position)
                offset = self._position - begin
                if isinstance(source, bytes):
                    data = source[offset : offset + count]
                else:
                    self._original.seek(source + offset)
                    data = self._original.read(count)
                buffer[: len(data)] = data
                self._position += len(data)
                if self._position >= self._size:
                    self._original.seek(self._last)
                    self._original.read(1)
                return len(data)
        return 0

    def close(self) -> None:
        self._original.close()
        super().close()
