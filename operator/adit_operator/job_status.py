"""What a TransferJob's status says, made from what the ledger says. Pure; called by the status writer.

Green means proven: `Complete` is True only if every task succeeded. Whatever else ended is `Failed`, with
the reason, so that kubectl wait, Helm, Flux and Argo CD stop where `adit run` would not exit with 0. All
texts are the operator's own: a worker's or a peer's words may name a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from adit.ledger.records import JobSummary
from adit.model.condition import Because, ConditionReason, ConditionType
from adit.model.counted import counted
from adit.model.fault_meaning import meaning
from adit.model.outcome import WARNINGS, Fault, FaultCode
from adit.model.state import JobState, TaskState
from adit.model.status import FailureCount, InstanceCounts, TaskCounts, TransferJobStatus
from adit_operator.conditions import Observation, conditions, fault_text, whole_seconds
from adit_operator.problem import Problem

PATIENCE: Final = timedelta(seconds=60)
"""How long a job may wait for what it names before it counts as stalled: resources come in any order."""

_FAILURES: Final = 3


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Where the job stands, in the one word that Complete and Failed share."""

    state: JobState
    ended: bool
    green: bool
    reason: Because
    message: str


@dataclass(frozen=True, slots=True)
class JobView:
    """All that a status is made of."""

    generation: int  # of the resource as it was last seen
    summary: JobSummary | None = None  # None: the ledger does not know the job
    waiting: Fault | None = None  # what `accept` found; of interest until the job has its tasks
    problem: Problem | None = None  # why the last generation is not in the ledger
    trouble: Fault | None = None  # why its tasks cannot be started
    bytes_per_second: int | None = None  # lately


