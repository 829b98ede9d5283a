"""A node stays within its share, and every call ends soon when it is interrupted."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest

from adit.dicom.dimse import connection
from adit.dicom.dimse.command import Command, CommandField
from adit.dicom.dimse.node import DimseNode
from adit.dicom.node import Level, Query, Wanted
from adit.model.assignment import Share
from adit.model.dicom_node import Timeouts
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import Basket, as_instance, ct_scp, node
from tests.integration.dimse.raw_peer import Conversation, RawPeer
from tests.peers.server_process import wait_until
from tests.samples import ct_study

STUDY = ct_study(4, size=256)  # 0.13 MB each
CT = str(STUDY.instances[0].SOPClassUID)
PATIENT = Timeouts(connect_seconds=60, acse_seconds=60, dimse_seconds=60, network_seconds=60)
FETCH = Wanted(STUDY.study_instance_uid, sop_class_uids=frozenset({CT}))


def test_queries_are_asked_at_their_rate() -> None:
    with ct_scp(STUDY.instances) as peer:
        ours = node(peer, share=Share(associations=1, queries_per_second=4))
        began = time.monotonic()
        for _ in range(7):
            list(ours.find(Query(Level.STUDY)))
        assert time.monotonic() - began >= 0.7  # four at once, three more at four a second


def test_bytes_are_fetched_and_stored_at_their_rate() -> None:
    with ct_scp(STUDY.instances) as peer:
        share = Share(associations=2, bytes_per_second=400_000)
        basket = Basket()
        began = time.monotonic()
        node(peer, share=share).fetch(FETCH, basket)
        fetched = time.monotonic() - began
        assert fetched >= 0.8  # 0.53 MB, of which 0.1 MB at once
        began = time.monotonic()
        with closing(node(peer, share=share).open_store({CT})) as channel:
            for item in STUDY.instances:
                channel.store(as_instance(item))
        assert time.monotonic() - began >= 0.8


def test_no_more_associations_are_open_than_the_share_has() -> None:
    most = 0
    running = 0
    lock = threading.Lock()

    def count(service: str, number: int) -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1

    with ct_scp(STUDY.instances) as peer:
        peer.behaviour.before = count
        ours = node(peer, share=Share(associations=2))
        threads = [threading.Thread(target=lambda: list(ours.find(Query(Level.STUDY)))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert peer.requests["C-FIND"] == 8
        assert most <= 2


def test_who_holds_the_whole_share_is_told_instead_of_waiting_for_ever() -> None:
    with ct_scp(STUDY.instances) as peer:
        ours = node(peer, share=Share(associations=1), timeouts=Timeouts(acse_seconds=1))
        with closing(ours.open_store({CT})) as channel:
            channel.store(as_instance(STUDY.instances[0]))
            with pytest.raises(TransferFault) as raised:
                list(ours.find(Query(Level.STUDY)))
        assert raised.value.fault.code is FaultCode.ASSOCIATION_REJECTED_TRANSIENT
        assert len(list(ours.find(Query(Level.STUDY)))) == 1


def find(ours: DimseNode) -> None:
    list(ours.find(Query(Level.STUDY)))


def fetch(ours: DimseNode) -> None:
    ours.fetch(FETCH, Basket())


def store(ours: DimseNode) -> None:
    with closing(ours.open_store({CT})) as channel:
        channel.store(as_instance(STUDY.instances[0]))


def begun(waiting: threading.Event) -> None:
    assert waiting.wait(90)


def interrupted(call: Callable[[DimseNode], None], ours: DimseNode, wait: Callable[[], None]) -> list[FaultCode]:
    """What the call raises that is interrupted once it waits, which `wait` waits for."""
    faults: list[FaultCode] = []

    def run() -> None:
        try:
            call(ours)
        except TransferFault as fault:
            faults.append(fault.fault.code)

    thread = threading.Thread(target=run)
    thread.start()
    wait()
    ours.interrupt()
    thread.join(90)  # a fetch first asks its peer to stop
    return faults


@pytest.mark.parametrize("call", [find, fetch, store], ids=lambda call: str(call.__name__))
@pytest.mark.parametrize("accepts", [False, True], ids=["negotiating", "established"])
def test_an_interruption_ends_a_call_that_waits(call: Callable[[DimseNode], None], *, accepts: bool) -> None:
    waiting = threading.Event()

    def keep_waiting(talk: Conversation) -> None:
        if accepts:
            talk.accept()
        talk.read_pdu()
        waiting.set()
        peer.wait()

    with RawPeer(keep_waiting) as peer:
        ours = node(peer, timeouts=PATIENT)
        assert interrupted(call, ours, lambda: begun(waiting)) == [FaultCode.INTERRUPTED]


def test_an_interruption_amid_an_instance_is_waited_out_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch is spared to call itself off between two instances; of a peer that falls silent in one nothing comes."""
    monkeypatch.setattr(connection, "_LEAVE", 0.5)
    waiting = threading.Event()

    def fall_silent(talk: Conversation) -> None:
        talk.accept()
        talk.read_message()
        talk.send(Command(field=CommandField.C_STORE_RQ, has_data_set=True, message_id=1, sop_instance_uid="1.2.3"))
        waiting.set()
        peer.wait()

    with RawPeer(fall_silent) as peer:
        ours = node(peer, timeouts=PATIENT)
        assert interrupted(fetch, ours, lambda: begun(waiting)) == [FaultCode.INTERRUPTED]


def test_an_interruption_ends_a_wait_for_the_rate_and_forbids_what_comes_after() -> None:
    with ct_scp(STUDY.instances) as peer:
        ours = node(peer, share=Share(associations=1, bytes_per_second=1))
        asked = partial(wait_until, lambda: peer.requests["C-GET"] == 1, "the fetch has begun")
        assert interrupted(fetch, ours, asked) == [FaultCode.INTERRUPTED]
        with pytest.raises(TransferFault) as raised:
            find(ours)
        assert raised.value.fault.code is FaultCode.INTERRUPTED
