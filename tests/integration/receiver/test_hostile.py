"""Hostile and broken senders: the receiver lives, its memory stays flat, and others are served meanwhile."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adit.dicom.dimse.command import Command, CommandField, encode
from adit.dicom.dimse.negotiation import Proposal
from tests.integration.dimse.nodes import node
from tests.integration.receiver.hostile import CT_EXPLICIT, Sender, request
from tests.peers import Receiver
from tests.peers.server_process import wait_until
from tests.samples import ct_study, encoded

[ONE] = ct_study(1, seed="hostile", size=128).instances
UID, DATA = str(ONE.SOPInstanceUID), encoded(ONE)
FLAT = 30 * 2**20


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """One that loses patience soon."""
    tmp = tmp_path_factory.mktemp("hostile")
    impatient: dict[str, Any] = {
        "request_seconds": 2,
        "message_seconds": 2,
        "idle_seconds": 3,
        "object_bytes": 2**20,
        "waiting": 16,
    }
    with Receiver(tmp, inbox=tmp / "inbox", free_bytes=0, **impatient) as started:
        with Sender(started).associate() as sender:  # loads pydicom, once: what follows is measured without that
            sender.store(UID, b"garbage that is no data set")
            assert sender.status() == 0xC000
        yield started


@pytest.fixture(autouse=True)
def _lives_on(receiver: Receiver) -> Iterator[None]:
    """Whatever a test did, afterwards an honest sender is served and nothing has grown."""
    before = receiver.memory()
    yield
    assert receiver.process.running
    with Sender(receiver).associate(calling="HONEST") as honest:
        honest.store(UID, DATA)
        assert honest.status() == 0
        honest.release()
    assert receiver.memory() - before < FLAT
    assert receiver.events("an association failed") == []


def test_random_bytes(receiver: Receiver) -> None:
    dice = random.Random(4711)
    for length in (1, 5, 6, 7, 100, 5000, 100_000):
        with Sender(receiver) as sender:
            with contextlib.suppress(ConnectionError):
                sender.socket.sendall(dice.randbytes(length))
                sender.socket.shutdown(socket.SHUT_WR)
            assert sender.ended() in ("aborted", "closed")


def test_damaged_association_requests(receiver: Receiver) -> None:
    """Every byte of the first hundred, and many of the others, replaced by another."""
    dice = random.Random(42)
    honest = request(receiver)
    for position in [*range(100), *dice.sample(range(100, len(honest)), 60)]:
        damaged = bytearray(honest)
        damaged[position] ^= dice.randrange(1, 256)
        with Sender(receiver) as sender, contextlib.suppress(ConnectionError):
            sender.socket.sendall(damaged)
            sender.socket.shutdown(socket.SHUT_WR)
            with contextlib.suppress(EOFError):
                assert sender.read_pdu()[0] in (0x02, 0x03, 0x07)


@pytest.mark.parametrize("kind", [0x01, 0x04])
def test_a_pdu_length_bomb_before_any_association(receiver: Receiver, kind: int) -> None:
    with Sender(receiver) as sender:
        sender.socket.sendall(struct.pack(">BBI", kind, 0, 0xFFFFFFFF))
        assert sender.ended() == "aborted"


def test_a_pdu_length_bomb_in_an_association(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender:
        sender.store(UID, DATA, announce=2**31)
        assert sender.ended() == "aborted"


def test_an_object_that_never_ends_is_refused_without_being_kept(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender:
        sender.store(UID, DATA + bytes(20 * 2**20), piece=100_000)
        assert sender.status() == 0xA700
        assert receiver.fates("too-big") == 1
        sender.store(UID, DATA)
        assert sender.status() == 0  # and the association goes on


def test_a_command_that_never_ends(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender, contextlib.suppress(ConnectionError):
        for _ in range(100):
            sender.fragment(bytes(10_000), is_command=True, is_last=False)
        assert sender.ended() == "aborted"


def test_a_header_that_never_shows_whose_it_is(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender:
        filler = struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 900_000) + bytes(900_000)
        sender.store(UID, filler)
        assert sender.status() == 0xC000


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage that is no data set", 0xC000),
        (bytes(1000), 0xC000),
        (encoded(ct_study(1, seed="another").instances[0]), 0xA900),  # of another instance than the command says
    ],
)
def test_data_sets_that_are_none(receiver: Receiver, data: bytes, status: int) -> None:
    with Sender(receiver).associate() as sender:
        sender.store(UID, data)
        assert sender.status() == status
        sender.store(UID, DATA)
        assert sender.status() == 0


@pytest.mark.parametrize("study", ["../../../../tmp/x", "..", ".", ".1.2"])
def test_uids_that_would_leave_the_inbox(receiver: Receiver, study: str) -> None:
    evil = deepcopy(ct_study(1, seed="evil").instances[0])
    evil.StudyInstanceUID = study
    with Sender(receiver).associate() as sender:
        sender.store(str(evil.SOPInstanceUID), encoded(evil))
        assert sender.status() == 0xC000
    inbox: Path = receiver._settings["inbox"]
    assert not list(inbox.parent.glob("*.dcm")) + list(inbox.glob("*.dcm"))


def test_a_header_of_nothing_but_items(receiver: Receiver) -> None:
    """Eight bytes each, of which a library makes an object."""
    at = DATA.index(b"\x10\0\x10\0PN")
    items = b"\x08\0\x40\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0\0\0\0\0" * 120_000 + b"\xfe\xff\xdd\xe0" + bytes(4)
    with Sender(receiver).associate() as sender:
        sender.store(UID, DATA[:at] + items + DATA[at:])
        assert sender.status() == 0


def test_cut_off_within_an_object(receiver: Receiver) -> None:
    inbox: Path = receiver._settings["inbox"]
    with Sender(receiver).associate() as sender:
        sender.store("1.2.3", DATA[: len(DATA) // 2], announce=len(DATA))
        sender.socket.sendall(DATA[:20_000])
    wait_until(lambda: not list((inbox / ".unfinished").iterdir()), "nothing is left of it")
    assert not list(inbox.glob("*/1.2.3-*"))


@pytest.mark.parametrize(
    "message",
    [
        Command(field=CommandField.C_FIND_RQ, message_id=1),
        Command(field=CommandField.C_STORE_RSP, responded_message_id=1, status=0),
        Command(field=0x7777),
    ],
)
def test_what_no_storage_scp_is_asked(receiver: Receiver, message: Command) -> None:
    with Sender(receiver).associate() as sender:
        sender.fragment(encode(message), is_command=True)
        assert sender.ended() == "aborted"


def test_contexts_that_nobody_accepted(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender:
        sender.fragment(encode(Command(field=CommandField.C_ECHO_RQ, message_id=1)), is_command=True, context=77)
        assert sender.ended() == "aborted"


def test_a_store_without_a_data_set(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender:
        asked = Command(field=CommandField.C_STORE_RQ, message_id=1, priority=0, sop_instance_uid=UID)
        sender.fragment(encode(asked), is_command=True)
        assert sender.status() == 0xC000


def test_query_classes_are_no_storage(receiver: Receiver) -> None:
    model = Proposal("1.2.840.10008.5.1.4.1.2.2.1", ("1.2.840.10008.1.2",))
    with Sender(receiver) as sender:
        sender.socket.sendall(request(receiver, (model, *CT_EXPLICIT)))
        answer = sender.read_pdu()
        assert answer[0] == 0x02
        assert b"\x21\x00" in answer
        sender.fragment(encode(Command(field=CommandField.C_FIND_RQ, message_id=1)), is_command=True, context=1)
        assert sender.ended() == "aborted"


def drip(sender: Sender, content: bytes) -> None:
    """A byte each tenth of a second, until the other side has enough."""
    with contextlib.suppress(ConnectionError):
        for byte in content[:600]:
            sender.socket.sendall(bytes([byte]))
            time.sleep(0.1)


def in_a_data_set(sender: Sender) -> None:
    sender.associate()
    sender.store(UID, DATA, announce=100_000)


@pytest.mark.parametrize(
    "begin", [lambda sender: None, Sender.associate, in_a_data_set], ids=["asks", "speaks", "sends"]
)
def test_slow_loris(receiver: Receiver, begin: Callable[[Sender], object]) -> None:
    with Sender(receiver) as sender:
        begin(sender)
        assert node(receiver).probe().reachable  # others are served meanwhile
        began = time.monotonic()
        drip(sender, request(receiver) if begin.__name__ == "<lambda>" else bytes([4, 0, 0, 1, 0, 0]) + bytes(600))
        assert time.monotonic() - began < 45  # dripping takes a minute
        with contextlib.suppress(ConnectionError):
            assert sender.ended() in ("aborted", "closed")


def test_silence_in_an_association(receiver: Receiver) -> None:
    with Sender(receiver).associate() as sender:
        assert sender.ended() == "aborted"


def test_two_hundred_half_open_associations(receiver: Receiver) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            sender = stack.enter_context(Sender(receiver))
            with contextlib.suppress(ConnectionError):
                sender.socket.sendall(request(receiver)[:50])
        assert node(receiver).probe().reachable  # others are served meanwhile
        threads = len(list(Path(f"/proc/{receiver.process.pid}/task").iterdir()))
        assert threads < 40
    assert receiver.metric("adit_receiver_connections_total", result="displaced") >= 100


def test_two_hundred_associations_of_one_address(tmp_path: Path) -> None:
    """Some amid an object for ever, some silent: it may not have all places, and loses silent ones to others."""
    with Receiver(tmp_path, request_seconds=2, message_seconds=600, inbox=tmp_path / "inbox", free_bytes=0) as full:
        with contextlib.ExitStack() as stack:

            def gets_in(address: str) -> bool:
                sender = stack.enter_context(Sender(full, address=address))
                sender.socket.sendall(request(full))
                return sender.read_pdu()[0] == 0x02

            honest = stack.enter_context(Sender(full)).associate(calling="HONEST")
            hostile = []
            for number in range(200):
                sender = stack.enter_context(Sender(full, address="127.0.0.2"))
                sender.socket.sendall(request(full))
                if sender.read_pdu()[0] == 0x02:
                    hostile.append(sender)
                    if number % 2:
                        sender.store(UID, DATA, announce=100_000)
            assert len(hostile) == 35
            before = full.memory()
            for number in range(4):
                assert gets_in(f"127.0.0.{10 + number}")
            for number in range(4):  # now all places are taken
                wait_until(partial(gets_in, f"127.0.0.{20 + number}"), "others are served")
            honest.store(UID, DATA)
            assert honest.status() == 0
            assert full.memory() - before < FLAT
        assert [each["peer"] for each in full.events("association displaced")] == ["127.0.0.2"] * 4
        wait_until(lambda: full.metric("adit_receiver_open_associations") == 0, "all have ended")
        assert full.events("an association failed") == []


def test_ports_are_scanned(receiver: Receiver) -> None:
    for _ in range(100):
        socket.create_connection((receiver.host, receiver.dicom_port)).close()
