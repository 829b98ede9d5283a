"""Jobs, tasks, faults and events as tables for people. Used by `adit run`, `status` and `demo`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from rich.table import Table
from rich.text import Text

from adit.cli.pace import size
from adit.ledger.records import EventRecord, FaultCount, JobSummary, TaskRecord
from adit.model.state import JobState, TaskState

_LEAST_MESSAGE = 40
_STYLES = {
    "Success": "green",
    "Warning": "yellow",
    "Failure": "bold red",
    "Canceled": "magenta",
    "Canceling": "magenta",
    "InProgress": "cyan",
    "Pending": "dim",
}


def job_table(summaries: Iterable[tuple[JobSummary, str]]) -> Table:
    """One line a job, with why nothing of it runs if that is so."""
    table = _table("JOB", "STATE", "TASKS", "INSTANCES", "SIZE", "CREATED", "MESSAGE")
    for summary, waiting in summaries:
        ended = sum(count for state, count in summary.tasks.items() if state.ended)
        table.add_row(
            _job_name(summary),
            _state(summary.state),
            f"{ended}/{sum(summary.tasks.values())}",
            _proven(summary),
            size(summary.bytes_stored),
            _time(summary.record.created_at),
            Text(str(summary.record.refusal or "") or (f"Waiting: {waiting}." if waiting else summary.message)),
        )
    return table


def task_table(tasks: Iterable[TaskRecord]) -> Table:
    """One line a task: the study, how it stands, and how many of its instances are proven to have arrived."""
    table = _table("STUDY", "STATE", "VERIFIED", "SIZE", "ATTEMPTS", "MESSAGE")
    for task in tasks:
        table.add_row(
            Text(task.study_instance_uid),
            _state(task.state),
            _proven(task),
            size(task.bytes_stored),
            str(task.attempts),
            Text(_message(task)),
        )
    return table


def event_table(events: Iterable[EventRecord]) -> Table:
    table = _table("TIME", "TASK", "ATTEMPT", "LEVEL", "CODE", "MESSAGE")
    for event in events:
        number = "" if event.attempt_number is None else str(event.attempt_number)
        style = {"warning": "yellow", "error": "red"}.get(event.level, "")
        message = _beside(event.code, event.message)
        table.add_row(_time(event.at), str(event.task_id), number, Text(event.level, style), event.code, message)
    return table


def fault_table(failures: Iterable[FaultCount]) -> Table:
    table = _table("FAULT", "TASKS", "MESSAGE")
    for each in failures:
        table.add_row(each.code, str(each.count), _beside(each.code, each.example))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for column in columns:
        if column == "MESSAGE":
            table.add_column(column, min_width=_LEAST_MESSAGE)
        else:
            table.add_column(column, no_wrap=True)
    return table


def _proven(counted: JobSummary | TaskRecord) -> str:
    left_out = f", {counted.left_out} left out" if counted.left_out else ""
    return f"{counted.verified}/{counted.expected}{left_out}"


def _job_name(summary: JobSummary) -> Text:
    namespace, name = summary.record.job.key
    return Text(name if namespace == "default" else f"{namespace}/{name}")


def _state(state: TaskState | JobState) -> Text:
    return Text(str(state), _STYLES.get(str(state), ""))


def _time(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _beside(code: str, message: str) -> Text:
    """A fault's text begins with its code, which has a column of its own here."""
    return Text(message.removeprefix(f"{code}: "))


def _message(task: TaskRecord) -> str:
    """With a fault: its node, its instance and its cure, whatever else there is to see."""
    return task.message if task.fault is None else str(task.fault)
