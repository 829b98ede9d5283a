"""Writing to a bucket: whole objects under keys of UIDs, a repeat harmless, nothing that is there ever replaced."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from adit.dicom.node import Stored
from adit.dicom.s3 import S3Node
from adit.dicom.s3.channel import PART
from adit.model.outcome import FaultCode, TransferFault
from tests import samples
from tests.integration.folder.given_instance import GivenInstance, given
from tests.integration.s3.conftest import JOB_KEY, OpenNode
from tests.peers.bucket_proxy import BucketProxy
from tests.peers.seaweedfs import Bucket, SeaweedFS
from tests.peers.server_process import wait_until


def store(node: S3Node, instances: Iterable[Dataset]) -> list[Stored]:
    channel = node.open_store(())
    return [channel.store(given(item)) for item in instances]


def refused(node: S3Node, *instances: Dataset) -> TransferFault:
    with pytest.raises(TransferFault) as caught:
        store(node, instances)
    return caught.value


def proven(node: S3Node, *stored: Stored) -> list[bool]:
    return [proof.present for proof in node.verify("", stored)]


def big() -> GivenInstance:
    """Of four parts, the last a small one."""
    return given(samples.instance("big", size=3600))


def test_a_study_lies_under_its_uids_and_is_what_was_sent(bucket: Bucket, open_node: OpenNode) -> None:
    study = samples.ct_study(3, transfer_syntax="1.2.840.10008.1.2.4.90")
    stored = store(open_node(prefix="in/research"), study.instances)
    [series] = study.series_instance_uids
    folder = f"in/research/{JOB_KEY}/{study.study_instance_uid}/{series}"
    assert bucket.holds() == {f"{folder}/{uid}.dcm" for uid in study.sop_instance_uids}
    for item, receipt in zip(study.instances, stored, strict=True):
        content = bucket.get(str(receipt.location))
        assert dcmread(BytesIO(content)) == item
        assert content.endswith(samples.encoded(item))
        assert receipt.size == len(samples.encoded(item))
    assert proven(open_node(prefix="in/research"), *stored) == [True] * 3


def test_no_key_and_no_label_names_the_patient(bucket: Bucket, open_node: OpenNode) -> None:
    [stored] = store(open_node(), [samples.instance("a", patient_id="PAT4711", patient_name="Zebra^Zoe")])
    head = bucket.head(str(stored.location))
    for word in ("PAT4711", "Zebra", "20240131", "Axial"):
        assert word not in str(stored.location)
        assert word not in str(head)
    assert head["ContentType"] == "application/dicom"


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 3 * PART + 5])
def test_every_size_arrives_byte_for_byte(size: int, bucket: Bucket, open_node: OpenNode) -> None:
    """Of the object, its file meta information included."""
    instance = given(samples.instance("a"))
    [small] = store(open_node(), [samples.instance("b")])
    meta = len(bucket.get(str(small.location))) - small.size
    padding = size - meta - instance.size - 12
    instance.data += b"\xfc\xff\xfc\xffOB\0\0" + padding.to_bytes(4, "little") + bytes(padding)  # (FFFC,FFFC)
    stored = open_node().open_store(()).store(instance)
    content = bucket.get(str(stored.location))
    assert abs(len(content) - size) <= 2
    assert content.endswith(instance.data)
    assert proven(open_node(), stored) == proven(open_node(proof="Content"), stored) == [True]
    assert bucket.uploads() == []


def test_sending_again_writes_nothing(bucket: Bucket, open_node: OpenNode, proxy: BucketProxy) -> None:
    instances = [given(samples.instance("a")), big()]
    first = [open_node().open_store(()).store(one) for one in instances]
    before = {key: bucket.head(key)["LastModified"] for key in bucket.holds()}
    proxy.requests.clear()
    assert [open_node().open_store(()).store(one) for one in instances] == first
    assert proxy.count("PUT") == proxy.count("POST") == 0
    assert {key: bucket.head(key)["LastModified"] for key in bucket.holds()} == before


@pytest.mark.parametrize("make", [lambda: given(samples.instance("a")), big], ids=["small", "big"])
def test_many_at_once_write_one_object(make: object, bucket: Bucket, open_node: OpenNode) -> None:
    assert callable(make)
    nodes = [open_node() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda node: node.open_store(()).store(make()), nodes))
    assert len(set(stored)) == len(bucket.holds()) == 1
    assert proven(open_node(proof="Content"), *stored) == [True] * 4


@pytest.mark.parametrize("foreign", [b"somebody else's", b""], ids=["other", "empty"])
def test_what_is_there_already_is_never_replaced(foreign: bytes, bucket: Bucket, open_node: OpenNode) -> None:
    for instance in (given(samples.instance("a")), big()):
        stored = open_node().open_store(()).store(instance)
        key = str(stored.location)
        bucket.put(key, foreign)
        with pytest.raises(TransferFault) as caught:
            open_node().open_store(()).store(instance)
        fault = caught.value.fault
        assert (fault.code, fault.sop_instance_uid) == (FaultCode.INSTANCE_CONFLICT, instance.sop_instance_uid)
        assert bucket.get(key) == foreign


def test_another_object_of_the_same_uid_is_a_conflict_and_the_first_stays(bucket: Bucket, open_node: OpenNode) -> None:
    first, other = samples.instance("a"), samples.instance("a")
    other.PatientName = "Someone^Else"
    [stored] = store(open_node(), [first])
    fault = refused(open_node(), other).fault
    assert (fault.code, fault.sop_instance_uid) == (FaultCode.INSTANCE_CONFLICT, first.SOPInstanceUID)
    assert fault.cure
    assert proven(open_node(), stored) == [True]


def test_the_same_object_brought_by_somebody_else_is_as_good(bucket: Bucket, open_node: OpenNode) -> None:
    """Such as a bucket copied by a tool that keeps no labels: then the content is read."""
    [stored] = store(open_node(), [samples.instance("a")])
    content = bucket.get(str(stored.location))
    bucket.put(str(stored.location), content)
    assert store(open_node(), [samples.instance("a")]) == [stored]
    assert proven(open_node(), stored) == [True]


@pytest.mark.parametrize("proof", ["Checksum", "Content"])
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("damage", ["removed", "half", "longer", "altered", "other", "no DICOM"])
def test_what_is_not_there_any_more_is_not_proven(
    damage: str, labelled: bool, proof: str, bucket: Bucket, open_node: OpenNode
) -> None:
    [stored, whole] = store(open_node(), samples.ct_study(2).instances)
    key = str(stored.location)
    content, label = bucket.get(key), bucket.head(key)["Metadata"] if labelled else {}
    match damage:
        case "removed":
            bucket.delete(key)
        case "half":
            bucket.put(key, content[: len(content) // 2], Metadata=label, ChecksumAlgorithm="SHA256")
        case "longer":
            bucket.put(key, content + b"\0", Metadata=label, ChecksumAlgorithm="SHA256")
        case "altered":
            bucket.put(key, content[:-1] + bytes([content[-1] ^ 1]), Metadata=label, ChecksumAlgorithm="SHA256")
        case "other":
            bucket.put(key, bucket.get(str(whole.location)), Metadata=label, ChecksumAlgorithm="SHA256")
        case "no DICOM":
            bucket.put(key, b"x" * len(content), Metadata=label, ChecksumAlgorithm="SHA256")
    lost, kept = open_node(proof=proof).verify("", [stored, whole])
    assert kept.present
    assert not lost.present
    assert lost.fault is not None
    assert (lost.fault.code, lost.fault.node) == (FaultCode.NOT_PROVEN, "lake")
    assert lost.fault.sop_instance_uid == lost.sop_instance_uid == stored.sop_instance_uid


@pytest.mark.parametrize("location", [None, "", "../outside.dcm", "elsewhere/1.dcm"])
def test_a_location_outside_is_not_asked_for(location: str | None, bucket: Bucket, open_node: OpenNode) -> None:
    bucket.put("elsewhere/1.dcm", b"x")
    stored = Stored("1.2", "1.3", "1.4", "1.5", 1, "", location)
    assert proven(open_node(prefix="in"), stored) == [False]


def test_the_row_alone_proves_nothing(open_node: OpenNode) -> None:
    [stored] = store(open_node(), [samples.instance("a")])
    for wrong in (
        replace(stored, sha256="0" * 64),
        replace(stored, size=1),
        replace(stored, transfer_syntax_uid="1.2"),
    ):
        assert proven(open_node(), wrong) == proven(open_node(proof="Content"), wrong) == [False]


def test_a_bucket_that_is_gone_proves_nothing_either_way(bucket: Bucket, open_node: OpenNode) -> None:
    [stored] = store(open_node(), [samples.instance("a")])
    bucket.remove()
    with pytest.raises(TransferFault) as caught:
        proven(open_node(), stored)
    assert caught.value.fault.code is FaultCode.FOLDER_MISSING


def test_encryption_that_was_asked_for_is_there(bucket: Bucket, open_node: OpenNode) -> None:
    node = open_node(encryption={"method": "AES256"})
    for instance in (given(samples.instance("a")), big()):
        stored = node.open_store(()).store(instance)
        assert bucket.head(str(stored.location))["ServerSideEncryption"] == "AES256"
        assert proven(node, stored) == [True]


def test_what_lies_there_unencrypted_is_not_good_enough(open_node: OpenNode) -> None:
    [stored] = store(open_node(), [samples.instance("a")])
    node = open_node(encryption={"method": "AES256"})
    assert refused(node, samples.instance("a")).fault.code is FaultCode.SERVICE_NOT_OFFERED
    with pytest.raises(TransferFault) as caught:
        proven(node, stored)
    assert caught.value.fault.code is FaultCode.SERVICE_NOT_OFFERED


def test_one_part_is_read_at_a_time_and_never_the_whole(bucket: Bucket, open_node: OpenNode) -> None:

    class Watched(GivenInstance):
        most = 0

        def open(self) -> BytesIO:
            watched = self

            class Reader(BytesIO):
                def read(self, size: int | None = -1) -> bytes:
                    assert size is not None
                    assert size >= 0
                    watched.most = max(watched.most, size)
                    return super().read(size)

            return Reader(self.data)

    watched = Watched(*astuple(big()))
    stored = open_node().open_store(()).store(watched)
    assert len(bucket.get(str(stored.location))) > 3 * PART
    assert watched.most <= PART


def test_a_part_is_never_there_twice(seaweedfs: SeaweedFS, open_node: OpenNode) -> None:
    """Several threads have one each, and a worker 200 MB for all it does."""
    channel = open_node(endpoint=seaweedfs.url).open_store(())
    channel.store(given(samples.instance("a")))  # loads boto3
    whole = replace(given(samples.instance("b")), data=bytes(PART - 2000))
    tracemalloc.start()
    try:
        channel.store(whole)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert PART * 0.9 < peak < PART * 1.5


def test_an_instance_that_is_not_as_long_as_it_said_is_not_written(bucket: Bucket, open_node: OpenNode) -> None:
    class Liar(GivenInstance):
        off = 0

        @property
        def size(self) -> int:
            return len(self.data) + self.off

    for off in (-2, 2):
        liar = Liar(*astuple(given(samples.instance("a"))))
        liar.off = off
        with pytest.raises(TransferFault) as caught:
            open_node().open_store(()).store(liar)
        assert caught.value.fault.code is FaultCode.IO_FAILED
    assert bucket.holds() == set()


@pytest.mark.parametrize("shorter", [samples.part10(samples.instance("a"))[:500], b""], ids=["cut", "gone"])
def test_an_instance_that_is_cut_before_it_is_sent_is_not_written(
    bucket: Bucket, open_node: OpenNode, shorter: bytes
) -> None:
    """It is read once for its digest, and once more to be sent."""

    class Cut(GivenInstance):
        opened = 0

        @property
        def size(self) -> int:
            return len(whole.data)

        def open(self) -> BytesIO:
            self.opened += 1
            if self.opened > 1 and not shorter:
                raise FileNotFoundError
            return BytesIO(self.data if self.opened == 1 else shorter)

    for whole in (given(samples.instance("a")), big()):
        cut = Cut(*astuple(whole))
        with pytest.raises(TransferFault) as caught:
            open_node().open_store(()).store(cut)
        assert (caught.value.fault.code, caught.value.fault.sop_instance_uid) == (
            FaultCode.IO_FAILED,
            whole.sop_instance_uid,
        )
    assert bucket.holds() == set()
    wait_until(lambda: bucket.uploads() == [], "the upload that was begun is taken back")


def test_uids_that_cannot_stand_in_a_key_are_kept_apart(bucket: Bucket, open_node: OpenNode) -> None:
    names = ("1.2/3", "1.2_3", "..", "../../x", " 1.2.3")
    for name in names:
        one = given(samples.instance("a"))
        one.study_instance_uid = name
        open_node(prefix="in").open_store(()).store(one)
    assert len(bucket.holds()) == len(names)
    assert all(key.startswith(f"in/{JOB_KEY}/") and ".." not in key.split("/") for key in bucket.holds())
