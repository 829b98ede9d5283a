"""A source whose data are not whole, or not of whom it says: refused or told of, never plainly green."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pynetdicom.association
import pynetdicom.dsutils
import pytest
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage

from adit.dicom.folder import FolderNode
from adit.model.assignment import Share
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome, TransferFault
from adit.transfer.plan import make_plan
from tests.integration.transfer.scene import Scene, dimse, folder
from tests.peers import Behaviour, ScriptedSCP
from tests.samples import ct_study
from tests.unit.transfer.memory_ledger import assignment

STUDY = ct_study(3, seed="unsound")
VICTIM = str(STUDY.instances[1].SOPInstanceUID)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder whose parents everybody may read."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path
    for below in path.rglob("*"):
        below.chmod(0o700)
    shutil.rmtree(path)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read everything."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


def spoil(monkeypatch: pytest.MonkeyPatch, by: Callable[[bytes], bytes]) -> None:
    """One instance leaves the source as `by` makes it."""
    encode = pynetdicom.dsutils.encode

    def spoiled(dataset: Dataset, *more: bool) -> bytes | None:
        data = encode(dataset, *more)
        return by(data) if data and str(dataset.get("SOPInstanceUID")) == VICTIM and "Rows" in dataset else data

    monkeypatch.setattr(pynetdicom.association, "encode", spoiled)


@pytest.mark.parametrize(
    "by",
    [lambda data: data[:-200], lambda data: data[:-201], lambda data: data + b"\xde\xad\xbe\xef" * 50],
    ids=["cut", "cut at an odd place", "garbage behind it"],
)
def test_an_instance_that_is_not_whole_goes_no_further(
    by: Callable[[bytes], bytes], scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        spoil(monkeypatch, by)
        report = task.run()
        assert report.outcome is Outcome.PERMANENT_DATA_FAULT
        [fault] = [fault for fault in report.faults if fault.sop_instance_uid == VICTIM]
        assert (fault.code, fault.node) == (FaultCode.INSTANCE_UNREADABLE, "source")
        assert destination.holds == STUDY.sop_instance_uids - {VICTIM}
        assert task.count(InstanceState.VERIFIED) == 2


def test_an_unlisted_instance_that_is_not_whole_is_told_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [item for item in STUDY.instances if str(item.SOPInstanceUID) != VICTIM]
    with ScriptedSCP(listed, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        source.behaviour = Behaviour(get_stranger=STUDY.instances[1])
        task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        spoil(monkeypatch, lambda data: data[:-200])
        report = task.run()
        assert report.outcome is Outcome.SUCCESS
        assert VICTIM in [warning.sop_instance_uid for warning in report.warnings]
        assert VICTIM not in destination.holds


def test_an_instance_of_another_patient_is_told_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        spoil(monkeypatch, lambda data: data.replace(b"LO\4\0001001", b"LO\4\0009999"))
        report = task.run()
        [warning] = report.warnings
        assert (report.outcome, warning.code) == (Outcome.SUCCESS, FaultCode.PATIENT_ID_MISMATCH)
        assert (warning.node, warning.sop_instance_uid) == ("source", VICTIM)
        assert "9999" not in str(warning).replace(VICTIM, "")
        assert task.codes().count("PatientIDMismatch") == 1


def test_an_instance_sent_as_of_another_class_is_sent_on_as_what_it_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        task = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid)
        spoil(monkeypatch, lambda data: data.replace(CTImageStorage.encode(), MRImageStorage.encode()))
        report = task.run()
        [warning] = report.warnings
        assert (report.outcome, warning.code) == (Outcome.SUCCESS, FaultCode.FETCHED_WITH_WARNING)
        assert (warning.node, warning.sop_instance_uid) == ("source", VICTIM)
        sent = {each.sop_instance_uid: each.sop_class_uid for each in destination.received}
        assert sent == {**dict.fromkeys(STUDY.sop_instance_uids, CTImageStorage), VICTIM: MRImageStorage}


@pytest.mark.parametrize("uid", ["1.2\0004", "1.2." + "8" * 3000, ["1.2.5", "1.2.6"]], ids=["NUL", "long", "two"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about these values
def test_a_uid_that_is_none_is_the_sources_fault_and_no_bug(uid: str | list[str], scene: Scene) -> None:
    answer = Dataset()
    answer.QueryRetrieveLevel, answer.PatientID = "IMAGE", "1001"
    answer.StudyInstanceUID, answer.SeriesInstanceUID = STUDY.study_instance_uid, "1.2.3"
    answer.add_new("SOPInstanceUID", "UI", uid)
    answer.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    with ScriptedSCP(STUDY.instances, aet="SOURCE") as source, ScriptedSCP(aet="DESTINATION") as destination:
        source.behaviour = Behaviour(find_answers=[answer])
        report = scene.task(dimse("source", source), dimse("destination", destination), STUDY.study_instance_uid).run()
    [fault] = report.faults
    assert (fault.code, fault.node) == (FaultCode.QUERY_FAILED, "source")
    assert "SOPInstanceUID" in fault.message


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def linked(path: Path) -> None:
    path.symlink_to(path.rename(path.parent.parent / "elsewhere.dcm"))


@pytest.mark.parametrize("damage", [cut, empty, linked])
def test_a_file_that_cannot_be_judged_is_told_of(damage: Callable[[Path], None], scene: Scene, tmp_path: Path) -> None:
    place, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    (place / "README.txt").parent.mkdir()
    (place / "README.txt").write_text("no DICOM here")
    damage(STUDY.write(place)[1])
    report = scene.task(folder("source", place), folder("target", target), STUDY.study_instance_uid).run()
    [warning] = report.warnings
    assert (report.outcome, warning.code, warning.node) == (
        Outcome.SUCCESS,
        FaultCode.FETCHED_WITH_WARNING,
        "source",
    )
    assert warning.message.startswith("1 files")


@pytest.mark.parametrize("what", ["file", "subfolder"])
def test_what_may_not_be_read_ends_the_plan_until_it_may(what: str, public: Path) -> None:
    STUDY.write(public)
    hidden = ct_study(1, seed="hidden").write(public / "sub")[0]
    denied = hidden if what == "file" else hidden.parent
    denied.chmod(0)
    node = FolderNode("source", public, Share())
    task = assignment(study_instance_uid=STUDY.study_instance_uid)
    with without_privileges(), pytest.raises(TransferFault) as caught:
        make_plan(node, task)
    fault = caught.value.fault
    assert (fault.code, fault.node) == (FaultCode.PERMISSION_DENIED, "source")
    assert fault.message.startswith("1 files or folders")
    assert str(denied) not in str(fault)
    denied.chmod(0o755)
    with without_privileges():
        plan = make_plan(node, task)
    assert (plan.least, plan.warnings) == (3, ())
