"""The sweep on the real ledger: escalation, deadlines, and the races between a last word and a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.launcher import StillEnding
from adit.dispatch.sweep import Patience
from adit.ledger.ledger import Ledger
from adit.ledger.records import EndedAttempt, RunningAttempt, TaskRecord
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import Cancel, Selection, TransferJob
from tests.integration.dispatch.scripted import INSTANCES, Destination, ScriptedLauncher, Worker
from tests.unit.dispatch.nouns import folder_node, transfer_job

LEASE, STOP, DEADLINE = 30, 10, 20
INTERRUPTED = Fault(code=FaultCode.INTERRUPTED, message="Stopped.")
OUT_OF_DISK = Fault(code=FaultCode.OUT_OF_DISK, message="Evicted.")


class MeddlingLauncher(ScriptedLauncher):
    """Lets something happen at the very moment at which the dispatcher looks at a worker."""

    meanwhile: Callable[[], None] | None = None
    causes: tuple[Fault | None, ...] = ()  # of interruptions: None, while it cannot be told yet

    def interruption(self, ended: EndedAttempt) -> Fault | None:
        if not self.causes:
            return super().interruption(ended)
        cause, self.causes = self.causes[0], self.causes[1:]
        if cause is None:
            raise StillEnding
        return cause

    def alive(self, attempt: RunningAttempt) -> bool | None:
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None
        return super().alive(attempt)


class Stage:
    """One job with one task, one dispatcher, and a clock that the test moves."""

    def __init__(self, ledger: Ledger, worker_url: str) -> None:
        self.ledger = ledger
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.seconds = 0.0
        self.launcher = MeddlingLauncher(worker_url, Destination())
        self.dispatcher = self.new_dispatcher()

    def new_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.ledger,
            self.launcher,
            clock=lambda: self.now,
            random=lambda: 0.0,
            monotonic=lambda: self.seconds,
            settings=DispatchSettings(patience=Patience(lease=LEASE, stop=STOP, deadline=DEADLINE)),
        )

    def start(self, job: TransferJob) -> Worker:
        """The job's only worker, begun."""
        for name in ("pacs", "research"):
            self.ledger.apply_node(folder_node(name), self.now)
        self.ledger.apply_job(job, self.now)
        self.step()
        [worker] = self.launcher.running()
        worker.begin(self.now)
        return worker

    def step(self, later: float = 0) -> None:
        self.now += timedelta(seconds=later)
        self.seconds += later
        self.dispatcher.step()

    def cancel(self, job: TransferJob, cancel: Cancel) -> None:
        spec = job.spec.model_copy(update={"cancel": cancel})
        self.ledger.apply_job(job.model_copy(update={"spec": spec}), self.now)

    @property
    def task(self) -> TaskRecord:
        record = self.ledger.job(("default", "job"))
        assert record is not None
        [task] = self.ledger.tasks(record.id)
        return task

    def ended(self) -> bool:
        record = self.ledger.job(("default", "job"))
        return record is not None and record.ended_at is not None


@pytest.fixture
def stage(ledger: Ledger, worker_url: str) -> Iterator[Stage]:
    stage = Stage(ledger, worker_url)
    yield stage
    for worker in stage.launcher.running():
        worker.end()


def test_a_retry_of_a_job_that_was_only_cut_short_is_refused_and_not_green(stage: Stage) -> None:
    """Nothing failed in it, so nothing would be transferred: that must not look like a success."""
    job = transfer_job()
    stage.start(job)
    stage.cancel(job, Cancel.TERMINATE)
    stage.step()
    stage.step(STOP)
    stage.step(STOP)
    stage.step()
    assert stage.task.state is TaskState.CANCELED
    again = transfer_job("again")
    spec = again.spec.model_copy(update={"selection": Selection.model_validate({"failedOf": {"name": "job"}})})
    stage.ledger.apply_job(again.model_copy(update={"spec": spec}), stage.now)
    stage.step()
    record = stage.ledger.job(("default", "again"))
    assert record is not None
    assert record.refusal is not None
    assert record.refusal.code is FaultCode.JOB_NOT_RETRIABLE
    assert stage.ledger.summary(record.id).state is JobState.FAILURE


def test_an_interrupted_worker_learns_its_cause_from_where_it_ran(stage: Stage) -> None:
    """It was evicted: it got SIGTERM, reported in time, and could not know why."""
    worker = stage.start(transfer_job())
    stage.launcher.causes = (None, OUT_OF_DISK)
    worker.report(Outcome.CANCELLED, (INTERRUPTED,), (), stage.now)
    stage.step()
    assert stage.task.state is TaskState.IN_PROGRESS  # its pod is still there
    stage.step(1)
    [again] = stage.launcher.running()
    assert again.claim.outgrown == 1
    record = stage.ledger.job(("default", "job"))
    assert record is not None
    first = stage.ledger.manifest(record.id)["tasks"][0]["attempts"][0]  # type: ignore[index]
    assert [fault["code"] for fault in first["faults"]] == ["OutOfDisk", "Interrupted"]


