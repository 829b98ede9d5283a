"""The relay over real sockets: what arrives is what was sent, by the right one, and taken over before it is told."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from adit.dicom.payload import ReceivedInstance, Spool
from adit.dicom.relay import frames, listener, sender
from adit.dicom.relay.frames import CHUNK, END, Header
from adit.dicom.relay.handshake import NotProven, new_secret
from adit.dicom.relay.listener import RelayListener
from adit.dicom.relay.sender import Sender
from adit.model.mailbox import Mailbox
from tests.peers.server_process import wait_until
from tests.peers.small_disk import SmallDisk

HEADER = Header("1.2.1", "1.2.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.1.1.1", "1.2.840.10008.1.2.1")
CONTENT = bytes(range(256)) * 4000
GONE = (ConnectionError, TimeoutError)


class Worker:
    """Keeps what is taken over; `before` may be slow."""

    def __init__(self) -> None:
        self.taken: list[tuple[ReceivedInstance, bytes]] = []
        self.before: Callable[[], None] = lambda: None
        self.status = 0x0000

    def take(self, instance: ReceivedInstance) -> int:
        self.before()
        with instance.open() as reader:
            self.taken.append((instance, reader.read()))
        instance.close()
        return self.status


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def box(worker: Worker, tmp_path: Path) -> Iterator[RelayListener]:
    opened = RelayListener("127.0.0.1", worker.take, Spool(tmp_path))
    yield opened
    opened.close()


Connect = Callable[[Mailbox], Sender]


@pytest.fixture
def connect() -> Iterator[Connect]:
    with ExitStack() as stack:

        def made(mailbox: Mailbox) -> Sender:
            ours = Sender(mailbox)
            stack.callback(ours.close)
            return ours

        yield made


def send(ours: Sender, content: bytes = CONTENT, header: Header = HEADER) -> int:
    ours.begin(header)
    for start in range(0, len(content), 100_000):
        ours.write(memoryview(content)[start : start + 100_000])
    return ours.finish()


def test_objects_one_after_the_other(box: RelayListener, worker: Worker, connect: Connect) -> None:
    ours = connect(box.mailbox)
    assert [send(ours), send(ours, b""), send(ours, CONTENT * 8)] == [0, 0, 0]
    assert [content for _, content in worker.taken] == [CONTENT, b"", CONTENT * 8]
    instance = worker.taken[0][0]
    assert instance.study_instance_uid == HEADER.study_instance_uid
    assert instance.transfer_syntax_uid == HEADER.transfer_syntax_uid
    assert not ours.has_ended
    box.close()
    assert ours.has_ended


def test_one_mailbox_after_the_other_at_the_same_port(worker: Worker, connect: Connect) -> None:
    """As in a pod, where policies let receivers in at one port only. A late one meets a stranger there."""
    first = RelayListener("127.0.0.1", worker.take)
    ours, port = connect(first.mailbox), first.mailbox.port
    assert send(ours) == 0
    first.close()
    second = RelayListener("127.0.0.1", worker.take, port=port)
    try:
        assert second.mailbox.port == port
        with pytest.raises(GONE):
            send(connect(first.mailbox))
        assert send(connect(second.mailbox)) == 0
    finally:
        second.close()


def test_the_workers_word_is_the_answer(box: RelayListener, worker: Worker, connect: Connect) -> None:
    worker.status = 0xA700
    assert send(connect(box.mailbox)) == 0xA700


@pytest.mark.parametrize("change", [{"secret": new_secret()}, {"id": uuid4()}])
def test_whoever_does_not_know_the_secret_is_turned_away(
    box: RelayListener, worker: Worker, change: dict[str, str], connect: Connect
) -> None:
    with pytest.raises(GONE):
        send(connect(replace(box.mailbox, **change)))  # type: ignore[arg-type]
    assert worker.taken == []
    assert send(connect(box.mailbox)) == 0


def test_nothing_is_told_to_a_stranger_at_the_workers_address(connect: Connect) -> None:
    """The worker died, and something else listens there by now: it learns neither the secret nor a patient's data."""
    heard = bytearray()

    def serve(listening: socket.socket) -> None:
        connected, _ = listening.accept()
        with connected:
            heard.extend(connected.recv(100))
            connected.sendall(bytes(64))
            while piece := connected.recv(1000):
                heard.extend(piece)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        mailbox = Mailbox(uuid4(), "127.0.0.1", listening.getsockname()[1], new_secret())
        with pytest.raises(NotProven):
            send(connect(mailbox))
        thread.join(90)
    assert len(heard) == 16 + 16 + 32
    assert bytes.fromhex(mailbox.secret) not in heard


def garbled(ours: Sender, content: bytes, end: bytes) -> None:
    ours.begin(HEADER)
    ours._stream.send(CHUNK.pack(len(content)), content, CHUNK.pack(0), end)
    ours._stream.set_timeout(10)


