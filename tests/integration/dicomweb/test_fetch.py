"""WADO-RS from a real Orthanc, and from servers that cut, lie and stop: bytes kept, and no end but a written one."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filereader import read_dataset

from adit.dicom.node import FetchReport, Instance, Wanted
from adit.dicom.payload import Spool, SpooledPayload
from adit.model.outcome import Fault, FaultCode, TransferFault
from tests.integration.dicomweb.nodes import node
from tests.integration.dimse.nodes import Basket, contents
from tests.peers import Orthanc, ScriptedWeb
from tests.peers.scripted_web import Reply, multipart
from tests.samples import compressed_files, ct_study, encoded, mixed_study, multiframe, part10, private_study, uid

STUDY = ct_study(5)
FILES = list(STUDY.files())
MIXED = mixed_study()
PRIVATE = private_study()
WHOLE = Wanted(STUDY.study_instance_uid)


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with Orthanc(tmp_path_factory.mktemp("wado"), dicomweb=True) as peer:
        peer.upload(*STUDY.files(), *MIXED.files(), *PRIVATE.files(), *compressed_files())
        yield peer


def fetch(reply: Reply, wanted: Wanted = WHOLE) -> tuple[FetchReport, Basket]:
    basket = Basket()
    with ScriptedWeb(lambda asked: reply) as web:
        return node(web.url).fetch(wanted, basket), basket


def broken(reply: Reply, wanted: Wanted = WHOLE) -> tuple[FaultCode, Basket]:
    basket = Basket()
    with ScriptedWeb(lambda asked: reply) as web, pytest.raises(TransferFault) as raised:
        node(web.url).fetch(wanted, basket)
    assert raised.value.fault.node == "server"
    assert raised.value.fault.cure
    return raised.value.fault.code, basket


def codes(report: FetchReport) -> list[FaultCode]:
    return [fault.code for fault in report.faults]


# A real server


def test_a_study_comes_byte_for_byte_and_with_its_identity(orthanc: Orthanc) -> None:
    basket = Basket()
    report = node(orthanc.dicomweb_url).fetch(WHOLE, basket)
    assert report == FetchReport("WADO-RS", 5, 0, 0)
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
    node(orthanc.dicomweb_url).fetch(Wanted(MIXED.study_instance_uid, None, series), basket)
    assert set(basket.content) == of_series
    named = tuple(sorted(of_series))[:1]
    basket = Basket()
    report = node(orthanc.dicomweb_url).fetch(Wanted(MIXED.study_instance_uid, None, series, named), basket)
    assert (set(basket.content), report.completed) == (set(named), 1)


def test_a_private_sop_class_comes(orthanc: Orthanc) -> None:
    basket = Basket()
    node(orthanc.dicomweb_url).fetch(Wanted(PRIVATE.study_instance_uid), basket)
    assert basket.content == contents(PRIVATE.instances)


@pytest.mark.parametrize("path", compressed_files(), ids=lambda path: path.name)
def test_a_compressed_object_comes_as_it_is_stored(orthanc: Orthanc, path: Path) -> None:
    held = dcmread(path)
    basket = Basket()
    named = (str(held.SOPInstanceUID),)
    wanted = Wanted(str(held.StudyInstanceUID), None, str(held.SeriesInstanceUID), named)
    report = node(orthanc.dicomweb_url).fetch(wanted, basket)
    assert report.faults == ()
    assert [i.transfer_syntax_uid for i in basket.instances] == [str(held.file_meta.TransferSyntaxUID)]
    pixels = read_dataset(BytesIO(basket.content[named[0]]), False, True).PixelData
    assert pixels == held.PixelData


def test_what_it_does_not_have_is_told(orthanc: Orthanc) -> None:
    basket = Basket()
    assert codes(node(orthanc.dicomweb_url).fetch(Wanted("1.2.3"), basket)) == [FaultCode.NOTHING_RECEIVED]
    there, absent = str(STUDY.instances[0].SOPInstanceUID), "1.2.3"
    wanted = Wanted(STUDY.study_instance_uid, None, STUDY.series_instance_uids[0], (absent, there))
    report = node(orthanc.dicomweb_url).fetch(wanted, basket)
    assert (report.completed, report.failed_sop_instance_uids, codes(report)) == (
        1,
        (absent,),
        [FaultCode.FETCH_FAILED],
    )
    assert set(basket.content) == {there}


def test_a_refused_instance_does_not_stop_the_others(orthanc: Orthanc) -> None:
    refused = str(STUDY.instances[2].SOPInstanceUID)
    fault = Fault(code=FaultCode.INSTANCE_REFUSED, message="no", sop_instance_uid=refused)
    basket = Basket({refused: fault})
    report = node(orthanc.dicomweb_url).fetch(WHOLE, basket)
    assert (report.completed, report.failed_sop_instance_uids, report.faults) == (4, (refused,), (fault,))


def test_a_receiver_that_has_enough_ends_the_fetch(orthanc: Orthanc) -> None:
    fault = Fault(code=FaultCode.DISK_FULL, message="full")
    basket = Basket({str(item.SOPInstanceUID): fault for item in STUDY.instances})
    with pytest.raises(TransferFault) as raised:
        node(orthanc.dicomweb_url).fetch(WHOLE, basket)
    assert raised.value.fault is fault


def test_a_big_object_lies_in_the_spool(tmp_path: Path) -> None:
    big = multiframe(20, 1024)  # 40 MiB
    held: list[Instance] = []
    with ScriptedWeb(lambda asked: multipart([part10(big)])) as web:
        ours = node(web.url, spool=Spool(tmp_path))
        ours.fetch(Wanted(str(big.StudyInstanceUID)), held.append)
    assert isinstance(held[0].payload, SpooledPayload)  # type: ignore[attr-defined]
    with held[0].open() as reader:
        assert reader.read() == encoded(big)
    held[0].close()
    assert list(tmp_path.iterdir()) == []


MEMORY = """
import sys
from pathlib import Path
from adit.dicom.dicomweb.node import DicomWebNode
from adit.dicom.node import Wanted
from adit.dicom.payload import Spool
from adit.model.assignment import Share
from adit.model.dicom_web import DicomWeb

