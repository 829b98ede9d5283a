"""Archives as they are made, opened by 7-Zip's own program: whole or not there, and never another's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from adit.dicom.archive import ArchiveNode
from adit.dicom.folder import FolderNode, StudyFacts
from adit.dicom.node import Level, Query, Sealing, Stored
from adit.model.assignment import Share
from adit.model.outcome import Fault, FaultCode, TransferFault
from tests import samples
from tests.integration.archive.making_process import JOB, PASSWORD, SECRET, open_node, study
from tests.integration.folder.given_instance import given
from tests.peers.seven_zip import listing, opens, unpacked
from tests.peers.small_disk import SmallDisk

ROOT = Path(__file__).parents[3]
FORMATS = ("Zip", "SevenZip")
STUDY = study()
JOB_FOLDER = "adit_stroke_20261122_jane"

pytestmark = pytest.mark.parametrize("kind", FORMATS)


def store(node: ArchiveNode, instances: Sequence[Dataset] = STUDY.instances) -> list[Stored]:
    channel = node.open_store(())
    return [channel.store(given(item)) for item in instances]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], list[Stored]]:
    """Puts an archive that was made once for all tests into a root, and gives its acknowledgements."""
    known: dict[str, tuple[Path, list[Stored]]] = {}

    def put(kind: str, root: Path) -> list[Stored]:
        if kind not in known:
            place = tmp_path_factory.mktemp("made")
            (place / SECRET).mkdir()
            (place / SECRET / "password").write_text(PASSWORD)
            known[kind] = (place / JOB_FOLDER, made(place, place, kind))
        shutil.copytree(known[kind][0], root / JOB_FOLDER)
        return known[kind][1]

    return put


def made(root: Path, secrets: Path, kind: str) -> list[Stored]:
    node = open_node(root, secrets, kind)
    stored = store(node)
    node.seal()
    return stored


def proofs(root: Path, secrets: Path, kind: str, stored: Sequence[Stored]) -> set[Fault | None]:
    """What a fresh node says of them: None where all is proven."""
    asked = list(open_node(root, secrets, kind).verify(STUDY.study_instance_uid, stored))
    assert [proof.sop_instance_uid for proof in asked] == [one.sop_instance_uid for one in stored]
    assert all((proof.fault is None) == proof.present for proof in asked)
    return {proof.fault and proof.fault.model_copy(update={"sop_instance_uid": None}) for proof in asked}


def shown(root: Path) -> list[Path]:
    """What a user sees."""
    return [path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")]


def told(node: ArchiveNode, instances: Sequence[Dataset] = STUDY.instances) -> Fault:
    with pytest.raises(TransferFault) as fault:
        store(node, instances)
    return fault.value.fault


def test_it_holds_what_a_folder_would(root: Path, secrets: Path, kind: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    odd = samples.instance("odd", study=STUDY.study_instance_uid, series=1, number=99, patient_id=STUDY.patient_id)
    odd.StudyInstanceUID, odd.SeriesNumber = STUDY.study_instance_uid, STUDY.instances[0].SeriesNumber
    odd.SeriesDescription = STUDY.instances[0].SeriesDescription  # another series that wants the same folder
    everything = [*STUDY.instances, odd]
    facts = StudyFacts(STUDY.study_instance_uid, frozenset({"CT", "MR"}), "20260102", "030405")
    node, folder = open_node(root, secrets, kind), FolderNode("files", files, Share(), JOB)
    assert isinstance(node, Sealing)
    node.announce(facts)
    folder.announce(facts)
    stored = store(node, everything)
    channel = folder.open_store(())
    beside = [channel.store(given(item)) for item in everything]
    assert shown(root) == []
    node.seal()
    node.discard()
    [archive] = shown(root)
    assert archive.parent == root / JOB_FOLDER
    assert archive.stem == f"{STUDY.study_instance_uid}-0badcafe"
    members = unpacked(archive, PASSWORD, tmp_path / "unpacked")
    assert members.pop("INDEX.txt").startswith(b"One study, written by ADIT.\nJob: stroke\n")
    assert members == {str(path.relative_to(files / JOB_FOLDER)): path.read_bytes() for path in shown(files)}
    assert [(one.size, one.sha256) for one in stored] == [(one.size, one.sha256) for one in beside]
    assert proofs(root, secrets, kind, stored) == {None}
    assert list(root.rglob(".adit-*")) == []


def test_it_tells_nothing_without_the_password(
    root: Path, kind: str, finished: Callable[[str, Path], list[Stored]]
) -> None:
    finished(kind, root)
    [archive] = shown(root)
    assert opens(archive, PASSWORD)
    assert not opens(archive, "guess")
    assert STUDY.patient_id not in archive.name
    assert b"DICM" not in archive.read_bytes()
    assert (".dcm" in listing(archive)) == (kind == "Zip")  # 7z hides the names as well


def test_nothing_half_is_ever_shown(root: Path, secrets: Path, kind: str) -> None:
    command = [sys.executable, "-m", "tests.integration.archive.making_process", str(root), str(secrets), kind]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        assert shown(root) == []
        process.kill()
    assert shown(root) == []
    [left] = root.rglob(".adit-*")
    os.utime(left, (1, 1))
    stored = made(root, secrets, kind)
    assert len(shown(root)) == 1
    assert not left.exists()  # cleared away an hour after the last write
    assert proofs(root, secrets, kind, stored) == {None}


def test_one_that_waits_long_is_not_cleared_away(root: Path, secrets: Path, kind: str) -> None:
    slow = open_node(root, secrets, kind)
    stored = store(slow)
    [part] = root.rglob(".adit-*")
    os.utime(part, (1, 1))
    other = open_node(root, secrets, kind, job=replace(JOB, task="another"))
    store(other)
    slow.seal()
    other.discard()
    assert len(shown(root)) == 1
    assert proofs(root, secrets, kind, stored) == {None}


def test_two_tasks_and_two_attempts_at_once(root: Path, secrets: Path, kind: str) -> None:
    """Two series of a study by two tasks, and a late attempt at one of them that nobody stopped."""
    first, second = (
        [item for item in STUDY.instances if item.SeriesInstanceUID == uid] for uid in STUDY.series_instance_uids
    )
    other = replace(JOB, task="another")
    nodes = [(open_node(root, secrets, kind, job=job), part) for job, part in ((JOB, first), (other, second))]
    nodes.append((open_node(root, secrets, kind), first))
    told: dict[int, list[Stored]] = {}

    def make(number: int) -> None:
        node, part = nodes[number]
        told[number] = store(node, part)
        node.seal()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown(root)) == 2
    for number in range(3):
        assert proofs(root, secrets, kind, told[number]) == {None}


def test_store_threads_take_turns(root: Path, secrets: Path, kind: str) -> None:
    node = open_node(root, secrets, kind)
    channels = [node.open_store(()) for _ in range(4)]
    stored: list[Stored] = []

    def work(number: int) -> None:
        for item in STUDY.instances[number::4]:
            stored.append(channels[number].store(given(item)))
        channels[number].close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    node.seal()
    assert {one.sop_instance_uid for one in stored} == STUDY.sop_instance_uids
    assert proofs(root, secrets, kind, stored) == {None}


def test_a_disk_that_is_full(secrets: Path, kind: str, tmp_path: Path) -> None:
    with SmallDisk(tmp_path, 120 * 2**10) as disk:
        node = open_node(disk.path, secrets, kind)
        noise = samples.ct_study(20, size=128, seed="noise").instances
        for item in noise:
            item.PixelData = os.urandom(len(item.PixelData))
        assert told(node, noise).code is FaultCode.DISK_FULL
        assert told(node).code is FaultCode.DISK_FULL  # what is in it is spoiled, and stays so
        with pytest.raises(TransferFault):
            node.seal()
        node.discard()
        assert [path for path in disk.path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("spoil", ["no folder", "no key", "empty", "two lines", "short", "no secrets"])
def test_a_password_that_is_missing(root: Path, secrets: Path, kind: str, spoil: str) -> None:
    key = secrets / SECRET / "password"
    match spoil:
        case "no folder":
            key.unlink()
            key.parent.rmdir()
        case "no key":
            key.unlink()
        case _:
            key.write_text({"empty": "\n", "short": "one-two"}.get(spoil, "one\ntwo"))
    node = open_node(root, None if spoil == "no secrets" else secrets, kind)
    fault = told(node)
    assert node.probe().fault == fault
    assert (fault.code, fault.node) == (FaultCode.SECRET_MISSING, "archive")
    assert "one" not in fault.message
    assert fault.cure
    assert shown(root) == []


@pytest.mark.parametrize("spoil", ["another password", "one bit", "cut", "garbage", "gone", "other content"])
def test_what_is_not_as_it_was_written_is_not_proven(
    root: Path, secrets: Path, kind: str, finished: Callable[[str, Path], list[Stored]], spoil: str
) -> None:
    stored = finished(kind, root)
    [archive] = shown(root)
    whole = archive.read_bytes()
    match spoil:
        case "another password":
            (secrets / SECRET / "password").write_text("another one")
        case "one bit":
            middle = len(whole) // 2
            archive.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        case "cut":
            archive.write_bytes(whole[:-100])
        case "garbage":
            archive.write_bytes(b"PK\x03\x04" + os.urandom(5000))
        case "gone":
            archive.unlink()
        case _:
            stored = [replace(one, sha256="0" * 64) for one in stored]
    [fault] = proofs(root, secrets, kind, stored)
    assert fault is not None
    assert (fault.code, fault.node) == (FaultCode.NOT_PROVEN, "archive")
    if spoil == "garbage":
        assert proofs(root, secrets, kind, made(root, secrets, kind)) == {None}  # the next attempt replaces it


def test_what_is_missing_from_a_whole_archive_is_told_by_name(
    root: Path, secrets: Path, kind: str, finished: Callable[[str, Path], list[Stored]]
) -> None:
    stored = finished(kind, root)
    lost = replace(stored[0], sop_instance_uid="1.2.3", location=f"{stored[0].location}x")
    nowhere = replace(stored[0], sop_instance_uid="1.2.4", location="../../etc/passwd/x")
    node = open_node(root, secrets, kind)
    found = {proof.sop_instance_uid: proof.present for proof in node.verify("1.2", [lost, nowhere, *stored[1:]])}
    assert [uid for uid, present in found.items() if not present] == ["1.2.4", "1.2.3"]


def test_memory_does_not_grow_with_an_object(root: Path, secrets: Path, kind: str) -> None:
    command = [sys.executable, "-m", "tests.integration.archive.making_process", str(root), str(secrets), kind]
    peaks = [
        int(subprocess.run([*command, size], cwd=ROOT, check=True, capture_output=True).stdout) for size in ("1", "96")
    ]
    assert peaks[1] - peaks[0] < 24


def test_it_is_a_destination_only(root: Path, secrets: Path, kind: str) -> None:
    node = open_node(root, secrets, kind)
    with pytest.raises(TransferFault) as fault:
        node.find(Query(Level.STUDY))
    assert fault.value.fault.code is FaultCode.SERVICE_NOT_OFFERED
    assert (node.probe().services, node.probe().fault) == (("Read", "Write"), None)
    node.interrupt()
    assert told(node).code is FaultCode.INTERRUPTED
