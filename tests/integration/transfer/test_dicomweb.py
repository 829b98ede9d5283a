"""Transfers from and to real DICOMweb servers, also through one that spoils some of their answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from adit.deid.profiles import ready
from adit.dicom.dicomweb.multipart import boundary_of
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.dicomweb.nodes import stored
from tests.integration.transfer.planted import is_clean, planted
from tests.integration.transfer.scene import Scene, dimse, folder
from tests.integration.transfer.spoiled_web import BRIEF, assert_arrived, data_set, once, spoiled
from tests.peers import Orthanc
from tests.peers.scripted_web import Asked, Reply, multipart, relayed
from tests.samples import Study, compressed_files, ct_study, mixed_study, multiframe, private_study


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    tmp = tmp_path_factory.mktemp("orthancs")
    with Orthanc(tmp, aet="SOURCE", dicomweb=True) as source, Orthanc(tmp, aet="TARGET", dicomweb=True) as destination:
        yield source, destination


@pytest.fixture(autouse=True)
def _destination_is_empty(peers: tuple[Orthanc, Orthanc]) -> None:
    peers[1].delete_all()


def web(name: str, url: str, **spec: Any) -> DicomNode:
    place = {"url": url, "timeouts": BRIEF, **spec}
    return DicomNode.model_validate({"kind": "DicomNode", "metadata": {"name": name}, "spec": {"dicomWeb": place}})


def test_what_leaves_by_stow_under_another_name_names_nobody(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    """Several in one request, of which the server's answer speaks by the new UIDs."""
    source, destination = peers
    study = planted(5, seed="planted-web")
    source.upload(*study.files())
    scene.key()
    task = scene.task(
        web("source", source.dicomweb_url),
        web("destination", destination.dicomweb_url),
        study.study_instance_uid,
        profile=ready("research"),
    )
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.store_road == "STOW-RS"
    [arrived] = destination.studies()
    assert len(destination.instances_of(arrived)) == 5
    for row in task.rows().values():
        assert row.sent_as is not None
        assert is_clean(destination.instance_file(row.sent_as), study)


@pytest.mark.parametrize(
    "study", [ct_study(4, seed="web", series=2), mixed_study("web-mixed"), private_study(seed="web-p")]
)
def test_from_web_to_web(scene: Scene, peers: tuple[Orthanc, Orthanc], study: Study) -> None:
    source, destination = peers
    source.upload(*study.files())
    task = scene.task(
        web("source", source.dicomweb_url),
        web("destination", destination.dicomweb_url),
        study.study_instance_uid,
        patient_id=study.patient_id,
    )
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.road == "WADO-RS"
    assert task.states() == dict.fromkeys(study.sop_instance_uids, InstanceState.VERIFIED)
    assert_arrived(destination, source, study)


@pytest.mark.parametrize("road", ["web to DIMSE", "DIMSE to web", "web to folder", "folder to web"])
def test_between_web_dimse_and_folder(scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path, road: str) -> None:
    source, destination = peers
    study = ct_study(3, seed="roads")
    source.upload(*study.files())
    (tmp_path / "files").mkdir()
    study.write(tmp_path / "files")
    start, _, end = road.partition(" to ")
    sources = {
        "web": web("source", source.dicomweb_url),
        "DIMSE": dimse("source", source),
        "folder": folder("source", tmp_path / "files"),
    }
    (tmp_path / "exports").mkdir()
    destinations = {
        "web": web("destination", destination.dicomweb_url),
        "DIMSE": dimse("destination", destination),
        "folder": folder("destination", tmp_path / "exports"),
    }
    task = scene.task(sources[start], destinations[end], study.study_instance_uid)
    report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    if end == "folder":
        assert {path.stem for path in (tmp_path / "exports").rglob("*.dcm")} == study.sop_instance_uids
    else:
        assert_arrived(destination, source, study)


