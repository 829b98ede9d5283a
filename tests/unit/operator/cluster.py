"""An API server and a ledger that count what is asked of them; what they hold is set by the test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from dataclasses import replace as with_values
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from adit.ledger.ledger import Ledger, LedgerUnavailable
from adit.ledger.records import JobRecord, JobStage, JobSummary, RunningAttempt
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings
from adit.model.state import TaskState
from adit_operator.cluster_events import ClusterEvents
from adit_operator.kubernetes_api import ApiRefused, Kind, KubernetesApi, Refusal
from adit_operator.status_writer import StatusWriter
from tests.unit.model.specs import JOB
from tests.unit.operator.views import NOW, summary

Body = dict[str, Any]


@dataclass
class CountingApi:
    refusal: Refusal | None = None
    applied: list[tuple[str, Body]] = field(default_factory=list)  # uid and status
    events: dict[str, Body] = field(default_factory=dict)
    tried: int = 0

    def apply_status(self, kind: Kind, namespace: str, name: str, status: Body, *, uid: str | None = None) -> Body:
        self._refuse()
        assert uid is not None
        self.applied.append((uid, json.loads(json.dumps(status))))
        return {}

    def create(self, kind: Kind, namespace: str, body: Body) -> Body:
        self._refuse()
        if body["metadata"]["name"] in self.events:
            raise ApiRefused("create events", Refusal.ALREADY_EXISTS, code=409)
        self.events[body["metadata"]["name"]] = body
        return body

    def _refuse(self) -> None:
        self.tried += 1
        if self.refusal is not None:
            raise ApiRefused("do it", self.refusal, retry_after=None)

    def told(self) -> list[str]:
        return [body["reason"] for body in self.events.values()]


@dataclass
class CountingLedger:
    summaries: dict[UUID, JobSummary] = field(default_factory=dict)
    attempts: Counter[UUID] = field(default_factory=Counter)
    known_nodes: list[DicomNode] = field(default_factory=list)
    known_profiles: list[DeidProfile] = field(default_factory=list)
    known_findings: dict[tuple[str, str], Findings] = field(default_factory=dict)
    away: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    asked_of: Counter[UUID] = field(default_factory=Counter)

    def summary(self, job_id: UUID) -> JobSummary:
        self._ask("summary")
        self.asked_of[job_id] += 1
        return self.summaries[job_id]

    def stages(self, job_ids: Collection[UUID]) -> dict[UUID, JobStage]:
        self._ask("stages")
        return {
            job_id: JobStage(
                told.record.job.metadata.generation or 0,
                told.record.expanded_at is not None,
                told.record.ended_at is not None,
            )
            for job_id in job_ids
            if (told := self.summaries.get(job_id)) is not None
        }

    def running(self) -> list[RunningAttempt]:
        self._ask("running")
        return [_Attempt(job_id) for job_id, count in self.attempts.items() for _ in range(count)]  # type: ignore[misc]

    def findings(self) -> dict[tuple[str, str], Findings]:
        return self.known_findings

    def nodes(self) -> list[DicomNode]:
        self._ask("nodes")
        return self.known_nodes

    def profiles(self) -> list[DeidProfile]:
        self._ask("profiles")
        return self.known_profiles

    def job(self, key: tuple[str, str]) -> JobRecord | None:
        self._ask("job")
        return None

    def selection(self, namespace: str, reference: object) -> None:
        self._ask("selection")

    def _ask(self, what: str) -> None:
        if self.away:
            raise LedgerUnavailable("away")
        self.asked[what] += 1


@dataclass(frozen=True)
class _Attempt:
    job_id: UUID


@dataclass
class Cluster:
    """A writer, and what it speaks to."""

    api: CountingApi = field(default_factory=CountingApi)
    ledger: CountingLedger = field(default_factory=CountingLedger)
    writer: StatusWriter = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        api = cast(KubernetesApi, self.api)
        self.writer = StatusWriter(cast(Ledger, self.ledger), api, ClusterEvents(api, "operator-0"))

    def job(
        self, number: int, told: JobSummary | None = None, *, status: Body | None = None, generation: int = 1
    ) -> str:
        """A job in the ledger and the cluster, shown to the writer; its uid."""
        job_id = UUID(int=number)
        if told is not None:
            self.set(number, told)
        body = job_body(number, status, generation)
        asked = None if told is None else told.record.job.spec.deidentification
        if asked is not None:
            body["spec"] = body["spec"] | {"deidentification": {"profile": asked.profile}}
        self.writer.seen(body)
        return str(job_id)

    def set(self, number: int, told: JobSummary) -> None:
        job_id = UUID(int=number)
        self.ledger.summaries[job_id] = with_values(told, record=with_values(told.record, id=job_id))

    def status(self, uid: str) -> Body:
        return next(status for at, status in reversed(self.api.applied) if at == uid)

    def writes(self, uid: str) -> int:
        return sum(at == uid for at, _ in self.api.applied)


def job_body(number: int, status: Body | None = None, generation: int = 1) -> Body:
    return {
        "apiVersion": "adit.dev/v1alpha1",
        "kind": "TransferJob",
        "metadata": {
            "name": f"job-{number}",
            "namespace": "default",
            "uid": str(UUID(int=number)),
            "generation": generation,
        },
        "spec": JOB,
        "status": status or {"observedGeneration": -1},
    }


def node_body(name: str, number: int, status: Body | None = None) -> Body:
    metadata = {"name": name, "namespace": "default", "uid": str(UUID(int=number)), "generation": 1}
    return {"kind": "DicomNode", "metadata": metadata, "spec": {}, "status": status or {"observedGeneration": -1}}


def profile_body(name: str, number: int, status: Body | None = None, generation: int = 1) -> Body:
    metadata = {"name": name, "namespace": "default", "uid": str(UUID(int=number)), "generation": generation}
    return {"kind": "DeidProfile", "metadata": metadata, "spec": {}, "status": status or {"observedGeneration": -1}}


def running(done: int, *, bytes_each: int = 100) -> JobSummary:
    tasks = {TaskState.IN_PROGRESS: 1000 - done, TaskState.SUCCESS: done}
    return summary(tasks, instances=(done, done), stored_bytes=done * bytes_each)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)
