"""The worker's end of the relay: listens for receivers, checks what they bring, and hands it over.

Used by `dimse.move`, once for each C-MOVE.

An object counts as taken over only when `take` has returned for it; only then its sender hears success.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID, uuid4

from adit.dicom.byte_stream import ByteStream
from adit.dicom.dimse.status import OUT_OF_RESOURCES
from adit.dicom.payload import PayloadWriter, ReceivedInstance, Spool
from adit.dicom.relay.frames import (
    ABANDONED,
    ANSWER,
    ANSWERED,
    CHUNK,
    END,
    LONGEST_CHUNK,
    LONGEST_HEADER,
    WORKING,
    WORKING_SECONDS,
    Header,
    MalformedError,
)
from adit.dicom.relay.handshake import new_secret, welcome
from adit.model.mailbox import Mailbox
from adit.model.outcome import TransferFault

_CONNECTIONS: Final = 32  # of more associations at once a PACS hears a failure, and is asked for their objects again
_SPOOL_ABOVE: Final = 4 * 2**20  # bytes; less than for one fetch at a time, because many objects may come at once
_OBJECT_SECONDS: Final = 60.0  # for each 64 KiB of an object
_PROGRESS: Final = 64 * 1024
_IDLE_SECONDS: Final = 86_400.0  # between objects: the mailbox is closed before
_SLOWLY: Final = 0.05

Take = Callable[[ReceivedInstance], int]
"""Takes an instance over and returns the DIMSE status for its sender; called by one thread at a time. Owns the
instance, whatever it returns."""


class RelayListener:
    """Open from its making to `close`. `traffic` tells what goes on, for whoever waits for objects."""

    def __init__(
        self,
        host: str,
        take: Take,
        spool: Spool | None = None,
        meter: Callable[[int], None] | None = None,
        *,
        port: int = 0,
    ) -> None:
        """Listens on `host`; at a port of the system's choice if it is 0. Raises OSError."""
        self._take = take
        self._spool = spool
        self._meter = meter
        self._listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_CONNECTIONS
        )
        self.mailbox = Mailbox(uuid4(), host, int(self._listening.getsockname()[1]), new_secret())
        self._places = threading.BoundedSemaphore(_CONNECTIONS)
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._lines: set[_Line] = set()
        self._closed = False
        self.traffic = Traffic()
        self.failure: OSError | None = None  # why an object could not be kept here
        self._threads = [
            threading.Thread(target=self._accept, name="mailbox", daemon=True),
            threading.Thread(target=self._reassure, name="mailbox-pulse", daemon=True),
        ]
        self._over = threading.Event()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """No object is taken over any more once it returns. What is being taken over is waited for."""
        with self._lock:
            self._closed = True
            lines = list(self._lines)
        self._over.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for line in lines:
            line.stream.sever()
        for line in lines:
            line.thread.join()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                if not self._closed:
                    self._over.wait(_SLOWLY)  # out of descriptors, perhaps
                continue
            connected.setblocking(True)
            line = _Line(ByteStream(connected))
            line.thread = threading.Thread(target=self._serve, args=(line,), name="relay", daemon=True)
            with self._lock:
                if self._closed or not self._places.acquire(blocking=False):
                    line.stream.close()
                    continue
                self._lines.add(line)
            line.thread.start()

    def _serve(self, line: _Line) -> None:
        try:
            welcome(line.stream, self._secret_of)
            line.stream.enlarge()
            while True:
                line.stream.set_timeout(_IDLE_SECONDS)
                self._object(line)
        except (OSError, ValueError, TransferFault):  # a socket closed under us; a meter that was interrupted
            return
        finally:
            with self._lock:
                self._lines.discard(line)
            self._places.release()
            line.stream.close()

    def _secret_of(self, mailbox_id: UUID) -> str | None:
        return self.mailbox.secret if mailbox_id == self.mailbox.id and not self._closed else None

    def _object(self, line: _Line) -> None:
        """One object from its header to our answer; returns without one where it was abandoned."""
        header = self._header(line.stream)
        with self.traffic.busy():
            instance, status = self._receive(line.stream, header)
            if instance is not None:
                line.works(True)
                try:
                    with self._turn:
                        if self._closed:
                            instance.close()
                            status = OUT_OF_RESOURCES
                        else:
                            status = self._take(instance)
                finally:
                    line.works(False)
        if status is not None:
            line.send(ANSWERED, status)

    def _header(self, stream: ByteStream) -> Header:
        (length,) = CHUNK.unpack(stream.take(CHUNK.size))
        if length > LONGEST_HEADER:
            raise MalformedError("a header is too long")
        return Header.decode(stream.take(length))

    def _receive(self, stream: ByteStream, header: Header) -> tuple[ReceivedInstance | None, int | None]:
        """The instance; or the status to answer, where it cannot be kept; or neither, where it was abandoned."""
        writer = PayloadWriter(self._spool, _SPOOL_ABOVE)
        digest, size, full = hashlib.sha256(), 0, False

        def write(piece: memoryview) -> None:
            nonlocal full
            digest.update(piece)
            if not full:
                try:
                    writer.write(piece)
                except OSError as error:
                    full, self.failure = True, error

        try:
            stream.set_timeout(_OBJECT_SECONDS, every=_PROGRESS)
            while length := CHUNK.unpack(stream.take(CHUNK.size))[0]:
                if length == ABANDONED:
                    writer.discard()
                    return None, None
                if length > LONGEST_CHUNK:
                    raise MalformedError("a chunk is too long")
                stream.pour(length, write)
                size += length
                self.traffic.moved()
                if self._meter is not None:
                    self._meter(length)
            told_size, told_digest = END.unpack(stream.take(END.size))
            if told_size != size or not hmac.compare_digest(told_digest, digest.digest()):
                raise MalformedError("an object is not what was sent")
            if full:
                writer.discard()
                return None, OUT_OF_RESOURCES
            payload = writer.finish()
        except BaseException:
            writer.discard()
            raise
        return (
            ReceivedInstance(
                header.study_instance_uid,
                header.series_instance_uid,
                header.sop_class_uid,
                header.sop_instance_uid,
                header.transfer_syntax_uid,
                payload,
            ),
            None,
        )

    def _reassure(self) -> None:
        """Tells receivers whose objects wait for their turn that we live."""
        while not self._over.wait(WORKING_SECONDS):
            with self._lock:
                lines = list(self._lines)
            for line in lines:
                line.reassure()


class _Line:
    """One receiver's connection; two threads may send on it."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.thread = threading.current_thread()  # until it has its own
        self._lock = threading.Lock()
        self._working = False

    def works(self, working: bool) -> None:
        with self._lock:
            self._working = working

    def send(self, kind: bytes, status: int) -> None:
        with self._lock:
            self.stream.send(ANSWER.pack(kind, status))

    def reassure(self) -> None:
        with self._lock:
            if self._working:
                with contextlib.suppress(OSError, ValueError):
                    self.stream.send(ANSWER.pack(WORKING, 0))


class Traffic:
    """When something last moved, and whether something is on its way."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._under_way = 0
        self._last = time.monotonic()

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """While an object is received and taken over."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self._last = time.monotonic()
                self._lock.notify_all()

    def moved(self) -> None:
        self._last = time.monotonic()

    @property
    def quiet_for(self) -> float:
        """Seconds since something moved; 0 while an object is on its way."""
        with self._lock:
            return 0.0 if self._under_way else time.monotonic() - self._last

    def wait(self, seconds: float) -> None:
        """Until an object has been taken over, or so long."""
        with self._lock:
            self._lock.wait(seconds)
