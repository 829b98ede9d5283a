"""A PACS with two faces: what fails at the one is done by the other, and only what is missing is asked for again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from adit.dicom.node import Instance, Level, Query, Wanted
from adit.dicom.opening import open_node
from adit.model.assignment import Share
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome, TransferFault
from tests.integration.transfer.scene import Scene, Task, now
from tests.integration.transfer.spoiled_web import BRIEF, assert_arrived, data_set, once, spoiled
from tests.peers import Behaviour, Orthanc, ScriptedSCP, ScriptedWeb
from tests.peers.cut_wire import CutWire
from tests.peers.scripted_web import Asked, Reply, relayed
from tests.samples import compressed_files, ct_study, mixed_study

DIMSE_BRIEF = {"connectSeconds": 5, "acseSeconds": 10, "dimseSeconds": 20, "networkSeconds": 20}


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orthanc, Orthanc]]:
    tmp = tmp_path_factory.mktemp("orthancs")
    with Orthanc(tmp, aet="SOURCE", dicomweb=True) as source, Orthanc(tmp, aet="TARGET", dicomweb=True) as destination:
        yield source, destination


@pytest.fixture(autouse=True)
def _destination_is_empty(peers: tuple[Orthanc, Orthanc]) -> None:
    peers[1].delete_all()


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def two_faced(
    name: str, orthanc: Orthanc, *, url: str | None = None, port: int | None = None, web: Any = None, dimse: Any = None
) -> DicomNode:
    """Both of an Orthanc's faces, or others in their place."""
    peer = {"aeTitle": orthanc.aet, "host": orthanc.host, "port": port or orthanc.dicom_port, "timeouts": DIMSE_BRIEF}
    server = {"url": url or orthanc.dicomweb_url, "timeouts": BRIEF}
    return DicomNode.model_validate(
        {
            "kind": "DicomNode",
            "metadata": {"name": name},
            "spec": {"dimse": peer | (dimse or {}), "dicomWeb": server | (web or {})},
        }
    )


def fetched(task: Task) -> list[tuple[str, int]]:
    """Each fetch's road and how many instances it brought."""
    lines = [event for event in task.events() if event.code == "Fetched"]
    return [(event.message.partition(":")[0], int(str(event.detail["completed"]))) for event in lines]


@pytest.mark.parametrize("seed", ["ct", "mixed"])
def test_between_two_that_have_both_faces(scene: Scene, peers: tuple[Orthanc, Orthanc], seed: str) -> None:
    source, destination = peers
    study = ct_study(4, seed="faces", series=2) if seed == "ct" else mixed_study("faces-mixed")
    source.upload(*study.files())
    task = scene.task(two_faced("source", source), two_faced("destination", destination), study.study_instance_uid)
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert (report.progress.road, report.progress.store_road) == ("WADO-RS", "C-STORE")
    assert task.states() == dict.fromkeys(study.sop_instance_uids, InstanceState.VERIFIED)
    assert_arrived(destination, source, study)
    [attempt] = scene.ledger.attempts(task.id)
    assert (attempt.road, attempt.store_road) == ("WADO-RS", "C-STORE")


@pytest.mark.parametrize("length", [True, False], ids=["announced", "until the end"])
def test_wado_cut_amid_a_study_and_c_get_brings_the_rest(
    scene: Scene, peers: tuple[Orthanc, Orthanc], length: bool
) -> None:
    source, destination = peers
    study = ct_study(6, seed=f"rest-{length}")
    source.upload(*study.files())

    def cut(asked: Asked) -> Reply:
        reply = relayed(source.dicomweb_url, asked)
        return replace(reply, cut_at=len(reply.body) * 5 // 8, length=length)

    with spoiled(source, once(cut, study.study_instance_uid)) as server:
        task = scene.task(
            two_faced("source", source, url=server.url),
            two_faced("destination", destination),
            study.study_instance_uid,
        )
        report = task.run()
        asked = [each.path for each in server.asked if "studies" in each.path]
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.road == "WADO-RS, C-GET"
    assert fetched(task) == [("WADO-RS", 3), ("C-GET", 3)]
    assert len(asked) == 1  # the server that failed was not asked again
    assert {"AssociationAborted", "FetchedAgain", "Healed"} <= set(task.codes())
    assert_arrived(destination, source, study)


def test_a_server_that_falls_silent_amid_a_study_does_not_hold_it_up(
    scene: Scene, peers: tuple[Orthanc, Orthanc]
) -> None:
    source, destination = peers
    study = ct_study(4, seed="silent")
    source.upload(*study.files())

    def stall(asked: Asked) -> Reply:
        reply = relayed(source.dicomweb_url, asked)
        half = len(reply.body) * 5 // 8
        count = 0

        def going() -> bool:
            nonlocal count
            count += 1
            return count < half

        return replace(reply, dripping=going, length=True)

    with spoiled(source, once(stall, study.study_instance_uid)) as server:
        task = scene.task(
            two_faced("source", source, url=server.url, web={"timeouts": BRIEF | {"networkSeconds": 1}}),
            two_faced("destination", destination),
            study.study_instance_uid,
        )
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert_arrived(destination, source, study)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(404), "NothingReceived"),
        (Reply(406), "ServiceNotOffered"),
        (Reply(401), "PermissionDenied"),
        (Reply(500), "FetchFailed"),
        (Reply(503, b"", {"Retry-After": "3600"}), "OutOfResources"),  # a gateway with nothing behind it
        (Reply(200, b"<html>", {"Content-Type": "text/html"}), "FetchFailed"),
    ],
    ids=["404", "406", "401", "500", "503", "html"],
)
def test_who_gives_nothing_by_wado_is_asked_by_c_get(
    scene: Scene, peers: tuple[Orthanc, Orthanc], reply: Reply, code: str
) -> None:
    source, destination = peers
    study = ct_study(2, seed=f"nothing-{reply.status}-{len(reply.body)}")
    source.upload(*study.files())
    with ScriptedWeb(lambda asked: reply) as server:
        task = scene.task(
            two_faced("source", source, url=server.url), two_faced("destination", destination), study.study_instance_uid
        )
        report = task.run()
        assert len(server.asked) == 1
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.road == "C-GET"
    assert code in task.codes()  # that the server was left is in the log
    assert_arrived(destination, source, study)


