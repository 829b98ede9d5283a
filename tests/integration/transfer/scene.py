"""One task between two real nodes in a real ledger: claimed, run here or as a process, tried again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from adit.dicom.folder import JobFolder
from adit.dicom.node import Node
from adit.dicom.opening import open_node
from adit.dicom.payload import Spool
from adit.ledger.attempt_ledger import AttemptLedger
from adit.ledger.ledger import Ledger
from adit.ledger.records import EventRecord, Grant, Settlement, TaskSeed
from adit.model.assignment import Assignment, Report, Share
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode
from adit.model.state import TaskState
from adit.model.transfer_job import TransferJob
from adit.transfer.attempt import run_attempt
from adit.transfer.patience import Patience
from adit_worker.mailboxes import LedgerMailboxes

HASTY = Patience(reopen=(0.1, 0.2), ask_again=(0.1,))


class Peer(Protocol):
    """Orthanc, Storescp or ScriptedSCP."""

    aet: str
    host: str
    dicom_port: int


def now() -> datetime:
    return datetime.now(UTC)


def dimse(name: str, peer: Peer, **spec: Any) -> DicomNode:
    timeouts = {"connectSeconds": 5, "acseSeconds": 10, "dimseSeconds": 20, "networkSeconds": 20}
    place = {"aeTitle": peer.aet, "host": peer.host, "port": peer.dicom_port, "timeouts": timeouts, **spec}
    return DicomNode.model_validate({"kind": "DicomNode", "metadata": {"name": name}, "spec": {"dimse": place}})


def folder(name: str, path: Path) -> DicomNode:
    return DicomNode.model_validate(
        {"kind": "DicomNode", "metadata": {"name": name}, "spec": {"folder": {"path": str(path)}}}
    )


def s3(name: str, bucket: str, endpoint: str, **spec: Any) -> DicomNode:
    """With the access key of the Secret `owner`."""
    place = {"bucket": bucket, "endpoint": endpoint, "credentials": {"secretName": "owner"}, **spec}
    return DicomNode.model_validate({"kind": "DicomNode", "metadata": {"name": name}, "spec": {"s3": place}})


@dataclass
class Scene:
    """Makes a job with one task. The peers' nodes are called source and destination."""

    ledger: Ledger
    worker_url: str
    tmp: Path
    lease: int = 30
    associations: int = 2
    probes: bool = False  # whether the first attempt probes the nodes, as it does where nothing is known of them
    secrets: Path | None = None
    processes: list[Worker] = field(default_factory=list)

    def task(
        self,
        source: DicomNode,
        destination: DicomNode,
        study: str,
        *,
        patient_id: str | None = None,
        series: Sequence[str] | None = None,
        direct: bool = False,
        pseudonym: str | None = None,
        profile: DeidProfile | None = None,
        archive: dict[str, str] | None = None,
        **spec: Any,
    ) -> Task:
        for node in (source, destination):
            self.ledger.apply_node(node, now())
            if not self.probes and node.spec.services is not None:
                self.ledger.note_probe(node, [str(service) for service in node.spec.services], now())
        chosen: dict[str, Any] = {"studyInstanceUID": study}
        if patient_id is not None:
            chosen["patientID"] = patient_id
        if series is not None:
            chosen["seriesInstanceUIDs"] = list(series)
        if profile is not None:
            spec["deidentification"] = {"profile": profile.metadata.name}
        job = TransferJob.model_validate(
            {
                "kind": "TransferJob",
                "metadata": {"name": "job"},
                "spec": {
                    "source": {"node": source.metadata.name, "direct": direct},
                    "destination": {"node": destination.metadata.name, "archive": archive},
                    "selection": {"studies": [chosen]},
                    **spec,
                },
            }
        )
        self.ledger.apply_job(job, now())
        record = self.ledger.job(("default", "job"))
        assert record is not None
        seed = TaskSeed(study, patient_id, None if series is None else tuple(series), pseudonym)
        self.ledger.expand(record.id, [seed], now(), profile)
        return Task(self, record.id)

    def key(self, secret: str = "deid-key", key: bytes = b"k" * 32) -> None:
        """The project's key, where workers look for it."""
        self.secrets = self.secrets or self.tmp / "secrets"
        (self.secrets / secret).mkdir(parents=True, exist_ok=True)
        (self.secrets / secret / "key").write_bytes(key)


