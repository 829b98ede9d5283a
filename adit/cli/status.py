"""`adit status`: all jobs, or one of them with its tasks, faults and events."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from adit.cli.console import Interrupted, Output, out, print_json, print_table, say

if TYPE_CHECKING:
    from adit.cli.session import Session
    from adit.ledger.records import JobRecord, JobSummary

_WATCH_SECONDS: Final = 1.0
_EVENTS_OF: Final = 10  # tasks whose events are shown


def status(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A TransferJob's name, or namespace/name; all, if absent.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again every second until the job, or Ctrl-C, ends it.")
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", "-e", help="Show the events of all tasks, not only of those that failed.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many jobs.")] = 20,
    output: Annotated[Output, typer.Option("--output", "-o", help="How it is written.")] = Output.TABLE,
) -> None:
    """Show the newest jobs, or one: its tasks, its faults and their cures.

    [bold]Examples[/bold]

      adit status
      adit status stroke-ct --watch
      adit status stroke-ct -o json
    """
    from adit.cli.job_name import find_job
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    with open_session(settings_of(context)) as session:
        if output is Output.JSON:
            records = session.ledger.jobs(limit=limit) if job is None else [find_job(session.ledger, job)]
            shown = [_as_json(session, record, with_tasks=job is not None) for record in records]
            print_json(list(shown) if job is None else shown[0])
        elif watch:
            _watch(session, job, limit, events)
        else:
            _show(_picture(session, job, limit, events))
            _say_who_works(session, job, limit)


def _watch(session: Session, job: str | None, limit: int, events: bool) -> None:
    """A terminal shows it again and again, anything else the end alone. Not by rich's Live, which cuts UIDs."""
    from adit.cli.job_name import find_job

    try:
        while job is None or find_job(session.ledger, job).ended_at is None:
            if out.is_terminal:
                _show_anew(_picture(session, job, limit, events))
            time.sleep(_WATCH_SECONDS)
    except Interrupted:
        if out.is_terminal:
            return
    _show_anew(_picture(session, job, limit, events))


def _show_anew(picture: list[Table | str]) -> None:
    out.clear()  # nothing where there is no terminal
    _show(picture)


def _show(picture: list[Table | str]) -> None:
    for part in picture:
        print_table(out, part) if isinstance(part, Table) else out.print(part)


def _picture(session: Session, job: str | None, limit: int, events: bool) -> list[Table | str]:
    from adit.cli.job_name import find_job
    from adit.cli.tables import job_table

    if job is not None:
        return _one(session, find_job(session.ledger, job), events)
    records = session.ledger.jobs(limit=limit)
    if not records:
        return ["There are no jobs yet: `adit run FILE` or `adit apply FILE`."]
    return [job_table(_told(session, session.ledger.summary(record.id)) for record in records)]


def _say_who_works(session: Session, job: str | None, limit: int) -> None:
    """Whether somebody does is nowhere written; that nothing of it runs is."""
    from adit.cli.job_name import find_job
    from adit.model.pod import in_pod

    if in_pod(os.environ):  # there the operator does
        return
    records = session.ledger.jobs(limit=limit) if job is None else [find_job(session.ledger, job)]
    open_jobs = {record.id for record in records if record.ended_at is None}
    if open_jobs and not any(attempt.job_id in open_jobs for attempt in session.ledger.running()):
        say.print("Nothing of it runs now. `adit up` works on what is open: start it if none runs.", style="dim")


def _one(session: Session, record: JobRecord, events: bool) -> list[Table | str]:
    from adit.cli.tables import event_table, fault_table, job_table, task_table
    from adit.model.state import TaskState

    summary = session.ledger.summary(record.id)
    tasks = list(session.ledger.tasks(record.id))
    parts: list[Table | str] = [job_table([_told(session, summary)]), "", task_table(tasks)]
    if summary.failures:
        parts += ["", fault_table(summary.failures)]
    telling = tasks if events else [task for task in tasks if task.state is TaskState.FAILURE][:_EVENTS_OF]
    log = [event for task in telling for event in session.ledger.events(task.id)]
    if log:
        parts += ["", event_table(log)]
    return parts


def _told(session: Session, summary: JobSummary) -> tuple[JobSummary, str]:
    from adit.cli.dispatching import utc_now
    from adit.cli.waiting import why_waiting

    return summary, why_waiting(session.ledger, summary, utc_now())


def _as_json(session: Session, record: JobRecord, *, with_tasks: bool) -> dict[str, Any]:
    summary = session.ledger.summary(record.id)
    shown = _summary_as_json(summary)
    if with_tasks:
        shown["tasks"] = [
            {
                "id": task.id,
                "studyInstanceUID": task.study_instance_uid,
                "state": str(task.state),
                "attempts": task.attempts,
                "expected": task.expected,
                "verified": task.verified,
                "leftOut": task.left_out,
                "bytesStored": task.bytes_stored,
                "message": task.message,
                "fault": task.fault.as_json() if task.fault else None,
            }
            for task in session.ledger.tasks(record.id)
        ]
    return shown


def _summary_as_json(summary: JobSummary) -> dict[str, Any]:
    record = summary.record
    return {
        "namespace": record.job.metadata.namespace,
        "name": record.job.metadata.name,
        "state": str(summary.state),
        "message": summary.message,
        "counts": {str(state): count for state, count in summary.tasks.items()},
        "instances": {
            "expected": summary.expected,
            "received": summary.received,
            "stored": summary.stored,
            "verified": summary.verified,
            "leftOut": summary.left_out,
        },
        "bytesStored": summary.bytes_stored,
        "createdAt": record.created_at.isoformat(),
        "endedAt": record.ended_at.isoformat() if record.ended_at else None,
        "refusal": record.refusal.as_json() if record.refusal else None,
        "failures": [{"code": each.code, "count": each.count, "example": each.example} for each in summary.failures],
    }
