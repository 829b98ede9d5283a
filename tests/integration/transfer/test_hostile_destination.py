"""A destination that refuses, aborts, loses or cannot be asked: the others arrive, and nothing is green unproven."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from adit.dicom import levels
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, Task, dimse, now
from tests.peers import Behaviour, ScriptedSCP
from tests.samples import compressed_files, ct_study, mixed_study

STUDY = ct_study(12)
UIDS = sorted(STUDY.sop_instance_uids)
ONCE = Counter(UIDS)


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
    return scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)


@pytest.mark.parametrize(
    ("status", "outcome", "code"),
    [
        (0xA700, Outcome.TRANSIENT_FAULT, FaultCode.OUT_OF_RESOURCES),
        (0x0122, Outcome.PERMANENT_DATA_FAULT, FaultCode.SOP_CLASS_REFUSED),
        (0xC000, Outcome.PERMANENT_DATA_FAULT, FaultCode.INSTANCE_REFUSED),
    ],
)
def test_one_refused_instance_stops_no_other(
    task: Task, destination: ScriptedSCP, status: int, outcome: Outcome, code: FaultCode
) -> None:
    destination.behaviour = Behaviour(store_status={UIDS[3]: status})
    report = task.run(again=True)
    assert report.outcome is outcome
    [fault] = report.faults
    assert (fault.code, fault.sop_instance_uid, fault.status, fault.node) == (code, UIDS[3], status, "destination")
    assert fault.cure
    row = task.rows()[UIDS[3]]
    assert (row.state, row.fault_code, row.dimse_status) == (InstanceState.RECEIVED, code, status)
    assert task.count(InstanceState.VERIFIED) == 11
    destination.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_a_refused_sop_class_names_its_instance(scene: Scene) -> None:
    study = mixed_study()
    accepts = {str(CTImageStorage): [str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)]}
    with ScriptedSCP(study.instances, aet="SOURCE") as source, ScriptedSCP(accepts=accepts) as destination:
        task = scene.task(dimse("source", source), dimse("destination", destination), study.study_instance_uid)
        report = task.run()
        assert report.outcome is Outcome.PERMANENT_DATA_FAULT
        [fault] = report.faults
        [mr] = [item for item in study.instances if item.Modality == "MR"]
        assert (fault.code, fault.sop_instance_uid) == (FaultCode.SOP_CLASS_REFUSED, str(mr.SOPInstanceUID))
        assert len(destination.holds) == 4


def test_a_compressed_object_to_a_peer_that_takes_only_uncompressed_ones(scene: Scene) -> None:
    compressed = dcmread(compressed_files()[0])
    accepts = {str(compressed.SOPClassUID): [str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)]}
    with ScriptedSCP([compressed], aet="SOURCE") as source, ScriptedSCP(accepts=accepts) as destination:
        task = scene.task(dimse("source", source), dimse("destination", destination), str(compressed.StudyInstanceUID))
        report = task.run()
        assert report.outcome is Outcome.PERMANENT_DATA_FAULT
        [fault] = report.faults
        assert fault.code is FaultCode.TRANSFER_SYNTAX_REFUSED
        assert fault.sop_instance_uid == str(compressed.SOPInstanceUID)
        assert fault.node == "destination"
        assert fault.cure


def test_it_acknowledges_and_loses_and_is_found_out(task: Task, destination: ScriptedSCP) -> None:
    destination.behaviour = Behaviour(lost=frozenset(UIDS[:2]))
    report = task.run(again=True)
    assert report.outcome is Outcome.TRANSIENT_FAULT
    assert {(fault.code, fault.sop_instance_uid) for fault in report.faults} == {
        (FaultCode.NOT_PROVEN, uid) for uid in UIDS[:2]
    }
    assert {uid for uid, state in task.states().items() if state is InstanceState.EXPECTED} == set(UIDS[:2])
    destination.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == Counter(UIDS) + Counter(UIDS[:2])


@pytest.mark.parametrize("status", [0x0000, 0xA700])
def test_it_answers_so_many_matches_and_no_more(
    task: Task, source: ScriptedSCP, destination: ScriptedSCP, status: int
) -> None:
    """None of them could ever be told from a lost one, and all would be sent again each time."""
    destination.behaviour = Behaviour(find_at_most=8, find_too_many=status, lost=frozenset(UIDS[:1]))
    report = task.run(again=True)
    assert [(fault.code, fault.sop_instance_uid) for fault in report.faults] == [(FaultCode.NOT_PROVEN, UIDS[0])]
    destination.behaviour = Behaviour(find_at_most=8, find_too_many=status)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE + Counter(UIDS[:1])


def test_what_another_place_held_before_is_told(scene: Scene, task: Task, destination: ScriptedSCP) -> None:
    """The node is edited between two attempts: what the first has asked about says nothing of the new place."""
    destination.behaviour = Behaviour(lost=frozenset(UIDS[:1]))
    assert task.run(again=True).warnings == ()
    with ScriptedSCP(STUDY.instances, aet="ELSEWHERE") as elsewhere:
        scene.ledger.apply_node(dimse("destination", elsewhere), now())
        report = task.run()
    assert report.outcome is Outcome.SUCCESS
    warned = {(warning.code, warning.sop_instance_uid) for warning in report.warnings}
    assert warned == {(FaultCode.STORED_WITH_WARNING, uid) for uid in UIDS}


class Endless(Sequence[Dataset]):
    """Of a series' instances, each another one."""

    def __getitem__(self, _: object) -> Any:
        for number in count(1):
            answer = Dataset()
            answer.QueryRetrieveLevel, answer.SOPInstanceUID = "IMAGE", f"1.2.{number}"
            yield answer

    def __len__(self) -> int:
        raise NotImplementedError


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_answers_without_end(
    task: Task, destination: ScriptedSCP, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(levels, "_MOST", 50)

    def from_the_first_store_on(service: str, number: int) -> None:
        if service == "C-STORE":
            destination.behaviour = Behaviour(find_answers=Endless())

    destination.behaviour = (
        Behaviour(find_answers=Endless()) if when == "before" else Behaviour(before=from_the_first_store_on)
    )
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.QUERY_FAILED)
    assert task.count(InstanceState.STORED) == (0 if when == "before" else len(UIDS))


