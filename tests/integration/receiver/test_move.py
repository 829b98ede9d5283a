"""C-MOVE through the receiver, from the plan to the proof: real PACSs, and one that does it wrong in every way."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import make_url

from adit.dicom.node import Instance, Wanted
from adit.model.dicom_node import DicomNode
from adit.model.findings import Road
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome, TransferFault
from tests.integration.receiver.hostile import Sender
from tests.integration.transfer.scene import Scene, Task, Worker, dimse, folder
from tests.peers import Behaviour, Certificates, Dcmqrscp, Orthanc, Receiver, ScriptedSCP
from tests.peers.dcmtk import scu
from tests.peers.scripted_move import MoveBehaviour
from tests.peers.server_process import free_port, wait_until
from tests.samples import compressed_files, ct_study, encoded, multiframe, private_study

STUDY = ct_study(4, seed="move", series=2, size=64)
PRIVATE = private_study(seed="move-private")
COMPRESSED = dcmread(compressed_files()[0])
UIDS = STUDY.sop_instance_uids
BY_MOVE = ["Verification", "StudyRootFind", "StudyRootMove"]
HASTY = {"connectSeconds": 5, "acseSeconds": 10, "dimseSeconds": 4, "networkSeconds": 20, "idleSeconds": 2}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("move"), aet="MY_PACS_1") as peer:
        peer.upload(*STUDY.files(), *PRIVATE.files(), *compressed_files())
        yield peer


@pytest.fixture
def pacs(receiver: Receiver) -> Iterator[ScriptedSCP]:
    with ScriptedSCP(STUDY.instances, aet="PACS") as scp:
        scp.move.destinations["ADIT"] = (receiver.host, receiver.dicom_port)
        yield scp


def source(peer: Any, services: list[str] = BY_MOVE, **more: Any) -> DicomNode:
    return dimse("pacs", peer, services=services, timeouts=HASTY, **more)


def task_of(scene: Scene, peer: Any, study: str = STUDY.study_instance_uid, **more: Any) -> Task:
    out = scene.tmp / "out"
    out.mkdir(exist_ok=True)
    return scene.task(source(peer, **more), folder("out", out), study)


# Real PACSs


def test_orthanc(scene: Scene, receiver: Receiver, orthanc: Orthanc) -> None:
    orthanc.knows("ADIT", receiver.host, receiver.dicom_port)
    report = task_of(scene, orthanc).run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert (report.progress.road, report.progress.verified) == ("C-MOVE", 8)
    assert receiver.fates("taken") == 8
    assert receiver.events("association ended")[0]["objects"] == {"taken": 8}


def test_orthanc_by_tls_there_and_back(scene: Scene, receiver_url: str, tmp_path: Path) -> None:
    """Each side asks the other for its certificate, and the receiver knows the PACS by title and address as well."""
    certificates = Certificates(tmp_path)
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "ours").symlink_to(certificates.issue("ours"))
    scene.secrets = secrets
    tls = certificates.orthanc_settings(certificates.issue("pacs"), clients_too=True)
    narrow: dict[str, Any] = {"callers": "MY_PACS_1", "networks": "127.0.0.0/8", "tls": certificates.issue("receiver")}
    with (
        Receiver(tmp_path, database_url=receiver_url, **narrow) as receiver,
        Orthanc(tmp_path, aet="MY_PACS_1", **tls) as pacs,
    ):
        pacs.upload(*STUDY.files())
        pacs.knows("ADIT", receiver.host, receiver.dicom_port, tls=True)
        report = task_of(scene, pacs, tls={"secretName": "ours"}).run()
        assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
        assert (report.progress.road, report.progress.verified) == ("C-MOVE", 8)
        assert receiver.fates("taken") == 8


def test_a_node_with_two_faces_whose_web_server_is_down(scene: Scene, receiver: Receiver, orthanc: Orthanc) -> None:
    orthanc.knows("ADIT", receiver.host, receiver.dicom_port)
    web = {"url": f"http://127.0.0.1:{free_port()}", "timeouts": {"connectSeconds": 2, "busySeconds": 1}}
    face = source(orthanc).spec.dimse
    assert face is not None
    node = DicomNode.model_validate(
        {"metadata": {"name": "pacs"}, "spec": {"dimse": face.model_dump(by_alias=True), "dicomWeb": web}}
    )
    out = scene.tmp / "out"
    out.mkdir()
    task = scene.task(node, folder("out", out), STUDY.study_instance_uid)
    report = task.run(again=True)
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert (report.progress.road, report.progress.verified) == ("C-MOVE", 8)
    assert receiver.fates("taken") == 8
    assert "NodeUnreachable" in task.codes()  # that the web server was left is in the log
    roads = {str(road.name): road.fault for road in scene.ledger.findings()["default", "pacs"].roads}
    assert roads == {"WADO-RS": FaultCode.NODE_UNREACHABLE, "C-MOVE": None}
    assert {"WADO-RS"} <= set(task.claim().source_last) <= {str(road) for road in Road} - {"C-MOVE"}


def test_dcmqrscp(scene: Scene, receiver: Receiver, tmp_path: Path) -> None:
    files = STUDY.write(tmp_path / "files")
    there = {"ADIT": (receiver.host, receiver.dicom_port)}
    with Dcmqrscp(tmp_path, destinations=there) as peer:
        done = scu("storescu", "-aec", peer.aet, peer.host, str(peer.dicom_port), *map(str, files))
        assert done.returncode == 0, done.stderr
        report = task_of(scene, peer).run()
    assert (report.outcome, report.progress.road) == (Outcome.SUCCESS, "C-MOVE")
    assert receiver.fates("taken") == 8


@pytest.mark.parametrize("study", [PRIVATE.instances, [COMPRESSED]], ids=["private", "compressed"])
def test_objects_come_untouched(scene: Scene, receiver: Receiver, orthanc: Orthanc, study: Sequence[Dataset]) -> None:
    orthanc.knows("ADIT", receiver.host, receiver.dicom_port)
    accepts = {str(each.SOPClassUID): [str(each.file_meta.TransferSyntaxUID)] for each in study}
    with ScriptedSCP(aet="DESTINATION", accepts=accepts) as destination:
        task = scene.task(source(orthanc), dimse("archive", destination), str(study[0].StudyInstanceUID))
        assert task.run().outcome is Outcome.SUCCESS
        received = {each.sop_instance_uid: each for each in destination.received}
        for each in study:
            got = received[str(each.SOPInstanceUID)]
            assert got.transfer_syntax_uid == each.file_meta.TransferSyntaxUID
            assert each.PixelData in got.data  # Orthanc itself writes some other elements anew


def test_a_big_object_does_not_stay_in_memory(scene: Scene, receiver: Receiver, tmp_path: Path) -> None:
    big = multiframe(200, 512, seed="move-big")  # 105 MB
    with ScriptedSCP([big], aet="PACS") as scp:
        scp.move.destinations["ADIT"] = (receiver.host, receiver.dicom_port)
        before = receiver.memory()
        task = task_of(scene, scp, str(big.StudyInstanceUID))
        worker = task.start()
        assert worker.wait() == 0
    assert receiver.memory() - before < 20 * 2**20


def test_another_receiver_ae_title(scene: Scene, receiver_url: str, tmp_path: Path) -> None:
    with (
        Receiver(tmp_path, aet="RECEIVER_1", database_url=receiver_url) as receiver,
        ScriptedSCP(STUDY.instances) as scp,
    ):
        scp.move.destinations["RECEIVER_1"] = (receiver.host, receiver.dicom_port)
        report = task_of(scene, scp, moveDestination="RECEIVER_1").run()
        assert report.outcome is Outcome.SUCCESS


# PACSs that do it in their own way, and right


@pytest.mark.parametrize(
    "behaviour",
    [
        MoveBehaviour(message_ids="none"),
        MoveBehaviour(message_ids="invented"),
        MoveBehaviour(calling="ANOTHER_AE"),
        MoveBehaviour(pending=False),
        MoveBehaviour(counts=False),
        MoveBehaviour(early=True),
        MoveBehaviour(early=True, counts=False, message_ids="none"),
    ],
    ids=["no ids", "invented ids", "another AE title", "no pending", "no counts", "early", "early without anything"],
)
def test_odd_and_still_complete(scene: Scene, pacs: ScriptedSCP, behaviour: MoveBehaviour) -> None:
    pacs.move.behaviour = behaviour
    report = task_of(scene, pacs).run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert (report.progress.road, report.progress.verified) == ("C-MOVE", 8)
    assert pacs.requests["C-MOVE"] == 1


def test_it_sends_the_whole_study_for_one_series(scene: Scene, pacs: ScriptedSCP, receiver: Receiver) -> None:
    """What nobody asked for is refused, so that it calls the C-MOVE failed; all that was asked for came: green."""
    pacs.move.behaviour = MoveBehaviour(whole_study=True)
    [series, *_] = sorted({str(each.SeriesInstanceUID) for each in STUDY.instances})
    wanted = {str(each.SOPInstanceUID) for each in STUDY.instances if each.SeriesInstanceUID == series}
    out = scene.tmp / "out"
    out.mkdir()
    task = scene.task(source(pacs), folder("out", out), STUDY.study_instance_uid, series=[series])
    report = task.run()
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    assert {warning.code for warning in report.warnings} == {FaultCode.FETCHED_WITH_WARNING}  # it is told all the same
    assert {uid for uid, row in task.rows().items() if row.state is InstanceState.VERIFIED} == wanted
    assert set(task.rows()) == wanted
    assert receiver.fates("refused") == len(STUDY.instances) - len(wanted)
    assert Counter(pacs.move.statuses) == {0: 4, 0xA700: 4}


def test_all_came_and_it_never_says_so(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.move.behaviour = MoveBehaviour(final=False)
    report = task_of(scene, pacs).run()
    assert report.outcome is Outcome.SUCCESS
    assert [warning.code for warning in report.warnings] == [FaultCode.FETCHED_WITH_WARNING]
    assert report.progress.verified == 8


def test_all_that_is_listed_came_and_it_spoke_of_more(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.move.behaviour = MoveBehaviour(final=False, more=2)
    pacs.behaviour.omitted_keys = frozenset({"NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"})
    report = task_of(scene, pacs).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NODE_TIMEOUT)
    assert report.progress.announced == 10


# PACSs that do it wrong


def test_the_destination_is_unknown(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.move.destinations.clear()
    report = task_of(scene, pacs).run()
    assert report.outcome is Outcome.PERMANENT_CONFIGURATION_FAULT
    assert (report.faults[0].code, report.faults[0].status) == (FaultCode.MOVE_DESTINATION_UNKNOWN, 0xA801)
    assert "'ADIT'" in report.faults[0].cure


@pytest.mark.parametrize(
    ("status", "code"),
    [(0xA701, "OutOfResources"), (0xC001, "FetchFailed"), (0x0122, "ServiceNotOffered"), (0x0124, "PermissionDenied")],
)
def test_it_refuses(scene: Scene, pacs: ScriptedSCP, status: int, code: str) -> None:
    pacs.move.behaviour = MoveBehaviour(status=status)
    report = task_of(scene, pacs).run()
    assert (str(report.faults[0].code), report.faults[0].status) == (code, status)
    assert report.outcome is not Outcome.SUCCESS


def test_it_never_answers(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.move.behaviour = MoveBehaviour(silent=True)
    report = task_of(scene, pacs).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NODE_TIMEOUT)


def test_success_and_nothing_sent(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.move.behaviour = MoveBehaviour(nothing=True)
    report = task_of(scene, pacs).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED)
    assert "receiver" in report.faults[0].cure
    assert pacs.requests["C-MOVE"] == 3  # the study, then by name series by series


def test_what_is_dropped_is_asked_for_again_and_then_told_by_name(scene: Scene, pacs: ScriptedSCP) -> None:
    dropped = frozenset(sorted(UIDS)[:3])
    pacs.move.behaviour = MoveBehaviour(dropped=dropped)
    task = task_of(scene, pacs)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
    rows = task.rows()
    assert {uid for uid, row in rows.items() if row.fault_code is FaultCode.INCOMPLETE} == dropped
    assert {uid for uid, row in rows.items() if row.state is InstanceState.VERIFIED} == UIDS - dropped


def test_three_of_a_hundred_are_dropped(scene: Scene, receiver: Receiver) -> None:
    hundred = ct_study(100, seed="move-hundred", size=16)
    dropped = frozenset(sorted(hundred.sop_instance_uids)[::40])
    assert len(dropped) == 3
    with ScriptedSCP(hundred.instances, aet="PACS") as pacs:
        pacs.move.destinations["ADIT"] = (receiver.host, receiver.dicom_port)
        pacs.move.behaviour = MoveBehaviour(dropped=dropped)
        task = task_of(scene, pacs, hundred.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.progress.verified) == (Outcome.PARTIAL, 97), report.faults
    told = {fault.sop_instance_uid for fault in report.faults if fault.code is FaultCode.INCOMPLETE}
    assert dropped <= told
    assert {uid for uid, row in task.rows().items() if row.fault_code is FaultCode.INCOMPLETE} == dropped


def test_what_is_dropped_once_is_mended(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.move.behaviour = MoveBehaviour(dropped=frozenset(sorted(UIDS)[:3]))

    def mend(service: str, number: int) -> None:
        if service == "C-MOVE" and number == 2:
            pacs.move.behaviour = MoveBehaviour()

    pacs.behaviour.before = mend
    report = task_of(scene, pacs).run()
    assert (report.outcome, report.progress.verified) == (Outcome.SUCCESS, 8)
    assert pacs.move.statuses == [0] * 8  # nothing was sent twice


def test_it_sends_to_another_address(scene: Scene, pacs: ScriptedSCP, tmp_path: Path) -> None:
    """A receiver of another ledger, say: it refuses, and the PACS says so."""
    with Receiver(tmp_path) as stranger:
        pacs.move.behaviour = MoveBehaviour(destination=(stranger.host, stranger.dicom_port))
        report = task_of(scene, pacs).run()
        assert report.outcome is Outcome.TRANSIENT_FAULT
        assert "receiver" in report.faults[0].cure
        assert stranger.fates("unclaimed") == 16
        assert set(pacs.move.statuses) == {0xA700}


def test_nobody_listens_there(scene: Scene, pacs: ScriptedSCP, receiver: Receiver) -> None:
    receiver.kill()
    report = task_of(scene, pacs).run()
    assert report.outcome is not Outcome.SUCCESS
    assert report.progress.received == 0


def test_it_sends_what_nobody_asked_for(scene: Scene, pacs: ScriptedSCP, receiver: Receiver) -> None:
    """Unasked pushes reach no worker, while one waits for another study."""
    [stranger] = ct_study(1, seed="stranger").instances
    refused: list[int] = []

    def push(service: str, number: int) -> None:
        if (service, number) == ("C-MOVE sub-operation", 3):
            with Sender(receiver).associate() as sender:
                sender.store(str(stranger.SOPInstanceUID), encoded(stranger))
                refused.append(sender.status())

    pacs.behaviour.before = push
    report = task_of(scene, pacs).run()
    assert (report.outcome, report.progress.verified) == (Outcome.SUCCESS, 8)
    assert refused == [0xA700]
    assert receiver.fates("unclaimed") == 1


@pytest.mark.parametrize("at", [1, 6], ids=["before its own", "after its own"])
def test_another_archives_copy_that_differs_is_never_taken_for_its_own(
    scene: Scene, pacs: ScriptedSCP, receiver: Receiver, at: int
) -> None:
    """A PACS that sends on for a dead attempt, long after it, and gives no message ids: nothing tells its objects apart
    but that two come under one name."""
    victim = STUDY.instances[2]
    data = encoded(victim)
    other = data.replace(b"Apple^Annie", b"Apple^Anna ")
    assert other != data
    taken: list[int] = []

    def push(service: str, number: int) -> None:
        if (service, number) == ("C-MOVE sub-operation", at):
            with Sender(receiver).associate(calling="OTHER") as sender:
                sender.store(str(victim.SOPInstanceUID), other)
                taken.append(sender.status())

    pacs.behaviour.before = push
    pacs.move.behaviour = MoveBehaviour(message_ids="none")
    report = task_of(scene, pacs).run()
    assert len(taken) == 1
    assert report.outcome is Outcome.PERMANENT_DATA_FAULT
    assert [(fault.code, fault.sop_instance_uid) for fault in report.faults] == [
        (FaultCode.INSTANCE_CONFLICT, victim.SOPInstanceUID)
    ]


def test_half_an_object_is_no_object(scene: Scene, pacs: ScriptedSCP, receiver: Receiver) -> None:
    """The PACS loses a connection in the middle of one instance, and sends it again by the next."""
    half = STUDY.instances[-1]

    def closed() -> float:
        return receiver.metric("adit_receiver_connections_total", result="closed")

    def cut(service: str, number: int) -> None:
        if (service, number) == ("C-MOVE sub-operation", 3):
            before = closed()
            with Sender(receiver).associate(calling="PACS") as sender:
                data = encoded(half)
                sender.store(str(half.SOPInstanceUID), data[: len(data) - 100], is_last=False)
            wait_until(lambda: closed() > before, "it is cut off")

    pacs.behaviour.before = cut
    task = task_of(scene, pacs)
    report = task.run()
    assert (report.outcome, report.progress.verified) == (Outcome.SUCCESS, 8)
    assert report.progress.received == 8
    [kept] = [
        each for each in map(dcmread, (scene.tmp / "out").rglob("*.dcm")) if each.SOPInstanceUID == half.SOPInstanceUID
    ]
    assert kept.PixelData == half.PixelData
    assert receiver.fates("taken") == 8


@pytest.mark.parametrize("early", [False, True])
def test_where_nothing_says_how_much_is_to_come_silence_decides(
    scene: Scene, pacs: ScriptedSCP, receiver: Receiver, early: bool
) -> None:
    pacs.move.behaviour = MoveBehaviour(early=early, message_ids="none")
    task = task_of(scene, pacs)
    came: list[str] = []

    def deliver(instance: Instance) -> None:
        came.append(instance.sop_instance_uid)
        instance.close()

    with task.source_node() as node:
        report = node.fetch(Wanted(STUDY.study_instance_uid), deliver)
    assert sorted(came) == sorted(UIDS)
    assert (report.road, report.faults) == ("C-MOVE", ())


def test_what_nobody_waited_for_can_be_taken_from_the_inbox(scene: Scene) -> None:
    """It is a folder like any other: a job routes what came unasked."""
    inbox, out = scene.tmp / "inbox", scene.tmp / "out"
    out.mkdir()
    with Receiver(scene.tmp, inbox=inbox, free_bytes=0) as receiver:
        for each in STUDY.instances:
            with Sender(receiver).associate() as sender:
                sender.store(str(each.SOPInstanceUID), encoded(each))
                assert sender.status() == 0
        task = scene.task(folder("inbox", inbox), folder("out", out), STUDY.study_instance_uid)
        report = task.run()
    assert (report.outcome, report.progress.verified) == (Outcome.SUCCESS, 8)
    assert {str(dcmread(path).SOPInstanceUID) for path in out.rglob("*.dcm")} == UIDS


# Given up


def broken_off(ledger_url: str) -> list[bool]:
    """Whether what the mailboxes waited for may still be sent, as the ledger has it."""
    with psycopg.connect(make_url(ledger_url).set(drivername="postgresql").render_as_string(False)) as connection:
        return [row[0] for row in connection.execute("SELECT broke_off FROM mailbox WHERE closed_at IS NOT NULL")]


@pytest.mark.parametrize("cancels", [True, False], ids=["it stops", "it sends on"])
def test_a_stopped_attempt_calls_the_c_move_off(
    scene: Scene, pacs: ScriptedSCP, ledger_url: str, cancels: bool
) -> None:
    """A PACS that says that it stopped holds no other source up; of one that does not, nobody knows."""
    stop, over = threading.Event(), threading.Event()

    def give_up(service: str, number: int) -> None:
        if (service, number) == ("C-MOVE sub-operation", 3):
            stop.set()
            wait_until(lambda: over.is_set() or (cancels and pacs.move.asked_to_stop()), "it goes on")

    pacs.move.behaviour = MoveBehaviour(cancels=cancels)
    pacs.behaviour.before = give_up
    report = task_of(scene, pacs).run(stop=stop)
    over.set()
    assert report.outcome is Outcome.CANCELLED
    assert broken_off(ledger_url) == [not cancels]
    assert len(pacs.move.cancelled) == cancels
    if cancels:
        assert len(pacs.move.statuses) == 3


def test_what_was_never_asked_for_is_not_on_its_way(scene: Scene, ledger_url: str) -> None:
    with ScriptedSCP(STUDY.instances, offers_query=False) as scp:
        task = task_of(scene, scp)
        with task.source_node() as node, pytest.raises(TransferFault) as raised:
            node.fetch(Wanted(STUDY.study_instance_uid), lambda instance: instance.close())
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert broken_off(ledger_url) == [False]


# Roads


def test_c_get_first(scene: Scene, pacs: ScriptedSCP) -> None:
    report = task_of(scene, pacs, services=[*BY_MOVE, "StudyRootGet"]).run()
    assert (report.outcome, report.progress.road) == (Outcome.SUCCESS, "C-GET")
    assert pacs.requests["C-MOVE"] == 0


def test_c_move_where_c_get_is_not_accepted(scene: Scene, receiver: Receiver) -> None:
    with ScriptedSCP(STUDY.instances, offers_get=False) as scp:
        scp.move.destinations["ADIT"] = (receiver.host, receiver.dicom_port)
        report = task_of(scene, scp, services=[*BY_MOVE, "StudyRootGet"]).run()
    assert (report.outcome, report.progress.road, report.warnings) == (Outcome.SUCCESS, "C-MOVE", ())


def test_c_move_brings_the_rest_of_what_c_get_broke_off(scene: Scene, pacs: ScriptedSCP) -> None:
    pacs.behaviour.get_abort_after = 5
    task = task_of(scene, pacs, services=[*BY_MOVE, "StudyRootGet"])
    report = task.run()
    assert (report.outcome, report.progress.verified) == (Outcome.SUCCESS, 8)
    assert report.progress.road == "C-GET, C-MOVE"
    assert len(pacs.move.statuses) == 3


def test_what_c_get_spoke_of_counts_though_c_move_does_not_know_it(scene: Scene, pacs: ScriptedSCP) -> None:
    uncounted = frozenset({"NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"})
    pacs.behaviour = Behaviour(omitted_keys=uncounted, get_announce=12, get_only=0, get_status=0xA702)
    report = task_of(scene, pacs, services=[*BY_MOVE, "StudyRootGet"]).run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PARTIAL, FaultCode.INCOMPLETE)
    assert "12" in report.faults[0].message
    assert (report.progress.road, report.progress.verified) == ("C-MOVE", 8)


def test_what_an_earlier_attempt_was_told_counts_though_this_road_tells_no_numbers(
    scene: Scene, pacs: ScriptedSCP
) -> None:
    uncounted = frozenset({"NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"})
    pacs.behaviour = Behaviour(omitted_keys=uncounted, get_announce=12)
    pacs.move.behaviour = MoveBehaviour(counts=False, pending=False)
    task = task_of(scene, pacs, services=[*BY_MOVE, "StudyRootGet"])
    for road in ("C-GET", "C-MOVE"):
        report = task.run(again=True)
        assert (report.outcome, report.progress.road) == (Outcome.PARTIAL, road)
        assert "12" in report.faults[0].message


def test_without_the_receivers_road_it_says_what_is_missing(scene: Scene, pacs: ScriptedSCP) -> None:
    task = task_of(scene, pacs)
    worker = Worker(scene, task.claim(), ADIT_RELAY_HOST="")
    assert worker.wait() == 20
    [ended] = scene.ledger.ended(10)
    assert ended.report.faults[0].code is FaultCode.SERVICE_NOT_OFFERED
    assert "ADIT_RELAY_HOST" in ended.report.faults[0].cure
