"""C-STORE to a real Orthanc, to DCMTK's storescp, and to peers that refuse, warn, lie or vanish."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless

from adit.dicom.dimse import connection
from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.node import Instance, Stored
from adit.dicom.payload import PayloadWriter, ReceivedInstance, Spool
from adit.model.dicom_node import Service, Timeouts
from adit.model.outcome import FaultCode, TransferFault
from tests.integration.dimse.nodes import as_instance, contents, ct_scp, digest, node
from tests.peers import Behaviour, Orthanc, ScriptedSCP, Storescp
from tests.peers.small_disk import SmallDisk
from tests.samples import compressed_files, ct_study, encoded, instance, mixed_study, multiframe, private_study, uid

STUDY = ct_study(3)
ONE = STUDY.instances[0]
UID = str(ONE.SOPInstanceUID)
CT, MR = str(ONE.SOPClassUID), "1.2.840.10008.5.1.4.1.1.4"
COMPRESSED = instance("compressed", transfer_syntax=JPEG2000Lossless)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("store")) as peer:
        yield peer


def store(peer: ScriptedSCP | Orthanc | Storescp, *datasets: Dataset | Instance) -> list[Stored]:
    """All on one channel."""
    made = [item if not isinstance(item, Dataset) else as_instance(item) for item in datasets]
    with closing(node(peer).open_store({item.sop_class_uid for item in made})) as channel:
        return [channel.store(item) for item in made]


def refusal(peer: ScriptedSCP | Storescp, dataset: Dataset = ONE) -> TransferFault:
    with pytest.raises(TransferFault) as raised:
        store(peer, dataset)
    assert raised.value.fault.node == "peer"
    assert raised.value.fault.cure
    return raised.value


# What is delivered


def test_a_study_arrives_and_the_receipt_is_its_digest(orthanc: Orthanc) -> None:
    receipts = store(orthanc, *STUDY.instances)
    sent = contents(STUDY.instances)
    assert {each.sop_instance_uid: (each.size, each.sha256) for each in receipts} == {
        key: (len(content), digest(content)) for key, content in sent.items()
    }
    assert {each.transfer_syntax_uid for each in receipts} == {EXPLICIT_LE}
    assert orthanc.instances_of(STUDY.study_instance_uid) == STUDY.sop_instance_uids
    assert dcmread_body(orthanc, UID).PixelData == ONE.PixelData


def dcmread_body(peer: Orthanc, sop_instance_uid: str) -> Dataset:
    from io import BytesIO

    return dcmread(BytesIO(peer.instance_file(sop_instance_uid)))


@pytest.mark.parametrize("path", compressed_files(), ids=lambda path: path.name)
def test_a_compressed_object_goes_through_untouched(orthanc: Orthanc, path: Path) -> None:
    held = dcmread(path)
    meta_length = int.from_bytes(path.read_bytes()[140:144], "little")
    receipt = store(orthanc, as_instance(held, path.read_bytes()[144 + meta_length :]))[0]
    assert receipt.transfer_syntax_uid == str(held.file_meta.TransferSyntaxUID)
    assert receipt.warning is None
    arrived = dcmread_body(orthanc, str(held.SOPInstanceUID))
    assert arrived.file_meta.TransferSyntaxUID == held.file_meta.TransferSyntaxUID
    assert arrived.PixelData == held.PixelData


def test_a_private_sop_class_goes_through(orthanc: Orthanc) -> None:
    private = private_study()
    store(orthanc, *private.instances)
    assert orthanc.instances_of(private.study_instance_uid) == private.sop_instance_uids


def test_one_channel_takes_whatever_comes_and_associates_anew_only_for_a_new_pair() -> None:
    mixed = mixed_study()
    ordered = [*mixed.instances, COMPRESSED, ONE, *mixed.instances]
    with ScriptedSCP() as peer:
        made = [as_instance(item) for item in ordered]
        with closing(node(peer).open_store({CT})) as channel:
            receipts = [channel.store(item) for item in made]
        assert [each.sop_instance_uid for each in receipts] == [str(item.SOPInstanceUID) for item in ordered]
        assert {each.sop_instance_uid: each.data for each in peer.received} == contents(ordered)
        assert len(peer.calling_ae_titles) == 3  # CT; then MR; then CT in JPEG 2000


def test_more_pairs_than_fit_one_association_push_out_the_oldest() -> None:
    classes = [f"1.3.6.1.4.1.12345.9.{number}" for number in range(60)]
    objects = [instance(f"many-{number}", sop_class=sop_class) for number, sop_class in enumerate(classes)]
    with ScriptedSCP(accepts=dict.fromkeys(classes, (EXPLICIT_LE,))) as peer:
        receipts = store(peer, *objects, *objects[:2])
    assert [each.sop_class_uid for each in receipts] == classes + classes[:2]


def test_a_re_encoded_copy_lies_in_the_spool_folder_and_needs_room_there(tmp_path: Path) -> None:
    """As wherever else an original lies: not on the disk of the system's temporary files."""
    big = multiframe(frames=36, size=512)  # 18 MiB
    with (
        ScriptedSCP(accepts={str(big.SOPClassUID): [IMPLICIT_LE], CT: [IMPLICIT_LE]}) as peer,
        SmallDisk(tmp_path, 2**20) as disk,
        closing(node(peer, spool=Spool(disk.path)).open_store({CT})) as channel,
    ):
        with pytest.raises(TransferFault) as raised:
            channel.store(as_instance(big))
        fault = raised.value.fault
        assert (fault.code, fault.sop_instance_uid) == (FaultCode.DISK_FULL, big.SOPInstanceUID)
        channel.store(as_instance(ONE))
        disk.grow(40 * 2**20)
        assert channel.store(as_instance(big)).transfer_syntax_uid == IMPLICIT_LE


