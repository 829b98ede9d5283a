"""The worker as a process: killed, signalled, fenced, cut off from its ledger. Nothing lost, nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adit.model.instance import InstanceState
from adit.model.outcome import EXIT_CODES, EXIT_CONTRACT_MISMATCH, FaultCode, Outcome
from adit.model.process_reference import parse
from adit.transfer.halt import FAULTS, Reason
from tests.integration.transfer.scene import Scene, Task, Worker, dimse, now
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import ct_study

STUDY = ct_study(20, size=64, patient_id="WORKER-PATIENT")
ONCE = Counter(STUDY.sop_instance_uids)
STORED, VERIFIED, EXPECTED = InstanceState.STORED, InstanceState.VERIFIED, InstanceState.EXPECTED


@dataclass
class Gate:
    """Holds a peer up at the n-th request of a service until it is opened."""

    service: str
    number: int
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, service: str, number: int) -> None:
        if service == self.service and number == self.number:
            self.reached.set()
            self.opened.wait(90)


@pytest.fixture
def source() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as scp:
        yield scp


@pytest.fixture
def destination() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(aet="DESTINATION") as scp:
        yield scp


@pytest.fixture
def task(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> Task:
    scene.associations = 1
    return scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)


def asked_by_name(source: ScriptedSCP) -> set[str]:
    """The SOP Instance UIDs of all C-GETs at IMAGE level."""
    named: set[str] = set()
    for query in source.queries:
        uids = query.get("SOPInstanceUID")
        if query.QueryRetrieveLevel == "IMAGE" and uids:
            named |= {uids} if isinstance(uids, str) else set(uids)
    return named


def test_an_attempt_from_environment_to_exit_code(scene: Scene, task: Task, destination: ScriptedSCP) -> None:
    worker = task.start()
    assert worker.wait() == EXIT_CODES[Outcome.SUCCESS]
    assert destination.stores() == ONCE
    [ended] = scene.ledger.ended(10)
    assert ended.report.outcome is Outcome.SUCCESS
    assert (ended.expected, ended.verified) == (20, 20)
    log = worker.log.read_text()
    [line] = [json.loads(line) for line in log.splitlines()]
    assert (line["event"], line["outcome"], line["verified"]) == ("ended", "Success", 20)
    assert line["attempt"] == worker.assignment.attempt_id
    for secret in (STUDY.study_instance_uid, STUDY.patient_id, scene.worker_url, str(worker.assignment.token)):
        assert secret not in log


def test_killed_while_fetching(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    gate = Gate("C-GET sub-operation", 9)
    source.behaviour = Behaviour(before=gate)
    worker = task.start()
    assert gate.reached.wait(90)
    wait_until(lambda: task.count(STORED) == 8, "the ledger knows what was stored")
    worker.kill()
    gate.opened.set()
    kept = {uid for uid, state in task.states().items() if state is STORED}
    task.lost(worker.assignment)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE
    assert asked_by_name(source) == STUDY.sop_instance_uids - kept
    assert set(task.states().values()) == {VERIFIED}


def test_killed_while_storing(task: Task, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    gate = Gate("C-STORE", 12)
    destination.behaviour = Behaviour(before=gate)
    worker = task.start()
    assert gate.reached.wait(90)
    wait_until(lambda: task.count(STORED) > 0, "the ledger knows of some")
    worker.kill()
    gate.opened.set()
    kept = {uid for uid, state in task.states().items() if state is STORED}
    task.lost(worker.assignment)
    report = task.run()
    assert (report.outcome, report.warnings) == (Outcome.SUCCESS, ())  # what it had in flight is no stranger's
    stores = destination.stores()
    assert destination.holds == STUDY.sop_instance_uids
    assert all(stores[uid] == 1 for uid in kept)
    assert max(stores.values()) <= 2
    assert set(task.states().values()) == {VERIFIED}


def test_sigterm_stores_what_was_received_and_the_next_attempt_goes_on(
    scene: Scene, task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    gate = Gate("C-GET sub-operation", 9)
    source.behaviour = Behaviour(before=gate)
    worker = task.start()
    assert gate.reached.wait(90)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == EXIT_CODES[Outcome.CANCELLED] == 143
    gate.opened.set()
    [ended] = scene.ledger.ended(10)
    assert ended.report.faults[0].code is FaultCode.INTERRUPTED
    assert Counter(task.states().values()) == {STORED: 8, EXPECTED: 12}
    task.again(worker.assignment)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_sigterm_while_the_worker_still_imports_is_an_interruption_and_no_loss(
    scene: Scene, task: Task, source: ScriptedSCP
) -> None:
    """From its first moment on the worker has a last word."""
    gate = Gate("C-FIND", 1)  # lest it be through before a busy machine has sent the signal
    source.behaviour = Behaviour(before=gate)
    worker = task.start()
    status = Path(f"/proc/{worker.process.pid}/status")
    wait_until(lambda: takes(status.read_text(), signal.SIGTERM), "the handlers are set")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == EXIT_CODES[Outcome.CANCELLED] == 143
    gate.opened.set()
    [ended] = scene.ledger.ended(10)
    assert ended.report.faults[0].code is FaultCode.INTERRUPTED


def takes(status: str, number: signal.Signals) -> bool:
    """Whether the process of this /proc/PID/status has a handler of its own for the signal."""
    [mask] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_nothing_heavy_is_imported_before_signals_are_taken() -> None:
    listing = "import sys, adit_worker.stop; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    assert "adit_worker" in loaded
    assert set(loaded).isdisjoint({"adit", "pydantic", "sqlalchemy", "psycopg", "pydicom", "pynetdicom"})


def test_a_cancelled_attempt_stops_itself(scene: Scene, task: Task, source: ScriptedSCP) -> None:
    gate = Gate("C-GET sub-operation", 9)
    source.behaviour = Behaviour(before=gate)
    worker = task.start()
    assert gate.reached.wait(90)
    scene.ledger.request_stop([worker.assignment.attempt_id], now())
    assert worker.wait() == EXIT_CODES[Outcome.CANCELLED]
    gate.opened.set()
    [ended] = scene.ledger.ended(10)
    assert ended.report.faults[0].code is FaultCode.CANCELLED


def test_a_fenced_worker_stops_and_can_change_nothing(
    scene: Scene, task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    gate = Gate("C-GET sub-operation", 9)
    source.behaviour = Behaviour(before=gate)
    late = task.start()
    assert gate.reached.wait(90)
    wait_until(lambda: task.count(STORED) == 8, "the ledger knows what was stored")
    late.process.send_signal(signal.SIGSTOP)
    task.lost(late.assignment)
    source.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    before = task.rows()
    late.process.send_signal(signal.SIGCONT)
    gate.opened.set()
    assert late.wait() == EXIT_CONTRACT_MISMATCH
    assert task.rows() == before
    assert destination.holds == STUDY.sop_instance_uids
    assert [ended.report.outcome for ended in scene.ledger.ended(10)] == [Outcome.SUCCESS]


def test_a_worker_without_orders(scene: Scene, task: Task) -> None:
    assignment = task.claim()
    worker = Worker(scene, assignment, ADIT_ATTEMPT="")
    assert worker.wait() == EXIT_CONTRACT_MISMATCH
    assert "ADIT_ATTEMPT" in worker.log.read_text()


def test_a_worker_with_another_token_is_refused(scene: Scene, task: Task, source: ScriptedSCP) -> None:
    assignment = task.claim()
    worker = Worker(scene, assignment, ADIT_ATTEMPT_TOKEN="00000000-0000-0000-0000-000000000001")
    assert worker.wait() == EXIT_CONTRACT_MISMATCH
    assert source.queries == []


def test_a_worker_names_itself_for_its_launcher(scene: Scene, task: Task, source: ScriptedSCP) -> None:
    gate = Gate("C-FIND", 1)
    source.behaviour = Behaviour(before=gate)
    worker = task.start()
    assert gate.reached.wait(90)
    [running] = scene.ledger.running()
    assert running.reference is not None
    reference = parse(running.reference)
    assert reference is not None
    assert reference.pid == worker.process.pid
    gate.opened.set()
    assert worker.wait() == 0


def test_an_attempt_that_takes_too_long_stops_and_the_next_one_goes_on(
    scene: Scene, task: Task, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    gate = Gate("C-GET sub-operation", 9)
    source.behaviour = Behaviour(before=gate)
    assignment = task.claim()
    worker = Worker(scene, assignment, ADIT_ATTEMPT_SECONDS="5")
    assert gate.reached.wait(90)
    assert worker.wait() == EXIT_CODES[Outcome.TRANSIENT_FAULT]
    gate.opened.set()
    [ended] = scene.ledger.ended(10)
    assert (ended.report.outcome, ended.report.faults[0]) == (Outcome.TRANSIENT_FAULT, FAULTS[Reason.TOO_LONG])
    assert ended.report.faults[0].code is FaultCode.INTERRUPTED
    assert Counter(task.states().values()) == {STORED: 8, EXPECTED: 12}
    task.again(assignment)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_the_last_word_says_how_it_ended_in_codes_and_counts(scene: Scene, task: Task) -> None:
    assignment = task.claim()
    word = scene.tmp / "last-word"
    word.write_text("what stood there before")
    assert Worker(scene, assignment, ADIT_TERMINATION_LOG=str(word)).wait() == 0
    said = json.loads(word.read_text())
    assert (said["v"], said["attempt"], said["outcome"]) == (1, assignment.attempt_id, "Success")
    assert (said["faults"], said["warnings"], said["progress"]["verified"]) == ([], [], 20)
    assert "ended" not in said


@pytest.mark.parametrize(
    ("change", "code", "ended"),
    [
        ({"ADIT_ATTEMPT_TOKEN": "00000000-0000-0000-0000-000000000001"}, EXIT_CONTRACT_MISMATCH, "fenced"),
        ({"ADIT_ATTEMPT_SECONDS": "soon"}, EXIT_CONTRACT_MISMATCH, "contract-mismatch"),
        ({"ADIT_RELAY_PORT": "any"}, EXIT_CONTRACT_MISMATCH, "contract-mismatch"),
        ({"ADIT_DATABASE_URL": "", "ADIT_CREDENTIALS": "/nowhere"}, EXIT_CONTRACT_MISMATCH, "no-login"),
        ({"ADIT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/adit"}, 30, "ledger-unavailable"),
    ],
)
def test_the_last_word_says_why_the_ledger_knows_of_no_end(
    scene: Scene, task: Task, change: dict[str, str], code: int, ended: str
) -> None:
    word = scene.tmp / "last-word"
    worker = Worker(scene, task.claim(), ADIT_TERMINATION_LOG=str(word), **change)
    if ended == "ledger-unavailable":  # told to end, it does not wait for the ledger any longer
        wait_until(lambda: takes(Path(f"/proc/{worker.process.pid}/status").read_text(), signal.SIGTERM), "it listens")
        worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == code
    said = json.loads(word.read_text())
    assert (said["ended"], "outcome" in said) == (ended, False)


def test_the_login_may_be_a_file(scene: Scene, task: Task) -> None:
    folder = scene.tmp / "credentials"
    folder.mkdir()
    (folder / "ADIT_DATABASE_URL").write_text(scene.worker_url + "\n")
    worker = Worker(scene, task.claim(), ADIT_DATABASE_URL="", ADIT_CREDENTIALS=str(folder))
    assert worker.wait() == 0


def test_a_last_word_that_cannot_be_written_costs_nothing(scene: Scene, task: Task) -> None:
    assert Worker(scene, task.claim(), ADIT_TERMINATION_LOG=str(scene.tmp)).wait() == 0
