"""Tasks and attempts as the facade tells them: UIDs, states, counts and logs; no patient's id, no pseudonym."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from adit.ledger.records import AttemptRecord, EventRecord, TaskRecord
from adit.model.outcome import Outcome
from adit.model.state import TaskState
from adit_api.job_view import FaultView, View


class TaskView(View):
    """One study, or some series of it, to one destination."""

    id: int
    study_instance_uid: str = Field(alias="studyInstanceUID")
    series_instance_uids: tuple[str, ...] | None = Field(default=None, alias="seriesInstanceUIDs")
    state: TaskState
    attempts: int
    not_before: datetime | None = Field(default=None, description="When it may start; of pending tasks.")
    message: str
    fault: FaultView | None = None
    expected: int
    received: int
    stored: int
    verified: int
    left_out: int = Field(description="The profile excludes their kind; not among the expected.")
    bytes_stored: int
    digest: str | None = Field(default=None, description="Over its instances; stays when their rows are dropped.")
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @staticmethod
    def of(task: TaskRecord) -> TaskView:
        values = {name: getattr(task, name) for name in TaskView.model_fields if name != "fault"}
        return TaskView(fault=None if task.fault is None else FaultView.of(task.fault), **values)


class TaskList(View):
    """A page of tasks, in the order of the selection."""

    items: tuple[TaskView, ...]
    next: str | None = Field(default=None, description="The next page's `cursor`.")


class LogLine(View):
    """One line of a task's log."""

    at: datetime
    level: str = Field(description="info, warning or error.")
    code: str
    message: str
    detail: dict[str, Any] = Field(default_factory=dict)


class AttemptView(View):
    """One try at a task, and its log."""

    number: int
    outcome: Outcome | None = Field(default=None, description="Null while it runs.")
    road: str | None = Field(default=None, description="How it was fetched, such as C-GET.")
    store_road: str | None = Field(default=None, description="How it was stored, such as C-STORE.")
    worker: str | None = None
    claimed_at: datetime
    begun_at: datetime | None = None
    heartbeat_at: datetime | None = None
    ended_at: datetime | None = None
    expected: int
    received: int
    stored: int
    verified: int
    bytes_received: int
    bytes_stored: int
    faults: tuple[FaultView, ...] = ()
    warnings: tuple[FaultView, ...] = ()
    log: tuple[LogLine, ...] = ()


class AttemptList(View):
    """All attempts at one task, the first one first."""

    items: tuple[AttemptView, ...]
    log: tuple[LogLine, ...] = Field(default=(), description="What was told of the task between attempts.")


def attempt_list(attempts: Sequence[AttemptRecord], events: Sequence[EventRecord]) -> AttemptList:
    logs: dict[int | None, list[LogLine]] = {}
    for event in events:
        line = LogLine(
            at=event.at, level=event.level, code=event.code, message=event.message, detail=dict(event.detail)
        )
        logs.setdefault(event.attempt_number, []).append(line)
    return AttemptList(
        items=tuple(_attempt(each, logs.pop(each.number, [])) for each in attempts),
        log=tuple(line for left in logs.values() for line in left),
    )


def _attempt(attempt: AttemptRecord, log: Sequence[LogLine]) -> AttemptView:
    report = attempt.report
    own = ("outcome", "worker", "faults", "warnings", "log")
    values = {name: getattr(attempt, name) for name in AttemptView.model_fields if name not in own}
    return AttemptView(
        outcome=None if report is None else report.outcome,
        worker=attempt.reference,
        faults=() if report is None else tuple(FaultView.of(fault) for fault in report.faults),
        warnings=() if report is None else tuple(FaultView.of(fault) for fault in report.warnings),
        log=tuple(log),
        **values,
    )
