"""The worker's view of the ledger: its own attempt, its task's instances, and nothing else.

Connects as a member of the restricted role `adit_worker`, with one connection. Every transaction names the
attempt's token and begins by proving that the attempt is still open; row-level security proves it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adit.ledger import event_record, instance_rows
from adit.ledger.event_record import EventRecord
from adit.ledger.postgres_session import LedgerError, LedgerUnavailable
from adit.ledger.worker_connection import Row, WorkerConnection
from adit.model.assignment import Assignment, Progress, Report
from adit.model.instance import InstanceRecord
from adit.model.mailbox import Mailbox

if TYPE_CHECKING:
    from adit.model.treatment import TreatmentRecord  # most workers need none

__all__ = ["AttemptLedger", "Directive", "Fenced", "LedgerError", "LedgerUnavailable"]

_OURS: Final = "id = %(id)s AND token = %(token)s AND ended_at IS NULL"
_COUNTERS: Final = ", ".join(f"{name} = %({name})s" for name in Progress.model_fields)
_BEGIN: Final = f"""
    UPDATE attempt SET begun_at = coalesce(begun_at, %(now)s), heartbeat_at = %(now)s, reference = %(reference)s
    WHERE {_OURS} AND (reference IS NULL OR reference = %(reference)s)
    RETURNING assignment::text
"""  # noqa: S608 - nothing of this is anyone's input
_TASK: Final = f"SELECT task_id, job_created_on FROM attempt WHERE {_OURS}"  # noqa: S608
_HEARTBEAT: Final = f"""
    UPDATE attempt SET heartbeat_at = %(now)s, {_COUNTERS}
    WHERE {_OURS} RETURNING task_id, job_created_on, number, stop_requested_at IS NOT NULL
"""  # noqa: S608
_FINISH: Final = f"""
    UPDATE attempt SET heartbeat_at = %(now)s, ended_at = %(now)s, report = CAST(%(report)s AS jsonb), {_COUNTERS}
    WHERE {_OURS}
"""  # noqa: S608
_FINISHED: Final = """
    SELECT 1 FROM attempt WHERE id = %(id)s AND token = %(token)s AND report = CAST(%(report)s AS jsonb)
"""
_OPEN_MAILBOX: Final = """
    SELECT adit_open_mailbox(%(mailbox)s, %(study)s, %(series)s, %(host)s, %(port)s, %(secret)s, %(now)s)
