"""The receiver's end of the relay: one connection to a worker's mailbox, one object after the other.

Made by `adit_receiver.forwarding` for an association whose objects belong to the mailbox.
"""

from __future__ import annotations

import hashlib
import socket
from typing import Final

from adit.dicom.byte_stream import ByteStream
from adit.dicom.relay.frames import (
    ABANDONED,
    ANSWER,
    ANSWER_SECONDS,
    ANSWERED,
    CHUNK,
    END,
    LONGEST_CHUNK,
    WORKING,
    Header,
    MalformedError,
)
from adit.dicom.relay.handshake import greet
from adit.model.mailbox import Mailbox

_CONNECT_SECONDS: Final = 5.0
_SEND_SECONDS: Final = 120.0  # for the worker to take some of what is sent: it may be held to a rate


class Sender:
    """All calls raise OSError when the worker is gone or does not prove itself; then only `close` may follow."""

    def __init__(self, mailbox: Mailbox) -> None:
        connected = socket.create_connection((mailbox.host, mailbox.port), timeout=_CONNECT_SECONDS)
        self._stream = ByteStream(connected)
        try:
            greet(self._stream, mailbox.id, mailbox.secret)
        except BaseException:
            self._stream.close()
            raise
        self._digest = hashlib.sha256()
        self._size = 0
        self._within = False

    @property
    def has_ended(self) -> bool:
        """Whether the worker has closed its mailbox: it says nothing unasked otherwise."""
        try:
            return self._stream.wait(0)
        except (OSError, ValueError):
            return True

    def begin(self, header: Header) -> None:
        self._digest, self._size, self._within = hashlib.sha256(), 0, True
        self._stream.set_timeout(_SEND_SECONDS)
        self._stream.send(header.encode())

    def write(self, piece: memoryview) -> None:
        for start in range(0, len(piece), LONGEST_CHUNK):
            chunk = piece[start : start + LONGEST_CHUNK]
            self._digest.update(chunk)
            self._size += len(chunk)
            self._stream.send(CHUNK.pack(len(chunk)), chunk)

    def finish(self) -> int:
        """The worker's answer: the DIMSE status for whoever sent the object."""
        self._stream.send(CHUNK.pack(0) + END.pack(self._size, self._digest.digest()))
        while True:
            self._stream.set_timeout(ANSWER_SECONDS)
            kind, status = ANSWER.unpack(self._stream.take(ANSWER.size))
            if kind == ANSWERED:
                self._within = False
                return int(status)
            if kind != WORKING:
                raise MalformedError("the worker answers something else")

    def abandon(self) -> None:
        """The object will not be finished; the connection is good for the next one."""
        if self._within:
            self._within = False
            self._stream.send(CHUNK.pack(ABANDONED))

    def close(self) -> None:
        self._stream.close()
