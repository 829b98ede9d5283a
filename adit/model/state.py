"""States of tasks and jobs in upstream's words, and the rule that makes a job's state from its tasks.

The ledger stores a task's state and counts; a job's state is always computed here, never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class TaskState(StrEnum):
    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    SUCCESS = "Success"
    WARNING = "Warning"
    FAILURE = "Failure"
    CANCELED = "Canceled"

    @property
    def ended(self) -> bool:
        return self not in (TaskState.PENDING, TaskState.IN_PROGRESS)


class JobState(StrEnum):
    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    CANCELING = "Canceling"
    CANCELED = "Canceled"
    SUCCESS = "Success"
    WARNING = "Warning"
    FAILURE = "Failure"

    @property
    def ended(self) -> bool:
        return self in (JobState.CANCELED, JobState.SUCCESS, JobState.WARNING, JobState.FAILURE)


@dataclass(frozen=True, slots=True)
class JobVerdict:
    """A job's state and the one sentence that goes with it."""

    state: JobState
    message: str


def job_verdict(counts: Mapping[TaskState, int], *, expanded: bool, canceling: bool) -> JobVerdict:
    """The state of a job whose tasks are counted in `counts`.

    Total over every mixture (upstream-behaviour.md 1.4). A job that was cancelled while tasks were open
    is Canceled, whatever became of the others. In any other job a cancelled task neither hides a failure
    nor lets the message claim that all succeeded. Two differences to upstream: a running task makes the
    job InProgress even while others are pending (there Pending), and a cancelled job whose every task had
    already ended keeps the result of its tasks (there Canceled).
    """
    pending, running, success, warning, failure, canceled = (
        counts.get(state, 0) > 0
        for state in (
            TaskState.PENDING,
            TaskState.IN_PROGRESS,
            TaskState.SUCCESS,
            TaskState.WARNING,
            TaskState.FAILURE,
            TaskState.CANCELED,
        )
    )
    if not expanded or pending or running:
        if canceling:
            return JobVerdict(JobState.CANCELING, "The job is being cancelled.")
        if running:
            return JobVerdict(JobState.IN_PROGRESS, "Tasks are being worked on.")
        return JobVerdict(JobState.PENDING, "Waiting to start.")
    if canceling and canceled:
        return JobVerdict(JobState.CANCELED, "The job was cancelled.")
    if failure:
        mixed = success or warning or canceled
        return JobVerdict(JobState.FAILURE, "Some tasks failed." if mixed else "All tasks failed.")
    if warning:
        mixed = success or canceled
        return JobVerdict(JobState.WARNING, "Some tasks have warnings." if mixed else "All tasks have warnings.")
    if success:
        message = "Some tasks were cancelled." if canceled else "All tasks succeeded."
        return JobVerdict(JobState.SUCCESS, message)
    if canceled:
        return JobVerdict(JobState.CANCELED, "All tasks were cancelled.")
    return JobVerdict(JobState.SUCCESS, "There was nothing to transfer.")
