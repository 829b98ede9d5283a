"""Reading from a bucket: whatever the keys are, found by headers that are read by ranges, delivered byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from structlog.testing import capture_logs

from adit.dicom.node import FetchReport, Instance, Level, Query, Wanted
from adit.dicom.s3 import S3Node
from adit.dicom.s3.ranged_file import FIRST
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault
from tests import samples
from tests.integration.s3.conftest import OpenNode
from tests.peers.bucket_proxy import BucketProxy
from tests.peers.seaweedfs import Bucket
from tests.sample import Sample


def fill(bucket: Bucket, *studies: samples.Study, prefix: str = "in/") -> None:
    for study in studies:
        for item in study.instances:
            bucket.put(f"{prefix}{item.PatientID}/{item.SOPInstanceUID}", samples.part10(item))


def find(node: S3Node, level: Level, *returning: str, limit: int | None = None, **keys: str) -> list[Dataset]:
    return list(node.find(Query(level, keys, returning, limit)))


def fetch(node: S3Node, study: samples.Study, **wanted: object) -> tuple[dict[str, bytes], FetchReport]:
    got: dict[str, bytes] = {}

    def deliver(instance: Instance) -> None:
        with instance.open() as reader:
            got[instance.sop_instance_uid] = reader.read()
        assert instance.size == len(got[instance.sop_instance_uid])
        instance.close()

    report = node.fetch(Wanted(study.study_instance_uid, **wanted), deliver)  # type: ignore[arg-type]
    return got, report


def whole(study: samples.Study) -> dict[str, bytes]:
    return {item.SOPInstanceUID: samples.encoded(item) for item in study.instances}


def test_an_object_whose_meta_information_is_of_something_else_is_told_of(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(3)
    odd = study.instances[1]
    for item in study.instances:
        file = samples.part10(item)
        if item is odd:  # its file meta information, which comes first
            file = file.replace(CTImageStorage.encode(), MRImageStorage.encode(), 1)
        bucket.put(str(item.SOPInstanceUID), file)
    came: list[str] = []
    report = open_node().fetch(Wanted(study.study_instance_uid), lambda instance: came.append(instance.sop_class_uid))
    assert (report.completed, report.failed, came) == (3, 0, [CTImageStorage] * 3)
    [warning] = report.faults
    assert (warning.code, warning.sop_instance_uid) == (FaultCode.FETCHED_WITH_WARNING, odd.SOPInstanceUID)


def test_every_level_is_found(bucket: Bucket, open_node: OpenNode) -> None:
    study, other = samples.mixed_study(), samples.ct_study(1, patient_id="1001")
    fill(bucket, study, other)
    node = open_node()
    assert {it.PatientID for it in find(node, Level.PATIENT)} == {"1001", "1002"}
    [row] = find(node, Level.STUDY, "ModalitiesInStudy", "NumberOfStudyRelatedInstances", PatientID="1002")
    assert row.StudyInstanceUID == study.study_instance_uid
    assert (row.NumberOfStudyRelatedInstances, row.ModalitiesInStudy) == (5, ["CT", "MR"])
    images = find(node, Level.IMAGE, "SOPInstanceUID", "Rows", StudyInstanceUID=study.study_instance_uid)
    assert {it.SOPInstanceUID for it in images} == study.sop_instance_uids
    assert all(it.SOPClassUID and it.Rows == 16 for it in images)
    assert node.doubts() == ()


def test_a_prefix_is_the_whole_world(bucket: Bucket, open_node: OpenNode) -> None:
    study, other = samples.ct_study(2), samples.ct_study(2, seed="other")
    fill(bucket, study, prefix="in/ct/")
    fill(bucket, other, prefix="in/ct2/")
    found = find(open_node(prefix="in/ct"), Level.STUDY)
    assert [row.StudyInstanceUID for row in found] == [study.study_instance_uid]


@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.90"])
def test_fetch_delivers_every_byte(transfer_syntax: str, bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(3, transfer_syntax=transfer_syntax)
    fill(bucket, study)
    got, report = fetch(open_node(), study)
    assert got == whole(study)
    assert (report.road, report.completed, report.failed, report.faults) == ("S3", 3, 0, ())


def test_fetch_takes_what_was_wanted_and_no_more(bucket: Bucket, open_node: OpenNode, proxy: BucketProxy) -> None:
    study = samples.ct_study(3, series=2)
    fill(bucket, study, samples.ct_study(2, seed="other"))
    node = open_node()
    series = study.series_instance_uids[1]
    one = study.instances[4].SOPInstanceUID
    assert len(fetch(node, study, series_instance_uid=series)[0]) == 3
    proxy.requests.clear()
    assert set(fetch(node, study, series_instance_uid=series, sop_instance_uids=(one,))[0]) == {one}
    assert proxy.count("GET") == 1
    got, report = fetch(node, study, sop_instance_uids=(one, "1.2.3"))
    assert (len(got), report.failed, report.failed_sop_instance_uids) == (1, 1, ("1.2.3",))
    got, report = fetch(node, samples.ct_study(1, seed="elsewhere"))
    assert [fault.code for fault in report.faults] == [FaultCode.NOTHING_RECEIVED]


def test_a_big_object_goes_through_the_spool_and_leaves_nothing(
    bucket: Bucket, open_node: OpenNode, tmp_path: Path
) -> None:
    study = samples.Study((samples.instance("big", size=3600),))
    fill(bucket, study)
    got, _ = fetch(open_node(), study)
    assert got == whole(study)
    assert list((tmp_path / "spool").iterdir()) == []


def test_every_file_of_pydicom_is_described_as_a_folder_does(
    bucket: Bucket, open_node: OpenNode, tmp_path: Path, sample: Sample
) -> None:
    from adit.dicom.folder import FolderNode

    folder = tmp_path / "same"
    folder.mkdir()
    for number, path in enumerate(sample(samples.pydicom_files(), 40)):
        (folder / f"file{number:03}").write_bytes(path.read_bytes())
        bucket.put(f"file{number:03}", path.read_bytes())
    query = Query(Level.IMAGE, {}, ("PatientName", "Modality", "Rows", "NumberOfFrames", "SeriesDescription"))
    assert list(open_node().find(query)) == list(FolderNode("same", folder, Share()).find(query))


def test_a_search_reads_each_header_once_and_little_of_it(
    bucket: Bucket, open_node: OpenNode, proxy: BucketProxy
) -> None:
    study = samples.Study(tuple(samples.instance("s", study="s", number=n, size=512) for n in range(1, 6)))
    fill(bucket, study)
    node = open_node()
    for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
        find(node, level, StudyInstanceUID=study.study_instance_uid)
    assert proxy.count("GET", "list-type=2") == 1
    assert proxy.count("GET") == 1 + 5
    assert len(samples.part10(study.instances[0])) > 10 * FIRST


def test_a_long_header_is_read_to_its_end(bucket: Bucket, open_node: OpenNode, proxy: BucketProxy) -> None:
    item = samples.instance("long", size=512)
    block = item.private_block(0x0009, "TEST", create=True)
    for number in range(20):
        block.add_new(number, "OB", bytes(200_000))
    item.add_new(0x00181400, "LO", "after it")  # AcquisitionDeviceProcessingDescription
    bucket.put("long", samples.part10(item))
    [row] = find(open_node(), Level.IMAGE, "AcquisitionDeviceProcessingDescription", "SeriesNumber")
    assert row.AcquisitionDeviceProcessingDescription == "after it"
    assert proxy.count("GET") < 60


def test_more_objects_than_allowed_are_not_looked_at(bucket: Bucket, open_node: OpenNode, proxy: BucketProxy) -> None:
    fill(bucket, samples.ct_study(4))
    with pytest.raises(TransferFault) as caught:
        find(open_node(maxObjects=3), Level.STUDY)
    assert caught.value.fault.code is FaultCode.TOO_MANY_OBJECTS
    assert proxy.count("GET") == 1
    assert len(find(open_node(maxObjects=4), Level.IMAGE)) == 4


def test_keys_that_name_their_study_spare_the_others(bucket: Bucket, open_node: OpenNode, proxy: BucketProxy) -> None:
    study, other = samples.ct_study(2), samples.ct_study(4, seed="other")
    fill(bucket, study, prefix=f"lake/{study.study_instance_uid}/")
    fill(bucket, other, prefix=f"lake/{other.study_instance_uid}/")
    node = open_node(maxObjects=2, studyInKey=True)
    assert fetch(node, study)[0] == whole(study)
    assert len(find(node, Level.IMAGE, StudyInstanceUID=study.study_instance_uid)) == 2
    assert proxy.count("GET", other.study_instance_uid) == 0
    with pytest.raises(TransferFault):
        find(node, Level.STUDY)


def test_what_adit_wrote_can_be_read_again(bucket: Bucket, open_node: OpenNode) -> None:
    from tests.integration.s3.test_destination import store

    study = samples.mixed_study()
    store(open_node(prefix="out"), study.instances)
    assert fetch(open_node(prefix="out", studyInKey=True, maxObjects=5), study)[0] == whole(study)


def test_a_list_of_many_pages_is_read_to_its_end(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(1)
    for number in range(1100):
        bucket.put(f"a/{number:04}/", b"")
    fill(bucket, study, prefix="b/")
    assert len(find(open_node(), Level.IMAGE)) == 1


def test_what_is_no_dicom_is_left_out_and_damaged_objects_announced(bucket: Bucket, open_node: OpenNode) -> None:
    fill(bucket, samples.ct_study(2))
    part10 = samples.part10(samples.instance("cut"))
    for key, content in {
        "README.txt": b"no DICOM here",
        "empty": b"",
        "folder/": b"",
        ".hidden/x": samples.part10(samples.instance("hidden")),
        "DICOMDIR": (samples.TEST_FILES / "dicomdirtests" / "DICOMDIR").read_bytes(),
    }.items():
        bucket.put(key, content)
    node = open_node()
    assert len(find(node, Level.IMAGE)) == 2
    assert node.doubts() == ()
    for key, content in {"damaged.dcm": bytes(200), "cut": part10[:400], "empty.dcm": b""}.items():
        bucket.put(key, content)
    node = open_node()
    with capture_logs() as logs:
        assert len(find(node, Level.IMAGE)) == 2
    [doubt] = node.doubts()
    assert (doubt.code, doubt.node) == (FaultCode.FETCHED_WITH_WARNING, "lake")
    assert doubt.message.startswith("3 objects")
    assert [(log["event"], log["count"]) for log in logs] == [("unreadable_objects", 3)]
    assert "Apple" not in str(logs)


def test_an_object_cut_short_is_not_delivered(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(2)
    fill(bucket, study)
    key = sorted(bucket.holds())[0]
    bucket.put(key, bucket.get(key)[:-10])
    got, report = fetch(open_node(), study)
    assert len(got) == 1
    [fault] = report.faults
    assert fault.code is FaultCode.INSTANCE_UNREADABLE
    assert fault.sop_instance_uid in study.sop_instance_uids - set(got)


def test_copies_are_one_instance_and_others_a_conflict(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(1)
    [item] = study.instances
    for key, preamble in (("a", bytes(128)), ("b", b"x" * 128)):
        bucket.put(key, preamble + samples.part10(item)[128:])
    assert fetch(open_node(), study)[0] == whole(study)
    item.PatientName = "Someone^Else"
    bucket.put("c", samples.part10(item))
    got, report = fetch(open_node(), study)
    assert got == {}
    assert [fault.code for fault in report.faults] == [FaultCode.INSTANCE_CONFLICT]


def changing(bucket: Bucket, study: samples.Study, change: Callable[[str], None]) -> Callable[[Instance], None]:
    """Delivers, and with the first instance changes all others' objects."""
    done: list[str] = []

    def deliver(instance: Instance) -> None:
        if not done:
            for key in bucket.holds():
                if not key.endswith(instance.sop_instance_uid):
                    change(key)
        done.append(instance.sop_instance_uid)
        instance.close()

    return deliver


