"""Settling: what the rows prove is what is written, whatever anybody says."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from adit.dispatch.settle import settle
from adit.ledger.connection import LedgerError, engine, transaction
from adit.ledger.digest import digest
from adit.ledger.ledger import NotProven
from adit.ledger.records import Settlement
from adit.model.assignment import Report
from adit.model.instance import InstanceRecord, InstanceState
from adit.model.outcome import Fault, FaultCode, Outcome
from adit.model.state import TaskState
from tests.integration.ledger.scene import (
    FAILURE,
    LOST,
    NOW,
    SUCCESS,
    UNREACHABLE,
    Scene,
    after,
    report,
    row,
    transfer_job,
)

STORED, VERIFIED = InstanceState.STORED, InstanceState.VERIFIED


@pytest.mark.parametrize(
    "rows", [[], [row("1"), row("2", STORED)], [row("1", InstanceState.EXPECTED)]], ids=["none", "one short", "one"]
)
def test_success_without_proof_is_refused_and_nothing_is_written(scene: Scene, rows: list[InstanceRecord]) -> None:
    job = scene.apply()
    assignment = scene.claim(job.id)[0]
    ended = scene.attempt(assignment, rows, report())
    with pytest.raises(NotProven, match=f"attempt {assignment.attempt_id}"):
        scene.ledger.settle(assignment.attempt_id, SUCCESS, NOW)
    assert scene.ledger.ended(10) == [ended]
    task = next(scene.ledger.tasks(job.id))
    assert (task.state, task.digest) == (TaskState.IN_PROGRESS, None)
    assert [event.code for event in scene.ledger.events(assignment.task_id)] == ["Claimed"]


def test_the_database_itself_refuses_a_wrong_green(scene: Scene, ledger_url: str) -> None:
    scene.apply()
    source = engine(ledger_url, connections=1)
    green = "UPDATE task SET state = 'Success', ended_at = now()"
    for counts in ("", ", expected = 2, verified = 1", ", expected = 0, verified = 0"):
        with pytest.raises(LedgerError, match="task_success_is_proven"), transaction(source) as connection:
            connection.execute(text(green + counts))
    source.dispose()


def test_a_task_has_one_open_attempt_at_most(scene: Scene, ledger_url: str) -> None:
    scene.claim(scene.apply().id)
    source = engine(ledger_url, connections=1)
    columns = "task_id, job_created_on, token, assignment, namespace, source, destination, claimed_at"
    shares = "source_associations, destination_associations"
    again = f"""INSERT INTO attempt ({columns}, {shares}, number)
        SELECT {columns.replace("token", "gen_random_uuid()")}, {shares}, 2 FROM attempt"""
    with pytest.raises(LedgerError, match="attempt_one_open"), transaction(source) as connection:
        connection.execute(text(again))
    source.dispose()


def test_settling_twice_counts_once(scene: Scene) -> None:
    job = scene.apply()
    assignment = scene.claim(job.id)[0]
    rows = [row("1", size=10, sha256="ab"), row("2", size=5)]
    scene.attempt(assignment, rows, report())
    assert scene.ledger.settle(assignment.attempt_id, SUCCESS, after(1))
    assert not scene.ledger.settle(assignment.attempt_id, FAILURE, after(2))
    task = next(scene.ledger.tasks(job.id))
    assert (task.state, task.ended_at, task.verified, task.bytes_stored) == (TaskState.SUCCESS, after(1), 2, 15)
    assert task.digest == digest(rows)
    assert [event.code for event in scene.ledger.events(task.id)] == ["Claimed", "Success"]


def test_a_failure_keeps_its_fault_and_counts(scene: Scene) -> None:
    job = scene.apply()
    fault = row("2", InstanceState.RECEIVED, fault_code=FaultCode.OUT_OF_RESOURCES)
    scene.run(job.id, FAILURE, [row("1", size=7), fault], report(Outcome.TRANSIENT_FAULT, UNREACHABLE))
    task = next(scene.ledger.tasks(job.id))
    assert (task.state, task.fault, task.message) == (TaskState.FAILURE, UNREACHABLE, "No connection.")
    assert (task.expected, task.received, task.stored, task.verified) == (2, 2, 1, 1)
    assert [(f.code, f.count, f.example) for f in scene.ledger.summary(job.id).failures] == [
        ("NodeUnreachable", 1, "NodeUnreachable: No connection [node pacs].")
    ]
    assert scene.ledger.events(task.id)[-1].level == "error"


def test_only_an_ended_attempt_can_be_settled_and_only_with_an_answer(scene: Scene) -> None:
    assignment = scene.claim(scene.apply().id)[0]
    with pytest.raises(ValueError, match="not ended"):
        scene.ledger.settle(assignment.attempt_id, FAILURE, NOW)
    with pytest.raises(LookupError):
        scene.ledger.settle(assignment.attempt_id + 1, FAILURE, NOW)
    for answer in (Settlement(TaskState.PENDING), Settlement(TaskState.IN_PROGRESS)):
        with pytest.raises(ValueError, match="cannot be settled"):
            scene.ledger.settle(assignment.attempt_id, answer, NOW)


def test_an_ended_attempt_comes_with_the_tasks_history(scene: Scene) -> None:
    job = scene.apply()
    bug = Fault(code=FaultCode.UNEXPECTED, message="A bug.")
    for outcome in (
        report(Outcome.TRANSIENT_FAULT, LOST),
        report(Outcome.BUG, bug),
        report(Outcome.TRANSIENT_FAULT, UNREACHABLE, LOST),
    ):
        scene.run(job.id, Settlement(TaskState.PENDING, not_before=NOW), [row("1", STORED)], outcome)
    faulty = row("2", fault_code=FaultCode.STORED_WITH_WARNING)
    ended = scene.attempt(scene.claim(job.id)[0], [faulty], report(Outcome.TRANSIENT_FAULT, LOST))
    assert (ended.number, ended.counted_attempts, ended.infrastructure_faults, ended.bugs) == (4, 2, 2, 1)
    assert (ended.expected, ended.stored, ended.verified, ended.faulty) == (2, 2, 1, 1)
    assert (ended.job.metadata.name, ended.job_created_at) == ("ct", NOW)


def test_an_ended_attempt_comes_with_what_the_tasks_earlier_ones_warned_of(scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=("1.2.1", "1.2.2")))
    fetched, stored, other = (
        Fault(code=code, message="Look.", node="pacs")
        for code in (FaultCode.FETCHED_WITH_WARNING, FaultCode.STORED_WITH_WARNING, FaultCode.PATIENT_ID_MISMATCH)
    )
    one, another = scene.claim(job.id, 2)
    again = Settlement(TaskState.PENDING, not_before=NOW)
    for assignment, warnings in ((one, (fetched, stored)), (another, (other,))):
        ended = scene.attempt(
            assignment,
            [row("1", STORED)],
            Report(outcome=Outcome.TRANSIENT_FAULT, faults=(UNREACHABLE,), warnings=warnings),
        )
        assert ended.earlier_warnings == ()
        assert scene.ledger.settle(assignment.attempt_id, again, NOW)
    scene.run(job.id, again, [row("1", STORED)], report(Outcome.TRANSIENT_FAULT, LOST))
    scene.run(job.id, again, [row("1", STORED)], report(Outcome.TRANSIENT_FAULT, LOST))
    ended_by_task = {
        assignment.task_id: scene.attempt(assignment, [row("1")], report()) for assignment in scene.claim(job.id, 2)
    }
    assert ended_by_task[one.task_id].earlier_warnings == (fetched, stored)
    assert ended_by_task[another.task_id].earlier_warnings == (other,)


def test_a_report_of_another_version_is_a_fault_of_its_task_and_what_it_warned_of_is_not_forgotten(
    scene: Scene, ledger_url: str
) -> None:
    """Else one row would stop every step of the dispatcher for good."""
    job = scene.apply()
    first = scene.claim(job.id)[0]
    scene.attempt(first, [row("1")], report())
    source = engine(ledger_url, connections=1)
    newer = '{"novelty": 1, "warnings": [{"code": "Novel", "message": "Look."}]}'
    with transaction(source) as connection:
        connection.execute(text("UPDATE attempt SET report = report || cast(:newer AS jsonb)"), {"newer": newer})
    source.dispose()

    (ended,) = scene.ledger.ended(10)
    assert [fault.code for fault in ended.report.faults] == [FaultCode.CONTRACT_MISMATCH]
    assert ended.verified == 1
    settlement = settle(ended, now=NOW, random=lambda: 0.0)
    assert settlement.state is not TaskState.SUCCESS
    assert scene.ledger.settle(first.attempt_id, Settlement(TaskState.PENDING, not_before=NOW), NOW)

    again = scene.attempt(scene.claim(job.id)[0], [row("1")], report())
    assert settle(again, now=NOW, random=lambda: 0.0).state is TaskState.WARNING


def test_a_lost_attempt_without_a_report_is_settled_like_any(scene: Scene) -> None:
    job = scene.apply()
    assignment = scene.claim(job.id)[0]
    scene.ledger.declare_lost(assignment.attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    (ended,) = scene.ledger.ended(10)
    assert (ended.counted_attempts, ended.infrastructure_faults, ended.expected) == (0, 1, 0)
    assert scene.ledger.settle(assignment.attempt_id, Settlement(TaskState.PENDING, not_before=after(3)), NOW)
    assert scene.ledger.next_due(NOW) == after(3)
    assert [event.code for event in scene.ledger.events(assignment.task_id)] == ["Claimed", "Lost", "Pending"]
