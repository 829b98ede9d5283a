"""An attempt between two nodes in memory, run by the tests of attempts."""

from __future__ import annotations

import threading
from datetime import datetime

from adit.model.assignment import Report, Share
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord, InstanceState
from adit.transfer.attempt import run_attempt
from adit.transfer.patience import Patience
from tests.unit.transfer.memory_ledger import NOW, MemoryLedger, assignment
from tests.unit.transfer.memory_node import MemoryNode, study_of

V, S, E = InstanceState.VERIFIED, InstanceState.STORED, InstanceState.EXPECTED
NAMES = tuple(f"1.{number}" for number in range(12))


def row(uid: str, state: InstanceState, series: str = "1.2.3.1") -> InstanceRecord:
    return InstanceRecord(
        sop_instance_uid=uid, series_instance_uid=series, state=state, size=1, sha256="0" * 64, sop_class_uid="1.2"
    )


class Bench:
    """A source, a destination and a ledger, and an attempt between them."""

    def __init__(self, *names: str) -> None:
        self.source = MemoryNode("source", holds=study_of(*names))
        self.destination = MemoryNode("destination")
        self.ledger = MemoryLedger()
        self.stop = threading.Event()
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    def open(self, node: DicomNode, share: Share) -> MemoryNode:
        return self.source if node.metadata.name == "source" else self.destination

    def run(self, grace: float = 5, **changes: object) -> Report:
        patience = Patience(grace=grace, reopen=(0, 0, 0), ask_again=(0.01,), ledger=0.01)
        return run_attempt(
            self.ledger, self.open, assignment(**changes), clock=self.clock, stop=self.stop, patience=patience
        )

    def states(self) -> dict[str, InstanceState]:
        return {uid: row.state for uid, row in self.ledger.rows.items()}
