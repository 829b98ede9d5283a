"""Applying DicomNodes and TransferJobs: created, changed within the rules, or refused by naming the field.

The rules are those of the CRDs (`adit.model.transfer_job`), enforced here because there may be no API server.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, Select, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from adit.ledger.job_documents import RECORD_COLUMNS
from adit.ledger.records import Applied, NodeKey
from adit.ledger.tables import job, node, task
from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault
from adit.model.transfer_job import Cancel, TransferJob


class ResourceConflict(Exception):  # noqa: N818 - what the user asked for is in conflict with what is
    """A resource may not be changed like this; `field` is its path, `message` the rule and the cure."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


# --- nodes ---


def apply_node(connection: Connection, resource: DicomNode, now: datetime) -> Applied:
    document = _document(resource)
    values = {"document": document, "applied_at": now}
    namespace, name = resource.key
    created = insert(node).values(namespace=namespace, name=name, **values).on_conflict_do_nothing()
    if connection.execute(created.returning(node.c.name)).one_or_none() is not None:
        return Applied.CREATED
    where = (node.c.namespace == namespace) & (node.c.name == name)
    if connection.execute(select(node.c.document).where(where).with_for_update()).scalar_one() == document:
        return Applied.UNCHANGED
    connection.execute(update(node).where(where).values(values))
    return Applied.CONFIGURED


def find_node(connection: Connection, key: NodeKey) -> DicomNode | None:
    query = select(node.c.document).where(node.c.namespace == key[0], node.c.name == key[1])
    document = connection.execute(query).scalar_one_or_none()
    return None if document is None else DicomNode.model_validate(document)


def all_nodes(connection: Connection) -> list[DicomNode]:
    query = select(node.c.document).order_by(node.c.namespace, node.c.name)
    return [DicomNode.model_validate(document) for document in connection.execute(query).scalars()]


# --- jobs ---


def apply_job(connection: Connection, resource: TransferJob, now: datetime, refusal: Fault | None) -> Applied:
    """Raises ResourceConflict; then nothing is changed."""
    namespace, name = resource.key
    created = (
        insert(job)
        .values(
            id=_identity(resource),
            namespace=namespace,
            name=name,
            owner=resource.owner,
            source=resource.spec.source.node,
            destination=resource.spec.destination.node,
            created_at=now,
            created_on=now.astimezone(UTC).date(),
            refusal=None if refusal is None else refusal.model_dump(mode="json"),
            ended_at=None if refusal is None else now,
            **_changeable(resource, now),
        )
        .on_conflict_do_nothing(constraint="job_namespace_name_key")
    )
    if connection.execute(created.returning(job.c.id)).one_or_none() is not None:
        return Applied.CREATED
    where = (job.c.namespace == namespace) & (job.c.name == name)
    row = connection.execute(select(job).where(where).with_for_update()).one()
    changed = _change(connection, row, resource)
    if refusal is not None and refuse(connection, row.id, refusal, now):
        changed = Applied.CONFIGURED
    return changed


def refuse(connection: Connection, job_id: UUID, fault: Fault, now: datetime) -> bool:
    """The job will never run. False, and nothing happens, if it has tasks, has ended or was refused before."""
    started = exists().where(task.c.job_id == job_id)
    statement = (
        update(job)
        .where(job.c.id == job_id, job.c.expanded_at.is_(None), job.c.ended_at.is_(None), ~started)
        .values(refusal=fault.model_dump(mode="json"), ended_at=now)
    )
    return connection.execute(statement).rowcount > 0


def jobs_query(*, limit: int) -> Select[Any]:
    """Newest first."""
    return select(*RECORD_COLUMNS).order_by(job.c.created_at.desc(), job.c.id).limit(limit)


def job_query(key: tuple[str, str]) -> Select[Any]:
    return select(*RECORD_COLUMNS).where(job.c.namespace == key[0], job.c.name == key[1])


def unexpanded_query(limit: int) -> Select[Any]:
    """Accepted jobs without their (whole) list of tasks, oldest first."""
    waiting = (job.c.expanded_at.is_(None), job.c.ended_at.is_(None))
    return select(*RECORD_COLUMNS).where(*waiting).order_by(job.c.created_at, job.c.id).limit(limit)


def _change(connection: Connection, row: Row[Any], resource: TransferJob) -> Applied:
    document = _document(resource)
    if row.document == document:
        return Applied.UNCHANGED
    check_change(TransferJob.model_validate(row.document), resource, finished=row.ended_at is not None)
    connection.execute(
        update(job)
        .where(job.c.id == row.id)
        .values(revision=job.c.revision + 1, **_changeable(resource, row.created_at))
    )
    return Applied.CONFIGURED


def check_change(old: TransferJob, new: TransferJob, *, finished: bool) -> None:
    """Raises ResourceConflict where `new` breaks a transition rule. Values are not shown: they may name patients."""
    for field in ("source", "destination", "selection", "trial"):
        if getattr(old.spec, field) != getattr(new.spec, field):
            raise ResourceConflict(
                f"spec.{field}", f"{field} cannot be changed; give the job another name to make a new one"
            )
    if old.owner != new.owner:
        raise ResourceConflict("spec.owner", "owner cannot be changed; it is part of the names of folders")
    if old.spec.cancel is not None and new.spec.cancel not in (old.spec.cancel, Cancel.TERMINATE):
        raise ResourceConflict("spec.cancel", "cancel is set once: unset, Drain, Terminate, never back")
    if finished:
        for field in ("priority", "parallelism", "retry"):
            if getattr(old.spec, field) != getattr(new.spec, field):
                raise ResourceConflict(
                    f"spec.{field}", "a finished job is frozen; make a new one with selection.failedOf"
                )


def _changeable(resource: TransferJob, created_at: datetime) -> dict[str, Any]:
    """The columns that follow the document."""
    spec = resource.spec
    seconds = spec.deadline_seconds
    return {
        "document": _document(resource),
        "suspend": bool(spec.suspend),
        "cancel": spec.cancel,
        "deadline": None if seconds is None else created_at + timedelta(seconds=seconds),
        "instances_seconds": spec.retention.instances_seconds,
    }


def _document(resource: TransferJob | DicomNode) -> dict[str, Any]:
    return resource.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)


def _identity(resource: TransferJob) -> UUID:
    """The API server's uid where there is one, so that ledger and cluster speak of the same job."""
    try:
        return UUID(resource.metadata.uid or "")
    except ValueError:
        return uuid4()
