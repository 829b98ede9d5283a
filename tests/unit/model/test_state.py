"""A job's state where its tasks ended differently: what a cancel may hide, and what it may not."""

from __future__ import annotations

import pytest

from adit.model.state import JobState, TaskState, job_verdict

S, W, F, C = TaskState.SUCCESS, TaskState.WARNING, TaskState.FAILURE, TaskState.CANCELED


@pytest.mark.parametrize(
    ("ended", "canceling", "state", "message"),
    [
        ((S, C), True, JobState.CANCELED, "The job was cancelled."),
        ((F, C), True, JobState.CANCELED, "The job was cancelled."),
        ((S, F), True, JobState.FAILURE, "Some tasks failed."),
        ((S,), True, JobState.SUCCESS, "All tasks succeeded."),
        ((S, W, F, C), False, JobState.FAILURE, "Some tasks failed."),
        ((S, C), False, JobState.SUCCESS, "Some tasks were cancelled."),
        ((C,), False, JobState.CANCELED, "All tasks were cancelled."),
        ((), False, JobState.SUCCESS, "There was nothing to transfer."),
    ],
)
def test_the_state_of_ended_tasks(ended: tuple[TaskState, ...], canceling: bool, state: JobState, message: str) -> None:
    verdict = job_verdict(dict.fromkeys(ended, 1), expanded=True, canceling=canceling)
    assert (verdict.state, verdict.message) == (state, message)
