"""What became of each attempt at a task, for people: the facade's answers and the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from adit.ledger.records import AttemptRecord
from adit.ledger.tables import attempt
from adit.model.assignment import report_of

_COLUMNS: Final = (
    "task_id",
    "number",
    "claimed_at",
    "begun_at",
    "heartbeat_at",
    "ended_at",
    "reference",
    "road",
    "store_road",
    "report",
    "expected",
    "received",
    "stored",
    "verified",
    "bytes_received",
    "bytes_stored",
)


def attempts_of(connection: Connection, task_ids: Sequence[int]) -> dict[int, list[AttemptRecord]]:
    """By task, the first attempt first; a task without attempts is not in it."""
    query = (
        select(*(attempt.c[name] for name in _COLUMNS))
        .where(attempt.c.task_id.in_(task_ids))
        .order_by(attempt.c.task_id, attempt.c.number)
    )
    found: dict[int, list[AttemptRecord]] = {}
    for row in connection.execute(query):
        found.setdefault(row.task_id, []).append(_record(row))
    return found


def _record(row: Row[Any]) -> AttemptRecord:
    values = {name: getattr(row, name) for name in _COLUMNS if name != "report"}
    return AttemptRecord(report=None if row.report is None else report_of(row.report), **values)
