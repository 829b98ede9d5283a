"""multipart/related (RFC 2046 5.1, RFC 2387) as a stream: parts come as they arrive, in constant memory.

Called by `fetch` for answers of WADO-RS. The end is believed only when it is written: an answer that stops without
its closing delimiter was cut, however politely its connection ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from typing import Final

_MAX_PREAMBLE: Final = 64 * 1024
_MAX_HEADERS: Final = 16 * 1024
_MAX_PADDING: Final = 1024  # blanks between a delimiter and the end of its line


class MalformedError(ValueError):
    """The answer is no multipart message, or not with the boundary that it announced."""


class CutShortError(ValueError):
    """The answer ends before its closing delimiter."""


def boundary_of(content_type: str) -> str | None:
    """The boundary of a multipart/related message; None of anything else."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() != "multipart/related":
        return None
    return message.get_boundary()


class Part:
    """One part. Its content must be read before the next part is asked for, and is skipped otherwise."""

    def __init__(self, announced: int | None, content: Iterator[memoryview]) -> None:
        self.announced = announced  # its Content-Length, where it says one
        self.content = content


class MultipartReader:
    """Reads a message from the pieces in which it arrives. A part's pieces are valid until the next is asked for."""

    def __init__(self, pieces: Iterator[bytes], boundary: str) -> None:
        self._pieces = pieces
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", errors="replace")
        self._buffer = b"\r\n"  # before the first delimiter there need be no line
        self._at = 0

    def parts(self) -> Iterator[Part]:
        """Raises MalformedError, CutShortError, and what the pieces raise; so does each part's content."""
        skipped = 0
        try:
            for piece in self._to_delimiter():
                skipped += len(piece)
                if skipped > _MAX_PREAMBLE:
                    raise MalformedError("it does not begin with the boundary that it announced")
        except CutShortError:
            if skipped or len(self._buffer) > 2:
                raise MalformedError("it does not have the boundary that it announced") from None
            raise
        while not self._is_last():
            part = Part(self._headers(), self._to_delimiter())
            yield part
            for _ in part.content:
                pass

    def _to_delimiter(self) -> Iterator[memoryview]:
        while True:
            found = self._buffer.find(self._delimiter, self._at)
            end = found if found >= 0 else self._undecided()
            if end > self._at:
                yield memoryview(self._buffer)[self._at : end]
                self._at = end
            if found >= 0:
                self._at = found + len(self._delimiter)
                return
            self._more()

    def _undecided(self) -> int:
        """Where a delimiter may begin that is not all there yet; mostly nowhere, and then nothing is copied for it."""
        begins = self._buffer.find(b"\r", max(self._at, len(self._buffer) - len(self._delimiter) + 1))
        return begins if begins >= 0 else len(self._buffer)

    def _is_last(self) -> bool:
        while len(self._buffer) - self._at < 2:
            self._more()
        return self._buffer.startswith(b"--", self._at)

    def _headers(self) -> int | None:
        """Passes the delimiter's line and the part's headers; its Content-Length, if there is one."""
        line_end = self._find(b"\r\n", _MAX_PADDING)
        if self._buffer[self._at : line_end].strip(b" \t"):
            raise MalformedError("a delimiter in it is followed by something else")
        self._at = line_end
        end = self._find(b"\r\n\r\n", _MAX_HEADERS)
        block, self._at = self._buffer[self._at : end], end + 4
        for line in block.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                return int(value)
        return None

    def _find(self, what: bytes, within: int) -> int:
        while (found := self._buffer.find(what, self._at, self._at + within)) < 0:
            if len(self._buffer) - self._at >= within:
                raise MalformedError("the headers of a part in it do not end")
            self._more()
        return found

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise CutShortError("it ends before its closing delimiter")
        self._buffer = self._buffer[self._at :] + piece if self._at < len(self._buffer) else piece
        self._at = 0
