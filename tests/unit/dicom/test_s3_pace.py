"""What is sent to an S3 server has its time piece by piece, whatever the size of the whole."""

from __future__ import annotations

import socket
from typing import cast

from adit.dicom.s3.pace import PacedSocket


class _Slow:
    """A socket to which a time-out is that of each call, as a plain one is."""

    def __init__(self) -> None:
        self.timeouts: set[float] = set()
        self.taken: list[bytes] = []

    def settimeout(self, seconds: float) -> None:
        self.timeouts.add(seconds)

    def sendall(self, content: memoryview) -> None:
        self.taken.append(bytes(content))


def test_a_big_part_is_sent_in_pieces_that_a_slow_line_takes_in_time() -> None:
    content = bytearray(range(256)) * 700
    for whole in (bytes(content), content):
        held = _Slow()
        PacedSocket(cast(socket.socket, held), 60).sendall(whole)
        assert b"".join(held.taken) == content
        assert max(map(len, held.taken)) <= 64 * 2**10
        assert held.timeouts == {60}
