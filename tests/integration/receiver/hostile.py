"""A sender that speaks bytes: for what no DICOM library would do to a receiver."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from adit.dicom.dimse import negotiation
from adit.dicom.dimse.command import Command, CommandField, decode, encode
from adit.dicom.dimse.negotiation import Proposal
from adit.dicom.dimse.peer import Peer
from adit.model.dicom_node import Dimse
from tests.peers import Receiver

CT_EXPLICIT = (Proposal(str(CTImageStorage), (str(ExplicitVRLittleEndian),)),)


def request(receiver: Receiver, proposals: Sequence[Proposal] = CT_EXPLICIT, calling: str = "HOSTILE") -> bytes:
    """An honest A-ASSOCIATE-RQ."""
    dimse = Dimse(ae_title=receiver.aet, calling_ae_title=calling, host=receiver.host, port=receiver.dicom_port)
    return negotiation.request(Peer("receiver", dimse), proposals)


class Sender:
    """A connection to the receiver, from the loopback or another address."""

    def __init__(self, receiver: Receiver, seconds: float = 15.0, *, address: str = "127.0.0.1") -> None:
        self.receiver = receiver
        self.socket = socket.create_connection(
            (receiver.host, receiver.dicom_port), timeout=seconds, source_address=(address, 0)
        )

    def associate(self, proposals: Sequence[Proposal] = CT_EXPLICIT, calling: str = "HOSTILE") -> Self:
        self.socket.sendall(request(self.receiver, proposals, calling))
        assert self.read_pdu()[0] == 0x02, "the association was not accepted"
        return self

    def store(
        self,
        uid: str,
        data: bytes,
        *,
        piece: int = 16 * 1024,
        announce: int | None = None,
        is_last: bool = True,
        move_message_id: int | None = None,
    ) -> None:
        """A C-STORE-RQ without waiting for its answer; `announce` is what its first data PDU says it holds.

        With `is_last` false more of the data set is to come.
        """
        asked = Command(
            field=CommandField.C_STORE_RQ,
            has_data_set=True,
            sop_class_uid=str(CTImageStorage),
            message_id=1,
            priority=0,
            sop_instance_uid=uid,
            move_originator_message_id=move_message_id,
        )
        self.fragment(encode(asked), is_command=True)
        if announce is not None:
            self.socket.sendall(struct.pack(">BBIIBB", 4, 0, announce, announce - 4, 1, 0))
            return
        for start in range(0, len(data), piece):
            self.fragment(data[start : start + piece], is_command=False, is_last=is_last and start + piece >= len(data))

    def fragment(self, content: bytes, *, is_command: bool, is_last: bool = True, context: int = 1) -> None:
        flags = (1 if is_command else 0) | (2 if is_last else 0)
        self.socket.sendall(struct.pack(">BBIIBB", 4, 0, len(content) + 6, len(content) + 2, context, flags) + content)

    def status(self) -> int:
        """Of the C-STORE-RSP that comes next."""
        pdu = self.read_pdu()
        assert pdu[0] == 0x04, f"a PDU of type {pdu[0]} instead of an answer"
        answer = decode(pdu[12:])
        assert answer.field == CommandField.C_STORE_RSP
        assert answer.status is not None
        return answer.status

    def ended(self) -> str:
        """`aborted` or `closed`: what the receiver made of it; AssertionError if it goes on."""
        try:
            pdu = self.read_pdu()
        except (ConnectionError, EOFError):
            return "closed"
        assert pdu[0] == 0x07, f"a PDU of type {pdu[0]}"
        return "aborted"

    def read_pdu(self) -> bytes:
        head = self._read(6)
        return head + self._read(struct.unpack(">I", head[2:])[0])

    def release(self) -> None:
        self.socket.sendall(struct.pack(">BBII", 5, 0, 4, 0))
        assert self.read_pdu()[0] == 0x06

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            piece = self.socket.recv(count - len(content))
            if not piece:
                raise EOFError
            content += piece
        return content

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
