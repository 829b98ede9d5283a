"""A destination that shows what it is given as a whole: only a whole is sealed, and only then it counts as stored."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import pytest

from adit.dicom.node import Instance, Stored
from adit.ledger.attempt_ledger import Fenced
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import FaultCode, Outcome
from tests.unit.transfer.bench import Bench
from tests.unit.transfer.memory_node import MemoryInstance, MemoryNode, MemoryStore, element, fault, send, study_of

NAMES = tuple(f"1.2.3.1.{n}" for n in range(6))


@dataclass
class SealingNode(MemoryNode):
    """Holds nothing before it is sealed; then what was stored, and nothing else."""

    verifies_content: bool = True
    wrong: FaultCode | None = None  # what `seal` meets
    sealed: int = 0
    discarded: int = 0
    draft: MemoryNode = field(default_factory=MemoryNode)

    def open_store(self, sop_class_uids: Collection[str]) -> MemoryStore:
        return HoldingBack(self.draft)

    def seal(self) -> None:
        if self.wrong is not None:
            raise fault(self.wrong)
        self.sealed += 1
        self.holds = dict(self.draft.holds)

    def discard(self) -> None:
        self.discarded += 1


class HoldingBack(MemoryStore):
    def store(self, instance: Instance) -> Stored:
        return replace(super().store(instance), held_back=True)


class SealingBench(Bench):
    def __init__(self) -> None:
        super().__init__(*NAMES)
        self.sealing = self.destination = SealingNode("destination")

    def there_are(self, *names: str) -> None:
        """As an attempt left them that ended between the seal and its report."""
        self.sealing.holds = study_of(*names)
        for uid in names:
            stored = InstanceRecord(
                sop_instance_uid=uid, series_instance_uid="1.2.3.1", state=InstanceState.STORED, sha256="0", size=1
            )
            self.ledger.rows[uid] = stored


def test_a_whole_is_sealed_once_and_counts_from_then_on() -> None:
    bench = SealingBench()
    report = bench.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert set(bench.states().values()) == {InstanceState.VERIFIED}
    assert (bench.sealing.sealed, report.progress.stored) == (1, 6)


@pytest.mark.parametrize("lacks", ["one that is listed", "one that is announced"])
def test_what_is_not_whole_is_not_sealed(lacks: str) -> None:
    bench = SealingBench()
    if lacks == "one that is listed":
        bench.source.on_fetch = lambda node, wanted, deliver: send(node.chosen(wanted)[:2], deliver)
    else:
        bench.source.announced = 7
    report = bench.run()
    assert report.outcome is Outcome.PARTIAL
    assert (bench.sealing.sealed, bench.sealing.discarded, report.progress.stored) == (0, 1, 0)
    assert bench.states().keys() == set(NAMES)
    assert InstanceState.STORED not in bench.states().values()
    assert "NotSealed" in bench.ledger.codes()
    bench.source.on_fetch, bench.source.announced = None, None
    assert bench.run().outcome is Outcome.SUCCESS


def test_a_second_copy_with_other_content_keeps_it_from_being_sealed() -> None:
    bench = SealingBench()
    other = MemoryInstance(NAMES[0], content=element(b"other"))
    bench.source.on_fetch = lambda node, wanted, deliver: send([*node.holds.values(), other], deliver)
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.INSTANCE_CONFLICT)
    assert bench.sealing.sealed == 0


def test_what_was_sealed_and_not_reported_is_proven_and_not_sent_again() -> None:
    bench = SealingBench()
    bench.there_are(*NAMES)
    assert bench.run().outcome is Outcome.SUCCESS
    assert (bench.sealing.sealed, bench.source.wanted) == (0, [])


def test_to_what_was_sealed_nothing_can_be_added() -> None:
    bench = SealingBench()
    bench.there_are(*NAMES[:4])
    assert bench.run().outcome is Outcome.SUCCESS
    assert bench.sealing.holds.keys() == set(NAMES)
    assert sorted(bench.sealing.draft.log) == sorted(NAMES)


def test_a_seal_that_fails_leaves_nothing_stored() -> None:
    bench = SealingBench()
    bench.sealing.wrong = FaultCode.DISK_FULL
    report = bench.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.DISK_FULL)
    assert set(bench.states().values()) == {InstanceState.RECEIVED}
    assert bench.sealing.discarded == 1


def test_an_attempt_that_was_declared_lost_seals_nothing() -> None:
    bench = SealingBench()

    def fence(writes: int) -> None:
        if len(bench.sealing.draft.log) == len(NAMES):
            raise Fenced

    bench.ledger.before_write = fence
    assert bench.run().outcome is not Outcome.SUCCESS
    assert bench.sealing.sealed == 0