@dataclass
class Task:
    """The scene's task; each `claim` is its next attempt."""

    scene: Scene
    job_id: Any

    def claim(self) -> Assignment:
        grant = Grant(self.job_id, Share(), Share(associations=self.scene.associations))
        with self.scene.ledger.admission(now()) as admission:
            [claim] = admission.claim([grant], self.scene.lease)
        return claim.assignment

    def run(self, *, stop: threading.Event | None = None, again: bool = False) -> Report:
        """An attempt in this process, with everything real."""
        assignment = self.claim()
        with self._begun(assignment) as (ledger, open_here):
            report = run_attempt(
                ledger,
                open_here,
                assignment,
                clock=now,
                stop=stop or threading.Event(),
                secrets=self.scene.secrets,
                patience=HASTY,
            )
            ledger.finish(report, now())
        if again:
            self.again(assignment)
        return report

    @contextmanager
    def source_node(self) -> Iterator[Node]:
        """The source as an attempt sees it, while the attempt is open."""
        assignment = self.claim()
        with self._begun(assignment) as (_, open_here):
            yield open_here(assignment.source, assignment.source_share)

    @contextmanager
    def _begun(self, assignment: Assignment) -> Iterator[tuple[AttemptLedger, Callable[[DicomNode, Share], Node]]]:
        ledger = AttemptLedger(self.scene.worker_url, assignment.attempt_id, assignment.token)
        job = JobFolder.of(assignment)

        def open_here(node: DicomNode, share: Share) -> Node:
            mailboxes = LedgerMailboxes(ledger, "127.0.0.1", 0, now)
            spool = Spool(self.scene.tmp)
            return open_node(node, share, secrets=self.scene.secrets, spool=spool, job=job, mailboxes=mailboxes)

        try:
            ledger.begin("test", now())
            yield ledger, open_here
        finally:
            ledger.close()

    def start(self) -> Worker:
        """An attempt as the launcher starts it."""
        worker = Worker(self.scene, self.claim())
        self.scene.processes.append(worker)
        return worker

    def lost(self, assignment: Assignment) -> None:
        """Declares the attempt lost and makes its task due again, as the dispatcher does."""
        [running] = self.scene.ledger.running()
        fault = Fault(code=FaultCode.LOST, message="The worker is gone.")
        assert self.scene.ledger.declare_lost(
            assignment.attempt_id, seen_heartbeat=running.heartbeat_at, fault=fault, now=now()
        )
        self.again(assignment)

    def again(self, assignment: Assignment) -> None:
        """Makes the task of an ended attempt due again."""
        settlement = Settlement(TaskState.PENDING, not_before=now(), message="again")
        assert self.scene.ledger.settle(assignment.attempt_id, settlement, now())

    @property
    def id(self) -> int:
        [task] = self.scene.ledger.tasks(self.job_id)
        return task.id

    def rows(self) -> dict[str, InstanceRecord]:
        return {row.sop_instance_uid: row for row in self.scene.ledger.instances(self.id)}

    def states(self) -> dict[str, InstanceState]:
        return {uid: row.state for uid, row in self.rows().items()}

    def count(self, *states: InstanceState) -> int:
        counted = Counter(self.states().values())
        return sum(counted[state] for state in states)

    def events(self) -> list[EventRecord]:
        return self.scene.ledger.events(self.id)

    def codes(self) -> list[str]:
        return [event.code for event in self.events()]


class Worker:
    """`python -m adit_worker`, its log in a file of the scene's folder."""

    def __init__(self, scene: Scene, assignment: Assignment, **environment: str) -> None:
        self.assignment = assignment
        self.log = scene.tmp / f"worker-{assignment.attempt_id}.log"
        given = {
            "ADIT_ATTEMPT": str(assignment.attempt_id),
            "ADIT_ATTEMPT_TOKEN": str(assignment.token),
            "ADIT_DATABASE_URL": scene.worker_url,
            "ADIT_SPOOL": str(scene.tmp),
            "ADIT_RELAY_HOST": "127.0.0.1",
            "MALLOC_ARENA_MAX": "2",
        } | ({} if scene.secrets is None else {"ADIT_SECRETS": str(scene.secrets)})
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "adit_worker"],
                env={**os.environ, **given, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait(self, seconds: float = 60) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def scene_of(ledger: Ledger, worker_url: str, tmp: Path) -> Iterator[Scene]:
    scene = Scene(ledger, worker_url, tmp)
    try:
        yield scene
    finally:
        for worker in scene.processes:
            worker.kill()
