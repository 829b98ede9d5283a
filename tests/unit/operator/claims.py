"""What the dispatcher claims and what runs of it, as the tests of launching make them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from adit.ledger.records import Claim, RunningAttempt
from adit.model.assignment import Assignment
from adit.model.dicom_node import DicomNode
from adit_operator.worker_settings import WorkerSettings

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SETTINGS = WorkerSettings.model_validate(
    {
        "image": "registry.example.org/adit-worker:1",
        "database": {"secretName": "adit-database"},
        "sizeClasses": [
            {"name": "small", "upTo": "1Gi", "spool": "1Gi", "resources": {"limits": {"memory": "300Mi"}}},
            {"name": "large", "spool": "16Gi", "resources": {"limits": {"memory": "900Mi"}}},
        ],
        "pod": {"labels": {"team": "imaging", "adit.dev/attempt": "0"}, "nodeSelector": {"pool": "batch"}},
    }
)


def node(name: str, secret: str | None = None) -> DicomNode:
    tls = {} if secret is None else {"tls": {"secretName": secret}}
    dimse = {"aeTitle": name.upper(), "host": f"{name}.example.org", "port": 104, **tls}
    return DicomNode.model_validate({"metadata": {"name": name}, "spec": {"dimse": dimse}})


def claim(*, outgrown: int = 0, known_bytes: int = 0, secret: str | None = None, **values: Any) -> Claim:
    given: dict[str, Any] = {
        "attempt_id": 71,
        "token": UUID(int=5),
        "number": 3,
        "task_id": 12,
        "job_id": UUID(int=9),
        "job_name": "stroke-ct",
        "namespace": "research",
        "owner": "research",
        "job_created_on": date(2026, 3, 10),
        "study_instance_uid": "1.2.840.777.1",
        "patient_id": "PATIENT-4711",
        "series_instance_uids": ("1.2.840.777.1.5",),
        "source": node("pacs", secret),
        "destination": node("archive"),
    }
    return Claim(Assignment(**(given | values)), outgrown=outgrown, known_bytes=known_bytes)


def running(each: Claim, *, begun: bool = False, now: datetime = NOW) -> RunningAttempt:
    """The attempt at what was claimed, of which its worker has told nothing since."""
    assigned = each.assignment
    return RunningAttempt(
        attempt_id=assigned.attempt_id,
        token=assigned.token,
        number=assigned.number,
        task_id=assigned.task_id,
        job_id=assigned.job_id,
        namespace=assigned.namespace,
        claimed_at=now,
        begun_at=now if begun else None,
        heartbeat_at=now if begun else None,
        reference=None,
        stop_requested_at=None,
        deadline=None,
        terminate=False,
    )
