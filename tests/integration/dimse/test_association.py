"""How an association may fail to come about or go wrong, and what each means to the retry rules."""

import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from adit.dicom.dimse.command import Command, CommandField, encode
from adit.dicom.node import Level, Query
from adit.model.dicom_node import Timeouts
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import as_instance, ct_scp, node
from tests.integration.dimse.raw_peer import Conversation, RawPeer
from tests.peers import ScriptedSCP
from tests.peers.server_process import free_port
from tests.samples import ct_study

STUDY = ct_study(1)
FAST = Timeouts(connect_seconds=1, acse_seconds=1, dimse_seconds=1, network_seconds=1)


def fault_of(peer: ScriptedSCP | RawPeer, **dimse: object) -> TransferFault:
    with pytest.raises(TransferFault) as raised:
        list(node(peer, **({"timeouts": FAST} | dimse)).find(Query(Level.STUDY)))  # type: ignore[arg-type]
    assert raised.value.fault.node == "peer"
    assert raised.value.fault.cure
    return raised.value


def code_of(script: Callable[[Conversation], None]) -> FaultCode:
    with RawPeer(script) as peer:
        return fault_of(peer).fault.code


@pytest.mark.parametrize("titles", [("PACS_1_OF_2", "ADIT_WORKER_0016"), ("A B  C", "X Y")])
def test_ae_titles_with_underscores_blanks_and_16_characters_arrive_as_they_are(titles: tuple[str, str]) -> None:
    called, calling = titles
    with ct_scp(STUDY.instances, aet=called, required_called=True, required_calling=[calling]) as peer:
        assert len(list(node(peer, calling_ae_title=calling).find(Query(Level.STUDY)))) == 1
        assert peer.calling_ae_titles == [calling]


def test_a_caller_that_the_peer_does_not_know_is_told_both_titles() -> None:
    with ct_scp(required_calling=["SOMEONE"]) as peer:
        fault = fault_of(peer, calling_ae_title="STRANGER").fault
    assert fault.code is FaultCode.ASSOCIATION_REJECTED
    assert "calling AE title not recognized" in fault.message
    assert "'STRANGER'" in fault.cure
    assert "'SCRIPTED'" in fault.cure


def test_a_called_title_that_is_not_the_peers_is_permanent() -> None:
    with ct_scp(required_called=True) as peer:
        fault = fault_of(peer, ae_title="WRONG").fault
    assert fault.code is FaultCode.ASSOCIATION_REJECTED
    assert "'WRONG'" in fault.cure


def test_a_peer_with_no_association_left_is_transient() -> None:
    instance = as_instance(STUDY.instances[0])
    with ct_scp(STUDY.instances, maximum_associations=1) as peer:
        channel = node(peer).open_store({instance.sop_class_uid})
        channel.store(instance)
        assert fault_of(peer).fault.code is FaultCode.ASSOCIATION_REJECTED_TRANSIENT
        channel.close()


@pytest.mark.parametrize(
    ("rejection", "code"),
    [
        ((1, 1, 1), FaultCode.ASSOCIATION_REJECTED),
        ((1, 1, 2), FaultCode.ASSOCIATION_REJECTED),
        ((1, 2, 2), FaultCode.ASSOCIATION_REJECTED),
        ((2, 1, 1), FaultCode.ASSOCIATION_REJECTED_TRANSIENT),
        ((2, 3, 1), FaultCode.ASSOCIATION_REJECTED_TRANSIENT),
        ((1, 3, 2), FaultCode.ASSOCIATION_REJECTED_TRANSIENT),
    ],
)
def test_rejections_by_their_result_and_source(rejection: tuple[int, int, int], code: FaultCode) -> None:
    def reject(talk: Conversation) -> None:
        talk.read_pdu()
        talk.socket.sendall(struct.pack(">BBIBBBB", 3, 0, 4, 0, *rejection))

    assert code_of(reject) is code


def test_nobody_there_is_unreachable() -> None:
    class Nobody:
        aet, host, dicom_port = "NOBODY", "127.0.0.1", free_port()

    fault = fault_of(Nobody()).fault  # type: ignore[arg-type]
    assert fault.code is FaultCode.NODE_UNREACHABLE
    assert str(Nobody.dicom_port) in fault.message


@pytest.mark.parametrize("name", ["no-such-host.invalid", "no..such..host"])
def test_a_host_name_that_nobody_knows_is_unreachable(name: str) -> None:
    class Unknown:
        aet, host, dicom_port = "NOBODY", name, 104

    fault = fault_of(Unknown()).fault  # type: ignore[arg-type]
    assert fault.code is FaultCode.NODE_UNREACHABLE
    assert name in fault.message


