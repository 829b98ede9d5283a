"""A worker killed or stopped under a running dispatcher: the next attempt fetches and sends only what is missing."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode
from adit.model.state import JobState
from tests.faults.system import Gate, Job, System, dimse, pid_of
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import ct_study

STUDY = ct_study(8, seed="worker", size=64)
UIDS = STUDY.sop_instance_uids


def asked_by_name(source: ScriptedSCP) -> set[str]:
    """The SOP Instance UIDs of all C-GETs at IMAGE level."""
    named: set[str] = set()
    for query in source.queries:
        uids = query.get("SOPInstanceUID")
        if query.QueryRetrieveLevel == "IMAGE" and uids:
            named |= {uids} if isinstance(uids, str) else set(uids)
    return named


def stored(job: Job) -> set[str]:
    return job.in_state(InstanceState.STORED, InstanceState.VERIFIED)


def ends(job: Job, number: signal.Signals) -> int:
    """Sends the signal to the job's worker, and returns the worker's pid."""
    pid = pid_of(job.running())
    os.kill(pid, number)
    return pid


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, "Lost"), (signal.SIGTERM, "Interrupted")], ids=["killed", "stopped"]
)
def test_ended_while_fetching(system: System, number: signal.Signals, code: str) -> None:
    gate = Gate("C-GET sub-operation", 5)
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(before=gate))
    with source, ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        wait_until(lambda: len(stored(job)) == 4, "the ledger knows what was stored")
        kept = stored(job)
        pid = ends(job, number)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone")
        gate.opened.set()
        job.is_green(STUDY)
        assert job.task.attempts == 2
        assert code in job.codes()
        assert asked_by_name(source) == UIDS - kept
        assert destination.stores() == Counter(UIDS)


def test_killed_while_storing(system: System) -> None:
    gate = Gate("C-STORE", 5)
    one = {"tasks": 1, "associations": 1}
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(before=gate))
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():
        archive = dimse("archive", destination)
        archive = archive.model_copy(
            update={"spec": archive.spec.model_copy(update={"limits": type(archive.spec.limits)(**one)})}
        )
        job = system.job(dimse("pacs", source), archive, STUDY)
        assert gate.reached.wait(90)
        wait_until(lambda: len(stored(job)) == 4, "the ledger knows what was stored")
        kept = stored(job)
        pid = ends(job, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone")
        gate.opened.set()
        job.is_green(STUDY)
        assert job.task.attempts == 2
        assert asked_by_name(source) == UIDS - kept
        stores = destination.stores()
        # The one in flight came whole the first time, and overwrote itself the second time.
        assert destination.holds == UIDS
        assert all(stores[uid] == 1 for uid in kept)
        assert sum(stores.values()) <= len(UIDS) + 1


def test_the_deadline_passes_while_it_works(system: System) -> None:
    gate = Gate("C-GET sub-operation", 5)
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(before=gate))
    with source, ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY, deadlineSeconds=5)
        assert job.wait().state is JobState.FAILURE
        gate.opened.set()
        fault = job.task.fault
        assert fault is not None
        assert fault.code is FaultCode.DEADLINE_EXCEEDED
        assert fault.cure in job.line()
        assert system.ledger.running() == []
        assert stored(job) == destination.holds < UIDS
        assert job.task.attempts == 1
