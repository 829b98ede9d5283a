"""The dispatcher killed after each write of a day with everything in it; the day ends the same all the same.

`tests/faults/test_dispatcher_crash` kills real processes on the straight road. Here are the writes off it:
refusal, retry, loss, drain, termination, deadline, retention. Between two writes nothing changes, so a kill
before a write is one after the write that came before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, select, text

from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.sweep import Patience
from adit.ledger.connection import engine, transaction
from adit.ledger.ledger import Ledger
from adit.ledger.tables import instance, job, node, task
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import JobState, TaskState
from adit.model.transfer_job import Cancel, Retention, StudySelection, TransferJob
from tests.integration.dispatch.scripted import INSTANCES, Destination, Killed, ScriptedLauncher, Worker
from tests.sample import Sample
from tests.unit.dispatch.nouns import folder_node, transfer_job

LEASE = 30
KILLS = 12
"""Of one day, without `make test-sweeps`."""
UNREACHABLE = Fault(code=FaultCode.NODE_UNREACHABLE, message="Not there.")
STOPPED = Fault(code=FaultCode.CANCELLED, message="Stopped.")
AT_THE_END = {
    "retried": (JobState.SUCCESS, {TaskState.SUCCESS: 1}),
    "vanishing": (JobState.SUCCESS, {TaskState.SUCCESS: 1}),
    "terminated": (JobState.CANCELED, {TaskState.CANCELED: 1}),
    "drained": (JobState.CANCELED, {TaskState.SUCCESS: 1, TaskState.CANCELED: 1}),
    "overdue": (JobState.FAILURE, {TaskState.FAILURE: 1}),
    "refused": (JobState.FAILURE, {}),
}


@dataclass
class Killer:
    """Kills the dispatcher after the `fatal`-th write that it makes; counts them all."""

    fatal: int | None = None
    writes: list[str] = field(default_factory=list)

    def guard(self, target: Any) -> Any:
        return _Guarded(target, self)

    def wrote(self, what: str) -> None:
        self.writes.append(what)
        if len(self.writes) == self.fatal:
            raise Killed


@dataclass
class _Guarded:
    target: Any
    killer: Killer

    _SILENT = ("launch", "request_stop", "stop", "kill")  # writes that return nothing
    _TELLING = ("refuse", "expand", "cancel_pending", "fail_overdue", "declare_lost", "settle", "close_jobs", "expire")

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.target, name)
        if name == "admission":
            return lambda now: self._admission(method, now)
        if name not in self._SILENT + self._TELLING:
            return method

        def write(*given: Any, **named: Any) -> Any:
            result = method(*given, **named)
            if name in self._SILENT or result:
                self.killer.wrote(name)
            return result

        return write

    @contextmanager
    def _admission(self, method: Callable[[datetime], Any], now: datetime) -> Iterator[Any]:
        claims: list[Any] = []
        with method(now) as admission:
            claim = admission.claim

            def remembered(*given: Any) -> list[Any]:
                claims.extend(claim(*given))
                return claims

            admission.claim = remembered
            yield admission
        if claims:
            self.killer.wrote("claim")


class Day:
    """Six jobs, each with a fate of its own, one dispatcher after another, and a clock that the test moves."""

    def __init__(self, source: Engine, worker_url: str, killer: Killer) -> None:
        self.source = source
        self.ledger = Ledger(source)
        self.killer = killer
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.seconds = 0.0
        self.launcher = ScriptedLauncher(worker_url, Destination())
        self.dispatcher = self.new_dispatcher()
        with transaction(source) as connection:
            connection.execute(text(f"TRUNCATE {job.name}, {node.name} CASCADE"))

    def new_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.killer.guard(self.ledger),
            self.killer.guard(self.launcher),
            clock=lambda: self.now,
            random=lambda: 0.0,
            monotonic=lambda: self.seconds,
            settings=DispatchSettings(patience=Patience(lease=LEASE, stop=10, deadline=10), retention_seconds=0),
        )

    def pass_by(self) -> None:
        for name in ("pacs", "research"):
            self.ledger.apply_node(folder_node(name), self.now)
        self.apply(transfer_job("retried"))
        self.apply(transfer_job("vanishing"))
        self.apply(transfer_job("terminated"))
        self.apply(transfer_job("drained", parallelism=1, studies=_studies("1.2.3", "1.2.4")))
        self.apply(transfer_job("overdue", deadline_seconds=20), suspend=True)
        pseudonym = StudySelection(study_instance_uid="1.2.5", pseudonym="P1")
        self.apply(transfer_job("refused", studies=(pseudonym,)))
        for _ in range(40):
            self.step()
            for worker in self.launcher.running():
                self.work(worker)
            if self.has_ended():
                self.step()  # retention
                return
        raise AssertionError("the day does not end")

    def apply(self, applied: TransferJob, **changes: Any) -> None:
        spec = applied.spec.model_copy(update={"retention": Retention(instances_seconds=0), **changes})
        self.ledger.apply_job(applied.model_copy(update={"spec": spec}), self.now)

    def step(self) -> None:
        self.now += timedelta(seconds=11)
        self.seconds += 11
        try:
            self.dispatcher.step()
        except Killed:
            self.dispatcher = self.new_dispatcher()

    def work(self, worker: Worker) -> None:
        """One act of a worker: it begins, and then does what its job's fate and its attempt's number say."""
        fate, number = worker.claim.assignment.job_name, worker.claim.assignment.number
        if not worker.begun:
            worker.begin(self.now)
            if fate in ("terminated", "drained"):
                self.cancel(fate, Cancel.TERMINATE if fate == "terminated" else Cancel.DRAIN)
        elif fate == "terminated":
            worker.work(1, self.now)
            if worker.stop_asked:
                worker.report(Outcome.CANCELLED, (STOPPED,), (), self.now)
        elif fate == "retried" and not self.failed_before(worker):
            worker.report(Outcome.TRANSIENT_FAULT, (UNREACHABLE,), (), self.now)
        elif fate == "vanishing" and number == 1:
            worker.end()
        else:
            worker.work(INSTANCES, self.now)
            worker.report(Outcome.SUCCESS, (), (), self.now)

    def failed_before(self, worker: Worker) -> bool:
        events = self.ledger.events(worker.claim.assignment.task_id)
        return any(event.code == FaultCode.NODE_UNREACHABLE for event in events)

    def cancel(self, name: str, cancel: Cancel) -> None:
        record = self.ledger.job(("default", name))
        assert record is not None
        self.apply(record.job, cancel=cancel)

    def has_ended(self) -> bool:
        return all(record.ended_at is not None for record in self.ledger.jobs())

    def end(self) -> dict[str, tuple[JobState, dict[TaskState, int]]]:
        summaries = [self.ledger.summary(record.id) for record in self.ledger.jobs()]
        return {
            summary.record.job.metadata.name: (summary.state, {state: n for state, n in summary.tasks.items() if n})
            for summary in summaries
        }


def test_a_day_ends_the_same_after_whichever_write_the_dispatcher_died(
    ledger_url: str, worker_url: str, sample: Sample
) -> None:
    source = engine(ledger_url)
    undisturbed = Killer()
    _ends_well(Day(source, worker_url, undisturbed), "not at all")
    assert {*undisturbed.writes} >= {*_Guarded._TELLING, "launch", "request_stop", "stop", "claim"}
    for fatal in sample(range(1, len(undisturbed.writes) + 1), KILLS):
        killer = Killer(fatal)
        _ends_well(Day(source, worker_url, killer), f"after write {fatal}, {undisturbed.writes[fatal - 1]}")
        assert len(killer.writes) >= fatal
    with transaction(source) as connection:  # what retention left: the summaries, no rows
        assert connection.execute(select(func.count()).select_from(instance)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(task)).scalar_one() > 0
    source.dispose()


def _ends_well(day: Day, killed: str) -> None:
    day.pass_by()
    assert day.end() == AT_THE_END, f"killed {killed}"
    for record in day.ledger.jobs():
        for done in day.ledger.tasks(record.id):
            assert done.state is not TaskState.SUCCESS or day.launcher.destination.has_all(done.id)


def _studies(*uids: str) -> tuple[StudySelection, ...]:
    return tuple(StudySelection(study_instance_uid=uid) for uid in uids)
