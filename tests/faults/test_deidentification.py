"""Killed while it de-identifies: the next attempt gives the same names; nothing is there twice, nobody is named."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from adit.deid.profiles import ready
from adit.model.state import JobState
from tests.faults.system import Gate, System, dimse, pid_of
from tests.integration.transfer.planted import KEY, PATIENT_ID, identity, is_clean, planted, words
from tests.integration.transfer.scene import now
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import wait_until

STUDY = planted(8)


def test_killed_while_storing(system: System) -> None:
    secret = system.tmp / "secrets" / "deid-key"
    secret.mkdir(parents=True)
    (secret / "key").write_bytes(KEY)
    system.ledger.apply_profile(ready("research"), now())
    gate = Gate("C-STORE", 5)
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(before=gate))
    mapped = {identity("research").uid(uid) for uid in STUDY.sop_instance_uids}
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():
        job = system.job(
            dimse("pacs", source), dimse("archive", destination), STUDY, deidentification={"profile": "research"}
        )
        assert gate.reached.wait(90)
        pid = pid_of(job.running())
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the worker is gone")
        gate.opened.set()
        assert job.wait().state is JobState.SUCCESS
    assert job.task.attempts == 2
    assert destination.holds == mapped
    assert all(each.data and is_clean(each.data, STUDY) for each in destination.received)
    assert {row.sent_as for row in job.rows.values()} == mapped
    [group] = system.ledger.deidentification(job.id)["profiles"]
    assert group["treated"] == 8
    logs = b"".join(file.read_bytes() for file in (system.tmp / "logs").rglob("*") if file.is_file())
    assert not any(word in logs for word in words(STUDY) if word in (PATIENT_ID.encode(), b"Plantedfamily"))
    assert [file for file in (system.tmp / "spool").rglob("*") if file.is_file()] == []
