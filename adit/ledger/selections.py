"""Selections that the facade was given: written once, read by expansion page by page, gone when never used.

They may name patients. They stay in the ledger, and a TransferJob only names them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, Text, cast, delete, exists, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from adit.ledger.records import SelectionRecord, TaskSeed
from adit.ledger.resources import ResourceConflict
from adit.ledger.tables import job, selection, selection_line
from adit.model.transfer_job import ListReference

_BATCH: Final = 5000
_COLUMNS: Final = tuple(column for column in selection.c if column.name != "digest")
_FIELDS: Final = ("study_instance_uid", "patient_id", "series_instance_uids", "pseudonym")
_INSERT: Final = text(
    """
    INSERT INTO selection_line (selection_id, position, study_instance_uid, patient_id, series_instance_uids, pseudonym)
    SELECT :selection_id, position, study_instance_uid, patient_id, series_instance_uids, pseudonym
    FROM jsonb_to_recordset(CAST(:lines AS jsonb)) AS line (
        position integer, study_instance_uid text, patient_id text, series_instance_uids text[], pseudonym text
    )
    """
)


def add(
    connection: Connection,
    namespace: str,
    name: str | None,
    lines: Sequence[TaskSeed],
    expires_at: datetime,
    now: datetime,
) -> tuple[SelectionRecord, bool]:
    """The selection, and whether it is new; the same lines under the same name again are the one that is there.

    Raises ResourceConflict when the name belongs to other lines: a selection cannot be changed.
    """
    digest = sha256(json.dumps([asdict(line) for line in lines]).encode()).hexdigest()
    values = {
        "id": uuid4(),
        "namespace": namespace,
        "name": name,
        "digest": digest,
        "size": len(lines),
        "pseudonyms": sum(line.pseudonym is not None for line in lines),
        "without_patient_id": sum(line.patient_id is None for line in lines),
        "created_at": now,
        "expires_at": expires_at,
    }
    created = insert(selection).values(values).on_conflict_do_nothing(constraint="selection_namespace_name_key")
    row = connection.execute(created.returning(*_COLUMNS)).one_or_none()
    if row is None:
        return _known(connection, namespace, name, digest), False
    for first in range(0, len(lines), _BATCH):
        batch = [{"position": first + i, **asdict(line)} for i, line in enumerate(lines[first : first + _BATCH])]
        connection.execute(_INSERT, {"selection_id": row.id, "lines": json.dumps(batch)})
    return _record(row), True


def _known(connection: Connection, namespace: str, name: str | None, digest: str) -> SelectionRecord:
    query = select(*_COLUMNS, selection.c.digest).where(selection.c.namespace == namespace, selection.c.name == name)
    row = connection.execute(query).one()
    if row.digest != digest:
        raise ResourceConflict("name", "a selection of that name holds other studies; it cannot be changed")
    return _record(row)


def find(connection: Connection, namespace: str, reference: ListReference) -> SelectionRecord | None:
    """The selection that a job of this namespace names."""
    named = selection.c.name == reference.name if reference.id is None else selection.c.id == UUID(reference.id)
    row = connection.execute(select(*_COLUMNS).where(selection.c.namespace == namespace, named)).one_or_none()
    return None if row is None else _record(row)


def use(connection: Connection, selection_id: UUID, now: datetime) -> int:
    """Keep the selection from now on, and return its size. Raises LookupError if it is gone."""
    row = connection.execute(
        select(selection.c.size, selection.c.used_at).where(selection.c.id == selection_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise LookupError(f"no selection {selection_id}")
    if row.used_at is None:
        connection.execute(update(selection).where(selection.c.id == selection_id).values(used_at=now))
    return int(row.size)


def page(connection: Connection, selection_id: UUID, first: int, size: int) -> list[TaskSeed]:
    """The lines from position `first` on, at most `size`."""
    query = (
        select(*(selection_line.c[name] for name in _FIELDS))
        .where(
            selection_line.c.selection_id == selection_id,
            selection_line.c.position >= first,
            selection_line.c.position < first + size,
        )
        .order_by(selection_line.c.position)
    )
    return [
        TaskSeed(
            row.study_instance_uid,
            row.patient_id,
            None if row.series_instance_uids is None else tuple(row.series_instance_uids),
            row.pseudonym,
        )
        for row in connection.execute(query)
    ]


def expire(connection: Connection, now: datetime) -> int:
    """Forget those past their time from which no job has tasks, or is still to get them; how many they were."""
    named = job.c.document[("spec", "selection", "list", "name")].astext
    identified = job.c.document[("spec", "selection", "list", "id")].astext
    awaited = exists().where(
        job.c.namespace == selection.c.namespace,
        job.c.ended_at.is_(None),
        job.c.expanded_at.is_(None),
        or_(named == selection.c.name, identified == cast(selection.c.id, Text)),
    )
    statement = delete(selection).where(selection.c.used_at.is_(None), selection.c.expires_at <= now, ~awaited)
    return connection.execute(statement).rowcount


def _record(row: Row[tuple[object, ...]]) -> SelectionRecord:
    return SelectionRecord(**{column.name: getattr(row, column.name) for column in _COLUMNS})