@pytest.mark.parametrize(
    "end",
    [END.pack(len(CONTENT), bytes(32)), END.pack(1, bytes(32)), b"\xff" * END.size],
    ids=["digest", "length", "both"],
)
def test_what_is_not_what_was_sent_is_not_taken(
    box: RelayListener, worker: Worker, end: bytes, connect: Connect
) -> None:
    ours = connect(box.mailbox)
    garbled(ours, CONTENT, end)
    with pytest.raises(GONE):
        ours._stream.take(1)
    assert worker.taken == []


@pytest.mark.parametrize(
    "content",
    [CHUNK.pack(2**31), CHUNK.pack(10) + b"no header!", CHUNK.pack(2) + b"{}", HEADER.encode() + CHUNK.pack(2**30)],
)
def test_frames_that_are_none(box: RelayListener, worker: Worker, content: bytes, connect: Connect) -> None:
    ours = connect(box.mailbox)
    ours._stream.set_timeout(10)
    ours._stream.send(content)
    with pytest.raises(GONE):
        ours._stream.take(1)
    assert send(connect(box.mailbox)) == 0


def test_cut_off_or_abandoned_in_the_middle(box: RelayListener, worker: Worker, connect: Connect) -> None:
    cut, ours = connect(box.mailbox), connect(box.mailbox)
    for each in (cut, ours):
        each.begin(HEADER)
        each.write(memoryview(CONTENT)[:1000])
    cut.close()
    ours.abandon()
    ours.abandon()
    assert send(ours) == 0
    assert len(worker.taken) == 1
    wait_until(lambda: box.traffic.quiet_for > 0, "nothing is on its way")


def test_garbage_before_any_greeting(box: RelayListener, connect: Connect) -> None:
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(5000)):
        with socket.create_connection((box.mailbox.host, box.mailbox.port), timeout=10) as stranger:
            stranger.sendall(garbage)
            with contextlib.suppress(OSError):  # it may have hung up already
                stranger.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
    assert send(connect(box.mailbox)) == 0


def _wait(gate: threading.Event, seconds: float) -> None:
    gate.wait(seconds)


def test_a_worker_that_takes_long_says_that_it_lives(
    box: RelayListener, worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connect: Connect
) -> None:
    monkeypatch.setattr(listener, "WORKING_SECONDS", 0.1)
    monkeypatch.setattr(sender, "ANSWER_SECONDS", 0.5)
    slow = RelayListener("127.0.0.1", worker.take, Spool(tmp_path))
    gate = threading.Event()
    worker.before = lambda: _wait(gate, 1.5)
    assert send(connect(slow.mailbox)) == 0
    slow.close()


def test_a_worker_that_hangs_is_given_up(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, connect: Connect
) -> None:
    monkeypatch.setattr(listener, "WORKING_SECONDS", 60)
    monkeypatch.setattr(sender, "ANSWER_SECONDS", 0.3)
    hanging = RelayListener("127.0.0.1", worker.take, Spool(tmp_path))
    gate = threading.Event()
    worker.before = lambda: _wait(gate, 30)
    with pytest.raises(TimeoutError):
        send(connect(hanging.mailbox))
    gate.set()
    hanging.close()


def test_closing_waits_for_what_is_being_taken_over(worker: Worker, tmp_path: Path, connect: Connect) -> None:
    closing = RelayListener("127.0.0.1", worker.take, Spool(tmp_path))
    gate, reached = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        gate.wait(90)

    worker.before = wait
    first, second = connect(closing.mailbox), connect(closing.mailbox)
    statuses: list[int] = []

    def try_send(ours: Sender) -> None:
        try:
            statuses.append(send(ours))
        except OSError:
            statuses.append(-1)

    threads = [threading.Thread(target=try_send, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    assert reached.wait(90)
    ending = threading.Thread(target=closing.close)
    ending.start()
    gate.set()
    ending.join(90)
    assert not ending.is_alive()
    taken = len(worker.taken)
    for thread in threads:
        thread.join(90)
    assert len(worker.taken) == taken <= 2
    assert statuses.count(0) <= taken  # nobody was told success for what was not taken


def test_a_spool_without_room_is_told(worker: Worker, tmp_path: Path, connect: Connect) -> None:
    with SmallDisk(tmp_path, 2**20) as disk:
        full = RelayListener("127.0.0.1", worker.take, Spool(disk.path))
        assert send(connect(full.mailbox), CONTENT * 8) == 0xA700
        assert full.failure is not None
        assert full.failure.errno == errno.ENOSPC
        full.close()
    assert worker.taken == []


def test_a_mailbox_does_not_show_its_secret(box: RelayListener) -> None:
    assert box.mailbox.secret not in repr(box.mailbox)
    assert frames.WORKING_SECONDS * 3 < frames.ANSWER_SECONDS
