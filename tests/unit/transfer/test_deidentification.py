"""De-identifying attempts over nodes in memory: one patient a pseudonym, no second names, never an original.

The same with real peers: tests/integration/transfer/test_deidentified.py.
"""

from __future__ import annotations

import hashlib
import threading
from datetime import datetime
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from adit.deid.engine.instance import Engine
from adit.deid.identity import Identity
from adit.deid.pixels.quarantine import PixelReason
from adit.deid.policy import Policy
from adit.deid.profiles import ready
from adit.deid.quarantine import Quarantine, Reason
from adit.dicom.file_meta import NotDicomError, read_file_meta
from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.dicom.opening import open_node
from adit.dicom.payload import Spool
from adit.model.assignment import Report, Share
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome, TransferFault
from adit.model.treatment import Decision
from adit.transfer import instance_engine
from adit.transfer.attempt import run_attempt
from adit.transfer.patience import Patience
from adit.transfer.refusal import quarantined
from adit.transfer.roster import HELD_BEFORE
from adit.transfer.treatment import treatment_of
from tests.samples import encoded, instance, part10, pydicom_files
from tests.unit.transfer.memory_ledger import NOW, MemoryLedger, assignment
from tests.unit.transfer.memory_node import MemoryInstance, MemoryNode, fault, send

KEY = b"k" * 32
MAPPED = Identity(KEY, "basic")
PROFILE = ready("basic")


def of(dataset: Dataset) -> MemoryInstance:
    return MemoryInstance(
        str(dataset.SOPInstanceUID),
        str(dataset.SeriesInstanceUID),
        encoded(dataset),
        str(dataset.StudyInstanceUID),
        str(dataset.SOPClassUID),
    )


