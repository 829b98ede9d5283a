"""Connections to an S3 server that bound a whole exchange. Made by `client` for boto3's own pools.

To boto3 an answer is alive while a byte of it comes now and then, be it of its headers: a server that trickles would
hold a worker for ever. Here it is progress that counts. And what is sent has the time that the node gives it, where
urllib3 knows only that for connecting.
"""

from __future__ import annotations

import io
import socket
import time
from typing import Any, Final

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

_PROGRESS: Final = 64 * 2**10  # bytes that must come, or be taken, within the node's network time-out, or the end
_ASSEMBLING: Final = 600.0  # seconds in which S3 may send blanks while it puts an object together from its parts


def paced_pools(seconds: float) -> dict[str, Any]:
    """The classes of boto3's connection pools, by scheme."""

    class Plain(_Paced, AWSHTTPConnection):  # type: ignore[misc]  # boto3 has no types
        network_seconds = seconds

    class Encrypted(_Paced, AWSHTTPSConnection):  # type: ignore[misc]
        network_seconds = seconds

    class PlainPool(AWSHTTPConnectionPool):  # type: ignore[misc]
        ConnectionCls = Plain

    class EncryptedPool(AWSHTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


class _Paced:
    network_seconds: float
    sock: Any
    _assembles = False

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock = PacedSocket(self.sock, self.network_seconds)

    def request(self, method: str, url: str, *more: Any, **others: Any) -> None:
        self._assembles = method == "POST" and "uploadId=" in url
        super().request(method, url, *more, **others)  # type: ignore[misc]

    def getresponse(self) -> Any:
        if self._assembles and self.sock is not None:
            self.sock.answer_seconds = max(_ASSEMBLING, self.network_seconds)
        elif self.sock is not None:
            self.sock.answer_seconds = self.network_seconds
        return super().getresponse()  # type: ignore[misc]


class PacedSocket:
    """A socket, plain or TLS, as http.client and urllib3 use one; all else is the socket's own."""

    def __init__(self, held: socket.socket, seconds: float) -> None:
        self._held = held
        self._seconds = seconds
        self.answer_seconds = seconds  # once the answer has begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._held, name)

    def sendall(self, content: Any) -> None:
        """To a plain socket the time-out is that of the whole: a slow line would never take a part of 8 MiB."""
        self._held.settimeout(self._seconds)
        whole = memoryview(content)
        for start in range(0, len(whole), _PROGRESS):
            self._held.sendall(whole[start : start + _PROGRESS])

    def makefile(self, mode: str = "rb", buffering: int = -1) -> Any:
        """What an answer is read from."""
        raw = _PacedFile(self._held, self._seconds, self.answer_seconds)
        return raw if buffering == 0 else io.BufferedReader(raw)


class _PacedFile(io.RawIOBase):
    """One answer. Only time that is spent waiting for it counts, not that which its taker needs."""

    def __init__(self, held: socket.socket, until_begun: float, seconds: float) -> None:
        self._held = held
        self._raw = held.makefile("rb", buffering=0)  # keeps the socket open as long as the answer is
        self._left = until_begun
        self._seconds = seconds
        self._received = _PROGRESS  # so that the first byte counts as progress

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]  # typeshed's Buffer is 3.12's
        if self._left <= 0:
            raise TimeoutError("the answer comes too slowly")
        self._held.settimeout(self._left)
        began = time.monotonic()
        count = self._raw.readinto(buffer)
        self._left -= time.monotonic() - began
        self._received += count or 0
        if self._received > _PROGRESS:
            self._received, self._left = 0, self._seconds
        return int(count or 0)

    def close(self) -> None:
        self._raw.close()
        super().close()
