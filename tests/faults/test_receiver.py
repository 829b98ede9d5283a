"""C-MOVE under a running dispatcher: receivers and workers killed, late objects, two tasks of one study."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.state import TaskState
from tests.faults.system import Gate, Job, System, dimse, pid_of
from tests.integration.transfer.scene import folder
from tests.peers import Behaviour, Receiver, ScriptedSCP
from tests.peers.scripted_move import MoveBehaviour
from tests.peers.server_process import wait_until
from tests.samples import ct_study

STUDY = ct_study(8, seed="receiver", size=64)
UIDS = STUDY.sop_instance_uids
BY_MOVE = ["Verification", "StudyRootFind", "StudyRootMove"]
HASTY = {"connectSeconds": 5, "acseSeconds": 10, "dimseSeconds": 5, "networkSeconds": 20, "idleSeconds": 1}


@pytest.fixture
def receiver(receiver_url: str, tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path, database_url=receiver_url) as started:
        yield started


@pytest.fixture
def pacs(receiver: Receiver) -> Iterator[ScriptedSCP]:
    with ScriptedSCP(STUDY.instances, aet="PACS") as scp:
        scp.move.destinations["ADIT"] = (receiver.host, receiver.dicom_port)
        yield scp


def source(peer: Any) -> DicomNode:
    return dimse("pacs", peer, services=BY_MOVE, timeouts=HASTY)


def stored(job: Job) -> set[str]:
    return job.in_state(InstanceState.STORED, InstanceState.VERIFIED)


def test_the_only_receiver_is_killed_and_comes_back(system: System, pacs: ScriptedSCP, receiver: Receiver) -> None:
    gate = Gate("C-MOVE sub-operation", 5)
    pacs.behaviour = Behaviour(before=gate)
    with ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(source(pacs), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        receiver.kill()
        gate.opened.set()
        wait_until(lambda: pacs.move.statuses.count(None) >= 1, "the PACS notices")
        receiver.start()
        job.is_green(STUDY)
        assert destination.stores() == Counter(UIDS)


def test_one_of_three_receivers_is_killed(
    system: System, pacs: ScriptedSCP, receiver: Receiver, receiver_url: str, tmp_path: Path
) -> None:
    """A balancer sends each association to another one; the mailbox is found by all."""
    gate = Gate("C-MOVE sub-operation", 5)
    with (
        Receiver(tmp_path, database_url=receiver_url) as second,
        Receiver(tmp_path, database_url=receiver_url) as third,
        ScriptedSCP(aet="DESTINATION") as destination,
        system.dispatching(),
    ):

        def balance(service: str, number: int) -> None:
            if service == "C-MOVE":
                to = (receiver, second, third)[(number - 1) % 3]
                pacs.move.behaviour = MoveBehaviour(destination=(to.host, to.dicom_port))
            gate(service, number)

        pacs.behaviour = Behaviour(before=balance)
        job = system.job(source(pacs), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        receiver.kill()
        gate.opened.set()
        job.is_green(STUDY)
        assert job.task.attempts == 1
        assert destination.stores() == Counter(UIDS)
        assert second.fates("taken") == 4
        assert third.fates("taken") == 0


def test_a_rolling_update_loses_nothing(
    system: System, pacs: ScriptedSCP, receiver: Receiver, receiver_url: str, tmp_path: Path
) -> None:
    gate = Gate("C-MOVE sub-operation", 4)
    pacs.behaviour = Behaviour(before=gate)
    with (
        Receiver(tmp_path, database_url=receiver_url) as newer,
        ScriptedSCP(aet="DESTINATION") as destination,
        system.dispatching(),
    ):
        job = system.job(source(pacs), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        receiver.signal(signal.SIGTERM)
        pacs.move.destinations["ADIT"] = (newer.host, newer.dicom_port)  # as a Service does it
        wait_until(lambda: receiver.ready() in ("draining", None), "it drains")
        gate.opened.set()
        job.is_green(STUDY)
        assert pacs.move.statuses.count(0) == 8
        assert destination.stores() == Counter(UIDS)
        assert receiver.process.wait() == 0


def test_a_worker_is_killed_with_its_mailbox_open(system: System, pacs: ScriptedSCP, receiver: Receiver) -> None:
    gate = Gate("C-MOVE sub-operation", 5)
    pacs.behaviour = Behaviour(before=gate)
    with ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(source(pacs), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        wait_until(lambda: len(stored(job)) == 4, "the ledger knows what was stored")
        pid = pid_of(job.running())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone")
        gate.opened.set()
        wait_until(lambda: len(pacs.move.statuses) >= 8, "the PACS is through")
        assert pacs.move.statuses[:8] == [0] * 4 + [0xA700] * 4  # never a success for what nobody has
        job.is_green(STUDY)
        assert job.task.attempts == 2
        assert pacs.move.statuses[8:] == [0] * 4  # only what was missing
        assert destination.stores() == Counter(UIDS)
    assert receiver.fates("lost") + receiver.fates("unclaimed") == 4


def test_late_objects_for_a_dead_attempt_are_not_the_next_ones(
    system: System, pacs: ScriptedSCP, receiver: Receiver
) -> None:
    """The PACS goes on with the first C-MOVE, while the second one's mailbox is open."""
    first, second = Gate("C-MOVE sub-operation", 5), threading.Event()
    late = threading.Event()

    def before(service: str, number: int) -> None:
        first(service, number)
        if service == "C-MOVE" and number == 2:
            first.opened.set()
            second.set()
            late.wait(90)

    pacs.behaviour = Behaviour(before=before)
    with ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(source(pacs), dimse("archive", destination), STUDY)
        assert first.reached.wait(90)
        wait_until(lambda: len(stored(job)) == 4, "the ledger knows what was stored")
        os.kill(pid_of(job.running()), signal.SIGKILL)
        assert second.wait(60)
        [dead, *_] = pacs.move.by_request.values()
        wait_until(lambda: len(dead) == 8, "the first C-MOVE is through")
        assert dead == [0] * 4 + [0xA700] * 4
        late.set()
        job.is_green(STUDY)
        assert destination.stores() == Counter(UIDS)
    assert receiver.fates("unclaimed") >= 3


