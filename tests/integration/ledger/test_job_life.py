"""Cancel, deadline and end of jobs, and every mixture of task states through real rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, text

from adit.ledger.connection import engine, transaction
from adit.ledger.records import Settlement
from adit.model.outcome import FaultCode, Outcome
from adit.model.state import JobState, TaskState, job_verdict
from tests.integration.ledger.scene import NOW, Scene, after, report, transfer_job

STUDIES = ["1.2.1", "1.2.2", "1.2.3"]


def states(scene: Scene) -> list[TaskState]:
    return [task.state for task in scene.ledger.tasks(scene.record().id)]


def test_cancel_ends_what_waits_and_leaves_what_runs(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES))
    assert scene.ledger.cancel_pending(NOW) == 0
    running = scene.claim(job.id)[0]
    scene.ledger.apply_job(transfer_job(studies=STUDIES, cancel="Drain"), NOW)
    assert scene.ledger.summary(job.id).state is JobState.CANCELING
    assert scene.ledger.cancel_pending(after(1)) == 2
    assert scene.ledger.cancel_pending(after(2)) == 0
    assert scene.ledger.terminating() == []
    assert states(scene) == [TaskState.IN_PROGRESS, TaskState.CANCELED, TaskState.CANCELED]
    scene.attempt(running, [], report(Outcome.CANCELLED))
    scene.ledger.settle(running.attempt_id, Settlement(TaskState.CANCELED), after(3))
    assert scene.ledger.close_jobs(after(4)) == [job.id]
    assert scene.ledger.summary(job.id).state is JobState.CANCELED


def test_terminate_names_the_running_attempts_until_they_are_asked(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES))
    ids = [claim.attempt_id for claim in scene.claim(job.id, 2)]
    scene.ledger.apply_job(transfer_job(studies=STUDIES, cancel="Terminate"), NOW)
    assert scene.ledger.terminating() == ids
    assert [attempt.terminate for attempt in scene.ledger.running()] == [True, True]
    scene.ledger.request_stop(ids[:1], NOW)
    assert scene.ledger.terminating() == ids[1:]


def test_a_job_cancelled_before_its_expansion_tells_what_was_not_done(scene: Scene) -> None:
    scene.apply(transfer_job(studies=STUDIES, cancel="Drain"))
    assert scene.ledger.cancel_pending(NOW) == 3
    assert scene.ledger.close_jobs(NOW) == [scene.record().id]
    assert scene.ledger.summary(scene.record().id).state is JobState.CANCELED


def test_what_waits_past_the_deadline_fails(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=STUDIES, deadlineSeconds=60))
    claimed = scene.claim(job.id)[0]
    assert scene.ledger.next_due(NOW) == after(60)
    assert scene.ledger.fail_overdue(after(59)) == 0
    assert scene.ledger.fail_overdue(after(60)) == 2
    assert states(scene) == [TaskState.IN_PROGRESS, TaskState.FAILURE, TaskState.FAILURE]
    fault = list(scene.ledger.tasks(job.id))[1].fault
    assert fault is not None
    assert fault.code is FaultCode.DEADLINE_EXCEEDED
    assert scene.ledger.running()[0].deadline == after(60)
    assert claimed.deadline == after(60)


def test_next_due_looks_at_what_may_start(scene: Scene) -> None:
    job = scene.apply()
    assert scene.ledger.next_due(NOW) is None
    scene.run(job.id, Settlement(TaskState.PENDING, not_before=after(30)), outcome=report(Outcome.TRANSIENT_FAULT))
    assert scene.ledger.next_due(NOW) == after(30)
    assert scene.ledger.next_due(after(30)) is None
    scene.ledger.apply_job(transfer_job(suspend=True), NOW)
    assert scene.ledger.next_due(NOW) is None


MIXTURES = [
    mixture for size in (1, 2) for mixture in itertools.combinations_with_replacement(list(TaskState), size)
] + [(TaskState.SUCCESS, TaskState.FAILURE, TaskState.CANCELED), tuple(TaskState)]


def test_a_jobs_state_is_that_of_its_rows_in_every_mixture(scene: Scene, ledger_url: str) -> None:
    source = engine(ledger_url, connections=1)
    try:
        for number, mixture in enumerate(MIXTURES):
            for cancel in (None, "Drain"):
                name = f"job-{number}-{cancel}".lower()
                studies = [f"1.{place}" for place in range(len(mixture))]
                job = scene.apply(transfer_job(name, studies, cancel=cancel))
                put(source, [task.id for task in scene.ledger.tasks(job.id)], mixture)
                counts = {state: mixture.count(state) for state in mixture}
                expected = job_verdict(counts, expanded=True, canceling=cancel is not None)
                summary = scene.ledger.summary(job.id)
                assert (summary.state, summary.message, summary.tasks) == (expected.state, expected.message, counts)
    finally:
        source.dispose()


def put(source: Engine, ids: Sequence[int], mixture: Sequence[TaskState]) -> None:
    statement = text("UPDATE task SET state = :state, ended_at = :ended, expected = 1, verified = 1 WHERE id = :id")
    with transaction(source) as connection:
        for task_id, state in zip(ids, mixture, strict=True):
            connection.execute(statement, {"id": task_id, "state": state, "ended": NOW if state.ended else None})


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.IN_PROGRESS])
def test_a_job_with_an_open_task_is_not_closed(scene: Scene, state: TaskState) -> None:
    job = scene.apply(transfer_job(studies=STUDIES))
    scene.run(job.id)
    if state is TaskState.IN_PROGRESS:
        scene.claim(job.id, 2)
    assert scene.ledger.close_jobs(NOW) == []
    assert {task.state for task in scene.ledger.tasks(job.id, state=state)} == {state}
