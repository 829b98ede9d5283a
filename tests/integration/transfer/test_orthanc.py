"""Between Orthancs and folders: what arrived is what Orthanc's own REST API says, and what lies on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import dcmread

from adit.dispatch.settle import settle
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from adit.model.state import TaskState
from tests.integration.transfer.scene import Scene, dimse, folder, now
from tests.peers import Orthanc
from tests.samples import compressed_files, ct_study, mixed_study, part10, private_study, uid


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    tmp = tmp_path_factory.mktemp("orthancs")
    with Orthanc(tmp, aet="SOURCE") as source, Orthanc(tmp, aet="DESTINATION") as destination:
        yield source, destination


def pixels(file: bytes, tmp_path: Path) -> bytes:
    path = tmp_path / "one.dcm"
    path.write_bytes(file)
    return bytes(dcmread(path).PixelData)


def test_a_whole_study_with_every_series_and_class(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = mixed_study()
    source.upload(*study.files())
    task = scene.task(
        dimse("source", source),
        dimse("destination", destination),
        study.study_instance_uid,
        patient_id=study.patient_id,
    )
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert destination.instances_of(study.study_instance_uid) == study.sop_instance_uids
    assert task.states() == dict.fromkeys(study.sop_instance_uids, InstanceState.VERIFIED)
    assert report.progress.road == "C-GET"
    for row in task.rows().values():
        assert row.size
        assert row.sha256
    for dataset in study.instances:
        assert destination.instance_tags(str(dataset.SOPInstanceUID))["PatientID"] == study.patient_id


def test_one_series_of_a_study(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(3, seed="series", series=3)
    source.upload(*study.files())
    wanted = study.series_instance_uids[1:2]
    task = scene.task(
        dimse("source", source), dimse("destination", destination), study.study_instance_uid, series=wanted
    )
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.series_of(study.study_instance_uid) == set(wanted)
    assert len(task.rows()) == 3


def test_a_patient_id_that_does_not_match_is_a_warning(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(2, seed="mismatch", series=2, patient_id="NEW-1")
    source.upload(*study.files())
    task = scene.task(
        dimse("source", source),
        dimse("destination", destination),
        study.study_instance_uid,
        patient_id="OLD-1",
        series=study.series_instance_uids[:1],
    )
    report = task.run()
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.PATIENT_ID_MISMATCH]
    assert len(destination.instances_of(study.study_instance_uid)) == 2
    told = report.model_dump_json() + " ".join(event.message for event in task.events())
    assert "OLD-1" not in told
    assert "NEW-1" not in told


def test_a_study_or_series_that_does_not_exist(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(1, seed="no-series")
    source.upload(*study.files())
    nodes = dimse("source", source), dimse("destination", destination)
    report = scene.task(*nodes, study.study_instance_uid, series=[uid("nowhere")]).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.SERIES_NOT_FOUND)
    assert uid("nowhere") in report.faults[0].message


def test_an_unknown_study(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    task = scene.task(dimse("source", peers[0]), dimse("destination", peers[1]), uid("unknown"), patient_id="1001")
    report = task.run()
    [fault] = report.faults
    assert (report.outcome, fault.code, fault.node) == (
        Outcome.PERMANENT_DATA_FAULT,
        FaultCode.STUDY_NOT_FOUND,
        "source",
    )
    assert fault.cure


def test_a_private_sop_class(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = private_study()
    source.upload(*study.files())
    task = scene.task(dimse("source", source), dimse("destination", destination), study.study_instance_uid)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.instances_of(study.study_instance_uid) == study.sop_instance_uids


def test_compressed_objects_pass_unchanged(scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path) -> None:
    source, destination = peers
    file = compressed_files()[0]
    source.upload(file)
    dataset = dcmread(file)
    task = scene.task(dimse("source", source), dimse("destination", destination), str(dataset.StudyInstanceUID))
    assert task.run().outcome is Outcome.SUCCESS
    [row] = task.rows().values()
    assert row.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID
    arrived = destination.instance_file(row.sop_instance_uid)
    assert pixels(arrived, tmp_path) == pixels(source.instance_file(row.sop_instance_uid), tmp_path)


def test_a_trial_is_stamped_and_the_pixels_are_not_touched(
    scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path
) -> None:
    source, destination = peers
    study = ct_study(3, seed="trial")
    source.upload(*study.files())
    task = scene.task(
        dimse("source", source),
        dimse("destination", destination),
        study.study_instance_uid,
        trial={"protocolID": "STROKE", "protocolName": "Stroke CT"},
    )
    assert task.run().outcome is Outcome.SUCCESS
    for dataset in study.instances:
        name = str(dataset.SOPInstanceUID)
        tags = destination.instance_tags(name)
        assert (tags["ClinicalTrialProtocolID"], tags["ClinicalTrialProtocolName"]) == ("STROKE", "Stroke CT")
        assert pixels(destination.instance_file(name), tmp_path) == dataset.PixelData


def test_a_destination_that_keeps_its_old_instances_and_says_success_is_found_out(
    scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path
) -> None:
    source, _ = peers
    study = ct_study(3, seed="kept")
    source.upload(*study.files())
    kept = deepcopy(study.instances[0])
    kept.PatientName = "Older^Annie"
    name = str(kept.SOPInstanceUID)
    with Orthanc(tmp_path, aet="KEEPER", OverwriteInstances=False) as keeper:
        keeper.upload(part10(kept))
        task = scene.task(dimse("source", source), dimse("keeper", keeper), study.study_instance_uid)
        report = task.run()
        assert keeper.instance_tags(name)["PatientName"] == "Older^Annie"  # or the test proves nothing
        assert keeper.instances_of(study.study_instance_uid) == study.sop_instance_uids
    [warning] = report.warnings
    assert (warning.code, warning.node, warning.sop_instance_uid, warning.status) == (
        FaultCode.STORED_WITH_WARNING,
        "keeper",
        name,
        0x0111,
    )
    assert warning.message.startswith("The node held an instance with this UID before")
    assert "delete it there" in warning.cure
    marks = {uid_: row.dimse_status for uid_, row in task.rows().items()}
    assert marks == dict.fromkeys(study.sop_instance_uids) | {name: 0x0111}
    [ended] = scene.ledger.ended(10)
    assert settle(ended, now=now(), random=lambda: 0.5).state is TaskState.WARNING


def test_the_same_destination_with_nothing_of_the_study_is_green(
    scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path
) -> None:
    source, _ = peers
    study = ct_study(3, seed="kept-not")
    source.upload(*study.files())
    with Orthanc(tmp_path, aet="KEEPER", OverwriteInstances=False) as keeper:
        keeper.upload(*ct_study(2, seed="other").files())
        task = scene.task(dimse("source", source), dimse("keeper", keeper), study.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.warnings) == (Outcome.SUCCESS, ())
    [ended] = scene.ledger.ended(10)
    assert settle(ended, now=now(), random=lambda: 0.5).state is TaskState.SUCCESS


def test_to_a_folder(scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path) -> None:
    source, _ = peers
    study = mixed_study(seed="to-folder", patient_id="F-1")
    source.upload(*study.files())
    root = tmp_path / "archive"
    root.mkdir()
    task = scene.task(dimse("source", source), folder("archive", root), study.study_instance_uid)
    assert task.run().outcome is Outcome.SUCCESS
    files = {path.stem: path for path in root.rglob("*.dcm")}
    assert set(files) == study.sop_instance_uids
    for uid_, row in task.rows().items():
        assert row.location is not None
        assert root / row.location == files[uid_]
    [study_folder] = {path.parent.parent.name for path in files.values()}
    assert study_folder == "20240131-101112-CT,MR"


def test_from_a_folder(scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path) -> None:
    _, destination = peers
    study = ct_study(4, seed="from-folder")
    study.write(tmp_path / "inbox")
    task = scene.task(folder("inbox", tmp_path / "inbox"), dimse("destination", destination), study.study_instance_uid)
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.instances_of(study.study_instance_uid) == study.sop_instance_uids


def test_a_source_and_a_destination_that_are_down_and_come_back(scene: Scene, tmp_path: Path) -> None:
    study = ct_study(5, seed="down")
    with Orthanc(tmp_path, aet="SOURCE") as source, Orthanc(tmp_path, aet="DESTINATION") as destination:
        source.upload(*study.files())
        task = scene.task(dimse("source", source), dimse("destination", destination), study.study_instance_uid)
        source.kill()
        report = task.run(again=True)
        assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE)
        assert report.faults[0].node == "source"
        source.start()
        destination.kill()
        report = task.run(again=True)
        assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE)
        assert report.faults[0].node == "destination"
        destination.start()
        assert task.run().outcome is Outcome.SUCCESS
        assert destination.instances_of(study.study_instance_uid) == study.sop_instance_uids
