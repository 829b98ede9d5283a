"""A C-STORE SCU that costs next to nothing: its messages are written down beforehand, and only played. For `receiving`.

Where an acceptor is measured on the machine that also sends, so is its sender: the more, the faster the acceptor is.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from adit.dicom.dimse import negotiation
from adit.dicom.dimse.command import Command, CommandField, decode, encode
from adit.dicom.dimse.negotiation import Proposal
from adit.dicom.dimse.peer import Peer
from adit.dicom.node import Instance
from adit.model.dicom_node import Dimse
from benchmarks.sender import Address, Sent

_DATA, _RELEASE_RQ, _RELEASE_RP = 0x04, 0x05, 0x06
_CONTEXT = 1
_IS_COMMAND, _IS_LAST = 1, 2


def play(address: Address, instances: Sequence[Instance], ready: Callable[[], object]) -> Sent:
    """On one association, of one class and syntax: from the first C-STORE, once all are `ready`, to the release."""
    proposal = Proposal(instances[0].sop_class_uid, (instances[0].transfer_syntax_uid,))
    with socket.create_connection((address.host, address.dicom_port), timeout=60) as connected:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        max_pdu = _associate(connected, address, proposal)
        messages = [_recorded(each, number, max_pdu) for number, each in enumerate(instances, 1)]
        ready()
        begun = time.monotonic()
        for message in messages:
            connected.sendall(message)
            kind, answer = _pdu(connected)
            assert kind == _DATA
            assert decode(answer[6:]).status == 0
        connected.sendall(struct.pack(">BBII", _RELEASE_RQ, 0, 4, 0))
        assert _pdu(connected)[0] == _RELEASE_RP
        return Sent(begun, time.monotonic())


def _associate(connected: socket.socket, address: Address, proposal: Proposal) -> int:
    """The longest PDU that the acceptor takes."""
    dimse = Dimse(ae_title=address.aet, host=address.host, port=address.dicom_port)
    connected.sendall(negotiation.request(Peer("acceptor", dimse), [proposal]))
    kind, content = _pdu(connected)
    agreed = negotiation.agreement(struct.pack(">BBI", kind, 0, len(content)) + content, [proposal])
    assert agreed.contexts[0].result == 0
    return agreed.max_pdu


def _recorded(instance: Instance, message_id: int, max_pdu: int) -> bytes:
    """A C-STORE-RQ with its data set, in PDUs (PS3.8 9.3.5)."""
    command = Command(
        field=CommandField.C_STORE_RQ,
        has_data_set=True,
        sop_class_uid=instance.sop_class_uid,
        message_id=message_id,
        priority=0,
        sop_instance_uid=instance.sop_instance_uid,
    )
    with instance.open() as reader:
        return b"".join((*_fragments(encode(command), max_pdu, _IS_COMMAND), *_fragments(reader.read(), max_pdu, 0)))


def _fragments(content: bytes, max_pdu: int, kind: int) -> Iterator[bytes]:
    step = max_pdu - 6 if max_pdu else len(content)
    for start in range(0, len(content), step):
        piece = content[start : start + step]
        control = kind | (_IS_LAST if start + step >= len(content) else 0)
        yield struct.pack(">BBIIBB", _DATA, 0, len(piece) + 6, len(piece) + 2, _CONTEXT, control) + piece


def _pdu(connected: socket.socket) -> tuple[int, bytes]:
    kind, _, length = struct.unpack(">BBI", _exactly(connected, 6))
    return kind, _exactly(connected, length)


def _exactly(connected: socket.socket, count: int) -> bytes:
    collected = bytearray()
    while len(collected) < count:
        piece = connected.recv(count - len(collected))
        assert piece, "the acceptor closed the connection"
        collected += piece
    return bytes(collected)