def read(path: Path) -> MemoryInstance | None:
    """None of what names no instance."""
    file = path.read_bytes()
    try:
        meta = read_file_meta(BytesIO(file))
        named = dcmread(path, force=True, stop_before_pixels=True)
        uids = [str(named[keyword].value) for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")]
    except (NotDicomError, KeyError):
        return None
    made = MemoryInstance(uids[0], uids[1], file[meta.offset :], uids[2], meta.sop_class_uid)
    made.transfer_syntax_uid = meta.transfer_syntax_uid
    return made


def slices(count: int, patient_id: str = "PAT", first: int = 1, **about: object) -> list[MemoryInstance]:
    numbers = range(first, first + count)
    return [of(instance("deid", number=number, patient_id=patient_id, **about)) for number in numbers]  # type: ignore[arg-type]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "deid-key").mkdir()
    (tmp_path / "deid-key" / "key").write_bytes(KEY)
    return tmp_path


class Bench:
    """A source, a destination and a ledger, and an attempt between them."""

    def __init__(self, secrets: Path) -> None:
        self.secrets = secrets
        self.source = MemoryNode("source")
        self.destination = MemoryNode("destination")
        self.ledger = MemoryLedger()

    def holds(self, *items: MemoryInstance) -> list[str]:
        self.source.holds |= {item.sop_instance_uid: item for item in items}
        return [item.sop_instance_uid for item in items]

    def open(self, node: DicomNode, share: Share) -> MemoryNode:
        return self.source if node.metadata.name == "source" else self.destination

    def run(self, **changes: object) -> Report:
        study = next(iter(self.source.holds.values())).study_instance_uid
        given = {"study_instance_uid": study, "profile": PROFILE, **changes}
        patience = Patience(grace=5, reopen=(0, 0, 0), ask_again=(0.01,), ledger=0.01)
        return run_attempt(
            self.ledger,
            self.open,
            assignment(**given),
            clock=lambda: NOW,
            stop=threading.Event(),
            secrets=self.secrets,
            patience=patience,
        )

    def states(self) -> dict[str, InstanceState]:
        return {uid: row.state for uid, row in self.ledger.rows.items()}


@pytest.fixture
def bench(secrets: Path) -> Bench:
    return Bench(secrets)


def test_many_threads_make_what_one_would(bench: Bench) -> None:
    uids = bench.holds(*slices(40))
    report = bench.run(destination_share=Share(associations=4))
    assert (report.outcome, report.faults) == (Outcome.SUCCESS, ())
    engine = Engine(Policy(PROFILE), MAPPED)
    for uid in uids:
        made = b"".join(engine.treat(bench.source.holds[uid].content, "1.2.840.10008.1.2.1").pieces())
        assert bench.destination.holds[MAPPED.uid(uid)].content == made
        assert bench.ledger.rows[uid].sha256 == hashlib.sha256(made).hexdigest()
    assert len(bench.ledger.treated) == 1  # slices are treated alike


def test_one_pseudonym_does_not_stand_for_two_patients(bench: Bench) -> None:
    first, *_ = bench.holds(*slices(1), *slices(3, "OTHER", first=2))
    known: list[int] = []
    bench.destination.on_store = lambda node, item: known.append(len(bench.ledger.treated))
    report = bench.run(pseudonym="STROKE-001", destination_share=Share(associations=1))
    assert report.outcome is Outcome.PERMANENT_DATA_FAULT
    assert {each.code for each in report.faults} == {FaultCode.DEIDENTIFICATION_REFUSED}
    assert bench.destination.log == [MAPPED.uid(first)]
    assert known == [1]  # whom it stands for was in the ledger before the first was sent
    # another attempt, which gets to see the other patient first
    bench.source.holds.pop(first)
    report = bench.run(pseudonym="STROKE-001", number=2)
    assert {each.code for each in report.faults} == {FaultCode.DEIDENTIFICATION_REFUSED}
    assert bench.destination.log == [MAPPED.uid(first)]
    assert "OTHER" not in str(bench.ledger.treated) + report.model_dump_json()


def test_patients_get_names_of_their_own_where_none_is_given(bench: Bench) -> None:
    bench.holds(*slices(1), *slices(1, "OTHER", first=2))
    assert bench.run().outcome is Outcome.SUCCESS
    assert len(bench.destination.log) == 2


def test_a_defect_of_ours_sends_nothing_and_tells_no_value(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("Plantedfamily")

    monkeypatch.setattr(Engine, "treat", broken)
    bench.holds(*slices(3))
    report = bench.run()
    assert report.outcome is Outcome.BUG
    assert bench.destination.log == []
    assert "Plantedfamily" not in report.model_dump_json()


def test_what_bears_another_uid_than_it_is_listed_under_is_not_sent(bench: Bench) -> None:
    [item] = slices(1)
    item.series_instance_uid = "1.2.3.4"
    bench.holds(item)
    report = bench.run()
    assert [each.code for each in report.faults] == [FaultCode.DEIDENTIFICATION_REFUSED]
    assert "0020000E" in report.faults[0].message
    assert bench.destination.log == []


def test_a_repeat_is_compared_as_it_would_be_sent(bench: Bench) -> None:
    [item] = slices(1)
    bench.holds(item)
    bench.source.on_fetch = lambda node, wanted, deliver: send([item, item], deliver)
    assert bench.run().outcome is Outcome.SUCCESS
    assert len(bench.destination.log) == 1


def test_a_repeat_with_other_content_is_a_conflict(bench: Bench) -> None:
    [item] = slices(1)
    [other] = slices(1, size=18)
    bench.holds(item)
    bench.source.on_fetch = lambda node, wanted, deliver: send([item, other], deliver)
    assert FaultCode.INSTANCE_CONFLICT in {each.code for each in bench.run().faults}


def test_what_a_fetch_that_broke_off_did_not_bring_is_asked_for_by_its_own_name(bench: Bench) -> None:
    uids = bench.holds(*slices(4))

    def broken(node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        node.on_fetch = None
        send(node.chosen(wanted)[:2], deliver)
        raise fault(FaultCode.ASSOCIATION_ABORTED)

    bench.source.on_fetch = broken
    assert bench.run().outcome is Outcome.SUCCESS
    assert bench.source.wanted[-1].sop_instance_uids == tuple(uids[2:])
    assert sorted(bench.destination.log) == sorted(map(MAPPED.uid, uids))


def test_what_the_destination_says_is_told_of_the_original(bench: Bench) -> None:
    good, bad = bench.holds(*slices(2))

    def refuse(node: MemoryNode, item: Instance) -> None:
        assert item.study_instance_uid.startswith("2.25.")
        if item.sop_instance_uid == MAPPED.uid(bad):
            raise fault(FaultCode.INSTANCE_REFUSED, item.sop_instance_uid, 0xC000)

    bench.destination.on_store = refuse
    report = bench.run()
    assert [(each.code, each.sop_instance_uid) for each in report.faults] == [(FaultCode.INSTANCE_REFUSED, bad)]
    assert bench.states() == {good: InstanceState.VERIFIED, bad: InstanceState.RECEIVED}


def test_what_was_there_before_under_the_new_name_is_worth_a_warning(bench: Bench) -> None:
    listed, unlisted = bench.holds(*slices(2))
    bench.source.unlisted = [unlisted]
    series = MAPPED.uid(next(iter(bench.source.holds.values())).series_instance_uid)
    for uid in (listed, unlisted):
        bench.destination.holds[MAPPED.uid(uid)] = MemoryInstance(MAPPED.uid(uid), series)
    report = bench.run()
    assert report.outcome is Outcome.SUCCESS
    assert {(each.status, each.sop_instance_uid) for each in report.warnings} == {
        (HELD_BEFORE, listed),
        (HELD_BEFORE, unlisted),
    }


def test_left_out_stays_so_and_is_not_fetched_again(bench: Bench) -> None:
    known = PROFILE.model_dump(mode="json", by_alias=True, exclude_none=True)
    profile = {**known, "spec": {**known["spec"], "excludedModalities": ["PR"]}}
    out, sent = bench.holds(*slices(1, modality="PR"), *slices(1, first=2))
    bench.destination.lost = {MAPPED.uid(sent)}
    assert bench.run(profile=profile).outcome is Outcome.TRANSIENT_FAULT
    bench.destination.lost = set()
    report = bench.run(profile=profile, number=2)
    assert report.outcome is Outcome.SUCCESS
    assert bench.states() == {out: InstanceState.LEFT_OUT, sent: InstanceState.VERIFIED}
    assert bench.source.wanted[-1].sop_instance_uids == (sent,)
    assert {record.decision for record in bench.ledger.treated.values()} == {Decision.TREATED, Decision.LEFT_OUT}


@pytest.mark.parametrize("joined", [0, 2**20], ids=["ranges", "as one"])
@pytest.mark.parametrize("heads", [(2**16,), (64, 2**16), (64, 128)], ids=["first", "second", "mapped"])
def test_a_big_instance_is_never_held_and_comes_out_the_same(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heads: tuple[int, ...], joined: int
) -> None:
    """With bounds so small that a small instance is a big one."""
    [item] = slices(1, size=64)
    [whole] = slices(1, size=64)
    order = assignment(profile=PROFILE, study_instance_uid=item.study_instance_uid)
    treatment = treatment_of(order, secrets, Spool(tmp_path, counted=True, wiped=True))

    def content() -> bytes:
        treated = treatment.treat(item, lambda record: None).instance
        assert treated is not None
        with treated.open() as reader:
            read = reader.read()
        assert len(read) == treated.size
        return read

    expected = content()
    monkeypatch.setattr(instance_engine, "SPOOL_ABOVE", 0)
    monkeypatch.setattr(instance_engine, "_JOINED", joined)
    monkeypatch.setattr(instance_engine, "_HEADS", heads)
    assert content() == expected != whole.content
    assert [each for each in tmp_path.iterdir() if each.is_file()] == []
    treatment.close()


@pytest.mark.parametrize("behind", [b"", bytes(64)], ids=["to its end", "with its end cut"])
def test_a_file_that_changes_while_it_is_sent_is_not_passed_on(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: bytes
) -> None:
    """The pixels of a big one are read from its folder then: what lies there now was never looked at."""
    original = instance("deid", number=1, patient_id="PAT", size=512)
    (tmp_path / "originals").mkdir()
    path = tmp_path / "originals" / "1.dcm"
    path.write_bytes(part10(original) + behind)
    found = DicomNode.model_validate({"metadata": {"name": "x"}, "spec": {"folder": {"path": str(path.parent)}}})
    node = open_node(found, Share(), secrets=None)
    items: list[Instance] = []
    uids = str(original.StudyInstanceUID), str(original.SeriesInstanceUID)
    node.fetch(Wanted(uids[0], uids[1]), items.append)
    monkeypatch.setattr(instance_engine, "SPOOL_ABOVE", 0)
    monkeypatch.setattr(instance_engine, "_JOINED", 0)
    order = assignment(profile=PROFILE, study_instance_uid=uids[0])
    treatment = treatment_of(order, secrets, Spool(tmp_path, counted=True, wiped=True))
    treated = treatment.treat(items[0], lambda record: None).instance
    assert treated is not None
    with treated.open() as reader:
        assert len(reader.read(2**12)) < treated.size
        path.write_bytes(part10(instance("other", number=1, patient_id="OTHER", size=512)) + behind)
        with pytest.raises(TransferFault, match="changed"):
            reader.read()
    treatment.close()


def test_real_files_come_out_the_same_whatever_is_held_of_them(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pydicom's own: treated, or refused for the same reason, with bounds under which each of them is a big one."""
    order = assignment(profile=ready("research"), trial={"protocolID": "STROKE"})
    items = [item for path in pydicom_files() if path.stat().st_size < 50_000 and (item := read(path)) is not None]
    assert len(items) > 40

    def outcomes() -> list[bytes | str]:
        treatment = treatment_of(order, secrets, None)
        found: list[bytes | str] = []
        for item in items:
            try:
                treated = treatment.treat(item, lambda record: None).instance
            except TransferFault as refused:
                found.append(refused.fault.message)
                continue
            assert treated is not None
            with treated.open() as reader:
                found.append(reader.read())
        treatment.close()
        return found

    whole = outcomes()
    monkeypatch.setattr(instance_engine, "SPOOL_ABOVE", 0)
    monkeypatch.setattr(instance_engine, "_JOINED", 0)
    monkeypatch.setattr(instance_engine, "_HEADS", (512, 2048))
    assert outcomes() == whole


def test_who_lacks_a_decoder_is_told_the_cure() -> None:
    missing = Quarantine(Reason.PIXELS, "7FE00010", "imagecodecs is not installed", cause=PixelReason.CODEC_MISSING)
    told = quarantined("1.2", missing)
    assert (told.code, "extra `pixels`" in told.cure) == (FaultCode.DEIDENTIFICATION_REFUSED, True)


def test_a_profile_that_cannot_be_used_sends_nothing(bench: Bench) -> None:
    bench.holds(*slices(2))
    known = PROFILE.model_dump(mode="json", by_alias=True, exclude_none=True)
    overrides = [{"keyword": "PatientNam", "action": "Keep"}]
    report = bench.run(profile={**known, "spec": {**known["spec"], "overrides": overrides}})
    assert report.outcome is Outcome.PERMANENT_CONFIGURATION_FAULT
    assert {each.code for each in report.faults} == {FaultCode.DEIDENTIFICATION_UNAVAILABLE}
    assert "PatientNam" in report.faults[0].message
    assert bench.destination.log == []


def test_another_key_of_the_same_project_sends_nothing(bench: Bench) -> None:
    """Between two jobs: a patient of both would have two names there, and dates that do not fit each other."""
    bench.holds(*slices(2))
    assert bench.run().outcome is Outcome.SUCCESS
    assert bench.ledger.key_id == MAPPED.key_id
    sent = set(bench.destination.holds)
    bench.ledger = MemoryLedger(key_id=bench.ledger.key_id)
    (bench.secrets / "deid-key" / "key").write_bytes(b"o" * 32)
    report = bench.run()
    assert [each.code for each in report.faults] == [FaultCode.DEIDENTIFICATION_UNAVAILABLE]
    told = str(report.faults[0])
    assert MAPPED.key_id in told
    assert Identity(b"o" * 32, "basic").key_id in told
    assert "another project" in told
    assert set(bench.destination.holds) == sent
    (bench.secrets / "deid-key" / "key").write_bytes(KEY)
    assert bench.run().outcome is Outcome.SUCCESS


def test_a_key_is_the_projects_before_anything_is_sent(bench: Bench) -> None:
    """Two jobs begin at once, and the other was faster."""
    bench.holds(*slices(2))
    ask = bench.ledger.project_key

    def project_key(claimed: str | None, now: datetime) -> str:
        told = ask(claimed, now)
        bench.ledger.key_id = bench.ledger.key_id or "another"
        return told

    bench.ledger.project_key = project_key  # type: ignore[method-assign]
    report = bench.run()
    assert report.outcome is not Outcome.SUCCESS
    assert bench.destination.holds == {}
    assert bench.ledger.key_id == "another"


def test_what_was_never_sent_binds_no_project_to_a_key(bench: Bench) -> None:
    screenshot = instance("deid", number=1, patient_id="PAT")
    screenshot.BurnedInAnnotation = "YES"
    bench.holds(of(screenshot))
    assert bench.run().outcome is not Outcome.SUCCESS
    assert bench.ledger.key_id == ""


def test_a_pseudonym_without_a_profile_is_refused() -> None:
    with pytest.raises(TransferFault) as caught:
        treatment_of(assignment(pseudonym="STROKE-001"), None, None)
    assert caught.value.fault.code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert "STROKE-001" not in str(caught.value)


def test_what_left_as_an_original_is_not_sent_again_under_another_name(bench: Bench) -> None:
    bench.holds(*slices(2))
    assert bench.run(profile=None).outcome is Outcome.SUCCESS
    report = bench.run(number=2)
    assert report.faults[0].code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert len(bench.destination.log) == 2


def test_a_node_that_takes_only_what_names_nobody_is_sent_no_original(bench: Bench) -> None:
    """Whoever claimed the attempt: the worker looks once more."""
    bench.holds(*slices(1))
    research = DicomNode.model_validate(
        {"metadata": {"name": "destination"}, "spec": {"accepts": "Deidentified", "folder": {"path": "/nowhere"}}}
    )
    report = bench.run(profile=None, destination=research)
    assert (report.outcome, report.faults[0].code) == (
        Outcome.PERMANENT_CONFIGURATION_FAULT,
        FaultCode.DEIDENTIFICATION_UNAVAILABLE,
    )
    keeping = PROFILE.model_dump(mode="json", by_alias=True, exclude_none=True)
    keeping["spec"]["overrides"] = [{"keyword": "PatientName", "action": "Keep"}]
    report = bench.run(profile=DeidProfile.model_validate(keeping), destination=research)
    assert report.faults[0].code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert (bench.source.queries, bench.destination.log) == ([], [])
    assert bench.run(destination=research).outcome is Outcome.SUCCESS
