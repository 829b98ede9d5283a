"""The row per instance: written in batches by workers, counted when an attempt is settled, read by reports.

The rule of the upsert, which makes batches safe to repeat and to reorder: a row never moves backwards
(Verified does not become Stored because an older record comes late), except by a record that carries a
fault code. That is how an attempt says that what was called stored or verified is not at the destination.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, Row, func, select, text

from adit.ledger.connection import transaction
from adit.ledger.tables import instance
from adit.model.instance import InstanceRecord, InstanceState

_PAGE: Final = 2000

_UPSERT: Final = text(
    """
    INSERT INTO instance AS known (
        job_created_on, task_id, sop_instance_uid, series_instance_uid, sop_class_uid, state,
        expected_at, received_at, stored_at, verified_at,
        transfer_syntax_uid, size, sha256, location, fault_code, fault_message, dimse_status
    )
    SELECT :created_on, :task_id, sop_instance_uid, series_instance_uid, sop_class_uid, state,
           now, CASE WHEN state >= 'Received' THEN now END, CASE WHEN state >= 'Stored' THEN now END,
           CASE WHEN state >= 'Verified' THEN now END,
           transfer_syntax_uid, size, sha256, location, fault_code, fault_message, dimse_status
    FROM unnest(
        CAST(:sop_instance_uid AS text[]), CAST(:series_instance_uid AS text[]), CAST(:sop_class_uid AS text[]),
        CAST(:state AS instance_state[]), CAST(:transfer_syntax_uid AS text[]), CAST(:size AS bigint[]),
        CAST(:sha256 AS text[]), CAST(:location AS text[]), CAST(:fault_code AS text[]),
        CAST(:fault_message AS text[]), CAST(:dimse_status AS integer[])
    ) AS record (
        sop_instance_uid, series_instance_uid, sop_class_uid, state, transfer_syntax_uid, size, sha256, location,
        fault_code, fault_message, dimse_status
    ), (SELECT CAST(:now AS timestamptz)) AS clock (now)
    ON CONFLICT ON CONSTRAINT instance_pkey DO UPDATE SET
        series_instance_uid = excluded.series_instance_uid,
        sop_class_uid = coalesce(excluded.sop_class_uid, known.sop_class_uid),
        state = excluded.state,
        received_at =
            CASE WHEN excluded.state >= 'Received' THEN coalesce(known.received_at, excluded.received_at) END,
        stored_at = CASE WHEN excluded.state >= 'Stored' THEN coalesce(known.stored_at, excluded.stored_at) END,
        verified_at =
            CASE WHEN excluded.state >= 'Verified' THEN coalesce(known.verified_at, excluded.verified_at) END,
        transfer_syntax_uid = coalesce(excluded.transfer_syntax_uid, known.transfer_syntax_uid),
        size = coalesce(excluded.size, known.size),
        sha256 = coalesce(excluded.sha256, known.sha256),
        location = coalesce(excluded.location, known.location),
        fault_code = excluded.fault_code,
        fault_message = excluded.fault_message,
        dimse_status = excluded.dimse_status
    WHERE excluded.state >= known.state OR excluded.fault_code IS NOT NULL
    """
)
_FIELDS: Final = (
    "sop_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "state",
    "transfer_syntax_uid",
    "size",
    "sha256",
    "location",
    "fault_code",
    "fault_message",
    "dimse_status",
)


def upsert(
    connection: Connection, task_id: int, created_on: date, records: Sequence[InstanceRecord], now: datetime
) -> None:
    """Write a batch in one statement, or in as many as the same instance comes again, in the given order."""
    for rows in _rounds(records):
        columns = {name: [getattr(record, name) for record in rows] for name in _FIELDS}
        connection.execute(_UPSERT, {"task_id": task_id, "created_on": created_on, "now": now, **columns})


def _rounds(records: Sequence[InstanceRecord]) -> list[list[InstanceRecord]]:
    """Each instance at most once a round, because a statement can write a row only once."""
    rounds: list[dict[str, InstanceRecord]] = []
    seen: Counter[str] = Counter()
    for record in records:
        times = seen[record.sop_instance_uid]
        if times == len(rounds):
            rounds.append({})
        rounds[times][record.sop_instance_uid] = record
        seen[record.sop_instance_uid] += 1
    # Sorted, so that two writers of the same rows cannot deadlock.
    return [[batch[uid] for uid in sorted(batch)] for batch in rounds]


def read(connection: Connection, task_id: int, created_on: date) -> list[InstanceRecord]:
    """All rows of a task, by SOP Instance UID."""
    return [_record(row) for row in connection.execute(_of_task(task_id, created_on))]


def paged(source: Engine, task_id: int, created_on: date) -> Iterator[InstanceRecord]:
    """The same, a page a transaction, so that a long list holds neither memory nor a connection."""
    last = ""
    while True:
        query = _of_task(task_id, created_on).where(instance.c.sop_instance_uid > last).limit(_PAGE)
        with transaction(source) as connection:
            rows = connection.execute(query).all()
        yield from (_record(row) for row in rows)
        if len(rows) < _PAGE:
            return
        last = rows[-1].sop_instance_uid


def counts() -> tuple[ColumnElement[Any], ...]:
    """Columns that sum up the instance rows of a query, named as the task's summary columns are."""
    stored = instance.c.state >= InstanceState.STORED
    return (
        func.count(instance.c.sop_instance_uid).label("expected"),
        func.count().filter(instance.c.state >= InstanceState.RECEIVED).label("received"),
        func.count().filter(stored).label("stored"),
        func.count().filter(instance.c.state >= InstanceState.VERIFIED).label("verified"),
        func.coalesce(func.sum(instance.c.size).filter(stored), 0).label("bytes_stored"),
        func.count(instance.c.fault_code).label("faulty"),
    )


def of_task(task_id: int, created_on: date) -> ColumnElement[bool]:
    """The date only tells Postgres which partition to look into."""
    return (instance.c.job_created_on == created_on) & (instance.c.task_id == task_id)


def _of_task(task_id: int, created_on: date) -> Any:
    return select(instance).where(of_task(task_id, created_on)).order_by(instance.c.sop_instance_uid)


def _record(row: Row[Any]) -> InstanceRecord:
    return InstanceRecord(**{name: getattr(row, name) for name in _FIELDS})
