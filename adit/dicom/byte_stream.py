"""A connected socket as a stream of bytes, read through one buffer that is used again and again.

For those who are called: the receiver's associations, and both ends of the relay. (`dimse.connection` is the same for
those who call a DicomNode, and tells its faults in the node's name.) Used by one thread; `sever` may come from any.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Final

SMALL: Final = 4 * 1024
LARGE: Final = 256 * 1024
_AT_ONCE: Final = 512  # parts of one sendmsg; the kernel takes 1,024
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class StreamEnded(ConnectionError):  # noqa: N818 - what happened to it
    """The other side closed the connection; `within` says whether something was still to come."""

    def __init__(self, *, within: bool) -> None:
        super().__init__("the connection was closed")
        self.within = within


class ByteStream:
    """All calls raise OSError: TimeoutError when the other side takes too long, StreamEnded when it is gone."""

    def __init__(self, connected: socket.socket, *, size: int = SMALL) -> None:
        self._socket = connected
        self._pending: Callable[[], int] | None = getattr(connected, "pending", None)  # of an SSLSocket: read already
        self._buffer = memoryview(bytearray(size))
        self._start = self._end = 0
        self._seconds = 0.0
        self._every: int | None = None
        self._give_up = self._came_at = time.monotonic()
        self._received = 0
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def enlarge(self, size: int = LARGE) -> None:
        """For data sets: whoever only says hello does not cost that much memory."""
        left = self._buffer[self._start : self._end]
        fresh = memoryview(bytearray(size))
        fresh[: len(left)] = left
        self._buffer, self._start, self._end = fresh, 0, len(left)

    def set_timeout(self, seconds: float, *, every: int | None = None) -> None:
        """How long the other side may take for all that is received until the next call, and for each send.

        With `every`, for each so many bytes received instead; then the time that their taker needs does not count.
        """
        self._seconds, self._every, self._received = seconds, every, 0
        self._came_at = time.monotonic()
        self._give_up = self._came_at + seconds

    def send(self, *parts: bytes | memoryview) -> None:
        """All of them, in one system call where the kernel has room for them."""
        self._socket.settimeout(self._seconds)
        if self._pending is not None:
            self._socket.sendall(b"".join(parts))
            return
        for start in range(0, len(parts), _AT_ONCE):
            portion = parts[start : start + _AT_ONCE]
            sent = self._socket.sendmsg(portion)
            if sent < sum(map(len, portion)):
                self._socket.sendall(memoryview(b"".join(portion))[sent:])

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes. Only for what may be held in memory."""
        if self._end - self._start >= count:
            taken = bytes(self._buffer[self._start : self._start + count])
            self._start += count
            return taken
        collected = bytearray()
        self.pour(count, collected.extend)
        return bytes(collected)

    def pour(self, count: int, sink: Callable[[memoryview], object]) -> None:
        """Hands exactly `count` bytes to `sink`, piece by piece; a piece is valid during the call only."""
        total = count
        while count:
            if self._start == self._end:
                self._fill(within=count < total)
            piece = self._buffer[self._start : min(self._end, self._start + count)]
            self._start += len(piece)
            count -= len(piece)
            sink(piece)

    def wait(self, seconds: float) -> bool:
        """Whether there is something to read, be it the end, within so many seconds."""
        if self._start < self._end or (self._pending is not None and self._pending()):
            return True
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def finish(self, seconds: float) -> None:
        """Says that nothing more is sent, and throws away what comes until the other side closes, for a while at most.

        Closed with bytes unread, the kernel would reset the connection, and our last words could be lost.
        """
        give_up = time.monotonic() + seconds
        with contextlib.suppress(OSError, ValueError):
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            while (left := give_up - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv_into(self._buffer):
                    return

    def sever(self) -> None:
        """Ends every call in progress; from any thread, for good."""
        with contextlib.suppress(OSError):
            # Not SSLSocket.shutdown: that takes the TLS object away from under the thread which uses it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _fill(self, *, within: bool) -> None:
        began = time.monotonic()
        if self._every is not None:
            self._give_up += began - self._came_at
        if began >= self._give_up:
            raise TimeoutError("the other side takes too long")
        self._socket.settimeout(self._give_up - began)
        received = self._socket.recv_into(self._buffer)
        if not received:
            raise StreamEnded(within=within)
        self._start, self._end = 0, received
        self._received += received
        self._came_at = time.monotonic()
        if self._every is not None and self._received >= self._every:
            self._received, self._give_up = 0, self._came_at + self._seconds
        if _QUICKACK is not None:
            # A peer with Nagle's algorithm on holds its next small segment back until this one is acknowledged.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