@pytest.mark.parametrize("what", ["changed", "deleted"])
def test_what_changes_meanwhile_is_told_and_seen_by_the_next_look(
    what: str, bucket: Bucket, open_node: OpenNode
) -> None:
    study = samples.ct_study(3)
    fill(bucket, study)

    def change(key: str) -> None:
        if what == "deleted":
            bucket.delete(key)
        else:
            bucket.put(key, bucket.get(key) + b"\xfc\xff\xfc\xffOB\0\0\2\0\0\0\0\0")

    node = open_node(share=Share(associations=1))
    report = node.fetch(Wanted(study.study_instance_uid), changing(bucket, study, change))
    assert report.failed == 2
    assert {fault.code for fault in report.faults} == {FaultCode.FETCH_FAILED}
    assert {fault.sop_instance_uid for fault in report.faults} < study.sop_instance_uids
    again, _ = fetch(node, study)
    assert len(again) == (1 if what == "deleted" else 3)


def test_keys_of_the_world_are_read_and_stand_in_no_message(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(1)
    key = "Müller Björn+ä/100 %?&=#/山田.dcm"
    bucket.put(key, samples.part10(study.instances[0]))
    assert fetch(open_node(), study)[0] == whole(study)
    bucket.put(key, b"")
    node = open_node()
    assert find(node, Level.IMAGE) == []
    [doubt] = node.doubts()
    assert "ller" not in str(doubt)
    assert quote("ü") not in str(doubt)
