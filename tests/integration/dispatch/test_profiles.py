"""A job that names a DeidProfile waits for it, starts with it, and keeps it as it was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adit.dispatch.dispatcher import Dispatcher
from adit.ledger.expansion import BATCH
from adit.ledger.ledger import Ledger
from adit.ledger.records import JobRecord, TaskSeed
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import Accepts
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import TaskState
from tests.integration.dispatch.scripted import Destination, ScriptedLauncher
from tests.integration.ledger.cut_off import CutOff
from tests.unit.dispatch.nouns import folder_node, transfer_job

AWAY = Fault(code=FaultCode.NODE_UNREACHABLE, message="No connection.")


class Clock:
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)


def profile(*options: str) -> DeidProfile:
    spec = {"key": {"secretName": "key"}, "options": options}
    return DeidProfile.model_validate({"metadata": {"name": "research"}, "spec": spec})


@pytest.fixture
def launcher(worker_url: str) -> Iterator[ScriptedLauncher]:
    launcher = ScriptedLauncher(worker_url, Destination())
    yield launcher
    launcher.kill_own()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dispatcher(ledger: Ledger, launcher: ScriptedLauncher, clock: Clock) -> Dispatcher:
    seconds = itertools.count()
    for name in ("pacs", "research"):
        ledger.apply_node(folder_node(name), clock.now)
    return Dispatcher(
        ledger, launcher, clock=lambda: clock.now, random=lambda: 0.5, monotonic=lambda: float(next(seconds))
    )


def record_of(ledger: Ledger, name: str = "job") -> JobRecord:
    record = ledger.job(("default", name))
    assert record is not None
    return record


def test_a_job_waits_for_its_profile_and_keeps_it(
    ledger: Ledger, dispatcher: Dispatcher, launcher: ScriptedLauncher, clock: Clock
) -> None:
    ledger.apply_job(transfer_job(profile="research"), clock.now)
    dispatcher.step()
    assert record_of(ledger).expanded_at is None
    assert record_of(ledger).refusal is None
    ledger.apply_profile(profile(), clock.now)
    dispatcher.step()
    (worker,) = launcher.running()
    ledger.apply_profile(profile("CleanDescriptors"), clock.now)
    worker.begin(clock.now)
    worker.report(Outcome.TRANSIENT_FAULT, (AWAY,), (), clock.now)
    ledger.delete_profile(("default", "research"))
    dispatcher.step()
    assert [task.state for task in ledger.tasks(record_of(ledger).id)] == [TaskState.PENDING]
    clock.now += timedelta(hours=1)
    dispatcher.step()
    (again,) = launcher.running()
    assert again.claim.assignment.number == 2
    assert [each.claim.assignment.profile for each in (worker, again)] == [profile(), profile()]


def test_a_job_that_began_to_get_tasks_needs_its_resource_no_more(
    ledger: Ledger, dispatcher: Dispatcher, clock: Clock
) -> None:
    ledger.apply_job(transfer_job(profile="research"), clock.now)
    with pytest.raises(KeyboardInterrupt):
        ledger.expand(
            record_of(ledger).id,
            CutOff([TaskSeed(f"1.2.{number}") for number in range(BATCH + 1)], 1),
            clock.now,
            profile(),
        )
    dispatcher.step()
    assert record_of(ledger).expanded_at == clock.now


def test_an_original_is_refused_where_only_copies_go(ledger: Ledger, dispatcher: Dispatcher, clock: Clock) -> None:
    research = folder_node("research")
    spec = research.spec.model_copy(update={"accepts": Accepts.DEIDENTIFIED})
    ledger.apply_node(research.model_copy(update={"spec": spec}), clock.now)
    ledger.apply_job(transfer_job(), clock.now)
    dispatcher.step()
    refusal = record_of(ledger).refusal
    assert refusal is not None
    assert refusal.code is FaultCode.DEIDENTIFICATION_UNAVAILABLE
    assert list(ledger.tasks(record_of(ledger).id)) == []