@pytest.mark.parametrize("end", ["source", "destination"])
@pytest.mark.parametrize("dead", ["DIMSE", "DICOMweb"])
def test_with_one_face_dead_the_other_does_it(
    scene: Scene, peers: tuple[Orthanc, Orthanc], closed: int, end: str, dead: str
) -> None:
    source, destination = peers
    study = ct_study(3, seed=f"dead-{end}-{dead}")
    source.upload(*study.files())
    wrong: dict[str, Any] = {"port": closed} if dead == "DIMSE" else {"url": f"http://127.0.0.1:{closed}"}
    task = scene.task(
        two_faced("source", source, **(wrong if end == "source" else {})),
        two_faced("destination", destination, **(wrong if end == "destination" else {})),
        study.study_instance_uid,
    )
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    road = "C-GET" if (end, dead) == ("source", "DICOMweb") else "WADO-RS"
    store_road = "STOW-RS" if (end, dead) == ("destination", "DIMSE") else "C-STORE"
    assert (report.progress.road, report.progress.store_road) == (road, store_road)
    assert_arrived(destination, source, study)


def test_with_both_faces_dead_it_is_tried_again_later(
    scene: Scene, peers: tuple[Orthanc, Orthanc], closed: int
) -> None:
    source, destination = peers
    study = ct_study(2, seed="both-dead")
    source.upload(*study.files())
    dead: dict[str, Any] = {"port": closed, "url": f"http://127.0.0.1:{closed}"}
    task = scene.task(
        two_faced("source", source), two_faced("destination", destination, **dead), study.study_instance_uid
    )
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE)
    assert task.count(InstanceState.STORED, InstanceState.VERIFIED) == 0


@pytest.mark.parametrize("refuses", ["the association", "all classes"])
def test_a_peer_that_takes_nothing_by_c_store_is_sent_it_by_stow(
    scene: Scene, peers: tuple[Orthanc, Orthanc], refuses: str
) -> None:
    source, destination = peers
    study = ct_study(5, seed=f"takes-{refuses}")
    source.upload(*study.files())
    peer = (
        ScriptedSCP(aet="TARGET", required_called=True)
        if refuses == "the association"
        else ScriptedSCP(accepts={}, offers_query=False)
    )
    with peer:
        node = two_faced(
            "destination", destination, port=peer.dicom_port, dimse={"aeTitle": "STRANGER", "host": peer.host}
        )
        task = scene.task(two_faced("source", source), node, study.study_instance_uid)
        report = task.run()
        assert not peer.received
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.store_road == "STOW-RS"
    assert_arrived(destination, source, study)


@pytest.mark.parametrize("path", compressed_files()[:2], ids=lambda path: path.stem)
def test_a_form_that_one_way_refuses_goes_by_the_other(
    scene: Scene, peers: tuple[Orthanc, Orthanc], path: Path
) -> None:
    """A PACS that takes this class uncompressed only. Where we can re-encode losslessly it goes by C-STORE."""
    source, destination = peers
    source.upload(path)
    held = dcmread(path)
    only = {str(held.SOPClassUID): ["1.2.840.10008.1.2"]}
    with ScriptedSCP(accepts=only, offers_query=False) as peer:
        node = two_faced("destination", destination, port=peer.dicom_port, dimse={"host": peer.host})
        task = scene.task(
            two_faced("source", source), node, str(held.StudyInstanceUID), series=[held.SeriesInstanceUID]
        )
        report = task.run()
        assert not peer.received
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert report.progress.store_road == "STOW-RS"
    uid = str(held.SOPInstanceUID)
    assert data_set(destination.instance_file(uid)) == data_set(source.instance_file(uid))


