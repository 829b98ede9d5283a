"""Nodes, jobs and records for the dispatch tests, each with the few facts that a test cares about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from adit.ledger.records import AdmissionSnapshot, Candidate, EndedAttempt, JobRecord, NodeLoad
from adit.model.assignment import Report
from adit.model.dicom_node import DicomNode, DicomNodeSpec, Dimse, Folder, Limits, Service, Window
from adit.model.dicom_web import DicomWeb, WebService
from adit.model.outcome import Fault, Outcome
from adit.model.resource import ObjectMeta
from adit.model.transfer_job import (
    Cancel,
    DestinationReference,
    JobReference,
    Priority,
    ProfileReference,
    Retry,
    Selection,
    SourceReference,
    StudySelection,
    TransferJob,
    TransferJobSpec,
    Trial,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
NAMESPACE = "default"
STUDY = "1.2.840.1"


def dimse_node(name: str, services: tuple[Service, ...] | None = None, limits: Limits | None = None) -> DicomNode:
    peer = Dimse(ae_title="PEER", host="pacs.example.org", port=104)
    if services is not None:
        peer = Dimse(ae_title="PEER", host="pacs.example.org", port=104, services=services)
    return DicomNode(metadata=ObjectMeta(name=name), spec=DicomNodeSpec(dimse=peer, limits=limits or Limits()))


def web_node(name: str, *services: WebService) -> DicomNode:
    server = DicomWeb(url="https://pacs.example.org", services=services or tuple(WebService))
    return DicomNode(metadata=ObjectMeta(name=name), spec=DicomNodeSpec(dicom_web=server))


def two_faced_node(name: str, dimse: tuple[Service, ...], web: tuple[WebService, ...]) -> DicomNode:
    peer = Dimse(ae_title="PEER", host="pacs.example.org", port=104, services=dimse)
    server = DicomWeb(url="https://pacs.example.org", services=web)
    return DicomNode(metadata=ObjectMeta(name=name), spec=DicomNodeSpec(dimse=peer, dicom_web=server))


def folder_node(name: str, limits: Limits | None = None, windows: tuple[Window, ...] = ()) -> DicomNode:
    spec = DicomNodeSpec(folder=Folder(path=f"/data/{name}"), limits=limits or Limits(), windows=windows)
    return DicomNode(metadata=ObjectMeta(name=name), spec=spec)


def transfer_job(
    name: str = "job",
    *,
    source: str = "pacs",
    destination: str = "research",
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
    parallelism: int = 10,
    retry: Retry | None = None,
    deadline_seconds: int | None = None,
    cancel: Cancel | None = None,
    studies: tuple[StudySelection, ...] | None = None,
    failed_of: str | None = None,
    trial: Trial | None = None,
    direct: bool = False,
    profile: str | None = None,
) -> TransferJob:
    if failed_of is not None:
        selection = Selection(failed_of=JobReference(name=failed_of))
    else:
        selection = Selection(studies=studies or (StudySelection(study_instance_uid=STUDY),))
    return TransferJob(
        metadata=ObjectMeta(name=name, namespace=NAMESPACE),
        spec=TransferJobSpec(
            source=SourceReference(node=source, direct=direct),
            destination=DestinationReference(node=destination),
            selection=selection,
            owner=owner,
            priority=priority,
            parallelism=parallelism,
            retry=retry or Retry(),
            deadline_seconds=deadline_seconds,
            cancel=cancel,
            trial=trial,
            deidentification=None if profile is None else ProfileReference(profile=profile),
        ),
    )


def job_record(number: int, job: TransferJob, *, age_seconds: float = 0, ended: bool = False) -> JobRecord:
    created_at = NOW - timedelta(seconds=age_seconds)
    return JobRecord(UUID(int=number), job, created_at, created_at, NOW if ended else None, None)


def candidate(number: int, job: TransferJob, *, due: int = 1, running: int = 0, age_seconds: float = 0) -> Candidate:
    namespace = job.metadata.namespace
    return Candidate(
        record=job_record(number, job, age_seconds=age_seconds),
        due=due,
        running=running,
        source=(namespace, job.spec.source.node),
        destination=(namespace, job.spec.destination.node),
    )


def load(
    node: DicomNode,
    *,
    tasks: int = 0,
    associations: int | None = None,
    queries_per_second: float = 0,
    bytes_per_second: int = 0,
) -> NodeLoad:
    held = tasks if associations is None else associations
    return NodeLoad(node, tasks, held, queries_per_second, bytes_per_second)


def snapshot(
    *candidates: Candidate,
    loads: tuple[NodeLoad, ...],
    owner_running: dict[str, int] | None = None,
    total_running: int = 0,
    now: datetime = NOW,
) -> AdmissionSnapshot:
    return AdmissionSnapshot(
        now, candidates, {load.node.key: load for load in loads}, owner_running or {}, total_running
    )


def ended_attempt(
    outcome: Outcome,
    *faults: Fault,
    warnings: tuple[Fault, ...] = (),
    job: TransferJob | None = None,
    number: int = 1,
    counted_attempts: int = 1,
    infrastructure_faults: int = 0,
    bugs: int = 0,
    unstarted: int = 0,
    expected: int = 3,
    verified: int = 3,
    stored: int = 3,
    faulty: int = 0,
    earlier_warnings: tuple[Fault, ...] = (),
    job_age_seconds: float = 0,
) -> EndedAttempt:
    return EndedAttempt(
        attempt_id=1,
        task_id=1,
        job_id=UUID(int=1),
        number=number,
        report=Report(outcome=outcome, faults=faults, warnings=warnings),
        counted_attempts=counted_attempts,
        infrastructure_faults=infrastructure_faults,
        bugs=bugs,
        unstarted=unstarted,
        job=job or transfer_job(),
        job_created_at=NOW - timedelta(seconds=job_age_seconds),
        expected=expected,
        verified=verified,
        stored=stored,
        faulty=faulty,
        earlier_warnings=earlier_warnings,
    )