def test_a_big_object_is_sent_from_its_spool_file(tmp_path: Path) -> None:
    big = multiframe(frames=10, size=512)
    writer = PayloadWriter(Spool(tmp_path), spool_above=1000)
    writer.write(encoded(big))
    spooled = ReceivedInstance(
        str(big.StudyInstanceUID),
        str(big.SeriesInstanceUID),
        str(big.SOPClassUID),
        str(big.SOPInstanceUID),
        EXPLICIT_LE,
        writer.finish(),
    )
    with Storescp(tmp_path, "--max-pdu", "4096") as peer:
        receipt = store(peer, spooled)[0]
        assert receipt.sha256 == digest(encoded(big))
        assert dcmread(peer.files()[0]).PixelData == big.PixelData
    spooled.close()


# What a peer will not take as it is


def test_a_peer_that_takes_only_implicit_gets_it_re_encoded_without_loss() -> None:
    with ScriptedSCP(accepts={CT: (IMPLICIT_LE,)}) as peer:
        receipt = store(peer, ONE)[0]
        arrived = peer.received[0]
        assert (arrived.transfer_syntax_uid, receipt.transfer_syntax_uid) == (IMPLICIT_LE, IMPLICIT_LE)
        assert (receipt.size, receipt.sha256) == (len(arrived.data), digest(arrived.data))
        assert arrived.data.endswith(ONE.PixelData)
        assert arrived.data != encoded(ONE)


def test_a_deflated_object_is_inflated_for_a_peer_that_cannot() -> None:
    deflated = instance("deflated", transfer_syntax=DEFLATED_LE)
    with ScriptedSCP(accepts={CT: (EXPLICIT_LE, IMPLICIT_LE)}) as peer:
        assert store(peer, deflated)[0].transfer_syntax_uid == EXPLICIT_LE
        assert peer.received[0].data.endswith(deflated.PixelData)


def test_a_compressed_object_is_refused_by_name_where_only_uncompressed_is_taken(tmp_path: Path) -> None:
    with Storescp(tmp_path, "+xe") as peer:
        fault = refusal(peer, COMPRESSED).fault
        assert fault.code is FaultCode.TRANSFER_SYNTAX_REFUSED
        assert fault.sop_instance_uid == str(COMPRESSED.SOPInstanceUID)
        assert "JPEG 2000" in fault.message
        assert "JPEG 2000" in fault.cure
        assert len(store(peer, ONE)) == 1