def test_it_aborts_in_the_middle_and_nothing_acknowledged_is_sent_again(task: Task, destination: ScriptedSCP) -> None:
    destination.behaviour = Behaviour(store_abort_after=5)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE


def test_a_warning_status_is_kept_and_told(task: Task, destination: ScriptedSCP) -> None:
    destination.behaviour = Behaviour(store_status={UIDS[0]: 0xB000})
    report = task.run()
    assert report.outcome is Outcome.SUCCESS
    [warning] = report.warnings
    assert (warning.code, warning.sop_instance_uid) == (FaultCode.STORED_WITH_WARNING, UIDS[0])
    assert task.rows()[UIDS[0]].dimse_status == 0xB000


def test_a_destination_without_a_query_service_is_never_plainly_green(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    task = scene.task(
        dimse("source", source), dimse("destination", destination, services=["Storage"]), STUDY.study_instance_uid
    )
    report = task.run()
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.ARRIVAL_NOT_PROVABLE]
    assert set(task.states().values()) == {InstanceState.STORED}


def test_a_destination_that_cannot_be_asked_before_is_sent_nothing(task: Task, destination: ScriptedSCP) -> None:
    destination.behaviour = Behaviour(find_answers=[], find_status=0xA700)
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.OUT_OF_RESOURCES)
    assert (task.states(), destination.stores()) == ({}, Counter())
    destination.behaviour = Behaviour()
    report = task.run()
    assert (report.outcome, report.warnings) == (Outcome.SUCCESS, ())


def test_a_destination_that_cannot_be_asked_now_is_only_asked_again(task: Task, destination: ScriptedSCP) -> None:
    def deny_from_the_first_store_on(service: str, number: int) -> None:
        if service == "C-STORE":
            destination.behaviour = Behaviour(find_answers=[], find_status=0xA700)

    destination.behaviour = Behaviour(before=deny_from_the_first_store_on)
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.OUT_OF_RESOURCES)
    assert set(task.states().values()) == {InstanceState.STORED}
    destination.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.stores() == ONCE