url, study, spool = sys.argv[1:]
node = DicomWebNode("n", DicomWeb(url=url), Share(), spool=Spool(Path(spool)))
node.fetch(Wanted(study), lambda instance: instance.close())
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(peak.split()[1])
"""


def test_memory_does_not_grow_with_the_object(tmp_path: Path) -> None:
    def peak(frames: int) -> int:
        big = multiframe(frames, 1024)
        reply = multipart([part10(big)])
        with ScriptedWeb(lambda asked: reply) as web:
            command = [sys.executable, "-c", MEMORY, web.url, str(big.StudyInstanceUID), str(tmp_path)]
            return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    small, big = peak(10), peak(100)  # 20 and 200 MiB
    assert big < small + 20 * 1024  # KiB


# Servers that break off


@pytest.mark.parametrize("length", [True, False], ids=["announced", "until the end"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_an_answer_cut_in_mid_part_is_no_end(share: float, length: bool) -> None:
    reply = multipart(FILES, length=length)
    code, basket = broken(replace(reply, cut_at=int(len(reply.body) * share)))
    assert code is FaultCode.ASSOCIATION_ABORTED
    assert set(basket.content) < STUDY.sop_instance_uids
    assert basket.content.items() < contents(STUDY.instances).items()


def test_an_answer_without_its_closing_delimiter_is_no_end() -> None:
    reply = multipart(FILES, length=False)
    code, basket = broken(replace(reply, body=reply.body.removesuffix(b"--b0undary--\r\n")))
    assert code is FaultCode.ASSOCIATION_ABORTED
    assert len(basket.content) == 4  # the last could still have gone on


def test_a_wrong_boundary_is_told() -> None:
    reply = multipart(FILES)
    wrong = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=another'}
    code, basket = broken(replace(reply, headers=wrong))
    assert (code, basket.content) == (FaultCode.FETCH_FAILED, {})
    big = multipart([bytes(200_000)])
    assert broken(replace(big, headers=wrong))[0] is FaultCode.FETCH_FAILED


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "application/dicom",
        "",
        "multipart/related",
        "application/zip",
        'multipart/mixed; boundary="b0undary"',
    ],
)
def test_a_wrong_content_type_is_told(content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert broken(replace(multipart(FILES), headers=headers))[0] is FaultCode.FETCH_FAILED


def test_parts_that_are_no_instances_do_not_stop_the_others() -> None:
    nobody = ct_study(1, seed="nobody").instances[0]
    del nobody.SeriesInstanceUID
    error_page = b"<html>Not found</html>"
    report, basket = fetch(
        multipart([error_page, FILES[0], b"", bytes(300), part10(nobody), FILES[1], FILES[2][:-100]])
    )
    assert report.completed == 3  # what is cut within its pixels shows to who walks the data set
    assert len(basket.content) == 3
    assert sorted(codes(report)) == [*[FaultCode.FETCH_FAILED] * 3, FaultCode.INSTANCE_UNREADABLE]
    assert report.failed_sop_instance_uids == (str(nobody.SOPInstanceUID),)


def test_a_part_of_another_length_than_it_says_is_not_taken() -> None:
    lying = f"--b0undary\r\nContent-Type: application/dicom\r\nContent-Length: {len(FILES[0]) + 1}\r\n\r\n".encode()
    reply = multipart([])
    report, basket = fetch(replace(reply, body=lying + FILES[0] + b"\r\n" + reply.body))
    assert (codes(report), basket.content) == ([FaultCode.INSTANCE_UNREADABLE], {})


def test_without_a_transfer_syntax_nothing_is_guessed() -> None:
    file = FILES[0].replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI")
    report, basket = fetch(multipart([file]))
    assert (codes(report), basket.content) == ([FaultCode.FETCH_FAILED], {})


def test_the_class_of_a_part_that_names_none_is_its_data_sets() -> None:
    nameless = FILES[0].replace(b"\x02\x00\x02\x00UI", b"\x02\x00\x11\x00UI")
    came: list[str] = []
    with ScriptedWeb(lambda asked: multipart([nameless])) as web:
        report = node(web.url).fetch(WHOLE, lambda got: came.append(got.sop_class_uid))
    assert (report.completed, came) == (1, [str(STUDY.instances[0].SOPClassUID)])


def test_206_is_never_a_plain_success() -> None:
    report, basket = fetch(multipart(FILES[:3], status=206))
    assert (report.completed, len(basket.content), codes(report)) == (3, 3, [FaultCode.INCOMPLETE])


def test_success_with_nothing_in_it_is_told() -> None:
    assert codes(fetch(multipart([]))[0]) == [FaultCode.NOTHING_RECEIVED]
    assert codes(fetch(Reply(204))[0]) == [FaultCode.NOTHING_RECEIVED]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, FaultCode.PERMISSION_DENIED),
        (406, FaultCode.SERVICE_NOT_OFFERED),
        (301, FaultCode.SERVICE_NOT_OFFERED),
        (409, FaultCode.FETCH_FAILED),
        (500, FaultCode.FETCH_FAILED),
        (504, FaultCode.NODE_TIMEOUT),
    ],
)
def test_a_status_is_a_fault(status: int, code: FaultCode) -> None:
    assert broken(Reply(status))[0] is code


def test_the_server_is_asked_for_what_it_keeps() -> None:
    with ScriptedWeb(lambda asked: multipart(FILES)) as web:
        node(web.url, prefixes={"wado": "wado"}).fetch(WHOLE, Basket())
    assert web.asked[0].path == f"/wado/studies/{STUDY.study_instance_uid}"
    assert web.asked[0].headers["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'


# Silence, slowness, and an end from outside


def test_a_server_that_falls_silent_is_not_waited_for_without_end() -> None:
    silence = threading.Event()
    brief = {"connectSeconds": 1, "answerSeconds": 1, "networkSeconds": 1, "busySeconds": 0}
    with ScriptedWeb(lambda asked: Reply(before=silence.wait)) as web:
        with pytest.raises(TransferFault) as raised:
            node(web.url, timeouts=brief).fetch(WHOLE, Basket())
        silence.set()
    assert raised.value.fault.code is FaultCode.NODE_TIMEOUT


def test_a_server_that_drips_is_not_waited_for_without_end() -> None:
    gone = threading.Event()
    brief = {"connectSeconds": 1, "answerSeconds": 5, "networkSeconds": 1, "busySeconds": 0}
    reply = replace(multipart(FILES), dripping=lambda: not gone.wait(0.05))
    with ScriptedWeb(lambda asked: reply) as web:
        with pytest.raises(TransferFault) as raised:
            node(web.url, timeouts=brief).fetch(WHOLE, Basket())
        gone.set()
    assert raised.value.fault.code is FaultCode.NODE_TIMEOUT


@pytest.mark.parametrize("length", [True, False], ids=["announced", "until the end"])
def test_an_interruption_ends_a_fetch_that_waits(length: bool) -> None:
    came, silence = threading.Event(), threading.Event()
    raised: list[FaultCode] = []

    def drip() -> bool:
        came.set()
        return not silence.wait(0.02)

    reply = replace(multipart(FILES, length=length), dripping=drip)
    with ScriptedWeb(lambda asked: reply) as web:
        ours = node(web.url)

        def run() -> None:
            try:
                ours.fetch(WHOLE, Basket())
            except TransferFault as stopped:
                raised.append(stopped.fault.code)

        thread = threading.Thread(target=run)
        thread.start()
        assert came.wait(90)
        ours.interrupt()
        thread.join(90)
        silence.set()
        assert raised == [FaultCode.INTERRUPTED]
        with pytest.raises(TransferFault):
            ours.fetch(WHOLE, Basket())


def test_a_study_of_nobody_else_is_taken_for_it() -> None:
    """Whose an instance is, is judged by the transfer; the node passes on what it is given."""
    other = ct_study(1, seed=uid("other"))
    report, basket = fetch(multipart(other.files()))
    assert report.completed == 1
    assert [i.study_instance_uid for i in basket.instances] == [other.study_instance_uid]
