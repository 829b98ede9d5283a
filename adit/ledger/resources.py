"""Applying nodes, profiles and jobs: created, changed within the rules, or refused by naming the field.

The rules are those of the CRDs (`adit.model.transfer_job`), enforced here because there may be no API server.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar
from uuid import UUID, uuid4

from pydantic import ValidationError
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    Text,
    case,
    cast,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from adit.ledger.job_documents import RECORD_COLUMNS
from adit.ledger.records import Applied, LiveJob, NodeKey, ProfileKey
from adit.ledger.tables import job, node, profile, task
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.outcome import Fault
from adit.model.transfer_job import Cancel, TransferJob


class ResourceConflict(Exception):  # noqa: N818 - what the user asked for is in conflict with what is
    """A resource may not be changed like this; `field` is its path, `message` the rule and the cure."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


# --- what jobs name: nodes and profiles ---

Named = TypeVar("Named", DicomNode, DeidProfile)


def apply_node(connection: Connection, resource: DicomNode, now: datetime) -> Applied:
    # What was found of it was found of another node, as it were.
    return _apply(connection, node, resource, now, {"findings": None, "probe_asked_at": None})


def apply_profile(connection: Connection, resource: DeidProfile, now: datetime) -> Applied:
    return _apply(connection, profile, resource, now, {})


def _apply(
    connection: Connection, table: Table, resource: DicomNode | DeidProfile, now: datetime, anew: dict[str, Any]
) -> Applied:
    """`anew`: the columns that begin anew with another spec."""
    document = _document(resource)
    values: dict[str, Any] = {"document": document, "applied_at": now}
    namespace, name = resource.key
    created = insert(table).values(namespace=namespace, name=name, **values).on_conflict_do_nothing()
    if connection.execute(created.returning(table.c.name)).one_or_none() is not None:
        return Applied.CREATED
    where = _named(table, resource.key)
    known = connection.execute(select(table.c.document).where(where).with_for_update()).scalar_one()
    if known == document or _is_older(document, known):
        return Applied.UNCHANGED
    if known["spec"] != document["spec"]:
        values |= anew
    connection.execute(update(table).where(where).values(values))
    return Applied.CONFIGURED


def find_node(connection: Connection, key: NodeKey) -> DicomNode | None:
    return _find(connection, node, DicomNode, key)


def find_profile(connection: Connection, key: ProfileKey) -> DeidProfile | None:
    return _find(connection, profile, DeidProfile, key)


def all_nodes(connection: Connection) -> list[DicomNode]:
    return _all(connection, node, DicomNode)


def all_profiles(connection: Connection) -> list[DeidProfile]:
    return _all(connection, profile, DeidProfile)


def delete_node(connection: Connection, key: NodeKey, uid: str | None) -> bool:
    """What runs keeps the node that it started with. A `uid` leaves alone what was made anew under the name."""
    return _delete(connection, node, key, uid)


def delete_profile(connection: Connection, key: ProfileKey, uid: str | None) -> bool:
    """Jobs that have their tasks keep the profile that these were made with. Of `uid` as above."""
    return _delete(connection, profile, key, uid)


def _readable(model: type[Named], document: object) -> Named | None:
    """None for a resource that only a newer version can read: its jobs wait, as for one that is not there."""
    try:
        return model.model_validate(document)
    except ValidationError:
        return None


def _find(connection: Connection, table: Table, model: type[Named], key: tuple[str, str]) -> Named | None:
    document = connection.execute(select(table.c.document).where(_named(table, key))).scalar_one_or_none()
    return None if document is None else _readable(model, document)


def _all(connection: Connection, table: Table, model: type[Named]) -> list[Named]:
    query = select(table.c.document).order_by(table.c.namespace, table.c.name)
    found = (_readable(model, document) for document in connection.execute(query).scalars())
    return [each for each in found if each is not None]


def _delete(connection: Connection, table: Table, key: tuple[str, str], uid: str | None) -> bool:
    statement = delete(table).where(_named(table, key))
    if uid is not None:
        statement = statement.where(table.c.document[("metadata", "uid")].astext == uid)
    return connection.execute(statement).rowcount > 0


def _named(table: Table, key: tuple[str, str]) -> ColumnElement[bool]:
    return (table.c.namespace == key[0]) & (table.c.name == key[1])


# --- jobs ---


def apply_job(connection: Connection, resource: TransferJob, now: datetime, refusal: Fault | None) -> Applied:
    """Raises ResourceConflict; then nothing is changed."""
    uid = _uid(resource)
    if uid is not None and not _make_way(connection, resource.key, uid, now):
        return Applied.UNCHANGED
    if create_job(connection, resource, now, refusal):
        return Applied.CREATED
    row = connection.execute(select(job).where(*_live(resource.key)).with_for_update()).one()
    changed = _change(connection, row, resource)
    if refusal is not None and refuse(connection, row.id, refusal, now):
        changed = Applied.CONFIGURED
    return changed


