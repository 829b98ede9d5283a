"""The row per instance as the dispatcher sees it: counted when an attempt is settled, read by reports.

Written by workers, by the rule that stands in `instance_rows`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, func, select, update

from adit.ledger.connection import transaction
from adit.ledger.instance_rows import FIELDS
from adit.ledger.tables import instance
from adit.model.instance import NOT_ASKED, InstanceRecord, InstanceState

_PAGE: Final = 2000


def paged(source: Engine, task_id: int, created_on: date) -> Iterator[InstanceRecord]:
    """All rows of a task by UID, a page a transaction, so that a long list holds neither memory nor a connection."""
    last = ""
    while True:
        query = _of_task(task_id, created_on).where(instance.c.sop_instance_uid > last).limit(_PAGE)
        with transaction(source) as connection:
            rows = connection.execute(query).all()
        yield from (_record(row) for row in rows)
        if len(rows) < _PAGE:
            return
        last = rows[-1].sop_instance_uid


def of_several(source: Engine, task_ids: Sequence[int], created_on: date) -> dict[int, list[InstanceRecord]]:
    """The rows of as many of these tasks as a page holds whole, by task, in one query. The others are not in it."""
    query = (
        select(instance)
        .where(instance.c.job_created_on == created_on, instance.c.task_id.in_(task_ids))
        .order_by(instance.c.task_id, instance.c.sop_instance_uid)
        .limit(_PAGE)
    )
    with transaction(source) as connection:
        rows = connection.execute(query).all()
    whole = set(task_ids) if len(rows) < _PAGE else {each for each in task_ids if each < rows[-1].task_id}
    found: dict[int, list[InstanceRecord]] = {each: [] for each in whole}
    for row in rows:
        if row.task_id in whole:
            found[row.task_id].append(_record(row))
    return found


def forget(connection: Connection, task_id: int, created_on: date) -> None:
    """All instances of the task are expected, and nothing else is known of them: they are elsewhere, or overwritten."""
    stages = dict.fromkeys(("received_at", "stored_at", "verified_at"))
    facts = dict.fromkeys(("size", "sha256", "location", "fault_code", "fault_message", "sent_as", "treatment"))
    statement = (
        update(instance)
        .where(instance.c.job_created_on == created_on, instance.c.task_id == task_id)
        .values(state=InstanceState.EXPECTED, dimse_status=NOT_ASKED, **stages, **facts)
    )
    connection.execute(statement)


def counts() -> tuple[ColumnElement[Any], ...]:
    """Columns that sum up the instance rows of a query, named as the task's summary columns are.

    What the profile leaves out is expected no more: it is counted by itself.
    """
    stored = instance.c.state >= InstanceState.STORED
    left_out = instance.c.state == InstanceState.LEFT_OUT
    return (
        func.count().filter(~left_out).label("expected"),
        func.count().filter(~left_out & (instance.c.state >= InstanceState.RECEIVED)).label("received"),
        func.count().filter(stored).label("stored"),
        func.count().filter(instance.c.state >= InstanceState.VERIFIED).label("verified"),
        func.coalesce(func.sum(instance.c.size).filter(stored), 0).label("bytes_stored"),
        func.count(instance.c.fault_code).label("faulty"),
        func.count().filter(left_out).label("left_out"),
    )


def of_task(task_id: int, created_on: date) -> ColumnElement[bool]:
    """The date only tells Postgres which partition to look into."""
    return (instance.c.job_created_on == created_on) & (instance.c.task_id == task_id)


def _of_task(task_id: int, created_on: date) -> Any:
    return select(instance).where(of_task(task_id, created_on)).order_by(instance.c.sop_instance_uid)


def _record(row: Row[Any]) -> InstanceRecord:
    return InstanceRecord(**{name: getattr(row, name) for name in FIELDS})
