"""A ledger in memory with the worker's two calls, which can be away or answer with orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID

from adit.ledger.attempt_ledger import Directive
from adit.ledger.records import EventRecord
from adit.model.assignment import Assignment, Progress, Share
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord
from adit.model.treatment import TreatmentRecord
from tests.unit.transfer.memory_node import STUDY

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@dataclass
class MemoryLedger:
    rows: dict[str, InstanceRecord] = field(default_factory=dict)
    history: dict[str, list[InstanceRecord]] = field(default_factory=dict)
    events: list[EventRecord] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    treated: dict[str, TreatmentRecord] = field(default_factory=dict)
    writes: int = 0
    key_id: str = ""
    before_write: Callable[[int], None] | None = None  # may raise LedgerUnavailable or Fenced
    stop: bool = False

    def instances(self) -> list[InstanceRecord]:
        return list(self.rows.values())

    def treatments(self) -> list[TreatmentRecord]:
        return list(self.treated.values())

    def project_key(self, claimed: str | None, now: datetime) -> str:
        self.key_id = self.key_id or claimed or ""
        return self.key_id

    def write(
        self,
        records: Sequence[InstanceRecord],
        progress: Progress,
        events: Sequence[EventRecord],
        now: datetime,
        treatments: Sequence[TreatmentRecord],
    ) -> Directive:
        self.writes += 1
        if self.before_write is not None:
            self.before_write(self.writes)
        for record in records:
            self.rows[record.sop_instance_uid] = record
            self.history.setdefault(record.sop_instance_uid, []).append(record)
        self.events += events
        self.treated |= {record.digest: record for record in treatments}
        self.progress = progress
        return Directive(stop=self.stop)

    def codes(self) -> list[str]:
        return [event.code for event in self.events]


def node(name: str) -> DicomNode:
    return DicomNode.model_validate({"metadata": {"name": name}, "spec": {"folder": {"path": "/nowhere"}}})


def assignment(**changes: object) -> Assignment:
    values: dict[str, object] = {
        "attempt_id": 1,
        "token": UUID(int=1),
        "number": 1,
        "task_id": 7,
        "job_id": UUID(int=2),
        "job_name": "job",
        "namespace": "default",
        "owner": "default",
        "job_created_on": date(2026, 11, 22),
        "study_instance_uid": STUDY,
        "source": node("source"),
        "destination": node("destination"),
        "destination_share": Share(associations=2),
    }
    return Assignment.model_validate({**values, **changes})