def job_status(view: JobView, previous: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """The status document. None while there is nothing to say: the job was seen by nobody."""
    if view.summary is None:
        return None if view.problem is None else _of_invalid(view.generation, view.problem, previous, now)
    verdict = _verdict(view, view.summary)
    generation = _observed(view)
    status = TransferJobStatus(
        observed_generation=generation,
        conditions=conditions(_observations(view, view.summary, verdict, now), previous, generation, now),
        state=verdict.state,
        start_time=_seconds(view.summary.started_at),
        completion_time=_seconds(view.summary.record.ended_at) if verdict.ended else None,
        counts=_counts(view.summary),
        instances=InstanceCounts(
            expected=view.summary.expected,
            received=view.summary.received,
            stored=view.summary.stored,
            verified=view.summary.verified,
            left_out=view.summary.left_out,
            bytes=view.summary.bytes_stored,
        ),
        bytes_per_second=_average(view.summary) if verdict.ended else view.bytes_per_second,
        progress=_progress(view.summary),
        failures=_failures(view.summary),
    )
    return _document(status)


def _document(status: TransferJobStatus) -> dict[str, Any]:
    document = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not document["failures"]:
        del document["failures"]
    return document


def _of_invalid(generation: int, problem: Problem, previous: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    """Of a resource that passes the CRD and not the model: nothing of it is in the ledger."""
    later = (ConditionType.EXPANDED, ConditionType.SUSPENDED, ConditionType.COMPLETE, ConditionType.FAILED)
    observations = [
        Observation(ConditionType.ACCEPTED, False, problem.reason, problem.message),
        *(Observation(each, False, problem.reason, "The job was not accepted.") for each in later),
        Observation(ConditionType.STALLED, True, problem.reason, problem.message),
    ]
    return _document(
        TransferJobStatus(
            observed_generation=generation, conditions=conditions(observations, previous, generation, now)
        )
    )


def _observed(view: JobView) -> int:
    """The generation that the ledger has, which is what the rest of the status is about."""
    assert view.summary is not None  # noqa: S101
    if view.problem is not None:
        return max(view.problem.generation, 0)
    known = view.summary.record.job.metadata.generation
    return max(view.generation if known is None else known, 0)


def _verdict(view: JobView, summary: JobSummary) -> _Verdict:
    record = summary.record
    if record.ended_at is not None and record.refusal is not None:
        state = JobState.CANCELED if record.refusal.code is FaultCode.CANCELLED else JobState.FAILURE
        return _Verdict(state, True, False, record.refusal.code, fault_text(record.refusal))
    if record.ended_at is not None and summary.state.ended:
        return _end(summary)
    state = summary.state
    if state.ended:  # all tasks have, but the job's end is not in the ledger yet
        state = JobState.IN_PROGRESS if record.job.spec.cancel is None else JobState.CANCELING
    reason, message = _of_open(view, summary, state)
    return _Verdict(state, False, False, reason, message)


def _end(summary: JobSummary) -> _Verdict:
    tasks, total = summary.tasks, sum(summary.tasks.values())
    warned, failed, cancelled = (
        tasks.get(state, 0) for state in (TaskState.WARNING, TaskState.FAILURE, TaskState.CANCELED)
    )
    if failed:
        codes = ", ".join(f"{each.code} ({each.count})" for each in _failures(summary) if each.code not in WARNINGS)
        return _Verdict(
            JobState.CANCELED if summary.state is JobState.CANCELED else JobState.FAILURE,
            True,
            False,
            FaultCode.CANCELLED if summary.state is JobState.CANCELED else ConditionReason.TASKS_FAILED,
            f"{failed} of {counted(total, 'task')} failed{': ' if codes else ''}{codes}. docs/faults.md has the cures; "
            "retry what failed by a new job with selection.failedOf.",
        )
    if cancelled:
        return _Verdict(
            JobState.CANCELED, True, False, FaultCode.CANCELLED, f"{cancelled} of {counted(total, 'task')} cancelled."
        )
    if warned or summary.state is JobState.WARNING:
        codes = ", ".join(f"{each.code} ({each.count})" for each in _failures(summary))
        told = f": {codes}" if codes else ""
        return _Verdict(
            JobState.WARNING,
            True,
            False,
            ConditionReason.ENDED_WITH_WARNINGS,
            f"{warned} of {counted(total, 'task')} ended with warnings{told}. Nothing is known to be "
            "missing, but it isn't proven, or something is odd: someone should look. docs/faults.md has the codes.",
        )
    proven = tasks.get(TaskState.SUCCESS, 0) == total and summary.verified == summary.expected
    if summary.state is not JobState.SUCCESS or not proven:
        return _Verdict(
            JobState.FAILURE,
            True,
            False,
            FaultCode.NOT_PROVEN,
            f"{summary.verified} of {counted(summary.expected, 'instance')} proven to have arrived.",
        )
    if total == 0:
        return _Verdict(
            JobState.SUCCESS, True, True, ConditionReason.NOTHING_TO_TRANSFER, "There was nothing to transfer."
        )
    return _Verdict(
        JobState.SUCCESS,
        True,
        True,
        ConditionReason.ALL_PROVEN,
        f"{counted(total, 'task')}, {counted(summary.verified, 'instance')}: "
        f"{'it is' if summary.verified == 1 else 'all are'} proven to have arrived.{_left_out(summary)}",
    )


def _of_open(view: JobView, summary: JobSummary, state: JobState) -> tuple[Because, str]:
    """Of a job that has not ended; without numbers, so that it changes only when something happens."""
    if state is JobState.CANCELING:
        return ConditionReason.CANCELING, "The job is being cancelled; its running tasks come to their end."
    if summary.record.expanded_at is None:
        if view.waiting is not None:
            return view.waiting.code, "The job waits until it can be accepted."
        return ConditionReason.MAKING_TASKS, "The job's tasks are being made."
    if summary.record.job.spec.suspend:
        return ConditionReason.SUSPENDED, "The job is suspended."
    if view.trouble is not None:
        return view.trouble.code, "Tasks cannot be started."
    if state is JobState.PENDING:
        return ConditionReason.WAITING, "Tasks wait for their turn: a node's limits or windows, or their next attempt."
    return ConditionReason.RUNNING, "Tasks are being worked on."


def _observations(view: JobView, summary: JobSummary, verdict: _Verdict, now: datetime) -> list[Observation]:
    green, red = verdict.ended and verdict.green, verdict.ended and not verdict.green
    accepted = _accepted(view, summary)
    return [
        accepted,
        _expanded(summary, accepted),
        _suspended(summary, verdict),
        Observation(ConditionType.COMPLETE, green, verdict.reason, verdict.message),
        Observation(ConditionType.FAILED, red, verdict.reason, verdict.message),
        *_while_true(view, summary, verdict, accepted, now),
    ]


def _accepted(view: JobView, summary: JobSummary) -> Observation:
    record = summary.record
    if record.refusal is not None:
        return Observation(ConditionType.ACCEPTED, False, record.refusal.code, fault_text(record.refusal))
    if view.problem is not None:
        message = f"{view.problem.message} The job goes on as it was before this change."
        return Observation(ConditionType.ACCEPTED, False, view.problem.reason, message)
    if view.waiting is not None and record.expanded_at is None and record.ended_at is None:
        return Observation(ConditionType.ACCEPTED, False, view.waiting.code, fault_text(view.waiting))
    return Observation(ConditionType.ACCEPTED, True, ConditionReason.ACCEPTED, "The job can run.")


def _expanded(summary: JobSummary, accepted: Observation) -> Observation:
    total = sum(summary.tasks.values())
    if summary.record.expanded_at is not None:
        return Observation(ConditionType.EXPANDED, True, ConditionReason.TASKS_MADE, f"{counted(total, 'task')}.")
    if not accepted.holds:
        return Observation(
            ConditionType.EXPANDED, False, ConditionReason.NOT_ACCEPTED, "Tasks are made once it is accepted."
        )
    return Observation(ConditionType.EXPANDED, False, ConditionReason.MAKING_TASKS, "The job's tasks are being made.")


def _suspended(summary: JobSummary, verdict: _Verdict) -> Observation:
    if summary.record.job.spec.suspend and not verdict.ended:
        message = "No task is started; running ones finish. Take spec.suspend away to go on."
        return Observation(ConditionType.SUSPENDED, True, ConditionReason.SUSPENDED, message)
    return Observation(ConditionType.SUSPENDED, False, ConditionReason.NOT_SUSPENDED)


def _while_true(
    view: JobView, summary: JobSummary, verdict: _Verdict, accepted: Observation, now: datetime
) -> list[Observation]:
    """At most one of Reconciling and Stalled, as kstatus looks no further than the first that is True."""
    record = summary.record
    if verdict.ended:
        if verdict.green:
            return []
        return [Observation(ConditionType.STALLED, True, verdict.reason, verdict.message)]
    if view.problem is not None:
        return [Observation(ConditionType.STALLED, True, view.problem.reason, accepted.message)]
    if record.expanded_at is None:
        if view.waiting is not None and now - record.created_at >= PATIENCE:
            return [Observation(ConditionType.STALLED, True, view.waiting.code, accepted.message)]
        reason, message = _of_open(view, summary, verdict.state)
        return [Observation(ConditionType.RECONCILING, True, reason, message)]
    if view.trouble is not None and not record.job.spec.suspend:  # else nothing is to be started
        return [Observation(ConditionType.STALLED, True, view.trouble.code, fault_text(view.trouble))]
    return []


def _counts(summary: JobSummary) -> TaskCounts:
    tasks = summary.tasks
    return TaskCounts(
        total=sum(tasks.values()),
        pending=tasks.get(TaskState.PENDING, 0),
        active=tasks.get(TaskState.IN_PROGRESS, 0),
        succeeded=tasks.get(TaskState.SUCCESS, 0),
        warned=tasks.get(TaskState.WARNING, 0),
        failed=tasks.get(TaskState.FAILURE, 0),
        cancelled=tasks.get(TaskState.CANCELED, 0),
    )


def _progress(summary: JobSummary) -> str:
    ended = sum(count for state, count in summary.tasks.items() if state.ended)
    return f"{ended}/{sum(summary.tasks.values())}"[:32]  # the schema's bound


def _failures(summary: JobSummary) -> tuple[FailureCount, ...]:
    """By code alone: the examples that the ledger has are in a worker's words."""
    counts: dict[str, int] = {}
    for each in summary.failures:
        code = each.code if each.code in _CODES else str(FaultCode.UNEXPECTED)
        counts[code] = counts.get(code, 0) + each.count
    most = sorted(((count, code) for code, count in counts.items() if count > 0), key=_failures_first)
    return tuple(FailureCount(code=code, count=count, meaning=meaning(code)) for count, code in most[:_FAILURES])


def _failures_first(each: tuple[int, str]) -> tuple[bool, int, str]:
    count, code = each
    return code in WARNINGS, -count, code


def _average(summary: JobSummary) -> int | None:
    started, ended = summary.started_at, summary.record.ended_at
    if started is None or ended is None or ended <= started:
        return None
    return int(summary.bytes_stored / (ended - started).total_seconds())


def _seconds(time: datetime | None) -> datetime | None:
    return None if time is None else whole_seconds(time)


def _left_out(summary: JobSummary) -> str:
    return f" {summary.left_out} more were left out, as the profile says." if summary.left_out else ""


_CODES: Final = frozenset(str(code) for code in FaultCode)
