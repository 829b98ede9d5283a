"""De-identified on the way between real nodes: what arrives names nobody, is whole, and is the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pyzipper import AESZipFile

from adit.deid.profiles import ready
from adit.dispatch.settle import settle
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from adit.model.state import TaskState
from tests.integration.transfer.planted import (
    PATIENT_ID,
    dcmdump,
    identity,
    is_clean,
    pixels_of,
    planted,
    presentation_state,
)
from tests.integration.transfer.scene import Scene, Task, dimse, folder, now
from tests.peers import Orthanc
from tests.samples import Study, part10


@pytest.fixture(scope="module")
def orthancs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    tmp = tmp_path_factory.mktemp("orthancs")
    with Orthanc(tmp, aet="SOURCE") as source, Orthanc(tmp, aet="DESTINATION") as destination:
        yield source, destination


@pytest.fixture
def peers(orthancs: tuple[Orthanc, Orthanc], scene: Scene) -> tuple[Orthanc, Orthanc]:
    for each in orthancs:
        each.delete_all()
    scene.key()
    return orthancs


def between(scene: Scene, peers: tuple[Orthanc, Orthanc], study: Study, profile: DeidProfile, **about: object) -> Task:
    source, destination = peers
    nodes = dimse("source", source), dimse("destination", destination)
    return scene.task(*nodes, study.study_instance_uid, profile=profile, **about)  # type: ignore[arg-type]


def changed(profile: str, **spec: object) -> DeidProfile:
    known = ready(profile).model_dump(mode="json", by_alias=True, exclude_none=True)
    return DeidProfile.model_validate({**known, "spec": {**known["spec"], **spec}})


def settled(scene: Scene, task: Task) -> TaskState:
    [ended] = scene.ledger.ended(1)
    settlement = settle(ended, now=now(), random=lambda: 0.0)
    scene.ledger.settle(ended.attempt_id, settlement, now())
    return settlement.state


@pytest.mark.parametrize("name", ["research", "basic"])
def test_what_arrives_names_nobody_and_shows_the_same(scene: Scene, peers: tuple[Orthanc, Orthanc], name: str) -> None:
    source, destination = peers
    study = planted()
    source.upload(*study.files())
    task = between(scene, peers, study, ready(name), patient_id=PATIENT_ID)
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    mapped = identity(name)
    [arrived] = destination.studies()
    assert arrived == mapped.uid(study.study_instance_uid)
    for original in study.instances:
        uid = str(original.SOPInstanceUID)
        file = destination.instance_file(mapped.uid(uid))
        assert is_clean(file, study)
        assert pixels_of(file) == original.PixelData
        assert destination.instance_tags(mapped.uid(uid))["PatientID"] == mapped.patient(PATIENT_ID)
        assert mapped.uid(uid) in dcmdump(file, scene.tmp)
        row = task.rows()[uid]  # in the hospital's ledger, by the name that a retry asks for
        assert (row.state, row.sent_as) == (InstanceState.VERIFIED, mapped.uid(uid))
    assert settled(scene, task) is TaskState.SUCCESS
    told = scene.ledger.deidentification(task.job_id)
    [group] = told["profiles"]
    assert (group["profile"], group["treated"], group["keyId"]) == (name, 3, mapped.key_id)
    assert is_clean(str((told, task.events())).encode(), study)


def test_a_given_pseudonym_and_the_trial_are_what_the_instances_bear(
    scene: Scene, peers: tuple[Orthanc, Orthanc]
) -> None:
    source, destination = peers
    study = planted()
    source.upload(*study.files())
    trial = {"protocolID": "STROKE", "protocolName": "Stroke CT"}
    task = between(scene, peers, study, ready("basic"), pseudonym="STROKE-001", trial=trial)
    assert task.run().outcome is Outcome.SUCCESS
    for uid in study.sop_instance_uids:
        file = destination.instance_file(identity("basic").uid(uid))
        read = dcmread(BytesIO(file))
        assert (read.PatientID, read.PatientName) == ("STROKE-001", "STROKE-001")
        assert (read.ClinicalTrialProtocolID, read.ClinicalTrialProtocolName) == ("STROKE", "Stroke CT")
        assert is_clean(file, study)


def test_a_repeat_overwrites_itself(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = planted()
    source.upload(*study.files())
    task = between(scene, peers, study, ready("research"))
    assert task.run(again=True).outcome is Outcome.SUCCESS
    before = {uid: destination.instance_file(uid) for uid in destination.instances_of(*destination.studies())}
    destination.delete_instance(min(before))
    assert task.run(again=True).faults[0].code is FaultCode.NOT_PROVEN
    assert task.run().outcome is Outcome.SUCCESS
    assert {uid: pixels_of(destination.instance_file(uid)) for uid in before} == {
        uid: pixels_of(file) for uid, file in before.items()
    }
    assert destination.counts()["instances"] == 3


def test_what_the_profile_leaves_out_is_counted_and_the_rest_is_green(
    scene: Scene, peers: tuple[Orthanc, Orthanc]
) -> None:
    source, destination = peers
    study = planted()
    other = presentation_state()
    source.upload(*study.files(), part10(other))
    task = between(scene, peers, study, changed("research", excludedModalities=["PR"]))
    report = task.run()
    assert (report.outcome, report.faults, report.progress.expected) == (Outcome.SUCCESS, (), 3)
    assert destination.counts()["instances"] == 3
    assert task.states()[str(other.SOPInstanceUID)] is InstanceState.LEFT_OUT
    assert settled(scene, task) is TaskState.SUCCESS
    [kept] = scene.ledger.tasks(task.job_id)
    assert (kept.expected, kept.verified, kept.left_out) == (3, 3, 1)
    assert "1 instance left out" in kept.message
    assert scene.ledger.deidentification(task.job_id)["leftOut"] == [{"instances": 1, "reason": "modality PR"}]


def test_a_study_of_which_all_is_left_out_has_not_succeeded(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    study = planted(1)
    peers[0].upload(*study.files())
    task = between(scene, peers, study, changed("research", excludedModalities=["CT"]))
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.NOTHING_TO_SEND)
    assert settled(scene, task) is TaskState.FAILURE
    assert peers[1].counts()["instances"] == 0


def test_what_cannot_be_made_safe_is_not_sent_and_nothing_is_green(
    scene: Scene, peers: tuple[Orthanc, Orthanc]
) -> None:
    source, destination = peers
    study = planted()
    study.instances[1].BurnedInAnnotation = "YES"
    source.upload(*study.files())
    task = between(scene, peers, study, ready("research"))
    report = task.run()
    assert report.outcome is Outcome.PERMANENT_DATA_FAULT
    [fault] = report.faults
    assert fault.code is FaultCode.DEIDENTIFICATION_REFUSED
    assert fault.sop_instance_uid == str(study.instances[1].SOPInstanceUID)
    assert "BurnedInAnnotation" in fault.message
    assert destination.counts()["instances"] == 2
    assert settled(scene, task) is TaskState.FAILURE
    [told] = scene.ledger.deidentification(task.job_id)["quarantined"]
    assert told == {"instances": 1, "reason": "Pixels: BurnedInAnnotation", "place": "7FE00010"}


def test_a_destination_that_drops_one_is_found_out(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = planted()
    source.upload(*study.files())
    task = between(scene, peers, study, ready("research"))
    assert task.run(again=True).outcome is Outcome.SUCCESS
    destination.delete_instance(identity("research").uid(min(study.sop_instance_uids)))
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
    assert report.faults[0].sop_instance_uid == min(study.sop_instance_uids)


def test_another_key_does_not_send_a_second_copy(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    study = planted()
    peers[0].upload(*study.files())
    task = between(scene, peers, study, ready("research"))
    assert task.run(again=True).outcome is Outcome.SUCCESS
    scene.key(key=b"another key, as long as it must be")
    report = task.run()
    assert report.faults[0].code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert peers[1].counts()["instances"] == 3


@pytest.mark.parametrize(
    ("key", "words"), [(None, "no `key`"), (b"short", "at least 32 bytes")], ids=["missing", "weak"]
)
def test_without_a_good_key_nothing_is_asked(
    scene: Scene, peers: tuple[Orthanc, Orthanc], key: bytes | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    study = planted(1)
    task = between(scene, peers, study, changed("research", key={"secretName": "other"}))
    if key is not None:
        scene.key("other", key)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (
        Outcome.PERMANENT_CONFIGURATION_FAULT,
        FaultCode.SECRET_MISSING,
    )
    assert words in report.faults[0].message
    assert "other" in report.faults[0].message
    if key is None:
        assert f"there is no folder {scene.tmp / 'secrets' / 'other'}" in report.faults[0].message


def test_a_folder_is_named_by_the_pseudonym_and_no_original_date(
    scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path
) -> None:
    study = planted()
    peers[0].upload(*study.files())
    target = tmp_path / "target"
    target.mkdir()
    task = scene.task(
        dimse("source", peers[0]), folder("destination", target), study.study_instance_uid, profile=ready("research")
    )
    for again in (True, False):
        assert task.run(again=again).outcome is Outcome.SUCCESS
    files = list(target.rglob("*.dcm"))
    assert len(files) == 3
    for file in files:
        assert is_clean(str(file).encode(), study)
        assert is_clean(file.read_bytes(), study)
        assert file.parts[-4] == identity("research").patient(PATIENT_ID)


def test_an_archive_holds_what_names_nobody(scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path) -> None:
    study = planted()
    peers[0].upload(*study.files())
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "secrets" / "zip").mkdir()
    (tmp_path / "secrets" / "zip" / "password").write_text("correct horse battery")
    place = {"folder": {"path": str(target), "archive": {"format": "Zip", "secretName": "zip"}}}
    archive = DicomNode.model_validate({"kind": "DicomNode", "metadata": {"name": "archive"}, "spec": place})
    task = scene.task(dimse("source", peers[0]), archive, study.study_instance_uid, profile=ready("research"))
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    [file] = [each for each in target.rglob("*") if each.is_file()]
    assert is_clean(str(file).encode(), study)
    with AESZipFile(file) as opened:
        opened.setpassword(b"correct horse battery")
        members = {name: opened.read(name) for name in opened.namelist()}
    assert len(members) == 3 + 1  # and an index
    assert all(is_clean(name.encode() + content, study) for name, content in members.items())


def test_one_series_and_no_more(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study, other = planted(2), planted(1, seed="planted")
    other.instances[0].SeriesInstanceUID = "1.2.3.4.5"
    other.instances[0].SOPInstanceUID = "1.2.3.4.5.6"
    source.upload(*study.files(), *other.files())
    task = between(scene, peers, study, ready("basic"), series=study.series_instance_uids)
    assert task.run().outcome is Outcome.SUCCESS
    assert set(task.rows()) == study.sop_instance_uids
    assert destination.counts()["instances"] == 2


def test_a_worker_of_its_own_does_the_same(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = planted(2)
    source.upload(*study.files())
    task = between(scene, peers, study, ready("research"))
    worker = task.start()
    assert worker.wait() == 0, worker.log.read_text()
    assert destination.counts()["instances"] == 2
    assert is_clean(worker.log.read_bytes(), study)
