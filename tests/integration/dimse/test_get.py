"""C-GET from a real Orthanc and from peers that send less than they say: bytes kept, last word believed."""

import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_dataset

from adit.dicom.node import FetchReport, Instance, Wanted
from adit.dicom.payload import Spool, SpooledPayload
from adit.model.dicom_node import Service
from adit.model.outcome import Fault, FaultCode, TransferFault
from tests.integration.dimse.nodes import Basket, contents, ct_scp, node
from tests.peers import Behaviour, Orthanc, ScriptedSCP
from tests.peers.server_process import wait_until
from tests.samples import (
    compressed_files,
    ct_study,
    encoded,
    instance,
    mixed_study,
    multiframe,
    private_study,
    uid,
)

STUDY = ct_study(5)
MIXED = mixed_study()
PRIVATE = private_study()
RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
CT = frozenset({str(STUDY.instances[0].SOPClassUID)})
PATIENT_ROOT_ONLY = (Service.PATIENT_ROOT_GET,)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("get")) as peer:
        peer.upload(*STUDY.files(), *MIXED.files(), *PRIVATE.files(), *compressed_files())
        yield peer


def wanted(study: object = STUDY, **more: object) -> Wanted:
    return Wanted(study.study_instance_uid, sop_class_uids=CT, **more)  # type: ignore[attr-defined,arg-type]


def fetch(peer: ScriptedSCP, what: Wanted | None = None) -> tuple[FetchReport, Basket]:
    basket = Basket()
    return node(peer).fetch(what or wanted(), basket), basket


def codes(report: FetchReport) -> list[FaultCode]:
    return [fault.code for fault in report.faults]


# A real PACS


def test_a_study_comes_byte_for_byte_and_with_its_identity(orthanc: Orthanc) -> None:
    basket = Basket()
    report = node(orthanc).fetch(wanted(), basket)
    assert report == FetchReport("C-GET", 5, 0, 0, announced=5)
    assert basket.content == contents(STUDY.instances)
    expected = {
        (str(i.StudyInstanceUID), str(i.SeriesInstanceUID), str(i.SOPInstanceUID), str(i.SOPClassUID))
        for i in STUDY.instances
    }
    assert {
        (i.study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.sop_class_uid) for i in basket.instances
    } == expected


def test_a_series_and_named_instances_come_alone(orthanc: Orthanc) -> None:
    series = MIXED.series_instance_uids[0]
    of_series = {str(i.SOPInstanceUID) for i in MIXED.instances if i.SeriesInstanceUID == series}
    basket = Basket()
    node(orthanc).fetch(wanted(MIXED, series_instance_uid=series), basket)
    assert set(basket.content) == of_series
    named = tuple(sorted(of_series))[:1]
    basket = Basket()
    report = node(orthanc).fetch(wanted(MIXED, series_instance_uid=series, sop_instance_uids=named), basket)
    assert (set(basket.content), report.completed) == (set(named), 1)


def test_patient_root_alone_will_do_when_the_patient_is_known(orthanc: Orthanc) -> None:
    ours = node(orthanc, services=PATIENT_ROOT_ONLY)
    basket = Basket()
    assert ours.fetch(wanted(patient_id=STUDY.patient_id), basket).completed == 5
    with pytest.raises(TransferFault) as raised:
        ours.fetch(wanted(), basket)
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED


def test_named_instances_of_an_unknown_rare_class_are_asked_for_until_they_came() -> None:
    rare = ct_study(2, seed="rare", sop_class=RT_STRUCTURE_SET, modality="RTSTRUCT")
    with ScriptedSCP(rare.instances) as peer:
        named = tuple(sorted(rare.sop_instance_uids))
        what = Wanted(rare.study_instance_uid, None, rare.series_instance_uids[0], named)
        report, basket = fetch(peer, what)
        assert (report.completed, report.failed, report.faults) == (2, 0, ())
        assert basket.content == contents(rare.instances)
        assert len(basket.instances) == 2
        assert peer.requests["C-GET"] > 1