"""
_CLOSE_MAILBOX: Final = "SELECT adit_close_mailbox(%(mailbox)s, %(now)s, %(broke_off)s)"
_PROJECT_KEY: Final = "SELECT adit_project_key(%(claimed)s, %(now)s)"
_EVENTS: Final = event_record.insert("%({})s")


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
        self._connection = WorkerConnection(url, token)
        self._identity = {"id": attempt_id, "token": token}

    def begin(self, reference: str, now: datetime) -> Assignment:
        """Take the attempt up under the launcher's name for this worker, and learn what to do.

        Raises Fenced as well when another worker, by its reference, has begun it.
        """
        with self._connection.transaction() as connection:
            values = {**self._identity, "now": _aware(now), "reference": reference}
            (document,) = self._one(connection.execute(_BEGIN, values).fetchone())
        return Assignment.model_validate_json(document)

    def instances(self) -> list[InstanceRecord]:
        """The task's rows, those of earlier attempts too."""
        with self._connection.transaction() as connection:
            # Fenced must not look like "nothing is there".
            task_id, created_on = self._one(connection.execute(_TASK, self._identity).fetchone())
            rows = connection.execute(instance_rows.READ, {"task_id": task_id, "created_on": created_on})
            return [instance_rows.record(row) for row in rows]

    def treatments(self) -> list[TreatmentRecord]:
        """What attempts at this task did to its instances, so far."""
        from adit.ledger import treatment_rows

        with self._connection.transaction() as connection:
            task_id, _ = self._one(connection.execute(_TASK, self._identity).fetchone())
            rows = connection.execute(treatment_rows.READ, {"task_id": task_id})
            return [treatment_rows.record_of(document, changes) for document, changes in rows]

    def project_key(self, claimed: str | None, now: datetime) -> str:
        """The id of the key that the attempt's project has, in its namespace; empty while it has none. The claimed one
        becomes it then, for ever."""
        with self._connection.transaction() as connection:
            row = connection.execute(_PROJECT_KEY, {"claimed": claimed, "now": _aware(now)}).fetchone()
            (key_id,) = self._one(None if row is None or row[0] is None else row)
        return str(key_id)

    def write(
        self,
        records: Sequence[InstanceRecord],
        progress: Progress,
        events: Sequence[EventRecord],
        now: datetime,
        treatments: Sequence[TreatmentRecord] = (),
    ) -> Directive:
        """Heartbeat, progress, instance rows and events in one transaction; the first two alone are a heartbeat.

        Rows follow the rule of `adit.ledger.instance_rows`. The events' task and attempt are filled in here.
        """
        values = {**self._identity, "now": _aware(now), **progress.model_dump()}
        with self._connection.transaction() as connection:
            task_id, created_on, number, stop = self._one(connection.execute(_HEARTBEAT, values).fetchone())
            task = {"task_id": task_id, "created_on": created_on, "now": now}
            if treatments:
                from adit.ledger import treatment_rows

                connection.execute(treatment_rows.INSERT, {**task, **treatment_rows.columns(treatments)})
            # One statement, or as many as the same instance comes again, in the given order.
            for rows in instance_rows.rounds(records):
                connection.execute(instance_rows.UPSERT, {**task, **instance_rows.columns(rows)})
            if events:
                ours = [replace(line, task_id=task_id, attempt_number=number) for line in events]
                connection.execute(_EVENTS, event_record.columns(ours))
        return Directive(stop=stop)

    def finish(self, report: Report, now: datetime) -> None:
        """End the attempt; from now on it is fenced. The same report again changes nothing and raises nothing."""
        document = report.model_dump_json()
        values = {**self._identity, "now": _aware(now), "report": document, **report.progress.model_dump()}
        with self._connection.transaction() as connection:
            if connection.execute(_FINISH, values).rowcount == 0:
                # Perhaps our own first try, whose acknowledgement was lost.
                self._one(connection.execute(_FINISHED, {**self._identity, "report": document}).fetchone())

    def open_mailbox(
        self, mailbox: Mailbox, study_instance_uid: str, series_instance_uid: str | None, now: datetime
    ) -> int | None:
        """Register where this attempt waits for a C-MOVE's objects; the message id to send the C-MOVE with.

        None, and nothing registered, while another attempt's mailbox would get the same objects, or ten minutes after
        another source's C-MOVE of the study broke off, or sent something since. Earlier mailboxes of this attempt are
        closed. Raises Fenced also for a study that is not this attempt's.
        """
        values = {
            "mailbox": mailbox.id,
            "study": study_instance_uid,
            "series": series_instance_uid,
            "host": mailbox.host,
            "port": mailbox.port,
            "secret": mailbox.secret,
            "now": _aware(now),
        }
        with self._connection.transaction() as connection:
            row = connection.execute(_OPEN_MAILBOX, values).fetchone()
            (message_id,) = self._one(None if row is None or row[0] is None else row)
        return int(message_id) or None

    def close_mailbox(self, mailbox_id: UUID, now: datetime, *, broke_off: bool = False) -> None:
        """Nothing more is for it; if it broke off, more may come. Harmless on one that is closed, or another's."""
        with self._connection.transaction() as connection:
            connection.execute(_CLOSE_MAILBOX, {"mailbox": mailbox_id, "now": _aware(now), "broke_off": broke_off})

    def close(self) -> None:
        """Give the connection back. May be called twice."""
        self._connection.close()

    def _one(self, row: Row | None) -> Row:
        if row is None:
            raise Fenced(
                f"attempt {self._identity['id']} is not this worker's (any more): it has ended, was declared lost, "
                f"has another token or was begun by another worker"
            )
        return row


def _aware(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError(f"a time without a zone: {now}")
    return now