def test_cancelled_while_a_c_move_is_on(system: System, pacs: ScriptedSCP, receiver: Receiver) -> None:
    gate = Gate("C-MOVE sub-operation", 5)
    pacs.behaviour = Behaviour(before=gate)
    with ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(source(pacs), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        wait_until(lambda: len(stored(job)) == 4, "the ledger knows what was stored")
        pid = pid_of(job.running())
        system.adit("cancel", "job")
        assert job.wait().tasks == {TaskState.CANCELED: 1}
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone")
        wait_until(pacs.move.asked_to_stop, "its C-CANCEL has come")
        gate.opened.set()
        wait_until(lambda: len(pacs.move.cancelled) == 1, "the PACS stops")
        assert pacs.move.statuses == [0] * 4 + [0xA700]  # what it was at is refused, and no more is sent
        assert len(stored(job)) == 4


@pytest.mark.parametrize("message_ids", ["true", "none"])
def test_two_tasks_of_one_study_at_once(
    system: System, pacs: ScriptedSCP, receiver: Receiver, message_ids: str, tmp_path: Path
) -> None:
    pacs.move.behaviour = MoveBehaviour(message_ids=message_ids)
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        out.mkdir()
    jobs = [system.job(source(pacs), folder(out.name, out), STUDY, name=out.name) for out in outs]
    with system.dispatching():
        for job in jobs:
            job.is_green(STUDY)
    for out in outs:
        assert len(list(out.rglob("*.dcm"))) == len(UIDS)
    assert pacs.move.statuses == [0] * 16
    assert pacs.requests["C-MOVE"] == 2
    assert receiver.fates("taken") == 16