@pytest.mark.parametrize("path", compressed_files(), ids=lambda path: path.name)
def test_compressed_objects_go_through_untouched(scene: Scene, peers: tuple[Orthanc, Orthanc], path: Path) -> None:
    source, destination = peers
    held = dcmread(path)
    source.upload(path)
    nodes = web("source", source.dicomweb_url), web("destination", destination.dicomweb_url)
    task = scene.task(*nodes, str(held.StudyInstanceUID), series=[str(held.SeriesInstanceUID)])
    report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    uid = str(held.SOPInstanceUID)
    assert task.states()[uid] is InstanceState.VERIFIED
    assert data_set(destination.instance_file(uid)) == data_set(source.instance_file(uid))


def test_a_big_object_goes_through_the_spool(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = Study((multiframe(20, 1024, seed="big-web"),))
    source.upload(*study.files())
    nodes = web("source", source.dicomweb_url), web("destination", destination.dicomweb_url)
    assert scene.task(*nodes, study.study_instance_uid).run().outcome is Outcome.SUCCESS
    assert_arrived(destination, source, study)


# Sources that spoil it


@pytest.mark.parametrize("length", [True, False], ids=["announced", "until the end"])
def test_an_answer_cut_in_mid_part_is_made_up_for_by_name(
    scene: Scene, peers: tuple[Orthanc, Orthanc], length: bool
) -> None:
    source, destination = peers
    study = ct_study(4, seed=f"cut-{length}")
    source.upload(*study.files())

    def cut(asked: Asked) -> Reply:
        reply = relayed(source.dicomweb_url, asked)
        return replace(reply, cut_at=len(reply.body) * 5 // 8, length=length)

    with spoiled(source, once(cut, study.study_instance_uid)) as server:
        task = scene.task(
            web("source", server.url), web("destination", destination.dicomweb_url), study.study_instance_uid
        )
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert {"FetchedAgain", "Healed"} <= set(task.codes())
    assert_arrived(destination, source, study)


def test_206_leads_to_what_is_missing(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(4, seed="206")
    source.upload(*study.files())
    some = [file for file, _ in zip(study.files(), range(2), strict=False)]
    with spoiled(source, once(lambda asked: multipart(some, status=206), study.study_instance_uid)) as server:
        task = scene.task(
            web("source", server.url), web("destination", destination.dicomweb_url), study.study_instance_uid
        )
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert_arrived(destination, source, study)


def test_an_instance_that_the_source_does_not_give_makes_it_partial(
    scene: Scene, peers: tuple[Orthanc, Orthanc]
) -> None:
    source, destination = peers
    study = ct_study(3, seed="withheld")
    source.upload(*study.files())
    others = list(study.files())[1:]
    withheld = str(study.instances[0].SOPInstanceUID)

    def spoil(asked: Asked) -> Reply | None:
        if asked.path == f"/studies/{study.study_instance_uid}":
            return multipart(others)
        return Reply(404) if asked.path.endswith(f"/instances/{withheld}") else None

    with spoiled(source, spoil) as server:
        task = scene.task(
            web("source", server.url), web("destination", destination.dicomweb_url), study.study_instance_uid
        )
        report = task.run()
    assert report.outcome is not Outcome.SUCCESS
    assert report.faults[0].sop_instance_uid == withheld
    assert task.count(InstanceState.VERIFIED) == 2


def test_a_listing_cut_in_silence_is_no_success(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    """A server that gives two instances of four, says nothing of it, and sends just those."""
    source, destination = peers
    study = ct_study(4, seed="silence")
    source.upload(*study.files())
    some = [file for file, _ in zip(study.files(), range(2), strict=False)]

    def spoil(asked: Asked) -> Reply | None:
        if asked.path == f"/studies/{study.study_instance_uid}":
            return multipart(some)
        if "/instances?" not in asked.path:
            return None
        if "offset" in asked.path:
            return Reply(204)
        return relayed(source.dicomweb_url, replace(asked, path=asked.path.replace("limit=1000", "limit=2")))

    with spoiled(source, spoil) as server:
        task = scene.task(
            web("source", server.url), web("destination", destination.dicomweb_url), study.study_instance_uid
        )
        report = task.run()
    assert report.outcome is Outcome.PARTIAL


# Destinations that spoil it


def without(asked: Asked, uid: str) -> tuple[Asked, int]:
    """A request of STOW-RS without this instance, and how many others there are in it."""
    delimiter = b"--" + (boundary_of(str(asked.headers["Content-Type"])) or "").encode()
    before, *parts, after = asked.body.split(delimiter)
    kept = [part for part in parts if uid.encode() not in part]
    return replace(asked, body=delimiter.join([before, *kept, after])), len(kept)


def test_a_refused_instance_is_told_and_the_others_arrive(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(4, seed="409")
    source.upload(*study.files())
    refused = str(study.instances[1].SOPInstanceUID)
    others = study.sop_instance_uids - {refused}

    def spoil(asked: Asked) -> Reply | None:
        if asked.method != "POST" or refused.encode() not in asked.body:
            return None
        kept, taken = without(asked, refused)
        if not taken:
            return stored(failed={refused: 0xA900}, status=409)
        assert relayed(destination.dicomweb_url, kept).status == 200
        return stored(*(uid for uid in others if uid.encode() in kept.body), failed={refused: 0xA900}, status=202)

    with spoiled(destination, spoil) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        report = task.run()
    assert report.outcome is Outcome.PERMANENT_DATA_FAULT
    assert [(fault.code, fault.sop_instance_uid, fault.status) for fault in report.faults] == [
        (FaultCode.INSTANCE_REFUSED, refused, 0xA900)
    ]
    assert destination.instances_of(study.study_instance_uid) == others


def test_a_destination_that_stores_nothing_and_says_it_did(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(2, seed="liar")
    source.upload(*study.files())

    def spoil(asked: Asked) -> Reply | None:
        if asked.method != "POST":
            return None
        return stored(*(uid for uid in study.sop_instance_uids if uid.encode() in asked.body))

    with spoiled(destination, spoil) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
    assert task.count(InstanceState.VERIFIED) == 0


def test_a_destination_that_is_busy_gets_it_later(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(3, seed="busy")
    source.upload(*study.files())
    busy = Reply(503, headers={"Retry-After": "1"})
    with spoiled(destination, once(lambda asked: busy, "/studies")) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert_arrived(destination, source, study)


def test_a_destination_that_hangs_up_once_gets_it_again(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(3, seed="hang-up")
    source.upload(*study.files())

    def hang_up(asked: Asked) -> Reply:
        raise ConnectionResetError

    with spoiled(destination, once(hang_up, "/studies")) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert_arrived(destination, source, study)


def test_without_qido_the_arrival_is_not_proven(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(2, seed="no-qido")
    source.upload(*study.files())
    task = scene.task(
        web("source", source.dicomweb_url),
        web("destination", destination.dicomweb_url, services=["STOW-RS"]),
        study.study_instance_uid,
    )
    report = task.run()
    assert (report.outcome, [warning.code for warning in report.warnings]) == (
        Outcome.SUCCESS,
        [FaultCode.ARRIVAL_NOT_PROVABLE],
    )


def test_a_killed_worker_costs_what_was_in_flight(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(60, seed="killed")
    source.upload(*study.files())
    stored_before: list[str] = []

    def slow(asked: Asked) -> Reply | None:
        if asked.method == "POST":
            stored_before.append(asked.path)
            if len(stored_before) == 3:
                worker.kill()
        return None

    with spoiled(destination, slow) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        worker = task.start()
        worker.wait()
        task.lost(worker.assignment)
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert_arrived(destination, source, study)


def test_many_small_instances_share_requests(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(60, seed="together")
    source.upload(*study.files())
    scene.associations = 1
    with spoiled(destination, lambda asked: None) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        report = task.run()
    posts = [asked for asked in server.asked if asked.method == "POST"]
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert 4 <= len(posts) < 60
    assert_arrived(destination, source, study)


@pytest.mark.parametrize("status", [400, 409, 413, 500])
def test_a_server_that_refuses_several_at_once_gets_them_one_by_one(
    scene: Scene, peers: tuple[Orthanc, Orthanc], status: int
) -> None:
    source, destination = peers
    study = ct_study(20, seed=f"one-by-one-{status}")
    source.upload(*study.files())
    scene.associations = 1

    def spoil(asked: Asked) -> Reply | None:
        return Reply(status) if asked.body.count(b"DICM") > 1 else None

    with spoiled(destination, spoil) as server:
        task = scene.task(web("source", source.dicomweb_url), web("destination", server.url), study.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert_arrived(destination, source, study)
