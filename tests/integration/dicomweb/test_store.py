"""STOW-RS to a real Orthanc, and to servers that refuse, warn and say nothing: stored is what is named as stored."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from adit.dicom.node import BatchChannel, Stored
from adit.dicom.payload import MemoryPayload, PayloadWriter, ReceivedInstance, Spool
from adit.model.outcome import Fault, FaultCode, TransferFault
from tests.integration.dicomweb.nodes import JSON, listing, node, stored
from tests.integration.dimse.nodes import as_instance, digest
from tests.peers import Orthanc, ScriptedWeb
from tests.peers.scripted_web import Reply
from tests.samples import compressed_files, ct_study, encoded, multiframe, private_study

STUDY = ct_study(3)
ONE = STUDY.instances[0]
UID = str(ONE.SOPInstanceUID)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("stow"), dicomweb=True) as peer:
        yield peer


def store(reply: Reply) -> Stored:
    with ScriptedWeb(lambda asked: reply) as web:
        return node(web.url).open_store(()).store(as_instance(ONE))


def refused(reply: Reply) -> tuple[FaultCode, str | None]:
    with pytest.raises(TransferFault) as raised:
        store(reply)
    assert raised.value.fault.node == "server"
    assert raised.value.fault.cure
    return raised.value.fault.code, raised.value.fault.sop_instance_uid


# A real server


def test_instances_arrive_byte_for_byte(orthanc: Orthanc) -> None:
    ours = node(orthanc.dicomweb_url)
    channel = ours.open_store(())
    answers = [channel.store(as_instance(item)) for item in STUDY.instances]
    channel.close()
    for item, answer in zip(STUDY.instances, answers, strict=True):
        content = encoded(item)
        assert (answer.sop_instance_uid, answer.size, answer.sha256) == (
            item.SOPInstanceUID,
            len(content),
            digest(content),
        )
        assert answer.warning is None
        assert orthanc.instance_file(str(item.SOPInstanceUID)).endswith(content)
    proofs = list(ours.verify(STUDY.study_instance_uid, answers))
    assert [(proof.sop_instance_uid, proof.present) for proof in proofs] == [
        (a.sop_instance_uid, True) for a in answers
    ]
    assert channel.store(as_instance(ONE)).warning is None  # once more is no harm


@pytest.mark.parametrize("path", compressed_files(), ids=lambda path: path.name)
def test_a_compressed_object_arrives_as_it_is(orthanc: Orthanc, path: Path) -> None:
    held = dcmread(path)
    with path.open("rb") as file:
        content = file.read()
    data_set = content[144 + int.from_bytes(content[140:144], "little") :]
    answer = node(orthanc.dicomweb_url).open_store(()).store(as_instance(held, data_set))
    assert answer.transfer_syntax_uid == str(held.file_meta.TransferSyntaxUID)
    assert orthanc.instance_file(str(held.SOPInstanceUID)).endswith(data_set)


def test_a_big_and_a_private_object_arrive(orthanc: Orthanc, tmp_path: Path) -> None:
    big = multiframe(20, 1024)
    writer = PayloadWriter(Spool(tmp_path))
    writer.write(encoded(big))
    spooled = ReceivedInstance(
        str(big.StudyInstanceUID),
        str(big.SeriesInstanceUID),
        str(big.SOPClassUID),
        str(big.SOPInstanceUID),
        "1.2.840.10008.1.2.1",
        writer.finish(),
    )
    channel = node(orthanc.dicomweb_url).open_store(())
    assert channel.store(spooled).size == len(encoded(big))
    spooled.close()
    assert orthanc.instance_file(str(big.SOPInstanceUID)).endswith(encoded(big))
    private = private_study().instances[0]
    channel.store(as_instance(private))
    assert orthanc.instance_file(str(private.SOPInstanceUID)).endswith(encoded(private))


def test_what_is_no_instance_is_refused_by_name(orthanc: Orthanc) -> None:
    garbage = ReceivedInstance("1.2", "1.3", "1.4", "1.5", "1.2.840.10008.1.2.1", MemoryPayload(b"garbage" * 100))
    with pytest.raises(TransferFault) as raised:
        node(orthanc.dicomweb_url).open_store(()).store(garbage)
    assert raised.value.fault.sop_instance_uid == "1.5"
    assert raised.value.fault.outcome.value == "PermanentDataFault"


def test_what_was_deleted_is_not_proven(orthanc: Orthanc) -> None:
    gone = ct_study(2, seed="gone")
    ours = node(orthanc.dicomweb_url)
    answers = [ours.open_store(()).store(as_instance(item)) for item in gone.instances]
    orthanc.delete_instance(answers[0].sop_instance_uid)
    proofs = {proof.sop_instance_uid: proof for proof in ours.verify(gone.study_instance_uid, answers)}
    assert [proofs[answer.sop_instance_uid].present for answer in answers] == [False, True]
    fault = proofs[answers[0].sop_instance_uid].fault
    assert fault is not None
    assert fault.code is FaultCode.NOT_PROVEN


# What servers say


def test_a_warning_is_kept() -> None:
    answer = store(stored(warned={UID: 0xB000}, status=202))
    assert answer.warning is not None
    assert (answer.warning.code, answer.warning.status) == (FaultCode.STORED_WITH_WARNING, 0xB000)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (0x0110, FaultCode.STORE_FAILED),
        (0x0122, FaultCode.SOP_CLASS_REFUSED),
        (0x0124, FaultCode.PERMISSION_DENIED),
        (0xA700, FaultCode.OUT_OF_RESOURCES),
        (0xA900, FaultCode.INSTANCE_REFUSED),
        (0xC000, FaultCode.INSTANCE_REFUSED),
        (0xC122, FaultCode.TRANSFER_SYNTAX_REFUSED),
        (math.inf, FaultCode.STORE_FAILED),
    ],
)
@pytest.mark.parametrize("status", [409, 202, 200])
def test_a_failure_reason_is_a_fault_of_the_instance(reason: float, code: FaultCode, status: int) -> None:
    assert refused(stored(failed={UID: reason}, status=status)) == (code, UID)


@pytest.mark.parametrize("reason", [0x0111, 0xB00E])
def test_an_instance_that_was_there_before_is_a_warning(reason: int) -> None:
    answer = store(stored(failed={UID: reason}, status=409))
    assert answer.warning is not None
    assert answer.warning.code is FaultCode.STORED_WITH_WARNING


@pytest.mark.parametrize(
    "reply",
    [
        stored("1.2.3"),
        Reply(200),
        Reply(200, b"<NativeDicomModel/>", {"Content-Type": "application/dicom+xml"}),
        Reply(202, b"[1]", JSON),
        Reply(200, b'{"00081199": {"vr": "SQ", "Value": ["x"]}}', JSON),
    ],
    ids=["another instance", "nothing", "XML", "garbage", "an odd item"],
)
def test_success_that_does_not_name_the_instance_is_none(reply: Reply) -> None:
    assert refused(reply) == (FaultCode.STORE_FAILED, UID)


def test_who_names_it_as_stored_and_as_failed_has_not_stored_it() -> None:
    assert refused(stored(UID, failed={UID: 0xA900})) == (FaultCode.INSTANCE_REFUSED, UID)


@pytest.mark.parametrize(
    ("status", "code", "instance"),
    [
        (400, FaultCode.INSTANCE_REFUSED, UID),
        (409, FaultCode.INSTANCE_REFUSED, UID),
        (413, FaultCode.INSTANCE_REFUSED, UID),
        (401, FaultCode.PERMISSION_DENIED, None),
        (403, FaultCode.PERMISSION_DENIED, None),
        (404, FaultCode.SERVICE_NOT_OFFERED, None),
        (307, FaultCode.SERVICE_NOT_OFFERED, None),
        (500, FaultCode.STORE_FAILED, None),
        (504, FaultCode.NODE_TIMEOUT, None),
        (507, FaultCode.OUT_OF_RESOURCES, None),
    ],
)
def test_a_status_without_a_list(status: int, code: FaultCode, instance: str | None) -> None:
    assert refused(Reply(status)) == (code, instance)


def test_a_payload_that_cannot_be_read_wholly_is_never_passed_off_as_the_instance() -> None:
    class Short(MemoryPayload):
        def __init__(self) -> None:
            super().__init__(encoded(ONE))
            self.size += 10

    short = ReceivedInstance(STUDY.study_instance_uid, "1.3", str(ONE.SOPClassUID), UID, "1.2.840.10008.1.2.1", Short())
    with ScriptedWeb(lambda asked: stored(UID)) as web, pytest.raises(TransferFault) as raised:
        node(web.url).open_store(()).store(short)
    assert (raised.value.fault.code, raised.value.fault.sop_instance_uid) == (FaultCode.IO_FAILED, UID)
    assert web.asked == []


def test_the_destination_must_offer_it() -> None:
    with pytest.raises(TransferFault) as raised:
        node("http://127.0.0.1:1", services=["QIDO-RS"]).open_store(())
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert not node("http://127.0.0.1:1", services=["STOW-RS"]).can_verify


# Several at once


def test_several_instances_in_one_request(orthanc: Orthanc) -> None:
    several = ct_study(10, seed="several")
    channel = node(orthanc.dicomweb_url).open_store(())
    assert isinstance(channel, BatchChannel)
    answers = channel.store_all([as_instance(item) for item in several.instances])
    for item, answer in zip(several.instances, answers, strict=True):
        assert isinstance(answer, Stored)
        assert (answer.sop_instance_uid, answer.sha256) == (item.SOPInstanceUID, digest(encoded(item)))
        assert orthanc.instance_file(str(item.SOPInstanceUID)).endswith(encoded(item))


def test_each_instance_has_its_own_outcome() -> None:
    uids = [str(item.SOPInstanceUID) for item in STUDY.instances]
    reply = stored(uids[0], warned={uids[1]: 0xB006}, failed={uids[2]: 0xC000}, status=202)
    with ScriptedWeb(lambda asked: reply) as web:
        channel = node(web.url).open_store(())
        assert isinstance(channel, BatchChannel)
        first, second, third = channel.store_all([as_instance(item) for item in STUDY.instances])
    assert isinstance(first, Stored)
    assert isinstance(second, Stored)
    assert isinstance(third, Fault)
    assert first.warning is None
    assert second.warning is not None
    assert (third.code, third.sop_instance_uid) == (FaultCode.INSTANCE_REFUSED, uids[2])


def test_who_refuses_several_as_a_whole_is_not_asked_to_take_several_again() -> None:
    with ScriptedWeb(lambda asked: Reply(413)) as web:
        ours = node(web.url)
        channel = ours.open_store(())
        assert isinstance(channel, BatchChannel)
        with pytest.raises(TransferFault) as raised:
            channel.store_all([as_instance(item) for item in STUDY.instances])
        assert raised.value.fault.sop_instance_uid is None
        again = ours.open_store(())
        assert isinstance(again, BatchChannel)
        assert again.instances_at_once == 1


# Probe


def test_a_probe_tells_what_the_server_offers(orthanc: Orthanc) -> None:
    orthanc.upload(*STUDY.files())
    probe = node(orthanc.dicomweb_url).probe()
    assert (probe.reachable, probe.services) == (True, ("QIDO-RS", "WADO-RS", "STOW-RS"))
    elsewhere = node(f"{orthanc.http_url}/elsewhere").probe()
    assert (elsewhere.services, elsewhere.detail["QIDO-RS"]) == ((), "HTTP 404")
    assert elsewhere.fault is not None
    assert elsewhere.fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert "path in the node's url" in elsewhere.fault.cure
    wrong = node(orthanc.dicomweb_url, prefixes={"stow": "stow"}).probe()
    assert (wrong.services, wrong.detail) == (("QIDO-RS", "WADO-RS"), {"STOW-RS": "HTTP 404"})
    assert len(orthanc.studies()) == orthanc.counts()["studies"]


def test_a_probe_of_nobody() -> None:
    probe = node("http://127.0.0.1:1").probe()
    assert probe.fault is not None
    assert (probe.reachable, probe.fault.code) == (False, FaultCode.NODE_UNREACHABLE)


def test_a_probe_of_a_server_that_is_empty() -> None:
    with ScriptedWeb(lambda asked: listing([]) if "?" in asked.path else Reply(404)) as web:
        probe = node(web.url).probe()
    assert probe.services == ("QIDO-RS", "WADO-RS")
    assert "not shown" in probe.detail["WADO-RS"]
