"""A peer that speaks bytes: for what no DICOM library would do."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ

from adit.dicom.dimse.command import Command, encode

Script = Callable[["Conversation"], None]


class Conversation:
    """The accepted connection; scripts read requests and write whatever they like."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    def read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            piece = self.socket.recv(count - len(content))
            if not piece:
                raise ConnectionError("the other side closed")
            content += piece
        return content

    def read_pdu(self) -> bytes:
        head = self.read(6)
        return head + self.read(struct.unpack(">I", head[2:])[0])

    def accept(self) -> None:
        """Accepts every context, each with its first transfer syntax."""
        request = A_ASSOCIATE_RQ()
        request.decode(self.read_pdu())
        primitive = request.to_primitive()
        primitive.result, primitive.result_source, primitive.diagnostic = 0, 1, None
        contexts = primitive.presentation_context_definition_list
        for context in contexts:
            context.result = 0
            context.transfer_syntax = [*context.transfer_syntax[:1]]
        primitive.presentation_context_definition_results_list = contexts
        self.socket.sendall(A_ASSOCIATE_AC(primitive).encode())

    def read_message(self) -> None:
        """Reads on until a data set's last fragment."""
        while self.read_pdu()[11] != 2:
            pass

    def send(self, command: Command, context_id: int = 1) -> None:
        body = encode(command)
        self.socket.sendall(struct.pack(">BBIIBB", 4, 0, len(body) + 6, len(body) + 2, context_id, 3) + body)


class RawPeer:
    """Runs `script` once for each connection, in a thread; whatever goes wrong in it ends that connection."""

    aet, host = "RAW", "127.0.0.1"

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server((self.host, 0))
        self.dicom_port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._leave = threading.Event()

    def wait(self) -> None:
        """For scripts that want to be silent: until the test is over."""
        self._leave.wait(90)

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            with connected:
                try:
                    self._script(Conversation(connected))
                except OSError:
                    continue

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(90)
