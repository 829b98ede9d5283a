"""Writing to a folder: whole files under upstream's names, nothing merged, nothing replaced silently."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UID

from adit.dicom.folder import FolderNode, StudyFacts
from adit.dicom.node import Stored
from adit.model.assignment import Share
from adit.model.outcome import FaultCode, TransferFault
from tests import samples
from tests.integration.folder.conftest import JOB
from tests.integration.folder.given_instance import given
from tests.peers.small_disk import SmallDisk

Open = Callable[[], FolderNode]
JOB_FOLDER = "adit_stroke_20261122_jane"


def store(node: FolderNode, instances: Iterable[Dataset]) -> list[Stored]:
    channel = node.open_store(())
    return [channel.store(given(item)) for item in instances]


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def refused(node: FolderNode, dataset: Dataset) -> TransferFault:
    with pytest.raises(TransferFault) as caught:
        store(node, [dataset])
    return caught.value


def test_a_study_lies_where_upstream_would_put_it_and_is_what_was_sent(root: Path, open_destination: Open) -> None:
    study = samples.ct_study(2, transfer_syntax="1.2.840.10008.1.2.4.90")
    stored = store(open_destination(), study.instances)
    folder = f"{JOB_FOLDER}/1001/20240131-101112-CT/1-Axial"
    assert files(root) == {f"{folder}/{uid}.dcm" for uid in study.sop_instance_uids}
    for item, receipt in zip(study.instances, stored, strict=True):
        path = root / str(receipt.location)
        assert dcmread(path) == item
        assert path.read_bytes().endswith(samples.encoded(item))
        assert receipt.size == len(samples.encoded(item))
    assert all(proof.present for proof in open_destination().verify(study.study_instance_uid, stored))


@pytest.mark.parametrize("path", samples.compressed_files(), ids=lambda path: path.name)
def test_compressed_objects_keep_their_bytes(path: Path, root: Path, open_destination: Open) -> None:
    dataset = dcmread(path)
    [stored] = store(open_destination(), [dataset])
    assert dcmread(root / str(stored.location)).PixelData == dataset.PixelData


def test_the_plans_facts_name_the_study_with_all_its_modalities(root: Path, open_destination: Open) -> None:
    study = samples.mixed_study()
    node = open_destination()
    node.announce(StudyFacts(study.study_instance_uid, frozenset({"MR", "CT"})))
    stored = store(node, study.instances)
    assert {str(one.location).split("/")[2] for one in stored} == {"20240131-101112-CT,MR"}


def test_instances_whose_odd_uids_make_one_name_do_not_replace_each_other(root: Path, open_destination: Open) -> None:
    odd = list(samples.ct_study(4).instances)
    for item, uid in zip(odd, ("1.2.3", "1.2.3.", "1.2/3", "1.2_3"), strict=True):
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID = UID(uid)
    stored = store(open_destination(), odd)
    assert len(files(root)) == 4
    assert all(proof.present for proof in open_destination().verify(str(odd[0].StudyInstanceUID), stored))


def test_studies_and_series_with_the_same_words_do_not_merge(root: Path, open_destination: Open) -> None:
    studies = [samples.ct_study(2, seed="one"), samples.ct_study(2, seed="two"), samples.mixed_study(patient_id="1001")]
    stored = [one for study in studies for one in store(open_destination(), study.instances)]
    owners: dict[str, set[str]] = {}
    for one in stored:
        study_folder, series_folder = str(one.location).rsplit("/", 2)[:2]
        dataset = dcmread(root / str(one.location))
        owners.setdefault(study_folder, set()).add(dataset.StudyInstanceUID)
        owners.setdefault(f"{study_folder}/{series_folder}", set()).add(dataset.SeriesInstanceUID)
    assert all(len(uids) == 1 for uids in owners.values())
    assert len({one.location for one in stored}) == len(stored) == len(files(root))


def test_patients_whose_ids_look_alike_do_not_merge(root: Path, open_destination: Open) -> None:
    ids = ("A/1", "A:1", "..", ".", "")
    stored = [
        one
        for number, patient_id in enumerate(ids)
        for one in store(open_destination(), samples.ct_study(1, seed=str(number), patient_id=patient_id).instances)
    ]
    assert len({str(one.location).split("/")[1] for one in stored}) == len(ids)
    assert all((root / str(one.location)).resolve().is_relative_to(root / JOB_FOLDER) for one in stored)


def test_another_attempt_finds_the_folders_of_the_first_whatever_it_begins_with(
    root: Path, open_destination: Open
) -> None:
    study = samples.mixed_study()
    store(open_destination(), study.instances[:3])
    before = files(root)
    stored = store(open_destination(), reversed(study.instances))
    assert len(files(root)) == len(study.instances)
    assert before < files(root)
    assert len({str(one.location).split("/")[2] for one in stored}) == 1


def test_two_processes_at_once_make_one_folder_each(root: Path, open_destination: Open) -> None:
    """Nodes share nothing, as processes would: only the file system stands between them."""
    studies = [samples.mixed_study(f"study-{number}") for number in range(4)]
    start = threading.Barrier(8)

    def attempt(instances: tuple[Dataset, ...]) -> list[Stored]:
        node = open_destination()
        start.wait()
        return store(node, instances)

    orders = [order for study in studies for order in (study.instances, study.instances[::-1])]
    with ThreadPoolExecutor(8) as pool:
        stored = [one for receipts in pool.map(attempt, orders) for one in receipts]
    assert len(files(root)) == sum(len(study.instances) for study in studies)
    folders = {str(one.location).split("/")[2] for one in stored}
    assert len(folders) == len(studies)
    for study in studies:
        receipts = [one for one in stored if one.sop_instance_uid in study.sop_instance_uids]
        assert all(proof.present for proof in open_destination().verify(study.study_instance_uid, receipts))


def test_sending_again_overwrites_itself(root: Path, open_destination: Open) -> None:
    study = samples.ct_study(2)
    first, again = (store(open_destination(), study.instances) for _ in range(2))
    assert first == again
    assert len(files(root)) == 2


def test_another_object_of_the_same_uid_is_a_conflict_and_the_first_stays(root: Path, open_destination: Open) -> None:
    first, other = samples.instance("a"), samples.instance("a")
    other.PatientName = "Someone^Else"
    [stored] = store(open_destination(), [first])
    fault = refused(open_destination(), other).fault
    assert (fault.code, fault.sop_instance_uid) == (FaultCode.INSTANCE_CONFLICT, first.SOPInstanceUID)
    assert fault.cure
    assert [proof.present for proof in open_destination().verify("", [stored])] == [True]


def test_a_truncated_file_is_repaired_by_sending_again(root: Path, open_destination: Open) -> None:
    dataset = samples.instance("a")
    [stored] = store(open_destination(), [dataset])
    path = root / str(stored.location)
    path.write_bytes(path.read_bytes()[:-10])
    store(open_destination(), [dataset])
    assert [proof.present for proof in open_destination().verify("", [stored])] == [True]


@pytest.mark.parametrize("damage", ["removed", "truncated", "altered", "other", "folder"])
def test_what_is_not_there_any_more_is_not_proven(damage: str, root: Path, open_destination: Open) -> None:
    [stored, whole] = store(open_destination(), samples.ct_study(2).instances)
    path = root / str(stored.location)
    data = path.read_bytes()
    match damage:
        case "removed":
            path.unlink()
        case "truncated":
            path.write_bytes(data[:-1])
        case "altered":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "other":
            path.write_bytes((root / str(whole.location)).read_bytes())
        case "folder":
            path.unlink()
            path.mkdir()
    proofs = {proof.sop_instance_uid: proof for proof in open_destination().verify("", [stored, whole])}
    assert proofs[whole.sop_instance_uid].present
    lost = proofs[stored.sop_instance_uid]
    assert not lost.present
    assert lost.fault is not None
    assert (lost.fault.code, lost.fault.node) == (FaultCode.NOT_PROVEN, "archive")
    assert lost.fault.sop_instance_uid == stored.sop_instance_uid
    assert "1001" not in lost.fault.message.replace(str(root), "")


@pytest.mark.parametrize("location", [None, "../outside.dcm", "/etc/passwd"])
def test_a_location_outside_is_not_read(location: str | None, open_destination: Open) -> None:
    stored = Stored("1.2", "1.3", "1.4", "1.5", 1, "", location)
    assert [proof.present for proof in open_destination().verify("", [stored])] == [False]


def test_a_missing_root_is_never_created(root: Path, open_destination: Open) -> None:
    root.rmdir()
    fault = refused(open_destination(), samples.instance("a")).fault
    assert fault.code is FaultCode.FOLDER_MISSING
    assert "mount" in fault.cure
    assert not root.exists()
    assert not open_destination().probe().reachable


def test_a_root_that_goes_away_is_not_replaced_by_the_disk_beneath_it(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, 2**20) as disk:
        node = FolderNode("share", disk.path, Share(), JOB)
        channel = node.open_store(())
        channel.store(given(samples.instance("a")))
        disk.unmount()
        with pytest.raises(TransferFault) as caught:
            channel.store(given(samples.instance("b")))
        assert caught.value.fault.code is FaultCode.FOLDER_MISSING
        assert list(disk.path.iterdir()) == []


def test_a_full_disk_leaves_nothing_half_and_the_next_attempt_goes_on(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, 400 * 2**10) as disk:
        node = FolderNode("share", disk.path, Share(), JOB)
        small, big = samples.instance("a", size=64), samples.instance("b", size=512)
        store(node, [small])
        fault = refused(node, big).fault
        assert (fault.code, fault.node, fault.sop_instance_uid) == (FaultCode.DISK_FULL, "share", big.SOPInstanceUID)
        assert files(disk.path) == {path for path in files(disk.path) if path.endswith(f"{small.SOPInstanceUID}.dcm")}
        disk.grow(2**21)
        stored = store(node, [small, big])
        assert all(proof.present for proof in node.verify("", stored))


def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    with SmallDisk(tmp_path, 2**20) as disk:
        node = FolderNode("share", disk.path, Share(), JOB)
        disk.make_read_only()
        fault = refused(node, samples.instance("a")).fault
        assert (fault.code, fault.node) == (FaultCode.PERMISSION_DENIED, "share")
        assert node.probe().services == ("Read",)


def test_what_a_killed_attempt_left_is_no_instance_and_is_cleared_away(root: Path, open_destination: Open) -> None:
    store(open_destination(), [samples.instance("a")])
    old, young = root / JOB_FOLDER / ".adit-old.part", root / JOB_FOLDER / ".adit-young.part"
    for path in (old, young):
        path.write_bytes(b"half")
    staging = root / JOB_FOLDER / ".adit-staging"
    (staging / "series").mkdir(parents=True)
    for path in (old, staging):
        os.utime(path, (0, 0))
    store(open_destination(), [samples.instance("b")])
    assert not old.exists()
    assert not staging.exists()
    assert young.exists()


def test_an_interrupt_ends_the_write(root: Path, open_destination: Open) -> None:
    node = open_destination()
    channel = node.open_store(())
    node.interrupt()
    with pytest.raises(TransferFault) as caught:
        channel.store(given(samples.instance("a")))
    assert (caught.value.fault.code, caught.value.fault.sop_instance_uid) == (FaultCode.INTERRUPTED, None)
    assert files(root) == set()


def test_a_header_that_cannot_be_read_is_the_instances_fault(open_destination: Open) -> None:
    instance = given(samples.instance("a"))
    instance.data = instance.data[:30] + b"\xff" * 200
    with pytest.raises(TransferFault) as caught:
        open_destination().open_store(()).store(instance)
    assert caught.value.fault.code is FaultCode.INSTANCE_UNREADABLE
    assert caught.value.fault.sop_instance_uid == instance.sop_instance_uid


def test_names_of_the_world_are_filed(root: Path, open_destination: Open) -> None:
    for study in samples.names_of_the_world():
        for item in study.instances:
            item.SeriesDescription = "Köpfe" if item.SpecificCharacterSet in ("ISO_IR 100", "ISO_IR 192") else "Axial"
        stored = store(open_destination(), study.instances)
        assert all(proof.present for proof in open_destination().verify("", stored))
