"""Expansion ends in the same rows, however often it is cut off, repeated or done twice at once."""

from __future__ import annotations

import threading

import pytest

from adit.ledger.expansion import BATCH, task_key
from adit.ledger.records import TaskSeed
from adit.model.outcome import Outcome
from adit.model.state import TaskState
from tests.integration.ledger.cut_off import CutOff
from tests.integration.ledger.scene import FAILURE, NOW, Scene, after, report, transfer_job

SEEDS = [TaskSeed(f"1.2.{number}") for number in range(2 * BATCH + 10)]


def test_a_crash_between_batches_is_resumed_from_the_cursor(scene: Scene) -> None:
    scene.ledger.apply_job(transfer_job(), NOW)
    job_id = scene.record().id
    with pytest.raises(KeyboardInterrupt):
        scene.ledger.expand(job_id, CutOff(SEEDS, 1), NOW)
    assert len(list(scene.ledger.tasks(job_id))) == BATCH
    assert [record.id for record in scene.ledger.unexpanded(10)] == [job_id]
    assert scene.ledger.close_jobs(NOW) == []
    assert scene.ledger.expand(job_id, SEEDS, after(5)) == BATCH + 10
    assert scene.record().expanded_at == after(5)
    assert scene.ledger.unexpanded(10) == []
    studies = [task.study_instance_uid for task in scene.ledger.tasks(job_id)]
    assert studies == [seed.study_instance_uid for seed in SEEDS]
    assert scene.ledger.expand(job_id, SEEDS, after(6)) == 0


def test_two_at_once_make_each_task_once(scene: Scene) -> None:
    scene.ledger.apply_job(transfer_job(), NOW)
    job_id = scene.record().id
    made: list[int] = []
    threads = [threading.Thread(target=lambda: made.append(scene.ledger.expand(job_id, SEEDS, NOW))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sum(made) == len(SEEDS)
    assert len(list(scene.ledger.tasks(job_id))) == len(SEEDS)


def test_the_same_thing_asked_for_twice_is_one_task(scene: Scene) -> None:
    scene.ledger.apply_job(transfer_job(), NOW)
    seeds = [
        TaskSeed("1.2", "a", ("1.2.1", "1.2.2")),
        TaskSeed("1.2", "b", ("1.2.2", "1.2.1", "1.2.1")),
        TaskSeed("1.2"),
        TaskSeed("1.2", pseudonym="P"),
    ]
    assert scene.ledger.expand(scene.record().id, seeds, NOW) == 3
    assert len({task_key(seed) for seed in seeds}) == 3


def test_what_failed_is_copied_and_nothing_else(scene: Scene) -> None:
    failed = scene.apply(transfer_job("first", studies=["1.2.1", "1.2.2", "1.2.3"]))
    scene.ledger.apply_job(transfer_job("again", selection={"failedOf": {"name": "first"}}), NOW)
    again = scene.record("again").id
    with pytest.raises(ValueError, match="not ended"):
        scene.ledger.expand_failed_of(again, failed.id, NOW)
    scene.run(failed.id)
    scene.run(failed.id, FAILURE, outcome=report(Outcome.TRANSIENT_FAULT))
    scene.run(failed.id, FAILURE, outcome=report(Outcome.TRANSIENT_FAULT))
    scene.ledger.close_jobs(NOW)
    assert scene.ledger.expand_failed_of(again, failed.id, NOW) == 2
    assert scene.ledger.expand_failed_of(again, failed.id, NOW) == 0
    copied = list(scene.ledger.tasks(again))
    assert [task.study_instance_uid for task in copied] == ["1.2.2", "1.2.3"]
    assert {(task.state, task.attempts, task.expected) for task in copied} == {(TaskState.PENDING, 0, 0)}
    assert scene.claim(again)[0].patient_id == "1003"


def test_a_job_with_nothing_to_do_ends(scene: Scene) -> None:
    scene.ledger.apply_job(transfer_job(), NOW)
    job_id = scene.record().id
    assert scene.ledger.expand(job_id, [], NOW) == 0
    assert scene.ledger.close_jobs(NOW) == [job_id]