def test_a_refused_object_leaves_the_channel_usable() -> None:
    with ScriptedSCP(accepts={CT: (EXPLICIT_LE,)}) as peer:
        with closing(node(peer).open_store({CT})) as channel:
            channel.store(as_instance(ONE))
            with pytest.raises(TransferFault):
                channel.store(as_instance(COMPRESSED))
            channel.store(as_instance(STUDY.instances[1]))
        assert len(peer.stores()) == 2


def test_a_sop_class_that_the_peer_does_not_know_is_refused_by_name() -> None:
    with ScriptedSCP(accepts={CT: (EXPLICIT_LE,)}) as peer:
        fault = refusal(peer, instance("mr", sop_class=MR, modality="MR")).fault
    assert fault.code is FaultCode.SOP_CLASS_REFUSED
    assert "MR Image Storage" in fault.message
    assert fault.sop_instance_uid is not None


# What a peer answers


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (0xA700, FaultCode.OUT_OF_RESOURCES),
        (0xA900, FaultCode.INSTANCE_REFUSED),
        (0xC000, FaultCode.INSTANCE_REFUSED),
        (0x0122, FaultCode.SOP_CLASS_REFUSED),
        (0x0124, FaultCode.PERMISSION_DENIED),
        (0x0110, FaultCode.STORE_FAILED),
    ],
)
def test_a_refusal_is_the_instances_own_and_the_others_go_on(status: int, code: FaultCode) -> None:
    with ct_scp(behaviour=Behaviour(store_status={UID: status})) as peer:
        with closing(node(peer).open_store({CT})) as channel:
            with pytest.raises(TransferFault) as raised:
                channel.store(as_instance(ONE))
            channel.store(as_instance(STUDY.instances[1]))
        assert len(peer.calling_ae_titles) == 1
    fault = raised.value.fault
    assert (fault.code, fault.sop_instance_uid, fault.status) == (code, UID, status)


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0111])
def test_a_warning_is_kept_with_the_receipt(status: int) -> None:
    with ct_scp(behaviour=Behaviour(store_status={UID: status})) as peer:
        warning = store(peer, ONE)[0].warning
    assert warning is not None
    assert (warning.code, warning.status) == (FaultCode.STORED_WITH_WARNING, status)


def test_a_peer_that_answers_in_two_small_writes_does_not_stall_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = ct_study(25, seed="stall")

    def seconds(peer: Storescp) -> float:
        began = time.monotonic()
        store(peer, *study.instances)
        return time.monotonic() - began

    with Storescp(tmp_path, "--ignore") as peer:
        at_once = min(seconds(peer) for _ in range(3))
        monkeypatch.setattr(connection, "QUICKACK", None)
        delayed = seconds(peer)
    # A delayed ACK takes 40 ms for each object, whatever else the machine has to do.
    assert delayed - at_once > 0.02 * len(study.instances)


def test_an_association_aborted_half_way_kills_the_channel_and_what_was_acknowledged_stays() -> None:
    with ct_scp(behaviour=Behaviour(store_abort_after=1)) as peer:
        with closing(node(peer).open_store({CT})) as channel:
            channel.store(as_instance(ONE))
            with pytest.raises(TransferFault) as raised:
                channel.store(as_instance(STUDY.instances[1]))
            assert raised.value.fault.code is FaultCode.ASSOCIATION_ABORTED
            assert raised.value.fault.sop_instance_uid is None
        assert peer.stores() == {UID: 1}


# DCMTK's storescp in each of its hostile modes


