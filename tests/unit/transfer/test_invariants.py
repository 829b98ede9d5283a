"""Whatever source, destination and ledger do: no wrong green, nothing recorded sent again, and it ends well at last."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from adit.dicom.node import Deliver, FetchReport, Instance, Wanted
from adit.ledger.attempt_ledger import LedgerUnavailable
from adit.model.instance import InstanceState
from adit.model.outcome import FaultCode, Outcome
from adit.transfer.attempt import run_attempt
from adit.transfer.patience import Patience
from tests.unit.transfer.memory_ledger import NOW, MemoryLedger, assignment
from tests.unit.transfer.memory_node import MemoryInstance, MemoryNode, fault, send

HASTY = Patience(grace=0.05, reopen=(0, 0), ask_again=(0,), ledger=0.001)


@dataclass
class World:
    """Chances of mischief, drawn from one seeded source of chance; `calm` ends them."""

    seed: int
    instances: int
    mischief: frozenset[str]
    calm: bool = False
    random: Random = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        held = {f"1.{number}": MemoryInstance(f"1.{number}", f"1.2.3.{number % 3}") for number in range(self.instances)}
        self.source = MemoryNode("source", holds=held, on_fetch=self.fetch)
        self.destination = MemoryNode("destination", on_store=self.store, on_open=self.open)
        self.ledger = MemoryLedger(before_write=self.write)
        self.stop = threading.Event()

    def strikes(self, what: str, chance: float = 0.2) -> bool:
        with self.lock:
            return not self.calm and what in self.mischief and self.random.random() < chance

    def fetch(self, node: MemoryNode, wanted: Wanted, deliver: Deliver) -> FetchReport:
        chosen = node.chosen(wanted)
        with self.lock:
            self.random.shuffle(chosen)
        if self.strikes("fewer"):
            chosen = chosen[::2]
        if self.strikes("twice"):
            chosen = chosen * 2
        if self.strikes("stranger"):
            chosen = [MemoryInstance("9.9", study="9"), *chosen]
        if self.strikes("signal"):
            self.stop.set()
        cut = len(chosen) // 2 if self.strikes("abort") else len(chosen)
        report = send(chosen[:cut], deliver)
        if cut < len(chosen):
            raise fault(FaultCode.ASSOCIATION_ABORTED)
        return report

    def open(self, number: int) -> None:
        if self.strikes("unreachable"):
            raise fault(FaultCode.NODE_UNREACHABLE)

    def store(self, node: MemoryNode, instance: Instance) -> None:
        if self.strikes("refuse", 0.1):
            raise fault(FaultCode.OUT_OF_RESOURCES, instance.sop_instance_uid, 0xA700)
        if self.strikes("die", 0.1):
            raise fault(FaultCode.ASSOCIATION_ABORTED)
        with node.lock:
            node.lost.discard(instance.sop_instance_uid)
        if self.strikes("lose", 0.1):
            with node.lock:
                node.lost.add(instance.sop_instance_uid)

    def write(self, number: int) -> None:
        if self.strikes("ledger"):
            raise LedgerUnavailable("away")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    instances=st.integers(1, 30),
    mischief=st.frozensets(
        st.sampled_from(
            ["fewer", "twice", "stranger", "signal", "abort", "unreachable", "refuse", "die", "lose", "ledger"]
        )
    ),
    associations=st.integers(1, 3),
)
def test_attempts_converge_and_never_lie(
    seed: int, instances: int, mischief: frozenset[str], associations: int
) -> None:
    world = World(seed, instances, mischief)
    for number in range(1, 6):
        world.calm = number == 5
        world.stop.clear()
        recorded = {
            uid for uid, row in world.ledger.rows.items() if row.state in (InstanceState.STORED, InstanceState.VERIFIED)
        }
        before = len(world.destination.log)
        report = run_attempt(
            world.ledger,
            lambda node, share: world.source if node.metadata.name == "source" else world.destination,
            assignment(number=number, destination_share={"associations": associations}),
            clock=lambda: NOW,
            stop=world.stop,
            patience=HASTY,
        )
        sent = Counter(world.destination.log[before:])
        assert not recorded & set(sent), "what was recorded as stored was sent again"
        assert max(sent.values(), default=0) <= 1, "something acknowledged was sent again in the same attempt"
        verified = {uid for uid, row in world.ledger.rows.items() if row.state is InstanceState.VERIFIED}
        assert verified <= set(world.destination.holds), "something is called verified that is not there"
        assert report.outcome is not Outcome.BUG, report.faults
        if report.outcome is Outcome.SUCCESS:
            assert verified == set(world.source.holds), "a wrong green"
            assert not report.warnings or "stranger" in mischief, "what we sent ourselves is taken for held before"
            break
        assert report.faults, "an end without a reason"
    assert report.outcome is Outcome.SUCCESS