def create_job(connection: Connection, resource: TransferJob, now: datetime, refusal: Fault | None = None) -> bool:
    """False, and nothing happens, if there is a job of that name."""
    namespace, name = resource.key
    created = (
        insert(job)
        .values(
            id=_uid(resource) or uuid4(),
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
        .on_conflict_do_nothing(index_elements=["namespace", "name"], index_where=job.c.deleted_at.is_(None))
    )
    return connection.execute(created.returning(job.c.id)).one_or_none() is not None


def edit_job(
    connection: Connection, key: tuple[str, str], edit: Callable[[TransferJob], TransferJob]
) -> TransferJob | None:
    """The job as `edit` made it from what it was; nobody else changes it meanwhile. None if there is none."""
    row = connection.execute(select(job).where(*_live(key)).with_for_update()).one_or_none()
    if row is None:
        return None
    resource = edit(TransferJob.model_validate(row.document))
    _change(connection, row, resource)
    return resource


def delete_job(connection: Connection, job_id: UUID, now: datetime) -> bool:
    """Its resource is gone: what runs is terminated, what waits is cancelled, the record stays. False if it knew."""
    document = func.jsonb_set(job.c.document, ["spec", "cancel"], func.to_jsonb(cast(str(Cancel.TERMINATE), Text)))
    open_ = job.c.ended_at.is_(None)
    statement = (
        update(job)
        .where(job.c.id == job_id, job.c.deleted_at.is_(None))
        .values(
            deleted_at=now,
            cancel=case((open_, str(Cancel.TERMINATE)), else_=job.c.cancel),
            document=case((open_, document), else_=job.c.document),
            revision=job.c.revision + 1,
        )
    )
    return connection.execute(statement).rowcount > 0


def live_jobs(connection: Connection) -> dict[UUID, LiveJob]:
    """Every job whose resource is there, as far as the ledger knows, by id."""
    query = select(job.c.id, job.c.namespace, job.c.ended_at).where(job.c.deleted_at.is_(None))
    return {row.id: LiveJob(row.namespace, row.ended_at is not None) for row in connection.execute(query)}


def _make_way(connection: Connection, key: tuple[str, str], uid: UUID, now: datetime) -> bool:
    """A resource of another uid has taken over the name: the old one is gone. False if it is this one that is."""
    if connection.execute(select(job.c.deleted_at).where(job.c.id == uid)).scalar_one_or_none() is not None:
        return False  # late news of a resource that was deleted
    other = connection.execute(select(job.c.id).where(*_live(key), job.c.id != uid)).scalar_one_or_none()
    if other is not None:
        delete_job(connection, other, now)
    return True


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
    """The job of that name, not those that once had it."""
    return select(*RECORD_COLUMNS).where(*_live(key))


def job_by_id_query(job_id: UUID) -> Select[Any]:
    return select(*RECORD_COLUMNS).where(job.c.id == job_id)


@cache
def unexpanded_query(limit: int) -> Select[Any]:
    """Accepted jobs without their (whole) list of tasks, oldest first."""
    waiting = (job.c.expanded_at.is_(None), job.c.ended_at.is_(None))
    return select(*RECORD_COLUMNS).where(*waiting).order_by(job.c.created_at, job.c.id).limit(limit)


def _change(connection: Connection, row: Row[Any], resource: TransferJob) -> Applied:
    document = _document(resource)
    if row.document == document or _is_older(document, row.document):
        return Applied.UNCHANGED
    check_change(TransferJob.model_validate(row.document), resource, finished=row.ended_at is not None)
    connection.execute(
        update(job)
        .where(job.c.id == row.id)
        .values(revision=job.c.revision + 1, **_changeable(resource, row.created_at))
    )
    return Applied.CONFIGURED


def _is_older(document: dict[str, Any], known: dict[str, Any]) -> bool:
    """Late news of the same resource: a list that was begun before an event, or a leader that was frozen."""
    new, old = document["metadata"], known["metadata"]
    if new.get("uid") is None or new.get("uid") != old.get("uid"):
        return False
    return (new.get("generation") or 0) < (old.get("generation") or 0)


def check_change(old: TransferJob, new: TransferJob, *, finished: bool) -> None:
    """Raises ResourceConflict where `new` breaks a transition rule. Values are not shown: they may name patients."""
    for field in ("source", "destination", "selection", "deidentification", "trial"):
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


def _document(resource: TransferJob | DicomNode | DeidProfile) -> dict[str, Any]:
    return resource.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)


def _live(key: tuple[str, str]) -> tuple[ColumnElement[bool], ...]:
    return job.c.namespace == key[0], job.c.name == key[1], job.c.deleted_at.is_(None)


def _uid(resource: TransferJob) -> UUID | None:
    """The API server's uid where there is one, so that ledger and cluster speak of the same job."""
    try:
        return UUID(resource.metadata.uid or "")
    except ValueError:
        return None
