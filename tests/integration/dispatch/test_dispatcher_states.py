"""The dispatcher as a state machine: whatever happens, in whatever order, its promises hold.

Real ledger, real Postgres, two dispatchers, workers that end in every way. After each event the
invariants are read from the tables themselves; in the end everything must have come to an end.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, func, select, text

from adit.dispatch.dispatcher import Dispatcher, DispatchSettings
from adit.dispatch.sweep import Patience
from adit.ledger.connection import engine, transaction
from adit.ledger.ledger import Ledger
from adit.ledger.records import JobRecord
from adit.ledger.resources import ResourceConflict
from adit.ledger.tables import attempt, instance, job, node, task
from adit.model.dicom_node import DicomNode, Limits, Window
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import TaskState
from adit.model.transfer_job import Cancel, Priority, Retry, StudySelection, TransferJob
from tests.integration.dispatch.scripted import INSTANCES, Destination, Fuse, ScriptedLauncher, Worker
from tests.unit.dispatch.nouns import folder_node, transfer_job

LEASE = 30
NODES = ("pacs", "archive", "research")
ENDINGS: tuple[tuple[Outcome, FaultCode | None], ...] = (
    (Outcome.SUCCESS, None),
    (Outcome.SUCCESS, FaultCode.PATIENT_ID_MISMATCH),
    (Outcome.PARTIAL, FaultCode.INCOMPLETE),
    (Outcome.EMPTY, FaultCode.NOTHING_RECEIVED),
    (Outcome.TRANSIENT_FAULT, FaultCode.NODE_UNREACHABLE),
    (Outcome.TRANSIENT_FAULT, FaultCode.INTERRUPTED),
    (Outcome.PERMANENT_DATA_FAULT, FaultCode.STUDY_NOT_FOUND),
    (Outcome.PERMANENT_CONFIGURATION_FAULT, FaultCode.TLS_FAILED),
    (Outcome.DEADLINE, FaultCode.DEADLINE_EXCEEDED),
    (Outcome.CANCELLED, FaultCode.CANCELLED),
    (Outcome.BUG, FaultCode.UNEXPECTED),
)

any_limits = st.builds(
    lambda tasks, more: Limits(tasks=tasks, associations=tasks + more), st.integers(1, 4), st.integers(0, 4)
)
which = st.integers(0, 10**6)


def fault_of(code: FaultCode) -> Fault:
    return Fault(code=code, message="As the script says.", node="pacs")


class World(RuleBasedStateMachine):
    """What can happen to a running system, one event at a time."""

    source: Engine
    worker_url: str

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(self.source)
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)
        self.latest = self.now  # what a clock that was set back will show again
        self.seconds = 1000.0
        self.random = random.Random(0)
        self.destination = Destination()
        self.launcher = ScriptedLauncher(self.worker_url, self.destination)
        self.fuse = Fuse()
        self.dispatchers = [self.new_dispatcher(), self.new_dispatcher()]
        self.jobs: dict[str, TransferJob] = {}
        self.nodes: dict[str, DicomNode] = {}
        self.budgeted: set[int] = set()  # attempts whose claim was checked against the limits of the moment
        self.ended_tasks: dict[int, tuple[object, ...]] = {}
        self.ended_jobs: dict[str, tuple[object, ...]] = {}
        with transaction(self.source) as connection:
            tables = ", ".join(table.name for table in (job, task, attempt, instance, node))
            connection.execute(text(f"TRUNCATE {tables} CASCADE"))

    def new_dispatcher(self) -> Dispatcher:
        return Dispatcher(
            self.fuse.guard(self.ledger),
            self.fuse.guard(self.launcher),
            clock=lambda: self.now,
            random=self.random.random,
            monotonic=lambda: self.seconds,
            settings=DispatchSettings(patience=Patience(lease=LEASE, stop=10, deadline=10)),
        )

    # --- what people do ---

    @initialize(limits=any_limits, studies=st.integers(2, 5), attempts=st.integers(1, 3))
    def there_is_a_job_between_two_nodes_and_a_third_is_missing(
        self, limits: Limits, studies: int, attempts: int
    ) -> None:
        for name in NODES[:2]:
            self.apply_node(folder_node(name, limits))
        self.a_job_is_applied(studies, list(NODES), "anna", Priority.NORMAL, 3, attempts, None, False)
        self.a_dispatcher_steps(0, 0)

    def apply_node(self, applied: DicomNode) -> None:
        self.nodes[applied.metadata.name] = applied
        self.ledger.apply_node(applied, self.now)

    @precondition(lambda self: len(self.jobs) < 4)
    @rule(
        studies=st.integers(1, 4),
        ends=st.permutations(NODES),
        owner=st.sampled_from(("anna", "ben")),
        priority=st.sampled_from(Priority),
        parallelism=st.integers(1, 3),
        attempts=st.integers(1, 3),
        deadline=st.sampled_from((None, None, 300)),
        suspend=st.booleans(),
    )
    def a_job_is_applied(
        self,
        studies: int,
        ends: list[str],
        owner: str,
        priority: Priority,
        parallelism: int,
        attempts: int,
        deadline: int | None,
        suspend: bool,
    ) -> None:
        name = f"job-{len(self.jobs)}"
        applied = transfer_job(
            name,
            source=ends[0],
            destination=ends[1],
            owner=owner,
            priority=priority,
            parallelism=parallelism,
            retry=Retry(max_attempts=attempts, backoff_seconds=10, max_backoff_seconds=20),
            deadline_seconds=deadline,
            studies=tuple(
                StudySelection(study_instance_uid=f"1.2.{len(self.jobs)}.{number}") for number in range(studies)
            ),
        )
        self.apply_job(self.edited(applied, suspend=suspend))

    def apply_job(self, applied: TransferJob) -> None:
        try:
            self.ledger.apply_job(applied, self.now)
        except ResourceConflict:
            return
        self.jobs[applied.metadata.name] = applied

    @staticmethod
    def edited(resource: TransferJob, **changes: Any) -> TransferJob:
        return resource.model_copy(update={"spec": resource.spec.model_copy(update=changes)})

    @precondition(lambda self: self.jobs)
    @rule(
        chosen=which,
        change=st.sampled_from(
            (
                {"suspend": True},
                {"suspend": False},
                {"suspend": False},
                {"cancel": Cancel.DRAIN},
                {"cancel": Cancel.TERMINATE},
                {"priority": Priority.URGENT},
                {"parallelism": 1},
            )
        ),
    )
    def a_job_is_edited(self, chosen: int, change: dict[str, Any]) -> None:
        self.apply_job(self.edited(self.jobs[sorted(self.jobs)[chosen % len(self.jobs)]], **change))

    @rule(name=st.sampled_from(NODES), limits=any_limits, night=st.booleans())
    def a_node_is_applied(self, name: str, limits: Limits, night: bool) -> None:
        windows = (Window.model_validate({"from": "20:00", "to": "06:00", "timeZone": "Etc/UTC"}),)
        self.apply_node(folder_node(name, limits, windows if night else ()))

    # --- what time and dispatchers do ---

    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds

    @rule(hours=st.sampled_from((-1, 1, 9)))
    def the_clock_is_set(self, hours: int) -> None:
        self.latest = max(self.latest, self.now)
        self.now += timedelta(hours=hours)

    @rule(chosen=st.integers(0, 1), later=st.sampled_from((0, 1, 11, 21, LEASE)))
    def a_dispatcher_steps(self, chosen: int, later: int) -> None:
        self.time_passes(later)
        self.dispatchers[chosen].step()
        self.promises_hold()

    @rule(chosen=st.integers(0, 1), calls=st.integers(1, 16), after=st.booleans(), refusals=st.integers(0, 2))
    def a_dispatcher_is_killed_and_replaced(self, chosen: int, calls: int, after: bool, refusals: int) -> None:
        """At one of its calls, if it makes as many; some of its launches may fail before."""
        self.launcher.refusals = refusals
        with self.fuse.lit(calls, after=after):
            self.dispatchers[chosen].step()
        self.launcher.refusals = 0
        self.dispatchers[chosen] = self.new_dispatcher()
        self.promises_hold()

    # --- what workers do ---

    @precondition(lambda self: self.launcher.running())
    @rule(chosen=which, stored=st.integers(0, INSTANCES))
    def a_worker_works(self, chosen: int, stored: int) -> None:
        self.begun_worker(chosen).work(stored, self.now)

    @precondition(lambda self: self.launcher.running())
    @rule(chosen=which, ending=st.sampled_from(ENDINGS), stored=st.integers(0, INSTANCES))
    def a_worker_reports(self, chosen: int, ending: tuple[Outcome, FaultCode | None], stored: int) -> None:
        """Also a lie: success while not all is stored."""
        self.finish(self.begun_worker(chosen), ending, stored)

    @precondition(lambda self: self.launcher.running())
    @rule(chosen=which, warning=st.sampled_from((None, None, FaultCode.PATIENT_ID_MISMATCH)))
    def a_worker_succeeds(self, chosen: int, warning: FaultCode | None) -> None:
        self.finish(self.begun_worker(chosen), (Outcome.SUCCESS, warning), INSTANCES)

    @precondition(lambda self: self.launcher.running())
    @rule(chosen=which)
    def a_worker_vanishes(self, chosen: int) -> None:
        self.worker(chosen).end()

    @precondition(lambda self: self.launcher.running())
    @rule(chosen=which)
    def a_worker_goes_out_of_sight(self, chosen: int) -> None:
        """Its machine is cut off from the launcher; it may write again much later, when it was given up."""
        self.worker(chosen).seen = False

    def worker(self, chosen: int) -> Worker:
        running = self.launcher.running()
        return running[chosen % len(running)]

    def begun_worker(self, chosen: int) -> Worker:
        worker = self.worker(chosen)
        if not worker.begun:
            worker.begin(self.now)
        return worker

    def finish(self, worker: Worker, ending: tuple[Outcome, FaultCode | None], stored: int) -> None:
        outcome, code = ending
        told = () if code is None else (fault_of(code),)
        worker.work(stored, self.now)
        if outcome is Outcome.SUCCESS:
            worker.report(outcome, (), told, self.now)
        else:
            worker.report(outcome, told, (), self.now)

    # --- what must hold whenever a dispatcher has done something, and in the end ---

    def promises_hold(self) -> None:
        self.no_budget_was_exceeded_by_a_claim()
        self.what_has_ended_stays_as_it_is_and_what_is_green_has_arrived()
        self.states_counts_and_rows_agree()

    def no_budget_was_exceeded_by_a_claim(self) -> None:
        with transaction(self.source) as connection:
            open_attempts = connection.execute(select(attempt).where(attempt.c.settled_at.is_(None))).all()
        fresh = [row for row in open_attempts if row.id not in self.budgeted]
        self.budgeted.update(row.id for row in fresh)
        for name in {row.source for row in fresh} | {row.destination for row in fresh}:
            limits = self.nodes[name].spec.limits
            fetching = [row.source_associations for row in open_attempts if row.source == name]
            storing = [row.destination_associations for row in open_attempts if row.destination == name]
            assert len(fetching) + len(storing) <= limits.tasks
            assert sum(fetching) + sum(storing) <= limits.associations

    def what_has_ended_stays_as_it_is_and_what_is_green_has_arrived(self) -> None:
        with transaction(self.source) as connection:
            tasks = connection.execute(select(task)).all()
        for row in tasks:
            if row.id in self.ended_tasks:
                assert self.ended_tasks[row.id] == tuple(row)
            elif TaskState(row.state).ended:
                self.ended_tasks[row.id] = tuple(row)
            if row.state in (TaskState.SUCCESS, TaskState.WARNING):
                assert self.destination.has_all(row.id)
                assert row.expected == row.verified == INSTANCES

    def states_counts_and_rows_agree(self) -> None:
        for record in self.ledger.jobs():
            summary = self.ledger.summary(record.id)
            with transaction(self.source) as connection:
                rows = connection.execute(select(task.c.state).where(task.c.job_id == record.id)).scalars().all()
                expected = connection.execute(
                    select(func.count())
                    .select_from(instance.join(task, task.c.id == instance.c.task_id))
                    .where(task.c.job_id == record.id)
                ).scalar_one()
            counts = Counter(TaskState(state) for state in rows)
            assert {state: count for state, count in summary.tasks.items() if count} == dict(counts)
            if record.ended_at is None:
                assert not summary.state.ended or record.expanded_at is not None
                continue
            assert summary.state.ended
            assert all(state.ended for state in counts)
            assert summary.expected == expected
            facts = (record.ended_at, summary.state, summary.message, dict(counts))
            assert self.ended_jobs.setdefault(record.job.metadata.name, facts) == facts

    # --- and in the end ---

    def teardown(self) -> None:
        """People let everything run, workers do their work: then every task ends, and no worker is left over."""
        self.now = max(self.now, self.latest)
        for name in NODES:
            self.apply_node(folder_node(name, Limits(tasks=4, associations=8)))
        for resource in list(self.jobs.values()):
            if resource.spec.suspend:
                self.apply_job(self.edited(resource, suspend=False))
        for _ in range(200):
            if self.all_ended():
                break
            self.a_dispatcher_steps(0, 10)
            for worker in self.launcher.running():
                if not worker.begun:
                    worker.begin(self.now)
                elif worker.seen:
                    self.finish(worker, (Outcome.SUCCESS, None), INSTANCES)
        assert self.all_ended(), "some task never ended"
        self.no_worker_is_left_over()

    def all_ended(self) -> bool:
        return all(record.ended_at is not None for record in self.records())

    def records(self) -> list[JobRecord]:
        return self.ledger.jobs()

    def no_worker_is_left_over(self) -> None:
        """Whoever still runs was given up, out of sight; it can write nothing more, and notices it."""
        before = dict(self.ended_tasks)
        for worker in self.launcher.running():
            assert not worker.seen
            worker.begin(self.now) if not worker.begun else worker.work(1, self.now)
            assert not worker.runs
        self.what_has_ended_stays_as_it_is_and_what_is_green_has_arrived()
        assert self.ended_tasks == before
        with transaction(self.source) as connection:
            unsettled = select(func.count()).select_from(attempt).where(attempt.c.settled_at.is_(None))
            assert connection.execute(unsettled).scalar_one() == 0


@pytest.mark.timeout(300)
def test_whatever_happens_every_task_ends_and_no_promise_breaks(ledger_url: str, worker_url: str) -> None:
    source = engine(ledger_url)

    class Here(World):
        pass

    Here.source = source
    Here.worker_url = worker_url
    try:
        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=5,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would take many minutes
            ),
        )
    finally:
        source.dispose()
