"""Tasks whose destination makes archives: green when one is there whole, and until then nothing is there at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, Task, dimse, now
from tests.peers import ScriptedSCP
from tests.peers.scripted import Behaviour
from tests.peers.server_process import wait_until
from tests.peers.seven_zip import unpacked
from tests.samples import Study, ct_study

STUDY = ct_study(6, seed="archive", series=2, size=64)
FORMATS = ("Zip", "SevenZip")
PASSWORD = "gestern-heute"


@pytest.fixture
def source() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as scp:
        yield scp


@pytest.fixture
def scene(scene: Scene) -> Scene:
    scene.secrets = scene.tmp / "secrets"
    (scene.secrets / "archives").mkdir(parents=True)
    (scene.secrets / "archives" / "password").write_text(PASSWORD)
    (scene.tmp / "out").mkdir()
    return scene


def task_of(scene: Scene, source: ScriptedSCP, kind: str = "Zip", study: Study = STUDY, **spec: Any) -> Task:
    place = {"path": str(scene.tmp / "out"), "archive": {"format": kind, "secretName": "archives"}}
    node = DicomNode.model_validate({"metadata": {"name": "exports"}, "spec": {"folder": place}})
    return scene.task(dimse("source", source), node, study.study_instance_uid, **spec)


def shown(scene: Scene) -> list[Path]:
    return [path for path in (scene.tmp / "out").rglob("*") if path.is_file() and not path.name.startswith(".")]


def hidden(scene: Scene) -> list[Path]:
    return list((scene.tmp / "out").rglob(".adit-*"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_study_becomes_one_archive(scene: Scene, source: ScriptedSCP, kind: str) -> None:
    task = task_of(scene, source, kind)
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert set(task.states().values()) == {InstanceState.VERIFIED}
    [archive] = shown(scene)
    members = unpacked(archive, PASSWORD, scene.tmp / "unpacked")
    assert {Path(name).stem for name in members if name.endswith(".dcm")} == STUDY.sop_instance_uids
    assert hidden(scene) == []


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("of_the_node", [None, {"format": "Zip", "secretName": "archives"}], ids=["files", "archives"])
def test_a_job_has_archives_of_its_own(
    scene: Scene, source: ScriptedSCP, kind: str, of_the_node: dict[str, str] | None
) -> None:
    """For whom it is for, whatever the folder's DicomNode says."""
    (scene.tmp / "secrets" / "recipient").mkdir()
    (scene.tmp / "secrets" / "recipient" / "password").write_text("for-you-alone")
    place = {"path": str(scene.tmp / "out")} | ({} if of_the_node is None else {"archive": of_the_node})
    node = DicomNode.model_validate({"metadata": {"name": "exports"}, "spec": {"folder": place}})
    theirs = {"format": kind, "secretName": "recipient"}
    report = scene.task(dimse("source", source), node, STUDY.study_instance_uid, archive=theirs).run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    [archive] = shown(scene)
    assert archive.suffix == {"Zip": ".zip", "SevenZip": ".7z"}[kind]
    members = unpacked(archive, "for-you-alone", scene.tmp / "unpacked")
    assert {Path(name).stem for name in members if name.endswith(".dcm")} == STUDY.sop_instance_uids


def test_series_of_a_study(scene: Scene, source: ScriptedSCP) -> None:
    task = task_of(scene, source, series=STUDY.series_instance_uids[:1])
    assert task.run().outcome is Outcome.SUCCESS
    [archive] = shown(scene)
    assert len(unpacked(archive, PASSWORD, scene.tmp / "unpacked")) == 6 + 1


def test_what_is_not_whole_is_not_shown_and_is_made_anew(scene: Scene, source: ScriptedSCP) -> None:
    """The source leaves out some; nothing counts as stored meanwhile, not even what it gave."""
    source.behaviour = Behaviour(get_only=3)
    task = task_of(scene, source)
    report = task.run(again=True)
    assert report.outcome is Outcome.PARTIAL
    assert report.faults[0].code is FaultCode.INCOMPLETE
    assert task.count(InstanceState.STORED, InstanceState.VERIFIED) == 0
    assert report.progress.stored == 0
    assert "NotSealed" in task.codes()
    assert shown(scene) == hidden(scene) == []
    source.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    [archive] = shown(scene)
    assert len(unpacked(archive, PASSWORD, scene.tmp / "unpacked")) == 12 + 1


def test_a_worker_that_is_killed_amid_an_archive(scene: Scene, source: ScriptedSCP) -> None:
    task = task_of(scene, source)
    killed = threading.Event()

    def wait(what: str, number: int) -> None:
        if number == 6 and "sub-operation" in what:
            killed.wait(90)

    source.behaviour = Behaviour(before=wait)
    worker = task.start()
    wait_until(lambda: hidden(scene) != [], "there is a part of an archive")
    worker.kill()
    killed.set()
    assert shown(scene) == []
    assert task.count(InstanceState.STORED, InstanceState.VERIFIED) == 0
    task.lost(worker.assignment)
    source.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert len(shown(scene)) == 1


def test_an_archive_that_somebody_spoiled_is_made_anew(scene: Scene, source: ScriptedSCP) -> None:
    task = task_of(scene, source)
    assert task.run(again=True).outcome is Outcome.SUCCESS
    [archive] = shown(scene)
    archive.write_bytes(b"PK")
    assert task.run(again=True).outcome is Outcome.SUCCESS
    assert len(unpacked(archive, PASSWORD, scene.tmp / "unpacked")) == 12 + 1


def test_a_study_that_grew_is_archived_anew(scene: Scene, source: ScriptedSCP) -> None:
    task = task_of(scene, source)
    assert task.run(again=True).outcome is Outcome.SUCCESS
    more = ct_study(7, seed="archive", series=2, size=64)
    with ScriptedSCP(more.instances, aet="SOURCE") as grown:
        scene.ledger.apply_node(dimse("source", grown), now())
        assert task.run().outcome is Outcome.SUCCESS
    [archive] = shown(scene)
    members = unpacked(archive, PASSWORD, scene.tmp / "unpacked")
    assert {
        Path(name).stem for name in members if name.endswith(".dcm")
    } == STUDY.sop_instance_uids | more.sop_instance_uids


def test_a_password_that_is_missing_ends_the_task(scene: Scene, source: ScriptedSCP) -> None:
    assert scene.secrets is not None
    (scene.secrets / "archives" / "password").unlink()
    report = task_of(scene, source).run()
    assert (report.outcome, report.faults[0].code) == (
        Outcome.PERMANENT_CONFIGURATION_FAULT,
        FaultCode.SECRET_MISSING,
    )
    assert report.faults[0].node == "exports"


def test_a_cancelled_task_shows_nothing(scene: Scene, source: ScriptedSCP) -> None:
    stop, over = threading.Event(), threading.Event()

    def cancel(what: str, number: int) -> None:
        if (what, number) == ("C-GET sub-operation", 4):
            stop.set()
            over.wait(90)  # the study cannot be through before the order is noticed

    source.behaviour = Behaviour(before=cancel)
    report = task_of(scene, source).run(stop=stop)
    over.set()
    assert report.outcome is Outcome.CANCELLED
    assert shown(scene) == hidden(scene) == []