def test_a_port_that_never_accepts_is_unreachable_after_the_connect_time_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())

        class Full:
            aet, host, dicom_port = "FULL", "127.0.0.1", full.getsockname()[1]

        began = time.monotonic()
        assert fault_of(Full()).fault.code is FaultCode.NODE_UNREACHABLE  # type: ignore[arg-type]
        assert time.monotonic() - began < 60
        for each in waiting:
            each.close()


def test_a_peer_that_never_answers_the_request_is_a_time_out() -> None:
    with RawPeer(lambda talk: peer.wait()) as peer:
        assert fault_of(peer).fault.code is FaultCode.NODE_TIMEOUT


def test_a_peer_that_never_answers_the_query_is_a_time_out() -> None:
    def fall_silent(talk: Conversation) -> None:
        talk.accept()
        peer.wait()

    with RawPeer(fall_silent) as peer:
        assert fault_of(peer).fault.code is FaultCode.NODE_TIMEOUT


def test_a_peer_that_stops_in_the_middle_of_a_message_is_a_time_out() -> None:
    def stop(talk: Conversation) -> None:
        talk.accept()
        talk.socket.sendall(struct.pack(">BBIIBB", 4, 0, 1000, 996, 1, 3) + b"half")
        peer.wait()

    with RawPeer(stop) as peer:
        assert fault_of(peer).fault.code is FaultCode.NODE_TIMEOUT


def test_a_message_in_the_smallest_pieces_is_still_one_message() -> None:
    def dribble(talk: Conversation) -> None:
        talk.accept()
        talk.read_pdu()
        body = encode(Command(field=CommandField.C_FIND_RSP, responded_message_id=1, status=0))
        fragments = [struct.pack(">IBB", 3, 1, 1) + body[i : i + 1] for i in range(len(body))]
        fragments.append(struct.pack(">IBB", 2, 1, 3))  # the last one is empty
        for start in range(0, len(fragments), 7):  # several in one PDU
            pdu = b"".join(fragments[start : start + 7])
            for byte in struct.pack(">BBI", 4, 0, len(pdu)) + pdu:
                talk.socket.sendall(bytes([byte]))
        talk.read_pdu()  # the release

    with RawPeer(dribble) as peer:
        assert list(node(peer, timeouts=FAST).find(Query(Level.STUDY))) == []


def garbage(talk: Conversation) -> None:
    talk.read_pdu()
    talk.socket.sendall(b"SSH-2.0-OpenSSH\r\n")


def hang_up(talk: Conversation) -> None:
    talk.read_pdu()


def abort(talk: Conversation) -> None:
    talk.accept()
    talk.read_pdu()
    talk.socket.sendall(struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 2, 6))


def release(talk: Conversation) -> None:
    talk.accept()
    talk.read_pdu()
    talk.socket.sendall(struct.pack(">BBII", 5, 0, 4, 0))


def unknown_context(talk: Conversation) -> None:
    talk.accept()
    talk.send(Command(field=CommandField.C_FIND_RSP, responded_message_id=1, status=0), context_id=99)


def fragment_too_long(talk: Conversation) -> None:
    talk.accept()
    talk.socket.sendall(struct.pack(">BBIIBB", 4, 0, 10, 4000, 1, 3) + b"1234")


def no_command(talk: Conversation) -> None:
    talk.accept()
    talk.socket.sendall(struct.pack(">BBIIBB", 4, 0, 10, 6, 1, 3) + b"1234")


def endless_command(talk: Conversation) -> None:
    talk.accept()
    while True:
        talk.socket.sendall(struct.pack(">BBIIBB", 4, 0, 5006, 5002, 1, 1) + bytes(5000))


def unreadable_acceptance(talk: Conversation) -> None:
    talk.read_pdu()
    talk.socket.sendall(struct.pack(">BBI", 2, 0, 80) + b"\x10" * 80)


@pytest.mark.parametrize(
    "script",
    [
        garbage,
        hang_up,
        abort,
        release,
        unknown_context,
        fragment_too_long,
        no_command,
        endless_command,
        unreadable_acceptance,
    ],
    ids=lambda script: str(script.__name__),
)
def test_a_peer_that_breaks_off_or_breaks_the_protocol_is_an_aborted_association(
    script: Callable[[Conversation], None],
) -> None:
    assert code_of(script) is FaultCode.ASSOCIATION_ABORTED


def test_a_web_servers_port_is_told_with_the_cure() -> None:
    def web_server(talk: Conversation) -> None:
        talk.read_pdu()
        talk.socket.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with RawPeer(web_server) as peer:
        fault = fault_of(peer).fault
    assert fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert "answers in HTTP" in fault.message
    assert "dimse.port" in fault.cure


def test_an_answer_of_another_kind_is_no_answer_to_the_query() -> None:
    def echo(talk: Conversation) -> None:
        talk.accept()
        talk.send(Command(field=CommandField.C_ECHO_RSP, responded_message_id=1, status=0))

    assert code_of(echo) is FaultCode.QUERY_FAILED


