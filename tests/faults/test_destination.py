"""A destination that refuses, aborts, lies or takes only some: the others arrive, and nothing is green unproven."""

from __future__ import annotations

from collections import Counter

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode
from tests.faults.system import System, dimse
from tests.peers import Behaviour, ScriptedSCP
from tests.samples import Study, compressed_files, ct_study, instance, mixed_study

STUDY = ct_study(6, seed="destination")
UIDS = sorted(STUDY.sop_instance_uids)
UNCOMPRESSED = [str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)]


def test_out_of_resources_is_tried_again_until_it_is_over(system: System) -> None:
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(store_status={UIDS[2]: 0xA700}))
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():

        def recover(service: str, number: int) -> None:
            if service == "C-STORE" and number == len(UIDS) + 2:  # the third attempt's
                destination.behaviour.store_status = {}

        destination.behaviour.before = recover
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
        job.is_green(STUDY)
        assert job.task.attempts == 3
        assert destination.stores() == Counter(UIDS)
        # Only the refused one was fetched and sent again.
        assert len(destination.received) == len(UIDS) + 2
        assert source.requests["C-GET sub-operation"] == len(UIDS) + 2


@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [(0xA700, FaultCode.OUT_OF_RESOURCES, 2), (0x0122, FaultCode.SOP_CLASS_REFUSED, 1)],
)
def test_one_refused_instance_is_named_and_the_others_arrive(
    system: System, status: int, code: FaultCode, attempts: int
) -> None:
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(store_status={UIDS[2]: status}))
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():
        retry = {"maxAttempts": 2, "backoffSeconds": 1, "maxBackoffSeconds": 1}
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY, retry=retry)
        fault = job.is_dead(code, "archive", UIDS[2])
        assert fault.status == status
        assert f"0x{status:04X}" in system.status("job")
        assert job.task.attempts == attempts
        assert job.in_state(InstanceState.VERIFIED) == destination.holds == set(UIDS) - {UIDS[2]}
        assert max(destination.stores().values()) == 1


def test_one_refused_sop_class_is_named_and_the_other_classes_arrive(system: System) -> None:
    study = mixed_study(seed="refused-class")
    [mr] = [str(item.SOPInstanceUID) for item in study.instances if item.Modality == "MR"]
    destination = ScriptedSCP(aet="DESTINATION", accepts={str(CTImageStorage): UNCOMPRESSED})
    with ScriptedSCP(study.instances, aet="SOURCE") as source, destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), study)
        job.is_dead(FaultCode.SOP_CLASS_REFUSED, "archive", mr)
        assert job.task.attempts == 1
        assert job.in_state(InstanceState.VERIFIED) == destination.holds == study.sop_instance_uids - {mr}


def test_a_compressed_object_to_a_peer_that_takes_only_uncompressed_ones(system: System) -> None:
    compressed = dcmread(compressed_files()[0])
    plain = instance("plain", number=1)
    plain.StudyInstanceUID, plain.PatientID = compressed.StudyInstanceUID, compressed.PatientID
    study = Study((plain, compressed))
    classes = dict.fromkeys((str(compressed.SOPClassUID), str(plain.SOPClassUID)), UNCOMPRESSED)
    destination = ScriptedSCP(aet="DESTINATION", accepts=classes)
    with ScriptedSCP(study.instances, aet="SOURCE") as source, destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), study)
        fault = job.is_dead(FaultCode.TRANSFER_SYNTAX_REFUSED, "archive", str(compressed.SOPInstanceUID))
        assert compressed.file_meta.TransferSyntaxUID in fault.message
        assert job.task.attempts == 1
        assert destination.holds == {str(plain.SOPInstanceUID)}


def test_it_acknowledges_and_loses_and_is_never_believed(system: System) -> None:
    lost = UIDS[1]
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(lost=frozenset({lost})))
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():
        nodes = dimse("pacs", source), dimse("archive", destination)
        liar = system.job(*nodes, STUDY, name="liar", retry={"maxAttempts": 1})
        liar.is_dead(FaultCode.NOT_PROVEN, "archive", lost)
        assert liar.in_state(InstanceState.VERIFIED) == set(UIDS) - {lost}
        assert "Success" not in liar.codes()


def test_it_heals_when_it_stops_losing(system: System) -> None:
    lost = UIDS[1]
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(lost=frozenset({lost})))
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():

        def stop_lying(service: str, number: int) -> None:
            if service == "C-STORE" and number > len(UIDS):
                destination.behaviour.lost = frozenset()

        destination.behaviour.before = stop_lying
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
        job.is_green(STUDY)
        assert job.task.attempts == 2
        assert destination.stores() == Counter([*UIDS, lost])
        assert "NotProven" in job.codes()


def test_it_aborts_half_way_and_nothing_is_sent_twice(system: System) -> None:
    destination = ScriptedSCP(aet="DESTINATION", behaviour=Behaviour(store_abort_after=3))
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, destination, system.dispatching():
        job = system.job(dimse("pacs", source), dimse("archive", destination), STUDY)
        job.is_green(STUDY)
        assert destination.stores() == Counter(UIDS)
