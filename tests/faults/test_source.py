"""A source that breaks off, announces more than it sends, sends nothing, or has something else: never a wrong green."""

from __future__ import annotations

from collections import Counter

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode
from adit.model.state import TaskState
from tests.faults.system import System, dimse
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import document, documents
from tests.peers import Behaviour, ScriptedSCP
from tests.samples import ct_study, uid

STUDY = ct_study(6, seed="source", patient_id="SOURCE-PATIENT")
UIDS = STUDY.sop_instance_uids
ONCE = {"maxAttempts": 1}


def test_it_aborts_half_way_each_time_until_it_is_well_again(system: System) -> None:
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(get_abort_after=2))

    def recover(service: str, number: int) -> None:
        if service == "C-GET" and number == 3:  # an attempt asks two times
            source.behaviour.get_abort_after = None

    source.behaviour.before = recover
    with source, ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
        job.is_green(STUDY)
        assert job.task.attempts == 2
        assert "AssociationAborted" in job.codes()
        assert destination.stores() == Counter(UIDS)


def test_it_aborts_every_time(system: System) -> None:
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(get_abort_after=1))
    with source, ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY, retry=ONCE)
        job.is_dead(FaultCode.ASSOCIATION_ABORTED, "pacs")
        assert job.in_state(InstanceState.VERIFIED) == destination.holds < UIDS


def test_it_announces_more_than_it_sends(system: System) -> None:
    """It lists six, sends one each time it is asked, and calls that a success."""
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(get_only=1, get_announce=6))
    with source, ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        nodes = dimse("pacs", source), dimse("archive", destination)
        job = system.job(*nodes, STUDY, retry=ONCE)
        fault = job.is_dead(FaultCode.INCOMPLETE, "pacs")
        missing = UIDS - destination.holds
        assert len(missing) == 4
        assert fault.sop_instance_uid in missing
        assert job.in_state(InstanceState.VERIFIED) == destination.holds
        told = {
            each["sopInstanceUID"]
            for task in job.proof()["tasks"]
            for each in task["instances"]
            if each["faultMessage"]
        }
        assert told == missing

        source.behaviour = Behaviour()
        rest = system.job(*nodes, name="rest", selection={"failedOf": {"name": "job"}})
        assert rest.wait().tasks == {TaskState.SUCCESS: 1}
        assert rest.in_state(InstanceState.VERIFIED) == destination.holds == UIDS
        assert set(destination.stores().values()) == {1}  # only what was missing was sent


def test_success_with_zero_sub_operations(system: System) -> None:
    source = ScriptedSCP(STUDY.instances, aet="SOURCE", behaviour=Behaviour(get_silent_empty=True))
    with source, ScriptedSCP(aet="DESTINATION") as destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY, retry=ONCE)
        job.is_dead(FaultCode.NOTHING_RECEIVED, "pacs")
        assert job.in_state(InstanceState.EXPECTED) == UIDS
        assert destination.received == []


def test_a_study_that_does_not_exist_stops_no_other(system: System) -> None:
    unknown = uid("nowhere")
    with (
        ScriptedSCP(STUDY.instances, aet="SOURCE") as source,
        ScriptedSCP(aet="DESTINATION") as destination,
        system.dispatching(),
    ):
        nodes = dimse("pacs", source), dimse("archive", destination)
        known = system.job(*nodes, STUDY, name="known")
        job = system.job(*nodes, unknown, name="unknown")
        fault = job.is_dead(FaultCode.STUDY_NOT_FOUND, "pacs")
        assert unknown in fault.message
        assert job.task.attempts == 1
        known.is_green(STUDY)


def test_a_patient_id_that_does_not_match_is_a_warning_and_exit_code_3(adit: Adit) -> None:
    who = "OTHER-77"
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        nodes = [
            document("DicomNode", name, {"dimse": {"aeTitle": peer.aet, "host": peer.host, "port": peer.dicom_port}})
            for name, peer in (("pacs", source), ("archive", destination))
        ]
        selection = {"studies": [{"studyInstanceUID": STUDY.study_instance_uid, "patientID": who}]}
        spec = {"source": {"node": "pacs"}, "destination": {"node": "archive"}, "selection": selection}
        file = adit.write("job.yaml", documents(*nodes, document("TransferJob", "mismatch", spec)))
        ended = adit("run", file)
        assert ended.code == 3, ended.err
        assert destination.stores() == Counter(UIDS)
    assert ended.json["job"]["state"] == "Warning"
    [task] = ended.json["tasks"]
    assert (task["state"], task["fault"]["code"], task["fault"]["node"]) == ("Warning", "PatientIDMismatch", "pacs")
    assert {each["state"] for each in task["instances"]} == {"Verified"}
    assert "PatientIDMismatch" in ended.err
    assert "[node pacs]" in ended.err
    assert task["fault"]["cure"] in ended.err
    for secret in (who, STUDY.patient_id):
        assert secret not in ended.out.replace(STUDY.study_instance_uid, "")
