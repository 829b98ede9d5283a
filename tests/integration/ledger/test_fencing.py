"""Fencing: an attempt that is not, or no longer, a worker's own cannot be changed by it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from adit.ledger.attempt_ledger import AttemptLedger, Fenced
from adit.ledger.records import EventRecord, Settlement
from adit.model.assignment import Assignment, Progress, Report
from adit.model.outcome import Outcome
from adit.model.state import TaskState
from tests.integration.ledger.scene import LOST, NOW, Scene, after, report, row

EVENT = EventRecord(0, None, NOW, "info", "Noted", "A word.")
CALLS: dict[str, Callable[[AttemptLedger], object]] = {
    "begin": lambda worker: worker.begin("w", NOW),
    "instances": lambda worker: worker.instances(),
    "write": lambda worker: worker.write([row("1")], Progress(verified=1), [EVENT], NOW),
    "heartbeat": lambda worker: worker.write([], Progress(), [], NOW),
    "finish": lambda worker: worker.finish(report(), NOW),
}


def begun(scene: Scene) -> tuple[Assignment, AttemptLedger]:
    assignment = scene.claim(scene.apply().id)[0]
    worker = scene.worker(assignment)
    worker.begin("w", NOW)
    return assignment, worker


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Callable[[AttemptLedger], object]:
    return CALLS[request.param]


def test_a_wrong_token_opens_nothing(scene: Scene, call: Callable[[AttemptLedger], object]) -> None:
    assignment, worker = begun(scene)
    worker.close()
    stranger = AttemptLedger(scene.worker_url, assignment.attempt_id, uuid4())
    with pytest.raises(Fenced, match=f"attempt {assignment.attempt_id}"):
        call(stranger)
    stranger.close()
    untouched(scene, assignment)


def test_after_declare_lost_nothing_can_be_written(scene: Scene, call: Callable[[AttemptLedger], object]) -> None:
    assignment, worker = begun(scene)
    assert scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=NOW, fault=LOST, now=after(60))
    with pytest.raises(Fenced):
        call(worker)
    worker.close()
    untouched(scene, assignment)
    (ended,) = scene.ledger.ended(10)
    assert (ended.report.outcome, ended.report.faults) == (Outcome.TRANSIENT_FAULT, (LOST,))


def test_after_the_end_only_the_same_end_may_be_repeated(scene: Scene, call: Callable[[AttemptLedger], object]) -> None:
    assignment, worker = begun(scene)
    mine = Report(outcome=Outcome.PARTIAL)
    worker.finish(mine, NOW)
    worker.finish(mine, after(1))
    with pytest.raises(Fenced):
        call(worker)
    worker.close()
    untouched(scene, assignment)
    assert [ended.report for ended in scene.ledger.ended(10)] == [mine]


def untouched(scene: Scene, assignment: Assignment) -> None:
    assert list(scene.ledger.instances(assignment.task_id)) == []
    assert "Noted" not in [event.code for event in scene.ledger.events(assignment.task_id)]


def test_the_next_attempt_is_out_of_reach_of_the_last(scene: Scene) -> None:

    assignment, late = begun(scene)
    scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=NOW, fault=LOST, now=NOW)
    scene.ledger.settle(assignment.attempt_id, Settlement(TaskState.PENDING, not_before=NOW), NOW)
    second = scene.claim(assignment.job_id)[0]
    worker = scene.worker(second)
    worker.begin("w2", NOW)
    with pytest.raises(Fenced):
        late.write([row("1")], Progress(), [], NOW)
    assert worker.instances() == []
    worker.close()
    late.close()


def test_begin_is_repeatable_by_the_same_worker_only(scene: Scene) -> None:
    assignment, worker = begun(scene)
    assert worker.begin("w", after(5)).attempt_id == assignment.attempt_id
    with pytest.raises(Fenced):
        worker.begin("another", after(6))
    worker.close()
    (running,) = scene.ledger.running()
    assert (running.reference, running.begun_at, running.heartbeat_at) == ("w", NOW, after(5))


def test_a_sign_of_life_in_between_saves_the_attempt(scene: Scene) -> None:
    assignment, worker = begun(scene)
    worker.write([], Progress(), [], after(29))
    assert not scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=NOW, fault=LOST, now=after(31))
    worker.write([row("1")], Progress(), [], after(32))
    worker.close()
    assert scene.ledger.running()[0].heartbeat_at == after(32)
    assert scene.ledger.ended(10) == []


def test_one_that_never_began_is_lost_by_comparing_with_nothing(scene: Scene) -> None:
    assignment = scene.claim(scene.apply().id)[0]
    assert not scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=NOW, fault=LOST, now=NOW)
    assert scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    assert not scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    assert scene.ledger.running() == []


def test_a_report_at_the_last_moment_stands(scene: Scene) -> None:
    assignment, worker = begun(scene)
    worker.finish(report(), NOW)
    worker.close()
    assert not scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=NOW, fault=LOST, now=NOW)
    assert scene.ledger.ended(10)[0].report.outcome is Outcome.SUCCESS


def test_the_worker_hears_that_it_is_to_stop(scene: Scene) -> None:
    assignment, worker = begun(scene)
    assert not worker.write([], Progress(), [], NOW).stop
    scene.ledger.request_stop([assignment.attempt_id], after(1))
    scene.ledger.request_stop([assignment.attempt_id], after(2))
    assert worker.write([], Progress(), [], NOW).stop
    worker.close()
    assert scene.ledger.running()[0].stop_requested_at == after(1)


def test_what_the_worker_tells_stands_under_its_own_task_and_number(scene: Scene) -> None:
    assignment, worker = begun(scene)
    told = EventRecord(999, 77, after(1), "warning", "Noted", "A word.", {"road": "C-GET"})
    worker.write([], Progress(received=3, bytes_received=10, road="C-GET"), [told], NOW)
    worker.close()
    event = scene.ledger.events(assignment.task_id)[-1]
    assert (event.task_id, event.attempt_number, event.detail) == (assignment.task_id, 1, {"road": "C-GET"})
    assert (event.at, event.level, event.code) == (after(1), "warning", "Noted")