def test_a_peer_that_closes_an_idle_association_is_asked_for_another() -> None:
    closed = threading.Event()

    def take_one(talk: Conversation) -> None:
        talk.accept()
        talk.read_message()
        talk.send(Command(field=CommandField.C_STORE_RSP, responded_message_id=1, status=0))
        talk.socket.close()
        closed.set()

    instance = as_instance(STUDY.instances[0])
    with RawPeer(take_one) as peer:
        channel = node(peer).open_store({instance.sop_class_uid})
        for _ in range(3):
            assert channel.store(instance).sop_instance_uid == instance.sop_instance_uid
            assert closed.wait(5)
            closed.clear()
        channel.close()


@pytest.mark.parametrize(
    "answer",
    [
        Command(field=CommandField.C_STORE_RSP, responded_message_id=1, status=0, sop_instance_uid="1.2.3"),
        Command(field=CommandField.C_STORE_RSP, responded_message_id=7, status=0),
        Command(field=CommandField.C_STORE_RSP, responded_message_id=1),
        Command(field=CommandField.C_ECHO_RSP, responded_message_id=1, status=0),
    ],
    ids=["another UID", "another message", "no status", "another service"],
)
def test_an_acknowledgement_of_something_else_is_not_believed(answer: Command) -> None:
    def lie(talk: Conversation) -> None:
        talk.accept()
        talk.read_message()
        talk.send(answer)
        talk.read(1)

    instance = as_instance(STUDY.instances[0])
    with RawPeer(lie) as peer, pytest.raises(TransferFault) as raised:
        node(peer).open_store({instance.sop_class_uid}).store(instance)
    assert raised.value.fault.code is FaultCode.STORE_FAILED
    assert raised.value.fault.sop_instance_uid == instance.sop_instance_uid


def drip(talk: Conversation, content: bytes) -> None:
    """One byte at a time, each long before any time-out, until the other side has had enough."""
    for byte in content:
        talk.socket.sendall(bytes([byte]))
        time.sleep(0.1)


def dripped_acceptance(talk: Conversation) -> None:
    talk.read_pdu()
    drip(talk, struct.pack(">BBI", 2, 0, 300) + bytes(300))


def dripped_command(talk: Conversation) -> None:
    talk.accept()
    drip(talk, struct.pack(">BBIIBB", 4, 0, 306, 302, 1, 3) + bytes(300))


def dripped_data_set(talk: Conversation) -> None:
    talk.accept()
    response = Command(field=CommandField.C_FIND_RSP, responded_message_id=1, status=0xFF00, has_data_set=True)
    talk.send(response)
    drip(talk, struct.pack(">BBIIBB", 4, 0, 306, 302, 1, 2) + bytes(300))


def empty_fragments(talk: Conversation) -> None:
    """Progress in bytes, but never any of the command."""
    talk.accept()
    while True:
        talk.socket.sendall(struct.pack(">BBIIBB", 4, 0, 6, 2, 1, 1))
        time.sleep(0.001)


@pytest.mark.parametrize(
    "script",
    [dripped_acceptance, dripped_command, dripped_data_set, empty_fragments],
    ids=lambda script: str(script.__name__),
)
def test_a_peer_that_sends_a_byte_now_and_then_is_a_time_out(script: Callable[[Conversation], None]) -> None:
    began = time.monotonic()
    with RawPeer(script) as peer:
        fault = fault_of(peer).fault
        assert time.monotonic() - began < 60
    assert fault.code is FaultCode.NODE_TIMEOUT
    assert "sent only" in fault.message


def test_a_data_set_may_take_long_while_it_makes_progress() -> None:
    """64 KiB in each network time-out of 1 s are enough, over two of them."""
    piece = 48 * 1024

    def trickle(talk: Conversation) -> None:
        talk.accept()
        talk.read_message()
        response = Command(field=CommandField.C_FIND_RSP, responded_message_id=1, status=0xFF00, has_data_set=True)
        talk.send(response)
        size = 6 * piece
        content = struct.pack("<HH2sH6s", 0x0020, 0x000D, b"UI", 6, b"1.2.3\0")
        content += struct.pack("<HH2sHL", 0x0040, 0xA160, b"UT", 0, size - 26) + b"x" * (size - 26)  # TextValue
        for start in range(0, size, piece):
            part = content[start : start + piece]
            last = 2 if start + piece >= size else 0
            talk.socket.sendall(struct.pack(">BBIIBB", 4, 0, len(part) + 6, len(part) + 2, 1, last) + part)
            time.sleep(0.3)
        talk.send(Command(field=CommandField.C_FIND_RSP, responded_message_id=1, status=0))
        talk.read(1)

    with RawPeer(trickle) as peer:
        assert len(list(node(peer, timeouts=FAST).find(Query(Level.STUDY)))) == 1