def test_terminate_asks_signals_and_then_kills(stage: Stage) -> None:
    job = transfer_job()
    worker = stage.start(job)
    stage.cancel(job, Cancel.TERMINATE)
    stage.step()  # asked through the ledger
    assert not worker.stop_asked
    stage.step()
    assert worker.stop_asked
    worker.work(1, stage.now)
    stage.step(STOP - 1)
    assert worker.runs
    stage.step(1)
    assert not worker.runs
    stage.step()
    assert stage.task.state is TaskState.CANCELED
    assert stage.ended()


def test_a_worker_that_stops_when_asked_is_not_killed(stage: Stage) -> None:
    job = transfer_job()
    worker = stage.start(job)
    stage.cancel(job, Cancel.TERMINATE)
    stage.step()
    worker.report(Outcome.CANCELLED, (Fault(code=FaultCode.CANCELLED, message="Cancelled."),), (), stage.now)
    stage.step()
    assert stage.task.state is TaskState.CANCELED
    assert stage.ended()


def test_drain_lets_the_running_task_finish(stage: Stage) -> None:
    job = transfer_job()
    worker = stage.start(job)
    stage.cancel(job, Cancel.DRAIN)
    for _ in range(3):
        stage.step(5)
    assert not worker.stop_asked
    worker.work(INSTANCES, stage.now)
    worker.report(Outcome.SUCCESS, (), (), stage.now)
    stage.step()
    assert stage.task.state is TaskState.SUCCESS


def test_a_worker_out_of_reach_that_ignores_the_stop_is_fenced(stage: Stage) -> None:
    job = transfer_job()
    worker = stage.start(job)
    worker.seen = False
    stage.cancel(job, Cancel.TERMINATE)
    stage.step()
    stage.step()
    for _ in range(2 * STOP):
        worker.work(1, stage.now)
        stage.step(1)
    assert stage.task.state is TaskState.CANCELED
    worker.work(INSTANCES, stage.now)
    assert not worker.runs, "it was not told that it is fenced"
    assert stage.task.stored == 1


def test_a_worker_that_overruns_its_deadline_is_stopped(stage: Stage) -> None:
    worker = stage.start(transfer_job(deadline_seconds=100))
    for _ in range(12):
        worker.work(1, stage.now)
        stage.step(10)  # in the end it is DEADLINE seconds too late
    stage.step()
    assert worker.stop_asked
    worker.report(Outcome.CANCELLED, (INTERRUPTED,), (), stage.now)
    stage.step()
    assert stage.task.state is TaskState.FAILURE
    assert stage.task.fault is not None
    assert stage.task.fault.code is FaultCode.DEADLINE_EXCEEDED


def test_a_report_written_just_before_the_exit_stands(stage: Stage) -> None:
    """The dispatcher read the ledger, then the worker reported and exited, then the dispatcher looked at it."""
    worker = stage.start(transfer_job())
    at = stage.now  # the worker's clock stands still: its last heartbeat and its report have the same time
    worker.work(INSTANCES, at)
    stage.launcher.meanwhile = lambda: worker.report(Outcome.SUCCESS, (), (), at)
    stage.step(1)
    assert stage.task.state is TaskState.SUCCESS
    assert stage.task.attempts == 1


def test_a_heartbeat_at_the_last_moment_counts(stage: Stage) -> None:
    worker = stage.start(transfer_job())
    stage.step()
    stage.launcher.meanwhile = lambda: worker.work(1, stage.now)
    stage.step(LEASE)
    assert worker.runs
    assert stage.task.state is TaskState.IN_PROGRESS
    stage.step(LEASE - 1)
    assert worker.runs
    stage.step(1)
    stage.step(LEASE)
    assert not worker.runs
    assert stage.task.attempts == 2


def test_a_silent_worker_is_fenced_and_killed_and_its_task_goes_on(stage: Stage) -> None:
    worker = stage.start(transfer_job())
    worker.work(1, stage.now)
    stage.step()
    stage.step(LEASE)
    assert not worker.runs
    stage.step(1)
    [second] = stage.launcher.running()
    assert second.attempt_id != worker.attempt_id
    assert stage.task.attempts == 2


def test_a_claim_that_was_never_launched_comes_back_after_a_lease(stage: Stage) -> None:
    """The dispatcher died between its claim and the launch."""
    stage.start(transfer_job()).end()
    del stage.launcher.workers[1]
    stage.dispatcher = stage.new_dispatcher()
    stage.step()
    stage.step(LEASE - 1)
    assert stage.launcher.running() == []
    stage.step(1)
    stage.step(1)
    assert len(stage.launcher.running()) == 1


def test_a_clock_that_jumps_declares_nobody_lost(stage: Stage) -> None:
    worker = stage.start(transfer_job())
    stage.step()
    for hours in (9, -20, 400):
        stage.now += timedelta(hours=hours)
        stage.step()
    assert worker.runs
    assert stage.task.attempts == 1
