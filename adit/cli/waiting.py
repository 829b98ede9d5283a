"""Why nothing of a job runs just now, in a few words. Shown by `adit run` and `adit status`."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from adit.dispatch.sweep import Patience
from adit.dispatch.window import is_open, next_open
from adit.ledger.ledger import Ledger
from adit.ledger.records import JobSummary
from adit.model.dicom_node import DicomNode
from adit.model.state import JobState, TaskState

_MOST_FAULTS: Final = 10  # of one job that are told while it runs; at its end each task has its own


def why_waiting(ledger: Ledger, summary: JobSummary, now: datetime) -> str:
    """Empty if something of the job runs, or if it could start at any moment."""
    if summary.state is not JobState.PENDING or summary.tasks.get(TaskState.IN_PROGRESS):
        return ""
    job = summary.record.job
    names = (job.spec.source.node, job.spec.destination.node)
    found = {name: ledger.node((job.metadata.namespace, name)) for name in names}
    missing = [name for name, node in found.items() if node is None]
    if missing:
        return f"waits for DicomNode {missing[0]}"
    asked = job.spec.deidentification
    if asked is not None and not summary.record.has_profile:
        key = (job.metadata.namespace, asked.profile)
        if ledger.profile(key) is None:
            return f"waits for DeidProfile {asked.profile}"
    if job.spec.suspend:
        return "suspended"
    return closed(filter(None, found.values()), now) or _between_attempts(ledger, summary, now)


def inherited(ledger: Ledger, jobs: Collection[UUID] | None, now: datetime) -> str:
    """What a dispatcher of these jobs, or of all, that starts now waits for first: the workers of an earlier one.

    Empty if there are none.
    """
    left = sum(jobs is None or attempt.job_id in jobs for attempt in ledger.running())
    if not left:
        return ""
    until = (now + timedelta(seconds=Patience().lease)).astimezone()
    whose = "1 task is with a worker" if left == 1 else f"{left} tasks are with workers"
    return (
        f"{whose} that this call did not start. Where no sign of life comes until {until:%H:%M:%S} the worker counts "
        "as lost, and the task is tried again; nothing is sent twice."
    )


def news(ledger: Ledger, job: UUID, told: set[str]) -> list[str]:
    """Faults after which tasks of a job are tried again, with their cures; each once, and then in `told`, too."""
    fresh: list[str] = []
    for task in ledger.tasks(job, state=TaskState.PENDING):
        if task.fault is None or len(told) >= _MOST_FAULTS:
            continue
        fault = str(task.fault)
        if fault not in told:
            told.add(fault)
            fresh.append(fault)
    return fresh


def closed(nodes: Iterable[DicomNode], now: datetime) -> str:
    """The first node whose windows are closed, and when they open, by that window's own wall clock."""
    for node in nodes:
        windows = node.spec.windows
        if not is_open(windows, now):
            opens = next_open(windows, now).astimezone(ZoneInfo(windows[0].time_zone))
            return f"the window of {node.metadata.name} opens {opens:%a %H:%M} {windows[0].time_zone}"
    return ""


def _between_attempts(ledger: Ledger, summary: JobSummary, now: datetime) -> str:
    pending = ledger.tasks(summary.record.id, state=TaskState.PENDING)
    due = [(task.not_before, task.fault) for task in pending if task.not_before is not None]
    if not due:
        return ""
    at, fault = min(due, key=lambda each: each[0])
    if at <= now:
        return ""
    return f"next attempt at {at.astimezone():%H:%M:%S}" + (f", after {fault.code}" if fault is not None else "")