IMPATIENT = Timeouts(connect_seconds=2, acse_seconds=2, dimse_seconds=1, network_seconds=1)
BIG = multiframe(frames=40, size=512)  # more than what the sockets between us hold


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        (("--refuse",), FaultCode.ASSOCIATION_REJECTED),
        (("--abort-after",), FaultCode.ASSOCIATION_ABORTED),
        (("--abort-during",), FaultCode.ASSOCIATION_ABORTED),
        (("--sleep-during", "60"), FaultCode.NODE_TIMEOUT),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
@pytest.mark.parametrize("dataset", [ONE, BIG], ids=["small", "big"])
def test_a_hostile_storescp_ends_the_channel_with_a_fault_of_its_own(
    tmp_path: Path, mode: tuple[str, ...], code: FaultCode, dataset: Dataset
) -> None:
    with Storescp(tmp_path, *mode, "--max-pdu", "16384") as peer:
        began = time.monotonic()
        channel = node(peer, timeouts=IMPATIENT).open_store({str(dataset.SOPClassUID)})
        with closing(channel), pytest.raises(TransferFault) as raised:
            channel.store(as_instance(dataset))
        assert time.monotonic() - began < 50
    fault = raised.value.fault
    assert (fault.code, fault.node, fault.sop_instance_uid) == (code, "peer", None)
    assert fault.cure


@pytest.mark.parametrize(
    "mode", [("--reject",), ("--sleep-after", "1"), ("--sleep-during", "1")], ids=lambda mode: mode[0]
)
def test_a_storescp_that_is_only_slow_or_particular_is_waited_for(tmp_path: Path, mode: tuple[str, ...]) -> None:
    """`--reject` turns away who names no implementation class; `--sleep-during` sleeps at each PDU."""
    with Storescp(tmp_path, *mode) as peer:
        assert [each.warning for each in store(peer, ONE)] == [None]
        assert dcmread(peer.files()[0]).PixelData == ONE.PixelData


def test_a_storescp_that_falls_asleep_after_an_object_has_acknowledged_that_one_only(tmp_path: Path) -> None:
    with Storescp(tmp_path, "--sleep-after", "60") as peer:
        channel = node(peer, timeouts=IMPATIENT).open_store({CT})
        assert channel.store(as_instance(ONE)).warning is None
        with closing(channel), pytest.raises(TransferFault) as raised:
            channel.store(as_instance(STUDY.instances[1]))
        assert (raised.value.fault.code, raised.value.fault.sop_instance_uid) == (FaultCode.NODE_TIMEOUT, None)
        assert len(peer.files()) == 1


def test_after_a_hostile_storescp_the_same_channel_reaches_its_successor(tmp_path: Path) -> None:
    hostile = Storescp(tmp_path, "--abort-after")
    honest = Storescp(tmp_path)
    honest.dicom_port = hostile.dicom_port
    with closing(node(hostile).open_store({CT})) as channel:
        with hostile, pytest.raises(TransferFault):
            channel.store(as_instance(ONE))
        with honest:
            channel.store(as_instance(ONE))
            assert len(honest.files()) == 1


def test_an_instance_that_ends_early_is_not_sent_as_if_it_were_whole(tmp_path: Path) -> None:
    content = encoded(ONE)

    class Cut(ReceivedInstance):
        @property
        def size(self) -> int:
            return len(content) + 100

    whole = as_instance(ONE, content)
    cut = Cut(uid("s"), uid("t"), CT, UID, EXPLICIT_LE, whole.payload)
    with ct_scp() as peer:
        with closing(node(peer).open_store({CT})) as channel:
            with pytest.raises(TransferFault) as raised:
                channel.store(cut)
            assert (raised.value.fault.code, raised.value.fault.sop_instance_uid) == (FaultCode.IO_FAILED, UID)
            channel.store(as_instance(STUDY.instances[1]))
        assert set(peer.stores()) == {str(STUDY.instances[1].SOPInstanceUID)}


def test_a_node_that_is_no_storage_is_refused_before_anything_is_sent() -> None:
    with ct_scp() as peer, pytest.raises(TransferFault) as raised:
        node(peer, services=(Service.STUDY_ROOT_FIND,)).open_store({CT})
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED
