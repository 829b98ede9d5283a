"""Real Orthancs that are down, die in the middle, and come back: the task goes on, each instance arrives once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode
from tests.faults.system import Gate, Job, System, dimse
from tests.peers import Behaviour, Orthanc, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import Study, ct_study

STUDY = ct_study(10, seed="down", size=64)


def holds_once(orthanc: Orthanc, study: Study) -> None:
    assert orthanc.instances_of(study.study_instance_uid) == study.sop_instance_uids
    assert orthanc.counts()["instances"] == len(study.sop_instance_uids)


def some_are_stored(job: Job) -> None:
    at_destination = InstanceState.STORED, InstanceState.VERIFIED
    wait_until(lambda: job.in_state(*at_destination) != set(), "something is stored")


def limited(node: DicomNode, **limits: Any) -> DicomNode:
    document = node.model_dump(by_alias=True, exclude_none=True, mode="json")
    document["spec"]["limits"] = limits
    return DicomNode.model_validate(document)


def test_a_source_that_is_down_and_comes_back(system: System, tmp_path: Path) -> None:
    with Orthanc(tmp_path, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        source.upload(*STUDY.files())
        source.stop()
        with system.dispatching():
            job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
            fault = job.first_fault()
            assert (fault.code, fault.node) == (FaultCode.NODE_UNREACHABLE, "pacs")
            source.start()
            job.is_green(STUDY)
        assert job.task.attempts >= 2
        assert destination.holds == STUDY.sop_instance_uids


def test_a_source_killed_while_it_sends_and_started_again(system: System, tmp_path: Path) -> None:
    """It sends slowly, so that it dies with some sent and others not."""
    slow = {"tasks": 1, "associations": 2, "bytesPerSecond": "32Ki"}
    with Orthanc(tmp_path, aet="SOURCE") as source, Orthanc(tmp_path, aet="DESTINATION") as destination:
        source.upload(*STUDY.files())
        with system.dispatching():
            job = system.job(limited(dimse("pacs", source), **slow), dimse("archive", destination), STUDY)
            some_are_stored(job)
            source.kill()
            assert not job.ended
            wait_until(lambda: "AssociationAborted" in job.codes(), "the break is noticed")
            source.start()
            job.is_green(STUDY)
        holds_once(destination, STUDY)


def test_a_destination_killed_while_it_receives_and_started_again(system: System, tmp_path: Path) -> None:
    gate = Gate("C-GET sub-operation", 6)
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(before=gate))
    with source, Orthanc(tmp_path, aet="DESTINATION") as destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
        assert gate.reached.wait(90)
        some_are_stored(job)
        destination.kill()
        gate.opened.set()
        wait_until(lambda: len(job.in_state(InstanceState.RECEIVED)) > 0, "what comes cannot be stored")
        destination.start()
        job.is_green(STUDY)
        holds_once(destination, STUDY)
