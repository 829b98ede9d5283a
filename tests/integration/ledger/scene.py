"""A ledger with two nodes and jobs between them: what the ledger's tests begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.ledger import Ledger
from adit.ledger.records import EndedAttempt, Grant, JobRecord, Settlement, TaskSeed
from adit.model.assignment import Assignment, Progress, Report, Share
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import TaskState
from adit.model.transfer_job import TransferJob

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
LEASE = 30
SUCCESS = Settlement(TaskState.SUCCESS, message="All instances are proven to have arrived.")
LOST = Fault(code=FaultCode.LOST, message="The worker is gone.")
UNREACHABLE = Fault(code=FaultCode.NODE_UNREACHABLE, message="No connection.", node="pacs")
FAILURE = Settlement(TaskState.FAILURE, message="No connection.", fault=UNREACHABLE)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def node(name: str, host: str | None = None, **limits: Any) -> DicomNode:
    return DicomNode.model_validate(
        {
            "kind": "DicomNode",
            "metadata": {"name": name},
            "spec": {
                "dimse": {"aeTitle": name.upper(), "host": host or f"{name}.example.org", "port": 104},
                "limits": limits,
            },
        }
    )


def transfer_job(name: str = "ct", studies: Sequence[str] = ("1.2.1",), **spec: Any) -> TransferJob:
    return TransferJob.model_validate(
        {
            "kind": "TransferJob",
            "metadata": {"name": name},
            "spec": {
                "source": {"node": "pacs"},
                "destination": {"node": "research"},
                "selection": {"studies": [{"studyInstanceUID": uid, "patientID": "1003"} for uid in studies]},
                **spec,
            },
        }
    )


def seeds(job: TransferJob) -> list[TaskSeed]:
    return [
        TaskSeed(study.study_instance_uid, study.patient_id, study.series_instance_uids, study.pseudonym)
        for study in job.spec.selection.studies or ()
    ]


def row(uid: str, state: InstanceState = InstanceState.VERIFIED, **values: Any) -> InstanceRecord:
    return InstanceRecord(sop_instance_uid=uid, series_instance_uid="1.2.1.1", state=state, **values)


def report(outcome: Outcome = Outcome.SUCCESS, *faults: Fault) -> Report:
    return Report(outcome=outcome, faults=faults)


@dataclass
class Scene:
    """One ledger, its worker's URL, and short words for long ways."""

    ledger: Ledger
    worker_url: str

    def apply(self, job: TransferJob | None = None, now: datetime = NOW) -> JobRecord:
        """Nodes and job applied and expanded."""
        job = job or transfer_job()
        for name in ("pacs", "research"):
            self.ledger.apply_node(node(name), now)
        self.ledger.apply_job(job, now)
        record = self.record(job.metadata.name)
        if job.spec.selection.studies is not None:
            self.ledger.expand(record.id, seeds(job), now)
        return self.record(job.metadata.name)

    def record(self, name: str = "ct") -> JobRecord:
        record = self.ledger.job(("default", name))
        assert record is not None
        return record

    def claim(self, job_id: UUID, count: int = 1, now: datetime = NOW, **share: Any) -> list[Assignment]:
        grants = [Grant(job_id, Share(**share), Share(**share))] * count
        with self.ledger.admission(now) as admission:
            return [claim.assignment for claim in admission.claim(grants, LEASE)]

    def worker(self, assignment: Assignment) -> AttemptLedger:
        return AttemptLedger(self.worker_url, assignment.attempt_id, assignment.token)

    def attempt(
        self, assignment: Assignment, records: Sequence[InstanceRecord], outcome: Report, now: datetime = NOW
    ) -> EndedAttempt:
        """A worker's whole life: begin, write, finish."""
        worker = self.worker(assignment)
        try:
            worker.begin("worker-1", now)
            worker.write(records, Progress(), [], now)
            worker.finish(outcome, now)
        finally:
            worker.close()
        return next(ended for ended in self.ledger.ended(100) if ended.attempt_id == assignment.attempt_id)

    def run(
        self,
        job_id: UUID,
        settlement: Settlement = SUCCESS,
        records: Sequence[InstanceRecord] = (),
        outcome: Report | None = None,
        now: datetime = NOW,
    ) -> int:
        """The job's next task claimed, done and settled; its id."""
        assignment = self.claim(job_id, now=now)[0]
        instances = records or [row("1.2.1.1.1", size=10, sha256="ab", transfer_syntax_uid="1.2.840.10008.1.2.1")]
        self.attempt(assignment, instances, outcome or report(), now)
        assert self.ledger.settle(assignment.attempt_id, settlement, now)
        return assignment.task_id
