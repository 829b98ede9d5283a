"""The command line under fire: two at once, killed with workers at work, steered while it runs, bad manifests."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adit.ledger.ledger import Ledger
from adit.model.instance import InstanceState
from adit.model.state import JobState, TaskState
from tests.faults.system import Gate, Job, System, pid_of
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import document, documents, job
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import Study, ct_study

STUDIES = [ct_study(4, seed=f"command-{number}") for number in range(3)]
FIRST = STUDIES[0]
ALL = Counter(uid for study in STUDIES for uid in study.sop_instance_uids)
RETRY = {"backoffSeconds": 1, "maxBackoffSeconds": 1}
HALF = 3
"""The sub-operation that the source is held up at: two instances have come by then."""


@pytest.fixture
def source() -> Iterator[ScriptedSCP]:
    with ScriptedSCP([item for study in STUDIES for item in study.instances], aet="HOSPITAL") as scp:
        yield scp


@pytest.fixture
def destination() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(aet="RESEARCH") as scp:
        yield scp


@pytest.fixture
def nodes(adit: Adit, source: ScriptedSCP, destination: ScriptedSCP) -> str:
    """The file with both nodes; one task at a time."""
    limits = {"tasks": 1, "associations": 1}
    return adit.write(
        "nodes.yaml",
        documents(
            *(
                document(
                    "DicomNode",
                    name,
                    {"dimse": {"aeTitle": peer.aet, "host": peer.host, "port": peer.dicom_port}, "limits": limits},
                )
                for name, peer in (("hospital", source), ("research", destination))
            )
        ),
    )


def at_work(system: System, source: ScriptedSCP, name: str) -> tuple[Job, Gate]:
    """The job, once a worker of it is held up half-way with two instances stored."""
    gate = source.behaviour.before
    assert isinstance(gate, Gate)
    assert gate.reached.wait(90)
    made = Job(system, name)
    wait_until(lambda: len(made.in_state(InstanceState.STORED)) == HALF - 1, "two instances are stored")
    return made, gate


def test_two_runs_at_once_on_one_ledger(adit: Adit, system: System, nodes: str, destination: ScriptedSCP) -> None:
    """Two people start the same file; a third of the studies is in another file of the second."""
    first = adit.start("run", nodes, adit.write("job.yaml", job("both", *STUDIES[:2], retry=RETRY)))
    second = adit.start("run", nodes, "job.yaml", adit.write("more.yaml", job("more", *STUDIES[2:], retry=RETRY)))
    ended = [adit.end(process) for process in (first, second)]
    assert [each.code for each in ended] == [0, 0], ended
    Job(system, "both").is_green(*STUDIES[:2])
    Job(system, "more").is_green(*STUDIES[2:])
    assert destination.stores() == ALL


def test_up_killed_with_workers_at_work_and_started_again(
    adit: Adit, system: System, nodes: str, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    """The worker outlives it; the next one finds it, and does the rest."""
    source.behaviour = Behaviour(before=Gate("C-GET sub-operation", HALF))
    assert adit("apply", nodes, adit.write("job.yaml", job("night", *STUDIES, retry=RETRY))).code == 0
    up = adit.start("up")
    night, gate = at_work(system, source, "night")
    worker = pid_of(night.running())
    assert adit.end(up, signal.SIGKILL).code == -signal.SIGKILL
    again = adit.start("up")
    gate.opened.set()
    night.is_green(*STUDIES)
    assert not Path(f"/proc/{worker}").exists()
    assert adit.end(again, signal.SIGTERM).code == 0
    assert destination.stores() == ALL
    assert [task.attempts for task in system.ledger.tasks(night.id)] == [1, 1, 1]


def test_suspended_drained_and_terminated_while_it_runs(
    adit: Adit, system: System, nodes: str, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    up = adit.start("up")

    # suspended: what runs finishes, the rest waits until it is resumed
    system.adit("apply", str(adit.folder / nodes))
    paused, gate = started(adit, system, source, "paused", *STUDIES[:2])
    system.adit("suspend", "paused")
    gate.opened.set()
    wait_until(lambda: paused.summary.tasks.get(TaskState.SUCCESS) == 1, "the running task has ended")
    assert "suspended" in system.status("paused").lower()
    assert paused.summary.tasks == {TaskState.SUCCESS: 1, TaskState.PENDING: 1}
    system.adit("resume", "paused")
    paused.is_green(*STUDIES[:2])

    # Drain: what runs finishes, the rest is cancelled
    drained, gate = started(adit, system, source, "drained", *STUDIES[:2])
    system.adit("cancel", "drained", "--drain")
    wait_until(lambda: drained.summary.tasks.get(TaskState.CANCELED) == 1, "the waiting task is cancelled")
    assert drained.summary.state is JobState.CANCELING
    gate.opened.set()
    # A warning, since the job before brought the same study to the same destination.
    assert drained.wait().tasks == {TaskState.WARNING: 1, TaskState.CANCELED: 1}
    assert drained.proof()["job"]["state"] == "Canceled"

    # Terminate: what runs stops, what it had received stays
    terminated, gate = started(adit, system, source, "terminated", *STUDIES[1:])
    worker = pid_of(terminated.running())
    system.adit("cancel", "terminated")
    assert terminated.wait().tasks == {TaskState.CANCELED: 2}
    gate.opened.set()
    wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker is gone")
    assert len(terminated.in_state(InstanceState.STORED)) == HALF - 1
    assert adit.end(up, signal.SIGTERM).code == 0


def started(
    adit: Adit, system: System, source: ScriptedSCP, name: str, *studies: Study, **spec: Any
) -> tuple[Job, Gate]:
    source.requests.clear()
    source.behaviour = Behaviour(before=Gate("C-GET sub-operation", HALF))
    system.adit("apply", str(adit.folder / adit.write(f"{name}.yaml", job(name, *studies, retry=RETRY, **spec))))
    return at_work(system, source, name)


@pytest.mark.parametrize("command", ["run", "apply"])
def test_one_bad_document_among_good_ones_creates_nothing(
    adit: Adit, ledger: Ledger, source: ScriptedSCP, destination: ScriptedSCP, nodes: str, command: str
) -> None:
    good, bad = job("good", FIRST), job("bad", FIRST, parallelism=501)
    ended = adit(command, nodes, "-", stdin=good + bad)
    assert ended.code == 2
    assert "(document 2): spec.parallelism: must be at most 500, not 501" in ended.err
    assert "Nothing was created." in ended.err
    assert (ended.out, ledger.nodes(), ledger.jobs()) == ("", [], [])
    assert source.requests + destination.requests == Counter()
