"""The worker's view of the ledger: its own attempt, its task's instances, and nothing else.

Connects as a member of the restricted role `adit_worker`, with one connection. Every transaction names the
attempt's token and begins by proving that the attempt is still open; row-level security proves it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, func, select, update

from adit.ledger import instances
from adit.ledger.connection import LedgerUnavailable, engine, transaction
from adit.ledger.events import write_events
from adit.ledger.records import EventRecord
from adit.ledger.tables import attempt
from adit.model.assignment import Assignment, Progress, Report
from adit.model.instance import InstanceRecord

__all__ = ["AttemptLedger", "Directive", "Fenced", "LedgerUnavailable"]


class Fenced(Exception):  # noqa: N818 - a state, not a mistake
    """This attempt is not ours to write any more: it ended, was declared lost, or another worker has it."""


@dataclass(frozen=True)
class Directive:
    """What the dispatcher has to say to the worker."""

    stop: bool


class AttemptLedger:
    """One attempt, held by its token.

    Every method raises Fenced, and writes nothing, once the attempt has ended, and LedgerUnavailable
    while the database is away. Every method may be called again after LedgerUnavailable: at worst an
    event is written twice.
    """

    def __init__(self, url: str, attempt_id: int, token: UUID) -> None:
        self._engine = engine(url, connections=1)
        self._attempt_id = attempt_id
        self._token = token

    def begin(self, reference: str, now: datetime) -> Assignment:
        """Take the attempt up under the launcher's name for this worker, and learn what to do.

        Raises Fenced as well when another worker, by its reference, has begun it.
        """
        statement = (
            update(attempt)
            .where(self._ours(), attempt.c.reference.is_(None) | (attempt.c.reference == reference))
            .values(begun_at=func.coalesce(attempt.c.begun_at, now), heartbeat_at=now, reference=reference)
            .returning(attempt.c.assignment)
        )
        with transaction(self._engine, token=self._token) as connection:
            return Assignment.model_validate(self._one(connection, statement).assignment)

    def instances(self) -> list[InstanceRecord]:
        """The task's rows, those of earlier attempts too."""
        query = select(attempt.c.task_id, attempt.c.job_created_on).where(self._ours())
        with transaction(self._engine, token=self._token) as connection:
            # Fenced must not look like "nothing is there".
            own = self._one(connection, query)
            return instances.read(connection, own.task_id, own.job_created_on)

    def write(
        self, records: Sequence[InstanceRecord], progress: Progress, events: Sequence[EventRecord], now: datetime
    ) -> Directive:
        """Heartbeat, progress, instance rows and events in one transaction; the first two alone are a heartbeat.

        Rows follow the rule of `adit.ledger.instances`. The events' task and attempt are filled in here.
        """
        statement = (
            update(attempt)
            .where(self._ours())
            .values(heartbeat_at=now, **progress.model_dump())
            .returning(attempt.c.task_id, attempt.c.job_created_on, attempt.c.number, attempt.c.stop_requested_at)
        )
        with transaction(self._engine, token=self._token) as connection:
            own = self._one(connection, statement)
            instances.upsert(connection, own.task_id, own.job_created_on, records, now)
            write_events(connection, [replace(line, task_id=own.task_id, attempt_number=own.number) for line in events])
        return Directive(stop=own.stop_requested_at is not None)

    def finish(self, report: Report, now: datetime) -> None:
        """End the attempt; from now on it is fenced. The same report again changes nothing and raises nothing."""
        document = report.model_dump(mode="json")
        statement = (
            update(attempt)
            .where(self._ours())
            .values(heartbeat_at=now, ended_at=now, report=document, **report.progress.model_dump())
        )
        with transaction(self._engine, token=self._token) as connection:
            if connection.execute(statement).rowcount == 0:
                # Perhaps our own first try, whose acknowledgement was lost.
                query = select(attempt.c.report).where(attempt.c.id == self._attempt_id, attempt.c.token == self._token)
                if connection.execute(query).scalar_one_or_none() != document:
                    raise self._fenced()

    def close(self) -> None:
        """Give the connection back. May be called twice."""
        self._engine.dispose()

    def _ours(self) -> ColumnElement[bool]:
        return (attempt.c.id == self._attempt_id) & (attempt.c.token == self._token) & attempt.c.ended_at.is_(None)

    def _one(self, connection: Connection, statement: Any) -> Row[Any]:
        row = connection.execute(statement).one_or_none()
        if row is None:
            raise self._fenced()
        return row

    def _fenced(self) -> Fenced:
        return Fenced(
            f"attempt {self._attempt_id} is not this worker's (any more): it has ended, was declared lost, "
            f"has another token or was begun by another worker"
        )
