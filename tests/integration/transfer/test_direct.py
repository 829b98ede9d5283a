"""The road past us, on real PACSs and on one that lies in every way: green only by what the destination lists."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.integration.transfer.scene import Scene, Task, dimse
from tests.peers import Dcmqrscp, Orthanc, ScriptedSCP
from tests.peers.dcmtk import scu
from tests.peers.scripted import Behaviour
from tests.peers.scripted_move import MoveBehaviour
from tests.peers.server_process import wait_until
from tests.samples import Study, ct_study

STUDY = ct_study(4, seed="direct", series=2, size=64)
UIDS = sorted(STUDY.sop_instance_uids)
SERVICES = ["Verification", "StudyRootFind", "StudyRootGet", "StudyRootMove", "Storage"]
PATIENT = {"connectSeconds": 5, "acseSeconds": 10, "dimseSeconds": 6, "networkSeconds": 20}
"""A busy machine may take seconds for an answer; who never answers makes a test wait so long."""
BRIEF = {**PATIENT, "dimseSeconds": 2}
DIRECT = "C-MOVE direct"


def pacs(name: str, peer: Any, **more: Any) -> DicomNode:
    return dimse(name, peer, **{"services": SERVICES, "timeouts": PATIENT, **more})


def task_of(scene: Scene, source: Any, destination: Any, study: Study = STUDY, **more: Any) -> Task:
    nodes = pacs("source", source, **more), pacs("destination", destination)
    return scene.task(*nodes, study.study_instance_uid, direct=True)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("direct"), aet="DESTINATION") as peer:
        yield peer


@pytest.fixture
def destination() -> Iterator[ScriptedSCP]:
    with ScriptedSCP(aet="DESTINATION") as scp:
        yield scp


@pytest.fixture
def source(destination: ScriptedSCP) -> Iterator[ScriptedSCP]:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as scp:
        scp.move.destinations["DESTINATION"] = (destination.host, destination.dicom_port)
        yield scp


# Real PACSs


def test_from_orthanc_to_orthanc(scene: Scene, orthanc: Orthanc, tmp_path: Path) -> None:
    orthanc.delete_all()
    with Orthanc(tmp_path, aet="SOURCE") as source:
        source.upload(*STUDY.files())
        source.knows("DESTINATION", orthanc.host, orthanc.dicom_port)
        task = task_of(scene, source, orthanc)
        report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert (report.progress.road, report.progress.store_road) == (DIRECT, DIRECT)
    assert (report.progress.verified, report.progress.bytes_received) == (8, 0)
    assert task.states() == dict.fromkeys(UIDS, InstanceState.VERIFIED)
    assert orthanc.instances_of(STUDY.study_instance_uid) == STUDY.sop_instance_uids


@pytest.mark.parametrize("knows", [True, False], ids=["known", "unknown"])
def test_from_dcmqrscp_to_orthanc(scene: Scene, orthanc: Orthanc, tmp_path: Path, knows: bool) -> None:
    orthanc.delete_all()
    files = STUDY.write(tmp_path / "files")
    there = {"DESTINATION": (orthanc.host, orthanc.dicom_port)} if knows else {}
    with Dcmqrscp(tmp_path, destinations=there) as peer:
        done = scu("storescu", "-aec", peer.aet, peer.host, str(peer.dicom_port), *map(str, files))
        assert done.returncode == 0, done.stderr
        task = task_of(scene, peer, orthanc)
        report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.road == (DIRECT if knows else "C-GET")
    assert ("MoveDestinationUnknown" in task.codes()) == (not knows)
    assert orthanc.instances_of(STUDY.study_instance_uid) == STUDY.sop_instance_uids


# PACSs that do it wrong, and what is left then goes through us


@pytest.mark.parametrize(
    ("behaviour", "road"),
    [
        (MoveBehaviour(status=0xA801), "C-GET"),
        (MoveBehaviour(status=0xA702), "C-GET"),
        (MoveBehaviour(status=0xC000), "C-GET"),
        (MoveBehaviour(nothing=True), "C-GET"),
        (MoveBehaviour(silent=True), "C-GET"),
        (MoveBehaviour(dropped=frozenset(UIDS[:3])), f"{DIRECT}, C-GET"),
        (MoveBehaviour(final=False), "C-GET"),
        (MoveBehaviour(destination=("127.0.0.1", 1)), "C-GET"),
        (MoveBehaviour(pending=False), DIRECT),
        (MoveBehaviour(counts=False), DIRECT),
        (MoveBehaviour(early=True), DIRECT),
    ],
    ids=[
        "refused",
        "out of resources",
        "failed",
        "nothing sent",
        "never answered",
        "3 dropped",
        "no final word",
        "sent nowhere",
        "no pending",
        "no counts",
        "early",
    ],
)
def test_what_does_not_get_there_goes_through_us(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP, behaviour: MoveBehaviour, road: str
) -> None:
    source.move.behaviour = behaviour
    task = task_of(scene, source, destination)
    report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    if behaviour.early:
        assert report.progress.road in (DIRECT, f"{DIRECT}, C-GET", "C-GET")  # by which comes first
    else:
        assert report.progress.road == road
    assert ("NotDirect" in task.codes()) == (report.progress.road != DIRECT)
    assert task.states() == dict.fromkeys(UIDS, InstanceState.VERIFIED)
    assert destination.holds == STUDY.sop_instance_uids


def test_a_long_silence_is_borne_while_something_arrives(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    """A PACS that says nothing before it is done: eight instances in four seconds or more, two of patience."""
    source.move.behaviour = MoveBehaviour(pending=False)
    source.behaviour = Behaviour(before=lambda what, number: time.sleep(0.5 * (what == "C-MOVE sub-operation")))
    report = task_of(scene, source, destination, timeouts=BRIEF).run()
    assert (report.outcome, report.progress.road) == (Outcome.SUCCESS, DIRECT)
    assert len(destination.received) == 8


def test_what_is_acknowledged_and_not_kept_is_never_green(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    destination.behaviour = Behaviour(lost=frozenset(UIDS[:2]))
    task = task_of(scene, source, destination)
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
    destination.behaviour = Behaviour()
    assert task.run().outcome is Outcome.SUCCESS
    assert destination.holds == STUDY.sop_instance_uids


def test_what_was_there_before_is_a_warning(scene: Scene, source: ScriptedSCP) -> None:
    """That the UID is listed says nothing then: it was before."""
    with ScriptedSCP(STUDY.instances[:1], aet="DESTINATION") as full:
        source.move.destinations["DESTINATION"] = (full.host, full.dicom_port)
        report = task_of(scene, source, full).run()
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.STORED_WITH_WARNING]


def test_a_source_that_speaks_of_more_than_it_gives_is_told_of(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    """By its last word to us all came: what it said in sending past us is what someone should look at."""
    source.move.behaviour = MoveBehaviour(more=2)
    report = task_of(scene, source, destination).run()
    [warning] = report.warnings
    assert (report.outcome, report.faults, warning.code) == (Outcome.SUCCESS, (), FaultCode.FETCHED_WITH_WARNING)
    assert "10 instances" in warning.message
    assert "source.direct" in warning.cure
    assert (report.progress.announced, report.progress.verified) == (10, 8)


def test_what_is_sent_and_not_listed_comes_through_us(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    source.behaviour = Behaviour(unlisted=frozenset(UIDS[:2]))
    task = task_of(scene, source, destination)
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert (report.progress.road, report.progress.verified) == (f"{DIRECT}, C-GET", 8)
    assert task.states() == dict.fromkeys(UIDS, InstanceState.VERIFIED)


def test_what_is_spoken_of_and_cannot_come_through_us_is_missing(
    scene: Scene, source: ScriptedSCP, destination: ScriptedSCP
) -> None:
    """The next attempt sends nothing past us again: it could prove no more."""
    source.move.behaviour = MoveBehaviour(more=2)
    task = task_of(scene, source, destination, services=[each for each in SERVICES if each != "StudyRootGet"])
    report = task.run(again=True)
    assert report.outcome is not Outcome.SUCCESS
    [missing] = [fault for fault in report.faults if fault.code is FaultCode.INCOMPLETE]
    assert "10 instances" in missing.message
    assert task.run().outcome is not Outcome.SUCCESS
    assert len(destination.received) == 8


# Some series only


@pytest.fixture
def of_a_series(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> Task:
    nodes = pacs("source", source), pacs("destination", destination)
    return scene.task(*nodes, STUDY.study_instance_uid, series=STUDY.series_instance_uids[:1], direct=True)


SERIES = {str(i.SOPInstanceUID) for i in STUDY.instances if i.SeriesInstanceUID == STUDY.series_instance_uids[0]}


def test_a_series_comes_alone(of_a_series: Task, destination: ScriptedSCP) -> None:
    report = of_a_series.run()
    assert (report.outcome, report.progress.road, report.warnings) == (Outcome.SUCCESS, DIRECT, ())
    assert {item.sop_instance_uid for item in destination.received} == SERIES


@pytest.mark.parametrize("pending", [True, False], ids=["in time", "afterwards"])
def test_a_source_that_sends_all_of_the_study_is_stopped_and_told_of(
    of_a_series: Task, source: ScriptedSCP, destination: ScriptedSCP, pending: bool
) -> None:
    """By its first word of how much is to come; else nobody can know before it is there."""
    source.move.behaviour = MoveBehaviour(whole_study=True, pending=pending)
    report = of_a_series.run()
    assert (report.outcome, report.faults, report.progress.road) == (Outcome.SUCCESS, (), "C-GET")
    assert [warning.code for warning in report.warnings] == [FaultCode.FETCHED_WITH_WARNING]
    assert "4 instances" in report.warnings[0].message
    assert "8" in report.warnings[0].message
    assert set(of_a_series.rows()) == SERIES
    came = len(destination.holds - SERIES)
    assert (came < 4, len(source.move.cancelled)) == (pending, int(pending))


# Stopped amid it


def test_a_cancelled_task(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    stop = threading.Event()

    def cancel(what: str, number: int) -> None:
        if (what, number) == ("C-MOVE sub-operation", 3):
            stop.set()
            wait_until(source.move.asked_to_stop, "the C-CANCEL has come")

    source.behaviour = Behaviour(before=cancel)
    task = task_of(scene, source, destination)
    report = task.run(stop=stop)
    assert report.outcome is Outcome.CANCELLED
    assert task.count(InstanceState.STORED, InstanceState.VERIFIED) == 0  # there was no final word
    assert len(source.move.cancelled) == 1
    assert len(destination.received) == 3


def test_a_source_that_will_not_stop(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    """It is hung up on after a while, and the attempt ends all the same."""
    stop, over = threading.Event(), threading.Event()

    def cancel(what: str, number: int) -> None:
        if (what, number) == ("C-MOVE sub-operation", 3):
            stop.set()
            over.wait(90)

    source.move.behaviour = MoveBehaviour(cancels=False)
    source.behaviour = Behaviour(before=cancel)
    began = time.monotonic()
    report = task_of(scene, source, destination).run(stop=stop)
    over.set()
    assert report.outcome is Outcome.CANCELLED
    assert time.monotonic() - began < 60


def test_a_killed_worker(scene: Scene, source: ScriptedSCP, destination: ScriptedSCP) -> None:
    """What the source goes on to send for it is no harm: the next attempt asks for all of it again."""
    killed = threading.Event()

    def wait(what: str, number: int) -> None:
        if (what, number) == ("C-MOVE sub-operation", 3):
            killed.wait(90)

    source.behaviour = Behaviour(before=wait)
    task = task_of(scene, source, destination)
    worker = task.start()
    wait_until(lambda: len(destination.received) == 2, "two have arrived")
    worker.kill()
    killed.set()
    assert task.count(InstanceState.STORED, InstanceState.VERIFIED) == 0
    task.lost(worker.assignment)
    report = task.run()
    assert (report.outcome, report.faults, report.progress.road) == (Outcome.SUCCESS, (), DIRECT)
    assert destination.holds == STUDY.sop_instance_uids
