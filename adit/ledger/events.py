"""The structured log of each task: written beside the change that it tells of, in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, text

from adit.ledger.records import EventRecord
from adit.ledger.tables import event

_FIELDS: Final = ("task_id", "attempt_number", "at", "level", "code", "message")
_INSERT: Final = text(
    """
    INSERT INTO event (task_id, attempt_number, at, level, code, message, detail)
    SELECT * FROM unnest(
        CAST(:task_id AS bigint[]), CAST(:attempt_number AS integer[]), CAST(:at AS timestamptz[]),
        CAST(:level AS text[]), CAST(:code AS text[]), CAST(:message AS text[]), CAST(:detail AS jsonb[])
    )
    """
)


def write_events(connection: Connection, records: Sequence[EventRecord]) -> None:
    """Nothing is read back: a worker may write events, not read them."""
    if records:
        columns = {name: [getattr(record, name) for record in records] for name in _FIELDS}
        details = [json.dumps(dict(record.detail)) for record in records]
        connection.execute(_INSERT, {**columns, "detail": details})


def events_of(connection: Connection, task_id: int) -> list[EventRecord]:
    """Oldest first."""
    query = select(event).where(event.c.task_id == task_id).order_by(event.c.id)
    return [
        EventRecord(
            task_id=row.task_id,
            attempt_number=row.attempt_number,
            at=row.at,
            level=row.level,
            code=row.code,
            message=row.message,
            detail=row.detail,
        )
        for row in connection.execute(query)
    ]


def told(
    task_id: int, attempt_number: int | None, now: datetime, code: str, message: str, *, level: str = "info"
) -> EventRecord:
    return EventRecord(task_id=task_id, attempt_number=attempt_number, at=now, level=level, code=code, message=message)