def test_what_finds_no_presentation_context_is_told_by_name(tmp_path: Path) -> None:
    private = str(PRIVATE.instances[0].SOPInstanceUID)
    with ScriptedSCP(PRIVATE.instances) as peer:
        what = Wanted(PRIVATE.study_instance_uid, None, PRIVATE.series_instance_uids[0], (private,))
        report, basket = fetch(peer, what)
    assert basket.content == {}
    [fault] = report.faults
    assert private in fault.message
    assert "presentation context" in fault.cure
    assert "limits" not in fault.cure


def test_a_private_sop_class_comes_because_the_plan_names_it(orthanc: Orthanc) -> None:
    classes = frozenset({str(PRIVATE.instances[0].SOPClassUID)})
    basket = Basket()
    report = node(orthanc).fetch(Wanted(PRIVATE.study_instance_uid, sop_class_uids=classes), basket)
    assert (report.completed, report.faults) == (2, ())
    assert basket.content == contents(PRIVATE.instances)


def test_common_classes_come_when_the_plan_knows_none(orthanc: Orthanc) -> None:
    basket = Basket()
    report = node(orthanc).fetch(Wanted(MIXED.study_instance_uid), basket)
    assert (report.completed, set(basket.content)) == (5, MIXED.sop_instance_uids)


@pytest.mark.parametrize("path", compressed_files(), ids=lambda path: path.name)
def test_a_compressed_object_comes_as_it_is_stored(orthanc: Orthanc, path: Path) -> None:
    held = dcmread(path)
    basket = Basket()
    classes = frozenset({str(held.SOPClassUID)})
    named = (str(held.SOPInstanceUID),)
    ours = node(orthanc)
    report = ours.fetch(Wanted(str(held.StudyInstanceUID), None, str(held.SeriesInstanceUID), named, classes), basket)
    assert report.faults == ()
    assert [i.transfer_syntax_uid for i in basket.instances] == [str(held.file_meta.TransferSyntaxUID)]
    pixels = read_dataset(BytesIO(basket.content[named[0]]), False, True).PixelData
    assert pixels == held.PixelData


def test_many_named_instances_are_asked_for_in_portions() -> None:
    study = ct_study(105, size=2)
    with ct_scp(study.instances) as peer:
        names = tuple(sorted(study.sop_instance_uids))
        report, basket = fetch(
            peer, wanted(study, series_instance_uid=study.series_instance_uids[0], sop_instance_uids=names)
        )
        assert (report.completed, set(basket.content)) == (105, study.sop_instance_uids)
        assert peer.requests["C-GET"] == 2


# Big objects


def test_a_big_object_goes_to_the_spool_folder_and_leaves_nothing_there(tmp_path: Path) -> None:
    big = multiframe(frames=40, size=512)  # 21 MB
    with ScriptedSCP([big]) as peer:
        kept: list[Instance] = []
        classes = frozenset({str(big.SOPClassUID)})
        report = node(peer, spool=Spool(tmp_path)).fetch(
            Wanted(str(big.StudyInstanceUID), sop_class_uids=classes), kept.append
        )
        assert report.completed == 1
        assert isinstance(kept[0].payload, SpooledPayload)  # type: ignore[attr-defined]
        with kept[0].open() as reader:
            assert reader.read() == encoded(big)
        assert list(tmp_path.iterdir()) == []
        kept[0].close()


