"""A wire between us and a real peer: reset after so many bytes, as a firewall or a crash does it; or held up."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_PIECE = 64 * 1024


class CutWire:
    """Carries each connection on to `host`:`port` until `budget` bytes in all have gone to or fro; then none ever."""

    host = "127.0.0.1"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        to_peer: int | None = None,
        from_peer: int | None = None,
        hold_after: int | None = None,
    ) -> None:
        """`hold_after` so many bytes to the peer nothing more is carried there: `held` is set, until `goes_on` is."""
        self._upstream = host, port
        self._hold_after = hold_after
        self.held, self.goes_on = threading.Event(), threading.Event()
        self._left = {"to": to_peer, "from": from_peer}
        self._lock = threading.Lock()
        self._cut = False
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((self.host, 0))
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()
        self.goes_on.set()
        self.cut()

    def cut(self) -> None:
        """All connections are reset, and new ones are as soon as they are made."""
        with self._lock:
            self._cut = True
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
            self._sockets.clear()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with self._lock:
                if self._cut:
                    ours.close()
                    continue
                theirs = socket.create_connection(self._upstream)
                self._sockets += [ours, theirs]
            for direction, source, sink in (("to", ours, theirs), ("from", theirs, ours)):
                threading.Thread(target=self._carry, args=(direction, source, sink), daemon=True).start()

    def _carry(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if direction == "to":
                    self._hold(len(piece))
                allowed = self._allowed(direction, len(piece))
                sink.sendall(piece[:allowed])
                if allowed < len(piece):
                    self.cut()
                    return
            sink.shutdown(socket.SHUT_WR)

    def _hold(self, size: int) -> None:
        if self._hold_after is not None:
            self._hold_after -= size
            if self._hold_after < 0:
                self.held.set()
                self.goes_on.wait()

    def _allowed(self, direction: str, size: int) -> int:
        with self._lock:
            left = self._left[direction]
            if left is None:
                return size
            self._left[direction] = max(0, left - size)
            return min(left, size)
