"""A C-GET that is given up amid an instance is called off: the peer hears of it, and what it awaits an answer for."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adit.dicom.dimse import cancel, get
from adit.dicom.dimse.command import Command, CommandField, decode
from adit.dicom.dimse.node import DimseNode
from adit.dicom.node import Wanted
from adit.dicom.payload import PayloadWriter, Spool
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import Basket, node
from tests.integration.dimse.raw_peer import Conversation, RawPeer
from tests.peers import Dcmqrscp, Orthanc
from tests.peers.dcmtk import scu
from tests.samples import encoded, instance, multiframe, part10

SMALL = instance("called off", size=300)
BIG = multiframe(frames=40, size=512)
RELEASE, ABORT = 5, 7


def wanted(dataset: object) -> Wanted:
    return Wanted(str(dataset.StudyInstanceUID), sop_class_uids=frozenset({str(dataset.SOPClassUID)}))  # type: ignore[attr-defined]


def pdu(piece: bytes, *, last: bool) -> bytes:
    return struct.pack(">BBIIBB", 4, 0, len(piece) + 6, len(piece) + 2, 1, 2 if last else 0) + piece


def two_fragments() -> tuple[bytes, int]:
    """A data set as it is sent, and where its second fragment begins."""
    content = encoded(SMALL)
    first = pdu(content[:50_000], last=False)
    return first + pdu(content[50_000:], last=True), len(first)


@pytest.mark.parametrize(
    ("past", "ends"), [*((past, True) for past in (-10_000, -1, 0, 3, 8, 12, 10_000)), (0, False), (10_000, False)]
)
def test_amid_a_data_set(past: int, ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ends`: the peer sends the rest; else it leaves us waiting for it."""
    monkeypatch.setattr(cancel, "_PATIENCE", 60.0 if ends else 0.5)
    monkeypatch.setattr("adit.dicom.dimse.connection._LEAVE", 90.0)
    sent, second = two_fragments()
    heard: list[Command | int] = []

    def command(conversation: Conversation) -> Command:
        return decode(conversation.read_pdu()[12:])

    def script(conversation: Conversation) -> None:
        conversation.accept()
        conversation.read_message()
        conversation.send(
            Command(
                CommandField.C_STORE_RQ,
                has_data_set=True,
                sop_class_uid=str(SMALL.SOPClassUID),
                message_id=7,
                sop_instance_uid=str(SMALL.SOPInstanceUID),
            )
        )
        conversation.socket.sendall(sent[: second + past])
        ours.interrupt()
        heard.append(command(conversation))
        if ends:
            conversation.socket.sendall(sent[second + past :])
            heard.append(command(conversation))
            conversation.send(Command(CommandField.C_GET_RSP, responded_message_id=1, status=0xFE00))
        heard.append(conversation.read_pdu()[0])

    basket = Basket()
    with RawPeer(script) as peer:
        ours = node(peer)
        with pytest.raises(TransferFault) as raised:
            ours.fetch(wanted(SMALL), basket)
    assert raised.value.fault.code is FaultCode.INTERRUPTED
    assert basket.content == {}
    first, *others = heard
    assert first == Command(CommandField.C_CANCEL_RQ, responded_message_id=1)
    if ends:
        refusal, end = others
        assert isinstance(refusal, Command)
        assert (refusal.field, refusal.responded_message_id) == (CommandField.C_STORE_RSP, 7)
        assert (refusal.status, end) == (0xA700, RELEASE)
    else:
        assert others == [ABORT]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def orthanc(stack: ExitStack, tmp_path: Path) -> Orthanc:
    peer = stack.enter_context(Orthanc(tmp_path))
    peer.upload(part10(BIG))
    return peer


def dcmqrscp(stack: ExitStack, tmp_path: Path) -> Dcmqrscp:
    peer = stack.enter_context(Dcmqrscp(tmp_path))
    file = tmp_path / "big.dcm"
    file.write_bytes(part10(BIG))
    sent = scu("storescu", "-aec", peer.aet, peer.host, str(peer.dicom_port), str(file))
    assert sent.returncode == 0, sent.stderr
    return peer


@pytest.mark.parametrize("start", [orthanc, dcmqrscp])
def test_real_peers_end_in_good_order(
    start: Callable[[ExitStack, Path], Orthanc | Dcmqrscp],
    stack: ExitStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not within the few seconds that they are given here: on a busy machine they may need more."""
    nodes: list[DimseNode] = []
    ended: list[bool] = []

    class Interrupting(PayloadWriter):
        def write(self, piece: memoryview | bytes) -> None:
            super().write(piece)
            if self.size > 2**20:
                nodes[0].interrupt()

    def noted(*arguments: object) -> bool:
        ended.append(cancel.call_off(*arguments))  # type: ignore[arg-type]
        return ended[-1]

    monkeypatch.setattr(get, "PayloadWriter", Interrupting)
    monkeypatch.setattr(get, "call_off", noted)
    monkeypatch.setattr(cancel, "_PATIENCE", 60.0)
    monkeypatch.setattr("adit.dicom.dimse.connection._LEAVE", 90.0)
    nodes.append(node(start(stack, tmp_path), spool=Spool(tmp_path)))
    basket = Basket()
    with pytest.raises(TransferFault) as raised:
        nodes[0].fetch(wanted(BIG), basket)
    assert raised.value.fault.code is FaultCode.INTERRUPTED
    assert (ended, basket.content) == ([True], {})
