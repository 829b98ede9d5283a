"""An ended attempt becomes the task's new state, its counts and its digest, in one transaction.

Whatever the worker reported and the dispatcher decided: success is written only when the instance rows
prove it, and the table's own constraint would refuse it otherwise.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, select, update

from adit.ledger import instances, treatments
from adit.ledger.digest import digest_column
from adit.ledger.events import told, write_events
from adit.ledger.records import Settlement
from adit.ledger.tables import attempt, instance, task
from adit.model.assignment import Report
from adit.model.state import TaskState

_LEVELS: Final = {TaskState.SUCCESS: "info", TaskState.FAILURE: "error"}


class NotProven(Exception):  # noqa: N818 - what is missing, in one word
    """Success was asked for, but the instance rows do not prove it: a bug in the caller. Nothing was written."""


def settle(
    connection: Connection, attempt_id: int, settlement: Settlement, now: datetime, amended: Report | None = None
) -> bool:
    """False if the attempt was settled before. Raises NotProven, LookupError for an unknown attempt, and
    ValueError when the attempt has not ended or the settlement is no answer (running, or a retry without a time)."""
    if settlement.state is TaskState.IN_PROGRESS or (
        settlement.state is TaskState.PENDING and settlement.not_before is None
    ):
        raise ValueError(f"attempt {attempt_id} cannot be settled as {settlement.state} without a time to try again")
    columns = (attempt.c.task_id, attempt.c.job_created_on, attempt.c.number, attempt.c.ended_at, attempt.c.settled_at)
    found = connection.execute(select(*columns).where(attempt.c.id == attempt_id).with_for_update()).one_or_none()
    if found is None:
        raise LookupError(f"no attempt {attempt_id}")
    if found.settled_at is not None:
        return False
    if found.ended_at is None:
        raise ValueError(f"attempt {attempt_id} has not ended")
    counted = select(*instances.counts(), digest_column().label("digest")).where(
        instances.of_task(found.task_id, found.job_created_on)
    )
    proof = connection.execute(counted.select_from(instance)).one()
    if settlement.state is TaskState.SUCCESS and not 0 < proof.expected == proof.verified:
        raise NotProven(
            f"attempt {attempt_id} of task {found.task_id} proves {proof.verified} of {proof.expected} instances"
        )
    report = {} if amended is None else {"report": amended.model_dump(mode="json")}
    connection.execute(update(attempt).where(attempt.c.id == attempt_id).values(settled_at=now, **report))
    connection.execute(
        update(task)
        .where(task.c.id == found.task_id)
        .values(
            state=settlement.state,
            message=settlement.message,
            fault=None if settlement.fault is None else settlement.fault.model_dump(mode="json"),
            ended_at=now if settlement.state.ended else None,
            **({} if settlement.not_before is None else {"not_before": settlement.not_before}),
            **{name: getattr(proof, name) for name in ("expected", "received", "stored", "verified")},
            bytes_stored=proof.bytes_stored,
            left_out=proof.left_out,
            digest=proof.digest,
        )
    )
    treatments.count(connection, found.task_id, found.job_created_on)
    code = settlement.state if settlement.fault is None else settlement.fault.code
    level = _LEVELS.get(settlement.state, "warning")
    write_events(connection, [told(found.task_id, found.number, now, code, settlement.message, level=level)])
    return True
