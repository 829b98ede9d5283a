"""The structured log of each task: written beside the change that it tells of, in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, text

from adit.ledger import event_record
from adit.ledger.event_record import EventRecord
from adit.ledger.tables import event

_INSERT: Final = text(event_record.insert(":{}"))


def write_events(connection: Connection, records: Sequence[EventRecord]) -> None:
    """Nothing is read back: a worker may write events, not read them."""
    if records:
        connection.execute(_INSERT, event_record.columns(records))


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