_FETCH_IN_A_PROCESS_OF_ITS_OWN = """
import resource, sys
from pathlib import Path
from adit.dicom.dimse.node import DimseNode
from adit.dicom.node import Wanted
from adit.dicom.payload import Spool
from adit.model.assignment import Share
from adit.model.dicom_node import Dimse
port, study, sop_class, spool = sys.argv[1:]
node = DimseNode("n", Dimse(ae_title="A", host="127.0.0.1", port=int(port)), Share(), spool=Spool(Path(spool)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sizes = []
node.fetch(Wanted(study, sop_class_uids=frozenset({sop_class})), lambda i: (sizes.append(i.size), i.close()))
print(sizes[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    big = multiframe(frames=120, size=512)  # 63 MB, which the peer sends as one single PDU
    with ScriptedSCP([big]) as peer:
        arguments = [str(peer.dicom_port), str(big.StudyInstanceUID), str(big.SOPClassUID), str(tmp_path)]
        output = subprocess.run(
            [sys.executable, "-c", _FETCH_IN_A_PROCESS_OF_ITS_OWN, *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
    size, grown_kib = map(int, output.split())
    assert size > 62_000_000
    assert grown_kib < 40 * 1024  # 16 MiB in memory before it spills, and twice that while it does


def test_a_full_disk_stops_the_fetch_as_a_full_disk(tmp_path: Path) -> None:
    big = multiframe(frames=40, size=512)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ScriptedSCP([big]) as peer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
        try:
            with pytest.raises(TransferFault) as raised:
                node(peer, spool=Spool(tmp_path)).fetch(
                    Wanted(str(big.StudyInstanceUID), sop_class_uids=frozenset({str(big.SOPClassUID)})), Basket()
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.fault.code in (FaultCode.DISK_FULL, FaultCode.IO_FAILED)
    assert raised.value.fault.cure
    assert list(tmp_path.iterdir()) == []


# The last word


@pytest.mark.parametrize(
    ("behaviour", "expected", "came"),
    [
        (Behaviour(get_silent_empty=True), [FaultCode.NOTHING_RECEIVED], 0),
        (Behaviour(get_only=3), [FaultCode.INCOMPLETE], 3),
        (Behaviour(get_only=0, get_status=0xA701), [FaultCode.OUT_OF_RESOURCES], 0),
        (Behaviour(get_only=2, get_status=0xA702), [FaultCode.OUT_OF_RESOURCES], 2),
        (Behaviour(get_only=0, get_status=0xA900), [FaultCode.FETCH_FAILED], 0),
        (Behaviour(get_only=2, get_status=0xC001), [FaultCode.FETCH_FAILED], 2),
        (Behaviour(get_only=2, get_status=0xFE00), [FaultCode.FETCH_FAILED], 2),
    ],
    ids=["silent empty", "fewer than announced", "A701", "A702", "A900", "C001", "cancelled"],
)
def test_what_the_source_says_in_the_end_is_believed(
    behaviour: Behaviour, expected: list[FaultCode], came: int
) -> None:
    with ct_scp(STUDY.instances, behaviour=behaviour) as peer:
        report, basket = fetch(peer)
    assert (codes(report), len(basket.content)) == (expected, came)


def test_a_source_that_aborts_half_way_is_an_aborted_association() -> None:
    with ct_scp(STUDY.instances, behaviour=Behaviour(get_abort_after=2)) as peer:
        basket = Basket()
        with pytest.raises(TransferFault) as raised:
            node(peer).fetch(wanted(), basket)
    assert raised.value.fault.code is FaultCode.ASSOCIATION_ABORTED
    assert len(basket.content) == 2


def test_a_source_that_falls_silent_is_a_time_out() -> None:
    silence = threading.Event()

    def fall_silent(service: str, number: int) -> None:
        if service == "C-GET sub-operation" and number == 3:
            silence.wait(90)

    with ct_scp(STUDY.instances, behaviour=Behaviour(before=fall_silent)) as peer:
        basket = Basket()
        ours = node(peer, timeouts={"connect_seconds": 1, "acse_seconds": 2, "dimse_seconds": 1, "network_seconds": 1})
        with pytest.raises(TransferFault) as raised:
            ours.fetch(wanted(), basket)
        silence.set()
    assert raised.value.fault.code is FaultCode.NODE_TIMEOUT
    assert len(basket.content) == 2


def test_a_source_that_sends_twice_and_what_nobody_asked_for_is_passed_on_as_it_is() -> None:
    stranger = instance("stranger")
    with ct_scp(STUDY.instances, behaviour=Behaviour(get_twice=True, get_stranger=stranger)) as peer:
        _, basket = fetch(peer)
    assert set(basket.content) == STUDY.sop_instance_uids | {str(stranger.SOPInstanceUID)}
    assert len(basket.instances) > len(basket.content)


def test_a_data_set_that_bears_another_uid_than_its_command_is_refused_and_told() -> None:
    liar = instance("liar")
    with ct_scp([liar]) as peer:
        # The SCP sends what the data set's file meta or elements say; the command is made from the latter.
        del liar.SeriesInstanceUID
        report, basket = fetch(peer, Wanted(str(liar.StudyInstanceUID), sop_class_uids=CT))
    assert basket.content == {}
    assert FaultCode.INSTANCE_UNREADABLE in codes(report)
    unreadable = next(each for each in report.faults if each.code is FaultCode.INSTANCE_UNREADABLE)
    assert unreadable.sop_instance_uid == str(liar.SOPInstanceUID)


# The receiver's word


def test_an_instance_that_is_refused_is_told_to_the_source_and_the_others_come() -> None:
    first = str(STUDY.instances[0].SOPInstanceUID)
    refusal = Fault(code=FaultCode.INSTANCE_CONFLICT, message="not this one", sop_instance_uid=first)
    with ct_scp(STUDY.instances) as peer:
        basket = Basket({first: refusal})
        report = node(peer).fetch(wanted(), basket)
    assert set(basket.content) == STUDY.sop_instance_uids - {first}
    assert codes(report) == [FaultCode.INCOMPLETE]
    assert (report.failed, report.failed_sop_instance_uids) == (1, (first,))


def test_a_receiver_that_wants_to_stop_gets_its_own_fault_back() -> None:
    third = str(STUDY.instances[2].SOPInstanceUID)
    full = Fault(code=FaultCode.DISK_FULL, message="the folder is full", node="destination")
    with ct_scp(STUDY.instances) as peer:
        basket = Basket({third: full})
        with pytest.raises(TransferFault) as raised:
            node(peer).fetch(wanted(), basket)
    assert raised.value.fault == full
    assert len(basket.content) < 5
    assert peer.cancelled == ["C-GET"]


def test_an_interrupted_fetch_is_called_off() -> None:
    with ct_scp(STUDY.instances) as peer:
        ours = node(peer)

        def interrupt(service: str, number: int) -> None:
            if (service, number) == ("C-GET sub-operation", 3):
                ours.interrupt()
                wait_until(peer.asked_to_stop, "the C-CANCEL has come")

        peer.behaviour.before = interrupt
        basket = Basket()
        with pytest.raises(TransferFault) as raised:
            ours.fetch(wanted(), basket)
        assert raised.value.fault.code is FaultCode.INTERRUPTED
        assert len(basket.content) == 2
        assert peer.cancelled == ["C-GET"]


def test_a_study_that_is_not_there_is_never_a_success(orthanc: Orthanc) -> None:
    nobody = Wanted(uid("nobody"), sop_class_uids=CT)
    assert codes(node(orthanc).fetch(nobody, Basket())) == [FaultCode.FETCH_FAILED]  # Orthanc answers a failure
    with ct_scp(STUDY.instances) as peer:
        assert codes(fetch(peer, nobody)[0]) == [FaultCode.NOTHING_RECEIVED]


def test_a_peer_without_c_get_is_a_configuration_fault() -> None:
    with ct_scp(offers_get=False) as peer, pytest.raises(TransferFault) as raised:
        fetch(peer)
    assert raised.value.fault.code is FaultCode.SERVICE_NOT_OFFERED