def test_a_refusal_of_the_instance_itself_stands(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(2, seed="refused-itself")
    source.upload(*study.files())
    refused = dict.fromkeys(study.sop_instance_uids, 0xA900)
    with ScriptedSCP(behaviour=Behaviour(store_status=refused), offers_query=False) as peer:
        node = two_faced("destination", destination, port=peer.dicom_port, dimse={"host": peer.host})
        report = scene.task(two_faced("source", source), node, study.study_instance_uid).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.INSTANCE_REFUSED)
    assert destination.instances_of(study.study_instance_uid) == set()


def test_a_destination_whose_dicom_port_dies_amid_a_study(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    """What C-STORE had acknowledged is not sent again; STOW-RS brings the others."""
    source, destination = peers
    study = ct_study(8, seed="wire-cut")
    source.upload(*study.files())
    size = len(next(study.files()))
    scene.associations = 1
    posted: list[bytes] = []

    def look(asked: Asked) -> None:
        if asked.method == "POST":
            posted.append(asked.body)

    with (
        CutWire(destination.host, destination.dicom_port, to_peer=size * 7 // 2) as wire,
        spoiled(destination, look) as server,
    ):
        node = two_faced("destination", destination, port=wire.port, url=server.url)
        task = scene.task(two_faced("source", source), node, study.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert report.progress.store_road == "C-STORE, STOW-RS"
    by_stow = sum(uid.encode() in body for uid in study.sop_instance_uids for body in posted)
    assert 4 <= by_stow <= 6
    assert_arrived(destination, source, study)


def test_faces_of_two_different_archives_are_never_green(
    scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path
) -> None:
    """A DicomNode put together wrongly: asked by C-FIND here, stored by STOW-RS there."""
    source, destination = peers
    study = ct_study(2, seed="two-archives")
    source.upload(*study.files())
    with Orthanc(tmp_path, aet="OTHER") as other:
        node = two_faced(
            "destination", destination, port=other.dicom_port, dimse={"aeTitle": "OTHER", "services": ["StudyRootFind"]}
        )
        report = scene.task(two_faced("source", source), node, study.study_instance_uid).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)


def test_a_killed_source_face_amid_a_study(scene: Scene, peers: tuple[Orthanc, Orthanc], tmp_path: Path) -> None:
    """The web server of the source goes away for good while it sends."""
    source, destination = peers
    study = ct_study(6, seed="killed-face")
    source.upload(*study.files())
    with ExitStack() as stack:
        server = stack.enter_context(spoiled(source, lambda asked: None))

        def die(asked: Asked) -> Reply:
            reply = relayed(source.dicomweb_url, asked)
            return replace(reply, cut_at=len(reply.body) // 2)

        def react(asked: Asked) -> Reply:
            if len(server.asked) > 1:
                raise ConnectionResetError
            return die(asked)

        server.react = react
        task = scene.task(
            two_faced("source", source, url=server.url), two_faced("destination", destination), study.study_instance_uid
        )
        report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert report.progress.road == "WADO-RS, C-GET"
    assert_arrived(destination, source, study)


# The node alone


def test_a_query_that_breaks_off_is_asked_at_the_other_face_and_answered_once(
    peers: tuple[Orthanc, Orthanc],
) -> None:
    source, _ = peers
    study = ct_study(5, seed="find-broken")
    source.upload(*study.files())
    keys = {"StudyInstanceUID": study.study_instance_uid, "SeriesInstanceUID": study.series_instance_uids[0]}
    with ScriptedSCP(study.instances, behaviour=Behaviour(find_abort_after=3)) as broken:
        face = {"aeTitle": broken.aet, "host": broken.host}
        node = open_node(two_faced("pacs", source, port=broken.dicom_port, dimse=face), Share(associations=2))
        for asked in (1, 1):  # the face that failed is asked last from then on
            found = [str(answer.get("SOPInstanceUID")) for answer in node.find(Query(Level.IMAGE, keys))]
            assert (len(found), set(found)) == (5, study.sop_instance_uids)
            assert len(broken.queries) == asked


def test_both_faces_keep_to_one_budget(peers: tuple[Orthanc, Orthanc]) -> None:
    source, _ = peers
    study = ct_study(2, seed="budget")
    source.upload(*study.files())
    brief = {"timeouts": DIMSE_BRIEF | {"acseSeconds": 1}}
    node = open_node(
        two_faced("pacs", source, dimse=brief, web={"timeouts": BRIEF | {"answerSeconds": 1}}), Share(associations=1)
    )
    answers = node.find(Query(Level.STUDY))
    next(answers)  # its association is held until it is read to its end
    with pytest.raises(TransferFault) as told:
        node.fetch(Wanted(study.study_instance_uid), Instance.close)
    assert told.value.fault.code is FaultCode.ASSOCIATION_REJECTED_TRANSIENT
    list(answers)
    assert node.fetch(Wanted(study.study_instance_uid), Instance.close).completed == 2


def test_a_probe_tells_of_both_faces(peers: tuple[Orthanc, Orthanc], closed: int) -> None:
    source, _ = peers
    found = open_node(two_faced("pacs", source), Share()).probe()
    assert found.reachable
    assert found.fault is None
    assert {"StudyRootFind", "StudyRootGet", "Storage", "QIDO-RS", "WADO-RS", "STOW-RS"} <= set(found.services)
    found = open_node(two_faced("pacs", source, url=f"http://127.0.0.1:{closed}"), Share()).probe()
    assert found.reachable
    assert found.fault is not None
    assert found.fault.code is FaultCode.NODE_UNREACHABLE
    assert "QIDO-RS" not in found.services
    assert (
        not open_node(two_faced("pacs", source, url=f"http://127.0.0.1:{closed}", port=closed), Share())
        .probe()
        .reachable
    )


def test_an_interruption_ends_both_faces(peers: tuple[Orthanc, Orthanc]) -> None:
    source, _ = peers
    study = ct_study(1, seed="interrupted")
    source.upload(*study.files())
    node = open_node(two_faced("pacs", source), Share())
    node.interrupt()
    for call in (
        lambda: list(node.find(Query(Level.STUDY))),
        lambda: node.fetch(Wanted(study.study_instance_uid), Instance.close),
        lambda: list(node.verify(study.study_instance_uid, [])) or node.fetch(Wanted("1.2"), Instance.close),
    ):
        with pytest.raises(TransferFault) as told:
            call()
        assert told.value.fault.code is FaultCode.INTERRUPTED


# What is learnt of a node


def test_attempts_find_out_and_later_ones_start_by_what_works(scene: Scene, peers: tuple[Orthanc, Orthanc]) -> None:
    source, destination = peers
    study = ct_study(3, seed="learnt")
    scene.probes = True
    source.upload(*study.files())
    with (
        spoiled(source, lambda asked: Reply(500) if "multipart" in asked.headers["Accept"] else None) as server,
        ScriptedSCP(offers_query=False, behaviour=Behaviour(lost=frozenset(study.sop_instance_uids))) as liar,
    ):
        nodes = two_faced("source", source, url=server.url), two_faced("destination", destination)
        keeps_nothing = {"host": liar.host, "services": ["Storage"]}
        wrong = two_faced(
            "destination", destination, port=liar.dicom_port, dimse=keeps_nothing, web={"services": ["QIDO-RS"]}
        )
        task = scene.task(nodes[0], wrong, study.study_instance_uid)
        assert task.run(again=True).outcome is Outcome.TRANSIENT_FAULT
        found = scene.ledger.findings()["default", "source"]
        assert [(str(road.name), road.fault) for road in found.roads] == [
            ("WADO-RS", FaultCode.FETCH_FAILED),
            ("C-GET", None),
        ]
        assert {"StudyRootFind", "StudyRootGet", "Storage", "QIDO-RS", "STOW-RS"} <= set(found.services)
        assert "WADO-RS" not in found.services
        assert found.probed_at is not None
        server.asked.clear()
        scene.ledger.apply_node(nodes[1], now())
        second = task.run()
        assert second.outcome is Outcome.SUCCESS
        assert not server.asked  # neither probed anew, nor asked by the road that failed
    scene.ledger.apply_node(two_faced("source", source, port=1), now())
    assert ("default", "source") not in scene.ledger.findings()  # edited: nothing is known of it now


def test_a_way_that_acknowledges_and_does_not_keep_is_left_by_the_next_attempt(
    scene: Scene, peers: tuple[Orthanc, Orthanc]
) -> None:
    source, destination = peers
    study = ct_study(3, seed="liar-learnt")
    source.upload(*study.files())
    with ScriptedSCP(offers_query=False) as peer:
        node = two_faced(
            "destination", destination, port=peer.dicom_port, dimse={"host": peer.host, "services": ["Storage"]}
        )
        task = scene.task(two_faced("source", source), node, study.study_instance_uid)
        first = task.run(again=True)
        assert (first.outcome, first.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
        second = task.run()
    assert (second.outcome, second.progress.store_road) == (Outcome.SUCCESS, "STOW-RS")
    assert_arrived(destination, source, study)
