"""A job that names a list gets its tasks from the ledger, or is refused for good."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from adit.dispatch.dispatcher import Dispatcher
from adit.ledger.ledger import Ledger
from adit.ledger.records import TaskSeed
from adit.model.outcome import FaultCode
from adit.model.state import JobState
from adit.model.transfer_job import TransferJob
from tests.integration.dispatch.scripted import Destination, ScriptedLauncher
from tests.unit.dispatch.nouns import folder_node

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def dispatcher(ledger: Ledger, worker_url: str) -> Iterator[Dispatcher]:
    seconds = itertools.count()
    launcher = ScriptedLauncher(worker_url, Destination())
    for name in ("pacs", "research"):
        ledger.apply_node(folder_node(name), NOW)
    yield Dispatcher(ledger, launcher, clock=lambda: NOW, random=lambda: 0.5, monotonic=lambda: float(next(seconds)))
    launcher.kill_own()


def job(called: str, **reference: str) -> TransferJob:
    spec = {"source": {"node": "pacs"}, "destination": {"node": "research"}, "selection": {"list": reference}}
    return TransferJob.model_validate({"kind": "TransferJob", "metadata": {"name": called}, "spec": spec})


def test_a_list_is_expanded_and_its_tasks_start(ledger: Ledger, dispatcher: Dispatcher) -> None:
    lines = [TaskSeed(f"1.2.{n}", str(n)) for n in range(1203)]
    ledger.add_selection("default", "cohort", lines, NOW + timedelta(days=7), NOW)
    ledger.apply_job(job("ct", name="cohort"), NOW)
    dispatcher.step()
    record = ledger.job(("default", "ct"))
    assert record is not None
    summary = ledger.summary(record.id)
    assert record.expanded_at == NOW
    assert sum(summary.tasks.values()) == len(lines)
    assert len(ledger.running()) == 4  # the folders' limit


@pytest.mark.parametrize(
    ("pseudonym", "named", "code"),
    [(None, "nobody", FaultCode.SELECTION_NOT_FOUND), ("P1", "cohort", FaultCode.DEIDENTIFICATION_UNAVAILABLE)],
)
def test_what_cannot_be_done_is_refused(
    ledger: Ledger, dispatcher: Dispatcher, pseudonym: str | None, named: str, code: FaultCode
) -> None:
    ledger.add_selection("default", "cohort", [TaskSeed("1.2", "7", None, pseudonym)], NOW, NOW)
    ledger.apply_job(job("ct", name=named), NOW)
    dispatcher.step()
    record = ledger.job(("default", "ct"))
    assert record is not None
    assert record.refusal is not None
    assert record.refusal.code is code
    assert ledger.summary(record.id).state is JobState.FAILURE
    assert list(ledger.tasks(record.id)) == []
